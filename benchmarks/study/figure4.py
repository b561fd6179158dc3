"""Figure 4 of the paper: encoders of one VAE of binary MNIST, by the share alpha of model samples, and sleep inference.

    python benchmarks/study/figure4.py [--quick] [--runs DIR] [--out DIR] [--epochs N] [--every N] [--seeds N]
                                       [--alphas A ... --at N ...]

The VAE is that of Figure 1 after --epochs; the paper does not say after how many. Each seed is an encoder of its own
for that VAE, begun from the VAE's. Results: study-figure4.json, .png, .svg. With --alphas and --at the encoders are of
these shares, for this VAE after each of these numbers of epochs: where is the best alpha? Results:
study-figure4-grid.json, .png, .svg.
"""

from __future__ import annotations

from typing import Any

from study import LR, Study, draw, finish, main, results_of, seeds_text, test_bpd

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


def measure_grid(study: Study) -> dict[str, Any]:
    """By the VAE's epochs its test BPD, and `results_of` the encoders of each alpha."""
    epochs = study.encoder_length(ENCODER_EPOCHS)
    checkpoints = study.vae("binary")
    results: dict[str, dict[str, Any]] = {}
    for point in study.at:
        of_point = results[str(point)] = {"VAE": 0.0, "alphas": {}}
        for alpha in study.alphas:
            members = study.half_asleep("binary", point, checkpoints[point], epochs, ENCODER_LR, alpha)
            study.train_all(members)
            outs = [member.out for member in members]
            of_point["VAE"] = test_bpd(outs[0], "baseline")
            of_point["alphas"][f"{alpha:g}"] = results_of(outs)
    return results


def grid(study: Study) -> None:
    epochs = study.encoder_length(ENCODER_EPOCHS)
    results = study.results("study-figure4-grid", measure_grid)
    figure = study.figure(
        "Reverse half-asleep inference of VAEs on binary MNIST, by its share of model samples",
        f"VAE: rate {LR:g}, after so many epochs; encoders: rate {ENCODER_LR:g}, {epochs} epochs",
        seeds_text(study.seeds),
    )
    axes = figure.subplots()
    for point, result in results.items():
        finals = [of_alpha["final"] for of_alpha in result["alphas"].values()]
        draw(axes, [float(alpha) for alpha in result["alphas"]], finals, f"VAE of {point} epochs", "o")
    finish(axes, "alpha")
    about = study.about(
        vae={"lr": LR, "epochs": study.epochs, "every": study.every, "at": list(study.at)},
        encoder={"lr": ENCODER_LR, "epochs": epochs, "alphas": list(study.alphas)},
    )
    study.write("study-figure4-grid", {**about, "results": results}, figure)


def figure4(study: Study) -> None:
    if study.at:
        return grid(study)
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
    return study.write("study-figure4", {**about, "results": results}, figure)


if __name__ == "__main__":
    main(figure4, __doc__)
