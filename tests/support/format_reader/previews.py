"""Section "Previews" of docs/format.md."""

from __future__ import annotations

from .primitives import Cursor, FormatError, check, crc

GROUP = 3
"""The first byte of previews in an archive."""


def split_lone(data: bytes) -> tuple[bytes, bytes | None]:
    """Previews: the file of one image without its preview, and this; None for none and for a damaged one."""
    if data[2:3] != b"\x07":
        return data, None
    lengths = [int.from_bytes(data[at : at + 2], "little") for at in (3, 5)]
    for length in lengths:
        preview = data[7 : 7 + length]
        if 1 <= length <= 2**12 and data[7 + length : 11 + length] == crc(preview):
            return data[:2] + data[11 + length :], preview
    check(lengths[0] == lengths[1] and 1 <= lengths[0] <= 2**12, "the length of a preview")
    check(11 + lengths[0] <= len(data), "a file that ends in its preview")
    return data[:2] + data[11 + lengths[0] :], None


def read_previews(data: bytes, images: int) -> dict[int, bytes]:
    """Previews: those before a group of so many images, by image; none where they are damaged."""
    try:
        check(crc(data[:-4]) == data[-4:], "the CRC of previews")
        cursor = Cursor(data[:-4])
        check(cursor.byte() == GROUP, "previews that begin otherwise")
        check(cursor.varint() == len(cursor.data) - cursor.at, "the length of previews")
        sizes: list[tuple[int, int]] = []
        number = 0
        for _ in range(cursor.varint(1, images)):
            number += cursor.varint(0, images - 1 - number)
            sizes.append((number, cursor.varint(1, 2**12)))
            number += 1
        found = {image: cursor.take(size) for image, size in sizes}
        check(cursor.at == len(cursor.data), "bytes behind previews")
    except FormatError:
        return {}
    return found
