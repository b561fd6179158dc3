"""Whole files of a folder of photographs, beside others' formats: benchmarks/results/photographs-NAME.json.

    python benchmarks/photographs.py NAME DIR [--parts PART ...] [--effort N] [--crop W H] [--no-lattices]

`alone`: each photograph in a file of its own, at the effort. `archive`: all of them in one archive of that effort;
`no-solid`: likewise with `--no-solid`.
`lattice`: each photograph in a file of its own by a model that learns, told of the colours that the image cannot have
and not told of them. With `--no-lattices` nothing is told of them in the other parts, either. PNG, WebP and JPEG XL
code the same pixels in the same run; JPEG XL where imagecodecs is installed. Sizes are bytes of whole files, times are
seconds of the processor. All files are read back and compared.
Photographs of test sets (Kodak and others) may be measured here, and nothing may be chosen by what comes out.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from machine import environment
from whole_files import measure

from bbcompress.api import pack
from bbcompress.archive.header import LONE_ID_BYTES, GroupHeader, Learning
from bbcompress.archive.lone import build_lone
from bbcompress.bench.peers import peers
from bbcompress.codecs.effort import LADDER
from bbcompress.codecs.learned import RATE, UNIT, can_learn, decode_learned, encode_learned
from bbcompress.codecs.settings import CodingSettings
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

PARTS = ("alone", "archive", "no-solid", "lattice")
RESULTS = Path(__file__).resolve().parent / "results"
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=("alone", "archive"))
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--crop", type=int, nargs=2, metavar=("W", "H"), help="the middle of each photograph")
    parser.add_argument("--no-lattices", action="store_true", help="no model is told of colours that cannot occur")
    args = parser.parse_args()
    if args.no_lattices:
        tell_of_no_lattices()
    images = {path.name: middle(read_image(path), args.crop) for path in sorted(args.folder.iterdir())}
    out = RESULTS / f"photographs-{args.name}.json"
    run: dict[str, Callable[[dict[str, PixelImage], int], dict[str, Any]]] = {
        "alone": alone,
        "archive": archive,
        "no-solid": partial(archive, solid=False),
        "lattice": lattice,
    }
    for part in args.parts:
        key = part if args.effort == 5 else f"{part}, effort {args.effort}"
        start = environment()
        found = run[part](images, args.effort)
        # Other parts may have been measured meanwhile.
        before: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
        results = {part: row for part, row in before.items() if part.split(",")[0] in PARTS}
        results[key] = {"environment": start, "effort": args.effort, "crop": args.crop, **found}
        out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {out}")


def tell_of_no_lattices() -> None:
    """At no effort, in this process."""
    for effort, plan in LADDER.items():
        LADDER[effort] = replace(plan, learned=tuple(replace(way, lattices=False) for way in plan.learned))


def middle(image: PixelImage, size: list[int] | None) -> PixelImage:
    """A rectangle of so many columns and rows from an image, or all of it."""
    if size is None:
        return image
    top, left = max(image.height - size[1], 0) // 2, max(image.width - size[0], 0) // 2
    return from_array(np.ascontiguousarray(image.pixels[top : top + size[1], left : left + size[0]]))


def alone(images: dict[str, PixelImage], effort: int) -> dict[str, Any]:
    """Each image in its file, and what others take."""
    compressor = Compressor(Options(verify=False, effort=effort))
    rows = []
    for name, image in images.items():
        found, reader = measure(name, image, compressor, peers())
        row: Row = {"name": name, "pixels": image.width * image.height, **found}
        row["way"] = reader.describe()["groups"][0]
        rows.append(row)
        print(name, {key: rate(size, image) for key, size in row["bytes"].items()}, flush=True)
    return {"bits_per_subpixel": rates(rows), "photographs": rows}


def archive(images: dict[str, PixelImage], effort: int, solid: bool = True) -> dict[str, Any]:
    """All images in one archive."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "images").mkdir()
        for name, image in images.items():
            data, suffix = write_image(image)
            (Path(folder) / "images" / f"{Path(name).stem}{suffix}").write_bytes(data)
        path = Path(folder) / "all.bbc"
        start = time.process_time()
        pack(Path(folder) / "images", path, verify=False, pixels=True, effort=effort, solid=solid)
        middle_time = time.process_time()
        size, reader = path.stat().st_size, Reader(io.BytesIO(path.read_bytes()))
    for number, (name, image) in enumerate(images.items()):
        if reader.read(number) != image:
            raise SystemExit(f"{name} does not come back")
    return {
        "bytes": size,
        "bits_per_subpixel": round(8 * size / sum(image.samples for image in images.values()), 4),
        "seconds": [round(middle_time - start, 1), round(time.process_time() - middle_time, 1)],
        "groups": reader.describe()["groups"],
    }


def lattice(images: dict[str, PixelImage], effort: int) -> dict[str, Any]:
    """Each image by the model for photographs, which learns, with and without what is known of its colours."""
    models = open_models("photo", "cpu")
    vae = models.model(models.zoo.chosen[0])
    assert can_learn(vae)
    rows = []
    for name, image in images.items():
        row: Row = {"name": name, "pixels": image.width * image.height, "bytes": {}, "seconds": {}}
        for told in (False, True):
            header = GroupHeader(model=vae.weights.id[:LONE_ID_BYTES], learning=Learning(RATE, UNIT))
            start = time.process_time()
            group = encode_learned(vae, [image.pixels], header, CodingSettings(learn=True, lattices=told))
            middle_time = time.process_time()
            if not np.array_equal(decode_learned(vae, group)[0], image.pixels):
                raise SystemExit(f"{name} does not come back")
            key = "with lattice" if told else "without lattice"
            row["bytes"][key] = len(build_lone(group))
            row["seconds"][key] = [round(middle_time - start, 2), round(time.process_time() - middle_time, 2)]
            row["on a lattice"] = group.header.learning is not None and group.header.learning.lattices
        for peer in peers():
            row["bytes"][peer.label] = len(peer.encode(image.pixels))
        rows.append(row)
        print(name, row["on a lattice"], {key: rate(size, image) for key, size in row["bytes"].items()}, flush=True)
    return {"bits_per_subpixel": rates(rows), "photographs": rows}


def rate(size: int, image: PixelImage) -> float:
    """Bits a sub-pixel."""
    return round(8 * size / image.samples, 4)


def rates(rows: list[Row]) -> dict[str, float]:
    """Bits a sub-pixel of all files together, of each coder."""
    subpixels = 3 * sum(row["pixels"] for row in rows)
    return {key: round(8 * sum(row["bytes"][key] for row in rows) / subpixels, 4) for key in rows[0]["bytes"]}


if __name__ == "__main__":
    main()
