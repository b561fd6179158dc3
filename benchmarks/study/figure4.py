"""Figure 4 of the paper: encoders of one VAE of binary MNIST, by the share alpha of model samples, and sleep inference.

    python benchmarks/study/figure4.py [--quick] [--runs DIR] [--out DIR] [--epochs N] [--every N] [--seeds N]

The VAE is that of Figure 1 after --epochs; the paper does not say after how many. Each seed is an encoder of its own
for that VAE, begun from the VAE's. Results: study-figure4.json, .png, .svg.
"""

from __future__ import annotations

from typing import Any

from study import LR, Study, draw, finish, main, results_of, seeds_text

from bbcompress.training.objectives import SLEEP

ENCODER_LR = 3e-4
ENCODER_EPOCHS = 100
ALPHAS = {"wake (alpha = 0)": 0.0, "reverse half-asleep (alpha = 0.5)": 0.5, "reverse sleep (alpha = 1)": 1.0}


def measure(study: Study) -> dict[str, Any]:
    """By objective `results_of` its runs."""
    epochs, last = study.encoder_length(ENCODER_EPOCHS), study.points[-1]
    start = study.vae("binary")[last]
    members = {
        name: study.half_asleep("binary", last, start, epochs, ENCODER_LR, alpha) for name, alpha in ALPHAS.items()
    }
    members["sleep"] = [
        study.encoder(
            f"mnist-binary-{last:04}-sleep-lr{ENCODER_LR:g}-{epochs}", start, seed,
            pixels="binary", vae_epochs=last, epochs=epochs, lr=ENCODER_LR, objective=SLEEP,
        )
        for seed in range(study.seeds)
    ]  # fmt: skip
    results: dict[str, dict[str, Any]] = {}
    for name, of_name in members.items():
        study.train_all(of_name)
        results[name] = results_of([member.out for member in of_name])
    return results


def figure4(study: Study) -> None:
    epochs, last = study.encoder_length(ENCODER_EPOCHS), study.points[-1]
    results = study.results("study-figure4", measure)
    figure = study.figure(
        "Inference of one VAE on binary MNIST by objective",
        f"VAE: rate {LR:g}, {last} epochs; encoders: rate {ENCODER_LR:g}, {epochs} epochs",
        seeds_text(study.seeds),
    )
    axes = figure.subplots()
    for name, result in results.items():
        draw(axes, range(1, epochs + 1), result["curve"], name)
    finish(axes, "epochs of encoder training")
    about = study.about(vae={"lr": LR, "epochs": last}, encoder={"lr": ENCODER_LR, "epochs": epochs})
    study.write("study-figure4", {**about, "results": results}, figure)


if __name__ == "__main__":
    main(figure4, __doc__)
