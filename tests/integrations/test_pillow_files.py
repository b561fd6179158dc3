"""Pillow opens and saves .bbc files: modes, metadata, frames of archives, options, what is damaged or too large."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from cases_for_tests import one_test_of
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image, ImageSequence, UnidentifiedImageError

import bbcompress as bbc
from bbcompress.images.image import PixelImage
from bbcompress.images.pillow import PILLOW_MODES, from_pillow, to_pillow
from bbcompress.images.read import read_image
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).resolve().parents[1] / "data"
DIGIT = DATA / "digits" / "grey" / "0000.png"
RANDOM = np.random.default_rng(11)


bbc.register_pillow()

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def pillow(mode: str) -> Image.Image:
    """An image of noise, with all that its mode can have beside it."""
    if mode == "P":
        pixels = RANDOM.integers(0, 5, (9, 8)).astype(np.uint8)
        return to_pillow(PixelImage("P", pixels, RANDOM.bytes(15), b"\x00\xff\x80"))
    image = Image.fromarray(RANDOM.integers(0, 256, (9, 8, 4)).astype(np.uint8)).convert("RGBA")
    if mode == "I;16":
        return Image.fromarray(RANDOM.integers(0, 1 << 16, (9, 8)).astype(np.uint16))
    made = image if mode == "RGBA" else image.convert(mode)
    if mode in ("L", "RGB"):
        made.info["transparency"] = made.getpixel((0, 0))
    return made


def saved(image: Image.Image, **options: object) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "BBC", **options)
    return Image.open(file)


@one_test_of("mode", PILLOW_MODES)
def test_every_mode_comes_back(mode: str) -> None:
    image = pillow(mode)
    image.save("x.bbc")
    with Image.open("x.bbc") as back:
        assert (back.format, back.mode, back.size) == ("BBC", mode, (8, 9))
        assert back.has_transparency_data == image.has_transparency_data
        assert from_pillow(back) == from_pillow(image)
        assert back.info == image.info
        assert back.tobytes() == image.tobytes()
        assert back.get_format_mimetype() == "image/x-bbc"


def test_it_is_a_file_like_those_of_the_command() -> None:
    Image.open(DIGIT).save("x.bbc", k=0)
    assert Path("x.bbc").read_bytes() == bbc.compress(read_image(DIGIT), 0)


def test_pixels_are_decoded_when_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.open(DIGIT).save("x.bbc")
    decoded: list[int] = []
    read = Reader.read

    def watched(reader: Reader, position: int) -> PixelImage:
        decoded.append(position)
        return read(reader, position)

    monkeypatch.setattr(Reader, "read", watched)
    with Image.open("x.bbc") as image:
        assert image.size == (28, 28) and not decoded
        assert image.getpixel((0, 0)) == 0 and image.copy().size == (28, 28)
    assert len(decoded) == 1


def test_metadata_both_ways() -> None:
    image = Image.open(DIGIT)
    exif = Image.Exif()
    exif[0x010E] = "a digit"
    back = saved(image, dpi=(300, 150), icc_profile=b"profile", exif=exif, xmp=b"<x/>", comment="such")
    assert back.info["dpi"] == (300, 150) and back.info["icc_profile"] == b"profile"
    assert back.info["xmp"] == b"<x/>" and back.getexif()[0x010E] == "a digit"
    assert back.text == {"Comment": "such"}  # type: ignore[attr-defined]
    again = saved(back)
    assert again.info == back.info and from_pillow(again).metadata
    plain = back.copy()  # without `text`
    assert saved(plain, dpi=None).info == {key: back.info[key] for key in ("icc_profile", "exif", "xmp")}


def test_metadata_that_is_not_kept_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="not kept: XMP"):
        saved(Image.open(DIGIT), xmp=bytes(1 << 24))


def test_options_are_those_of_compress(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DATA / "models" / "tiny-grey"
    monkeypatch.delenv("BBC_MODELS")
    Image.open(DIGIT).save("x.bbc", model=folder, k=3, encoder="baseline", learning_rate=0.01)
    assert Path("x.bbc").read_bytes() == bbc.compress(
        read_image(DIGIT), 3, model=folder, encoder="baseline", learning_rate=0.01
    )
    with pytest.raises(bbc.ModelError, match="needs the model"):
        Image.open("x.bbc").load()
    with pytest.raises(bbc.BBCError, match="K must be"):
        Image.open(DIGIT).save("y.bbc", k=-1)
    assert not Path("y.bbc").exists()
    with pytest.raises(bbc.ImageError, match="mode F"):
        Image.new("F", (2, 2)).save("y.bbc")


def test_an_archive_is_opened_as_frames() -> None:
    images = {f"{mode}.png": from_pillow(pillow(mode)) for mode in PILLOW_MODES}
    images["digit.png"] = read_image(DIGIT)
    bbc.write("set.bbc", images)
    with Image.open("set.bbc") as opened:
        assert opened.n_frames == len(images) and opened.is_animated  # type: ignore[attr-defined]
        for _ in range(2):
            for frame, (name, image) in zip(ImageSequence.Iterator(opened), images.items(), strict=True):
                assert frame.info["name"] == name and frame.size == image.size
                assert from_pillow(frame) == image
        opened.seek(2)
        assert opened.tell() == 2
        with pytest.raises(EOFError):
            opened.seek(len(images))
        assert opened.tell() == 2


def test_frames_are_saved_as_an_archive() -> None:
    frames = [pillow("RGB"), pillow("P"), Image.open(DIGIT)]
    frames[0].save("set.bbc", save_all=True, append_images=frames[1:], k=0)
    with bbc.open("set.bbc") as archive:
        assert list(archive) == ["00000", "00001", "00002"]
        assert list(archive.values()) == [from_pillow(frame) for frame in frames]
    with Image.open("set.bbc") as opened:
        opened.save("again.bbc", save_all=True, k=0)
    assert Path("again.bbc").read_bytes() == Path("set.bbc").read_bytes()
    with Image.open("set.bbc") as opened:
        opened.save("one.bbc")
    with bbc.open("one.bbc") as archive:
        assert list(archive) == ["one"]


def test_a_mode_that_pillow_lacks_is_refused() -> None:
    Path("x.bbc").write_bytes(bbc.compress(np.zeros((2, 2, 3), np.uint16)))
    with pytest.raises(bbc.ImageError, match=r"no images of mode RGB;16; bbcompress.open\(\)"):
        Image.open("x.bbc")


def test_files_that_are_none_of_ours_are_unidentified() -> None:
    for data in (b"\xbb\xc1", b"\xbb\xc1\x01", b"\xbb\xc1\xff" + bytes(40), bbc.compress(pillow("RGBA"))[:-1]):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(data))
    with Image.open(DIGIT) as opened:
        assert opened.format == "PNG"


def test_damaged_pixels_are_an_error_when_they_are_loaded() -> None:
    data = bytearray(bbc.compress(read_image(DIGIT)))
    data[-3] ^= 1
    for name in ("load", "verify", "copy"):
        image = Image.open(io.BytesIO(data))
        with pytest.raises(bbc.FormatError):
            getattr(image, name)()


def test_the_limit_of_pixels_is_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    bbc.write("set.bbc", {"small": np.zeros((2, 2), np.uint8), "large": np.zeros((30, 30), np.uint8)})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with Image.open("set.bbc") as opened, pytest.raises(Image.DecompressionBombError):
        opened.seek(1)
    Path("large.bbc").write_bytes(bbc.compress(np.zeros((30, 30), np.uint8)))
    with pytest.raises(Image.DecompressionBombError):
        Image.open("large.bbc")


def test_files_are_closed() -> None:
    Image.open(DIGIT).save("x.bbc")
    lone = Image.open("x.bbc")
    file = lone.fp
    assert isinstance(file, io.BufferedReader) and not file.closed
    lone.load()
    assert file.closed
    bbc.write("set.bbc", {"a": pillow("L"), "b": pillow("L")})
    with Image.open("set.bbc") as several:
        file = several.fp
        several.load()
        assert isinstance(file, io.BufferedReader) and not file.closed
    assert file.closed
    given = io.BytesIO(Path("x.bbc").read_bytes())
    Image.open(given).load()
    assert not given.closed
