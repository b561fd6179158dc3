"""Whether the codes of a WebP's picture end where their data ends.

libwebp says nothing of data that it does not need. So a picture is decoded again without the last bytes of a part:
where that gives the same pixels, no pixel needs these bytes. An encoder writes a few more than are needed to end its
codes. Of lossless codes libwebp makes up the last ones where they are missing: what follows them then changes pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from bbcompress.errors import ImageError
from bbcompress.images.formats.webp.file import Picture

_SPARE = {b"VP8 ": 3, b"VP8L": 2, b"ALPH": 2}
"""Bytes that libwebp's encoder may write behind the last that is needed (most that was seen of some 1500 pictures)."""

_TAG_BYTES, _START_BYTES = 3, 10
_SIZE_BYTES = 3
_LOSSLESS = 1
_HEADER_BITS = 1024
"""The header of a VP8 image goes up to its number of partitions within so many bits."""

_BEHIND = b"\xff" * 16
"""More than libwebp looks at behind the end of lossless codes."""

Decode = Callable[[Picture], bytes | None]
"""A digest of the pixels of a picture by itself; None where it cannot be decoded."""


def has_more(picture: Picture, decode: Decode, known: bytes | None = None) -> bool:
    """Whether a picture has data that no pixel needs. known: what `decode` gives of it.

    Raises:
        ImageError: it lacks data.
    """
    longer = _lengthened(picture)
    if longer is not None:
        known = known or decode(picture)
        if known is None or known != decode(longer):
            raise ImageError("is cut short or damaged: the codes of a picture do not give its pixels")
    for shorter in _shortened(picture):
        found = decode(shorter)
        if found is not None and found == (known := known or decode(picture)):
            return True
    return _has_more_alpha(picture)


def _lengthened(picture: Picture) -> Picture | None:
    """The picture with bytes behind its lossless codes, of which it has one part at most; None without any."""
    if picture.name == b"VP8L":
        return replace(picture, body=picture.body + _BEHIND)
    if picture.alpha and picture.alpha[0] & 3 == _LOSSLESS:
        return replace(picture, alpha=picture.alpha + _BEHIND)
    return None


def _has_more_alpha(picture: Picture) -> bool:
    """Whether there are bytes behind alpha that is not compressed."""
    alpha = picture.alpha
    return bool(alpha and alpha[0] & 3 != _LOSSLESS and len(alpha) > 1 + picture.width * picture.height)


def _shortened(picture: Picture) -> Iterator[Picture]:
    """The picture with each of its parts that has so many bytes cut by one more than may be spared."""
    alpha, body = picture.alpha, picture.body
    cut = _SPARE[b"ALPH"] + 1
    if alpha and alpha[0] & 3 == _LOSSLESS and len(alpha) > cut:
        yield replace(picture, alpha=alpha[:-cut])
    cut = _SPARE[picture.name] + 1
    if picture.name == b"VP8L":
        yield replace(picture, body=body[:-cut])
        return
    first = int.from_bytes(body[:_TAG_BYTES], "little") >> 5
    stop = _START_BYTES + first
    if first >= cut:
        tag = int.from_bytes(body[:_TAG_BYTES], "little") - (cut << 5)
        yield replace(picture, body=tag.to_bytes(_TAG_BYTES, "little") + body[_TAG_BYTES : stop - cut] + body[stop:])
    count = _partitions(body[_START_BYTES:stop])
    place = stop + _SIZE_BYTES * (count - 1)
    for number in range(count - 1):
        at = stop + _SIZE_BYTES * number
        size = int.from_bytes(body[at : at + _SIZE_BYTES], "little")
        place += size
        if size >= cut:
            shorter = (size - cut).to_bytes(_SIZE_BYTES, "little")
            rest = body[at + _SIZE_BYTES : place - cut] + body[place:]
            yield replace(picture, body=body[:at] + shorter + rest)
    if len(body) - place >= cut:
        yield replace(picture, body=body[:-cut])


class _BoolDecoder:
    """Bits of a VP8 header, all of even odds, as its arithmetic code has them."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[: _HEADER_BITS // 8].ljust(_HEADER_BITS // 8, b"\0"), "big")
        self._place = _HEADER_BITS - 8  # of the lowest bit of the range
        self._range = 255

    def bits(self, count: int) -> int:
        """A number of so many bits."""
        number = 0
        for _ in range(count):
            split = 1 + ((self._range - 1) >> 1)
            bit = self._value >= split << self._place
            if bit:
                self._value -= split << self._place
                self._range -= split
            else:
                self._range = split
            while self._range < 128 and self._place:
                self._range <<= 1
                self._place -= 1
            number = 2 * number + bit
        return number

    def skip(self, *sizes: int) -> None:
        """Numbers of so many bits, each behind a bit that says whether it is there."""
        for size in sizes:
            if self.bits(1):
                self.bits(size)


def _partitions(data: bytes) -> int:
    """Parts in which a VP8 image has its coefficients, as the header at the beginning of its first part says."""
    header = _BoolDecoder(data)
    header.bits(2)  # colour space, clamping
    if header.bits(1):  # segments
        update_map, update_data = header.bits(1), header.bits(1)
        if update_data:
            header.bits(1)
            header.skip(8, 8, 8, 8, 7, 7, 7, 7)
        if update_map:
            header.skip(8, 8, 8)
    header.bits(1 + 6 + 3)  # the loop filter
    if header.bits(1) and header.bits(1):
        header.skip(*[7] * 8)
    return 1 << header.bits(2)
