"""Files of one image, and what may stand behind one. See docs/format.md, "Lone image"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from bbcompress.archive.embedded import EmbeddedModel, ModelPlace
from bbcompress.archive.extras import LONE_WITH_EXTRAS, MAX_LONE_MODELS, NO_EXTRAS, Extras
from bbcompress.archive.file import Accounting, BBCFile, check_magic, is_archive
from bbcompress.archive.group import Group, take_metadata
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.previews import encode_lone_preview, lone_preview, without_preview
from bbcompress.archive.search import Tail, TailKind
from bbcompress.archive.segments import GroupEntry
from bbcompress.archive.signature import MAGIC, PREFIX
from bbcompress.errors import FormatError, PreviewError
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.wire import CRC_BYTES, ByteReader, crc32

T = TypeVar("T")


class LeftOverError(FormatError):
    """The images agree with their checksum, but so many bytes of the message are left over."""

    def __init__(self, size: int, is_zero: bool = True) -> None:
        """size: bytes. is_zero: whether all of them are zero."""
        super().__init__(f"damaged: {size} bytes are left over behind the coded images")
        self.size, self.is_zero = size, is_zero


class OtherBytesError(FormatError):
    """The image of a file is whole, and bytes are behind it that are no part of it."""


def build_lone(group: Group, limits: Limits = DEFAULT_LIMITS, preview: bytes | None = None) -> bytes:
    """The file of one image, of a group of one, with a preview if there is one.

    Raises:
        FormatError: the header is bad, or the preview is.
    """
    group = group.alone()
    prefix = group.extras.encode() if group.extras else MAGIC
    start = prefix + group.header.encode_lone(limits, flags_alone=bool(group.extras)) + group.metadata
    parts = [start, group.payload, b"" if group.header.by_model else crc32(start, group.payload)]
    if preview is not None:
        parts = [MAGIC, encode_lone_preview(preview), start[len(MAGIC) :], *parts[1:]]
    return b"".join(parts)


def parse_lone(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Group:
    """The group of the file of one image.

    The checksum of a fallback or of parts is verified; a message carries its own.

    Raises:
        FormatError: the bytes are no file of one image.
    """
    check_magic(data)
    if is_archive(data):
        raise FormatError("the file is an archive, not a lone image")
    data = without_preview(data, lone_preview(data))
    reader = ByteReader(data, "the file", len(MAGIC))
    header, extras = _start(reader, limits)
    if not header.by_model and data[-CRC_BYTES:] != crc32(memoryview(data)[:-CRC_BYTES]):
        raise _cut_short_or_damaged("its checksum does not fit")
    metadata = take_metadata(reader) if header.has_metadata else b""
    payload = reader.rest() if header.by_model else reader.take(reader.remaining - CRC_BYTES)
    return Group(header, payload, metadata, lone=True, extras=extras)


def _start(reader: ByteReader, limits: Limits) -> tuple[GroupHeader, Extras]:
    """What the file says before its metadata and payload; the reader stands behind the magic.

    Raises:
        FormatError: it breaks a rule of the format.
    """
    if reader.data[reader.position : reader.position + 1] != bytes([LONE_WITH_EXTRAS]):
        return GroupHeader.decode_lone(reader, limits), NO_EXTRAS
    reader.byte()
    extras = Extras.decode(reader)
    header = GroupHeader.decode_lone(reader, limits, flags_alone=True)
    most = 0 if header.fallback else 1 if header.by_model else MAX_LONE_MODELS
    if len(extras.models) > most or not all(model.id.startswith(header.model) for model in extras.models):
        raise FormatError(f"{reader.what} carries a model that does not code its image")
    return header, extras


class LoneFile(BBCFile):
    """The file of one image: a group of one, without a name and a time.

    Zeros behind a message are seen only when it is decoded, and are in the `tail` from then on: the message is whole
    without them.
    """

    is_archive = False
    image_count = 1

    def __init__(self, data: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        """data: of the file. One of the fallback, or in parts, ends where its checksum fits; other bytes may follow.

        Raises:
            FormatError: as from `parse_lone`.
        """
        self.tail, self._size = Tail(), len(data)
        check_magic(data)
        self._preview = lone_preview(data)
        data = without_preview(data, self._preview)
        try:
            self._group = parse_lone(data, limits)
        except FormatError:
            end = _end_of_fallback(data, limits)
            if end is None:
                raise
            padding = not data[end:].strip(b"\0")
            self.tail = Tail(TailKind.PADDING if padding else TailKind.UNKNOWN, len(data) - end)
            self._group = parse_lone(data[:end], limits)
        self.groups = (GroupEntry(len(MAGIC), len(data) - len(MAGIC), 1, None, range(1)),)
        self.models = [
            ModelPlace(model.id, len(PREFIX), len(model.encode()), partial(_same, model))
            for model in self._group.extras.models
        ]

    @property
    def suffix(self) -> str | None:
        """As of `BBCFile`."""
        return self._group.extras.suffix

    @property
    def names(self) -> Sequence[str | None]:
        """As of `BBCFile`."""
        return [None]

    @property
    def times(self) -> Sequence[int | None]:
        """As of `BBCFile`."""
        return [None]

    def find(self, name: str) -> None:
        """As of `BBCFile`; there is no name."""

    def locate(self, position: int) -> tuple[int, int]:
        """As of `BBCFile`."""
        return 0, range(1)[position]

    def read_group(self, number: int) -> Group:
        """As of `BBCFile`."""
        return (self._group,)[number]

    def read_header(self, number: int) -> GroupHeader:
        """As of `BBCFile`."""
        return self.read_group(number).header

    def decode(self, group: Group, decode: Callable[[Group], T]) -> T:
        """As of `BBCFile`. Zeros behind the message are taken off the group, and are in the `tail`.

        Raises:
            FormatError: as from `decode`, of the whole group.
            OtherBytesError: bytes that are not all zero are behind the message, and their number is a multiple of 4,
                the size of a word; of another number it cannot be said.
        """
        try:
            return decode(group)
        except FormatError as error:
            if isinstance(error, LeftOverError) and not error.is_zero:
                raise OtherBytesError(
                    f"the file has {error.size} other bytes behind its image, which is whole without them: its first "
                    f"{self._size - error.size} bytes are the file of the image"
                ) from error
            if not group.header.by_model:  # whose end its checksum has told
                raise
            found = _without_padding(group, error, decode)
            if found is None:
                raise _cut_short_or_damaged(str(error)) from error
        self._group, result = found
        self.tail = Tail(TailKind.PADDING, len(group.payload) - len(self._group.payload))
        return result

    def preview(self, position: int) -> bytes | None:
        """As of `BBCFile`."""
        _ = range(1)[position]
        if self._preview is not None and self._preview.data is None:
            raise PreviewError("the preview is damaged: its checksum does not fit")
        return None if self._preview is None else self._preview.data

    def accounting_of(self, metadata: int, payloads: int) -> Accounting:
        """As of `BBCFile`."""
        previews = 0 if self._preview is None else self._preview.length
        checksum = 0 if self._group.header.by_model else CRC_BYTES
        models = sum(place.length for place in self.models)
        rest = self._size - self.tail.size - len(PREFIX) - metadata - payloads - checksum - models - previews
        behind = self.tail.size
        return Accounting(
            len(PREFIX), rest, metadata, payloads, checksum, models=models, previews=previews, behind=behind
        )


def _cut_short_or_damaged(reason: str) -> FormatError:
    """What is said of a file whose end or whose bytes are not those of its image: nothing tells these faults apart."""
    reason = reason.removeprefix("the file is ").removeprefix("damaged: ")
    return FormatError(f"the file is damaged, cut short or followed by other bytes: {reason}")


def _same(model: EmbeddedModel) -> EmbeddedModel:
    return model


def _without_padding(group: Group, error: FormatError, decode: Callable[[Group], T]) -> tuple[Group, T] | None:
    """The group whose message has zeros behind it, and what `decode` makes of it; None where there is no such message.

    Mostly a message's last byte is the last that is not zero. Else `decode` leaves zeros over if their number is a
    multiple of 4, the size of a word, which one of four ends makes it. A message begins with a check of 31 bits or
    more, and at most five ends are tried: of damaged files that end with zeros, less than one in 2^28 is taken for one
    with padding.

    Args:
        error: what `decode` said of the whole group.
    """
    payload = group.payload
    size, least = len(payload), len(payload.rstrip(b"\0"))
    ends = [size, least, *range(size - 1, max(least, size - 4), -1)] if least < size else []
    for end in ends:
        with suppress(FormatError):
            try:
                if end == size:
                    raise error
                found = replace(group, payload=payload[:end])
                return found, decode(found)
            except LeftOverError as left:
                if not left.is_zero:
                    continue
                found = replace(group, payload=payload[: end - left.size])
                return found, decode(found)
    return None


def _end_of_fallback(data: bytes, limits: Limits) -> int | None:
    """Where the file of a stored image ends that has other bytes behind it; None if that cannot be said for sure.

    Of n bytes, one beginning in 2^32 has a checksum that fits by chance.
    """
    check_magic(data)
    if is_archive(data) or _start(ByteReader(data, "the file", len(MAGIC)), limits)[0].by_model:
        return None
    from bbcompress.archive.checked import checked_lengths  # which takes arrays, as nothing else here does

    ends = list(checked_lengths(data))
    return ends[0] if len(ends) == 1 else None
