"""Write the tables of docs/scale.md, what large collections cost, from benchmarks/results/cluster.json.

    python benchmarks/scale.py

They stand between the lines `<!-- scale -->` and `<!-- end scale -->`; nothing is typed by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markdown import table
from tables import insert

from bbcompress.archive.manifest import MAX_MANIFEST_BYTES, MAX_SHARDS
from bbcompress.limits import SHARD_PIXELS
from bbcompress.pipeline.sharding.plan import MAX_SHARD_IMAGES

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "scale.md"
MARKERS = "<!-- scale -->", "<!-- end scale -->"
COUNTS = 10**7, 10**9
PHOTOGRAPH = 12_000_000
"""Pixels of a photograph."""


def main() -> None:
    results = json.loads((HERE / "results" / "cluster.json").read_text())
    insert(PAGE, "\n\n".join([measured(results), projected(results), where(results)]), MARKERS)


def measured(results: dict[str, Any]) -> str:
    """What was measured."""
    rows = []
    for name, found in results["workloads"].items():
        for way in ("--jobs 1", "--jobs 2", "1 workers", "2 workers", "4 workers"):
            row = found[way]
            rows.append(
                [
                    name,
                    "1 worker" if way == "1 workers" else f"`{way}`" if way.startswith("--") else way,
                    f"{row['images_per_second']:.1f}",
                    f"{row['shard_processor_seconds']:.1f}",
                    f"{row['warm_seconds_a_shard']:.2f}",
                    f"{row['busy']:.2f}",
                    f"{row['efficiency']:.2f}" if "efficiency" in row else "",
                    f"{row['efficiency_by_clock']:.2f}" if "efficiency_by_clock" in row else "",
                    f"{row['begin']:.1f}",
                    f"{row['first_shard_more']:.1f}" if row.get("first_shard_more") is not None else "",
                    f"{row['load']:.1f}",
                    f"{row['peak_mib_of_a_process']} MiB",
                ]
            )
    head = [
        "",
        "",
        "images a second",
        "processor seconds of shards",
        "of a warm shard",
        "busy",
        "efficiency",
        "by the clock",
        "start-up, s",
        "first shard, s more",
        "load",
        "memory",
    ]
    return table(head, rows)


def projected(results: dict[str, Any]) -> str:
    """What 10^7 and 10^9 images cost."""
    rows = []
    for name, count in ((name, count) for name in results["workloads"] for count in COUNTS):
        found = results["workloads"][name]
        row = found["1 workers"]
        pixels = 28 * 28 if name == "digits" else PHOTOGRAPH
        seconds = row["warm_seconds_a_shard"] / (found["pixels"] / found["shards"]) * pixels
        shards = shards_of(count, pixels)
        line = found["manifest_bytes"] / found["shards"]
        requests = results["requests"]
        of_images = sum(kind["an_image"] for kind in requests.values())
        of_shards = sum(kind["a_shard"] for kind in requests.values())
        allowed = shards <= MAX_SHARDS and shards * line <= MAX_MANIFEST_BYTES
        rows.append(
            [
                f"10^{len(str(count)) - 1} {name if name == 'digits' else 'photographs of 12 megapixels'}",
                amount(count * seconds / 3600),
                amount(shards) + ("" if allowed else " (too many)"),
                size(shards * line),
                amount(count * of_images + shards * of_shards),
                size(count * results["client_bytes_an_image"]),
            ]
        )
    head = ["", "processor hours", "shards of 2^26 pixels", "manifest", "requests to a store", "memory of the command"]
    return table(head, rows)


def shards_of(count: int, pixels: int) -> int:
    """Shards of the usual size, for images of so many pixels."""
    return -(-count // min(max(1, SHARD_PIXELS // pixels), MAX_SHARD_IMAGES))


def where(results: dict[str, Any]) -> str:
    """Where it was measured, and what resuming took."""
    made = results["environment"]
    lines = []
    for name, found in results["workloads"].items():
        again = found["resumed"]
        lines.append(
            f"{name}: {found['images']} images in {found['shards']} shards; after the kill {again['kept']} shards "
            f"were kept, the first new work began after {again['seconds_to_the_first_new_work']:.0f} s, "
            f"all took {again['processor_seconds']:.0f} processor seconds"
        )
    requests = results["requests"]
    for what, key in (("an image", "an_image"), ("a shard", "a_shard")):
        kinds = ", ".join(f"{kind[key]:g} {method}" for method, kind in requests.items() if kind[key])
        lines.append(f"requests of {what}: {kinds}")
    machine = f"{made['processor']}, {made['cores']} cores, load {made['load_before']:.1f} to {made['load_after']:.1f}"
    return f"{machine}, commit {made['commit']}. " + ". ".join(line[0].upper() + line[1:] for line in lines) + "."


def amount(value: float) -> str:
    """A number of three digits with its power of ten."""
    if value < 1000:
        return f"{value:.3g}"
    exponent = len(str(round(value))) - 1
    return f"{value / 10**exponent:.2g} x 10^{exponent}"


def size(value: float) -> str:
    """Bytes as people read them."""
    unit = next((power for power in (3, 6, 9) if value < 10 ** (power + 3)), 9)
    value /= 10**unit
    name = {3: "kB", 6: "MB", 9: "GB"}[unit]
    return f"{value:.2g} {name}" if value < 100 else f"{value:.0f} {name}"


if __name__ == "__main__":
    main()
