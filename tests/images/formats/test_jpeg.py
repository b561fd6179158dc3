"""Each thing that a JPEG can hold: kept, or named, or refused by its kind."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from PIL import Image, ImageFile

from bbcompress.coder.kernel_cache import Kernel
from bbcompress.errors import ImageError
from bbcompress.images.formats.jpeg import file as jpeg
from bbcompress.images.metadata import EXIF, ICC, TEXT, XMP, Record
from bbcompress.images.read import read_image

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 17, 3), dtype=np.uint8))
MISSING_END = "what may be missing at the file's end"


def saved(picture: Image.Image = PICTURE, form: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


PLAIN = saved()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body


def with_segments(*segments: bytes, data: bytes = PLAIN) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def frame(marker: int, bits: int = 8, height: int = 8, components: int = 1) -> bytes:
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    return segment(marker, struct.pack(">BHHB", bits, height, 8, components) + parts)


@one_test_of(
    ("file", "reason"),
    [
        (frame(0xC1, 12), "a JPEG of 12 bits"),
        (frame(0xC0, 12), "a JPEG of 12 bits"),
        (frame(0xC3), "a lossless JPEG of 8 bits"),
        (frame(0xC3, 16), "a lossless JPEG of 16 bits"),
        (frame(0xCB), "a lossless JPEG"),
        (frame(0xC9), "an arithmetically coded JPEG, which is not supported"),
        (frame(0xCA, 12), "an arithmetically coded JPEG, which is not supported"),
        (segment(0xF7, b"\x08\0\x08\0\x08\1\1\x11\0"), "a JPEG-LS image, which is not supported"),
        (segment(0xDE, frame(0xC0)[4:]) + frame(0xC0), "a hierarchical JPEG"),
        (frame(0xC0) + segment(0xDF, b"\x11"), "a hierarchical JPEG"),
        (frame(0xC5), "a hierarchical JPEG"),
        (frame(0xCE), "a hierarchical JPEG"),
        (frame(0xC0) + frame(0xC0), "hierarchical JPEG, or has several frames"),
        (frame(0xC0, height=0), "its height only behind the pixels"),
        (frame(0xC0, components=2), "a JPEG of 2 samples"),
        (b"", "no frame"),
        (segment(0xC0, b"\x08"), "no size"),
    ],
)
def test_kinds_that_are_not_read_are_named(file: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(b"\xff\xd8" + file + b"\xff\xd9", "x.jpg")


def test_kinds_that_are_read() -> None:
    """Baseline, progressive, grey and CMYK: the pixels that Pillow's decoder gives."""
    pictures = {"grey": PICTURE.convert("L"), "CMYK": PICTURE.convert("CMYK"), "colour": PICTURE}
    for picture in pictures.values():
        for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}, {"keep_rgb": True}):
            data = saved(picture, **options)
            image = read_image(data)
            np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(data))))
            assert (image.metadata, image.lost) == ((), ())


def test_what_is_behind_the_image_is_named() -> None:
    """A motion photo's video; and what a file may lack that does not end."""
    assert read_image(PLAIN + b"\0\0\0\x18ftypmp42" + bytes(100)).lost == ("data behind the image",)
    assert read_image(PLAIN + b"\0").lost == ("data behind the image",)
    assert read_image(PLAIN).lost == ()
    assert read_image(PLAIN[:2] + b"\xff\xff\xff" + PLAIN[2:]).lost == ()  # fill bytes
    assert read_image(PLAIN[:20] + b"junk" + PLAIN[20:]).lost == ("data between the segments",)


def test_what_is_left_out_is_named() -> None:
    thumbnail = bytearray(PLAIN)
    thumbnail[18:20] = b"\1\1"
    icc = b"ICC_PROFILE\0"
    cases = {
        "thumbnail": segment(0xE0, b"JFXX\0\x13\2\2" + bytes(12)),
        "extended XMP": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)),
        "FlashPix data": segment(0xE2, b"FPXR\0" + bytes(9)),
        "Photoshop data": segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\0\0\0\0"),
        "application data": segment(0xEB, b"JP\0\1"),
        "ICC profile": segment(0xE2, icc + b"\1\2" + b"A" * 100),
        "EXIF": 2 * segment(0xE1, b"Exif\0\0MM\0*"),
        "XMP": 2 * segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        "resolution": segment(0xE0, b"JFIF\0\1\1\3\0\5\0\5\0\0"),
    }
    for name, added in cases.items():
        image = read_image(with_segments(added))
        assert set(image.lost) - {"application data"} == {name} - {"application data"} or name in image.lost, name
    assert read_image(with_segments(segment(0xE2, icc + b"\1\1A"), segment(0xE2, icc + b"\1\1A"))).lost == (
        "ICC profile",
    )
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1abc")
    assert read_image(PLAIN[:2] + jfif + PLAIN[20:]).lost == ("thumbnail",)


def test_what_is_kept() -> None:
    """A profile in parts, out of order; EXIF over two segments; comments with their bytes, between the scans too."""
    parts = [
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 3]) + part)
        for number, part in ((2, b"b"), (3, b"c"), (1, b"a"))
    ]
    exif = segment(0xE1, b"Exif\0\0MM\0*begin"), segment(0xE1, b"Exif\0\0end")
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    comments = segment(0xFE, b"one \xff\0"), segment(0xFE, b"")
    image = read_image(with_segments(*parts, *exif, xmp, *comments))
    assert image.lost == ()
    assert image.metadata == (
        Record(ICC, b"\0abc"),
        Record(EXIF, b"MM\0*beginend"),
        Record(XMP, b"<x/>"),
        Record(TEXT, b"Comment\0one \xff\0"),
        Record(TEXT, b"Comment\0"),
    )
    progressive = saved(progressive=True)
    second = progressive.index(b"\xff\xda", progressive.index(b"\xff\xda") + 2)
    late = progressive[:second] + segment(0xFE, b"late") + progressive[second:]
    assert read_image(late).metadata == (Record(TEXT, b"Comment\0late"),)


def test_adobes_transforms() -> None:
    """What the samples mean is left to the decoder, which needs the segment."""
    data = PLAIN[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + PLAIN[20:]  # transform 0: RGB
    image = read_image(data)
    np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert (image.pixels != read_image(PLAIN).pixels).any()
    assert image.lost == ()


def test_further_pictures_are_named() -> None:
    both = saved(form="MPO", save_all=True, append_images=[PICTURE])
    assert read_image(both).lost == ("further pictures",)
    assert read_image(both + b"video").lost == ("data behind the image", "further pictures")
    assert read_image(both + bytes(9)).lost == ("further pictures",)  # padding


def test_what_pillow_is_told_to_make_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert read_image(PLAIN).lost == ()
    for end in range(len(PLAIN) // 2, len(PLAIN) - 2, 37):
        with pytest.raises(ImageError, match="cut short"):
            read_image(PLAIN[:end])


def test_an_end_that_is_missing_is_named() -> None:
    for data in (PLAIN, saved(progressive=True)):
        for cut in (1, 2):
            image = read_image(data[:-cut])
            assert image == read_image(data)
            assert MISSING_END in image.lost
        with pytest.raises(ImageError, match="cut short"):
            read_image(data[:-3])


def kinds() -> list[bytes]:
    """Small JPEGs of all kinds of scans: of one component and several, with restart markers, progressive or not."""
    wide = Image.fromarray(np.random.default_rng(1).integers(0, 256, (19, 37, 3), dtype=np.uint8))
    choices: list[dict[str, Any]] = [{}, {"restart_marker_blocks": 2}, {"subsampling": 2}, {"quality": 30}]
    files = []
    for picture in (wide, wide.convert("L"), wide.convert("CMYK")):
        for options in choices:
            files += [saved(picture, **options), saved(picture, progressive=True, **options)]
    return files


def scans(data: bytes) -> list[tuple[int, int]]:
    """From, to, of the codes of each scan."""
    found = re.finditer(rb"\xff\xda\0[\x08\x0a\x0c\x0e]", data)
    starts = [place.start() + 2 + data[place.start() + 3] for place in found]
    ends = [re.compile(rb"\xff[^\0\xd0-\xd7]", re.DOTALL).search(data, start) for start in starts]
    return [(start, end.start()) for start, end in zip(starts, ends, strict=True) if end is not None]


def test_scans_that_lack_pixels_are_refused() -> None:
    """Cut anywhere and ended by the marker of an end, as a program does that saves what it got: a decoder fills it up
    with grey."""
    for data in kinds():
        assert read_image(data).lost == ()
        for number, (start, stop) in enumerate(scans(data)):
            for end in {*range(start, stop, max(41, (stop - start) // 6)), stop - 1}:
                cut = data[:end] + b"\xff\xd9"
                Image.open(io.BytesIO(cut)).load()
                with pytest.raises(ImageError, match="cut short or damaged"):
                    read_image(cut)
                with pytest.raises(ImageError, match="cut short or damaged"):  # the other scans follow
                    read_image(data[:end] + data[stop:])
            if number + 1 < len(scans(data)):
                assert read_image(data[:stop] + b"\xff\xd9").lost == ("detail that may be missing in its scans",)


def test_scans_of_codes_that_are_none_are_refused() -> None:
    """Or told: what is behind the damage does not end where it should. (Codes that are others can fit by chance; of the
    scans of progressive JPEGs that add single bits most do.)"""
    generator = np.random.default_rng(5)
    for data in kinds():
        for start, stop in scans(data):
            if b"\xff\xc2" in data or stop - start < 60:
                continue
            place = int(generator.integers(start, stop - 40))
            damaged = data[:place] + generator.integers(0, 255, 30, dtype=np.uint8).tobytes() + data[place + 30 :]
            try:
                assert read_image(damaged).lost
            except ImageError as error:
                assert "damaged" in str(error)


def test_restart_markers_that_are_missing_are_refused() -> None:
    data = saved(restart_marker_blocks=1)
    for change in ((b"\xff\xd1", b""), (b"\xff\xd1", b"\xff\xd2"), (b"\xff\xd0", b"\xff\xd0\xff\xd0")):
        with pytest.raises(ImageError, match="restart markers are missing"):
            read_image(data.replace(*change, 1))
    with pytest.raises(ImageError, match="restart markers are missing"):
        read_image(PLAIN.replace(b"\xff\xd9", b"\xff\xd0\0\xff\xd9"))
    assert read_image(PLAIN.replace(b"\xff\xd9", b"\xff\xd0\xff\xd9")) == read_image(PLAIN)


def test_scans_that_do_not_fit_each_other_are_refused() -> None:
    """A component twice, or in none; a table that is missing; an order that no encoder has."""
    grey, progressive = saved(PICTURE.convert("L")), saved(PICTURE.convert("L"), progressive=True)
    ((start, stop),) = scans(grey)
    scan = grey[start - 10 : stop]
    cases = {
        grey[:stop] + scan + grey[stop:]: "part of the image twice",
        grey[: start - 10] + grey[stop:]: "no scan of one of its components",
        grey[: start - 5] + b"\x07" + grey[start - 4 :]: "a scan names components",
        grey[: start - 4] + b"\x22" + grey[start - 3 :]: "lacks a table",
        grey[: start - 8] + b"\0\x03\0" + grey[start:]: "header of a scan",
        grey[:2] + segment(0xC4, b"\0" + bytes(15) + b"\5ab") + grey[2:]: "tables of codes is too short",
        grey[: start - 10] + segment(0xC4, b"\0\3" + bytes(15) + b"abc") + grey[start - 10 :]: "too many codes",
        frame_of(grey, b"\1\x55\0"): "components of its frame",
        frame_of(grey, b"\1\x11\0\0"): "frame has a wrong length",
    }
    first, *_, last = scans(progressive)
    cases[progressive[: last[1]] + progressive[last[0] - 10 : last[1]] + progressive[last[1] :]] = (
        "part of the image twice"
    )
    cases[progressive[: first[0] - 10] + progressive[first[1] :]] = "in a wrong order"
    for data, reason in cases.items():
        with pytest.raises(ImageError, match=f"damaged: .*{reason}"):
            read_image(data)


def frame_of(data: bytes, components: bytes) -> bytes:
    """A grey JPEG with other components in its frame."""
    place = data.index(b"\xff\xc0")
    return data[:place] + segment(0xC0, data[place + 4 : place + 10] + components) + data[place + 13 :]


def test_data_in_scans_that_no_pixel_needs_is_named() -> None:
    for data in kinds():
        for _, stop in scans(data):
            image = read_image(data[:stop] + b"hidden" + data[stop:])
            assert image == read_image(data) and image.lost == ("data between the segments",)


def test_tables_that_motion_jpeg_leaves_out() -> None:
    """They are those that the specification recommends, which Pillow's encoder has."""
    for picture in (PICTURE, PICTURE.convert("L")):
        data = without = saved(picture)
        while (place := without.find(b"\xff\xc4")) >= 0:
            without = without[:place] + without[place + 2 + int.from_bytes(without[place + 2 : place + 4], "big") :]
        assert read_image(without) == read_image(data) and len(without) < len(data)


def test_segments_that_have_no_meaning_are_named() -> None:
    for marker in (0x02, 0xBF, 0xF0, 0xF6, 0xF8, 0xFD):
        image = read_image(with_segments(segment(marker, b"what")))
        assert image == read_image(PLAIN) and image.lost == ("segments of unknown kinds",)
    jfif, adobe = PLAIN[6:20], b"Adobe\0\x64\0\0\0\0\1"
    for longer in (segment(0xE0, jfif + b"more"), segment(0xE0, jfif) + segment(0xEE, adobe + b"!")):
        image = read_image(PLAIN[:2] + longer + PLAIN[20:])
        assert image == read_image(PLAIN) and image.lost == ("application data",)


def test_interpreted_and_compiled_loops_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    files = []
    for data in kinds():
        damaged = bytearray(data)
        damaged[int(generator.integers(len(data) - 60, len(data) - 2))] ^= 1 << int(generator.integers(8))
        files += [data, bytes(damaged)]

    def found(data: bytes) -> object:
        try:
            return jpeg.parse_jpeg(data, 1 << 20).lost
        except ImageError as error:
            return str(error)

    results = []
    for choice in (lambda kernel, _: kernel._function, lambda kernel, _: kernel):
        monkeypatch.setattr(Kernel, "for_symbols", choice)
        results.append([found(data) for data in files])
    assert results[0] == results[1]
    assert len({str(result) for result in results[0]}) > 2


def test_tables_and_intervals_that_cannot_be_are_refused() -> None:
    """libjpeg refuses them without a word of its own."""
    data = saved()
    scan = data.index(b"\xff\xda")
    start = data.index(b"\xff\xdb")
    stop = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    quantisation = data[start:stop]
    for changed, words in (
        (data.replace(b"\xff\xdb", b"\xff\xfe"), "lacks a table of quantisation"),
        (
            data.replace(quantisation, quantisation[:3] + bytes([quantisation[3] - 1]) + quantisation[4:-1]),
            "quantisation",
        ),
        (data.replace(quantisation, quantisation[:4] + b"\7" + quantisation[5:]), "quantisation"),
        (data[:scan] + b"\xff\xc4\0\x14\7\1" + bytes(16) + data[scan:], "tables of codes"),
        (data[:scan] + b"\xff\xdd\0\3\0" + data[scan:], "restart interval"),
        (data[:scan] + b"\xff\xdd\0\2" + data[scan:], "restart interval"),
        (data[:scan] + b"\xff\xdd\0\6\0\0\0\0" + data[scan:], "restart interval"),
    ):
        with pytest.raises(ImageError, match=f"is damaged.*{words}"):
            read_image(changed)


def test_what_huffman_codes_have_no_use_for_is_named() -> None:
    """Conditioning of arithmetic codes, a reserved segment, another height, markers that stand alone."""
    data = saved()
    image, scan = read_image(data), data.index(b"\xff\xda")
    height = image.height.to_bytes(2, "big")
    for changed, lost in (
        (data[:scan] + b"\xff\xcc\0\4\0\0" + data[scan:], ("segments of unknown kinds",)),
        (data[:scan] + b"\xff\xc8\0\5one" + data[scan:], ("segments of unknown kinds",)),
        (data[:-2] + b"\xff\xdc\0\4" + height + data[-2:], ()),
        (data[:-2] + b"\xff\xdc\0\4\0\1" + data[-2:], ("segments of unknown kinds",)),
        (data[:scan] + b"\xff\x01" + data[scan:], ("data between the segments",)),
        (data[:scan] + b"\xff\xd3\xff\xd5" + data[scan:], ("data between the segments",)),
        (data[:2] + data, ("data between the segments",)),
    ):
        named = read_image(changed)
        assert named == image and named.lost == lost
