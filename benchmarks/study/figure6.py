"""Figure 6 of the paper: test BPD of reverse half-asleep inference after every epoch of its training.

    python benchmarks/study/figure6.py [--quick] [--runs DIR] [--out DIR] [--epochs N] [--seeds N] [--pixels KIND ...]

The VAEs are the long ones after --epochs; each seed is an encoder of its own for that VAE, shared with Figure 5.
Results: study-figure6.json, .png, .svg.
"""

from __future__ import annotations

from typing import Any

from study import (
    HALF_ASLEEP_EPOCHS,
    HALF_ASLEEP_LR,
    LR,
    Study,
    draw,
    finish,
    main,
    results_of,
    seeds_text,
    test_bpd,
)


def measure(study: Study) -> dict[str, Any]:
    """By kind of pixels the VAE's test BPD, and `curve` and `final` spreads of half-asleep."""
    last = study.points[-1]
    results: dict[str, dict[str, Any]] = {}
    for pixels in study.pixels:
        start = study.vae(pixels)[last]
        members = study.half_asleep(pixels, last, start)
        study.train_all(members)
        runs = [member.out for member in members]
        results[pixels] = {
            "VAE": test_bpd(runs[0], "baseline"),
            **results_of(runs),
        }
    return results


def figure6(study: Study) -> None:
    epochs, last = study.length(HALF_ASLEEP_EPOCHS), study.points[-1]
    results = study.results("study-figure6", measure)
    figure = study.figure(
        "Reverse half-asleep inference on MNIST (alpha = 0.5)",
        f"VAE: rate {LR:g}, {last} epochs; half-asleep: rate {HALF_ASLEEP_LR:g}, {epochs} epochs",
        seeds_text(study.seeds),
        width=5.5 * len(study.pixels),
    )
    panels = figure.subplots(1, len(study.pixels), squeeze=False)[0]
    for axes, (pixels, result) in zip(panels, results.items(), strict=True):
        draw(axes, range(1, epochs + 1), result["curve"], "test, reverse half-asleep")
        axes.axhline(result["VAE"], color="grey", linestyle="--", label="test, VAE")
        finish(axes, "epochs of encoder training", f"{pixels} MNIST")
    about = study.about(vae={"lr": LR, "epochs": last}, half_asleep={"lr": HALF_ASLEEP_LR, "epochs": epochs})
    study.write("study-figure6", {**about, "results": results}, figure)


if __name__ == "__main__":
    main(figure6, __doc__, pixels=("binary", "grey"))
