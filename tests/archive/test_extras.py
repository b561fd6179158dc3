"""What the file of one image says beside it: its suffix."""

from __future__ import annotations

import pytest

from bbcompress.archive.extras import Extras, suffix_fault
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.lone import LoneFile, build_lone, parse_lone
from bbcompress.errors import FormatError
from bbcompress.wire import ByteReader, crc32, varint

STORED = Group.of_items([b"\1\1item"]).alone()
CODED = Group(GroupHeader(model=b"abc", direct=1), b"message", lone=True)


def with_suffix(group: Group, suffix: str | None) -> Group:
    return Group(group.header, group.payload, lone=True, extras=Extras(suffix))


@pytest.mark.parametrize("group", [STORED, CODED])
def test_there_and_back(group: Group) -> None:
    for suffix in ("", ".jpg", ".JPG", ".é", "." + "x" * 254):
        data = build_lone(with_suffix(group, suffix))
        assert parse_lone(data) == with_suffix(group, suffix)
        assert (
            len(data) == len(build_lone(group)) + 1 + 1 + len(varint(len(suffix.encode()))) + len(suffix.encode()) + 4
        )
        assert LoneFile(data).accounting().total == len(data)
    assert build_lone(with_suffix(group, None)) == build_lone(group)


def test_every_cut_and_flipped_byte_of_them_is_found() -> None:
    for group in (STORED, CODED):
        data = build_lone(with_suffix(group, ".jpg"))
        extras = len(Extras(".jpg").encode())
        for at in range(3, extras):
            for mask in (1, 0x80, 0xFF):
                with pytest.raises(FormatError):
                    parse_lone(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
        for end in range(extras + 1):
            with pytest.raises(FormatError):
                parse_lone(data[:end])


@pytest.mark.parametrize(
    "suffix", ["jpg", ".", "..", ".a.b", "./a", ".a/b", ".a\\b", ".a\0", "." + "x" * 255, ".\ud800"]
)
def test_what_can_be_no_suffix(suffix: str) -> None:
    assert suffix_fault(suffix)
    with pytest.raises(FormatError):
        Extras(suffix).encode()
    encoded = suffix.encode(errors="surrogatepass")
    start = b"\xbb\xc1\5\1" + varint(len(encoded)) + encoded
    with pytest.raises(FormatError):
        Extras.decode(ByteReader(start + crc32(start), position=3))


def test_reserved_values() -> None:
    for bits in (0, 4, 5, 6, 7, 0x80, 0xFF):
        start = b"\xbb\xc1\5" + bytes([bits]) + b"\4.jpg"
        with pytest.raises(FormatError, match="does not know"):
            Extras.decode(ByteReader(start + crc32(start), position=3))
