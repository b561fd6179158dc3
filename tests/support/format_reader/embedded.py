"""Section "Embedded models" of docs/format.md."""

from __future__ import annotations

from dataclasses import dataclass

from .primitives import Cursor, check, crc, unpack

START = bytes.fromhex("BB4D6F64")


@dataclass
class Embedded:
    """Embedded models: the content, of which more than the id is looked at where the model is needed."""

    content: bytes
    crc_fits: bool = True

    @property
    def id(self) -> bytes:
        """Embedded models: the id."""
        return self.content[:32]

    def weights(self) -> bytes:
        """Embedded models: `model.safetensors`."""
        check(self.crc_fits, "the CRC of a model")
        cursor = Cursor(self.content, 32)
        card = cursor.take(cursor.varint())
        if card:
            unpack(card, 2**20)
        return unpack(cursor.rest(), 2**24)


def model_end(data: bytes, start: int) -> int | None:
    """Embedded models: where the model ends that begins there; None where there is none."""
    length = data[start + 4 : start + 8]
    size = int.from_bytes(length, "little")
    end = start + 16 + size
    known = data.startswith(START, start) and 33 <= size <= 2**24 + 2**21 and end <= len(data)
    return end if known and data[end - 8 : end - 4] == length else None


def model_start(data: bytes) -> int | None:
    """Embedded models: where the model begins that the bytes end with; None where there is none."""
    start = len(data) - 16 - int.from_bytes(data[-8:-4], "little")
    return start if len(data) >= 8 and start >= 0 and model_end(data, start) == len(data) else None


def read_model(data: bytes) -> Embedded:
    """Embedded models: a model behind a segment."""
    return Embedded(data[8:-8], crc(data[:-4]) == data[-4:])


def begins_model(rest: bytes, end: int) -> bool:
    """The end of an archive: whether the rest, whose last zero bytes begin at `end`, is what is left of a model."""
    same = sum(a == b for a, b in zip(rest, START, strict=False))
    return same >= 3 or START.startswith(rest[:end])
