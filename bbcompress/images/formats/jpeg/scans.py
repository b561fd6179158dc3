"""The scans of a JPEG, followed code by code: whether they have all pixels, and nothing else.

libjpeg goes on behind damage: it fills up with grey what a scan lacks, and Pillow does not pass on its warnings. So
the Huffman codes of each scan are followed here before a decoder sees the file. This makes no pixels of them, and takes
about as long as decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bbcompress.coder.kernel_cache import Kernel
from bbcompress.errors import ImageError
from bbcompress.images.formats.jpeg.kernels import SPARE_BYTES, TABLE_SIZE, follow_ac, follow_dc, follow_sequential

_DHT, _DQT, _DRI, _SOS, _SOF2 = 0xC4, 0xDB, 0xDD, 0xDA, 0xC2
_CODE_TABLES = frozenset((0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13))
_QUANTISATION_TABLES = 4
_MOST_BLOCKS = 10
"""Of an MCU of several components."""
_NEVER = -1
_MOST_SHIFT = 13

# Of the tables that the specification recommends (K.3 to K.6), which motion JPEG leaves out: how many codes there are
# of each length, and the symbols.
_USUAL = {
    0x00: "00010501010101010100000000000000000102030405060708090a0b",
    0x01: "00030101010101010101010000000000000102030405060708090a0b",
    0x10: "0002010303020403050504040000017d"
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a"
    "3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a929394"
    "95969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8"
    "e9eaf1f2f3f4f5f6f7f8f9fa",
    0x11: "00020102040403040705040400010277"
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728"
    "292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92"
    "939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7"
    "e8e9eaf2f3f4f5f6f7f8f9fa",
}


class _Component(NamedTuple):
    """A component of a frame: its blocks across and down in an MCU, and in a scan of it alone; the number of its table
    of quantisation."""

    across: int
    down: int
    blocks: int
    quantisation: int


class ScanReader:
    """Follows the segments of a JPEG in their order.

    extra: whether there are bytes in the scans that belong to no pixel.
    """

    def __init__(self) -> None:
        self.extra = False
        self._tables = {number: bytes.fromhex(table) for number, table in _USUAL.items()}
        self._quantisation: set[int] = set()
        self._interval = 0
        self._progressive = False
        self._components: dict[int, _Component] = {}
        self._mcus = 0
        self._seen: dict[int, list[int]] = {}
        self._known: dict[int, npt.NDArray[np.int64]] = {}

    def with_tables(self) -> ScanReader:
        """A reader at the beginning of another JPEG for which the tables and the restart interval count, too."""
        other = ScanReader()
        other._tables, other._quantisation = dict(self._tables), set(self._quantisation)
        other._interval = self._interval
        return other

    def segment(self, marker: int, body: memoryview) -> None:
        """A table, a restart interval, or a scan with its codes behind its header. Others say nothing of the scans.

        Raises:
            ImageError: it does not fit the others, or a scan is not all that it should be.
        """
        if marker == _DHT:
            self._take_tables(body)
        elif marker == _DQT:
            self._take_quantisation(body)
        elif marker == _DRI:
            if len(body) != 2:
                raise ImageError("is damaged: its restart interval is of a length that cannot be")
            self._interval = int.from_bytes(body[:2], "big")
        elif marker == _SOS:
            self._scan(body)

    def frame(self, marker: int, width: int, height: int, components: memoryview) -> None:
        """The frame: its size, and three bytes for each component."""
        self._progressive = marker == _SOF2
        starts = range(0, len(components) - 2, 3)
        factors = {components[at]: (components[at + 1] >> 4, components[at + 1] & 15) for at in starts}
        quantisation = {components[at]: components[at + 2] for at in starts}
        fits = len(factors) == len(components) // 3 > 0
        if not fits or not all(1 <= factor <= 4 for pair in factors.values() for factor in pair):
            raise ImageError("is damaged: the components of its frame have wrong names or sampling factors")
        across, down = (max(pair[axis] for pair in factors.values()) for axis in (0, 1))
        self._mcus = -(-width // (8 * across)) * -(-height // (8 * down))
        for name, (h, v) in factors.items():
            blocks = -(-width * h // (8 * across)) * -(-height * v // (8 * down))
            self._components[name] = _Component(h, v, blocks, quantisation[name])
            self._seen[name] = [_NEVER] * 64

    def finish(self) -> bool:
        """Behind the last segment: whether a progressive JPEG has all bits of all coefficients.

        Raises:
            ImageError: no scan has a component.
        """
        if any(seen[0] == _NEVER for seen in self._seen.values()):
            raise ImageError("is cut short or damaged: there is no scan of one of its components")
        return not self._progressive or not any(any(seen) for seen in self._seen.values())

    def _take_tables(self, body: memoryview) -> None:
        at = 0
        while at < len(body):
            size = 17 + sum(body[at + 1 : at + 17])
            if at + size > len(body) or body[at] not in _CODE_TABLES:
                raise ImageError("is damaged: one of its tables of codes is too short, or of a number that cannot be")
            self._tables[body[at]] = bytes(body[at + 1 : at + size])
            at += size

    def _take_quantisation(self, body: memoryview) -> None:
        at = 0
        while at < len(body):
            size = 65 if body[at] < 16 else 129
            if body[at] >> 4 > 1 or body[at] & 15 >= _QUANTISATION_TABLES or at + size > len(body):
                raise ImageError("is damaged: one of its tables of quantisation is none that can be")
            self._quantisation.add(body[at] & 15)
            at += size

    def _scan(self, body: memoryview) -> None:
        count = body[0]
        names = [body[1 + 2 * number] for number in range(count)]
        chosen = [body[2 + 2 * number] for number in range(count)]
        first, last, shifts = body[1 + 2 * count : 4 + 2 * count]
        codes = body[4 + 2 * count :]
        if not names or len(set(names)) < count or not set(names) <= self._components.keys():
            raise ImageError("is damaged: a scan names components that its frame does not have")
        parts = [self._components[name] for name in names]
        if not {part.quantisation for part in parts} <= self._quantisation:
            raise ImageError("is damaged: it lacks a table of quantisation")
        mcus, sizes = (
            (parts[0].blocks, [1]) if count == 1 else (self._mcus, [part.across * part.down for part in parts])
        )
        if count > 1 and sum(sizes) > _MOST_BLOCKS:
            raise ImageError("is damaged: a scan puts too many blocks into one unit")
        of_block = [number for number, size in enumerate(sizes) for _ in range(size)]
        if not self._progressive:
            first, last, shifts = 0, 63, 0
        before, after = shifts >> 4, shifts & 15
        self._note(names, first, last, before, after)
        places = *self._parts(codes, mcus), self._interval or mcus, mcus
        if not self._progressive:
            tables = [self._table(choice >> 4) for choice in chosen]
            tables += [self._table(0x10 | choice & 15) for choice in chosen]
            follow = run_for(follow_sequential, len(codes))
            extra = follow(*places, _places(of_block, 0), _places(of_block, count), np.concatenate(tables))
        elif first:
            table = self._table(0x10 | chosen[0] & 15)
            known = self._known.setdefault(names[0], np.zeros(mcus, np.int64))
            extra = run_for(follow_ac, len(codes))(*places, first, last, int(before > 0), known, table)
        else:
            tables = [np.zeros(1, np.int32)] if before else [self._table(choice >> 4) for choice in chosen]
            follow = run_for(follow_dc, len(codes))
            extra = follow(*places, _places(of_block, 0), int(before > 0), np.concatenate(tables))
        if extra < 0:
            raise ImageError("is cut short or damaged: the codes of a scan do not give its pixels")
        self.extra |= extra > 0

    def _note(self, names: list[int], first: int, last: int, before: int, after: int) -> None:
        """Mark the bits of coefficients that a scan has. ImageError where these were there, or come too early.

        A file of many scans of the same bits would cost much more than others, and no encoder writes one.
        """
        fits = first <= last <= 63 and after <= _MOST_SHIFT and (first > 0 or last == 0 or not self._progressive)
        fits &= (first == 0 or len(names) == 1) and before in (0, after + 1)
        for name in names:
            seen = self._seen[name]
            expected = before if before else _NEVER
            fits = fits and all(level == expected for level in seen[first : last + 1]) and (not first or seen[0] >= 0)
            if fits:
                seen[first : last + 1] = [after] * (last + 1 - first)
        if not fits:
            raise ImageError("is damaged: its scans hold a part of the image twice or in a wrong order")

    def _parts(self, codes: memoryview, mcus: int) -> tuple[Any, Any, Any]:
        """The bytes of a scan without stuffing, fill bytes and restart markers; where its parts between these are."""
        raw = np.frombuffer(codes, np.uint8) if len(codes) else np.zeros(0, np.uint8)
        marks = np.flatnonzero(raw == 0xFF)
        following = np.append(raw, np.uint8(0xFF))[marks + 1]
        restart = (following >= 0xD0) & (following <= 0xD7)
        kept = np.ones(len(raw), bool)
        kept[marks[following != 0]] = False
        kept[marks[restart | (following == 0)] + 1] = False
        dropped = np.flatnonzero(~kept)
        data = np.concatenate((raw[kept], np.zeros(SPARE_BYTES, np.uint8)))
        borders = marks[restart] - np.searchsorted(dropped, marks[restart])
        starts = np.concatenate((np.zeros(1, np.int64), borders))
        ends = np.append(borders, len(data) - SPARE_BYTES)
        if len(starts) > 1 and starts[-1] == ends[-1]:  # a marker behind the last codes
            starts, ends = starts[:-1], ends[:-1]
        needed = -(-mcus // self._interval) if self._interval else 1
        in_order = np.array_equal(following[restart] & 7, np.arange(len(borders)) % 8)
        if len(starts) != needed or not in_order:
            raise ImageError("is cut short or damaged: restart markers are missing in a scan")
        return data, starts, ends

    def _table(self, number: int) -> npt.NDArray[np.int32]:
        if number not in self._tables:
            raise ImageError("is damaged: it lacks a table of codes that a scan needs that a scan needs")
        return _expanded(self._tables[number])


def _places(of_block: list[int], start: int) -> npt.NDArray[np.int64]:
    """Where the tables of the blocks' components begin, among tables of which theirs are the ones from `start` on."""
    return TABLE_SIZE * (np.array(of_block, np.int64) + start)


def run_for(kernel: Kernel, symbols: int) -> Callable[..., Any]:
    """A kernel as a function of the same arguments. Of few symbols it is run by Python's interpreter, on what is the
    same for it as an array and faster."""
    chosen: Callable[..., Any] = kernel.for_symbols(symbols)
    if chosen is kernel:
        return kernel
    return lambda *arguments: chosen(*(one.data if isinstance(one, np.ndarray) else one for one in arguments))


@lru_cache(maxsize=16)
def _expanded(table: bytes) -> npt.NDArray[np.int32]:
    """A table of codes as kernels need it. ImageError for more codes than there can be."""
    lengths = np.repeat(np.arange(1, 17), np.frombuffer(table[:16], np.uint8))
    spans = 1 << (16 - lengths)
    if spans.sum() > TABLE_SIZE:
        raise ImageError("is damaged: one of its tables has too many codes")
    entries = (lengths << 8 | np.frombuffer(table[16:], np.uint8)).astype(np.int32)
    expanded = np.zeros(TABLE_SIZE, np.int32)
    expanded[: spans.sum()] = np.repeat(entries, spans)
    return expanded
