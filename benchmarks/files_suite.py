"""Test images of others, valid and not: what can be read is kept exactly, what cannot is refused in one line.

    python benchmarks/files_suite.py [--folder NAME=DIR ...] [--max-pixels N] [--json FILE]

PngSuite is in tests/data; its pixels are compared with what another program read (its rgba.json). Further folders, as
`Tests/images` of Pillow's source distribution and `contrib/testpngs` of libpng's, are gone through with what is below
them; there, PNG files are compared with what imagecodecs (libpng) reads, where it is installed. Every image is
compressed on its own, decompressed, and compared: pixels, palette, transparency and metadata.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment

from bbcompress.archive.lone import parse_lone
from bbcompress.codecs.fallback import codecs as fallback
from bbcompress.errors import BBCError
from bbcompress.images.formats.registry import image_suffixes
from bbcompress.images.image import PixelImage
from bbcompress.images.read import read_frames, read_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, is_fallback
from bbcompress.pipeline.reader import Reader
from bbcompress.system.output import write_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from seen_for_tests import rgba  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "files-suite.json"
SUITE = ROOT / "tests" / "data" / "pngsuite"
MAX_PIXELS = 1 << 20
MAX_FRAMES = 4
CODECS = {
    fallback.RAW: "raw",
    fallback.PNG: "PNG",
    fallback.WEBP: "WebP",
    fallback.BANDS: "bands",
    fallback.BYTES: "bytes",
    fallback.BYTE_DIFFERENCES: "byte differences",
    fallback.DEEP: "deep",
}
KEPT, REFUSED, WRONG = "kept", "refused", "wrong"


@dataclass
class Row:
    """What came of a file. outcome: `kept` exactly, `refused` or `wrong`. why: the line that refused it, or what is
    wrong. coder: the model or codec. seen: whether another program read the same pixels, None where none was asked.
    frames: images of it that were looked at, of animations and pages."""

    name: str
    outcome: str
    size: int
    mode: str = ""
    width: int = 0
    height: int = 0
    coder: str = ""
    coded_size: int = 0
    why: str = ""
    seen: bool | None = None
    frames: int = 1


def check(path: Path, name: str, compressor: Compressor, max_pixels: int = MAX_PIXELS) -> Row:
    """Compress a file, decompress it and compare."""
    row = Row(name, REFUSED, path.stat().st_size)
    try:
        images = _images(path, name, max_pixels, row)
    except BBCError as error:
        row.why = str(error).removeprefix(f"{name}: ")
        if "\n" in str(error) or not str(error):
            row.outcome, row.why = WRONG, "not one line"
        return row
    except Exception as error:
        row.outcome, row.why = WRONG, f"{type(error).__name__}: {error}"
        return row
    row.outcome, row.frames = KEPT, len(images)
    row.mode, row.width, row.height = images[0].mode, images[0].width, images[0].height
    for image in images:
        data, coder = code(compressor, image)
        row.coded_size += len(data)
        row.coder = row.coder or coder
        (found,) = Reader(io.BytesIO(data)).images()
        if found[1] != image:
            row.outcome, row.why = WRONG, "did not come back"
    return row


def _images(path: Path, name: str, max_pixels: int, row: Row) -> list[PixelImage]:
    try:
        return [read_image(path, name, max_pixels)]
    except BBCError as error:
        if "--frames" not in error.for_command_line:
            raise
        row.why = error.for_command_line.removeprefix(f"{name}: ")
        return list(islice(read_frames(path, name, max_pixels), MAX_FRAMES))


def code(compressor: Compressor, image: PixelImage) -> tuple[bytes, str]:
    """The file of an image, and what coded it."""
    data, summary = compressor.lone(image)
    (coder,) = summary.coders
    return data, CODECS[parse_lone(data).payload[0]] if is_fallback(coder) else coder


def png_suite(compressor: Compressor) -> Iterator[Row]:
    """All of PngSuite; the names of its invalid files begin with an x."""
    expected: dict[str, str] = json.loads((SUITE / "rgba.json").read_text(encoding="utf-8"))
    for path in sorted(SUITE.glob("*.png")):
        row = check(path, path.stem, compressor)
        if row.outcome == KEPT:
            seen = rgba(read_image(path))
            row.seen = hashlib.sha256(seen.astype(seen.dtype.newbyteorder(">")).tobytes()).hexdigest() == expected.get(
                path.stem
            )
        if row.seen is False or (row.outcome == KEPT) != (path.stem in expected):
            row.outcome, row.why = WRONG, row.why or "other pixels than another program reads, or an invalid file kept"
        yield row


def folder(place: Path, compressor: Compressor, max_pixels: int) -> Iterator[Row]:
    """All files below a folder that are named as images."""
    for path in sorted(place.rglob("*")):
        if path.suffix.lower() not in image_suffixes() or not path.is_file():
            continue
        row = check(path, path.relative_to(place).as_posix(), compressor, max_pixels)
        if row.outcome == KEPT and row.frames == 1 and path.suffix.lower() == ".png":
            row.seen = as_libpng_sees(path)
            if row.seen is False:
                row.outcome, row.why = WRONG, "other pixels than libpng reads"
        yield row


def as_libpng_sees(path: Path) -> bool | None:
    """Whether libpng reads the same pixels; None where it cannot be asked, or refuses the file."""
    try:
        png_decode = import_module("imagecodecs").png_decode
    except ImportError:
        return None
    try:
        theirs = png_decode(path.read_bytes())
    except Exception:  # imagecodecs has its own
        return None
    theirs = theirs.reshape(*theirs.shape[:2], -1)
    ours = rgba(read_image(path))
    if theirs.dtype != ours.dtype:
        return None
    colours, alpha = (theirs[:, :, :-1], theirs[:, :, -1:]) if theirs.shape[2] in (2, 4) else (theirs, None)
    if alpha is None:
        alpha = np.full((*theirs.shape[:2], 1), np.iinfo(theirs.dtype).max, theirs.dtype)
    return bool(np.array_equal(ours, np.dstack([colours.repeat(3 // colours.shape[2], axis=2), alpha])))


def told(rows: Iterator[Row]) -> list[Row]:
    """All of them; what is wrong is printed at once."""
    done = []
    for row in rows:
        done.append(row)
        if row.outcome == WRONG:
            print(f"wrong: {row.name}: {row.why}", flush=True)
    return done


def summary(rows: list[Row]) -> dict[str, Any]:
    """Numbers of files by suffix and outcome, and how often each kind of refusal was given."""
    by_suffix: dict[str, Counter[str]] = {}
    for row in rows:
        by_suffix.setdefault(Path(row.name).suffix.lower() or ".png", Counter())[row.outcome] += 1
    return {
        "files": len(rows),
        **{outcome: sum(row.outcome == outcome for row in rows) for outcome in (KEPT, REFUSED, WRONG)},
        "seen_by_another_program": sum(row.seen is True for row in rows),
        "by_suffix": {suffix: dict(counts) for suffix, counts in sorted(by_suffix.items())},
        "coders": dict(Counter(row.coder for row in rows if row.outcome == KEPT).most_common()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=DIR", help="further images")
    parser.add_argument("--only-folders", action="store_true", help="without PngSuite, whose results stay as they are")
    parser.add_argument("--max-pixels", type=int, default=MAX_PIXELS, help="of an image in these folders")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    compressor = Compressor(Options(verify=False))
    suites: dict[str, Iterator[Row]] = {} if options.only_folders else {"PngSuite": png_suite(compressor)}
    for given in options.folder:
        name, _, place = given.partition("=")
        suites[name] = folder(Path(place), compressor, options.max_pixels)
    wrong = 0
    for name, rows in suites.items():
        begin = time.process_time()
        done = told(rows)
        found = {
            "environment": environment(),
            "max_pixels": options.max_pixels,
            "cpu_seconds": round(time.process_time() - begin),
            "summary": summary(done),
            "rows": [asdict(row) for row in done],
        }
        report = json.loads(options.json.read_text()) if options.json.exists() else {"suites": {}}
        report["suites"][name] = found  # those that were not asked for stay
        write_file(options.json, (json.dumps(report, indent=1) + "\n").encode(), force=True)
        print(name, json.dumps(found["summary"]), flush=True)
        wrong += found["summary"][WRONG]
    if wrong:
        raise SystemExit("some files were not treated rightly")


if __name__ == "__main__":
    main()
