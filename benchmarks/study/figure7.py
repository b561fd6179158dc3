"""Figure 7 of the paper: size by the number K of refinement steps, from both encoders: four methods.

    python benchmarks/study/figure7.py [--quick] [--runs DIR] [--out DIR] [--seeds N] [--pixels KIND ...] [--shipped]

Sizes are whole files of 1000 test images in one archive; the four methods are VAE and reverse half-asleep (K = 0), and
each with K steps of optimal inference (Algorithm 2). Figure 8 is of the same files. Results: study-figure7.json, .png,
.svg.
"""

from __future__ import annotations

from typing import Any

from compression import ENCODERS, PIXELS, TITLES, row, schedule_line, steps_of, trained, trainings
from compression import measure as measure_files
from study import Study, draw, finish, main, spread


def measure(study: Study) -> dict[str, Any]:
    """Sizes by encoder and K, of each kind of pixels."""
    results: dict[str, Any] = {}
    for pixels in study.pixels:
        reports = measure_files(study, pixels)
        steps = steps_of(reports[0])
        results[pixels] = {
            "schedule": schedule_line(study, pixels, reports), "K": steps, "trained_by": trained(reports)
        }  # fmt: skip
        for figure in ("bits_per_subpixel", "net_bits_per_subpixel"):
            results[pixels][figure] = {
                name: [spread([row(report, encoder, k)[figure] for report in reports]) for k in steps]
                for encoder, name in ENCODERS.items()
            }
        gains = [
            row(report, "baseline", 0)["bits_per_subpixel"] - row(report, "rha", 0)["bits_per_subpixel"]
            for report in reports
        ]
        results[pixels]["rha_below_baseline_at_K_0"] = spread(gains)
    return results


def figure7(study: Study) -> None:
    results = study.results("study-figure7", measure)
    lines = [result["schedule"] for result in results.values()]
    plot = study.plot("Size by steps of optimal inference", *lines, width=4.5 * len(results))
    panels = plot.subplots(1, len(results), squeeze=False)[0]
    for axes, (pixels, result) in zip(panels, results.items(), strict=True):
        for name, points in result["bits_per_subpixel"].items():
            draw(axes, result["K"], points, f"{name} + optimal inference", "o")
            axes.axhline(points[0]["mean"], label=name, color=axes.lines[-1].get_color(), linestyle="--", linewidth=1)
        finish(axes, "K", TITLES[pixels], "bits per sub-pixel, whole file", legend=False)
    plot.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    study.write("study-figure7", {**study.about(**trainings(study)), "results": results}, plot)


if __name__ == "__main__":
    main(figure7, __doc__, pixels=PIXELS)
