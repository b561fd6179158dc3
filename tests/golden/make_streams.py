"""Write streams/*.bbc, files of version 1 of the format that every later version has to read, and streams.json.

    python tests/golden/make_streams.py

They are made with the frozen tiny models of tests/data/models; those of the local model and of the residual VAE, for
RGB images of any size, with the images in tests/data/local and tests/data/resnet, which make_tiny_local.py and
make_tiny_resnet.py have drawn from them. A stream that exists is kept, for it is
the promise: to make one anew, before the format's first release, remove it. streams.json says of each with which
options it was made, how many images each of its segments has (none for a lone image), a hash of their names and pixels,
and where they are sample digits, which.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from starts_for_tests import beginning, by_planes

from bbcompress.codecs import learned
from bbcompress.codecs.kept import SourceFile
from bbcompress.exact.lattices import LATTICES
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import (
    CHUNK_AFTER,
    CHUNK_BEFORE_PALETTE,
    CHUNK_BEFORE_PIXELS,
    EXIF,
    ICC,
    INTERNATIONAL_TEXT,
    LEVELS,
    RESOLUTION,
    TEXT,
    XMP,
    Record,
)
from bbcompress.images.read import read_first, read_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Item as Given
from bbcompress.pipeline.options import Options

FOLDER = Path(__file__).resolve().parent / "streams"
DATA = Path(__file__).resolve().parents[1] / "data"
KEPT = DATA / "kept" / "two-frames.gif"
"""An animation, of which only the first picture is an image: it is kept as it is."""

Item = tuple[str | None, PixelImage]
"""Name in the archive, image."""


def digits(kind: str, numbers: range, names: str | None = "{:04}.png") -> list[Item]:
    """Sample digits, their names made by format, or without names."""
    folder = DATA / "digits" / kind
    return [(names and names.format(number), read_image(folder / f"{number:04}.png")) for number in numbers]


def changed(kind: str, number: int, change: Callable[[Any], Any], name: str | None = None) -> Item:
    """A digit whose pixels were changed."""
    return name, from_array(change(digits(kind, range(number, number + 1))[0][1].pixels))


def other(mode: str, name: str | None = None) -> Item:
    """A small image that no model codes, from integers alone."""
    y, x = np.mgrid[0:24, 0:32]
    wave = (x * x + 3 * y * y + x * y) // 16
    if mode == "P":
        return name, PixelImage("P", (wave % 5).astype(np.uint8), palette=bytes(range(15)), transparency=b"\x20")
    if mode == "I;16":
        return name, from_array((wave * 257 % 65536).astype(np.uint16))
    if mode == "RGB;16":
        noise = (wave * 40503 + x * 30011) % 256
        channels = [2048 * x + noise, 2560 * y + noise // 3, wave * 64]
        return name, from_array(np.stack(channels, axis=2).astype(np.uint16))
    if mode == "LA;16":
        return name, from_array(np.stack([wave % 256 * 257, (wave % 7 * 13 + x) * 257], axis=2).astype(np.uint16))
    planes = {"RGB": [8 * x, 10 * y, wave % 256], "RGBA": [8 * x, wave % 7, y, 255 - x]}[mode]
    return name, from_array(np.stack(planes, axis=2).astype(np.uint8))


def annotated(item: Item, *records: Record) -> Item:
    """An image with metadata."""
    return item[0], replace(item[1], metadata=records)


TITLE, LONG_TEXT = Record(TEXT, b"Title\0A digit"), Record(TEXT, b"Comment\0" + bytes(range(32, 127)) * 4)
RECORDS = (
    Record(ICC, b"mine\0" + bytes(range(256)) * 2),
    Record(EXIF, b"II*\0\x08\0\0\0\0\0\0\0\0\0"),
    Record(XMP, b"<x:xmpmeta/>"),
    Record(INTERNATIONAL_TEXT, "Title\0de\0Titel\0Eine Ziffer \N{EM DASH}".encode()),
    Record(RESOLUTION, bytes.fromhex("02ac0201ac0201")),
    Record(CHUNK_BEFORE_PALETTE, b"gAMA\0\0\xb1\x8f"),
    Record(CHUNK_AFTER, b"tIME\x07\xd1\1\2\3\4\5"),
)


def low_and_high(low: int, high: int) -> Callable[[Any], Any]:
    """A binary digit in other levels."""
    return lambda pixels: np.where(pixels > 127, high, low).astype(np.uint8)


def local(*names: str, folder: str | None = None) -> list[Item]:
    """Images that the local model has drawn, their names in a folder of the archive, or without names."""
    return [(folder and f"{folder}/{name}.png", read_image(DATA / "local" / f"{name}.png")) for name in names]


def part(item: Item, width: int) -> Item:
    """The left columns of an image."""
    return item[0], replace(item[1], pixels=np.ascontiguousarray(item[1].pixels[:, :width]))


def as_decoded(item: Item, code: int, *exceptions: tuple[int, int]) -> Item:
    """An image of colours as if it came from a decoder: on a lattice, but for pixels at (row, column)."""
    name, image = item
    lattice = LATTICES[code]
    r, g, b = np.moveaxis(image.pixels.astype(np.int64), -1, 0)
    y = (77 * r + 150 * g + 29 * b) >> 8
    cb, cr = (128 + (144 * (b - y) >> 8)).clip(0, 255), (128 + (183 * (r - y) >> 8)).clip(0, 255)
    green = lattice.luma[y] + lattice.green_blue[cb] + lattice.green_red[cr]
    sums = [lattice.luma[y] + lattice.red[cr], green, lattice.luma[y] + lattice.blue[cb]]
    pixels = (np.stack(sums, axis=-1) >> lattice.shift).clip(0, 255).astype(np.uint8)
    for place in exceptions:
        pixels[place] = 1, 2, 3
    return name, replace(image, pixels=pixels)


def resnet(*names: str, folder: str | None = None) -> list[Item]:
    """The same of the residual VAE."""
    return [(folder and f"{folder}/{name}.png", read_image(DATA / "resnet" / f"{name}.png")) for name in names]


def with_alpha(item: Item, alpha: Any = None) -> Item:
    """An image of grey or colours with an alpha, else one that raw stores best, which is the same for every Pillow."""
    name, image = item
    if alpha is None:
        number = np.arange(image.height * image.width).reshape(image.height, image.width) + 1
        for factor in (2654435761, 2246822519):
            number = number * factor % (1 << 32)
            number ^= number >> 15
        alpha = number % 256
    return name, from_array(np.dstack([image.pixels, np.asarray(alpha, np.uint8)]))


def deep() -> Any:
    """Samples of 16 bits in three channels, from integers: of many levels, of few, and with values that come again."""
    y, x = np.mgrid[:17, :26]
    noise = (x * x * 5 + y * 977 + x * y * 131) % 251
    first = 30000 + 900 * y - 13 * x * x + noise
    third = np.where((x // 2 + y // 2) % 3 < 2, 512, 40 * (first // 700)).repeat(2, 1)[:, :26]
    return np.stack([first, first // 90 * 97 + noise // 125, third], axis=2).astype(np.uint16)


def two_frames(name: str | None = None) -> Item:
    """The first picture of a file that is kept as it is."""
    return name, read_first(KEPT.read_bytes(), KEPT.name)[0]


def mixed(name: str) -> list[Item]:
    """Images of all kinds, so that groups hold them in another order."""
    items = []
    for number in range(3):
        items += digits("binary", range(number, number + 1), f"{name}/binary {{}}.png")
        items += digits("grey", range(number, number + 1), f"{name}/grey/{{}}.png")
    items += [other("RGB", f"{name}/Farben ä.png"), other("I;16", f"{name}/deep.png")]
    items += [changed("binary", 4, low_and_high(3, 200), f"{name}/levels.png")]
    items += [changed("binary", 5, lambda pixels: pixels > 127, f"{name}/bilevel.png")]
    return items


LONE: dict[str, Item] = {
    "lone-binary": digits("binary", range(1), None)[0],
    "lone-binary-0-1": changed("binary", 1, low_and_high(0, 1)),
    "lone-binary-levels": changed("binary", 2, low_and_high(40, 90)),
    "lone-fallback-bilevel": changed("binary", 3, lambda pixels: pixels <= 127),
    "lone-bilevel": changed("binary", 3, lambda pixels: pixels > 127),
    "lone-constant": changed("binary", 3, low_and_high(7, 7)),
    "lone-grey": digits("grey", range(4, 5), None)[0],
    "lone-fallback-rgb": other("RGB"),
    "lone-fallback-rgba": other("RGBA"),
    "lone-fallback-palette": other("P"),
    "lone-fallback-16-bit": other("I;16"),
    "lone-fallback-one-pixel": (None, from_array(np.zeros((1, 1), np.uint8))),
    "lone-fallback-rgb-16-bit": other("RGB;16"),
    "lone-fallback-deep": (None, from_array(deep()[:, :, 1])),
    "lone-fallback-deep-colours": (None, from_array(deep()[:, 5:23])),
    "lone-fallback-grey-alpha-16-bit": other("LA;16"),
    "lone-metadata": annotated(digits("binary", range(6, 7), None)[0], TITLE, *RECORDS[4:5]),
    "lone-fallback-metadata": annotated(other("P"), LONG_TEXT, Record(CHUNK_BEFORE_PIXELS, b"bKGD\3")),
    "lone-levels": annotated(
        (None, from_array((17 * (other("RGB")[1].pixels[..., 0] // 17)).astype(np.uint8))), Record(LEVELS, b"\x0f")
    ),
    "lone-palette-opaque": annotated(
        (None, replace(other("P")[1], transparency=b"\xff" * 5)), Record(LEVELS, b"\xff\1")
    ),
    "lone-kept": two_frames(),
    "lone-suffix": digits("binary", range(7, 8), None)[0],
    "lone-preview": digits("binary", range(8, 9), None)[0],
    "lone-fallback-preview": (None, from_array(np.arange(12, dtype=np.uint8).reshape(12, 1) * 21)),
    "lone-local-strips": local("middle-0")[0],
    "lone-local-blocks": local("long")[0],
    "lone-local-small": local("small")[0],
    "lone-local-embedded": local("small")[0],
    "lone-local-learned": local("long")[0],
    "lone-local-block-size": part(local("long")[0], 150),
    "lone-local-learned-colours": as_decoded(local("middle-0")[0], 1, (3, 5)),
    "lone-parts-grey": with_alpha(digits("grey", range(4, 5), None)[0], digits("grey", range(5, 6))[0][1].pixels),
    "lone-parts-colours": with_alpha(local("middle-0")[0]),
    "lone-fallback-local-pixel": local("pixel")[0],
    "lone-resnet-tile": resnet("tile")[0],
    "lone-resnet-tiles": resnet("odd-0")[0],
}

ARCHIVES: dict[str, tuple[dict[str, Any], list[list[Item]]]] = {
    # Options, and the images of each segment.
    "binary-100": ({}, [digits("binary", range(100))]),
    "binary-k0-rha": ({}, [digits("binary", range(12), None)]),
    "binary-k0-baseline": ({"encoder": "baseline"}, [digits("binary", range(12), "img_{}.png")]),
    "binary-k3-rha": ({"k": 3}, [digits("binary", range(12), None)]),
    "binary-k3-baseline": ({"k": 3, "encoder": "baseline"}, [digits("binary", range(12), None)]),
    "binary-k3-rate": ({"k": 3, "learning_rate": 0.05}, [digits("binary", range(12), None)]),
    "binary-k40": ({"k": 40}, [digits("binary", range(20, 26), None)]),
    "grey-k0-rha": ({}, [digits("grey", range(8), None)]),
    "grey-k0-baseline": ({"encoder": "baseline"}, [digits("grey", range(8), None)]),
    "grey-k3-rha": ({"k": 3}, [digits("grey", range(8), None)]),
    "grey-k3-baseline": ({"k": 3, "encoder": "baseline"}, [digits("grey", range(8), None)]),
    "grey-k3-rate": ({"k": 3, "learning_rate": 0.01}, [digits("grey", range(8), None)]),
    "grey-two-lanes": ({}, [digits("grey", range(84))]),
    "bilevel": ({}, [[changed("binary", number, lambda pixels: pixels > 127) for number in range(6)]]),
    "levels": ({}, [[changed("binary", number, low_and_high(1, 254)) for number in range(6)]]),
    "one-image": ({}, [digits("binary", range(1))]),
    "mixed": ({"k": 1}, [mixed("a")]),
    "local-k0-rha": ({}, [local("middle-0", "middle-1", "middle-2")]),
    "local-k2-baseline": ({"k": 2, "encoder": "baseline"}, [local("middle-0", "middle-1", folder="a")]),
    "local-k3-rate": ({"k": 3, "learning_rate": 0.1}, [local("middle-2")]),
    "local-mixed": ({"k": 1}, [[*local("middle-0", "long", "small", folder="a"), *digits("grey", range(2))]]),
    "local-several-sizes": ({}, [local("middle-0", "small", "middle-1", folder="a")]),
    "local-several-sizes-k2": ({"k": 2, "encoder": "baseline"}, [local("small", "middle-2")]),
    "local-embedded": ({"embed_model": True}, [local("middle-1", folder="a"), [other("RGB", "b")]]),
    "local-learned": ({"learn": True}, [local("middle-0", "long", "small", folder="a")]),
    "local-learned-colours": (
        {"learn": True, "planes": False},
        [[as_decoded(local("middle-0")[0], 2), *local("small"), as_decoded(local("middle-1")[0], 3, (0, 0))]],
    ),
    "local-learned-colours-of-video": (
        {"learn": True, "planes": False},
        [
            [
                as_decoded(local("middle-0")[0], 4, (19, 29)),
                *(as_decoded(local(f"middle-{code % 3}")[0], code) for code in (5, 6, 7, 8)),
            ]
        ],
    ),
    "local-learned-planes": (
        {"learn": True, "planes": True},
        [[as_decoded(local("middle-0")[0], 1, (3, 4), (19, 29)), as_decoded(local("middle-2")[0], 4), *local("small")]],
    ),
    "local-learned-block-size": (
        {"learn": True, "block_size": 100},
        [[annotated(part(local("long", folder="a")[0], 210), TITLE), *local("small", folder="a")]],
    ),
    "local-learned-one-size": ({"learn": True}, [local("middle-0", "middle-1")]),
    "local-learned-starts": ({"learn": True, "starts": [2, 1]}, [local("middle-0", "small", "middle-1")]),
    "binary-learned": ({"learn": True}, [digits("binary", range(72), None)]),
    "grey-learned-k2": ({"learn": True, "k": 2, "encoder": "baseline"}, [digits("grey", range(8), None)]),
    "resnet-learned": ({"learn": True, "k": 1}, [resnet("odd-0", "odd-1", "odd-2")]),
    "resnet-several-sizes": ({}, [resnet("odd-0", "tile", "odd-1")]),
    "resnet-k0-rha": ({}, [resnet("odd-0", "odd-1", "odd-2")]),
    "resnet-k0-baseline": ({"encoder": "baseline"}, [resnet("odd-1", "odd-2", "tile", folder="a")]),
    "resnet-k2-rha": ({"k": 2}, [resnet("odd-0", "odd-1", "odd-2", folder="b")]),
    "resnet-k2-baseline": ({"k": 2, "encoder": "baseline", "learning_rate": 0.1}, [resnet("odd-0", "odd-1")]),
    "parts": (
        {"k": 1},
        [
            [
                with_alpha(local("middle-0", folder="a")[0]),
                *map(with_alpha, digits("grey", range(1), "b/{}.png")),
                annotated(with_alpha(local("small", folder="a")[0]), TITLE),
            ]
        ],
    ),
    "parts-learned": ({"learn": True}, [[*map(with_alpha, local("middle-1", "small"))]]),
    "metadata": (
        {"k": 1},
        [
            [
                annotated(digits("binary", range(1), "a.png")[0], *RECORDS),
                *digits("binary", range(1, 4)),
                annotated(digits("binary", range(4, 5), "b.png")[0], *RECORDS[:2], TITLE, *RECORDS[5:]),
                annotated(other("RGB", "c.png"), TITLE, LONG_TEXT),
                annotated(other("RGBA", "d.png"), LONG_TEXT),
            ],
            [annotated(local("small")[0], *RECORDS[2:4])],
        ],
    ),
    "kept": ({}, [[two_frames("a/x.GIF"), *digits("binary", range(2)), other("RGBA", "b"), two_frames("c")]]),
    "previews": (
        {"preview": True},
        [[*local("small", folder="a"), *digits("binary", range(3), "b{}.png")]],
    ),
    "two-segments": ({}, [mixed("a")[:5], digits("binary", range(3), "b/{}.png")]),
}


def fingerprint(items: Iterable[Item]) -> str:
    """SHA-256 of the names and everything that the images are."""
    digest = hashlib.sha256()
    for name, image in items:
        kind = (name, image.mode, image.pixels.shape, image.palette.hex(), image.transparency.hex())
        digest.update(json.dumps(kind).encode())
        if image.metadata:
            digest.update(json.dumps([(number, data.hex()) for number, data in image.metadata]).encode())
        digest.update(image.pixels.astype(image.pixels.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


PREVIEW = bytes.fromhex(
    "524946463600000057454250565038202a0000009001009d012a0400030005407c25b00274ba00039800fed0eff8c8bf5f10bbd90e7fa3"
    "eb845901000000"
)
"""A lossy WebP of 4 x 3 pixels, in the place of what Pillow makes, which another release may make otherwise."""


@contextmanager
def fixed_previews() -> Iterator[None]:
    """In here images have this preview, but for tiny ones, which have none."""
    with patch.object(Compressor, "_preview_of", lambda _, image: None if image.height < 9 else PREVIEW):
        yield


RATE = 500
"""Of learning, in millionths: the usual one when the streams were made."""
LONE_OPTIONS: dict[str, dict[str, Any]] = {
    "lone-local-embedded": {"embed_model": True, "suffix": ".webp"},
    "lone-local-learned": {"learn": True},
    "lone-local-block-size": {"block_size": 64},
    "lone-local-learned-colours": {"learn": True, "planes": False},
    "lone-kept": {"suffix": ".GIF"},
    "lone-suffix": {"suffix": ".webp"},
    "lone-preview": {"preview": True, "suffix": ".webp"},
    "lone-fallback-preview": {"preview": True},
}
"""Options of the compressor, and the suffix of the file that the image comes from."""


def file_of(image: PixelImage) -> SourceFile | None:
    """The file that is kept in place of an image; None for others."""
    return SourceFile(KEPT.read_bytes(), must_stay=True) if image == two_frames()[1] else None


def write(segments: list[list[Item]], lone: bool, options: dict[str, Any]) -> bytes:
    """The stream as this version makes it: a lone image, or archives of the segments, one behind the other."""
    options = dict(options)
    suffix, starts, planes = options.pop("suffix", None), options.pop("starts", ()), options.pop("planes", None)
    compressor = Compressor(Options(model=DATA / "models", **options))
    with fixed_previews(), beginning(starts), by_planes(planes), patch.object(learned, "RATE", RATE):
        if lone:
            ((_, image),) = segments[0]
            return compressor.lone(image, None, file_of(image), suffix)[0]
        file = io.BytesIO()
        for items in segments:
            compressor.archive([Given(name, image, None, file_of(image)) for name, image in items], file)
    return file.getvalue()


def digits_of(items: list[Item]) -> tuple[str, int, int] | None:
    """Which sample digits the images are: kind, first, end."""
    for kind in ("binary", "grey"):
        for first in range(100 - len(items) + 1):
            run = range(first, first + len(items))
            if [image for _, image in items] == [image for _, image in digits(kind, run)]:
                return kind, first, first + len(items)
    return None


def main() -> None:
    """Write the streams that are not there, and what they hold."""
    streams = {}
    cases: dict[str, tuple[dict[str, Any], list[list[Item]]]] = {
        name: (LONE_OPTIONS.get(name, {}), [[item]]) for name, item in LONE.items()
    }
    cases |= ARCHIVES
    for name, (options, segments) in cases.items():
        path, lone = FOLDER / f"{name}.bbc", name in LONE
        if not path.exists():
            path.write_bytes(write(segments, lone, options))
        items = [item for segment in segments for item in segment]
        streams[name] = {
            "options": options,
            "segments": [] if lone else [len(segment) for segment in segments],
            "digits": digits_of(items),
            "sha256": fingerprint(items),
        }
    (FOLDER / "streams.json").write_text(json.dumps(streams, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
