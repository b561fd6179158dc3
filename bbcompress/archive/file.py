"""What all files of bbc have in common, whether they hold one image or many. See docs/format.md."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from bbcompress.archive.embedded import ModelPlace
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.search import Tail
from bbcompress.archive.segments import GroupEntry
from bbcompress.archive.signature import MAGIC, PREFIX
from bbcompress.errors import FormatError

T = TypeVar("T")


@dataclass(frozen=True)
class Accounting:
    """Bytes of a file by what they are for; they add up to its size."""

    prefix: int = 0
    group_headers: int = 0
    metadata: int = 0
    payloads: int = 0
    checksums: int = 0
    names: int = 0
    times: int = 0
    index: int = 0
    footer: int = 0
    models: int = 0
    previews: int = 0
    unfinished: int = 0
    behind: int = 0
    manifest: int = 0

    def __add__(self, other: Accounting) -> Accounting:
        """Those of two files together."""
        others = asdict(other)
        return Accounting(**{name: value + others[name] for name, value in asdict(self).items()})

    @property
    def total(self) -> int:
        """The file's size."""
        return sum(asdict(self).values())


class BBCFile(ABC):
    """A file of bbc, opened: its groups as bytes, and the names and times of its images.

    Attributes:
        is_archive: whether it is an archive, not the file of one image.
        groups: what is known of each group, in the order of the file.
        tail: what stands behind the last image, and is left out.
        fault: what is wrong with the file as a whole, where it was salvaged; else None.
        unread: bytes of a salvaged file of which nothing could be made.
        models: that the file carries; each may be damaged.
        duplicate: a name that two images have, where that was no reason to refuse the file; else None.
        framing: what a fault of the file as a whole is in, for messages.
    """

    is_archive: bool
    groups: Sequence[GroupEntry]
    tail: Tail
    fault: str | None = None
    unread: int = 0
    models: Sequence[ModelPlace] = ()
    duplicate: str | None = None
    framing: str = "a prefix, index or footer"

    @property
    @abstractmethod
    def image_count(self) -> int:
        """Number of images."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str | None]:
        """The names of all images by position; None for images without names."""

    @property
    @abstractmethod
    def times(self) -> Sequence[int | None]:
        """When the images were modified, by position, in seconds since 1970; None for images without a time."""

    @property
    def name_span(self) -> tuple[str, str] | None:
        """The least and the greatest of the names, by `name_key`; None where an image has none."""
        return None

    @property
    def time_span(self) -> tuple[int, int] | None:
        """The first and the last of the times; None where there is none."""
        return None

    @abstractmethod
    def find(self, name: str) -> int | None:
        """The position of the image of that name, None if there is none."""

    @abstractmethod
    def locate(self, position: int) -> tuple[int, int]:
        """The group that holds the image of that position, and where in the group it stands; IndexError if none."""

    @abstractmethod
    def read_group(self, number: int) -> Group:
        """One of `groups`, its checksum verified.

        Raises:
            IndexError: there is none. FormatError: the file is damaged.
        """

    @abstractmethod
    def read_header(self, number: int) -> GroupHeader:
        """The header of one of `groups`; a checksum behind its payload is not looked at.

        Raises:
            IndexError: there is none. FormatError: the file is damaged.
        """

    @abstractmethod
    def preview(self, position: int) -> bytes | None:
        """The preview of the image at a position; None where the file has none of it.

        Raises:
            IndexError: there is no such image. PreviewError: the preview is damaged.
        """

    def decode(self, group: Group, decode: Callable[[Group], T]) -> T:
        """What `decode` makes of a group that was read from the file.

        Raises:
            FormatError: as from `decode`.
        """
        return decode(group)

    @abstractmethod
    def accounting_of(self, metadata: int, payloads: int) -> Accounting:
        """The bytes of the file by what they are for, of which so many are metadata and payloads of groups."""

    def accounting(self) -> Accounting:
        """The same; reads every group.

        Raises:
            FormatError: a group is damaged.
        """
        metadata = payloads = 0
        for number in range(len(self.groups)):
            group = self.read_group(number)
            metadata += len(group.metadata)
            payloads += len(group.payload)
        return self.accounting_of(metadata, payloads)

    @property
    def size(self) -> int | None:
        """Bytes of all files that belong to it; None where it is one file alone."""
        return None

    def faults(self) -> Iterator[str]:
        """What is wrong beside the groups, a line each; for it, all that belongs to the file is read."""
        return iter(())

    def description(self) -> dict[str, Any]:
        """What there is to say of it beside images and groups, as JSON values."""
        return {}

    @property
    def suffix(self) -> str | None:
        """Of the file from which a lone image comes, with its point; None where this file does not say it."""
        return None

    @property
    def without_index(self) -> Sequence[range]:
        """Positions of the images of a salvaged file whose index is lost, and so their names and times."""
        return ()

    @property
    def unchecked_index(self) -> Sequence[range]:
        """Positions of the images of a salvaged file of whose index the checksum is lost: nothing tells whether their
        names and times are as they were."""
        return ()


def is_archive(data: bytes) -> bool:
    """Whether a file that begins with `data` (3 bytes are enough) says that it is an archive."""
    return data[: len(PREFIX)] == PREFIX


def check_magic(data: bytes) -> None:
    """Raises FormatError unless a file that begins with `data` (3 bytes are enough) is of this format's version."""
    if len(data) < len(PREFIX) or data[0] != MAGIC[0] or data[1] >> 4 != MAGIC[1] >> 4:
        raise FormatError("the file is not a .bbc file")
    if data[1] != MAGIC[1]:
        raise FormatError(f"the file is of format version {data[1] & 15}, this program reads version 1")
