"""The figure at the top of README.md: how small files are, against the time to write and to read them.

    python benchmarks/front_page.py                  # draws docs/rate-against-time.png from the results
    python benchmarks/front_page.py --digits DIR     # measures MNIST's digits before: results/front-page.json

Photographs are Kodak's, each in a file of its own (`photographs.py`), as they are coded where `bbc` does not recognise
their colours: with these it takes a third less, but few photographs come from Photo CDs. Digits are MNIST's first 1000
test images: `bbc` has them in one archive, the other formats as one mosaic of 25 columns, which is better for them than
1000 files. Times are processor seconds of one process, after a first run that is not counted; all files are read back
and compared.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment

from bbcompress.bench.peers import peers
from bbcompress.bench.plot import figure_class
from bbcompress.images.image import from_array
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader
from bbcompress.training.datasets import load_mnist

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "front-page.json"
FIGURE = HERE.parent / "docs" / "rate-against-time.png"
COUNT, COLUMNS = 1000, 25
OURS, OTHERS = "#0b6e4f", "#5f6b7a"
LEFT_OUT = "JPEG XL e7"
"""Its line lies next to that of e9."""
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", metavar="DIR", help="where MNIST is")
    args = parser.parse_args()
    if args.digits is not None:
        start = environment()
        rows = digits(np.asarray(load_mnist(args.digits).test)[:COUNT])
        RESULTS.write_text(json.dumps({"environment": start, "digits": rows}, indent=1) + "\n")
    FIGURE.write_bytes(draw(photographs(), json.loads(RESULTS.read_text())["digits"]))
    print(f"written: {FIGURE}")


def digits(images: np.ndarray[Any, Any]) -> list[Row]:
    """What digits, uint8 (N, H, W), take by bbc in one archive and by others as a mosaic."""
    compressor = Compressor(Options(verify=False))

    def write() -> bytes:
        file = io.BytesIO()
        compressor.archive([(None, from_array(image)) for image in images], file)
        return file.getvalue()

    def read(data: bytes) -> np.ndarray[Any, Any]:
        reader = Reader(io.BytesIO(data))
        return np.stack([reader.read(number).pixels for number in range(len(images))])

    rows = [measured("bbc", images, write, read)]
    height, width = images.shape[1:]
    across = images.reshape(-1, COLUMNS, height, width).swapaxes(1, 2)
    mosaic = np.ascontiguousarray(across.reshape(-1, COLUMNS * width))
    for peer in peers():
        name = f"{peer.coder} {peer.setting}".strip()
        rows.append(measured(name, mosaic, partial(peer.encode, mosaic), peer.decode))
    return rows


def measured(
    coder: str,
    pixels: np.ndarray[Any, Any],
    write: Callable[[], bytes],
    read: Callable[[bytes], np.ndarray[Any, Any]],
) -> Row:
    """Bits a sub-pixel and processor seconds a megapixel of the second of two runs."""
    for _ in range(2):
        begin = time.process_time()
        data = write()
        written = time.process_time()
        back = read(data)
        end = time.process_time()
    if back.ndim > pixels.ndim:
        back = back[..., 0]
    if not np.array_equal(back, pixels):
        raise SystemExit(f"{coder} does not bring the pixels back")
    megapixels = pixels.size / 1e6
    seconds = [round((written - begin) / megapixels, 3), round((end - written) / megapixels, 3)]
    return {"coder": coder, "bits": round(8 * len(data) / pixels.size, 4), "seconds": seconds}


def photographs() -> list[Row]:
    """Of Kodak, each photograph in a file of its own."""
    found = json.loads((HERE / "results" / "photographs-kodak-without-lattices.json").read_text())["alone"]
    rows, pixels = found["photographs"], sum(row["pixels"] for row in found["photographs"])
    return [
        {
            "coder": coder,
            "bits": bits,
            "seconds": [1e6 * sum(row["seconds"][coder][side] for row in rows) / pixels for side in (0, 1)],
        }
        for coder, bits in found["bits_per_subpixel"].items()
    ]


def draw(*panels: list[Row]) -> bytes:
    """A PNG of both panels."""
    figure = figure_class()(figsize=(10, 3.6), layout="constrained")
    titles = "Kodak, each its own file, colours not recognised", "MNIST: 1000 digits together"
    for axes, title, rows in zip(figure.subplots(1, 2), titles, panels, strict=True):
        axes.set_title(title, fontsize=10, loc="left")
        rows = [row for row in rows if row["coder"] != LEFT_OUT]
        for row in rows:
            ours = row["coder"] == "bbc"
            write, read = row["seconds"]
            colour = OURS if ours else OTHERS
            axes.plot([read, write], [row["bits"]] * 2, color=colour, linewidth=2.2 if ours else 1.2, zorder=2)
            size = 7 if ours else 5
            axes.plot(read, row["bits"], "o", color=colour, markersize=size, zorder=3)
            axes.plot(write, row["bits"], "o", color=colour, markerfacecolor="white", markersize=size, zorder=3)
        label(axes, rows)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("processor seconds a megapixel:  ● to read   ○ to write", fontsize=9)
        axes.set_ylabel("bits per sub-pixel, whole files", fontsize=9)
        axes.grid(alpha=0.25, zorder=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return out.getvalue()


def label(axes: Any, rows: list[Row]) -> None:
    """Write each coder's name and rate left of its line."""
    for row in rows:
        ours = row["coder"] == "bbc"
        axes.annotate(
            f"{row['coder']}  {row['bits']:.2f}",
            (min(row["seconds"]), row["bits"]),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
            color=OURS if ours else "#333333",
            fontweight="bold" if ours else "normal",
        )
    low, high = min(min(row["seconds"]) for row in rows), max(max(row["seconds"]) for row in rows)
    axes.set_xlim(low / 20, high * 4)


if __name__ == "__main__":
    main()
