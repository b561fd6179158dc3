"""BMP of all versions: its pixels, palette and metadata, exactly or not at all; and a writer.

Pillow drops the fourth byte of 32-bit pixels, alpha of 16-bit ones and embedded profiles, and takes some small palettes
of grey for samples; so bbc has a reader of its own.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bbcompress.errors import ImageError
from bbcompress.images.decoders import check_size
from bbcompress.images.metadata import (
    ICC,
    MAX_IMAGE_BYTES,
    PER_METRE,
    RESOLUTION,
    Metadata,
    Record,
    per_metre,
    resolution,
    within_limits,
)

Pixels = npt.NDArray[Any]

_FILE_HEADER, _CORE, _INFO, _OS2, _V3, _V4, _V5 = 14, 12, 40, 64, 56, 108, 124
_HEADERS = (_CORE, 16, _INFO, 52, _V3, _OS2, _V4, _V5)
_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_COMPRESSIONS = {4: "JPEG", 5: "PNG", 11: "CMYK", 12: "CMYK in runs", 13: "CMYK in runs"}
_OS2_COMPRESSIONS = {_BITFIELDS: "Huffman codes", 4: "24-bit runs"}
_DEPTHS = {
    _RGB: (1, 2, 4, 8, 16, 24, 32),
    _RLE8: (8,),
    _RLE4: (4,),
    _BITFIELDS: (16, 24, 32),
    _ALPHA_BITFIELDS: (16, 32),
}
_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 24: (0xFF0000, 0xFF00, 0xFF, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_FOURTH_BYTE = 0xFF000000
_BAND_PIXELS = 1 << 22

# Kinds of colour spaces, as their bytes stand in a file.
_CALIBRATED, _SRGB, _WINDOWS, _LINKED, _EMBEDDED = bytes(4), b"BGRs", b" niW", b"KNIL", b"DEBM"
_PERCEPTUAL = 4
_MAX_PER_METRE = (1 << 31) - 1  # the field is signed
_BLACK_AND_WHITE = b"\0\0\0\xff\xff\xff"
_ALL_GREYS = bytes(value for value in range(256) for _ in range(3))


class BmpImage(NamedTuple):
    """The image of a BMP: what `PixelImage` has under the same names."""

    mode: str
    pixels: Pixels
    palette: bytes
    metadata: Metadata
    lost: tuple[str, ...]


class _Header(NamedTuple):
    """What the headers say.

    size: of the header. offset: of the pixels in the file. end: of the headers, masks included; a palette may follow.
    used: how many colours the palette is said to have, 0 for all of its depth.
    """

    size: int
    offset: int
    end: int
    width: int
    height: int
    upside_down: bool
    bits: int
    compression: int
    per_metre: tuple[int, int]
    used: int
    important: int
    masks: tuple[int, int, int, int] | None


def _refused(kind: str) -> ImageError:
    return ImageError(f"is a BMP of {kind}, which is not supported")


def read_image(data: bytes, max_pixels: int) -> BmpImage:
    """The image. ImageError for damage, and for every kind that would not be kept, which it names."""
    header = _read_header(data)
    check_size(header.width, header.height, max_pixels)
    lost: set[str] = set()
    palette, palette_end = _read_palette(data, header, lost)
    if header.compression in (_RLE8, _RLE4):
        pixels, end = _runs(data, header, lost)
    else:
        pixels, end = _rows(data, header, lost)
    mode = "P"
    if not palette:
        mode = "RGBA" if pixels.shape[2:] == (4,) else "RGB"
    elif header.bits == 8 and palette == _ALL_GREYS:
        mode, palette = "L", b""
    elif header.bits == 1 and palette == _BLACK_AND_WHITE:
        mode, pixels, palette = "1", pixels.view(np.bool_), b""
    if mode == "P" and 3 * int(pixels.max()) >= len(palette):
        lost.add("colours that the palette lacks (black now)")
        palette = palette.ljust(3 * (int(pixels.max()) + 1), b"\0")
    records, profile = _read_metadata(data, header, lost)
    for name, start, stop in (
        ("data before the pixels", palette_end, header.offset),
        ("data behind the image", end, len(data)),
    ):
        parts = ((start, min(stop, profile[0])), (max(start, profile[1]), stop)) if profile else ((start, stop),)
        if any(data.count(0, *part) < part[1] - part[0] for part in parts):
            lost.add(name)
    kept, too_much = within_limits(records)
    return BmpImage(mode, pixels, palette, kept, tuple(sorted({*lost, *too_much})))


def _read_header(data: bytes) -> _Header:
    """The headers. ImageError for kinds that are not read."""
    if data[:2] == b"BA":
        raise ImageError("is an array of bitmaps of OS/2, which is not supported")
    if len(data) < _FILE_HEADER + _CORE:
        raise ImageError("is cut short")
    offset, size = struct.unpack_from("<II", data, 10)
    if size not in _HEADERS:
        raise _refused(f"a header of {size} bytes")
    if len(data) < _FILE_HEADER + size:
        raise ImageError("is cut short")
    if size == _CORE:
        width, height, planes, bits = struct.unpack_from("<HHHH", data, 18)
        fields = (width, height, planes, bits, 0, 0, 0, 0, 0, 0)
    else:
        fields = struct.unpack_from("<iiHHIIIIII", data[: _FILE_HEADER + size] + bytes(_INFO), 18)
    width, height, planes, bits, compression, _, across, down, used, important = fields
    if width < 1 or height == 0:
        raise ImageError("is damaged: it is empty")
    if planes != 1:
        raise _refused(f"{planes} planes")
    names = _COMPRESSIONS | (_OS2_COMPRESSIONS if size in (16, _OS2) else {})
    if compression in names:
        raise _refused(f"compression {compression} ({names[compression]})")
    if compression not in _DEPTHS:
        raise _refused(f"compression {compression}")
    if bits not in _DEPTHS[compression]:
        raise _refused(f"{bits} bits a pixel" + f" and compression {compression}" * bool(compression))
    if height < 0 and compression in (_RLE8, _RLE4):
        raise _refused("runs from top to bottom")
    end = _FILE_HEADER + size
    masks = None
    if compression in (_BITFIELDS, _ALPHA_BITFIELDS):
        count = 4 if compression == _ALPHA_BITFIELDS or size >= _V3 else 3
        if len(data) < _FILE_HEADER + _INFO + 4 * count:
            raise ImageError("is cut short")
        red, green, blue, alpha = (*struct.unpack_from(f"<{count}I", data, _FILE_HEADER + _INFO), 0)[:4]
        masks = (red, green, blue, alpha)
        end = max(end, _FILE_HEADER + _INFO + 4 * count)
    if offset in (0, _FILE_HEADER + size) and (bits <= 8 or not offset):  # as if there were no palette
        offset = end + (4 if size != _CORE else 3) * ((used or 1 << bits) if bits <= 8 else 0)
    if offset < end:
        raise ImageError("is damaged: its pixels are said to stand inside its header")
    return _Header(
        size, offset, end, width, abs(height), height > 0, bits, compression, (across, down), used, important, masks
    )


def _read_palette(data: bytes, header: _Header, lost: set[str]) -> tuple[bytes, int]:
    """The colours, red first, and where they end; of images without a palette nothing. lost: gets names."""
    if header.bits > 8:
        if header.used:
            lost.add("suggested palette")
        return b"", max(header.end, min(header.end + 4 * header.used, header.offset))
    each = 3 if header.size == _CORE else 4
    count = min(header.used or 1 << header.bits, 1 << header.bits, (header.offset - header.end) // each)
    end = header.end + count * each
    if count == 0 or end > len(data):
        raise ImageError("is damaged: it has no palette")
    if 0 < header.important < count:
        lost.add("number of important colours")
    colours = np.frombuffer(data, np.uint8, count * each, header.end).reshape(count, each)
    if each == 4 and not any((colours[:, 3] == usual).all() for usual in (0, 255, colours[:, 0])):  # as programs fill
        lost.add("fourth bytes of the palette")
    return colours[:, 2::-1].tobytes(), end


def _rows(data: bytes, header: _Header, lost: set[str]) -> tuple[Pixels, int]:
    """The pixels of rows that are not compressed, and where they end. lost: gets names."""
    used = (header.width * header.bits + 7) // 8
    row_bytes = (header.width * header.bits + 31) // 32 * 4
    size = row_bytes * (header.height - 1) + used  # the padding of the last row is missing now and then
    end = header.offset + row_bytes * header.height
    if header.offset + size > len(data):
        raise ImageError("is cut short")
    content = memoryview(data)[header.offset : end]
    if len(content) < row_bytes * header.height:
        content = memoryview(bytes(content).ljust(row_bytes * header.height, b"\0"))
    rows = np.frombuffer(content, np.uint8).reshape(header.height, row_bytes)
    if rows[:, used:].any() or (header.width * header.bits % 8 and (
            rows[:, used - 1] & (0xFF >> header.width * header.bits % 8)).any()):  # fmt: skip
        lost.add("bytes between the rows")
    if header.upside_down:
        rows = rows[::-1]
    rows = rows[:, :used]
    if header.bits == 8:
        return np.ascontiguousarray(rows), end
    if header.bits == 1:
        return np.unpackbits(rows, axis=1)[:, : header.width], end
    if header.bits < 8:
        shifts = np.arange(8 - header.bits, -1, -header.bits, dtype=np.uint8)
        unpacked = (rows[:, :, None] >> shifts) & np.uint8((1 << header.bits) - 1)
        return np.ascontiguousarray(unpacked.reshape(header.height, -1)[:, : header.width]), end
    return _colours(rows, header, lost), end


def _colours(rows: Pixels, header: _Header, lost: set[str]) -> Pixels:
    """RGB or RGBA of the bytes of rows. lost: gets names."""
    plain = _MASKS[header.bits]
    masks = header.masks or plain
    if masks == (0, 0, 0, 0):  # as some programs write that there is nothing special
        masks = plain
    alpha_unsaid = header.bits == 32 and masks == plain and (header.masks is None or header.size < _V3)
    if header.bits == 24 and masks[:3] != plain[:3]:
        raise _refused("24 bits a pixel and masks of its own")
    shape = (header.height, header.width)
    if header.bits == 24:
        return np.ascontiguousarray(rows.reshape(*shape, 3)[..., ::-1])
    values = np.ascontiguousarray(rows).view("<u2" if header.bits == 16 else "<u4")
    everything = int(np.bitwise_or.reduce(values, axis=None))
    if alpha_unsaid and everything & _FOURTH_BYTE:
        masks = (*plain[:3], _FOURTH_BYTE)
    depths = [_check_mask(mask, header.bits) for mask in masks if mask]
    if not all(masks[:3]) or sum(depths) != (masks[0] | masks[1] | masks[2] | masks[3]).bit_count():
        raise _refused("masks that overlap or are empty")
    if everything & ~(masks[0] | masks[1] | masks[2] | masks[3]):
        lost.add("unused bits of the pixels")
    if any(255 % ((1 << depth) - 1) for depth in depths):
        lost.add(f"depth of the samples ({', '.join(map(str, depths))} bits)")
    pixels = np.empty((*shape, len(depths)), np.uint8)
    step = max(1, _BAND_PIXELS // header.width)
    for top in range(0, header.height, step):
        band = values[top : top + step]
        for channel, (mask, depth) in enumerate(zip((mask for mask in masks if mask), depths, strict=True)):
            part = (band & band.dtype.type(mask)) >> band.dtype.type((mask & -mask).bit_length() - 1)
            most = (1 << depth) - 1
            pixels[top : top + step, :, channel] = (
                part if depth == 8 else (part.astype(np.uint32) * 255 + most // 2) // most
            )
    return pixels


def _check_mask(mask: int, bits: int) -> int:
    """How many bits of a pixel a mask has. ImageError for a mask that is not read."""
    depth = mask.bit_count()
    low = (mask & -mask).bit_length() - 1
    if mask >> low != (1 << depth) - 1 or mask >> bits:
        raise _refused("masks that are not of bits side by side")
    if depth > 8:
        raise _refused(f"{depth} bits a sample")
    return depth


def _runs(data: bytes, header: _Header, lost: set[str]) -> tuple[Pixels, int]:
    """The indices of runs of pixels of 4 or 8 bits, and where they end. lost: gets names."""
    width, height = header.width, header.height
    nibbles = header.compression == _RLE4
    values = [bytes((value >> 4, value & 15)) if nibbles else bytes((value,)) for value in range(256)]
    out = bytearray(width * height)
    at, x, y, drawn, outside = header.offset, 0, 0, 0, False
    ended = between = False
    last = len(data) - 2
    while at <= last:
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = values[value] * (count + 1 >> 1 if nibbles else count)
        elif value > 2:
            count = value
            size = count + 1 >> 1 if nibbles else count
            run = data[at : at + size]
            if len(run) < size:
                break
            between |= size % 2 > 0 and any(data[at + size : at + size + 1])
            between |= nibbles and count % 2 > 0 and run[-1] & 15 > 0
            at += size + size % 2
            if nibbles:
                run = b"".join([values[byte] for byte in run])
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1 or at > last:
            ended = value == 1
            break
        else:
            x, y = min(x + data[at], width), y + data[at + 1]
            at += 2
            continue
        if y >= height:
            raise ImageError("is damaged: its runs do not end at the last row of the image")
        fit = min(count, width - x)
        place = y * width + x
        out[place : place + fit] = run[:fit]
        drawn += fit
        x += fit
        outside |= fit < count
    if not ended and drawn < width * height:
        raise ImageError("is cut short")
    if drawn < width * height:
        lost.add("pixels that are not drawn (of colour 0 now)")
    if between:
        lost.add("bytes between the runs")
    if outside:
        lost.add("pixels outside the image")
    return np.frombuffer(out, np.uint8).reshape(height, width)[::-1].copy(), at


def _read_metadata(data: bytes, header: _Header, lost: set[str]) -> tuple[list[Record], tuple[int, int] | None]:
    """The records, and where the profile among them stands. lost: gets names."""
    records = []
    if any(data[6:10]) or (header.size == _OS2 and any(data[_FILE_HEADER + _INFO : _FILE_HEADER + _OS2])):
        lost.add("header fields")
    if any(header.per_metre):
        across, down = header.per_metre
        record = resolution(PER_METRE, (across, 1), (down, 1)) if max(across, down) <= _MAX_PER_METRE else None
        if record is None:
            lost.add("resolution")
        else:
            records.append(record)
    if header.bits > 8 and header.important:
        lost.add("number of important colours")
    if header.size >= _V3 and header.masks is None:  # what has no meaning, unless it is the usual
        masks = struct.unpack_from("<4I", data, _FILE_HEADER + _INFO)
        if masks[:3] not in ((0, 0, 0), _MASKS[32][:3]) or masks[3] not in (0, _FOURTH_BYTE):
            lost.add("header fields")
    if header.size < _V4:
        return records, None
    if header.size == _V5 and any(data[134:138]):
        lost.add("header fields")
    kind = data[70:74]
    intent, start, size = struct.unpack_from("<III", data, 122) if header.size == _V5 else (0, 0, 0)
    if intent not in (0, _PERCEPTUAL):
        lost.add("rendering intent")
    if header.size == _V5 and kind == _EMBEDDED:
        start += _FILE_HEADER
        if 0 < size <= MAX_IMAGE_BYTES and start + size <= len(data) and start >= header.end:
            records.append(Record(ICC, b"\0" + data[start : start + size]))
            return records, (start, start + size)
        lost.add("ICC profile")
    elif (
        kind
        not in (  # Kinds of colour spaces, as their bytes stand in a file.
            _CALIBRATED,
            _SRGB,
            _WINDOWS,
        )
        or (kind == _CALIBRATED and any(data[74:122]))
    ):
        lost.add("colour space")
    return records, None


def write_image(mode: str, pixels: Pixels, palette: bytes, metadata: Metadata) -> bytes:
    """A BMP with the resolution and the ICC profile among the records, of modes 1, L, P, RGB and RGBA.

    palette: the colours, for mode P. ImageError for more than 4 GiB.
    """
    height, width = pixels.shape[:2]
    bits = {"1": 1, "L": 8, "P": 8, "RGB": 24, "RGBA": 32}[mode]
    colours = {"1": _BLACK_AND_WHITE, "L": _ALL_GREYS, "P": palette}.get(mode, b"")
    table = np.zeros((len(colours) // 3, 4), np.uint8)
    table[:, :3] = np.frombuffer(colours, np.uint8).reshape(-1, 3)[:, ::-1]
    if mode == "1":
        rows = np.packbits(pixels, axis=1)
    elif mode in "LP":
        rows = pixels
    else:
        order = [2, 1, 0, 3][: pixels.shape[2]]
        rows = pixels[..., order].reshape(height, -1)
    row_bytes = (width * bits + 31) // 32 * 4
    body = np.zeros((height, row_bytes), np.uint8)
    body[:, : rows.shape[1]] = rows[::-1]
    profiles = [record.data.partition(b"\0")[2] for record in metadata if record.kind == ICC]
    profile = profiles[0] if profiles else b""
    size = _V5 if profile else _V4 if mode == "RGBA" else _INFO
    numbers = [per_metre(record) for record in metadata if record.kind == RESOLUTION]
    known = numbers[0] if numbers and numbers[0] is not None else (0, 0)
    compression = _BITFIELDS if mode == "RGBA" else _RGB
    header = struct.pack(
        "<IiiHHIIIIII", size, width, height, 1, bits, compression, min(body.size, 0xFFFFFFFF), *known, len(table), 0
    )
    if size > _INFO:
        masks = (*_MASKS[32][:3], _FOURTH_BYTE) if mode == "RGBA" else (0, 0, 0, 0)
        header += struct.pack("<4I", *masks) + (_EMBEDDED if profile else _SRGB) + bytes(48)
    offset = _FILE_HEADER + size + table.size
    if size == _V5:
        header += struct.pack("<4I", _PERCEPTUAL, offset + body.size - _FILE_HEADER, len(profile), 0)
    whole = offset + body.size + len(profile)
    if whole >= 1 << 32:
        raise ImageError("is too large for a BMP")
    return b"".join((struct.pack("<2sIII", b"BM", whole, 0, offset), header, table.tobytes(), body.tobytes(), profile))
