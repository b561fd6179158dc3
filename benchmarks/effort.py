"""Rate against processor time by effort, beside JPEG XL, WebP and PNG: benchmarks/results/effort.json, effort.png.

    python benchmarks/effort.py [--photos DIR] [--count N] [--side S] [--efforts LIST] [--out FILE]
    python benchmarks/effort.py --redraw [--out FILE]
    python benchmarks/effort.py --settings [--photos DIR] ...

Of `count` photographs, taken evenly from DIR, the middle square of that side is a file, which is read back and
compared. Processor seconds are of one process, which has compiled its loops before, with one BLAS thread. With
`--redraw` the plots are drawn anew from the results that are there. With `--settings` ways of coding are measured by
themselves: what K, the encoder, and rate and unit of learning are worth (results/effort-settings.json); to be run on
crops of training photographs, by which the ladder of efforts was chosen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from tables import efforts
from threadpoolctl import threadpool_limits

import bbcompress as bbc
from bbcompress.bench.efforts import EffortReport, Point, format_point, measure_efforts, plot_efforts
from bbcompress.bench.report import Data
from bbcompress.bench.schedule import parse_efforts
from bbcompress.codecs.choose import fit_of
from bbcompress.codecs.groups import decode_images
from bbcompress.codecs.settings import CodingSettings
from bbcompress.codecs.ways import ByModel
from bbcompress.images.image import PixelImage
from bbcompress.limits import ENCODERS
from bbcompress.pipeline.options import open_models
from bbcompress.system.threads import limit_threads

RESULTS = Path(__file__).parent / "results"
SETTINGS = [
    *(CodingSettings(encoder, k) for encoder in ENCODERS for k in (0, 4, 10)),
    *(CodingSettings(encoder, k, learn=True) for encoder in ENCODERS for k in (0, 4, 10)),
    *(
        CodingSettings(learn=True, learn_rate=rate, learn_unit=unit)
        for rate, unit in ((500, 512), (500, 256), (350, 128), (700, 128), (1000, 128), (500, 64), (350, 64), (250, 64))
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("photos/val"))
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--efforts", default="1,3,5,7,9")
    parser.add_argument("--redraw", action="store_true")
    parser.add_argument("--settings", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.redraw:
        out = args.out or RESULTS / "effort.json"
        draw(stored(json.loads(out.read_text())), out)
        return
    limit_threads(1)
    data = photographs(args.photos, args.count, args.side)
    where = environment()
    with threadpool_limits(1):
        if args.settings:
            out = args.out or RESULTS / "effort-settings.json"
            rows = [measured(data, settings) for settings in SETTINGS]
            out.write_text(
                json.dumps({"environment": where, "data": described(data), "results": rows}, indent=1) + "\n"
            )
            return
        out = args.out or RESULTS / "effort.json"
        report = measure_efforts(data, parse_efforts(args.efforts), alone=True, progress=show)
    found = {"environment": where, "images": described(data), **report.as_json()}
    out.write_text(json.dumps(found, indent=1) + "\n")
    draw(report, out)
    print(efforts(found))


def stored(found: dict[str, Any]) -> EffortReport:
    """What has been measured. Of the images only the names are known: each is one black pixel."""
    blank = PixelImage("L", np.zeros((1, 1), np.uint8))
    data = Data(found["data"]["name"], [(name, blank) for name in found["images"]])
    return EffortReport(data, found["machine"], found["each_image_a_file"], [Point(**one) for one in found["results"]])


def draw(report: EffortReport, out: Path) -> None:
    """The plots beside the results."""
    for kind in ("png", "svg"):
        out.with_suffix(f".{kind}").write_bytes(plot_efforts(report, kind))


def photographs(folder: Path, count: int, side: int) -> Data:
    """The middle squares of some of the photographs."""
    paths = sorted(folder.iterdir())
    named = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        pixels = np.asarray(bbc.to_pillow(bbc.read_image(path)).convert("RGB"))
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        square = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        named.append((path.name, PixelImage("RGB", square)))
    return Data(f"middle {side} x {side} of photographs", named)


def described(data: Data) -> list[str]:
    """The images' names."""
    return [name for name, _ in data.images]


def show(point: Point) -> None:
    """A line as soon as it is known."""
    print(format_point(point), flush=True)


def measured(data: Data, settings: CodingSettings) -> dict[str, Any]:
    """Bytes of one way of coding, and its processor seconds per megapixel. Ends where pixels differ."""
    models = open_models()
    size, compress, decompress = 0, 0.0, 0.0
    pixels = sum(image.width * image.height for _, image in data.images) / 1e6
    for number, (_, image) in enumerate([data.images[0], *data.images]):
        fit = fit_of(image, models)
        begin = time.process_time()
        group = ByModel(fit.entries[0], models, fit.kind, settings).encode([image], lambda _: None).group
        middle = time.process_time()
        if decode_images(group, models) != [image]:
            raise AssertionError(f"{settings}: the pixels did not come back")
        if number:  # the first one compiled what it takes
            size += len(group.header.encode_group()) + len(group.payload)
            compress, decompress = compress + middle - begin, decompress + time.process_time() - middle
    row = {
        "encoder": settings.encoder,
        "K": settings.k,
        "learning": [settings.learn_rate or 500, settings.learn_unit or 128] if settings.learn else None,
        "bytes": size,
        "bits_per_subpixel": 8 * size / data.subpixels,
        "compress": round(compress / pixels, 2),
        "decompress": round(decompress / pixels, 2),
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
