"""Figure 5 of the paper: test BPD of a VAE, of optimal and of reverse half-asleep inference over the VAE's epochs.

    python benchmarks/study/figure5.py [--quick] [--runs DIR] [--out DIR] [--epochs N] [--every N] [--seeds N]
                                       [--pixels KIND ...]

One long VAE of each kind of pixels. Each seed is an encoder of its own, half-asleep or optimal, for each of its
checkpoints; the paper has one. All three are measured by the same noise of each seed, so that the VAE's deviation is
that of the noise. Results: study-figure5.json, .png, .svg. The paper's third data set, CIFAR-10, is in cifar10.py.
"""

from __future__ import annotations

from typing import Any

from study import (
    HALF_ASLEEP_EPOCHS,
    HALF_ASLEEP_LR,
    LR,
    OPTIMAL_LR,
    Study,
    draw,
    finish,
    main,
    seeds_text,
    spread,
)

OPTIMAL_EPOCHS = 500
NAMES = ("VAE", "optimal", "reverse half-asleep")


def measure(study: Study) -> dict[str, Any]:
    """By kind of pixels and inference the spreads at each point."""
    optimal_epochs = study.optimal_length(OPTIMAL_EPOCHS)
    results: dict[str, dict[str, list[Any]]] = {}
    for pixels in study.pixels:
        of_pixels = results[pixels] = {name: [] for name in NAMES}
        starts = study.vae(pixels)
        seeds = range(study.seeds)
        measured = study.measure_all([(start, seed) for start in starts.values() for seed in seeds], optimal_epochs)
        members = [member for epoch, start in starts.items() for member in study.half_asleep(pixels, epoch, start)]
        study.train_all(members)
        asleep = [study.measure(member.out / "training.pt", seed=member.config.seed) for member in members]
        for first in range(0, len(members), study.seeds):
            of_epoch, of_asleep = (found[first : first + study.seeds] for found in (measured, asleep))
            of_pixels["VAE"].append(spread([encoders["baseline"]["test"]["bpd"] for encoders in of_epoch]))
            of_pixels["optimal"].append(spread([encoders["optimal"]["test"]["bpd"] for encoders in of_epoch]))
            of_pixels["reverse half-asleep"].append(spread([encoders["rha"]["test"]["bpd"] for encoders in of_asleep]))
    return results


def figure5(study: Study) -> None:
    optimal_epochs, epochs = study.optimal_length(OPTIMAL_EPOCHS), study.length(HALF_ASLEEP_EPOCHS)
    results = study.results("study-figure5", measure)
    figure = study.figure(
        "Test BPD on MNIST by inference",
        f"VAE: rate {LR:g}, {study.epochs} epochs, measured every {study.every}",
        f"half-asleep: rate {HALF_ASLEEP_LR:g}, {epochs} epochs; "
        f"optimal: rate {OPTIMAL_LR:g}, {optimal_epochs} epochs on the test images; {seeds_text(study.seeds)}",
        width=5.5 * len(study.pixels),
    )
    panels = figure.subplots(1, len(study.pixels), squeeze=False)[0]
    for axes, (pixels, of_pixels) in zip(panels, results.items(), strict=True):
        for name, points in of_pixels.items():
            draw(axes, study.points, points, name, "o")
        finish(axes, "epochs of VAE training", f"{pixels} MNIST")
    about = study.about(
        vae={"lr": LR, "epochs": study.epochs, "every": study.every},
        half_asleep={"lr": HALF_ASLEEP_LR, "epochs": epochs, "alpha": 0.5},
        optimal={"lr": OPTIMAL_LR, "epochs": optimal_epochs},
    )
    study.write("study-figure5", {**about, "epochs": study.points, "results": results}, figure)


if __name__ == "__main__":
    main(figure5, __doc__, pixels=("binary", "grey"))
