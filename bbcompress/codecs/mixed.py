"""A group of small images of several sizes: one ANS message of them all, with their sizes before it. See
docs/format.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.codecs.between import encode_between
from bbcompress.codecs.bitsback import codec_of
from bbcompress.codecs.blocks import (
    MAX_LEARNED_PIXELS,
    MAX_SUBPIXELS,
    NumpyArray,
    context_of,
    encode_layout,
    lanes_for,
    message_of,
    read_layout,
)
from bbcompress.codecs.costs import CanvasCosts, GroupCosts
from bbcompress.codecs.direct import DirectCodec
from bbcompress.codecs.group import Layout, decode_group, encode_strips_together
from bbcompress.codecs.progress import Progress
from bbcompress.codecs.rate import code_bits
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import FormatError
from bbcompress.exact.tables import bin_edges
from bbcompress.limits import BLOCK_SIDE, DEFAULT_LIMITS, MAX_SIDE, Limits
from bbcompress.models.base import Model, ModelWeights, encoder_of
from bbcompress.models.strips import MixedCanvas, Strips
from bbcompress.wire import ByteReader, pack, unpack, varint

MAX_MIXED_IMAGES = 1 << 16
"""Most images of such a group: each costs a reader some time, and may take hardly a byte."""

SAMPLE = 16
"""Tiny images on which it is tried whether they are shorter directly."""

LEAST_GAIN = 0.01
"""The share of their bits that has to be gained by it."""

SUBPIXEL_BITS = 2
"""Bits that a sub-pixel of an image gives the message, about. If it gives fewer, there is a batch more."""

_LISTED, _PACKED = range(2)

Size = tuple[int, int]
"""Width and height in pixels."""


def encode_mixed(
    vae: Model,
    weights: ModelWeights,
    images: Sequence[NumpyArray],
    header: GroupHeader,
    settings: CodingSettings,
    progress: Progress | None = None,
    direct: int = 1,
    plan: Layout | None = None,
) -> Group:
    """Code images of at least two sizes, uint8 (H, W) or (H, W, C), none with a side above `BLOCK_SIDE`, by a model for
    any size.

    Args:
        header: what is known before, which is completed.
        progress: called with the number of pixels newly done.
        direct: how many of the first images are coded directly, at least.
        plan: where the model learns between batches, the layout without that.
    """
    header = replace(header, size=None, blocks=True, direct=0)
    strips = mixed_strips(images, weights.tile)
    sizes = encode_sizes([(image.shape[1], image.shape[0]) for image in images])
    context = context_of(weights, header) + sizes
    if plan is not None:
        layout, message = encode_between(vae, header, settings.compute_batch, strips, plan, context)
    else:
        lanes = lanes_for(weights, sum(image.size for image in images))
        codec = codec_of(vae, header, settings.compute_batch)
        first = strips.canvas.first_strips[max(direct, 1)]
        layout, message = encode_strips_together(codec, strips, first, lanes, context)
    if progress is not None:
        progress(strips.pixel_count)
    return Group(header, sizes + encode_layout(layout) + message.to_bytes())


def decode_mixed(
    vae: Model,
    weights: ModelWeights,
    group: Group,
    compute_batch: int,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
    costs: GroupCosts | None = None,
) -> list[NumpyArray]:
    """The images of such a group, uint8 (H, W, C).

    Raises:
        FormatError: the group is damaged or above the limits.
    """
    header, reader = group.header, ByteReader(group.payload, _WHAT)
    sizes = read_sizes(reader, header, limits)
    context = context_of(weights, header) + group.payload[: reader.position]
    if sum(width * height for width, height in sizes) * weights.channels > MAX_SUBPIXELS:
        raise FormatError(f"the file is damaged: a group is above the limit of {MAX_SUBPIXELS} sub-pixels")
    tile = weights.tile
    layout = _read_layout(reader, sizes, tile)
    data = reader.rest()
    message = message_of(data, layout.lanes)
    canvas = MixedCanvas([(height, width) for width, height in sizes], weights.channels, tile)
    strips = Strips.all_of(canvas)
    its_costs = None if costs is None else CanvasCosts(canvas)
    decode_group(codec_of(vae, header, compute_batch), layout, message, context, strips, its_costs)
    if costs is not None and its_costs is not None:
        costs.take_canvas(its_costs, strips, weights.latents, layout.lanes, len(data))
    if progress is not None:
        progress(strips.pixel_count)
    return [canvas.image(number).astype(np.uint8) for number in range(header.count)]


def mixed_layout(group: Group, tile: int) -> Layout:
    """The layout of such a group."""
    reader = ByteReader(group.payload, _WHAT)
    return _read_layout(reader, read_sizes(reader, group.header, Limits(MAX_SIDE**2)), tile)


def _read_layout(reader: ByteReader, sizes: Sequence[Size], tile: int) -> Layout:
    return replace(read_layout(reader, sum(-(-height // tile) for _, height in sizes)), together=True)


_WHAT = "the file is damaged: a group of several sizes"


def mixed_sizes(group: Group, limits: Limits = DEFAULT_LIMITS) -> list[Size]:
    """The sizes that such a group says its images have.

    Raises:
        FormatError: the sizes are damaged or above a limit.
    """
    return read_sizes(ByteReader(group.payload, _WHAT), group.header, limits)


def model_bits(vae: Model, images: Sequence[NumpyArray], settings: CodingSettings) -> tuple[NumpyArray, NumpyArray]:
    """About the bits that each image, uint8 (H, W) or (H, W, C), takes in such a group, float64 (N,): by bits-back, and
    directly."""
    strips = mixed_strips(images, vae.weights.tile)
    codec = codec_of(vae, GroupHeader(encoder=encoder_of(vae.weights.card, settings.encoder)), settings.compute_batch)
    posterior = codec.posterior(strips)
    means = np.searchsorted(bin_edges(vae.prior.bits), posterior.mu, "right")
    begins = strips.row_ends[strips.canvas.first_strips[:-1]]
    by_tile = code_bits(codec, strips, posterior, means), DirectCodec(vae).middle_lengths(strips)
    back, direct = (np.add.reduceat(bits, begins) for bits in by_tile)
    return back, direct


def arrange(vae: Model, images: Sequence[NumpyArray], settings: CodingSettings) -> tuple[list[int], int]:
    """In which order the images are best coded by `encode_mixed`, and how many of the first directly.

    Directly come the smallest images, as many as give all others their z, so that these are one batch: a reader goes
    along its wavefront once. Tiny ones whose posterior is so poor that it is shorter come directly, too; where a sample
    of them hardly gains by that they are not looked for. With K steps no posterior is so poor, and each takes long.
    """
    poor: list[int] = []
    tiny = [number for number, image in enumerate(images) if image.size <= vae.weights.searched_subpixels]
    if tiny and not settings.k:
        sample = tiny[:: max(1, len(tiny) // SAMPLE)]
        poor, gain = _shorter_directly(vae, images, sample, settings)
        if gain > LEAST_GAIN:
            poor += _shorter_directly(vae, images, sorted(set(tiny) - set(sample)), settings)[0]
    chosen = set(poor)
    weights = vae.weights
    tile = weights.tile
    tiles = [-(-image.shape[0] // tile) * -(-image.shape[1] // tile) for image in images]
    needed = sum(tiles) * weights.latents * weights.prior_bits
    given = sum(images[number].size for number in chosen)
    for number in sorted(range(len(images)), key=lambda number: images[number].size):
        if chosen and given * SUBPIXEL_BITS >= needed:
            break
        if number not in chosen:
            chosen.add(number)
            given += images[number].size
            needed -= tiles[number] * weights.latents * weights.prior_bits
    return sorted(chosen) + [number for number in range(len(images)) if number not in chosen], len(chosen)


def _shorter_directly(
    vae: Model, images: Sequence[NumpyArray], numbers: Sequence[int], settings: CodingSettings
) -> tuple[list[int], float]:
    """Of the images with these numbers those that take fewer bits directly than by bits-back, and the share of all
    their bits that is gained by that."""
    if not numbers:
        return [], 0.0
    back, direct = model_bits(vae, [images[number] for number in numbers], settings)
    shorter = [number for number, less in zip(numbers, (direct < back).tolist(), strict=True) if less]
    return shorter, float(np.maximum(back - direct, 0).sum() / back.sum())


def encode_sizes(sizes: Sequence[Size]) -> bytes:
    """The sizes of a group's images, in the shorter of two forms."""
    listed = b"".join(varint(width) + varint(height) for width, height in sizes)
    packed = pack(listed)
    return min(bytes([_LISTED]) + listed, bytes([_PACKED]) + varint(len(packed)) + packed, key=len)


def read_sizes(reader: ByteReader, header: GroupHeader, limits: Limits) -> list[Size]:
    """The sizes that stand before a group's messages.

    Raises:
        FormatError: the sizes are damaged or above a limit.
    """
    count, max_side, most, unit = header.count, BLOCK_SIDE, MAX_SUBPIXELS, "sub-pixels"
    if header.learning is not None and not header.learning.batches:
        max_side, most, unit = MAX_SIDE, MAX_LEARNED_PIXELS, "pixels"
    if not 2 <= count <= MAX_MIXED_IMAGES:
        raise FormatError(f"{reader.what} are those of {count} images, not of 2 to {MAX_MIXED_IMAGES}")
    form = reader.byte()
    if form == _PACKED:
        packed = reader.take(reader.varint(reader.remaining, "the length of the sizes"))
        inner = ByteReader(unpack(packed, 2 * len(varint(max_side)) * count), reader.what)
        sizes = _list_sizes(inner, count, max_side)
        inner.finish()
    elif form == _LISTED:
        sizes = _list_sizes(reader, count, max_side)
    else:
        raise FormatError(f"{reader.what} are listed in a form that this version does not know")
    if len(set(sizes)) < 2:
        raise FormatError(f"{reader.what} are all the same")
    for width, height in sizes:
        if not width or not height:
            raise FormatError(f"{reader.what} hold a side of 0")
        if width * height > limits.pixels:
            raise FormatError(f"an image of {width}x{height} is above the limit of {limits.pixels} pixels")
    if sum(width * height for width, height in sizes) > most:
        raise FormatError(f"the file is damaged: a group is above the limit of {most} {unit}")
    return sizes


def _list_sizes(reader: ByteReader, count: int, max_side: int) -> list[Size]:
    return [(reader.varint(max_side, "a width"), reader.varint(max_side, "a height")) for _ in range(count)]


def mixed_strips(images: Sequence[NumpyArray], tile: int) -> Strips:
    """All strips of images, (H, W) or (H, W, C), of several sizes."""
    return Strips.all_of(MixedCanvas.holding([image.reshape(*image.shape[:2], -1) for image in images], tile))
