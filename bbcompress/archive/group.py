"""Groups: what is coded together, and all that it takes to decode it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bbcompress.archive.extras import NO_EXTRAS, Extras
from bbcompress.archive.header import GroupHeader
from bbcompress.wire import CRC_BYTES, ByteReader, varint


@dataclass(frozen=True)
class Group:
    """A group of an archive, or the only one of a lone image, as bytes.

    Attributes:
        header: how the images are coded.
        payload: the coded images.
        metadata: the block of the images' metadata, empty where they have none.
        lone: whether it is that of a lone image, whose fallback has an item without its length.
        extras: what the file of a lone image says beside its image.

    Raises:
        ValueError: the header does not say whether there is metadata.
    """

    header: GroupHeader
    payload: bytes
    metadata: bytes = b""
    lone: bool = False
    extras: Extras = NO_EXTRAS

    def __post_init__(self) -> None:
        if self.header.has_metadata != bool(self.metadata):
            raise ValueError("the header must say whether the group has metadata")

    @staticmethod
    def of_items(items: Sequence[bytes]) -> Group:
        """A group of the fallback."""
        return Group(GroupHeader(count=len(items), fallback=True), join_items(items))

    @property
    def items(self) -> list[bytes]:
        """The items of a group of the fallback, one of each image.

        Raises:
            FormatError: the payload is not just these.
        """
        return [self.payload] if self.lone else split_items(self.payload, self.header.count)

    def described(self, metadata: bytes) -> Group:
        """The group with this block of metadata."""
        return replace(self, header=replace(self.header, has_metadata=bool(metadata)), metadata=metadata)

    def alone(self) -> Group:
        """The group, which has one image, as that of a lone image."""
        payload = self.items[0] if self.header.fallback else self.payload
        return replace(self, payload=payload, lone=True)


def take_metadata(reader: ByteReader) -> bytes:
    """The bytes of the block of metadata that begins there. What is in it is not looked at.

    Raises:
        FormatError: the block is cut short.
    """
    start = reader.position
    reader.take(reader.varint(2 * reader.remaining + 1, "the length of the metadata") >> 1)
    reader.take(CRC_BYTES)
    return reader.data[start : reader.position]


def join_items(items: Sequence[bytes]) -> bytes:
    """The payload of a fallback group: its items, each with its length."""
    return b"".join(varint(len(item)) + item for item in items)


def split_items(payload: bytes, count: int) -> list[bytes]:
    """The `count` items of a fallback group's payload.

    Raises:
        FormatError: the payload does not hold exactly these.
    """
    reader = ByteReader(payload, "a fallback group")
    items = []
    for _ in range(count):
        items.append(reader.take(reader.varint(reader.remaining, "the length of an image")))
    reader.finish()
    return items
