"""The parts of a group whose images are coded in parts, each part as groups of its own. See docs/format.md.

All images of the group have the same parts, such as colours and alpha. A part of all images is one group or several,
which may hold the images in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.index import decode_positions, encode_positions
from bbcompress.archive.names import Budget
from bbcompress.errors import FormatError
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.wire import ByteReader, varint

_WHAT = "a group in parts"


class Part(NamedTuple):
    """One part of all images.

    groups: in which it is coded, without metadata. positions: of their images among the images, group after group; each
    of 0, 1, ... once.
    """

    groups: Sequence[Group]
    positions: Sequence[int]


def encode_parts(parts: Sequence[Part]) -> bytes:
    """The payload of a group in parts."""
    data = []
    for part in parts:
        for group in part.groups:
            body = group.header.encode_group() + group.payload
            data += [varint(len(body)), body]
        if len(part.positions) > 1:
            data.append(encode_positions(part.positions))
    return b"".join(data)


def decode_parts(payload: bytes, images: int, parts: int, limits: Limits = DEFAULT_LIMITS) -> list[Part]:
    """So many parts of so many images; the groups are not decoded.

    Raises:
        FormatError: the payload is not just these.
    """
    reader = ByteReader(payload, _WHAT)
    found = []
    for _ in range(parts):
        groups: list[Group] = []
        left = images
        while left:
            body = ByteReader(reader.take(reader.varint(reader.remaining, "the length of a part")), _WHAT)
            header = GroupHeader.decode_group(body, limits)
            if header.parts is not None or header.has_metadata:
                raise FormatError(f"{_WHAT} has a part that has parts, or metadata")
            if header.count > left:
                raise FormatError(f"{_WHAT} has a part of more images than the group")
            left -= header.count
            groups.append(Group(header, body.rest()))
        positions = decode_positions(reader, images, Budget()) if images > 1 else range(1)
        found.append(Part(groups, positions))
    reader.finish()
    return found
