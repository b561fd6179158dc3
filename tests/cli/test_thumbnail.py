"""Previews of files and `bbc thumbnail`: by default, on demand, damaged, missing."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_for_tests import run
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

import bbcompress as bbc
from bbcompress.images.image import from_array
from bbcompress.images.metadata import EXIF, Record
from bbcompress.images.pictures import preview_picture
from bbcompress.images.preview import SIDE, WRITTEN_BYTES, preview_of
from bbcompress.pipeline import compressor
from bbcompress.pipeline.reader import Reader

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

PHOTO = Path(__file__).resolve().parents[1] / "data" / "photos" / "landscape.png"
PIXELS = bbc.read_image(PHOTO).pixels


def stored(pixels: Any = PIXELS, **options: Any) -> bytes:
    """The file of an image, which no tiny model codes quickly: of 16 bits."""
    return bbc.compress(from_array(np.ascontiguousarray(pixels[::4, ::4].astype(np.uint16) * 257)), effort=1, **options)


def preview_in(data: bytes, position: int = 0) -> bytes | None:
    return Reader(io.BytesIO(data)).file.preview(position)


@pytest.fixture(scope="module")
def with_preview() -> bytes:
    data = stored(preview=True)
    assert preview_in(data) is not None
    return data


@pytest.fixture
def from_100_bytes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Images that take so many bytes have previews."""
    monkeypatch.setattr(compressor, "PREVIEW_BYTES", 100)
    yield


def test_a_preview_looks_like_its_image() -> None:
    """Upright, with alpha, within the bytes, nothing larger than it is."""
    alpha = np.dstack([PIXELS, np.where(np.arange(320) < 160, 255, 0)[None].repeat(240, 0)]).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 65536, (300, 500, 4), np.uint16)
    turned = struct.pack("<2sHLHHHLHHL", b"II", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    upright = bbc.PixelImage("RGB", PIXELS, metadata=(Record(EXIF, turned),))
    strange = bbc.PixelImage("RGB", PIXELS, metadata=(Record(EXIF, b"II*\0\xff\xff\xff\xff"),))
    cases: list[tuple[bbc.PixelImage, str, tuple[int, int]]] = [
        (from_array(PIXELS), "RGB", (256, 192)),
        (upright, "RGB", (192, 256)),
        (strange, "RGB", (256, 192)),
        (from_array(alpha), "RGBA", (256, 192)),
        (from_array(PIXELS.astype(np.uint16) * 257), "RGB", (256, 192)),
        (from_array(PIXELS[:3, :2, 0] > 128), "RGB", (2, 3)),
        (from_array(PIXELS[:1].repeat(30, 1)), "RGB", (256, 1)),
        (bbc.PixelImage("P", PIXELS[:60, :80, 0] % 5, bytes(range(15)), b"\x20"), "RGBA", (80, 60)),
    ]
    noisy = preview_of(from_array(noise))  # smaller, so that its bytes suffice
    assert noisy is not None and len(noisy) <= WRITTEN_BYTES and max(preview_picture(noisy).size) < SIDE
    for image, mode, size in cases:
        data = preview_of(image)
        assert data is not None and len(data) <= WRITTEN_BYTES
        picture = preview_picture(data)
        assert (picture.mode, picture.size) == (mode, size), image
        assert max(size) <= SIDE
    shown = np.asarray(preview_picture(preview_of(from_array(PIXELS)) or b"").resize((32, 24))).astype(int)
    assert np.abs(shown - np.asarray(Image.fromarray(PIXELS).resize((32, 24)))).mean() < 12


def test_which_images_have_previews(from_100_bytes: None, tmp_path: Path) -> None:
    """By default those that take many bytes; kept files do not, and none becomes larger than its file by it."""
    small = bbc.compress(from_array(np.zeros((8, 8), np.uint8)))
    assert preview_in(small) is None
    assert preview_in(stored()) is not None
    plain, forced = stored(preview=False), stored(preview=True)
    assert preview_in(plain) is None and preview_in(forced) is not None
    assert bbc.decompress(plain).tolist() == bbc.decompress(forced).tolist()
    Image.fromarray(PIXELS).save("a.jpg")
    Image.fromarray(PIXELS[:4, :4]).save("small.jpg")
    for option, has in (("", False), ("--preview", True), ("--no-preview", False)):
        told = json.loads(run("compress", "a.jpg", "-o", "a.bbc", "-f", "-1", "--json", *filter(None, [option])).stdout)
        assert (told["previews"]["images"], preview_in(Path("a.bbc").read_bytes()) is not None) == (int(has), has)
        assert (Path("a.bbc").stat().st_size > Path("a.jpg").stat().st_size + 40) == has
    Image.fromarray(PIXELS[::3, ::3, 0]).save("grey.png")
    size = Path("grey.png").stat().st_size
    run("compress", "grey.png", "-1")
    assert Path("grey.bbc").stat().st_size <= size + 40
    with pytest.raises(bbc.BBCError, match="preview must be True or False"):
        stored(preview="yes")


def test_previews_of_an_archive(from_100_bytes: None, with_preview: bytes) -> None:
    """Of large images among others, in several groups and in what is added."""
    deep = bbc.open(io.BytesIO(with_preview))[0]
    tiny = from_array(np.zeros((8, 8), np.uint8))
    summary = bbc.write("set.bbc", {"a": tiny, "b": deep, "c": tiny, "d": deep}, effort=1)
    bbc.add("set.bbc", {"e": deep, "f": deep}, effort=1, preview=False)
    bbc.add("set.bbc", {"g": tiny}, effort=1, preview=True)
    data = Path("set.bbc").read_bytes()
    assert [preview_in(data, at) is not None for at in range(7)] == [False, True, False, True, False, False, True]
    assert (summary.previews, bbc.open(io.BytesIO(data))["d"]) == (2, deep)
    told = json.loads(run("info", "set.bbc", "--json").stdout)
    assert told["parts"]["previews"] > summary.preview_bytes > 0
    assert "previews" in run("info", "set.bbc").stdout
    run("test", "set.bbc")
    result = run("thumbnail", "set.bbc", "--only", "d", "-o", "d.png")
    assert result.stdout == "set.bbc -> d.png  80x60\n" and bbc.read_image("d.png").size == (80, 60)
    assert "no image has a name that fits" in run("thumbnail", "set.bbc", "--only", "x", "-o", "x.png", status=1).stderr


def test_a_missing_encoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor, "preview_of", lambda image: None)
    with pytest.raises(bbc.BBCError, match="without WebP"):
        stored(preview=True)
    assert preview_in(stored()) is None


def test_a_thumbnail_comes_from_the_preview(with_preview: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No image is decoded."""
    Path("a.bbc").write_bytes(with_preview)
    monkeypatch.setattr(Reader, "__init__", None)
    run("thumbnail", "a.bbc", "-s", "40")
    assert (bbc.read_image("a-thumbnail.png").size, bbc.read_image("a-thumbnail.png").mode) == ((40, 30), "RGB")
    result = run("thumbnail", "-", "-o", "-", data=with_preview)
    assert Image.open(io.BytesIO(result.stdout_bytes)).size == (80, 60)


def test_a_thumbnail_without_a_preview(monkeypatch: pytest.MonkeyPatch, with_preview: bytes) -> None:
    """The image is decoded, which is said of a large one, as it is where the preview is damaged, and on demand."""
    Path("a.bbc").write_bytes(stored())
    assert run("thumbnail", "a.bbc", "-s", "20").stderr == ""
    assert bbc.read_image("a-thumbnail.png").size == (20, 15)
    monkeypatch.setattr("bbcompress.pipeline.thumbnails.LARGE_PIXELS", 1000)
    line = "bbc: all 0.0 megapixels of the image are decoded for it\n"
    assert run("thumbnail", "a.bbc", "-s", "20", "-f").stderr == line
    Path("b.bbc").write_bytes(with_preview)
    assert run("thumbnail", "b.bbc", "--decode", "-o", "b.png").stderr == line
    damaged = bytearray(with_preview)
    damaged[60] ^= 1
    Path("c.bbc").write_bytes(damaged)
    result = run("thumbnail", "c.bbc", "-o", "c.png")
    assert result.stderr.startswith("bbc: the preview is damaged: its checksum does not fit; the image is decoded")
    assert Path("b.png").read_bytes() == Path("c.png").read_bytes()
    assert bbc.decompress(bytes(damaged)).tolist() == bbc.decompress(with_preview).tolist()
    assert "all images are as they were, but the preview is damaged" in run("test", "c.bbc", status=1).stderr


def test_a_hostile_preview(with_preview: bytes) -> None:
    """What is no WebP, or a large one, is not shown; the image is decoded in its place."""
    from bbcompress.archive.previews import encode_lone_preview, lone_preview

    large = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(large, "WEBP", quality=1)
    found = lone_preview(with_preview)
    assert found is not None
    for preview in (b"no picture", large.getvalue()[:4096], b"RIFF\xff\xff\xff\x7fWEBPVP8 " + bytes(40)):
        data = with_preview[:2] + encode_lone_preview(preview) + with_preview[2 + found.length :]
        Path("a.bbc").write_bytes(data)
        result = run("thumbnail", "a.bbc", "-f")
        assert result.stderr.startswith("bbc: the preview is damaged: it is ") and result.stderr.count("\n") == 1
        assert bbc.read_image("a-thumbnail.png").size == (80, 60)
        run("test", "a.bbc", status=1)
        run("sheet", "a.bbc", "-f")


def test_wrong_thumbnails_leave_nothing(with_preview: bytes) -> None:
    Path("a.bbc").write_bytes(with_preview)
    Path("there.png").write_bytes(b"x")
    Path("none.bbc").write_bytes(b"no file of bbc")
    cases = [
        (["a.bbc", "-o", "a.jpg"], 1, "a.jpg: a thumbnail is a PNG, and its name says something else"),
        (["a.bbc", "-o", "there.png"], 1, "there.png exists; --force overwrites it"),
        (["none.bbc"], 1, "none.bbc: the file is not a .bbc file"),
        (["missing.bbc"], 1, "missing.bbc: cannot be read: No such file or directory"),
        (["a.bbc", "-s", "0"], 2, "invalid value for '-s' / '--size'"),
    ]
    before = sorted(Path().iterdir())
    for arguments, status, line in cases:
        assert run("thumbnail", *arguments, status=status).stderr.startswith(f"bbc: error: {line}")
    assert sorted(Path().iterdir()) == before


def test_a_sheet_takes_previews_of_images_that_are_groups(
    with_preview: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is decoded then."""
    deep = bbc.open(io.BytesIO(with_preview))[0]
    bbc.write("set.bbc", {"a": deep}, effort=1, preview=True)
    monkeypatch.setattr(Reader, "read_costs", None)
    run("sheet", "set.bbc")
    page = Path("set.html").read_text(encoding="utf-8")
    payload = Reader(io.BytesIO(Path("set.bbc").read_bytes())).file.read_group(0).payload
    assert f'<li data-v="0 4800 {len(payload)}.0 {8 * len(payload) / 4800:.4f}">' in page
    assert "80 &times; 60" in page
