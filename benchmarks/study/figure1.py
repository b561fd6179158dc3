"""Figure 1 of the paper: a VAE of binary MNIST overfits: train and test BPD over 1000 epochs.

    python benchmarks/study/figure1.py [--quick] [--runs DIR] [--out DIR] [--epochs N] [--every N] [--seeds N]

Each seed is a VAE of its own; the paper has one. Results: study-figure1.json, .png, .svg.
"""

from __future__ import annotations

from typing import Any

from study import LR, Study, draw, finish, main, seeds_text, spreads


def measure(study: Study) -> dict[str, Any]:
    """Spreads at each point, of training and test images."""
    curves: dict[str, list[list[float]]] = {"train": [], "test": []}
    for checkpoints in study.vaes("binary", range(study.seeds)):
        measured = [study.measure(checkpoint) for checkpoint in checkpoints.values()]
        for part, of_part in curves.items():
            of_part.append([encoders["baseline"][part]["bpd"] for encoders in measured])
    return {part: spreads(of_part) for part, of_part in curves.items()}


def figure1(study: Study) -> None:
    results = study.results("study-figure1", measure)
    figure = study.figure(
        "Overfitting of a VAE on binary MNIST",
        f"VAE: rate {LR:g}, {study.epochs} epochs, measured every {study.every}; {seeds_text(study.seeds)}",
    )
    axes = figure.subplots()
    for part, points in results.items():
        draw(axes, study.points, points, part, "o")
    finish(axes, "epochs of VAE training")
    about = study.about(vae={"lr": LR, "epochs": study.epochs, "every": study.every})
    study.write("study-figure1", {**about, "epochs": study.points, "results": results}, figure)


if __name__ == "__main__":
    main(figure1, __doc__, seeds=1)
