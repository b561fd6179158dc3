"""PBM, PGM, PPM and PAM: their headers, comments and samples of all depths, plain and raw; and a writer."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bbcompress.errors import ImageError
from bbcompress.images.metadata import LEVELS, TEXT, Collector, Metadata, Record, levels_of, levels_record

Pixels = npt.NDArray[Any]

_SPACE = b" \t\n\v\f\r"
_TOKEN_BYTES = 18
_PLAIN = {b"P1", b"P2", b"P3"}
_SAMPLES = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3}
_TUPLE_TYPES = {
    b"BLACKANDWHITE": (1, "L"),
    b"GRAYSCALE": (1, "L"),
    b"RGB": (3, "RGB"),
    b"BLACKANDWHITE_ALPHA": (2, "LA"),
    b"GRAYSCALE_ALPHA": (2, "LA"),
    b"RGB_ALPHA": (4, "RGBA"),
}
_FIELDS = frozenset((b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL", b"TUPLTYPE", b"ENDHDR"))
_MODES = {1: "L", 3: "RGB"}
_COMMENT_KEY = b"Comment\0"
_COMMENT = re.compile(rb"#[^\r\n]*")
_LINE = re.compile(rb"[^\n]*\n")
_SEPARATOR = re.compile(rb"[\s#]")
_PLAIN_BLOCK = 1 << 18
_PLAIN_DIGITS = 9
"""Most digits of a sample of a plain file; that of any depth has 5."""


@dataclass(frozen=True)
class Netpbm:
    """A picture of such a file. start, end: where its samples are in the file. maximum: of a sample. metadata, lost: as
    an image has them."""

    kind: bytes
    width: int
    height: int
    mode: str
    samples: int
    maximum: int
    start: int
    end: int
    metadata: Metadata
    lost: tuple[str, ...]


def parse_netpbm(data: bytes) -> tuple[array[int], tuple[str, ...]]:
    """Where the pictures of a file start, and the names of what it has behind them. ImageError for damage.

    Several follow each other only where their samples are raw.
    """
    starts = array("Q", [0])
    while True:
        place = parse_picture(data, starts[-1]).end
        kind = data[place : place + 3]
        if len(kind) == 3 and kind[:2] in (b"P4", b"P5", b"P6", b"P7") and kind[2] in _SPACE:
            starts.append(place)
        else:
            return starts, ("data behind the image",) if place < len(data) else ()


def parse_picture(data: bytes, place: int = 0) -> Netpbm:
    """The picture that starts there. ImageError for damage, and for kinds that are not supported."""
    kind = data[place : place + 2]
    if kind in (b"Pf", b"PF"):
        raise ImageError("is a PFM, whose samples are floating-point numbers, which is not supported")
    if data[place : place + 7] in (b"P7 332\n", b"P7 332 "):
        raise ImageError("is a thumbnail of XV, which is not supported")
    collector = Collector()
    if kind == b"P7":
        return _parse_pam(data, place, collector)
    header = _Header(data, place + 2, collector)
    width, height = header.number(), header.number()
    maximum = 1 if kind in (b"P1", b"P4") else header.number()
    samples = _SAMPLES[kind]
    mode = "1" if kind in (b"P1", b"P4") else _mode(_MODES[samples], maximum)
    _check_size(width, height)
    if kind in _PLAIN:
        for comment in _COMMENT.finditer(data, header.place):
            collector.add(Record(TEXT, _COMMENT_KEY + comment[0][1:]))
        start, end = header.place, len(data)
    else:
        start = header.place + 1
        end = start + height * ((width + 7) // 8 if kind == b"P4" else width * samples * (1 + (maximum > 255)))
    return _picture(kind, width, height, mode, samples, maximum, start, end, collector, data)


def _picture(
    kind: bytes,
    width: int,
    height: int,
    mode: str,
    samples: int,
    maximum: int,
    start: int,
    end: int,
    collector: Collector,
    data: bytes,
) -> Netpbm:
    if end > len(data):
        raise ImageError("is cut short")
    if mode != "1" and (record := levels_record(mode, maximum)) is not None:
        collector.add(record)
    metadata, lost = collector.metadata, collector.names
    return Netpbm(kind, width, height, mode, samples, maximum, start, end, metadata, lost)


class _Header:
    """The numbers of a header: white space and comments apart."""

    def __init__(self, data: bytes, place: int, collector: Collector) -> None:
        self._data, self.place, self._collector = data, place, collector

    def number(self) -> int:
        """The next one; `place` is at the character behind it, or behind the comment that follows it at once."""
        data = self._data
        self._skip()
        start = self.place
        while self.place < len(data) and self.place - start <= _TOKEN_BYTES and data[self.place] not in _SPACE + b"#":
            self.place += 1
        token = data[start : self.place]
        if not token:
            raise ImageError("is cut short")
        if not token.isdigit() or len(token) > _TOKEN_BYTES:
            raise ImageError("is damaged: its header has something else in the place of a number")
        while data[self.place : self.place + 1] == b"#":
            self._comment()
        return int(token)

    def _skip(self) -> None:
        data = self._data
        while self.place < len(data) and data[self.place] in _SPACE + b"#":
            if data[self.place] == ord("#"):
                self._comment()
            else:
                self.place += 1

    def _comment(self) -> None:
        """Take the comment that starts here; its end of line, which counts as white space, follows."""
        comment = _COMMENT.match(self._data, self.place)
        if comment is not None:
            self._collector.add(Record(TEXT, _COMMENT_KEY + comment[0][1:]))
            self.place = comment.end()


def _parse_pam(data: bytes, place: int, collector: Collector) -> Netpbm:
    """A PAM, whose header has a line for each thing."""
    fields: dict[bytes, bytes] = {}
    place += 2
    while b"ENDHDR" not in fields:
        line = _LINE.match(data, place)
        if line is None or len(fields) > 5:
            raise ImageError("is cut short or damaged: its header does not end")
        text, place = line[0].strip(), line.end()
        name, value = (*text[:256].split(None, 1), b"", b"")[:2]
        if text.startswith(b"#"):
            collector.add(Record(TEXT, _COMMENT_KEY + line[0].rstrip(b"\r\n").lstrip()[1:]))
        elif text and (name not in _FIELDS or name in fields or (name == b"ENDHDR" and text != name)):
            raise ImageError("is damaged, or it is a PAM whose header has an unknown line")
        elif text:
            fields[name] = value.strip()
    numbers = [fields.get(name, b"") for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")]
    if not all(number.isdigit() and len(number) <= _TOKEN_BYTES for number in numbers):
        raise ImageError("is damaged: its header has something else in the place of a number")
    width, height, depth, maximum = map(int, numbers)
    tuple_type = fields.get(b"TUPLTYPE", b"")
    samples, mode = _TUPLE_TYPES.get(tuple_type, (0, ""))
    if samples != depth:
        shown = tuple_type.decode("ascii", "backslashreplace") or "none"
        raise ImageError(f"is a PAM of {depth} samples a pixel and tuple type {shown}, which is not supported")
    _check_size(width, height)
    mode = "1" if (tuple_type, maximum) == (b"BLACKANDWHITE", 1) else _mode(mode, maximum)
    end = place + width * height * depth * (1 + (maximum > 255))
    return _picture(b"P7", width, height, mode, depth, maximum, place, end, collector, data)


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise ImageError("is damaged: it has no pixels")


def _mode(mode: str, maximum: int) -> str:
    """The mode of samples up to a maximum. ImageError where they would have to be rounded."""
    full = 255 if maximum <= 255 else 65535
    if maximum < 1 or full % maximum:
        raise ImageError(f"counts its samples up to {maximum}, which is not supported")
    return mode if full == 255 else "I;16" if mode == "L" else f"{mode};16"


def read_pixels(data: bytes, picture: Netpbm) -> tuple[Pixels, tuple[str, ...]]:
    """The pixels of a picture as `PixelImage` has them, read-only: samples up to 255 or 65535, bool for mode 1; and
    the names of what there is behind those of a plain picture, and between the rows of bits.

    ImageError for damage. The caller has checked the size.
    """
    width, height, samples = picture.width, picture.height, picture.samples
    shape = (height, width) if samples == 1 else (height, width, samples)
    more = unused = False
    if picture.kind in _PLAIN:
        numbers, more = _read_plain(data, picture)
        pixels = numbers.reshape(shape) == 0 if picture.kind == b"P1" else numbers.reshape(shape)
    elif picture.kind == b"P4":
        rows = np.frombuffer(data, np.uint8, height * ((width + 7) // 8), picture.start).reshape(height, -1)
        unused = bool((rows[:, -1] & np.uint8((1 << -width % 8) - 1)).any())
        pixels = np.unpackbits(rows, axis=1, count=width) == 0
    else:
        dtype = np.uint8 if picture.maximum <= 255 else np.dtype(">u2")
        stored = np.frombuffer(data, dtype, width * height * samples, picture.start)
        if stored.max() > picture.maximum:
            raise ImageError(f"has samples above {picture.maximum}")
        pixels = _spread(stored, picture).reshape(shape)
    pixels.flags.writeable = False
    return pixels, ("data behind the image",) * more + ("unused bits of the rows",) * unused


def _spread(samples: Pixels, picture: Netpbm) -> Pixels:
    """The samples of a file as those of an image."""
    if picture.mode == "1":
        return np.asarray(samples == 1)
    full = 255 if picture.maximum <= 255 else 65535
    spread: Pixels = samples.astype(np.uint8 if full == 255 else np.uint16)
    if full > picture.maximum:
        np.multiply(spread, full // picture.maximum, out=spread)
    return spread


def _read_plain(data: bytes, picture: Netpbm) -> tuple[Pixels, bool]:
    """The samples of a plain picture, and whether there are more than it needs; in blocks, to take little memory."""
    bits = picture.kind == b"P1"
    count = picture.width * picture.height * picture.samples
    if count > picture.end - picture.start:
        raise ImageError("is cut short")
    values = np.empty(count, np.uint8 if picture.maximum <= 255 else np.uint16)
    done = 0
    for block in _plain_blocks(data, picture.start):
        if done == count:
            if not bool(_is_space(block).all()):
                return values, True
            continue
        numbers, rest = _digits(block, count - done) if bits else _numbers(block, count - done)
        if numbers.size and numbers.max() > picture.maximum:
            raise ImageError(f"has samples above {picture.maximum}")
        values[done : done + len(numbers)] = numbers if bits else _spread(numbers, picture)
        done += len(numbers)
        if rest:
            return values, True
    if done < count:
        raise ImageError("is cut short")
    return values, False


def _plain_blocks(data: bytes, place: int) -> Iterator[Pixels]:
    """The characters of plain samples, without comments, in parts that no number goes across."""
    while place < len(data):
        separator = _SEPARATOR.search(data, place + _PLAIN_BLOCK, place + 2 * _PLAIN_BLOCK)
        # No number is so long; of digits alone, as in a PBM, any place will do.
        end = separator.start() if separator else min(len(data), place + 2 * _PLAIN_BLOCK)
        if (sign := data.rfind(b"#", place, end)) >= 0 and (comment := _COMMENT.match(data, sign)) is not None:
            end = max(end, comment.end())
        part = data[place:end]
        yield np.frombuffer(_COMMENT.sub(b" ", part) if sign >= 0 else part, np.uint8)
        place = end


def _is_space(block: Pixels) -> Pixels:
    return np.asarray((block == 32) | ((block >= 9) & (block <= 13)))


def _digits(block: Pixels, most: int) -> tuple[Pixels, bool]:
    """The first zeros and ones of a plain PBM, which need no space between them, and whether there is more."""
    characters = block[~_is_space(block)]
    digits = characters[:most] - np.uint8(48)
    if digits.size and digits.max() > 1:
        raise ImageError("is damaged: it has something else in the place of a sample")
    return digits, len(characters) > most


def _numbers(block: Pixels, most: int) -> tuple[Pixels, bool]:
    """The first numbers of a part of a plain file, and whether there is more."""
    space = _is_space(block)
    inside = np.concatenate([[False], ~space, [False]])
    starts, ends = np.flatnonzero(inside[1:] & ~inside[:-1]), np.flatnonzero(inside[:-1] & ~inside[1:])
    more = len(starts) > most
    starts, ends = starts[:most], ends[:most]
    if not len(starts):
        return starts, more
    digits = np.where(space, 48, block)[: ends[-1]].astype(np.int64) - 48
    lengths = ends - starts
    if digits.min() < 0 or digits.max() > 9 or lengths.max() > _PLAIN_DIGITS:
        raise ImageError("is damaged: it has something else in the place of a sample")
    values = np.zeros(len(starts), np.int64)
    for place in range(int(lengths.max())):
        has = lengths > place
        values[has] += digits[ends[has] - 1 - place] * 10**place
    return values, more


def write_file(pixels: Pixels, metadata: Metadata = ()) -> bytes:
    """A PBM, PGM or PPM: of bool (height, width), of uint8 or uint16 (height, width) or (height, width, 3).

    metadata: comments, and how many levels the samples have; the caller has checked that there is nothing else.
    """
    height, width = pixels.shape[:2]
    comments = b"".join(b"#" + record.data[len(_COMMENT_KEY) :] + b"\n" for record in metadata if record.kind == TEXT)
    if pixels.dtype == np.bool_:
        return b"P4\n%b%d %d\n" % (comments, width, height) + np.packbits(~pixels, axis=1).tobytes()
    maximum = full = int(np.iinfo(pixels.dtype).max)
    for record in metadata:
        if record.kind == LEVELS:
            maximum = levels_of(record)
    start = b"P%d\n%b%d %d\n%d\n" % (5 if pixels.ndim == 2 else 6, comments, width, height, maximum)
    stored = pixels if maximum == full else pixels // pixels.dtype.type(full // maximum)
    return start + stored.astype(stored.dtype.newbyteorder(">"), copy=False).tobytes()


def can_hold(record: Record) -> bool:
    """Whether :func:`write` keeps a record."""
    if record.kind == TEXT and record.data.startswith(_COMMENT_KEY):
        return not any(end in record.data for end in b"\r\n")
    return record.kind == LEVELS
