"""Regions of images: the pixels of the whole image, and which blocks are decoded for them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import models_in, noise_strips, sampled_strips, tiny_local, tiny_resnet
from PIL import Image
from starts_for_tests import beginning

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader, Learning
from bbcompress.archive.parts import Part
from bbcompress.codecs import blocks
from bbcompress.codecs.blocks import blocks_of, decode_blocks
from bbcompress.codecs.fallback import items
from bbcompress.codecs.groups import _decode_with, decode_content, encode_fallback, encode_images, group_of_parts
from bbcompress.codecs.kept import SourceFile, kept
from bbcompress.codecs.learned import decode_learned, encode_learned
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import BBCError, FormatError, RegionError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.kinds import COLOUR, Kind
from bbcompress.images.metadata import TEXT, Record
from bbcompress.images.parts import parts_of
from bbcompress.images.read import read_first
from bbcompress.images.region import Decoded, Region, Wanted
from bbcompress.limits import DEFAULT_LIMITS
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.registry import model_of

SIDE, TILE = 16, 8
HEIGHT, WIDTH = 41, 37
REGIONS = [
    Region(0, 0, 1, 1),
    Region(WIDTH - 1, HEIGHT - 1, 1, 1),
    Region(15, 15, 2, 2),
    Region(16, 20, 16, 3),
    Region(3, 30, 30, 11),
    Region(0, 0, WIDTH, HEIGHT),
]
RGB = tiny_local()
VAE = ExactLocalVAE(RGB, NumpyBackend())
LEARNING = Learning(2_000, 16)
FROZEN = CodingSettings(learn=False)
TITLE = Record(TEXT, b"Title\0a")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", SIDE)


def touched(region: Region, height: int = HEIGHT, width: int = WIDTH) -> list[int]:
    """The numbers of the blocks that have a pixel of a region."""
    room = np.zeros((height, width), np.bool_)
    region.of(room)[...] = True
    return [block.number for block in blocks_of(height, width, TILE) if block.of(room).any()]


def drawn(*sizes: tuple[int, int]) -> list[Any]:
    return [sampled_strips(RGB, 1, *size, seed=n).canvas.images[0] for n, size in enumerate(sizes)]


def from_jpeg(height: int, width: int) -> Any:
    """An image that has only the colours of a JPEG, but for some pixels."""
    file = io.BytesIO()
    Image.fromarray(drawn((height, width))[0]).save(file, "JPEG", quality=92)
    pixels = np.array(Image.open(file).convert("RGB"))
    pixels[0, 0] = pixels[height - 1, width - 2] = 1, 2, 3
    return pixels


def learned(images: list[Any], learning: Learning = LEARNING, starts: Sequence[int] = ()) -> Group:
    header = GroupHeader(count=len(images), model=RGB.id[:4], learning=learning)
    with beginning(starts):
        return encode_learned(VAE, images, header, CodingSettings(starts=bool(starts)))


@pytest.mark.parametrize("restricted", [False, True])
def test_an_image_that_was_learned_from(restricted: bool) -> None:
    """Of it the first block is decoded, too."""
    (image,) = [from_jpeg(HEIGHT, WIDTH)] if restricted else drawn((HEIGHT, WIDTH))
    group = learned([image], Learning(2_000, 16, 2))
    assert group.header.learning is not None and group.header.learning.lattices == restricted
    every = {block.number: block.height * block.width for block in blocks_of(HEIGHT, WIDTH, TILE)}
    for region in REGIONS:
        decoded, told = Decoded(), list[int]()
        (found,) = decode_learned(VAE, group, told.append, wanted=Wanted(0, region, decoded))
        assert np.array_equal(found, region.of(image))
        numbers = touched(region)
        pixels = sum(every[number] for number in {0, *numbers})
        assert astuple(decoded) == (len(numbers), int(0 not in numbers), len(every), pixels, HEIGHT * WIDTH)
        assert sum(told) == pixels


@one_test_of(
    ("starts", "needed"),
    [
        # By image, those parts of images before that are needed: the first and last block of each.
        ([], {0: [], 1: [0, 8], 2: [0, 8, 9], 3: [0, 8, 9, 10, 13]}),
        ([2, 2, 2], {0: [], 1: [0, 8], 2: [0, 8, 9], 3: [0, 8, 9, 10, 13]}),
        ([0, 1, 2], {0: [], 1: [0, 8], 2: [], 3: [10, 13]}),
        ([1, 0, 1], {0: [], 1: [], 2: [9], 3: []}),
    ],
)
def test_images_that_were_learned_from_one_after_the_other(starts: list[int], needed: dict[int, list[int]]) -> None:
    """Of the images before it the blocks are decoded from which the weights come; not beyond one that begins anew."""
    sizes = [(HEIGHT, WIDTH), (9, 12), (30, 25), (20, 40)]
    images = drawn(*sizes)
    group = learned(images, starts=starts)
    every = [block.height * block.width for size in sizes for block in blocks_of(*size, TILE)]
    before = 0
    for index, (height, width) in enumerate(sizes):
        for region in (Region(width - 1, height - 1, 1, 1), Region(2, 3, 4, 5)):
            decoded = Decoded()
            (found,) = decode_learned(VAE, group, wanted=Wanted(index, region, decoded))
            assert np.array_equal(found, region.of(images[index]))
            its = {before + number for number in touched(region, height, width)}
            parts = {*its, before, *needed[index]}
            pixels = sum(every[part] for part in parts)
            assert astuple(decoded) == (len(its), len(parts) - len(its), len(every), pixels, sum(every))
        before += len(list(blocks_of(height, width, TILE)))


@one_test_of(("name", "k", "learn"), [("rgb", 0, False), ("rgb", 2, False), ("resnet", 0, False), ("resnet", 1, True)])
def test_blocks_that_do_not_learn_from_each_other(name: str, k: int, learn: bool) -> None:
    """Bits-back of several images in each block."""
    weights = RGB if name == "rgb" else tiny_resnet(direct_bits=1)
    vae = VAE if name == "rgb" else model_of(weights, NumpyBackend())
    images = [*sampled_strips(weights, 3, HEIGHT, WIDTH).canvas.images]
    settings = CodingSettings(k=k, learn=False, learn_between=learn)
    group = encode_images(vae, [from_array(image) for image in images], COLOUR, settings)
    assert (group.header.learning is not None) == learn
    assert group.header.blocks and not group.header.is_mixed
    for region in REGIONS[2:4]:
        decoded = Decoded()
        found = _decode_with(vae, group, DEFAULT_LIMITS, None, 128, wanted=Wanted(1, region, decoded))
        assert found == [from_array(images[1]).region(region)]
        assert astuple(decoded)[:3] == (len(touched(region)), 0, len(list(blocks_of(HEIGHT, WIDTH, TILE))))
        assert decoded.pixels == 3 * HEIGHT * WIDTH


def palette(height: int, width: int) -> PixelImage:
    y, x = np.mgrid[:height, :width]
    return PixelImage("P", ((x * y) % 5).astype(np.uint8), bytes(range(15)), b"\x20", metadata=(TITLE,))


def fallback_images() -> list[PixelImage]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    deep = (300 * y + x * x * 7 % 911).astype(np.uint16)
    return [
        palette(HEIGHT, WIDTH),
        from_array(deep),
        from_array(np.stack([deep, deep // 3], axis=2)),
        from_array(deep % 7 > 3),
        PixelImage("CMYK", np.stack([deep, x, y, x * y], axis=2).astype(np.uint8)),
    ]


@pytest.mark.parametrize("in_bands", [False, True])
def test_what_no_model_codes(in_bands: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded whole, or those bands of rows that are touched; of all images of a group the one."""
    if in_bands:
        monkeypatch.setattr(items, "MAX_ITEM_PIXELS", 1000)
        monkeypatch.setattr(items, "BAND_PIXELS", 10 * WIDTH)
    images = fallback_images()
    group = encode_fallback(images)
    assert all((item[0] == 4) == in_bands for item in group.items)
    for index, image in enumerate(images):
        for region in REGIONS:
            decoded, told = Decoded(), list[int]()
            wanted = Wanted(index, region, decoded)
            assert decode_content(group, models_in(), progress=told.append, wanted=wanted) == [image.region(region)]
            rows = range(region.top // 10, (region.top + region.height - 1) // 10 + 1) if in_bands else [0]
            pixels = sum(min(10, HEIGHT - 10 * row) * WIDTH for row in rows) if in_bands else HEIGHT * WIDTH
            assert astuple(decoded) == (len(rows), 0, 5 if in_bands else 1, pixels, HEIGHT * WIDTH)
            assert sum(told) == pixels


def test_a_kept_file() -> None:
    """Its image as it is decoded, with its metadata."""
    image = palette(HEIGHT, WIDTH)
    file = io.BytesIO()
    Image.fromarray(image.pixels, "L").save(file, "JPEG", comment=b"a comment")
    source = SourceFile(file.getvalue())
    whole = read_first(source.data, "a")[0]
    group = kept([whole], [source]).group
    for region in REGIONS:
        (found,) = decode_content(group, models_in(), wanted=Wanted(0, region, Decoded()))
        assert found == whole.region(region)
        assert isinstance(found, PixelImage) and found.metadata == whole.metadata != ()


@pytest.mark.parametrize("learn", [False, True])
def test_images_in_parts(learn: bool) -> None:
    """Colours by a model, some alphas by the fallback and others by a model; the groups hold them in another order."""
    models = models_in()
    entry = next(entry for entry in models.zoo.entries if entry.name == "tiny-local")
    vae = models.model(entry)
    colours = [*sampled_strips(vae.weights, 3, HEIGHT, WIDTH).canvas.images]
    alpha = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    images = [PixelImage("RGBA", np.dstack([pixels, alpha + n])) for n, pixels in enumerate(colours)]
    first, second = zip(*map(parts_of, images), strict=True)
    settings = CodingSettings(learn=learn)
    by_model = encode_images(vae, [first[2], first[0]], COLOUR, settings)
    parts = [
        Part([by_model, encode_images(vae, [first[1]], COLOUR, settings)], [2, 0, 1]),
        Part([encode_fallback([second[1], second[0]]), encode_fallback([second[2]])], [1, 0, 2]),
    ]
    images[1] = PixelImage("RGBA", images[1].pixels, metadata=(TITLE,))
    group = group_of_parts(images, parts)
    for index, image in enumerate(images):
        for region in REGIONS[:4]:
            decoded = Decoded()
            assert decode_content(group, models, wanted=Wanted(index, region, decoded)) == [image.region(region)]
            assert decoded.touched == len(touched(region)) + 1


def test_a_group_that_is_one_message() -> None:
    """Images of several sizes, and images of the model's one size, come whole, and the region is cut out."""
    models = models_in()
    named = {entry.name: models.model(entry) for entry in models.zoo.entries}
    grey = [from_array(image[..., 0]) for image in noise_strips(named["tiny-grey"].weights, 3, 28, 28).canvas.images]
    sizes = [(9, 12), (16, 7), (3, 5)]
    mixed = [from_array(image) for image in drawn(*sizes)]
    for vae, images in ((named["tiny-grey"], grey), (named["tiny-local"], mixed)):
        kind = Kind.default(vae.weights.channels, vae.weights.levels)
        group = encode_images(vae, images, kind, CodingSettings(learn=False))
        region = Region(1, 1, 3, 2)
        for index, image in enumerate(images):
            decoded = Decoded()
            assert decode_content(group, models, wanted=Wanted(index, region, decoded)) == [image.region(region)]
            assert astuple(decoded)[:3] == (1, 0, 1)
            with pytest.raises(RegionError, match="not within the image"):
                decode_content(group, models, wanted=Wanted(index, Region(image.width - 2, 0, 3, 1), Decoded()))


@pytest.mark.parametrize("learn", [False, True])
def test_damage_is_found_where_it_matters(learn: bool) -> None:
    """A flipped bit in a block that is not decoded leaves the region as it is. In one that is decoded it is an error,
    as in the first block, from which the others learn."""
    (image,) = drawn((HEIGHT, WIDTH))

    def code(pixels: Any) -> Group:
        return learned([pixels]) if learn else encode_images(VAE, [from_array(pixels)], COLOUR, FROZEN)

    def decode(group: Group, region: Region) -> Any:
        wanted = Wanted(0, region, Decoded())
        if learn:
            return decode_learned(VAE, group, wanted=wanted)[0]
        return decode_blocks(VAE, RGB, group, 128, wanted=wanted)[0]

    def flipped(place: int) -> Group:
        data = bytearray(group.payload)
        data[place] ^= 1
        return Group(group.header, bytes(data))

    group = code(image)
    first, *_, last = (len(code(block.of(image)).payload) for block in blocks_of(HEIGHT, WIDTH, TILE))
    within, at_end = REGIONS[3], REGIONS[1]
    assert np.array_equal(decode(flipped(-last // 2), within), within.of(image))
    with pytest.raises(FormatError):
        decode(flipped(-last // 2), at_end)
    if not learn:
        assert np.array_equal(decode(flipped(first // 2), within), within.of(image))
        return
    with pytest.raises(FormatError):
        decode(flipped(first // 2), within)


def test_a_region_that_is_none() -> None:
    for text in (
        "",
        "1,2,3",
        "1,2,3,4,5",
        "1,2,3,x",
        "-1,0,3,4",
        "1.5,0,3,4",
        " 1,2,3,4",
        "٣,0,1,1",
        "1,2,3,4\n",
        "9" * 5000,
    ):
        with pytest.raises(BBCError, match="is no region"):
            Region.parse(text)
    for numbers in ((0, 0, 0, 1), (0, 0, 1, 0), (-1, 0, 1, 1), (0, 1 << 24, 1, 1), (0, 0, 1, (1 << 24) + 1)):
        with pytest.raises(BBCError, match="the region"):
            Region(*numbers)
    assert Region.parse("1,2,3,4") == Region(1, 2, 3, 4)
    image = from_array(np.zeros((4, 5), np.uint8))
    assert image.crop(3, 2, 2, 2).size == (2, 2)
    for numbers in ((4, 0, 2, 1), (0, 4, 1, 1), (0, 0, 6, 1)):
        with pytest.raises(RegionError, match="which is 5x4 pixels"):
            image.crop(*numbers)
    with pytest.raises(BBCError, match="width must be a whole number"):
        image.crop(0, 0, 1.5, 1)  # type: ignore[arg-type]
