"""Figure 7 of the paper: size by the number K of refinement steps, from both encoders: four methods.

    python benchmarks/study/figure7.py [--quick] [--runs DIR] [--out DIR] [--seeds N] [--pixels KIND ...] [--shipped]

Sizes are whole files of 1000 test images in one archive; the four methods are VAE and reverse half-asleep (K = 0), and
each with K steps of optimal inference (Algorithm 2). Figure 8 is of the same files. Results: study-figure7.json, .png,
.svg.
"""

from __future__ import annotations

from typing import Any

from compression import ENCODERS, PIXELS, TITLES, measure, row, schedule_lines, steps_of, trained, trainings
from study import Study, draw, finish, main, spread


def figure7(study: Study) -> None:
    reports = {pixels: measure(study, pixels) for pixels in study.pixels}
    results: dict[str, Any] = {}
    for pixels, of_pixels in reports.items():
        steps = steps_of(of_pixels[0])
        results[pixels] = {"K": steps, "trained_by": trained(of_pixels)}
        for figure in ("bits_per_subpixel", "net_bits_per_subpixel"):
            results[pixels][figure] = {
                name: [spread([row(report, encoder, k)[figure] for report in of_pixels]) for k in steps]
                for encoder, name in ENCODERS.items()
            }
        gains = [
            row(report, "baseline", 0)["bits_per_subpixel"] - row(report, "rha", 0)["bits_per_subpixel"]
            for report in of_pixels
        ]
        results[pixels]["rha_below_baseline_at_K_0"] = spread(gains)

    plot = study.plot("Size by steps of optimal inference", *schedule_lines(study, reports), width=4.5 * len(reports))
    panels = plot.subplots(1, len(reports), squeeze=False)[0]
    for axes, (pixels, result) in zip(panels, results.items(), strict=True):
        for name, points in result["bits_per_subpixel"].items():
            draw(axes, result["K"], [points[0]] * len(points), name)
            draw(axes, result["K"], points, f"{name} + optimal inference", "o")
        finish(axes, "K", TITLES[pixels], "bits per sub-pixel, whole file")
    study.write("study-figure7", {**study.about(**trainings(study)), "results": results}, plot)


if __name__ == "__main__":
    main(figure7, __doc__, pixels=PIXELS)
