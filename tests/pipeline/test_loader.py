"""Image files on their way in: names of frames, what is counted, what the user is told."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bbcompress.errors import ImageError
from bbcompress.pipeline.loader import ImageLoader, Stripped

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8))


def saved(form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    PICTURE.save(out, form, **options)
    return out.getvalue()


def annotated() -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Title", "it")
    chunks.add(b"prIV", b"unsafe to copy")
    return saved("PNG", pnginfo=chunks)


def test_names_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(saved("GIF", save_all=True, append_images=[Image.new("RGB", (5, 6))] * 2))
    loader = ImageLoader(frames=True)
    names = [name for name, *_ in loader.read_named("x/a.gif", path, str(path))]
    assert names[:2] == ["x/a.gif/0000.png", "x/a.gif/0001.png"]
    still = saved("PNG")
    ((name, image, _),) = loader.read_named("b.png", still, "b.png")
    assert name == "b.png" and image.size == (5, 6)
    assert loader.size == path.stat().st_size + len(still)
    assert loader.pixels == 30 * (len(names) + 1)
    with pytest.raises(ImageError, match=r"a\.gif: is animated"):
        next(ImageLoader(pixels=True).read_named("a.gif", path, "a.gif"))


def test_a_file_of_several_pictures_is_the_first_of_them_and_can_only_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(saved("GIF", save_all=True, append_images=[Image.new("RGB", (5, 6))] * 2))
    loader = ImageLoader()
    ((name, image, file),) = loader.read_named("a.gif", path, "a.gif")
    assert name == "a.gif" and image.size == (5, 6)
    assert file is not None and file.must_stay and file.data == path.read_bytes()
    *_, line = loader.notes(10, ["a.gif"])
    assert "a.gif has 2 pictures and is kept as it is" in line
    assert loader.notes(10) == ["note: times of the frames of 1 image not kept"]  # where it would not be kept


def test_what_is_lost_is_not_told_of_files_that_are_kept() -> None:
    loader = ImageLoader()
    for label in "ab":
        list(loader.read(annotated(), label))
    assert loader.notes(10, {"a"}) == [
        "note: PNG chunk prIV of 1 image not kept",
        "note: 1 file is kept as it is, with what is not kept where pixels are coded: PNG chunk prIV",
    ]
    assert set(loader.more_than_pixels({"a"})) == {"b"}
    for given in ({"strip": True}, {"pixels": True}):
        ((_, file),) = ImageLoader(**given).read(annotated(), "a")
        assert file is None


def test_what_is_lost_and_what_is_stripped() -> None:
    loader = ImageLoader()
    for _ in range(2):
        ((_, image, _),) = loader.read_named("a", annotated(), "a")
        assert len(image.metadata) == 1
    assert loader.notes(10) == ["note: PNG chunk prIV of 2 images not kept"]
    loader = ImageLoader(strip=True)
    for data in (annotated(), saved("PNG")):
        ((_, image, _),) = loader.read_named("a", data, "a")
        assert not image.metadata and not image.lost
    assert loader.notes(10) == ["note: stripped from 1 image: PNG chunk prIV, text"]
    assert Stripped().notes() == []


def test_how_a_file_packs_its_pixels_is_noted_where_it_is_asked_for() -> None:
    """Most programs interlace each GIF: a note for all of them would teach nobody to read notes."""
    data = io.BytesIO()
    PICTURE.resize((40, 40)).save(data, "GIF", interlace=1)
    for strip, line in ((False, "note: order of interlaced rows of 1 image not kept"),
                        (True, "note: stripped from 1 image: order of interlaced rows")):  # fmt: skip
        for verbose in (False, True):
            loader = ImageLoader(strip=strip, verbose=verbose)
            list(loader.read(data.getvalue(), "a.gif"))
            assert loader.notes(10) == [line] * verbose


def test_jpegs_that_were_smaller() -> None:
    data = saved("JPEG")
    loader = ImageLoader()
    list(loader.read(data, "a.jpg"))
    assert loader.notes(len(data)) == []
    (line,) = loader.notes(len(data) + 1)
    assert line == f"warning: a.jpg: {len(data) + 1} bytes are more than before ({len(data)}): a JPEG's pixels are kept"
    list(loader.read(data, "b.jpg"))
    assert loader.notes(2 * len(data)) == []
    assert "2 JPEGs are among the images" in loader.notes(2 * len(data) + 1)[0]
    loader = ImageLoader()
    list(loader.read(saved("PNG"), "a.png"))
    assert loader.notes(1 << 20) == []


def test_limits() -> None:
    with pytest.raises(ImageError, match=r"a\.png: has more pixels than the limit of 29"):
        list(ImageLoader(max_pixels=29).read(saved("PNG"), "a.png"))
    with pytest.raises(ImageError, match="limit of 29"):
        list(ImageLoader(frames=True, max_pixels=29).read(saved("PNG"), "a.png"))
    with pytest.raises(ImageError, match="empty"):
        list(ImageLoader().read(b"", "a.png"))
