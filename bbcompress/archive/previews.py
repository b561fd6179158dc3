"""Small pictures that a file carries of its images, as bytes. See docs/format.md, "Previews".

Nothing that images need is in them, and a checksum of their own covers them: where they are damaged, the images are as
they were. What is in the bytes of one is not looked at here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from bbcompress.archive.signature import MAGIC
from bbcompress.errors import FormatError, PreviewError
from bbcompress.limits import MAX_PREVIEW_BYTES
from bbcompress.wire import CRC_BYTES, ByteReader, crc32, varint

LONE_WITH_PREVIEW = 7
"""Stands in the prefix of a lone image that has one, before it; behind it stands what would stand there otherwise."""
GROUP_OF_PREVIEWS = 3
"""The first byte of the previews of the group behind them, which are a group without images."""

_SIZE_BYTES = 2
_AROUND = 2 * _SIZE_BYTES + CRC_BYTES


def check_preview(preview: bytes) -> None:
    """Raises FormatError where no file can carry this as a preview."""
    if not 0 < len(preview) <= MAX_PREVIEW_BYTES:
        raise FormatError(f"a preview has {len(preview)} bytes, not 1 to {MAX_PREVIEW_BYTES}")


class LonePreview(NamedTuple):
    """The preview of a lone image: its bytes, None where they are damaged; and how many bytes of the file it takes."""

    data: bytes | None
    length: int


def encode_lone_preview(preview: bytes) -> bytes:
    """A preview as it stands behind the first two bytes of the file of one image.

    Raises:
        FormatError: it is empty or too large.
    """
    check_preview(preview)
    size = len(preview).to_bytes(_SIZE_BYTES, "little")
    return b"".join([bytes([LONE_WITH_PREVIEW]), size, size, preview, crc32(preview)])


def lone_preview(head: bytes) -> LonePreview | None:
    """The preview of the file of one image that begins so; None where it says that it has none.

    The length stands there twice. Where the two differ, the one counts for which the checksum fits.

    Args:
        head: at least the first `LONE_HEAD_BYTES` of the file, or all of it.

    Raises:
        FormatError: nothing tells where the image begins.
    """
    start = len(MAGIC) + 1
    if head[len(MAGIC) : start] != bytes([LONE_WITH_PREVIEW]):
        return None
    begin = start + 2 * _SIZE_BYTES
    first, second = (int.from_bytes(head[at : at + _SIZE_BYTES], "little") for at in (start, start + _SIZE_BYTES))
    for size in (first, second):
        data = head[begin : begin + size]
        if 0 < size <= MAX_PREVIEW_BYTES and head[begin + size : begin + size + CRC_BYTES] == crc32(data):
            return LonePreview(data, 1 + _AROUND + size)
    if first != second or not 0 < first <= MAX_PREVIEW_BYTES or begin + first + CRC_BYTES > len(head):
        raise FormatError("the file is damaged: the length of its preview, behind which its image begins, is lost")
    return LonePreview(None, 1 + _AROUND + first)


LONE_HEAD_BYTES = len(MAGIC) + 1 + _AROUND + MAX_PREVIEW_BYTES


def read_lone_preview(file: BinaryIO) -> LonePreview | None:
    """The preview of the file of one image; no more than its beginning is read. None where it says that it has none.

    Raises:
        FormatError: as :func:`lone_preview`.
    """
    file.seek(0)
    return lone_preview(file.read(LONE_HEAD_BYTES))


def without_preview(data: bytes, preview: LonePreview | None) -> bytes:
    """The file of one image without its preview."""
    return data if preview is None else MAGIC + data[len(MAGIC) + preview.length :]


def encode_previews(previews: Sequence[bytes | None]) -> bytes:
    """The previews of the images of a group, of which at least one has one, as they stand before the group.

    Raises:
        FormatError: one is empty or too large.
    """
    listed: list[bytes] = []
    there = [(number, preview) for number, preview in enumerate(previews) if preview is not None]
    expected = 0
    for number, preview in there:
        check_preview(preview)
        listed += [varint(number - expected), varint(len(preview))]
        expected = number + 1
    payload = b"".join([varint(len(there)), *listed, *(preview for _, preview in there)])
    data = b"".join([bytes([GROUP_OF_PREVIEWS]), varint(len(payload)), payload])
    return data + crc32(data)


def decode_previews(data: bytes, images: int) -> dict[int, bytes]:
    """The previews before a group of so many images, by the number of the image in the group.

    Raises:
        PreviewError: they are damaged.
    """
    try:
        return _decode_previews(data, images)
    except FormatError as error:
        raise PreviewError(f"the previews of a group are damaged: {error}") from error


def _decode_previews(data: bytes, images: int) -> dict[int, bytes]:
    """The same. Raises FormatError."""
    what = "the list"
    if data[-CRC_BYTES:] != crc32(memoryview(data)[:-CRC_BYTES]):
        raise FormatError("their checksum does not fit")
    reader = ByteReader(data[:-CRC_BYTES], what)
    if reader.byte() != GROUP_OF_PREVIEWS:
        raise FormatError("they do not begin as such")
    if reader.varint(reader.remaining, "the length of the payload") != reader.remaining:
        raise FormatError("their payload has another length than it says")
    count = reader.varint(images, "the number of previews")
    if not count:
        raise FormatError("there is none")
    sizes: list[tuple[int, int]] = []
    expected = 0
    for _ in range(count):
        number = expected + reader.varint(images - 1 - expected, "the number of an image")
        size = reader.varint(MAX_PREVIEW_BYTES, "the length of a preview")
        if not size:
            raise FormatError("one is empty")
        sizes.append((number, size))
        expected = number + 1
    found = {number: reader.take(size) for number, size in sizes}
    reader.finish()
    return found
