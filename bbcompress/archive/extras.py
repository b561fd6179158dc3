"""What the file of one image says beside its image. See docs/format.md, "Lone image"."""

from __future__ import annotations

from dataclasses import dataclass

from bbcompress.archive.embedded import MAX_CONTENT_BYTES, EmbeddedModel
from bbcompress.archive.names import name_fault
from bbcompress.archive.signature import MAGIC
from bbcompress.errors import FormatError
from bbcompress.wire import CRC_BYTES, ByteReader, crc32, varint

LONE_WITH_EXTRAS = 5
"""Stands in the prefix of a lone image that has any."""

MAX_SUFFIX_BYTES = 255

MAX_LONE_MODELS = 2
"""Models that the file of one image carries: of its colours and of its alpha."""

_SUFFIX, _MODELS = 1, 2


@dataclass(frozen=True)
class Extras:
    """What the file of one image says beside its image.

    Attributes:
        suffix: of the file that the image comes from, with its point; empty where that has none; None where the file
            does not say.
        models: that the file carries.
    """

    suffix: str | None = None
    models: tuple[EmbeddedModel, ...] = ()

    def __bool__(self) -> bool:
        return self.suffix is not None or bool(self.models)

    def encode(self) -> bytes:
        """The beginning of a file with these: prefix, what they are, checksum.

        Raises:
            FormatError: the suffix cannot be one.
        """
        bits = _SUFFIX * (self.suffix is not None) | _MODELS * bool(self.models)
        parts = [MAGIC, bytes([LONE_WITH_EXTRAS, bits])]
        if self.suffix is not None:
            if suffix_fault(self.suffix):
                raise FormatError(f"{self.suffix[:80]!r} cannot be the suffix of a file")
            encoded = self.suffix.encode()
            parts += [varint(len(encoded)), encoded]
        if self.models:
            contents = [model.encode() for model in self.models]
            parts += [varint(len(contents)), *(part for some in contents for part in (varint(len(some)), some))]
        data = b"".join(parts)
        return data + crc32(data)

    @staticmethod
    def decode(reader: ByteReader) -> Extras:
        """Read what `encode` wrote, from a reader that stands behind the prefix.

        Raises:
            FormatError: it is damaged, or breaks a rule of the format.
        """
        bits = reader.byte()
        if not bits or bits & ~(_SUFFIX | _MODELS):
            raise FormatError(f"{reader.what} says things that this version does not know")
        suffix = _read_suffix(reader) if bits & _SUFFIX else None
        contents = _read_contents(reader) if bits & _MODELS else []
        data = memoryview(reader.data)[: reader.position]
        if reader.take(CRC_BYTES) != crc32(data):
            what = ", where it carries its model," if contents else ""
            why = "; so nothing tells for sure where its image begins, even if that model is installed"
            raise FormatError(
                f"the file is damaged: the checksum of its beginning{what} does not fit{why if contents else ''}"
            )
        return Extras(suffix, tuple(map(EmbeddedModel.decode, contents)))


NO_EXTRAS = Extras()


def _read_suffix(reader: ByteReader) -> str:
    try:
        suffix = reader.take(reader.varint(MAX_SUFFIX_BYTES, "the length of a suffix")).decode()
    except UnicodeDecodeError:
        raise FormatError(f"{reader.what} is damaged: its suffix is no text") from None
    if suffix_fault(suffix):
        raise FormatError(f"{reader.what} is damaged: it has a suffix that cannot be one")
    return suffix


def _read_contents(reader: ByteReader) -> list[bytes]:
    count = reader.varint(MAX_LONE_MODELS, "the number of models")
    if not count:
        raise FormatError(f"{reader.what} is damaged: it says that it carries models, but carries none")
    return [reader.take(reader.varint(MAX_CONTENT_BYTES, "the length of a model")) for _ in range(count)]


def suffix_fault(suffix: str) -> bool:
    """Whether this cannot be the suffix of a file: all behind the last point of its name, with this point."""
    if not suffix:
        return False
    rest = suffix[1:]
    wrong = not suffix.startswith(".") or not rest or "." in rest or "/" in rest
    return wrong or len(suffix.encode(errors="replace")) > MAX_SUFFIX_BYTES or name_fault(f"a{suffix}") is not None
