"""Figure 2 of the paper: test BPD of a VAE with amortised and with optimal inference; between them is the gap.

    python benchmarks/study/figure2.py [--quick] [--runs DIR] [--out DIR] [--epochs N] [--every N] [--seeds N]

The VAEs are those of Figure 1. Optimal inference (Eq. 9) trains a copy of the encoder on the test images. Each seed is
a VAE of its own; the paper has one. Results: study-figure2.json, .png, .svg.
"""

from __future__ import annotations

from typing import Any

from study import LR, OPTIMAL_LR, Study, draw, finish, main, seeds_text, spreads

OPTIMAL_EPOCHS = 100


def measure(study: Study) -> dict[str, Any]:
    """Spreads at each point, with amortised and optimal inference and of the gap."""
    epochs = study.length(OPTIMAL_EPOCHS)
    curves: dict[str, list[list[float]]] = {"amortised": [], "optimal": [], "gap": []}
    seeds = range(study.seeds)
    wanted = [
        (checkpoint, seed)
        for seed, checkpoints in zip(seeds, study.vaes("binary", seeds), strict=True)
        for checkpoint in checkpoints.values()
    ]
    all_measured = study.measure_all(wanted, epochs)
    for seed in seeds:
        measured = [found for (_, its), found in zip(wanted, all_measured, strict=True) if its == seed]
        curves["amortised"].append([encoders["baseline"]["test"]["bpd"] for encoders in measured])
        curves["optimal"].append([encoders["optimal"]["test"]["bpd"] for encoders in measured])
        curves["gap"].append([encoders["baseline"]["amortised_inference_gap"] for encoders in measured])
    return {name: spreads(of_name) for name, of_name in curves.items()}


def figure2(study: Study) -> None:
    epochs = study.length(OPTIMAL_EPOCHS)
    results = study.results("study-figure2", measure)
    figure = study.figure(
        "The amortised inference gap of a VAE on binary MNIST",
        f"VAE: rate {LR:g}, {study.epochs} epochs, measured every {study.every}; {seeds_text(study.seeds)}",
        f"optimal inference: {epochs} epochs on the test images, rate {OPTIMAL_LR:g}",
    )
    axes = figure.subplots()
    for name in ("amortised", "optimal"):
        draw(axes, study.points, results[name], f"test, {name} inference", "o")
    low, high = ([point["mean"] for point in results[name]] for name in ("optimal", "amortised"))
    axes.fill_between(study.points, low, high, color="grey", alpha=0.2, linewidth=0, label="amortised inference gap")
    finish(axes, "epochs of VAE training")
    about = study.about(
        vae={"lr": LR, "epochs": study.epochs, "every": study.every}, optimal={"lr": OPTIMAL_LR, "epochs": epochs}
    )
    study.write("study-figure2", {**about, "epochs": study.points, "results": results}, figure)


if __name__ == "__main__":
    main(figure2, __doc__, seeds=1)
