"""Images of any size as blocks, each an ANS message of its own, which bounds memory. See docs/format.md."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.archive.header import MAX_LANES, GroupHeader
from bbcompress.codecs.between import encode_between
from bbcompress.codecs.bitsback import codec_of
from bbcompress.codecs.costs import CanvasCosts, GroupCosts
from bbcompress.codecs.group import Layout, decode_group, encode_group
from bbcompress.codecs.progress import Progress
from bbcompress.codecs.settings import CodingSettings
from bbcompress.coder.ans import Message
from bbcompress.errors import FormatError
from bbcompress.exact.registry import DISTRIBUTIONS
from bbcompress.images.region import Region, Wanted
from bbcompress.limits import BLOCK_SIDE, MAX_SIDE, Limits
from bbcompress.models.base import Model, ModelWeights
from bbcompress.models.strips import Canvas, Strips
from bbcompress.system.threads import share_threads, threads
from bbcompress.wire import ByteReader, varint

NumpyArray = np.ndarray[Any, Any]

P = TypeVar("P")
R = TypeVar("R")

MOST_THREADS = 8
"""Most blocks in work at once."""

AHEAD = 4
"""So many times as many wait or are done: of an image of many small blocks all of them would take more than it does."""

PIXEL_MEMORY = 96
"""Bytes that a writer needs for each pixel of a block in work, and a reader half as many, without K steps; measured by
benchmarks/speed.py."""

BLOCKS_MEMORY = 1 << 29
"""Bytes for all blocks in work at once, however many threads there are. There is always one."""

MOST_LANES = 64
"""Most lanes that the writer gives a message."""

LEAST_BLOCK_BYTES = 6
"""Bytes of the shortest block: lanes, direct strips, and a head."""

MAX_SUBPIXELS = 1 << 24
"""Most sub-pixels of a model-coded group of several images, or of a block: what bounds a reader's memory."""

MAX_LEARNED_PIXELS = 1 << 24
"""Most pixels of a group of several images that learns: what stands between a reader and the last of them."""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of an image, in pixels."""

    number: int
    top: int
    left: int
    height: int
    width: int

    def of(self, image: NumpyArray) -> NumpyArray:
        """The block of an array whose first axes are rows and columns."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def is_touched_by(self, region: Region) -> bool:
        """Whether a region of the image has a pixel of it."""
        return region.touches(self.top, self.left, self.height, self.width)


def blocks_of(height: int, width: int, tile: int, side: int | None = None) -> Iterator[Block]:
    """The blocks of an image, row by row: as few a side as the longest side allows, of equal numbers of whole tiles but
    for the last ones, which may be smaller.

    side: the longest, in pixels, which a block of whole tiles may exceed by less than a tile; None for `BLOCK_SIDE`.
    """
    down, across = _side(height, tile, side), _side(width, tile, side)
    number = 0
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield Block(number, top, left, min(down, height - top), min(across, width - left))
            number += 1


def _side(length: int, tile: int, side: int | None) -> int:
    pieces = -(-length // (BLOCK_SIDE if side is None else side))
    return -(-length // (pieces * tile)) * tile


def block_side_for(sizes: Iterable[tuple[int, int]], tile: int, side: int | None) -> int | None:
    """The longest side that a header says for blocks of images of these sizes (height, width), of which this one is
    asked for: None where the blocks are those of the usual side."""
    if side is None or all(_side(length, tile, side) == _side(length, tile, None) for size in sizes for length in size):
        return None
    return side


def check_block_count(
    sizes: Iterable[tuple[int, int]], tile: int, header: GroupHeader, reader: ByteReader, least: int
) -> None:
    """Check that there may be so many blocks as images of these sizes (height, width) have, before any is listed.

    least: bytes that one takes at least. Raises FormatError.
    """
    count = 0
    for height, width in sizes:
        down, across = _side(height, tile, header.block_side), _side(width, tile, header.block_side)
        count += -(-height // down) * -(-width // across)
    if count * least > reader.remaining:
        raise FormatError(f"{reader.what} has {count} blocks, and ends before them")


def encode_blocks(
    vae: Model,
    weights: ModelWeights,
    images: Sequence[NumpyArray],
    header: GroupHeader,
    settings: CodingSettings,
    progress: Progress | None = None,
    plans: Sequence[Layout] = (),
) -> Group:
    """Code images of one size, uint8 (H, W) or (H, W, C), by a model for any size.

    header: what is known before, which is completed; the settings say the side of blocks. progress: called with the
    number of pixels newly done. plans: where the model learns between batches, the layout of each block without that.
    """
    height, width = images[0].shape[:2]
    tile = weights.tile
    side = block_side_for([(height, width)], tile, settings.block_side)
    header = replace(header, size=(width, height), blocks=True, block_side=side, direct=0)
    blocks = list(blocks_of(height, width, tile, side))
    if len(images) == 1 and height <= tile:  # every block is one strip: coded directly, without an encoder
        header = replace(header, encoder="rha", k=0, learning_rate=None)

    def encode(block: Block) -> bytes:
        strips = strips_of([block.of(image) for image in images], tile)
        context = context_of(weights, header) + varint(block.number)
        if plans:
            plan = plans[block.number]
            layout, message = encode_between(vae, header, settings.compute_batch, strips, plan, context)
        else:
            codec = codec_of(vae, header, settings.compute_batch)
            layout, message = encode_group(
                codec, strips, lanes_for(weights, strips.pixel_count * weights.channels), context
            )
        data = message.to_bytes()
        length = b"" if block is blocks[-1] else varint(len(data))
        return encode_layout(layout) + length + data

    parts = []
    largest = len(images) * max(block.height * block.width for block in blocks)
    for block, part in zip(blocks, at_once(encode, blocks, largest), strict=True):
        parts.append(part)
        if progress is not None:
            progress(len(images) * block.height * block.width)
    return Group(header, b"".join(parts))


def decode_blocks(
    vae: Model,
    weights: ModelWeights,
    group: Group,
    compute_batch: int,
    progress: Progress | None = None,
    costs: GroupCosts | None = None,
    wanted: Wanted | None = None,
) -> NumpyArray:
    """The images of a group of blocks, uint8 (N, H, W, C).

    wanted: of all images the region alone, for which the blocks that it touches are decoded.

    Raises:
        FormatError: it is damaged. RegionError: the region is not within the images.
    """
    header = group.header
    if header.size is None:
        raise FormatError("the file is damaged: it does not say the size of its images")
    width, height = header.size
    if header.count > 1 and header.count * height * width * weights.channels > MAX_SUBPIXELS:
        raise FormatError(f"the file is damaged: a group is above the limit of {MAX_SUBPIXELS} sub-pixels")
    tile = weights.tile
    region = Region.whole(height, width) if wanted is None else wanted.region
    region.check(height, width)
    every = _read_blocks(group, (width, height), tile)
    stored = [part for part in every if part[0].is_touched_by(region)]
    if wanted is not None:
        wanted.decoded.touched += len(stored)
        wanted.decoded.parts += len(every)
        wanted.decoded.pixels += header.count * height * width
        wanted.decoded.decoded_pixels += header.count * sum(block.height * block.width for block, _, _ in stored)
    images = np.empty((header.count, region.height, region.width, weights.channels), np.uint8)
    if costs is not None:
        rows = header.count * sum(-(-block.height // tile) * -(-block.width // tile) for block, _, _ in stored)
        messages = [(layout.lanes, len(data)) for _, layout, data in stored]
        costs.begin([(height, width)] * header.count, messages, images.size + 2 * rows * weights.latents)

    def decode(part: tuple[Block, Layout, bytes]) -> Block:
        block, layout, data = part
        canvas = Canvas(header.count, block.height, block.width, weights.channels, tile)
        context = context_of(weights, header) + varint(block.number)
        codec = codec_of(vae, header, compute_batch)
        its_costs = None if costs is None else CanvasCosts(canvas)
        decode_group(codec, layout, message_of(data, layout.lanes), context, Strips.all_of(canvas), its_costs)
        for image, pixels in zip(images, canvas.inner, strict=True):
            region.paste(image, block.top, block.left, pixels)
        if costs is not None and its_costs is not None:
            for number, found in enumerate(costs.images):
                block.of(found.pixels)[:], block.of(found.latents)[:] = its_costs.of_image(number)
        return block

    largest = header.count * max(block.height * block.width for block, _, _ in stored)
    for block in at_once(decode, stored, largest):
        if progress is not None:
            progress(header.count * block.height * block.width)
    return images


def _read_blocks(group: Group, size: tuple[int, int], tile: int) -> list[tuple[Block, Layout, bytes]]:
    """The blocks of a group of images of this width and height, with layout and message. Raises FormatError."""
    reader = ByteReader(group.payload, "the file is damaged: a group of blocks")
    check_block_count([size[::-1]], tile, group.header, reader, LEAST_BLOCK_BYTES)
    blocks = list(blocks_of(size[1], size[0], tile, group.header.block_side))
    stored = []
    for block in blocks:
        layout = read_layout(reader, group.header.count * -(-block.height // tile))
        last = block is blocks[-1]
        data = reader.rest() if last else reader.take(reader.varint(reader.remaining, "the length of a block"))
        stored.append((block, layout, data))
    return stored


def strips_of(images: Sequence[NumpyArray], tile: int) -> Strips:
    """All strips of images, (H, W) or (H, W, C), of one size."""
    pixels = np.stack(images)
    return Strips.all_of(Canvas.of(pixels.reshape(*pixels.shape[:3], -1), tile))


def layouts_of(group: Group, tile: int) -> list[Layout]:
    """The layout of each block of images of one size."""
    assert group.header.size is not None
    return [layout for _, layout, _ in _read_blocks(group, group.header.size, tile)]


def at_once(function: Callable[[P], R], parts: Sequence[P], pixels: int) -> Iterator[R]:
    """The function's results for all parts, in order, computed by as many threads as there may be for their memory.

    pixels: of the largest part.
    """
    fit = max(1, BLOCKS_MEMORY // (PIXEL_MEMORY * max(pixels, 1)))
    workers = min(len(parts), MOST_THREADS, threads(), fit)
    if workers == 1:
        yield from map(function, parts)
        return
    executor = ThreadPoolExecutor(workers, initializer=share_threads, initargs=(workers,))
    waiting: deque[Future[R]] = deque()
    try:
        for part in parts:
            if len(waiting) == AHEAD * workers:
                yield waiting.popleft().result()
            waiting.append(executor.submit(function, part))
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def encode_layout(layout: Layout) -> bytes:
    """The layout of a message, as it stands before it."""
    return b"".join(map(varint, [layout.lanes, layout.direct, *layout.batches]))


def read_layout(reader: ByteReader, strips: int) -> Layout:
    """The layout of a message of so many strips. Raises FormatError."""
    lanes = reader.varint(MAX_LANES, "the number of lanes")
    direct = reader.varint(strips, "the number of direct strips")
    left, batches = strips - direct, []
    if not lanes:
        raise FormatError(f"{reader.what}: the number of lanes is 0")
    while left:
        batch = reader.varint(left, "a batch")
        if not batch:
            raise FormatError(f"{reader.what}: a batch is 0")
        batches.append(batch)
        left -= batch
    return Layout(lanes, direct, tuple(batches))


def lanes_for(weights: ModelWeights, subpixels: int) -> int:
    """Lanes of a message of so many sub-pixels: about one for each 4 to 20 KiB."""
    return min(MOST_LANES, max(1, subpixels // DISTRIBUTIONS[weights.likelihood].lane_subpixels))


def message_of(data: bytes, lanes: int) -> Message:
    """The message of these bytes. Raises FormatError."""
    try:
        return Message.from_bytes(data, lanes)
    except ValueError as error:
        raise FormatError(f"the file is damaged: {error}") from None


def context_of(weights: ModelWeights, header: GroupHeader) -> bytes:
    """What a message's check covers beside the pixels: the whole model id, the header without layout and metadata."""
    direct = 0 if header.blocks else header.count
    bare = replace(header, model=weights.id, lanes=1, direct=direct, batches=(), has_metadata=False)
    return weights.id + bare.encode_group(Limits(pixels=MAX_SIDE**2))  # whoever calls has set the limit
