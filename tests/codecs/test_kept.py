"""Files that are kept as they are: items, when a file is smaller, and what a reader refuses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models_for_tests import models_in
from PIL import Image

from bbcompress.archive.group import Group
from bbcompress.codecs.choose import STORED, fit_of
from bbcompress.codecs.fallback.items import decode_item, encode_item, item_codec, item_mode, item_size
from bbcompress.codecs.fallback.kept import KeptFile, encode_kept, is_kept
from bbcompress.codecs.groups import decode_content, decode_images
from bbcompress.codecs.kept import SourceFile, keep_smaller, kept, surely_smaller
from bbcompress.codecs.parts import choose_in_parts
from bbcompress.codecs.progress import Passes
from bbcompress.codecs.settings import CodingRequest, CodingSettings
from bbcompress.errors import FormatError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import TEXT, Record, encode_metadata
from bbcompress.images.read import read_first, read_image
from bbcompress.limits import MAX_PIXELS, MAX_SIDE, Limits
from bbcompress.pipeline.listing import describe_group, facts_of
from bbcompress.wire import varint

TWO_FRAMES = (Path(__file__).resolve().parents[1] / "data" / "kept" / "two-frames.gif").read_bytes()
SETTINGS = CodingSettings()


def photo(side: int = 96) -> Image.Image:
    y, x = np.mgrid[0:side, 0:side]
    noise = np.random.default_rng(0).normal(0, 9, (side, side, 3))
    waves = np.stack([128 + 90 * np.sin(x / 9), 128 + 90 * np.cos(y / 13), (x + y) % 256], 2)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


JPEG = saved(photo(), "JPEG", quality=70, comment=b"a comment")


def test_an_item_gives_the_file_and_its_image() -> None:
    for data in (JPEG, TWO_FRAMES, saved(photo(), "WEBP", quality=60)):
        image, _ = read_first(data, "it")
        item = encode_kept(data, image)
        assert is_kept(item) and not is_kept(encode_item(image))
        file = KeptFile.decode(item)
        assert (file.data, file.size, file.mode) == (data, image.size, image.mode)
        assert file.image() == image == decode_item(item)
        assert (item_size(item), item_mode(item)) == (image.size, image.mode)
        assert item_codec(item) == f"kept {file.form.name}"


def test_the_image_has_the_metadata_of_the_file() -> None:
    (image,) = decode_images(kept([read_image(JPEG)], [SourceFile(JPEG)]).group, models_in())
    assert image.metadata == read_image(JPEG).metadata != ()


def test_what_is_refused() -> None:
    image = read_image(JPEG)
    item = encode_kept(JPEG, image)
    start, width = item[:2], item[2:3]
    assert item[2:4] == bytes([96, 96])
    for wrong, message in {
        start + b"\0" + item[3:]: "empty",
        start + b"\x5f" + item[3:]: "limit of",  # fewer pixels than the file has
        start + b"\x61" + item[3:]: "not what is said",
        b"\7\1" + item[2:]: "not what is said",
        b"\7\x84" + item[2:]: "not what is said",
        b"\7\x0b" + item[2:]: "mode",
        start + width * 2: "does not read",
        start + width * 2 + b"no image": "does not read",
        start + width * 2 + JPEG[: len(JPEG) // 2]: "cut short|damaged",
        start + b"\x80\x80\x80\x80\x08" + item[3:]: "limit",
    }.items():
        with pytest.raises(FormatError, match=message):
            decode_item(wrong)
    with pytest.raises(FormatError, match="above the limit of 9215"):
        decode_item(item, 96 * 96 - 1)
    for codec in (4, 5, 6):  # which are made of items, but not of files
        with pytest.raises(FormatError):
            decode_item(bytes([codec, 4]) + bytes([len(item) & 0x7F | 0x80, len(item) >> 7]) + item)


def test_files_above_the_default_limit_are_told_and_read_where_the_limit_allows_it() -> None:
    item = encode_kept(TWO_FRAMES, read_first(TWO_FRAMES, "it")[0])
    large = item[:2] + varint(MAX_SIDE) + varint(MAX_PIXELS // MAX_SIDE + 1) + TWO_FRAMES
    assert item_codec(large) == "kept GIF"
    group = Group.of_items([large])
    assert describe_group(group, facts_of(group.header, lambda: group, models_in().zoo, Limits()), Limits())[
        "kept"
    ] == {"GIF": 1}
    with pytest.raises(FormatError, match="limit of"):
        decode_item(large)
    with pytest.raises(FormatError, match="not what is said"):  # the file is looked at, and not refused for its size
        decode_item(large, 2 * MAX_PIXELS)


def test_a_kept_file_has_no_metadata_beside_its_own() -> None:
    group = kept([read_image(JPEG)], [SourceFile(JPEG)]).group
    with pytest.raises(FormatError, match="beside its own"):
        decode_images(group.described(encode_metadata([(Record(TEXT, b"Comment\0x"),)])), models_in())


def test_files_come_undecoded_beside_pixels() -> None:
    plain = from_array(np.arange(12, dtype=np.uint8).reshape(3, 4))
    group = Group.of_items([encode_kept(TWO_FRAMES, read_first(TWO_FRAMES, "it")[0]), encode_item(plain)])
    file, image = decode_content(group, models_in())
    assert isinstance(file, KeptFile) and file.data == TWO_FRAMES and file.suffix == ".gif"
    assert image == plain
    with pytest.raises(FormatError, match="limit"):
        decode_content(group, models_in(), Limits(19))


def group_of(images: list[PixelImage], stored: bool = False) -> Any:
    fit = STORED if stored else fit_of(images[0], models_in())
    (coded,) = choose_in_parts(images, fit, models_in(), CodingRequest(), Passes(images, None))
    return coded


def test_the_smaller_one_is_taken() -> None:
    image = read_image(JPEG)
    coded = group_of([image])
    assert len(coded.group.payload) > len(JPEG)
    small = keep_smaller(coded, [image], [SourceFile(JPEG)])
    assert decode_content(small.group, models_in())[0].data == JPEG  # type: ignore[union-attr]
    assert not small.group.metadata and small.coder == "kept JPEG"
    assert keep_smaller(coded, [image], [None]) is coded
    large = saved(photo(), "BMP")
    assert keep_smaller(coded, [image], [SourceFile(large)]) is coded


def test_in_a_group_of_the_fallback_each_file_is_compared_by_itself() -> None:
    palette = photo().quantize(16)
    gif, plain = saved(palette, "GIF"), saved(Image.new("P", (9, 9)), "BMP")
    images = [read_image(plain), read_image(JPEG), read_image(gif)]
    coded = group_of(images, stored=True)
    made = keep_smaller(coded, images, [SourceFile(plain), SourceFile(JPEG), None])
    assert [is_kept(item) for item in made.group.items] == [False, True, False]
    back = decode_images(made.group, models_in())
    assert back == images
    assert len(made.group.payload) < len(coded.group.payload)


def test_an_estimate_saves_coding() -> None:
    large = photo(400)
    jpeg, png = saved(large, "JPEG", quality=50), saved(large, "PNG")
    image = read_image(jpeg)
    fit = fit_of(image, models_in())

    def sure(data: bytes, margin: float = 1.2) -> bool:
        return surely_smaller(image, SourceFile(data), fit, models_in(), SETTINGS, margin)

    assert sure(jpeg) and not sure(png) and not sure(jpeg, 1000)
    assert surely_smaller(image, SourceFile(png, must_stay=True), fit, models_in(), SETTINGS, 1.2)
    assert not surely_smaller(image, None, fit, models_in(), SETTINGS, 1.2)
    flat = read_image(saved(Image.new("RGB", (400, 400), (1, 2, 3)), "JPEG"))
    source = SourceFile(saved(Image.new("RGB", (400, 400), (1, 2, 3)), "JPEG"))
    assert not surely_smaller(flat, source, fit, models_in(), SETTINGS, 1.2)
