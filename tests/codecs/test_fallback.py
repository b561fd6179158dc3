"""Fallback items: the same image back, whatever it is; never larger than the general tools; damage."""

import io
import struct
import tracemalloc
import zlib
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from cases_for_tests import one_test_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from bbcompress.archive.group import Group
from bbcompress.archive.lone import build_lone
from bbcompress.codecs.fallback import items
from bbcompress.codecs.fallback import probe as probing
from bbcompress.codecs.fallback.codecs import (
    BANDS,
    BYTE_DIFFERENCES,
    BYTES,
    DEEP,
    MODE_CODES,
    PNG,
    RAW,
    WEBP,
    encode_png,
)
from bbcompress.codecs.fallback.items import decode_item, encode_item, item_size
from bbcompress.codecs.fallback.probe import _windows, may_be_smaller, probe
from bbcompress.errors import FormatError
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import PixelImage, from_array
from bbcompress.wire import ByteReader, varint

SAMPLES = {"1": 0, "L": 0, "LA": 2, "P": 0, "RGB": 3, "RGBA": 4, "CMYK": 4}
SAMPLES |= {"I;16": 0, "LA;16": 2, "RGB;16": 3, "RGBA;16": 4}
DTYPES = {mode: np.bool_ if mode == "1" else np.uint16 for mode in SAMPLES if mode == "1" or mode.endswith(";16")}


@st.composite
def images(draw: st.DrawFn) -> PixelImage:
    mode = draw(st.sampled_from(list(SAMPLES)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9))) + ((SAMPLES[mode],) if SAMPLES[mode] else ())
    colours = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 17, 256])) if mode == "P" else 0
    elements = st.integers(0, colours - 1) if mode == "P" else None
    pixels = draw(arrays.arrays(DTYPES.get(mode, np.uint8), shape, elements=elements))
    transparency = b""
    if mode == "P":
        transparency = draw(st.binary(max_size=colours)).rstrip(b"\xff")
    elif draw(st.booleans()):
        top = {"1": 1, "L": 255, "RGB": 255, "I;16": 65535, "RGB;16": 65535}.get(mode)
        if top:
            key = draw(st.lists(st.integers(0, top), min_size=SAMPLES[mode] or 1, max_size=SAMPLES[mode] or 1))
            transparency = struct.pack(f">{len(key)}H", *key)
    return PixelImage(mode, pixels, draw(st.binary(min_size=3 * colours, max_size=3 * colours)), transparency)


def ramp(height: int = 60, width: int = 80) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.asarray((x * 2 + y) // 3 % 256, np.uint8)


def smooth(mode: str) -> PixelImage:
    """An image that PNG and WebP make small."""
    grey = ramp()
    if mode == "1":
        return PixelImage(mode, grey > 40)
    if mode == "P":
        return PixelImage(mode, grey // 4, bytes(range(192)))
    samples = SAMPLES[mode]
    layers = [grey, grey[::-1], grey, grey[:, ::-1]]
    pixels = np.dstack(layers[:samples]) if samples else grey
    return PixelImage(mode, pixels.astype(np.uint16) * 300 if mode.endswith(";16") else pixels)


@settings(max_examples=200)
@given(images())
def test_round_trip(image: PixelImage) -> None:
    assert decode_item(encode_item(image)) == image


@one_test_of("mode", SAMPLES)
def test_smooth_images(mode: str) -> None:
    image = smooth(mode)
    item = encode_item(image)
    assert item[0] in (PNG, WEBP, BYTES, DEEP)
    assert decode_item(item) == image


def test_every_codec_is_used() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)
    assert encode_item(from_array(noise))[0] == RAW
    assert encode_item(smooth("P"))[0] == PNG
    assert encode_item(smooth("RGB"))[0] == WEBP


@pytest.mark.parametrize("mode", [mode for mode in SAMPLES if mode.endswith(";16")])
def test_16_bits_as_bytes(mode: str) -> None:
    """The low bytes of photographs are noise: apart they cost what they are, in a PNG they disturb the high ones."""
    chance = np.random.default_rng(0)
    image = smooth(mode)
    image = PixelImage(mode, image.pixels // 2 + chance.integers(0, 256, image.pixels.shape, dtype=np.uint16))
    item = items._encode_bytes(image)
    assert item[0] == BYTES
    assert len(item) < 0.9 * len(encode_png(image))
    assert decode_item(item) == image
    spread = PixelImage(mode, smooth(mode).pixels // 300 * 257)
    item = encode_item(spread)
    assert item[0] in (PNG, BYTE_DIFFERENCES, DEEP)
    item = items._encode_bytes(spread)
    assert item[0] == BYTE_DIFFERENCES
    assert decode_item(item) == spread
    other = bytes([BYTE_DIFFERENCES]) + items._encode_bytes(image)[1:]
    high = image.pixels >> 8
    assert decode_item(other) == PixelImage(mode, high << 8 | (image.pixels + high) & 0xFF)
    assert item_size(item) == spread.size


def test_colours_under_alpha_zero_stay() -> None:
    grey = ramp()
    image = from_array(
        np.dstack([grey, grey.T[:1].repeat(60, 0)[:, :1] * np.ones_like(grey), grey, np.zeros_like(grey)])
    )
    item = encode_item(image)
    assert item[0] == WEBP
    assert decode_item(item) == image


@pytest.mark.parametrize("mode", ["LA", "RGBA", "CMYK"])
def test_opaque_alpha_stays(mode: str) -> None:
    image = smooth(mode)
    pixels = image.pixels.copy()
    pixels[..., -1] = 255
    image = PixelImage(mode, pixels)
    item = encode_item(image)
    assert item[0] == WEBP
    assert decode_item(item) == image


def test_sides_above_those_of_webp() -> None:
    image = from_array(np.dstack([ramp(1, 16384)] * 3))
    item = encode_item(image)
    assert item[0] == PNG
    assert decode_item(item) == image


def pillow_sizes(image: PixelImage) -> list[int]:
    sizes = [len(write_png(image)), len(write_png(image, optimize=True))]
    if image.mode in ("L", "RGB", "RGBA"):
        out = io.BytesIO()
        Image.fromarray(image.pixels).save(out, "WEBP", lossless=True, exact=True, method=4, quality=100)
        sizes.append(len(out.getvalue()))
    return sizes


@one_test_of("mode", [mode for mode in SAMPLES if mode != "CMYK"])
def test_size_of_a_lone_file(mode: str) -> None:
    noise = np.random.default_rng(1).integers(0, 2, (64, 64)).astype(np.uint8)
    for image in (smooth(mode), smooth("RGBA"), from_array(noise * 255), from_array(noise.astype(bool))):
        file = build_lone(Group.of_items([encode_item(image)]))
        assert len(file) <= min(pillow_sizes(image)) + 32


def test_the_same_bytes_each_time() -> None:
    for mode in SAMPLES:
        assert encode_item(smooth(mode)) == encode_item(smooth(mode))


def check(item: bytes) -> None:
    """A damaged item gives an image or a FormatError; whether it is the same, the checksum around it says."""
    try:
        decode_item(item, 100_000)
    except FormatError as fault:
        assert len(str(fault).splitlines()) == 1


@one_test_of("mode", SAMPLES)
def test_damaged_items(mode: str) -> None:
    image = smooth(mode)
    if mode.endswith(";16"):  # whose decoder takes most of the time
        image = PixelImage(mode, image.pixels[:20, :24])
    item = encode_item(image)
    for end in range(0, len(item), 1 + len(item) // 200):
        check(item[:end])
    for place in [*range(min(60, len(item))), *range(60, len(item), 1 + len(item) // 200)]:
        for pattern in (1, 0x80, 0xFF):
            check(item[:place] + bytes([item[place] ^ pattern]) + item[place + 1 :])


@given(st.binary(max_size=60), st.integers(0, 7), st.sampled_from([*range(12), *range(0x80, 0x8C)]))
def test_any_bytes(data: bytes, codec: int, mode: int) -> None:
    check(bytes([codec, mode]) + data)


def png_body(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    out = b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows))):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


HOSTILE = {
    "nothing": b"",
    "a codec alone": b"\x01",
    "unknown codec": b"\x07\x01\x01\x01\x00",
    "unknown mode": b"\x01\x0b\x01\x01\x00",
    "bytes of 8 bits": b"\x05\x01\x05\x01\x01\x01\x01\x00\x01\x01\x01\x01\x00",
    "bytes with a transparency": b"\x05\x86\x05\x01\x01\x01\x01\x00\x01\x01\x01\x01\x00",
    "bytes of another mode": b"\x05\x06\x05\x01\x04\x01\x01\x00\x01\x01\x01\x01\x00",
    "bytes of other sizes": b"\x05\x06\x05\x01\x01\x01\x01\x00\x01\x01\x01\x02\x00\x00",
    "bytes without low ones": b"\x05\x06\x05\x01\x01\x01\x01\x00",
    "bytes cut short": b"\x05\x06\x07\x01\x01\x01\x01\x00",
    "bytes in bytes": b"\x05\x06" + varint(13) + b"\x05\x01\x05\x01\x01\x01\x01\x00\x01\x01\x01\x01\x00" * 2,
    "bytes in bands": b"\x05\x06" + varint(2) + b"\x04\x01" + b"\x04\x01",
    "webp of 16 bits": b"\x03\x09" + encode_item(smooth("RGB"))[2:],
    "raw too long": b"\x01\x01\x01\x01\x00\x00",
    "raw too short": b"\x01\x01\x02\x01\x00",
    "raw without pixels": b"\x01\x01\x00\x01",
    "raw of 2^40 pixels": b"\x01\x01" + varint(1 << 20) + varint(1 << 20),
    "raw with a side of 2^62": b"\x01\x01\x01" + varint(1 << 62),
    "raw with bits at the end": b"\x01\x00\x01\x01\x40",
    "raw palette of 257": b"\x01\x03\x01\x01" + varint(257) + bytes(772),
    "raw palette too small": b"\x01\x03\x01\x01\x01abc\x01",
    "raw alpha without transparency": b"\x01\x81\x01\x01\x00\x00",
    "raw transparency of LA": b"\x01\x82\x01\x01\x02\x00\x00\x00\x00",
    "png of 2^31 sides": b"\x02\x01" + png_body(1 << 30, 1 << 30, 8, 0, b""),
    "png cut short": b"\x02\x01" + png_body(1, 1, 8, 0, b"\x00\x05")[:-1],
    "png of another mode": b"\x02\x01" + png_body(1, 1, 8, 2, b"\x00\x05\x05\x05"),
    "png of 16-bit colour": b"\x02\x04" + png_body(1, 1, 16, 2, bytes(7)),
    "png without its transparency": b"\x02\x81" + png_body(1, 1, 8, 0, b"\x00\x05"),
    "webp of nothing": b"\x03\x04",
    "webp of other bytes": b"\x03\x04" + b"\x2f" + bytes(20),
    "webp of two levels": b"\x03\x00" + encode_item(smooth("RGB"))[2:],
    "webp with colours for grey": b"\x03\x01" + encode_item(smooth("RGB"))[2:],
    "webp with alpha for RGB": b"\x03\x04" + encode_item(smooth("RGBA"))[2:],
    "webp of 2^24 + 2^10 pixels": b"\x03\x04\x2f" + struct.pack("<I", 1023 | 16384 << 14) + bytes(10),
    "raw of 2^24 + 2^10 pixels": b"\x01\x00" + varint(1024) + varint(16385) + bytes(2097280),
    "bands of a small image": b"\x04\x01\x01\x02\x01\x05\x01\x01\x01\x01\x00\x05\x01\x01\x01\x01\x00",
    "bands of 2^30 pixels": b"\x04\x01" + varint(1 << 15) + varint(1 << 15) + b"\x01",
    "bands of no rows": b"\x04\x01" + varint(1 << 13) + varint(1 << 12) + b"\x00",
    "bands without bands": b"\x04\x01" + varint(1 << 13) + varint(1 << 12) + b"\x01",
    "png in a webp": b"\x03\x01" + png_body(1, 1, 8, 0, b"\x00\x05"),
}


def test_png_body_makes_good_ones() -> None:
    assert decode_item(b"\x02\x01" + png_body(1, 1, 8, 0, b"\x00\x05")) == from_array(np.array([[5]], np.uint8))


@one_test_of("name", HOSTILE)
def test_hostile(name: str) -> None:
    with pytest.raises(FormatError):
        decode_item(HOSTILE[name])


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_max_pixels(mode: str) -> None:
    item = encode_item(smooth(mode))
    assert decode_item(item, 4800) == smooth(mode)
    # That of WebP is checked before its decoder sees it, which takes memory at once.
    with pytest.raises(FormatError, match="above the limit of 4799" if mode == "RGB" else "limit of 4799"):
        decode_item(item, 4799)


# Bands


def small_bands(monkeypatch: pytest.MonkeyPatch, item: int = 600, band: int = 240) -> None:
    monkeypatch.setattr(items, "MAX_ITEM_PIXELS", item)
    monkeypatch.setattr(items, "BAND_PIXELS", band)


def bands(*items: bytes, width: int = 80, height: int = 60, rows: int = 20, mode: int = 1) -> bytes:
    start = bytes([BANDS, mode]) + varint(width) + varint(height) + varint(rows)
    return start + b"".join(varint(len(item)) + item for item in items)


def rows_of(image: PixelImage, *edges: int) -> list[PixelImage]:
    return [
        PixelImage(image.mode, image.pixels[top:bottom], image.palette, image.transparency)
        for top, bottom in pairwise(edges)
    ]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images(), st.integers(0, 20), st.integers(0, 20))
def test_bands_round_trip(monkeypatch: pytest.MonkeyPatch, image: PixelImage, item: int, band: int) -> None:
    item = max(item, image.width)
    small_bands(monkeypatch, item, min(item, band))
    stored = encode_item(image)
    assert (stored[0] == BANDS) == (image.width * image.height > item)
    assert decode_item(stored) == image


@pytest.mark.parametrize("mode", SAMPLES)
def test_bands_of_smooth_images(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = smooth(mode)
    whole = encode_item(image)
    small_bands(monkeypatch, 2000, 25 * 80)
    stored = encode_item(image)
    expected = [encode_item(part) for part in rows_of(image, 0, 25, 50, 60)]
    assert stored == bands(*expected, rows=25, mode=MODE_CODES[mode])
    assert {item[0] for item in expected} <= {PNG, WEBP, BYTES, DEEP}
    assert decode_item(stored) == image
    with pytest.raises(FormatError, match="above the limit"):
        decode_item(whole) if whole[0] == WEBP else decode_item(stored, 4799)


def test_the_smallest_codec_of_each_band(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 80, 3), dtype=np.uint8)
    wide = np.dstack([ramp(40, 80)] * 3)
    small_bands(monkeypatch, 1600, 1600)
    stored = encode_item(from_array(np.concatenate([noise, wide])))
    reader = ByteReader(stored, position=5)
    codecs = [reader.take(reader.varint())[0] for _ in range(3)]
    assert codecs == [RAW, WEBP, WEBP]


@pytest.mark.parametrize("mode", SAMPLES)
def test_items_say_their_size(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for image in (smooth(mode), PixelImage(mode, smooth(mode).pixels[:2, :3], smooth(mode).palette)):
        assert item_size(encode_item(image)) == image.size
    small_bands(monkeypatch, 1600, 1600)
    stored = encode_item(smooth(mode))
    assert stored[0] == BANDS
    assert item_size(stored) == (80, 60)
    bytes_of_none = (b"\x05\x06\x00", b"\x05\x06\x02\x05\x06")
    for item in (b"", b"\x01", b"\x01\x01\x05", b"\x02\x01IHDR", b"\x03\x04/", *bytes_of_none, b"\x07\x01"):
        with pytest.raises(FormatError):
            item_size(item)


def test_bands_wider_than_webp_and_than_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    image = from_array(np.dstack([ramp(3, 16384)] * 3))
    small_bands(monkeypatch, 16384, 100)
    stored = encode_item(image)
    assert stored == bands(*map(encode_item, rows_of(image, 0, 1, 2, 3)), width=16384, height=3, rows=1, mode=4)
    assert decode_item(stored) == image


@pytest.mark.parametrize("transparency", [b"", b"\x00\x80", b"\xff\xff"])
def test_bands_keep_a_palette_that_one_of_them_does_not_use(
    transparency: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((60, 80), np.uint8)
    pixels[50:] = ramp(10, 80) // 4
    image = PixelImage("P", pixels, bytes(range(192)), transparency)
    small_bands(monkeypatch, 1600, 1600)
    assert decode_item(encode_item(image)) == image


def test_pixels_done_are_told_band_by_band(monkeypatch: pytest.MonkeyPatch) -> None:
    small_bands(monkeypatch, 2000, 25 * 80)
    told: list[int] = []
    stored = encode_item(smooth("RGB"), told.append)
    assert told == [2000, 2000, 800]
    decode_item(stored, progress=told.append)
    assert told == [2000, 2000, 800] * 2
    small_bands(monkeypatch, 4800)
    decode_item(encode_item(smooth("RGB"), told.append), progress=told.append)
    assert told[6:] == [4800, 4800]


def damaged_bands() -> dict[str, bytes]:
    image = smooth("L")
    one, two, three = (encode_item(part) for part in rows_of(image, 0, 20, 40, 60))
    palette = PixelImage("P", image.pixels // 4, bytes(range(192)))
    others = [
        PixelImage("P", image.pixels // 4, bytes(192)),
        PixelImage("P", image.pixels // 4, palette.palette, b"\x80"),
    ]
    colours = [encode_item(part) for part in rows_of(palette, 0, 20, 40, 60)]
    return {
        "one too few": bands(one, two),
        "one too many": bands(one, two, three, three),
        "cut short": bands(one, two, three)[:-1],
        "too few rows": bands(one, two, encode_item(rows_of(image, 40, 59)[0])),
        "too many rows": bands(one, encode_item(rows_of(image, 20, 60)[0]), three),
        "turned": bands(one, encode_item(PixelImage("L", rows_of(image, 20, 40)[0].pixels.reshape(80, 20))), three),
        "another mode": bands(one, encode_item(rows_of(smooth("RGB"), 20, 40)[0]), three),
        "a transparency": bands(one, encode_item(PixelImage("L", image.pixels[20:40], b"", b"\0\7")), three),
        "none of its transparency": bands(one, two, three, mode=0x81),
        "another palette": bands(colours[0], encode_item(rows_of(others[0], 20, 40)[0]), colours[2], mode=3),
        "another transparency": bands(colours[0], encode_item(rows_of(others[1], 20, 40)[0]), colours[2], mode=3),
        "bands in bands": bands(one, bands(*map(encode_item, rows_of(image, 20, 30, 40)), height=20, rows=10), three),
        "empty": bands(one, b"", three),
        "too large": bands(encode_item(rows_of(image, 0, 30)[0]), encode_item(rows_of(image, 30, 60)[0]), rows=30),
        "higher than the image": bands(encode_item(image), rows=61),
    }


@pytest.mark.parametrize("name", damaged_bands())
def test_hostile_bands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    item = damaged_bands()[name]
    small_bands(monkeypatch, 1600)
    with pytest.raises(FormatError):
        decode_item(item)


def test_damaged_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    small_bands(monkeypatch, 1600, 1600)
    item = encode_item(smooth("RGB"))
    for place in range(0, len(item), 1 + len(item) // 200):
        check(item[:place])
        check(item[:place] + bytes([item[place] ^ 0x81]) + item[place + 1 :])


def test_forged_items_take_little_memory() -> None:
    """A few bytes that claim the most pixels that there may be."""
    solid = encode_item(from_array(np.zeros((16, 16, 3), np.uint8)))
    forged = b"\x03\x04\x2f" + struct.pack("<I", 16382 | 16382 << 14) + solid[7:]
    assert solid[0] == WEBP and len(forged) < 40
    tracemalloc.start()
    for item in (forged, bands(forged, width=1 << 14, height=1 << 14, rows=256, mode=4)):
        with pytest.raises(FormatError):
            decode_item(item)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


# The probe


def noisy(height: int, width: int, scale: int = 256, mode: str = "RGB") -> PixelImage:
    shape = (height, width, SAMPLES[mode]) if SAMPLES[mode] else (height, width)
    return PixelImage(mode, np.random.default_rng(2).integers(0, scale, shape).astype(np.uint8))


def textured() -> PixelImage:
    """As a photograph is to WebP: its effort hardly matters."""
    y, x = np.mgrid[:200, :300]
    base = 120 + 80 * np.sin(x / 40 + y / 70)
    noise = np.random.default_rng(3).normal(0, 6, (200, 300, 3))
    return from_array((base[:, :, None] + noise).clip(0, 255).astype(np.uint8))


@one_test_of("mode", ["RGB", "L", "LA", "RGBA", "CMYK"])
def test_the_probe_of_noise_is_its_size(mode: str) -> None:
    image = noisy(120, 130, mode=mode)
    probed = probe(image)
    assert probed is not None
    assert probed.repeated == 0
    assert abs(probed.size / len(encode_item(image)) - 1) < 0.05
    assert not may_be_smaller(image, image.pixels.nbytes * 9 // 10)
    assert may_be_smaller(image, image.pixels.nbytes * 11 // 10)


def test_a_photograph_is_left_to_a_better_model() -> None:
    image = textured()
    size = len(encode_item(image))
    assert may_be_smaller(image, size + 1)
    assert not may_be_smaller(image, size * 9 // 10)


def test_what_effort_finds_is_expected() -> None:
    """Repetitions far apart, and so little that every byte matters: WebP's low effort makes far more of both."""
    tiled = from_array(np.tile(noisy(90, 100).pixels, (4, 3, 1)))
    y, x = np.mgrid[:300, :400]
    gradient = from_array(np.dstack([20 + 0.17 * x + 0.11 * y, 0.23 * x + 0.05 * y, 200 - 0.3 * y]).astype(np.uint8))
    for image in (tiled, gradient):
        probed, size = probe(image), len(encode_item(image))
        assert probed is not None and probed.size > 1.2 * size
        assert may_be_smaller(image, size + 1)
    assert not may_be_smaller(noisy(360, 300), len(encode_item(tiled)) + 1)


def test_repeated_pixels_are_counted() -> None:
    row = noisy(1, 100).pixels
    for rows, share in (([row, row], 93 / 100 * 1 / 2), ([row, row, row], 93 / 100 * 2 / 3)):
        probed = probe(from_array(np.concatenate(rows)))
        assert probed is not None
        assert probed.repeated == pytest.approx(share)
    shifted = np.concatenate([row[:, 60:], row[:, :60]], axis=1)
    probed = probe(from_array(np.concatenate([row, shifted])))
    assert probed is not None and probed.repeated == pytest.approx((33 + 53) / 200)
    plain = probe(from_array(np.full((50, 60, 3), 7, np.uint8)))
    assert plain is not None and plain.repeated == 0


@pytest.mark.parametrize("mode", ["1", "P", "I;16"])
def test_what_webp_does_not_hold_is_always_tried(mode: str) -> None:
    assert probe(smooth(mode)) is None
    assert may_be_smaller(smooth(mode), 1)


@one_test_of("shape", [(1, 1), (1, 7), (9, 1), (1, 40_000), (40_000, 1)])
def test_probes_of_odd_shapes(shape: tuple[int, int]) -> None:
    image = noisy(*shape)
    assert may_be_smaller(image, len(encode_item(image)) + 100)
    assert not (shape[0] * shape[1] > 100 and may_be_smaller(image, image.pixels.nbytes // 2))


@pytest.mark.parametrize(("pixels", "bands"), [(3000, 16), (3000, 4), (16, 16), (100_000, 16)])
def test_large_images_are_probed_in_bands(pixels: int, bands: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = textured()
    whole = probe(image)
    looked: list[int] = []

    def look(band: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
        looked.append(band.size // 3)
        return _windows(band)

    monkeypatch.setattr(probing, "PROBE_PIXELS", pixels)
    monkeypatch.setattr(probing, "PROBE_BANDS", bands)
    with monkeypatch.context() as patch:
        patch.setattr(probing, "_windows", look)
        probed = probe(image)
    assert probed is not None and whole is not None
    assert sum(looked) <= max(pixels, bands * image.width)
    assert len(looked) == (1 if pixels > 60_000 else bands)
    assert probed.pixels == 60_000
    assert abs(probed.size / whole.size - 1) < (0.35 if pixels < 60_000 else 1e-9)
