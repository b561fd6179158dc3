"""The chunks of a PNG as records of metadata, and back."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from bbcompress.images.formats.png.file import BEFORE_PALETTE, BEFORE_PIXELS, Chunk, Png
from bbcompress.images.metadata import (
    CHUNKS,
    EXIF,
    ICC,
    INTERNATIONAL_TEXT,
    LEVELS,
    MAX_IMAGE_BYTES,
    PER_METRE,
    PIXEL_ASPECT,
    PROFILE_NAME,
    RESOLUTION,
    TEXT,
    XMP,
    XMP_KEYWORD,
    Metadata,
    Record,
    depth_of_colours,
    depth_of_levels,
    fault,
    levels_of,
    levels_record,
    nearly_per_metre,
    parse_resolution,
    per_metre,
    resolution,
    within_limits,
)

_RESOLUTION = b"bbRs"
"""A chunk of ours: a resolution that pHYs, which stands beside it, says only about; the bytes of the record."""

_KNOWN = frozenset(
    (
        b"bKGD cHRM cICP cLLI eXIf gAMA hIST iCCP iTXt mDCV oFFs PLTE pCAL pHYs sBIT sCAL sPLT sRGB sTER tEXt tIME zTXt"
    ).split()
)
_LEVELS = b"bbLv"
"""A chunk of ours: how many levels samples have whose depth no PNG has; the bytes of the record."""

_SAFE_TO_COPY = 0x20  # of the fourth letter
_LONG_TEXT = 1000  # bytes; above, PNG's authors advise to compress


def read_metadata(png: Png) -> tuple[Metadata, tuple[str, ...]]:
    """The records of a PNG, and the names of what is left out: chunks that may speak of the file, not of the image."""
    lost = {*png.dropped, *(["data behind the image"] if png.trailing else [])}
    if png.interlaced:
        lost.add("interlacing")
    kept, too_much = within_limits(_records(png, lost))
    return kept, tuple(sorted({*lost, *too_much}))


def _records(png: Png, lost: set[str]) -> Iterator[Record]:
    """The records one by one: what unpacks to too much is gone before the next is unpacked.

    Args:
        lost: gets names.
    """
    resolutions: list[Record] = []
    levels = _levels_of_depth(png)
    for chunk in png.chunks:
        if chunk.name == _LEVELS and levels is None and fault((Record(LEVELS, chunk.body),)) is None:
            levels = Record(LEVELS, chunk.body)
            continue
        if chunk.name not in _KNOWN and not chunk.name[3] & _SAFE_TO_COPY:
            lost.add(f"PNG chunk {chunk.name.decode('ascii')}")
            continue
        record = _record(chunk, png)
        if record.kind == RESOLUTION:
            resolutions.append(record)
        else:
            yield record
    exact = [record for record in resolutions if _physical(record) is None]
    if len(exact) > 1 or len(resolutions) - len(exact) > 1:
        lost.add("resolution")
    yield from (exact or resolutions)[:1]
    if levels is not None:
        yield levels


def _levels_of_depth(png: Png) -> Record | None:
    """What only the depth of the file says of grey or indices, if that is not the depth which would be written."""
    maximum = (1 << png.bit_depth) - 1
    if png.mode == "L":
        return levels_record("L", maximum)
    if png.mode == "P" and png.bit_depth != depth_of_colours(len(png.palette) // 3):
        return levels_record("P", maximum)
    return None


def _record(chunk: Chunk, png: Png) -> Record:
    """A chunk as a record; one that breaks the rules of PNG as it stands."""
    record = _understood(chunk)
    if record is not None and fault((record,)) is None:
        return record
    body = chunk.body
    if chunk.name == b"bKGD" and png.scale > 1 and len(body) == 2:  # the pixels are scaled too
        body = struct.pack(">H", (struct.unpack(">H", body)[0] & (1 << png.bit_depth) - 1) * png.scale)
    return Record(CHUNKS[chunk.place], chunk.name + body)


def _understood(chunk: Chunk) -> Record | None:
    name, body, _ = chunk
    if name == b"eXIf":
        return Record(EXIF, body)
    if name == _RESOLUTION:
        record = Record(RESOLUTION, body)
        return record if fault((record,)) is None and _physical(record) is None else None
    if name == b"tEXt":
        return Record(TEXT, body)
    if name == b"pHYs" and len(body) == 9:
        x, y, unit = struct.unpack(">IIB", body)
        return resolution({0: PIXEL_ASPECT, 1: PER_METRE}.get(unit, -1), (x, 1), (y, 1))
    key, _, rest = body.partition(b"\0")
    if key and name in (b"zTXt", b"iCCP") and rest[:1] == b"\0":
        inflated = _inflate(rest[1:])
        if inflated is not None and name == b"zTXt":
            return Record(TEXT, key + b"\0" + inflated)
        if inflated and name == b"iCCP":
            return Record(ICC, (b"" if key == PROFILE_NAME else key) + b"\0" + inflated)
    if name == b"iTXt" and rest[:2] in (b"\0\0", b"\1\0"):
        language, *more = rest[2:].split(b"\0", 2)
        text = more[1] if len(more) == 2 else None
        if text is not None and rest[0]:
            text = _inflate(text)
        if text is not None and key == XMP_KEYWORD and not language and not more[0]:
            return Record(XMP, text)
        if text is not None:
            return Record(INTERNATIONAL_TEXT, b"\0".join((key, language, more[0], text)))
    return None


def chunks_of(metadata: Sequence[Record], depth: int | None = None) -> Iterator[Chunk]:
    """The chunks for a PNG, from which `read_metadata` reads the same.

    Args:
        depth: of `depth_of`, which by itself says the number of levels; else a chunk does.
    """
    for record in metadata:
        if record.kind == RESOLUTION:
            yield from _resolution_chunks(record)
        elif record.kind == LEVELS:
            if depth is None:
                yield Chunk(_LEVELS, record.data, BEFORE_PALETTE)
        elif depth in (2, 4) and _is_background_of_grey(record):
            (value,) = struct.unpack(">H", record.data[4:])
            yield _chunk(Record(record.kind, b"bKGD" + struct.pack(">H", value // _scale(depth))))
        else:
            yield _chunk(record)


def depth_of(mode: str, transparency: bytes, metadata: Sequence[Record]) -> int | None:
    """The depth of an image's PNG, where its metadata asks for one that is not the usual one; else None."""
    depth = None
    for record in metadata:
        if record.kind == LEVELS:
            depth = depth_of_levels(mode, levels_of(record))
    if mode == "L" and depth is not None:
        values = [record.data[4:] for record in metadata if _is_background_of_grey(record)] + [transparency]
        if any(int.from_bytes(value, "big") % _scale(depth) for value in values):
            return None  # of that depth they could not be said
    return depth


def _is_background_of_grey(record: Record) -> bool:
    return record.kind in CHUNKS and record.data[:4] == b"bKGD" and len(record.data) == 6


def _scale(depth: int) -> int:
    return 255 // ((1 << depth) - 1)


def _resolution_chunks(record: Record) -> Iterator[Chunk]:
    numbers = _physical(record)
    if numbers is None:
        if (nearly := nearly_per_metre(record)) is not None:
            yield Chunk(b"pHYs", struct.pack(">IIB", *nearly, 1), BEFORE_PIXELS)
        yield Chunk(_RESOLUTION, record.data, BEFORE_PIXELS)
    else:
        yield Chunk(b"pHYs", struct.pack(">IIB", *numbers), BEFORE_PIXELS)


def _physical(record: Record) -> tuple[int, int, int] | None:
    """What a pHYs chunk says of a resolution; None where it cannot say it exactly."""
    unit, x, y = parse_resolution(record)
    if unit != PIXEL_ASPECT:
        numbers = per_metre(record)
        return None if numbers is None else (*numbers, 1)
    return (x[0], y[0], 0) if x[1] == y[1] == 1 and max(x[0], y[0]) < 1 << 32 else None


def _chunk(record: Record) -> Chunk:
    kind, data = record
    if kind in CHUNKS:
        return Chunk(data[:4], data[4:], CHUNKS.index(kind))
    if kind == EXIF:
        return Chunk(b"eXIf", data, BEFORE_PIXELS)
    if kind == XMP:
        return Chunk(b"iTXt", XMP_KEYWORD + bytes(5) + data, BEFORE_PIXELS)
    if kind == ICC:
        name, _, profile = data.partition(b"\0")
        return Chunk(b"iCCP", (name or PROFILE_NAME) + b"\0\0" + zlib.compress(profile, 9), BEFORE_PALETTE)
    key, _, rest = data.partition(b"\0")
    long = len(rest) > _LONG_TEXT
    if kind == INTERNATIONAL_TEXT:
        language, translated, text = rest.split(b"\0", 2)
        body = zlib.compress(text, 9) if long else text
        return Chunk(b"iTXt", b"\0".join((key, bytes([long, 0]) + language, translated, body)), BEFORE_PIXELS)
    if long:
        return Chunk(b"zTXt", key + b"\0\0" + zlib.compress(rest, 9), BEFORE_PIXELS)
    return Chunk(b"tEXt", data, BEFORE_PIXELS)


def _inflate(data: bytes) -> bytes | None:
    """What a zlib stream holds; None where it is damaged, too long or not all."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, MAX_IMAGE_BYTES)
    except zlib.error:
        return None
    return inflated if stream.eof and not stream.unused_data else None


def names_of_frames(png: Png) -> tuple[str, ...]:
    """The names of what is left out of an image with chunks of an animation that are none, or are one of it alone."""
    frames = png.frames
    if frames is None:
        return ()
    timed, disposed = any(frames.controls[20:24]), any(frames.controls[24:26])
    sound = not frames.fault and frames.total == len(frames.starts) == 1 and frames.shown
    whole = struct.pack(">IIII", png.width, png.height, 0, 0)
    sound = sound and frames.controls[4:20] == whole and frames.controls[24] <= 2 and frames.controls[25] <= 1
    if sound:
        names = ("times of the frames",) * timed + ("disposal or blending",) * disposed
        return names + ("loop count",) * bool(frames.plays)
    return ("animation",)
