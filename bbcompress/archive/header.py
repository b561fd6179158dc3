"""Group headers: what a decoder must know before a group's message. See docs/format.md."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bbcompress.archive.previews import GROUP_OF_PREVIEWS
from bbcompress.errors import FormatError
from bbcompress.limits import BLOCK_SIDE, DEFAULT_LIMITS, LEAST_BLOCK_SIDE, MAX_K, MAX_SIDE, Limits
from bbcompress.wire import ByteReader, varint

MAX_LANES = 1024
MAX_GROUP_IMAGES = 1 << 20
MAX_LEARNING_RATE = 1_000_000
"""In units of 1e-6."""
MAX_LEARNING_UNIT = 1 << 11
MAX_LEARNING_STRIDE = 1 << 10
_UNITS, _BATCHES, _COLOURS, _STARTS = 1, 2, 2, 4
"""Ways of learning: after units of pixels, or between batches. To the first may be added that the payload says what
colours the pixels can have, and with which weights each image begins; other numbers are reserved."""

LONE_ID_BYTES = 3
GROUP_ID_BYTES = 4
"""Bytes of the model's id that a lone image and a group of an archive name."""

_FALLBACK, _KIND, _BASELINE, _K, _RATE, _SIZE, _BLOCKS, _METADATA = (1 << bit for bit in range(8))


_PARTS = _FALLBACK | _SIZE
"""Both together: the images are coded in parts, which are groups."""
_LEARNING = _FALLBACK | _BLOCKS
"""Both together: the model learns; then the flags of encoder, K and its rate are clear, and stand, with that of blocks,
in a byte of their own where it learns between batches."""
_NOT_LEARNING = _BASELINE | _K | _RATE
_BATCH_FLAGS = _BASELINE | _K | _RATE | _BLOCKS
_BLOCK_SIDE = _FALLBACK | _BASELINE
"""Both together and alone, but for metadata: the longest side of blocks follows, and then the group flags, of which
that of metadata is clear."""


def _allowed(flags: int) -> bool:
    """Whether these are flags of a group whose blocks have the usual side."""
    if flags & _LEARNING == _LEARNING:
        return not flags & _NOT_LEARNING
    if flags & _FALLBACK:
        return flags & ~_METADATA in (_FALLBACK, _PARTS)
    return bool(flags & _K) or not flags & _RATE


GROUP_FLAGS = bytes(
    flags for flags in range(256) if _allowed(flags) or flags & ~_METADATA == _BLOCK_SIDE or flags == GROUP_OF_PREVIEWS
)
"""The bytes that a group may begin with."""

_LONE_WITH_METADATA = 3
"""Stands before the flags of a lone image that has any: there is no room for that flag in the prefix."""


KindOfImages = tuple[str, tuple[int, int] | None]
"""Pillow's mode, and the two levels that a pixel can have (low, high), None for all 256."""

PARTED_MODES = {2: "LA", 5: "RGBA"}
"""Modes of images that are coded in parts, by their codes."""

_LEVELS_FOLLOW = 2
_KINDS: dict[int, KindOfImages] = {0: ("L", (0, 255)), 1: ("1", (0, 1)), 3: ("L", None), 4: ("RGB", None)}


def encode_kind(kind: KindOfImages) -> bytes:
    """The mode code, with the levels where it takes any.

    Raises:
        FormatError: the kind has no code.
    """
    for code, known in _KINDS.items():
        if known == kind:
            return bytes([code])
    mode, levels = kind
    if mode == "L" and levels is not None and 0 <= levels[0] <= levels[1] <= 255:
        return bytes([_LEVELS_FOLLOW, *levels])
    raise FormatError(f"images of mode {mode} with levels {levels} have no code in the format")


def decode_kind(reader: ByteReader) -> KindOfImages:
    """Read one kind; FormatError for a reserved code and for levels out of order or with another code."""
    code = reader.byte()
    if code == _LEVELS_FOLLOW:
        low, high = reader.take(2)
        if low > high or (low, high) == (0, 255):  # which have a code of their own
            raise FormatError(f"{reader.what}: levels {low} and {high} are not allowed")
        return "L", (low, high)
    if code not in _KINDS:
        raise FormatError(f"{reader.what}: mode code {code} is not known to this version")
    return _KINDS[code]


@dataclass(frozen=True)
class Learning:
    """How a model learns while it codes.

    Attributes:
        rate: of Adam, in units of 1e-6, 1 .. 1000000.
        unit: least pixels between two steps, 1 .. 2^11; between batches most rows of z of a step.
        stride: in blocks of an image but its first, every so manieth unit is learned from, 1 .. 2^10; 1 between
            batches.
        batches: whether the decoder learns between batches, and not the pixel network after units of pixels.
        lattices: whether the payload names a lattice of colours of at least one of the images; not between batches.
        starts: whether the payload says of each image but the first with which weights it begins; not between batches,
            and not of one image.
    """

    rate: int
    unit: int
    stride: int = 1
    batches: bool = False
    lattices: bool = False
    starts: bool = False

    def validate(self) -> None:
        """FormatError names the number that is out of range."""
        _within("the rate of learning", self.rate, 1, MAX_LEARNING_RATE)
        _within("the unit of learning", self.unit, 1, MAX_LEARNING_UNIT)
        _within("the stride of learning", self.stride, 1, 1 if self.batches else MAX_LEARNING_STRIDE)
        if self.batches and self.lattices:
            raise FormatError("a model that learns between batches names no lattices of colours")
        if self.batches and self.starts:
            raise FormatError("a model that learns between batches has no images that begin anew")

    def encode(self) -> bytes:
        """Three varints, and the way."""
        way = _BATCHES if self.batches else _UNITS | _COLOURS * self.lattices | _STARTS * self.starts
        return b"".join(map(varint, [self.rate, self.unit, self.stride, way]))

    @staticmethod
    def decode(reader: ByteReader) -> Learning:
        """Read what `encode` wrote. FormatError."""
        rate = _positive(reader, MAX_LEARNING_RATE, "the rate of learning")
        unit = _positive(reader, MAX_LEARNING_UNIT, "the unit of learning")
        stride = _positive(reader, MAX_LEARNING_STRIDE, "the stride of learning")
        way = reader.byte()
        batches = way == _BATCHES
        if not batches and way & ~(_COLOURS | _STARTS) != _UNITS:
            raise FormatError(f"{reader.what} learns in a way that this version does not know")
        lattices, starts = (not batches and bool(way & flag) for flag in (_COLOURS, _STARTS))
        learning = Learning(rate, unit, stride, batches, lattices, starts)
        learning.validate()
        return learning


@dataclass(frozen=True)
class GroupHeader:
    """The header of one group; of a lone image too, which is a group of one directly coded image in one lane.

    A fallback group has only `count`, and a group in parts `parts` as well; the rest keeps its defaults.

    count: images in the group, 1 .. 2^20.
    model: the first bytes of the model's id. Encoding takes 3 of them for a lone image and 4 in an archive;
        decoding gives just these.
    kind: None stands for the model's default: mode L of levels 0 and 255, or mode L or RGB of all levels.
    encoder: "rha" or "baseline".
    k: K, how many steps refine the posteriors.
    learning_rate: in units of 1e-6; None stands for the model's own.
    size: width and height in pixels; None stands for the size that the model is made for.
    lanes: interleaved ANS lanes, 1 .. 1024.
    direct: images that are coded directly, the first of the group; then batches of so many images.
    blocks: the payload is a sequence of blocks, each with a layout of its own; lanes, direct and batches keep their
        defaults then. Without a size the images have several, which the payload begins with (`codecs/mixed.py`).
    block_side: longest side of a block, in pixels, but for what whole tiles need, 64 .. 1023; None stands for 1024.
    has_metadata: whether a block of the images' metadata stands before the payload.
    learning: how the model learns, None where it does not. Unless it learns between batches, there are blocks then, and
        the encoder is "rha" and K is 0.
    parts: the mode of images that are coded in parts, each of which is a group of its own (`archive/parts.py`); None of
        others.
    """

    count: int = 1
    fallback: bool = False
    model: bytes = b""
    kind: KindOfImages | None = None
    encoder: str = "rha"
    k: int = 0
    learning_rate: int | None = None
    size: tuple[int, int] | None = None
    lanes: int = 1
    direct: int = 0
    batches: tuple[int, ...] = ()
    blocks: bool = False
    block_side: int | None = None
    has_metadata: bool = False
    learning: Learning | None = None
    parts: str | None = None

    @property
    def by_model(self) -> bool:
        """Whether a model codes the images, and its message has a check: neither the fallback, nor groups of parts."""
        return not self.fallback and self.parts is None

    @property
    def has_layout(self) -> bool:
        """Whether the group is one message whose lanes, direct images and batches follow the header."""
        return self.by_model and not self.blocks

    @property
    def is_mixed(self) -> bool:
        """Whether the images have several sizes."""
        return self.blocks and self.size is None

    @property
    def is_cut(self) -> bool:
        """Whether each image is cut into blocks: those of several sizes are it only where a model learns by units."""
        by_units = self.learning is not None and not self.learning.batches
        return self.blocks and (self.size is not None or by_units)

    def validate(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Check every limit; FormatError names the one that is broken."""
        _within("the number of images", self.count, 1, MAX_GROUP_IMAGES)
        if self.fallback:
            if self != GroupHeader(count=self.count, fallback=True, has_metadata=self.has_metadata):
                raise FormatError("a fallback group cannot have a model, kind, size or batches")
            return
        if self.parts is not None:
            if self != GroupHeader(count=self.count, parts=self.parts, has_metadata=self.has_metadata):
                raise FormatError("a group in parts cannot have a model, kind, size or batches of its own")
            if self.parts not in PARTED_MODES.values():
                raise FormatError(f"images of mode {self.parts} have no parts")
            return
        if len(self.model) < LONE_ID_BYTES:
            raise FormatError("a group needs the id of its model")
        if self.encoder not in ("rha", "baseline"):
            raise FormatError(f"there is no encoder {self.encoder!r}")
        _within("K", self.k, 0, MAX_K)
        if self.learning_rate is not None:
            _within("the learning rate", self.learning_rate, 1, MAX_LEARNING_RATE)
            if self.k == 0:
                raise FormatError("a learning rate is given, but K is 0")
        if self.size is not None:
            check_size(self.size, limits)
        if self.learning is not None:
            self.learning.validate()
            if not self.learning.batches and (not self.blocks or self.encoder != "rha" or self.k):
                raise FormatError("a model that learns codes blocks, without posteriors")
            if not self.blocks and self.count < 2:
                raise FormatError("a single image has no batches to learn between")
        if self.block_side is not None:
            if not self.is_cut:
                raise FormatError("the images are not cut into blocks, but their side is given")
            _within("the side of blocks", self.block_side, LEAST_BLOCK_SIDE, BLOCK_SIDE - 1)
        if self.blocks:
            if (self.lanes, self.direct, self.batches) != (1, 0, ()):
                raise FormatError("a group of blocks has no layout of its own")
            if self.is_mixed and self.count < 2:
                raise FormatError("a single image needs its size")
            return
        _within("the number of lanes", self.lanes, 1, MAX_LANES)
        _within("the number of direct images", self.direct, 0, self.count)
        if any(batch < 1 for batch in self.batches) or self.direct + sum(self.batches) != self.count:
            raise FormatError("direct images and batches do not add up to the number of images")

    def encode_lone(self, limits: Limits = DEFAULT_LIMITS, flags_alone: bool = False) -> bytes:
        """The header of a lone image, after the two bytes of the prefix that all files share.

        flags_alone: without the prefix's third byte, which says something else then.
        """
        self.validate(limits)
        if self.count != 1 or (self.has_layout and (self.lanes, self.direct) != (1, 1)):
            raise FormatError("a lone image is one image, coded directly in one lane")
        flags = self._flags()
        first = [_LONE_WITH_METADATA] if self.has_metadata else []
        start = [flags] if flags_alone else [*first, flags if first else flags << 1]
        return bytes(start) + self._encode_shared(LONE_ID_BYTES)

    def encode_group(self, limits: Limits = DEFAULT_LIMITS) -> bytes:
        """The header of a group in an archive, up to and without the payload's length."""
        self.validate(limits)
        if self.by_model and len(self.model) < GROUP_ID_BYTES:
            raise FormatError(f"a group names {GROUP_ID_BYTES} bytes of its model's id")
        numbers = [self.count, self.lanes, self.direct, *self.batches] if self.has_layout else [self.count]
        return bytes([self._flags()]) + self._encode_shared(GROUP_ID_BYTES) + b"".join(map(varint, numbers))

    @staticmethod
    def decode_lone(reader: ByteReader, limits: Limits = DEFAULT_LIMITS, flags_alone: bool = False) -> GroupHeader:
        """Read what `encode_lone` wrote.

        Raises:
            FormatError: the header breaks a rule of the format.
        """
        first = reader.byte()
        flags = first >> 1
        if flags_alone:
            flags = first
        elif first == _LONE_WITH_METADATA:
            flags = reader.byte()
            if not flags & _METADATA:
                raise FormatError(f"{reader.what} says that it has metadata, but has none")
        elif first & 1:
            raise FormatError(f"{reader.what} is not a lone image")
        header = _decode_shared(reader, flags, LONE_ID_BYTES, limits)
        if header.is_mixed:
            raise FormatError(f"{reader.what} is made of blocks, but says no size")
        _check_learning(reader, header)
        return replace(header, direct=1) if header.has_layout else header

    @staticmethod
    def decode_group(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> GroupHeader:
        """Read what `encode_group` wrote.

        Raises:
            FormatError: the header breaks a rule of the format.
        """
        header = _decode_shared(reader, reader.byte(), GROUP_ID_BYTES, limits)
        count = _positive(reader, MAX_GROUP_IMAGES, "the number of images")
        if header.is_mixed and count < 2:
            raise FormatError(f"{reader.what} is of several sizes, but has one image")
        _check_learning(reader, replace(header, count=count))
        if not header.has_layout:
            return replace(header, count=count)
        lanes = _positive(reader, MAX_LANES, "the number of lanes")
        direct = reader.varint(count, "the number of direct images")
        left = count - direct
        batches = []
        while left:  # each turn takes a byte of the file and an image of the count, so it ends
            batches.append(_positive(reader, left, "a batch"))
            left -= batches[-1]
        return replace(header, count=count, lanes=lanes, direct=direct, batches=tuple(batches))

    def _flags(self) -> int:
        """The byte that the group begins with."""
        flags = self._group_flags() if self.block_side is None else _BLOCK_SIDE
        return flags | _METADATA * self.has_metadata

    def _group_flags(self) -> int:
        if self.parts is not None:
            return _PARTS
        flags = _FALLBACK * self.fallback | _KIND * (self.kind is not None) | _SIZE * (self.size is not None)
        return flags | (self._coding_flags() if self.learning is None else _LEARNING)

    def _coding_flags(self) -> int:
        """Flags of the posterior and of blocks."""
        return (
            _BASELINE * (self.encoder == "baseline")
            | _K * (self.k > 0)
            | _RATE * (self.learning_rate is not None)
            | _BLOCKS * self.blocks
        )

    def _encode_shared(self, id_bytes: int) -> bytes:
        """What lone images and groups have in common: the side of blocks and the flags behind it; model, kind, K,
        learning rate, size; the mode of parts."""
        if self.parts is not None:
            return bytes(code for code, mode in PARTED_MODES.items() if mode == self.parts)
        kind = b"" if self.kind is None else encode_kind(self.kind)
        k = b"".join(varint(number) for number in (self.k, self.learning_rate) if number)
        size = b"" if self.size is None else b"".join(map(varint, self.size))
        side = b"" if self.block_side is None else varint(self.block_side) + bytes([self._group_flags()])
        parts = [side, self.model[:id_bytes], kind, k, size]
        if self.learning is not None:
            parts = [side, self.model[:id_bytes], kind, size, self.learning.encode()]
            parts += [bytes([self._coding_flags()]), k] if self.learning.batches else []
        return b"".join(parts)


def check_size(size: tuple[int, int], limits: Limits = DEFAULT_LIMITS) -> None:
    """Check a width and height; FormatError where they are 0 or above the limits."""
    for side in size:
        _within("a side of an image", side, 1, MAX_SIDE)
    if size[0] * size[1] > limits.pixels:
        raise FormatError(f"an image of {size[0]}x{size[1]} is above the limit of {limits.pixels} pixels")


def _decode_shared(reader: ByteReader, flags: int, id_bytes: int, limits: Limits) -> GroupHeader:
    has_metadata = bool(flags & _METADATA)
    if flags & ~_METADATA == _BLOCK_SIDE:
        side = _positive(reader, BLOCK_SIDE - 1, "the side of blocks")
        if side < LEAST_BLOCK_SIDE:
            raise FormatError(f"{reader.what}: the side of blocks is {side}, less than {LEAST_BLOCK_SIDE}")
        flags = reader.byte()
        if flags & _METADATA or not _allowed(flags):
            raise FormatError(f"{reader.what} has flags that contradict each other")
        header = _decode_shared(reader, flags, id_bytes, limits)
        if not header.is_cut:
            raise FormatError(f"{reader.what} gives a side of blocks, but its images are not cut into any")
        return replace(header, block_side=side, has_metadata=has_metadata)
    learns = flags & _LEARNING == _LEARNING
    if not _allowed(flags):
        raise FormatError(f"{reader.what} has flags that contradict each other")
    if flags & ~_METADATA == _PARTS:
        mode = PARTED_MODES.get(code := reader.byte())
        if mode is None:
            raise FormatError(f"{reader.what}: images of mode code {code} are not coded in parts")
        return GroupHeader(parts=mode, has_metadata=has_metadata)
    if flags & _FALLBACK and not learns:
        return GroupHeader(fallback=True, has_metadata=has_metadata)
    model = reader.take(id_bytes)
    kind = decode_kind(reader) if flags & _KIND else None
    k, rate = _decode_k(reader, flags)
    size, learning = None, None
    if flags & _SIZE:
        size = reader.varint(MAX_SIDE, "the width"), reader.varint(MAX_SIDE, "the height")
        check_size(size, limits)
    if learns:
        learning = Learning.decode(reader)
        if learning.batches:
            flags = reader.byte()
            if flags & ~_BATCH_FLAGS or not _allowed(flags):
                raise FormatError(f"{reader.what} has flags that contradict each other")
            k, rate = _decode_k(reader, flags)
    encoder = "baseline" if flags & _BASELINE else "rha"
    blocks = bool(flags & _BLOCKS)
    return GroupHeader(
        model=model,
        kind=kind,
        encoder=encoder,
        k=k,
        learning_rate=rate,
        size=size,
        blocks=blocks,
        has_metadata=has_metadata,
        learning=learning,
    )


def _decode_k(reader: ByteReader, flags: int) -> tuple[int, int | None]:
    """K and its learning rate, as far as the flags say so."""
    k = _positive(reader, MAX_K, "K") if flags & _K else 0
    rate = _positive(reader, MAX_LEARNING_RATE, "the learning rate") if flags & _RATE else None
    return k, rate


def _check_learning(reader: ByteReader, header: GroupHeader) -> None:
    """FormatError where a single image would be learned from between batches that it cannot have."""
    if header.learning is not None and not header.blocks and header.count < 2:
        raise FormatError(f"{reader.what} has no batches to learn between")


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise FormatError(f"{name} is {value}, not in {low} .. {high}")


def _positive(reader: ByteReader, limit: int, name: str) -> int:
    value = reader.varint(limit, name)
    if value == 0:
        raise FormatError(f"{reader.what}: {name} is 0")
    return value
