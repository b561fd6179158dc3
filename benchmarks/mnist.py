"""Rates and times on MNIST: the table of benchmarks/README.md.

    python benchmarks/mnist.py [--data-dir DIR] [--images N] [--models NAME ...] [--parts rates|times ...] [--out FILE]

For each shipped model, encoder and K = 0..10 the first N test images are compressed into one archive, read back and
compared; rates are bytes of the whole file, net rates (ELBO, 16 draws of z) stand beside them. Times are of one
process, warm; general tools run on the same images in the same process. A run of some models or parts keeps what the
results file says of the others.
"""

from __future__ import annotations

import argparse
import bz2
import io
import json
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from PIL import Image

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import net_bits
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage
from bbcompress.limits import ENCODERS
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import InstalledModel, Zoo
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader
from bbcompress.training.datasets import load_mnist

K_MAX = 10
NET_SAMPLES = 16
LONE_IMAGES = 100
REPEATS = 5
PARTS = ["rates", "times"]
MOSAIC_COLUMNS = 25
NumpyArray = np.ndarray[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--models", nargs="*", help="names; all shipped ones of MNIST's size if not given")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mnist.json")
    args = parser.parse_args()

    grey = np.asarray(load_mnist(args.data_dir).test[: args.images])
    data = {"bernoulli": (grey > 127).astype(np.uint8), "discretised_logistic": grey}
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {"models": {}}
    results.update(images=f"first {len(grey)} MNIST test images", environment=environment())
    results["general_tools"] = {name: general_tools(x) for name, x in data.items()}
    for entry in Zoo().entries:
        if "channels" in entry.card:  # a local model: see local.py
            continue
        if entry.card.get("shape") != [28, 28] or (args.models and entry.name not in args.models):
            continue
        print(entry.name, flush=True)
        model = results["models"].setdefault(entry.name, {})
        if model.get("id") != entry.id.hex():
            model.clear()
        model.update(measure_model(entry, data[entry.card["likelihood"]], args.parts))
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {args.out}")


def images_of(x: NumpyArray) -> list[tuple[str, PixelImage]]:
    """Named images as a folder of files 0000.png, 0001.png, ... would give them; binary ones as levels 0 and 255."""
    scale = 255 if x.max() == 1 else 1
    return [(f"{number:04}.png", PixelImage("L", pixels * np.uint8(scale))) for number, pixels in enumerate(x)]


def measure_model(entry: InstalledModel, x: NumpyArray, parts: list[str]) -> dict[str, Any]:
    """What the tables say of one model."""
    images = images_of(x)
    result: dict[str, Any] = {"id": entry.id.hex(), "card": entry.card}
    if "rates" in parts:
        result.update(measure_rates(entry, x, images))
    if "times" in parts:
        result["milliseconds_per_image"] = {f"K={k}": times(entry, images, k) for k in (0, K_MAX)}
        result["whole_process_seconds"] = process_times(entry, images[0][1])
        result["load_at_times"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        print("  ", result["milliseconds_per_image"], result["whole_process_seconds"], flush=True)
    return result


def measure_rates(entry: InstalledModel, x: NumpyArray, images: list[tuple[str, PixelImage]]) -> dict[str, Any]:
    """Whole-file and net rates by encoder and K, and the mean size of images alone in their files."""
    vae = model_of(entry.weights, NumpyBackend())
    rate = entry.weights.learning_rate
    strips = Strips.all_of(Canvas.of(x.reshape(*x.shape[:3], -1), entry.weights.tile))
    result: dict[str, Any] = {"rates": {}}
    for encoder in ENCODERS:
        rows = []
        for k in range(K_MAX + 1):
            codec = BitsBack(vae, encoder, k, rate)
            net = float(net_bits(codec, strips, NET_SAMPLES).mean()) / entry.weights.dimensions
            data = archive(entry, images, k, encoder)
            check(data, images)
            whole = 8 * len(data) / x.size
            rows.append({"K": k, "bytes": len(data), "whole_file": whole, "net": net, "overhead": whole / net - 1})
            print(f"  {encoder} K={k}: {len(data)} bytes, {whole:.5f} whole file, {net:.5f} net", flush=True)
        result["rates"][encoder] = rows
    lone = [len(Compressor(Options(model=entry.folder)).lone(image)[0]) for _, image in images[:LONE_IMAGES]]
    result["lone_images"] = {
        "images": len(lone),
        "mean_bytes": statistics.mean(lone),
        "min": min(lone),
        "max": max(lone),
    }
    print(f"  lone: {statistics.mean(lone):.2f} bytes", flush=True)
    return result


def archive(
    entry: InstalledModel, images: list[tuple[str, PixelImage]], k: int, encoder: str, verify: bool = False
) -> bytes:
    """The archive of the images, as `bbc compress` writes it."""
    out = io.BytesIO()
    Compressor(Options(model=entry.folder, k=k, encoder=encoder, verify=verify)).archive(images, out)
    return out.getvalue()


def check(data: bytes, images: list[tuple[str, PixelImage]]) -> None:
    """End the benchmark unless the archive gives the very same images."""
    reader = Reader(io.BytesIO(data))
    back = {reader.names[position]: image for position, image in reader.images()}
    if back != dict(images):
        sys.exit("the images did not come back as they were")


def times(entry: InstalledModel, images: list[tuple[str, PixelImage]], k: int) -> dict[str, float]:
    """Milliseconds an image, best of some runs, in this process with the model loaded and kernels compiled."""
    plain = Compressor(Options(model=entry.folder, k=k, verify=False))
    verified = Compressor(Options(model=entry.folder, k=k, verify=True))
    data = archive(entry, images, k, "rha")
    reader = Reader(io.BytesIO(data), open_models(entry.folder))

    def best(action: Callable[[], Any]) -> float:
        action()
        seconds = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - begin)
        return round(1000 * min(seconds) / len(images), 4)

    return {
        "compress": best(lambda: plain.archive(images, io.BytesIO())),
        "compress_verified": best(lambda: verified.archive(images, io.BytesIO())),
        "decompress": best(lambda: list(reader.images())),
    }


def process_times(entry: InstalledModel, image: PixelImage) -> dict[str, float]:
    """Median seconds of whole processes on one digit, with warm caches."""
    bbc = [sys.executable, "-m", "bbcompress"]
    with tempfile.TemporaryDirectory() as folder:
        source, packed, back = (str(Path(folder) / name) for name in ("digit.png", "digit.bbc", "back.png"))
        Image.fromarray(image.pixels).save(source)
        commands = {
            "compress": [*bbc, "compress", source, "-o", packed, "-q", "-f", "-m", str(entry.folder)],
            "decompress": [*bbc, "decompress", packed, "-o", back, "-q", "-f", "-m", str(entry.folder)],
            "help": [*bbc, "--help"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(REPEATS + 1):
            for name, command in commands.items():
                begin = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - begin)
    return {name: round(statistics.median(values[1:]), 3) for name, values in seconds.items()}


def general_tools(x: NumpyArray) -> dict[str, float]:
    """Bits per dimension of general tools on the same images: each image alone, and all of them at once."""
    scale = 255 if x.max() == 1 else 1
    pictures = [Image.fromarray(pixels * np.uint8(scale)) for pixels in x]
    packed = np.packbits(x) if scale == 255 else x
    sizes = {
        "PNG, each": sum(len(_saved(picture, "PNG", optimize=True)) for picture in pictures),
        "WebP lossless, each": sum(len(_saved(p, "WEBP", lossless=True, quality=100, method=4)) for p in pictures),
        "bz2, all pixels": min(len(bz2.compress(raw, 9)) for raw in (x.tobytes(), packed.tobytes())),
        "xz, all pixels": min(
            len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)) for raw in (x.tobytes(), packed.tobytes())
        ),
    }
    mosaic = _mosaic(x) * np.uint8(scale)
    sizes["PNG, one mosaic"] = len(_saved(Image.fromarray(mosaic), "PNG", optimize=True))
    try:
        import imagecodecs
    except ImportError:
        pass
    else:
        sizes["JPEG XL effort 9, one mosaic"] = len(imagecodecs.jpegxl_encode(mosaic, lossless=True, effort=9))
    return {name: round(8 * size / x.size, 4) for name, size in sizes.items()}


def _saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def _mosaic(x: NumpyArray) -> NumpyArray:
    """The images side by side in rows of 25, the last row filled up with zeros."""
    rows = -(-len(x) // MOSAIC_COLUMNS)
    padded = np.zeros((rows * MOSAIC_COLUMNS, *x.shape[1:]), x.dtype)
    padded[: len(x)] = x
    grid = padded.reshape(rows, MOSAIC_COLUMNS, *x.shape[1:])
    return np.ascontiguousarray(grid.swapaxes(1, 2).reshape(rows * x.shape[1], -1))


if __name__ == "__main__":
    main()
