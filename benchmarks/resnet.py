"""Rates and times of the paper's CIFAR-10 system: benchmarks/results/resnet.json.

    python benchmarks/resnet.py [--data-dir DIR] [--photos DIR] [--model NAME] [--parts PART ...] [--out FILE]

rates: the first test images of CIFAR-10 in one archive for each encoder and K = 0..10 at the learning rate of the
paper, whole files read back and compared, net rates (the ELBO of the integers that are coded) and times beside them.
own-rate: a smaller table at the model's own rate. without-steps: K = 0 alone, for more images. lone: images alone in
their files, coded directly. full-size: times of the network at the paper's size; its weights are random, as no time
depends on them. photographs: images of other sizes. What is measured is the model: where lossless WebP would be
smaller, `bbc compress` takes that instead. Times are of one process, warm, and without verification unless it is
named. A run of some parts keeps the results of the others.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from local import peers, verify
from machine import environment
from mnist import check

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.groups import decode_images, encode_images
from bbcompress.codecs.rate import net_bits
from bbcompress.codecs.settings import CodingSettings
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import COLOUR
from bbcompress.images.read import read_image
from bbcompress.limits import ENCODERS
from bbcompress.models.cache import Models
from bbcompress.models.checkpoint import save
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import ENVIRONMENT_VARIABLE, InstalledModel, Zoo
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.training.datasets import load_cifar10

PARTS = ["rates", "own-rate", "without-steps", "lone", "full-size", "photographs"]
PAPER_RATE = 1000
"""Of K-step refinement, in units of 1e-6."""
K_MAX = 10
NET_SAMPLES = 4
LONE_IMAGES = 100
FULL_SIZE_IMAGES = 200
REPEATS = 3
PAPER = {
    "baseline": [4.6051, 4.6021, None, None, None, None, None, None, None, None, 4.5813],
    "rha": [4.5863, 4.5855, None, None, None, None, None, None, None, None, 4.5717],
}
"""Net rates of the paper's code by K, where the project has them."""
PAPER_SECONDS = {"K=0": 0.244, "K=10": 0.417}
WITHOUT_FALLBACK = mock.patch("bbcompress.codecs.choose.ByFallback.may_win", lambda *_: False)
NumpyArray = np.ndarray[Any, Any]
Named = list[tuple[str, PixelImage]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--photos", type=Path, default=Path("photos/val"))
    parser.add_argument("--model", default="cifar10-resnet")
    parser.add_argument("--images", type=int, default=1000, help="first test images of CIFAR-10")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "resnet.json")
    args = parser.parse_args()

    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    results["paper"] = {"net": PAPER, "seconds_per_image": PAPER_SECONDS}
    for part in args.parts:
        print(part, flush=True)
        results[part] = {"environment": environment(), **measure(part, args)}
        results[part]["load_after"] = os.getloadavg()[0]
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {args.out}")


def measure(part: str, args: argparse.Namespace) -> dict[str, Any]:
    """The results of one part."""
    if part == "full-size":
        return full_size(np.asarray(load_cifar10(args.data_dir).test[:FULL_SIZE_IMAGES]))
    entry = Zoo(args.model).chosen[0]
    found: dict[str, Any] = {"model": entry.id.hex()}
    if part == "photographs":
        return found | photographs(entry, args.photos)
    x = np.asarray(load_cifar10(args.data_dir).test[: args.images])
    if part == "lone":
        return found | lone(entry, x[:LONE_IMAGES])
    found |= {"card": entry.card, "images": f"first {len(x)} test images"}
    if part == "rates":
        return found | rates(entry, x, PAPER_RATE, range(K_MAX + 1))
    if part == "without-steps":
        return found | rates(entry, x, PAPER_RATE, (0,))
    return found | rates(entry, x, entry.weights.learning_rate, (0, 1, 2, 4, 10))


def named(x: NumpyArray) -> Named:
    """Images as a folder of files 0000.png, 0001.png, ... would give them."""
    return [(f"{number:04}.png", PixelImage("RGB", pixels)) for number, pixels in enumerate(x)]


def rates(entry: InstalledModel, x: NumpyArray, rate: int, ks: Sequence[int]) -> dict[str, Any]:
    """One archive of all images for each encoder and K: bits per sub-pixel, whole file and net, and times."""
    vae = model_of(entry.weights, NumpyBackend())
    strips = Strips.all_of(Canvas.of(x, entry.weights.tile))
    found: dict[str, Any] = {"learning_rate": rate / 1e6, "by_encoder": {}}
    for encoder in ENCODERS:
        rows = found["by_encoder"][encoder] = []
        for k in ks:
            net = float(net_bits(BitsBack(vae, encoder, k, rate), strips, NET_SAMPLES).sum()) / x.size
            row = {"K": k, "net": net, **archive(entry.folder, named(x), k, encoder, rate)}
            row["whole_file"] = 8 * row["bytes"] / x.size
            row["overhead"] = row["whole_file"] / net - 1
            rows.append(row)
            print(encoder, row, flush=True)
    baseline, rha = (found["by_encoder"][name] for name in ("baseline", "rha"))
    reached = [row["K"] for row in baseline if row["net"] <= rha[0]["net"]]
    found["baseline_reaches_rha_at_K"] = reached[0] if reached else None
    for name, rows in found["by_encoder"].items():
        found[f"{name}_falls_with_K"] = all(b["net"] < a["net"] for a, b in pairwise(rows))
    return found


def archive(model: Path, images: Named, k: int, encoder: str, rate: int) -> dict[str, Any]:
    """One archive of the images, read back: bytes and seconds an image. The verified time is of K = 0 and 10 only."""

    def compress(verified: bool) -> tuple[bytes, float]:
        options = Options(model=model, k=k, encoder=encoder, learning_rate=rate / 1e6, verify=verified)
        out = io.BytesIO()
        begin = time.perf_counter()
        with WITHOUT_FALLBACK:
            Compressor(options).archive(images, out)
        return out.getvalue(), (time.perf_counter() - begin) / len(images)

    data, seconds = compress(False)
    begin = time.perf_counter()
    check(data, images)
    row = {
        "bytes": len(data),
        "seconds_compress": round(seconds, 5),
        "seconds_decompress": round((time.perf_counter() - begin) / len(images), 5),
    }
    if k in (0, K_MAX):
        row["seconds_compress_verified"] = round(compress(True)[1], 5)
    return row


def lone(entry: InstalledModel, x: NumpyArray) -> dict[str, Any]:
    """Images alone in their files: bits per sub-pixel of the model, as users get them, and of general tools."""
    compressor = Compressor(Options(model=entry.folder, verify=False))
    images = [image for _, image in named(x)]
    with WITHOUT_FALLBACK:
        compressor.lone(images[0])
        begin = time.perf_counter()
        files = [compressor.lone(image)[0] for image in images]
        middle = time.perf_counter()
    for data, image in zip(files, images, strict=True):
        verify(data, image)
    end = time.perf_counter()
    as_given = [compressor.lone(image) for image in images]
    coders = [next(iter(summary.coders)) for _, summary in as_given]
    tools = [peers(image) for image in images]
    strips = Strips.all_of(Canvas.of(x, entry.weights.tile))
    codec = BitsBack(model_of(entry.weights, NumpyBackend()), "rha", 0, PAPER_RATE)
    found = {
        "images": f"first {len(x)} test images, each its own file",
        "mean_bytes": sum(map(len, files)) / len(x),
        "whole_file": 8 * sum(map(len, files)) / x.size,
        "net_of_bits_back": float(net_bits(codec, strips, NET_SAMPLES).sum()) / x.size,
        "whole_file_with_fallback": 8 * sum(len(data) for data, _ in as_given) / x.size,
        "coders_with_fallback": {coder: coders.count(coder) for coder in sorted(set(coders))},
        "seconds_compress": round((middle - begin) / len(x), 4),
        "seconds_decompress": round((end - middle) / len(x), 4),
        "tools": {name: 8 * sum(tool[name] for tool in tools) / x.size for name in tools[0]},
    }
    print(found, flush=True)
    return found


def full_size(x: NumpyArray) -> dict[str, Any]:
    """Seconds an image of the network at the paper's size, C = 256, with random weights."""
    try:
        import torch

        from bbcompress.training.architectures.resnet.export import quantise_resnet
        from bbcompress.training.architectures.resnet.network import ResNetShape, ResNetVAE
    except ImportError as error:
        sys.exit(f"the part full-size needs PyTorch: {error}")
    shape = ResNetShape((32, 32))
    vae = ResNetVAE(shape)
    with torch.no_grad():  # statistics of batch norm that keep activations in their range
        vae.train()
        rows = torch.from_numpy(x.reshape(len(x), -1).copy())
        for _ in range(20):
            vae.decode(vae.encode(rows)[0])
    vae.eval()
    found: dict[str, Any] = {"images": len(x), "C": shape.width, "blocks": shape.blocks, "seconds_per_image": {}}
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {ENVIRONMENT_VARIABLE: folder}):
        save(quantise_resnet(vae, vae), Path(folder))
        found["checkpoint_bytes"] = sum(path.stat().st_size for path in Path(folder).iterdir())
        archive(Path(folder), named(x[:8]), 1, "rha", PAPER_RATE)
        for k in (0, K_MAX):
            repeats = range(1 if k else REPEATS)
            runs = [archive(Path(folder), named(x), k, "rha", PAPER_RATE) for _ in repeats]
            best = min(runs, key=lambda row: float(row["seconds_compress"]))
            found["seconds_per_image"][f"K={k}"] = {k: v for k, v in best.items() if k.startswith("seconds")}
            print(found, flush=True)
    return found


def photographs(entry: InstalledModel, folder: Path) -> dict[str, Any]:
    """Some photographs, beside general tools: what the model makes of them, whether or not the fallback is smaller."""
    models = Models(Zoo(entry.folder), NumpyBackend())
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir())[::4]:
        image = read_image(path)
        begin = time.perf_counter()
        group = encode_images(models.model(entry), [image], COLOUR, CodingSettings())
        seconds = time.perf_counter() - begin
        if decode_images(group, models) != [image]:
            sys.exit("an image did not come back as it was")
        row = {"name": path.name, "width": image.width, "height": image.height, "seconds": round(seconds, 2)}
        rows.append({**row, "model": len(group.payload) + len(group.header.encode_group()), **peers(image)})
        print(rows[-1], flush=True)
    subpixels = sum(row["width"] * row["height"] * 3 for row in rows)
    names = [name for name in rows[0] if name not in ("name", "width", "height", "seconds")]
    return {"bits_per_subpixel": {n: 8 * sum(r[n] for r in rows) / subpixels for n in names}, "photographs": rows}


if __name__ == "__main__":
    main()
