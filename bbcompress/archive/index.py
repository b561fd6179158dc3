"""The index of a segment: sizes of its groups, names, positions and times of its images. See docs/format.md."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from bbcompress.archive.header import MAX_GROUP_IMAGES
from bbcompress.archive.names import MAX_LISTED, Budget, decode_names, encode_names
from bbcompress.archive.times import decode_times, encode_times
from bbcompress.errors import FormatError
from bbcompress.wire import ByteReader, pack, unpack, unzigzag, varint, zigzag

MIN_GROUP_BYTES = 7
"""Flags, number of images, length of the payload, checksum: no group is shorter."""

_IN_ORDER, _LISTED, _PACKED = range(3)
_POSITION_BYTES = 4  # a position's varint is no longer: twice MAX_LISTED is below 2^28


@dataclass(frozen=True)
class Index:
    """What a segment says of itself.

    Attributes:
        sizes: of each group, in the order of the file: its bytes, its images; none of previews, which stand before a
            group with images.
        positions: of each image in the segment, group by group; every one of 0, 1, ... once.
        names, times: in the order of the positions, None where the segment has none.
        name_bytes, time_bytes: what these take in the file.
    """

    sizes: tuple[tuple[int, int], ...]
    positions: Sequence[int]
    names: Sequence[str] | None
    times: Sequence[int] | None
    name_bytes: int
    time_bytes: int

    @property
    def image_count(self) -> int:
        """Images of the segment."""
        return len(self.positions)

    @property
    def group_bytes(self) -> int:
        """Bytes of all groups."""
        return sum(length for length, _ in self.sizes)


def encode_sizes(sizes: Sequence[tuple[int, int]]) -> bytes:
    """What an index of groups of these sizes begins with."""
    return varint(len(sizes)) + b"".join(varint(length) + varint(count) for length, count in sizes)


def encode_index(
    sizes: Sequence[tuple[int, int]], names: Sequence[str] | None, positions: Sequence[int], times: Sequence[int] | None
) -> bytes:
    """The bytes of an index; arguments as in `Index`, checked before. FormatError above the limits."""
    return encode_sizes(sizes) + encode_names(names) + encode_positions(positions) + encode_times(times)


def decode_index(data: bytes, budget: Budget) -> Index:
    """Read a whole index. Names are checked, but not for duplicates.

    Raises:
        FormatError: the index is damaged or too large.
    """
    reader = ByteReader(data, "the index")
    count = reader.varint(reader.remaining, "the number of groups")
    if count > budget.groups:
        raise FormatError(f"the archive has more than {MAX_LISTED} groups")
    budget.groups -= count
    sizes = []
    for _ in range(count):
        length = reader.varint(name="the length of a group")
        sizes.append((length, reader.varint(MAX_GROUP_IMAGES, "the number of images")))
    if not sizes or any(length < MIN_GROUP_BYTES for length, _ in sizes):
        raise FormatError("the archive has no groups, or one of too few bytes")
    if any(not images and not after for (_, images), (_, after) in pairwise([*sizes, (0, 0)])):
        raise FormatError("the archive has a group without images that is not before one with images")
    image_count = sum(images for _, images in sizes)
    start = reader.position
    names = decode_names(reader, image_count, budget)
    name_bytes = reader.position - start
    positions = decode_positions(reader, image_count, budget)
    start = reader.position
    times = decode_times(reader, image_count, budget)
    reader.finish()
    return Index(tuple(sizes), positions, names, times, name_bytes, reader.position - start)


def possible_indexes(
    reader: ByteReader, sizes: Sequence[tuple[int, int]], budget: Budget
) -> Iterator[tuple[Index, int]]:
    """What the index of groups of these sizes may be, the reader standing behind them, and where it ends: without
    times, and with them, if there are some.

    Raises:
        CutShortError: the reader's bytes end before the index. FormatError: the header breaks a rule of the format.
    """
    image_count = sum(images for _, images in sizes)
    start = reader.position
    names = decode_names(reader, image_count, budget)
    name_bytes = reader.position - start
    index = Index(tuple(sizes), decode_positions(reader, image_count, budget), names, None, name_bytes, 0)
    start = reader.position
    yield index, start
    times = decode_times(reader, image_count, budget)
    if times is not None:
        yield replace(index, times=times, time_bytes=reader.position - start), reader.position


def is_permutation(positions: Sequence[int]) -> bool:
    """Whether each of 0, 1, ... occurs once."""
    seen = bytearray(len(positions))
    for position in positions:
        if not 0 <= position < len(seen) or seen[position]:
            return False
        seen[position] = 1
    return True


def encode_positions(positions: Sequence[int]) -> bytes:
    """One byte where images stand in order, else how far each position is from the one that would follow."""
    if positions == range(len(positions)) or all(place == index for index, place in enumerate(positions)):
        return bytes([_IN_ORDER])
    if len(positions) > MAX_LISTED:
        raise FormatError(f"{len(positions)} images are too many for an archive that stores their order")
    expected = [0, *(position + 1 for position in positions)]
    listed = b"".join(varint(zigzag(here - there)) for here, there in zip(positions, expected, strict=False))
    packed = pack(listed)
    return min(bytes([_LISTED]) + listed, bytes([_PACKED]) + varint(len(packed)) + packed, key=len)


def decode_positions(reader: ByteReader, count: int, budget: Budget) -> Sequence[int]:
    """The position of each of the segment's `count` images, group by group.

    Raises:
        FormatError: the positions are no permutation.
    """
    form = reader.byte()
    if form == _IN_ORDER:
        return range(count)
    if form not in (_LISTED, _PACKED):
        raise FormatError(f"{reader.what} lists positions in a form that this version does not know")
    if count > budget.positions:
        raise FormatError(f"{reader.what} lists more than {MAX_LISTED} positions")
    budget.positions -= count
    if form == _LISTED:
        return _list_positions(reader, count)
    packed = reader.take(reader.varint(name="the length of the positions"))
    inner = ByteReader(unpack(packed, _POSITION_BYTES * count), "the list of positions")
    positions = _list_positions(inner, count)
    inner.finish()
    return positions


def _list_positions(reader: ByteReader, count: int) -> Sequence[int]:
    positions = array("Q")
    expected = 0
    for _ in range(count):
        position = expected + unzigzag(reader.varint(2 * count, "a position"))
        if not 0 <= position < count:
            raise FormatError(f"{reader.what} has a position outside the segment")
        positions.append(position)
        expected = position + 1
    if not is_permutation(positions):
        raise FormatError(f"{reader.what} has a position twice")
    return positions
