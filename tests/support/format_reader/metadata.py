"""Section "Metadata" of docs/format.md."""

from __future__ import annotations

from .primitives import Cursor, check, crc, unpack

Record = tuple[int, bytes]
"""Kind, bytes."""


def read_metadata(cursor: Cursor, count: int) -> list[list[Record]]:
    """Metadata: the records of each image of a group."""
    number = cursor.varint()
    content = cursor.take(number // 2)
    if number % 2:
        content = unpack(content, 2**25)
    check(cursor.take(4) == crc(content), "the CRC of the metadata")
    return read_content(Cursor(content), count)


def read_content(cursor: Cursor, count: int) -> list[list[Record]]:
    """Metadata: the content, unpacked."""
    check(len(cursor.data) <= 2**25, "too much metadata")
    records = [(cursor.varint(1), cursor.take(cursor.varint())) for _ in range(cursor.varint(1))]
    images, seen = [], 0
    for _ in range(count):
        numbers = [cursor.varint(0, len(records) - 1) for _ in range(cursor.varint(0, 2**12))]
        for number in numbers:
            check(number <= seen, "records in another order than they occur in")
            seen = max(seen, number + 1)
        image = [records[number] for number in numbers]
        check(sorted(kind for kind, _ in image) == [kind for kind, _ in image], "kinds that decrease")
        check(sum(len(data) + 16 for _, data in image) <= 2**24, "too much metadata of one image")
        images.append(image)
    cursor.end()
    check(seen == len(records), "a record that does not occur")
    return images
