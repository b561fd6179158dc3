"""Section "Names" of docs/format.md."""

from __future__ import annotations

from .primitives import Cursor, FormatError, check


def read_names(cursor: Cursor, count: int) -> list[bytes] | None:
    """Names, in the order of the positions."""
    form = cursor.byte()
    check(form <= 3, "a reserved form of names")
    if form == 0:
        return None
    if form == 1:
        names = numbered(cursor, count)
    elif form == 2:
        names = front_coded(cursor, count)
    else:
        packed = Cursor(cursor.packed(min(4100 * count, 2**26 + 4 * count)))
        names = front_coded(packed, count)
        packed.end()
    return names


def numbered(cursor: Cursor, count: int) -> list[bytes]:
    """Names, form 1: numbered runs."""
    names: list[bytes] = []
    while len(names) < count:
        prefix, suffix = cursor.take(cursor.varint(0, 4096)), cursor.take(cursor.varint(0, 4096))
        digits, first = cursor.varint(0, 18), cursor.varint(0, 10**18 - 1)
        images = cursor.varint(1, count - len(names))
        check(digits != 1 and first + images <= 10**18, "the numbers of a run")
        check(not prefix[-1:].isdigit() and not any(48 <= byte < 58 for byte in suffix), "a run with further digits")
        run = [prefix + str(number).zfill(digits).encode() + suffix for number in range(first, first + images)]
        for name in run:
            check_name(name)
        names += run
    return names


def front_coded(cursor: Cursor, count: int) -> list[bytes]:
    """Names, forms 2 and 3: front-coded."""
    names: list[bytes] = []
    for _ in range(count):
        before = names[-1] if names else b""
        shared = cursor.varint(0, len(before))
        names.append(before[:shared] + cursor.take(cursor.varint()))
        check_name(names[-1])
    return names


def check_name(name: bytes) -> None:
    """Names: a relative path."""
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise FormatError("a name that is not UTF-8") from error
    check(1 <= len(name) <= 4096, "the length of a name")
    check(all(part not in ("", ".", "..") for part in text.split("/")), "the parts of a name")
    check("\0" not in text and "\\" not in text, "a character that no name has")
    check(not (text[1:2] == ":" and text[0].isascii() and text[0].isalpha()), "a name that begins with a drive")
