"""What learning while coding gains and costs: benchmarks/results/learning.json.

    python benchmarks/learning.py [--photos DIR] [--data DIR] [--parts PART ...] [--read N] [--out FILE]

`alone`: each photograph of DIR in a file of its own, with learning and without. `archive`: all of them as one group
that learns from one after the other. Sizes are bytes of whole files; the first N of them are read back and compared.
`float32`: code lengths of crops against the same learning in float32. `steps`: files of crops that are learned from, by
K and encoder. `small`: archives of the first 1000 test images of MNIST and CIFAR-10, which DIR of --data has, without
learning, by default, and with. Times are seconds of the processor. Nothing of DIR may have been used to train the
models or to choose how they learn.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from learning_parts import float32, small, steps
from machine import environment

from bbcompress.archive.container import ArchiveWriter
from bbcompress.codecs.groups import encode_images
from bbcompress.codecs.settings import CodingSettings
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import COLOUR
from bbcompress.images.read import read_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

PARTS = ("alone", "archive", "float32", "steps", "small")
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("photos/val"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--read", type=int, default=1 << 20, help="files that are read back")
    parser.add_argument("--out", type=Path, default=RESULTS / "learning.json")
    args = parser.parse_args()
    images = [(path.name, read_image(path)) for path in sorted(args.photos.iterdir())]
    frozen = frozen_sizes()
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    for part in args.parts:
        ways: dict[str, Callable[[], dict[str, Any]]] = {
            "alone": lambda: alone(images, args.read, frozen),
            "archive": lambda: archive(images),
            "float32": lambda: float32(images),
            "steps": lambda: steps(images),
            "small": lambda: small(args.data),
        }
        found = ways[part]()
        results[part] = {"environment": environment(), **found}
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {args.out}")


def frozen_sizes() -> dict[str, dict[str, int]]:
    """What the same files took without learning, and others' files, of benchmarks/local.py."""
    photographs = json.loads((RESULTS / "local.json").read_text())["photos"]["photographs"]
    return {row["name"]: {"frozen": row["rha K=0"], "JPEG XL effort 9": row["JPEG XL effort 9"]} for row in photographs}


def alone(images: list[tuple[str, PixelImage]], read: int, frozen: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Each image in its file, as by default."""
    compressor = Compressor(Options(verify=False))
    rows = []
    for number, (name, image) in enumerate(images):
        start = time.process_time()
        data, _ = compressor.lone(image)
        row: dict[str, Any] = {"name": name, "pixels": image.width * image.height, "learned": len(data)}
        row["compress seconds"] = round(time.process_time() - start, 2)
        reader = Reader(io.BytesIO(data))
        row["learning"] = "learning" in reader.describe()["groups"][0]
        if number < read:
            start = time.process_time()
            if reader.read(0) != image:
                raise SystemExit(f"{name} does not come back")
            row["decompress seconds"] = round(time.process_time() - start, 2)
        rows.append(row | frozen.get(name, {}))
        print(rows[-1], flush=True)
    return {"bits_per_subpixel": rates(rows), "photographs": rows}


def archive(images: list[tuple[str, PixelImage]]) -> dict[str, Any]:
    """All images as one group that learns: the bytes of the archive."""
    models = open_models("photo", "cpu")
    vae = models.model(models.zoo.chosen[0])
    start = time.process_time()
    group = encode_images(vae, [image for _, image in images], COLOUR, CodingSettings(learn=True))
    seconds = time.process_time() - start
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add_group(group, [name for name, _ in images])
    writer.close()
    subpixels = sum(image.samples for _, image in images)
    size = len(file.getvalue())
    return {"bytes": size, "bits_per_subpixel": 8 * size / subpixels, "compress seconds": round(seconds, 1)}


def rates(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Bits a sub-pixel of all files of each kind that all rows have."""
    subpixels = 3 * sum(row["pixels"] for row in rows)
    kinds = [kind for kind in ("learned", "frozen", "JPEG XL effort 9") if all(kind in row for row in rows)]
    return {kind: 8 * sum(row[kind] for row in rows) / subpixels for kind in kinds}


if __name__ == "__main__":
    main()
