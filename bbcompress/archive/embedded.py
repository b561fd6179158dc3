"""Models that a file carries, as bytes. See docs/format.md, "Embedded models"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from bbcompress.errors import FormatError
from bbcompress.wire import CRC_BYTES, ByteReader, crc32, pack, unpack, varint

MODEL_START = b"\xbbMod"
"""The first bytes of a model behind a segment. Of the prefix of a segment only one of the first three is the same, so
that readers which do not know models take them for other bytes behind the archive, and leave them out."""

MAX_MODELS = 64
"""Models that a file carries."""

ID_BYTES = 32
MAX_CARD_BYTES = 1 << 20
MAX_WEIGHT_BYTES = 1 << 24
"""Of the file `model.safetensors`, which takes eight times as much memory when its integers are in use."""

MAX_CONTENT_BYTES = MAX_WEIGHT_BYTES + (1 << 21)
"""bzip2 makes what it cannot compress longer by less than a hundredth."""

_SIZE_BYTES = 4
_HEAD_BYTES = len(MODEL_START) + _SIZE_BYTES
_AROUND = _HEAD_BYTES + _SIZE_BYTES + CRC_BYTES
"""Bytes of a block beside its content."""


@dataclass(frozen=True)
class EmbeddedModel:
    """A model in a file.

    Attributes:
        id: of the model; what the weights are is checked against it when they are loaded.
        packed_card: the file `card.json`, packed; empty for none.
        packed_weights: the file `model.safetensors`, packed.
    """

    id: bytes
    packed_card: bytes
    packed_weights: bytes

    @staticmethod
    def of(identity: bytes, card: bytes, weights: bytes) -> EmbeddedModel:
        """The model of these files.

        Raises:
            FormatError: it is too large to be in a file.
        """
        if len(weights) > MAX_WEIGHT_BYTES or len(card) > MAX_CARD_BYTES:
            raise FormatError(f"it has {len(weights) + len(card)} bytes, the limit in files is {MAX_WEIGHT_BYTES}")
        return EmbeddedModel(identity, pack(card) if card else b"", pack(weights))

    @property
    def card(self) -> bytes:
        """The file `card.json`; empty for none.

        Raises:
            FormatError: it is damaged or above the limit.
        """
        return unpack(self.packed_card, MAX_CARD_BYTES) if self.packed_card else b""

    @property
    def weights(self) -> bytes:
        """The file `model.safetensors`.

        Raises:
            FormatError: it is damaged or above the limit.
        """
        return unpack(self.packed_weights, MAX_WEIGHT_BYTES)

    def encode(self) -> bytes:
        """The content: id, card, weights."""
        return b"".join([self.id, varint(len(self.packed_card)), self.packed_card, self.packed_weights])

    @staticmethod
    def decode(content: bytes) -> EmbeddedModel:
        """Read what `encode` wrote; card and weights stay packed.

        Raises:
            FormatError: it is damaged.
        """
        reader = ByteReader(content, "the model in the file")
        identity = reader.take(ID_BYTES)
        card = reader.take(reader.varint(reader.remaining, "the length of a card"))
        weights = reader.rest()
        if not weights:
            raise FormatError(f"{reader.what} is damaged: it has no weights")
        return EmbeddedModel(identity, card, weights)


@dataclass(frozen=True)
class ModelPlace:
    """A model of an opened file, that may be damaged: its id, its bytes in the file, and what gives its content.

    Attributes:
        start: where it stands in the file.
    """

    id: bytes
    start: int
    length: int
    read: Callable[[], EmbeddedModel]

    @property
    def end(self) -> int:
        """Where it ends in the file."""
        return self.start + self.length


def encode_block(model: EmbeddedModel) -> bytes:
    """A model as it stands behind a segment."""
    content = model.encode()
    size = len(content).to_bytes(_SIZE_BYTES, "little")
    data = b"".join([MODEL_START, size, content, size])
    return data + crc32(data)


def model_at(file: BinaryIO, start: int, end: int) -> ModelPlace | None:
    """The model that begins at `start` and ends at `end` or before it; None if there is none. Its checksum is not
    looked at."""
    if end - start < _AROUND + ID_BYTES:
        return None
    head = _read(file, start, _HEAD_BYTES + ID_BYTES)
    size = int.from_bytes(head[len(MODEL_START) : _HEAD_BYTES], "little")
    if not head.startswith(MODEL_START) or not ID_BYTES < size <= min(MAX_CONTENT_BYTES, end - start - _AROUND):
        return None
    if _read(file, start + _HEAD_BYTES + size, _SIZE_BYTES) != head[len(MODEL_START) : _HEAD_BYTES]:
        return None
    length = _AROUND + size
    return ModelPlace(head[_HEAD_BYTES:], start, length, lambda: _read_block(file, start, length))


def model_before(file: BinaryIO, end: int, floor: int) -> ModelPlace | None:
    """The model that ends at `end` and does not begin before `floor`; None if there is none."""
    if end - floor < _AROUND + ID_BYTES:
        return None
    size = int.from_bytes(_read(file, end - _SIZE_BYTES - CRC_BYTES, _SIZE_BYTES), "little")
    start = end - _AROUND - size
    place = model_at(file, start, end) if start >= floor else None
    return place if place is not None and place.end == end else None


def is_beginning(data: bytes) -> bool:
    """Whether these may be the first bytes of a model, as far as there are so many; one of them may be damaged."""
    same = sum(a == b for a, b in zip(data, MODEL_START, strict=False))
    return same >= min(len(data), len(MODEL_START) - 1)


def _read_block(file: BinaryIO, start: int, length: int) -> EmbeddedModel:
    """Raises FormatError where it is damaged."""
    data = _read(file, start, length)
    if len(data) != length or data[-CRC_BYTES:] != crc32(memoryview(data)[:-CRC_BYTES]):
        raise FormatError("the model in the file is damaged: its checksum does not fit")
    return EmbeddedModel.decode(data[_HEAD_BYTES : -_SIZE_BYTES - CRC_BYTES])


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
