"""Figure 8 of the paper: size by measured time, and what the baseline spends to be as small as reverse half-asleep.

    python benchmarks/study/figure8.py [--quick] [--runs DIR] [--out DIR] [--seeds N] [--pixels KIND ...] [--shipped]

The files and times are those of Figure 7: of one warm process, best of three, an image of an archive of 1000; those of
CIFAR-10 were taken by benchmarks/resnet.py, once. The paper gives K and the extra time that the baseline needs.
Results: study-figure8.json, .png, .svg.
"""

from __future__ import annotations

import statistics
from typing import Any

from compression import ENCODERS, PIXELS, TITLES, row, schedule_line, steps_of, trainings
from compression import measure as measure_files
from study import Study, finish, main

TIMES = {"compress": "compress_seconds_per_image", "decompress": "decompress_seconds_per_image"}


def measure(study: Study) -> dict[str, Any]:
    """Sizes and times by encoder and K, of each kind of pixels."""
    results: dict[str, Any] = {}
    for pixels in study.pixels:
        reports = measure_files(study, pixels)
        steps = steps_of(reports[0])
        result: dict[str, Any] = {"schedule": schedule_line(study, pixels, reports), "K": steps}
        for encoder, name in ENCODERS.items():
            rows = [[row(report, encoder, k) for report in reports] for k in steps]
            result[name] = {
                "bits_per_subpixel": [statistics.fmean(r["bits_per_subpixel"] for r in of_k) for of_k in rows],
                **{
                    kind: [statistics.fmean(r[key]["best"] for r in of_k) for of_k in rows]
                    for kind, key in TIMES.items()
                },
            }
        result["baseline_reaches_rha_at_K_0"] = [report["baseline_reaches_rha_at_K_0"] for report in reports]
        result["machine"] = reports[0]["machine"]
        results[pixels] = result
    return results


def figure8(study: Study) -> None:
    results = study.results("study-figure8", measure)
    lines = [result["schedule"] for result in results.values()]
    plot = study.plot("Size by time, K from left to right", *lines, width=4.5 * len(results), height=8)
    panels = plot.subplots(2, len(results), squeeze=False)
    for column, (pixels, result) in zip(panels.T, results.items(), strict=True):
        for axes, kind in zip(column, TIMES, strict=True):
            for name in ENCODERS.values():
                milliseconds = [1000 * seconds for seconds in result[name][kind]]
                axes.plot(milliseconds, result[name]["bits_per_subpixel"], label=name, marker="o", markersize=4)
            finish(axes, f"{kind}, milliseconds an image", TITLES[pixels], "bits per sub-pixel, whole file")
    study.write("study-figure8", {**study.about(**trainings(study)), "results": results}, plot)


if __name__ == "__main__":
    main(figure8, __doc__, pixels=PIXELS)
