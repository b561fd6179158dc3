"""Groups: what is coded together, and all that it takes to decode it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bbcompress.archive.header import GroupHeader


@dataclass(frozen=True)
class Group:
    """A group of an archive, or the only one of a lone image, as bytes.

    header: how the images are coded. payload: the coded images; of the fallback in an archive items with their lengths,
    in a lone image the one item. metadata: the block of the images' metadata, empty where they have none.

    Raises ValueError where the header does not say whether there is metadata.
    """

    header: GroupHeader
    payload: bytes
    metadata: bytes = b""

    def __post_init__(self) -> None:
        if self.header.has_metadata != bool(self.metadata):
            raise ValueError("a group has metadata where its header says so")

    def described(self, metadata: bytes) -> Group:
        """The group with this block of metadata."""
        return Group(replace(self.header, has_metadata=bool(metadata)), self.payload, metadata)
