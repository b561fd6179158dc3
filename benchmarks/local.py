"""Rates and times of the local models against general tools: benchmarks/results/local.json.

    python benchmarks/local.py [--data-dir DIR] [--photos DIR] [--parts PART ...] [--out FILE]

DIR of --photos holds the held-out photographs, DIR of --data-dir MNIST and CIFAR-10. Rates are bytes of whole files,
read back and compared before they count; `net` is the ELBO of the integers that are coded, `kl` what z costs of it.
`without z` codes the same images by the same model with every z at 0: what is lost is what z gives to this model,
which is not quite what a model trained without z would lose. A run of some parts keeps the results of the others.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import imagecodecs
import numpy as np
from fallback_probe import drawings
from machine import environment
from mnist import check, general_tools, images_of
from PIL import Image

from bbcompress.codecs import blocks
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.fallback.items import encode_item
from bbcompress.codecs.rate import code_bits, draw
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage
from bbcompress.images.read import read_image
from bbcompress.limits import ENCODERS
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import InstalledModel, Zoo
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader
from bbcompress.training.datasets import load_cifar10, load_mnist

PARTS = ["photos", "grey", "cifar10", "cifar10-more-steps", "mnist-grey-local", "mnist-binary-local"]
PARTS += ["drawings", "borders", "times"]
SIDES = (1024, 512, 256)
CODINGS = (("rha", 0), ("rha", 10), ("baseline", 0))
LONE_IMAGES = 25
DRAWINGS_EVERY = 3
REPEATS = 3
MOSAIC_COLUMNS = 25
TIMED = (512, 768)
NumpyArray = np.ndarray[Any, Any]
Named = list[tuple[str, PixelImage]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--photos", type=Path, default=Path("photos/val"))
    parser.add_argument("--images", type=int, default=1000, help="first test images of MNIST and CIFAR-10")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "local.json")
    args = parser.parse_args()

    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    for part in args.parts:
        print(part, flush=True)
        results[part] = {"environment": environment(), **measure(part, args)}
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {args.out}")


def measure(part: str, args: argparse.Namespace) -> dict[str, Any]:
    """The results of one part."""
    if part in ("photos", "grey"):
        return photographs(args.photos, part == "grey")
    if part == "drawings":
        return line_art()
    if part == "times":
        return times(args.photos)
    if part == "borders":
        return borders(args.photos)
    if part.startswith("cifar10"):
        x = np.asarray(load_cifar10(args.data_dir).test[: args.images])
        images = [(f"{number:04}.png", PixelImage("RGB", pixels)) for number, pixels in enumerate(x)]
        if part == "cifar10-more-steps":
            entry = model("cifar10")
            return {"model": entry.id.hex(), "rates": archive_sizes(entry, x, images, [("rha", 20)])}
        found = archive_rates(model("cifar10"), x, images)
        return {"images": f"first {len(x)} test images", **found, "tools": mosaic(x)}
    grey = np.asarray(load_mnist(args.data_dir).test[: args.images])
    x = (grey > 127).astype(np.uint8) if part == "mnist-binary-local" else grey
    found = archive_rates(model(part), x, images_of(x))
    return {"images": f"first {len(x)} test images", **found, "tools": general_tools(x)}


def model(name: str) -> InstalledModel:
    """The installed model of a name."""
    return Zoo(name).chosen[0]


# --- Photographs ---------------------------------------------------------------------------------


def photographs(folder: Path, grey: bool) -> dict[str, Any]:
    """Each photograph alone in its file, by the model and by general tools."""
    entry = model("grey" if grey else "photo")
    rows = []
    with ProcessPoolExecutor() as pool:
        for row in pool.map(partial(photograph, grey=grey), sorted(folder.iterdir())):
            rows.append(row)
            print(row, flush=True)
    subpixels = sum(row["width"] * row["height"] * (1 if grey else 3) for row in rows)
    columns = [name for name in rows[0] if name not in ("name", "width", "height")]
    total = {name: 8 * sum(row[name] for row in rows) / subpixels for name in columns if not name.endswith("bits")}
    total |= {name[:-5]: sum(row[name] for row in rows) / subpixels for name in columns if name.endswith("bits")}
    for k in (0, 10):
        total[f"rha K={k} against JPEG XL"] = total[f"rha K={k}"] / total["JPEG XL effort 9"] - 1
        worse = [row["name"] for row in rows if row[f"rha K={k}"] > row["JPEG XL effort 9"]]
        total[f"rha K={k}, larger than JPEG XL"] = worse
    return {"model": entry.id.hex(), "bits_per_subpixel": total, "photographs": rows}


def photograph(path: Path, grey: bool) -> dict[str, Any]:
    """Bytes of one photograph by the model and by general tools, and its net bits."""
    entry = model("grey" if grey else "photo")
    image = read_image(path)
    if grey:
        image = PixelImage("L", np.asarray(Image.fromarray(image.pixels).convert("L")))
    row: dict[str, Any] = {"name": path.name, "width": image.width, "height": image.height}
    for encoder, k in CODINGS:
        data, _ = Compressor(Options(model=entry.folder, k=k, encoder=encoder, verify=False)).lone(image)
        verify(data, image)
        row[f"{encoder} K={k}"] = len(data)
    return row | peers(image) | net(entry, image.pixels[None])


def peers(image: PixelImage) -> dict[str, int]:
    """Bytes of general tools."""
    picture = Image.fromarray(image.pixels)
    return {
        "JPEG XL effort 9": len(imagecodecs.jpegxl_encode(image.pixels, lossless=True, effort=9)),
        "JPEG XL effort 7": len(imagecodecs.jpegxl_encode(image.pixels, lossless=True, effort=7)),
        "WebP method 4": saved(picture, "WEBP", lossless=True, exact=True, method=4, quality=100),
        "WebP method 6": saved(picture, "WEBP", lossless=True, exact=True, method=6, quality=100),
        "PNG": saved(picture, "PNG", optimize=True),
    }


def saved(picture: Image.Image, form: str, **options: Any) -> int:
    """Bytes of Pillow's file."""
    out = io.BytesIO()
    picture.save(out, form, **options)
    return len(out.getvalue())


def verify(data: bytes, image: PixelImage) -> None:
    """End the benchmark unless a file gives the very same image."""
    ((_, back),) = Reader(io.BytesIO(data)).images()
    if back != image:
        sys.exit("an image did not come back as it was")


def net(entry: InstalledModel, images: NumpyArray, encoder: str = "rha") -> dict[str, float]:
    """Bits of images (N, H, W) or (N, H, W, C) as the ELBO counts them, of which KL, and with every z at 0."""
    weights = entry.weights
    if not isinstance(weights, LocalWeights):
        sys.exit(f"{entry.name} is no local model")
    vae = ExactLocalVAE(weights, NumpyBackend())
    codec = BitsBack(vae, encoder, 0, weights.learning_rate)
    strips = Strips.all_of(Canvas.of(images.reshape(*images.shape[:3], -1), weights.tile))
    posterior = codec.posterior(strips)
    z = draw(posterior, np.random.default_rng(0))
    total = float(code_bits(codec, strips, posterior, z).sum())
    likelihood = float(vae.lengths(codec.model.prior.values(z), strips).sum()) / 2**30
    nothing = float(vae.lengths(np.zeros_like(z), strips).sum()) / 2**30
    return {"net bits": total, "kl bits": total - likelihood, "without z bits": nothing}


# --- Archives ------------------------------------------------------------------------------------


def archive_rates(entry: InstalledModel, x: NumpyArray, images: Named) -> dict[str, Any]:
    """One archive of all images for each encoder and K, whole file and net, in bits per sub-pixel."""
    found: dict[str, Any] = {"model": entry.id.hex(), "rates": archive_sizes(entry, x, images, CODINGS)}
    for encoder in ENCODERS:
        bits = net(entry, x, encoder)
        found[f"{encoder} K=0"] = {name[:-5]: value / x.size for name, value in bits.items()}
        print(encoder, found[f"{encoder} K=0"], flush=True)
    compressor = Compressor(Options(model=entry.folder, verify=False))
    lone = [len(compressor.lone(image)[0]) for _, image in images[:LONE_IMAGES]]
    found["lone_mean_bytes"] = sum(lone) / len(lone)
    return found


def archive_sizes(
    entry: InstalledModel, x: NumpyArray, images: Named, codings: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """One archive of all images for each encoder and K, read back: bytes, bits per sub-pixel, seconds."""
    rates: dict[str, Any] = {}
    for encoder, k in codings:
        out = io.BytesIO()
        begin = time.perf_counter()
        Compressor(Options(model=entry.folder, k=k, encoder=encoder, verify=False)).archive(images, out)
        middle = time.perf_counter()
        check(out.getvalue(), images)
        end = time.perf_counter()
        rates[f"{encoder} K={k}"] = {
            "bytes": len(out.getvalue()),
            "whole_file": 8 * len(out.getvalue()) / x.size,
            "seconds_compress": round(middle - begin, 2),
            "seconds_decompress": round(end - middle, 2),
        }
        print(encoder, k, rates[f"{encoder} K={k}"], flush=True)
    return rates


def mosaic(x: NumpyArray) -> dict[str, float]:
    """Bits per sub-pixel of all images side by side in one image, by general tools; and of each alone."""
    rows = len(x) // MOSAIC_COLUMNS
    grid = x[: rows * MOSAIC_COLUMNS].reshape(rows, MOSAIC_COLUMNS, *x.shape[1:]).swapaxes(1, 2)
    one = PixelImage("RGB", np.ascontiguousarray(grid.reshape(rows * x.shape[1], -1, 3)))
    rates = {f"{name}, one mosaic": 8 * size / one.pixels.size for name, size in peers(one).items()}
    each = [peers(PixelImage("RGB", pixels)) for pixels in x[:100]]
    rates |= {f"{name}, each of 100": 8 * sum(e[name] for e in each) / x[:100].size for name in each[0]}
    return rates


# --- Drawings and times --------------------------------------------------------------------------


def line_art() -> dict[str, Any]:
    """Screenshots, line art and the like: whole files of `bbc compress` without -m against WebP, method 4."""
    rows = []
    for kind, name, image in islice(drawings([]), 0, None, DRAWINGS_EVERY):
        data, summary = Compressor(Options()).lone(image)
        webp = saved(Image.fromarray(image.pixels), "WEBP", lossless=True, exact=True, method=4, quality=100)
        row: dict[str, Any] = {"kind": kind, "name": name, "bbc": len(data), "coder": next(iter(summary.coders))}
        row |= {"WebP method 4": webp, "more_than_webp": len(data) - webp, "fallback": len(encode_item(image))}
        rows.append(row)
        print(rows[-1], flush=True)
    return {"most_above_webp": max(row["more_than_webp"] for row in rows), "drawings": rows}


def borders(folder: Path) -> dict[str, Any]:
    """Bytes of photographs cut into blocks of other sides: what it costs that blocks do not see each other."""
    rows = []
    for path in sorted(folder.iterdir())[::4]:
        image = read_image(path)
        row: dict[str, Any] = {"name": path.name, "width": image.width, "height": image.height}
        for side in SIDES:
            with mock.patch.object(blocks, "BLOCK_SIDE", side):
                row[str(side)] = len(Compressor(Options(model="photo", verify=False)).lone(image)[0])
        rows.append(row)
        print(row, flush=True)
    first = sum(row[str(SIDES[0])] for row in rows)
    cost = {str(side): sum(row[str(side)] for row in rows) / first - 1 for side in SIDES}
    return {"cost_by_side": cost, "photographs": rows}


def times(folder: Path) -> dict[str, Any]:
    """Seconds of whole processes on a 768x512 part of each of two photographs, kernels compiled before."""
    found: dict[str, Any] = {"load": os.getloadavg()[0], "seconds": []}
    bbc = [sys.executable, "-m", "bbcompress"]
    height, width = TIMED
    with tempfile.TemporaryDirectory() as place:
        source, packed, back = (str(Path(place) / name) for name in ("photo.png", "photo.bbc", "back.png"))
        chosen = [path for path in sorted(folder.iterdir()) if fits(path)][:2]
        for path in chosen:
            Image.fromarray(read_image(path).pixels[:height, :width]).save(source)
            commands = {
                "compress --no-verify": ["compress", source, "-o", packed, "--no-verify", "-f", "-q"],
                "decompress": ["decompress", packed, "-o", back, "-f", "-q"],
                "compress --no-verify -K 10": ["compress", source, "-o", packed, "--no-verify", "-K", "10", "-f", "-q"],
                "decompress, K = 10": ["decompress", packed, "-o", back, "-f", "-q"],
            }
            row: dict[str, Any] = {"name": path.name}
            for name, command in commands.items():
                seconds = []
                for _ in range(REPEATS):
                    begin = time.perf_counter()
                    subprocess.run([*bbc, *command], check=True, stdout=subprocess.DEVNULL)
                    seconds.append(time.perf_counter() - begin)
                row[name] = {"best": round(min(seconds), 2), "median": round(sorted(seconds)[REPEATS // 2], 2)}
            begin = time.perf_counter()
            imagecodecs.jpegxl_encode(read_image(Path(source)).pixels, lossless=True, effort=9)
            row["JPEG XL effort 9, encode"] = round(time.perf_counter() - begin, 2)
            found["seconds"].append(row)
            print(row, flush=True)
    return found


def fits(path: Path) -> bool:
    """Whether a photograph is as large as what is timed."""
    with Image.open(path) as image:
        return image.width >= TIMED[1] and image.height >= TIMED[0]


if __name__ == "__main__":
    main()
