"""Images with alpha: colours and alpha apart where that is smaller, alone and in archives, and what is told of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models_for_tests import models_in

from bbcompress.archive.container import ArchiveWriter
from bbcompress.archive.group import Group
from bbcompress.archive.lone import build_lone
from bbcompress.archive.parts import Part, decode_parts, encode_parts
from bbcompress.codecs import choose, learned, parts
from bbcompress.codecs.fallback.items import encode_item
from bbcompress.codecs.groups import decode_images, encode_fallback, group_of_parts
from bbcompress.codecs.kept import SourceFile, kept
from bbcompress.errors import FormatError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import TEXT, Record
from bbcompress.images.parts import parts_of
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image
from bbcompress.limits import Limits
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Item, Options
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).parents[1] / "data"
PHOTO = read_image(DATA / "photos" / "landscape.png").pixels


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    """With the models that come with the package."""
    return Compressor(Options())


def cut(height: int = 60, width: int = 90, grey: bool = False, top: int = 0) -> PixelImage:
    """A piece of a photograph with an edge of soft alpha, and colours under alpha 0."""
    colours = PHOTO[top : top + height, :width, 1 if grey else slice(None)]
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    alpha = (255 * (1.2 - distance / min(height, width) * 2.2)).clip(0, 255).astype(np.uint8)
    return from_array(np.dstack([colours, alpha]))


def drawing(height: int = 60, width: int = 50) -> PixelImage:
    """A few shapes on a transparent ground."""
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[10:40, 5:30] = 200, 30, 40, 255
    pixels[height // 2 :, 20:45] = 0, 90, 240, 128
    return from_array(pixels)


def noise(shape: tuple[int, ...] = (20, 20, 4)) -> PixelImage:
    return from_array(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def archive(compressor: Compressor, images: Sequence[PixelImage]) -> Reader:
    file = io.BytesIO()
    compressor.archive([Item(f"{number}.png", image) for number, image in enumerate(images)], file)
    return Reader(file)


@pytest.mark.parametrize("grey", [False, True])
def test_a_photograph_with_soft_alpha_becomes_smaller(compressor: Compressor, grey: bool) -> None:
    image = cut(grey=grey)
    data, summary = compressor.lone(image)
    assert len(data) < 0.95 * len(build_lone(encode_fallback([image])))
    reader = Reader(io.BytesIO(data))
    assert reader.read(0) == image
    assert (reader.read(0).pixels[..., -1] == 0).any()
    (coder,) = summary.coders
    model = "grey" if grey else "photo"
    assert coder.startswith(f"{model}, alpha ")
    (entry,) = reader.entries()
    assert (entry.size, entry.mode, entry.coder) == ((90, 60), "LA" if grey else "RGBA", coder)
    (group,) = reader.describe()["groups"]
    assert (group["model"], group["mode"]) == ("parts", image.mode)
    assert group["parts"][0][0]["model"] == model


def test_soft_alpha_is_learned_from(compressor: Compressor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model for grey takes more bytes for it than the fallback until it learns."""
    image = cut(96, 96)
    data, summary = compressor.lone(image)
    assert summary.coders == {"photo, alpha grey": 1}
    assert Reader(io.BytesIO(data)).read(0) == image
    frozen, _ = Compressor(Options(learn=False)).lone(image)
    monkeypatch.setattr(parts, "LEARNING_MARGIN", 1)
    stored, summary = compressor.lone(image)
    assert len(data) < 0.98 * len(stored) and len(stored) < len(frozen)
    assert summary.coders == {"photo, alpha WebP": 1}


@pytest.mark.parametrize("image", [drawing(), noise(), noise((1, 1, 4)), noise((1, 3, 2)), cut(4, 4)])
def test_never_larger_than_the_fallback(compressor: Compressor, image: PixelImage) -> None:
    data, _ = compressor.lone(image)
    assert len(data) <= len(build_lone(encode_fallback([image])))
    assert Reader(io.BytesIO(data)).read(0) == image


def test_an_archive_of_photographs_and_drawings(compressor: Compressor) -> None:
    described = replace(cut(50, 70, top=20), metadata=(Record(TEXT, b"Title\0A"),))
    images = [cut(), drawing(), described, cut(50, 60, grey=True), drawing(33, 70)]
    reader = archive(compressor, images)
    assert dict(reader.images()) == dict(enumerate(images))
    entries = list(reader.entries())
    assert [entry.size for entry in entries] == [image.size for image in images]
    assert [entry.mode for entry in entries] == [image.mode for image in images]
    assert ["alpha" in (entry.coder or "") for entry in entries] == [True, False, True, True, False]
    assert reader.describe()["totals"]["raw_bytes"] == sum(image.pixels.size for image in images)
    assert [entry.metadata for entry in entries][2] == ("text",)
    assert reader.describe()["parts"]["payloads"] < 0.95 * sum(map(len, map(encode_item, images)))


def test_large_images_learn_from_one_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "MIXED_PIXELS", 100)
    monkeypatch.setattr(learned, "LEAST_PIXELS", 100)
    pixels = [read_image(DATA / "local" / f"middle-{number}.png").pixels for number in range(3)]
    images = [from_array(np.dstack([colours, noise((*colours.shape[:2], 2)).pixels[..., 0]])) for colours in pixels]
    file = io.BytesIO()
    compressor = Compressor(Options(model=DATA / "models"))
    compressor.archive([Item(str(number), image) for number, image in enumerate(images)], file)
    reader = Reader(file, models_in())
    (group,) = reader.describe()["groups"]
    (colours,) = group["parts"][0]
    assert (colours["model"], colours["images"]) == ("tiny-local", 3)
    assert colours["learning"]
    assert dict(reader.images()) == dict(enumerate(images))


def test_steps_of_parts_are_limited() -> None:
    image = from_array(np.dstack([read_image(DATA / "digits" / "grey" / f"000{n}.png").pixels for n in (4, 5)]))
    file = io.BytesIO()
    Compressor(Options(model=DATA / "models", k=3)).archive([Item(f"{n}", image) for n in range(6)], file)
    reader = Reader(file, models_in())
    assert {entry.k for entry in reader.entries()} == {3}
    assert "K is 3, above the limit of 2" in str(
        next(iter(Reader(file, models_in(), Limits(k=2)).each(lambda image: image))).error
    )


def read(group: Group) -> list[PixelImage]:
    """What a reader of an archive makes of a group."""
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add_group(group)
    writer.close()
    return decode_images(Reader(file, models_in()).file.read_group(0), models_in())


def test_parts_that_do_not_fit_each_other_are_refused() -> None:
    image = noise((4, 5, 2))
    grey, alpha = parts_of(image)
    stored = [Part([encode_fallback([part])], [0]) for part in (grey, alpha)]
    assert read(group_of_parts([image], stored)) == [image]
    for other in (noise((5, 4)), noise((4, 5, 3)), replace(alpha, transparency=b"\0\0")):
        with pytest.raises(FormatError, match="the file is damaged"):
            read(group_of_parts([image], [stored[0], Part([encode_fallback([other])], [0])]))
    file = SourceFile(write_image(alpha)[0])
    with pytest.raises(FormatError, match="a part of its images is a kept file"):
        read(group_of_parts([image], [stored[0], Part([kept([alpha], [file]).group], [0])]))


def test_bytes_behind_a_message_in_parts_are_damage() -> None:
    """The CRC fits, and the message of the grey has a word too many; padding behind the whole file is passed over."""
    image = from_array(np.dstack([read_image(DATA / "digits" / "grey" / f"000{n}.png").pixels for n in (4, 5)]))
    data, _ = Compressor(Options(model=DATA / "models")).lone(image)
    group = Reader(io.BytesIO(data), models_in()).file.read_group(0)
    grey, alpha = decode_parts(group.payload, 1, 2)
    for more in (bytes(4), b"\1\2\3\4"):
        longer = [replace(its, payload=its.payload + more) for its in grey.groups]
        damaged = build_lone(replace(group, payload=encode_parts([Part(longer, [0]), alpha])))
        with pytest.raises(FormatError, match="the file is damaged: 4 bytes are left over"):
            Reader(io.BytesIO(damaged), models_in()).read(0)
    assert Reader(io.BytesIO(data + bytes(5)), models_in()).read(0) == image
