"""Groups in parts: what of their payload is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.parts import Part, decode_parts, encode_parts
from bbcompress.codecs.groups import encode_fallback
from bbcompress.errors import FormatError
from bbcompress.images.image import from_array


def stored(*levels: int) -> Group:
    """A group of images of a pixel each."""
    return encode_fallback([from_array(np.full((1, 1), level, np.uint8)) for level in levels])


def parts() -> list[Part]:
    """Two parts of three images, in several groups and in other orders."""
    return [Part([stored(1, 2), stored(3)], [2, 0, 1]), Part([stored(4, 5, 6)], [0, 1, 2])]


def test_round_trip() -> None:
    found = decode_parts(encode_parts(parts()), 3, 2)
    assert [list(part.positions) for part in found] == [[2, 0, 1], [0, 1, 2]]
    assert [part.groups for part in found] == [part.groups for part in parts()]
    alone = [Part([stored(1)], [0]), Part([stored(2)], [0])]
    assert [part.groups for part in decode_parts(encode_parts(alone), 1, 2)] == [part.groups for part in alone]


def refused(payload: bytes, images: int, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        decode_parts(payload, images, 2)


def test_any_end_is_too_early_and_no_byte_too_many() -> None:
    data = encode_parts(parts())
    for end in range(len(data)):
        with pytest.raises(FormatError):
            decode_parts(data[:end], 3, 2)
    refused(data + b"\0", 3, "too many")


def test_what_is_refused() -> None:
    first, second = parts()
    refused(encode_parts([second, first]), 2, "more images")
    refused(encode_parts([first._replace(positions=[0, 0, 1]), second]), 3, "twice")
    nested = Group(GroupHeader(count=3, parts="LA"), b"")
    refused(encode_parts([first, Part([nested], [0, 1, 2])]), 3, "has parts, or metadata")
    described = replace(stored(1, 2, 3), header=GroupHeader(count=3, fallback=True, has_metadata=True), metadata=b"x")
    refused(encode_parts([first, Part([described], [0, 1, 2])]), 3, "has parts, or metadata")


@pytest.mark.parametrize("header", [GroupHeader(parts="RGB"), GroupHeader(parts="LA", model=b"abcd")])
def test_headers_that_are_not_written(header: GroupHeader) -> None:
    with pytest.raises(FormatError):
        header.encode_group()
