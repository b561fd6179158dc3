"""Images coded by a model that learns from them as it goes. See docs/format.md, "Learning".

The images of a group, and the blocks of each, are messages of their own. The first block of an image goes on from the
weights at which the image before ended, or begins anew (`Start`); the other blocks of an image go on from the end of
its first one, at once.

Each z is coded directly, on the model's coarse grid: the decoder's features are then a function of the pixels, and so
are the weights, as they have to be: a writer pushes what a reader pops last, and could not learn from z that it draws
meanwhile. A tile of 64 x 64 pixels has so many sub-pixels that its z hardly counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from math import inf, isqrt
from typing import Any, TypeGuard, TypeVar

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.archive.header import MAX_LANES, GroupHeader, Learning
from bbcompress.codecs.bitsback import codec_of
from bbcompress.codecs.blocks import (
    MAX_LEARNED_PIXELS,
    Block,
    at_once,
    block_side_for,
    blocks_of,
    check_block_count,
    context_of,
    lanes_for,
    message_of,
    strips_of,
)
from bbcompress.codecs.colours import Colours, colours_of, encode_colours, read_colours
from bbcompress.codecs.costs import CanvasCosts, GroupCosts
from bbcompress.codecs.group import check_end, check_of
from bbcompress.codecs.mixed import encode_sizes, read_sizes
from bbcompress.codecs.progress import Progress
from bbcompress.codecs.settings import CodingSettings
from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.errors import FormatError
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.distributions import CoarseBins
from bbcompress.exact.lattices import Restriction
from bbcompress.exact.learning import Parameters
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.images.region import Region, Wanted
from bbcompress.limits import DEFAULT_LIMITS, USUAL_ENCODER, Limits
from bbcompress.models.base import Model, encoder_of
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.strips import Canvas, Strips
from bbcompress.wire import ByteReader, varint

NumpyArray = np.ndarray[Any, Any]
R = TypeVar("R")

_WHAT = "the file is damaged: a group that learns"

RATE, UNIT = 300, 128
"""How the writer has models learn: chosen on crops of training photographs and others (benchmarks/learning_rate.py)."""
BUDGET_PIXELS = 1 << 22
"""Of images with more pixels, `LARGE_STRIDE` is the stride of all blocks but the first."""
LARGE_STRIDE = 4
LEAST_PART_BYTES = 5
"""Bytes of the shortest block: lanes, and a head."""
LEAST_PIXELS = 48 * 48
"""Images that have fewer pixels in the mean are only learned from when that is asked for: each is a message."""
TRIAL_SHARE = 40
"""One pixel in so many is coded to see with which weights an image had best begin, by each of them."""
TRIAL_SIDE = 64, 192
"""Least and most side of the square that is coded for that; it is no more than a quarter of the image."""
LEAST_START_PIXELS = 1 << 11
"""Images that have fewer pixels in the mean do not begin anew: that takes a byte and a trial."""
SAMPLE_SIDE = 192
"""Side of the square on which it is tried whether learning makes an image smaller, and how its lattice does it best."""
SAMPLED_IMAGES = 4
"""Most images that share such a square."""


class Start(IntEnum):
    """The weights with which an image begins that is not the first of its group, as files say it.

    LAST: those at which the image before ended. CHECKPOINT: the model's own, nothing learned. HALFWAY: their mean, and
    Adam's moments as the image before left them.
    """

    LAST = 0
    CHECKPOINT = 1
    HALFWAY = 2

    def of(self, last: Parameters, checkpoint: Parameters) -> Parameters:
        """The weights, which may be moved on; so may `last`."""
        if self is Start.LAST:
            return last
        return checkpoint.copy() if self is Start.CHECKPOINT else last.halfway_to(checkpoint)


@dataclass(frozen=True, slots=True)
class _Part:
    """A block of an image: the numbers of both, and the block's number in the group."""

    image: int
    number: int
    block: Block

    def stride(self, header: GroupHeader) -> int:
        """Of the units that are learned from."""
        assert header.learning is not None
        return header.learning.stride if self.block.number else 1


def _parts_of(sizes: Sequence[tuple[int, int]], tile: int, side: int | None) -> list[list[_Part]]:
    """The blocks of each image of these sizes (height, width). side: as of `blocks_of`."""
    number, parts = 0, []
    for image, (height, width) in enumerate(sizes):
        blocks = list(blocks_of(height, width, tile, side))
        parts.append([_Part(image, number + block.number, block) for block in blocks])
        number += len(blocks)
    return parts


def can_learn(model: Model) -> TypeGuard[ExactLocalVAE]:
    """Whether a model can learn from the images that it codes."""
    return isinstance(model, ExactLocalVAE) and model.learns


def learning_for(images: Sequence[NumpyArray], settings: CodingSettings) -> Learning:
    """How a model is to learn from images, uint8 (H, W) or (H, W, C), by settings that say that it learns."""
    stride = LARGE_STRIDE if max(image.shape[0] * image.shape[1] for image in images) > BUDGET_PIXELS else 1
    rate, unit = settings.learn_rate, settings.learn_unit
    return Learning(RATE if rate is None else rate, UNIT if unit is None else unit, stride)


def expected_gain(vae: ExactLocalVAE, images: Sequence[NumpyArray], lattices: bool = True) -> float:
    """About the share of their bits by which images, uint8 (H, W) or (H, W, C), become smaller by learning as usual,
    below 0 where they become larger; -inf of images so small that it is not tried, inf where coding them takes hardly
    longer than a trial.

    lattices: whether learning then tells of colours that an image cannot have.

    The middle of one of them, or smaller pieces of several one after the other, is coded both ways; each piece learns
    from where the one before ended or anew, whichever is better for its second half. What is not coded is taken to gain
    as much as the second half of all that is.
    """
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    if pixels < LEAST_PIXELS * len(images):
        return -inf
    count = min(len(images), SAMPLED_IMAGES)
    side = SAMPLE_SIDE if count == 1 else SAMPLE_SIDE // isqrt(SAMPLED_IMAGES)
    if pixels <= 2 * count * side**2:
        return inf
    checkpoint = vae.parameters(RATE)
    last, lengths, gains, sampled = checkpoint.copy(), 0, [], 0
    with exact_arithmetic():
        for number in range(count):
            piece = _middle(images[len(images) * (2 * number + 1) // (2 * count)], side)
            sampled += piece.shape[0] * piece.shape[1]
            x, features = strips_and_features(vae, piece)
            frozen = vae.learning_coder(checkpoint.copy(), UNIT, 0).lengths(features, x)
            lengths += int(frozen.sum())
            (colours,), (planes,) = _colours_and_planes([piece], lattices)
            if planes is not piece:
                x, features = strips_and_features(vae, planes)
            restriction = _restriction(colours, _block_of(piece), x, vae.weights.cell)
            tried = []
            for start in (Start.LAST, Start.CHECKPOINT) if number else (Start.CHECKPOINT,):
                parameters = start.of(last.copy(), checkpoint)
                saved = frozen - vae.learning_coder(parameters, UNIT, 1, restriction).lengths(features, x)
                tried.append((saved, parameters))
            saved, last = max(tried, key=lambda found: int(found[0][len(found[0]) // 2 :].sum()))
            gains.append(saved)
    gain = np.concatenate(gains)
    later = float(gain[len(gain) // 2 :].sum()) / (0.5 * sampled)
    share = (float(gain.sum()) + later * (pixels - sampled)) * sampled / (max(lengths, 1) * pixels)
    return float(share)


def strips_and_features(vae: ExactLocalVAE, pixels: NumpyArray) -> tuple[Strips, NumpyArray]:
    """Strips of pixels, and the features of the z nearest to the encoder's mean of each tile."""
    x, grid = strips_of([pixels], vae.weights.tile), CoarseBins(vae.weights.direct_bits)
    mean = vae.backend.numpy(vae.encode(x, encoder_of(vae.weights.card, USUAL_ENCODER))[0])
    return x, vae.features(grid.values(grid.nearest(mean * float(1 << VALUE_BITS))))


def _middle(image: NumpyArray, side: int) -> NumpyArray:
    """A square, or less, from the middle of an image."""
    return _middle_block(image, side).of(image)


def encode_learned(
    vae: ExactLocalVAE,
    images: Sequence[NumpyArray],
    header: GroupHeader,
    settings: CodingSettings,
    progress: Progress | None = None,
) -> Group:
    """Code images, uint8 (H, W) or (H, W, C), of any sizes by a model that learns as the header says.

    header: what is known before, which is completed; the settings say the side of blocks. progress: called with the
    number of pixels newly done.

    Raises:
        ModelError: the model cannot learn.
    """
    weights, learning = vae.weights, header.learning
    if learning is None:
        raise ValueError("the header does not say how the model learns")
    tile = weights.tile
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    same = len(set(sizes)) == 1
    header = replace(
        header,
        size=sizes[0][::-1] if same else None,
        blocks=True,
        block_side=block_side_for(sizes, tile, settings.block_side),
        encoder="rha",
        k=0,
        learning_rate=None,
        direct=0,
    )
    listed = b"" if same else encode_sizes([(width, height) for height, width in sizes])
    by_planes = partial(_takes_less_by_planes, vae, learning)
    colours, images = _colours_and_planes(images, settings.lattices, by_planes)
    starts = settings.starts and len(images) > 1 and sum(map(_pixels, images)) >= LEAST_START_PIXELS * len(images)
    header = replace(header, learning=replace(learning, lattices=any(colours), starts=starts))
    if any(colours):
        listed += encode_colours(colours)
    codec = codec_of(
        vae, replace(header, encoder=encoder_of(weights.card, settings.encoder), k=settings.k), settings.compute_batch
    )
    grid, context = CoarseBins(weights.direct_bits), context_of(weights, header) + listed

    def encode(part: _Part, parameters: Parameters, told: Progress | None) -> tuple[int, bytes]:
        with exact_arithmetic():
            pixels = part.block.of(images[part.image])
            strips = strips_of([pixels], tile)
            lanes = lanes_for(weights, pixels.size)
            message = Message.empty(lanes, check_of(strips, lanes, context + varint(part.number)))
            z = grid.nearest(codec.posterior(strips).mu)
            restriction = _restriction(colours[part.image], part.block, strips, weights.cell)
            coder = vae.learning_coder(parameters, learning.unit, part.stride(header), restriction)
            coder.push(message, vae.features(grid.values(z)), strips, told)
            grid.push(message, z)
            return lanes, message.to_bytes()

    parts, checkpoint = _parts_of(sizes, tile, header.block_side), vae.parameters(learning.rate)
    chosen: dict[int, bytes] = {}

    def start(image: int, last: Parameters) -> Parameters:
        best = _best_start(vae, images[image], colours[image], learning, last, checkpoint)
        chosen[parts[image][0].number] = bytes([best])
        return best.of(last, checkpoint)

    found = _along(encode, parts, checkpoint.copy(), progress, start if starts else None)
    payload = [listed]
    for number, (lanes, data) in enumerate(found):
        length = varint(len(data)) if number < len(found) - 1 else b""
        payload += [chosen.get(number, b""), varint(lanes), length, data]
    return Group(header, b"".join(payload))


def _colours_and_planes(
    images: Sequence[NumpyArray],
    lattices: bool,
    by_planes: Callable[[NumpyArray, Colours, NumpyArray], bool] = lambda *_: True,
) -> tuple[list[Colours | None], list[NumpyArray]]:
    """What is said of the colours of images, uint8 (H, W) or (H, W, C), and what is then coded in their place.

    lattices: whether to look for any. by_planes: says of an image, its colours and its planes whether to code these.
    """
    colours: list[Colours | None] = []
    coded = []
    for image in images:
        its, pixels = colours_of(image) if lattices else None, image
        if its is not None:
            moved, planes = its.moved(image)
            if not moved.restricts and by_planes(image, its, planes):
                its, pixels = moved, planes
        colours.append(its)
        coded.append(pixels)
    return colours, coded


def _takes_less_by_planes(
    vae: ExactLocalVAE, learning: Learning, image: NumpyArray, colours: Colours, planes: NumpyArray
) -> bool:
    """Whether an image takes less by the planes of its lattice than with blue restricted: its middle is coded by both.

    What counts is the second half, since the model has to learn what planes are. An image with many levels of 0 or 255
    may take more by planes: such a colour is made in many ways.
    """
    block = _middle_block(image, min(SAMPLE_SIDE, isqrt(_pixels(image) // 4)))
    lengths = []
    with exact_arithmetic():
        for pixels, restricting in ((planes, None), (image, colours)):
            x, features = strips_and_features(vae, block.of(pixels))
            restriction = _restriction(restricting, block, x, vae.weights.cell)
            coder = vae.learning_coder(vae.parameters(learning.rate), learning.unit, 1, restriction)
            of_pixels = coder.lengths(features, x)
            lengths.append(int(of_pixels[len(of_pixels) // 2 :].sum()))
    return lengths[0] < lengths[1]


def _middle_block(image: NumpyArray, side: int) -> Block:
    """A square, or less, in the middle of an image."""
    height, width = min(image.shape[0], side), min(image.shape[1], side)
    return Block(0, (image.shape[0] - height) // 2, (image.shape[1] - width) // 2, height, width)


def _pixels(image: NumpyArray) -> int:
    return int(image.shape[0] * image.shape[1])


def _best_start(
    vae: ExactLocalVAE,
    image: NumpyArray,
    colours: Colours | None,
    learning: Learning,
    last: Parameters,
    checkpoint: Parameters,
) -> Start:
    """With which weights an image had best begin: the middle of it is coded by each, learning.

    What counts is the second half, which shows better how the rest of the image goes on: weights that fit badly at
    first may be those that soon fit best.
    """
    pixels, (least, most) = _pixels(image), TRIAL_SIDE
    block = _middle_block(image, min(max(isqrt(pixels // TRIAL_SHARE), least), most, max(isqrt(pixels // 4), 1)))
    x, features = strips_and_features(vae, block.of(image))
    lengths = {}
    with exact_arithmetic():
        restriction = _restriction(colours, block, x, vae.weights.cell)
        for start in Start:
            parameters = start.of(last.copy(), checkpoint)
            of_pixels = vae.learning_coder(parameters, learning.unit, 1, restriction).lengths(features, x)
            lengths[start] = int(of_pixels[len(of_pixels) // 2 :].sum())
    return min(lengths, key=lambda start: lengths[start])


def _block_of(image: NumpyArray) -> Block:
    """All of an image as one block."""
    return Block(0, 0, 0, *image.shape[:2])


def _go_on(
    function: Callable[[_Part, Parameters, Progress | None], R],
    start: Parameters,
    end: Parameters,
    last: _Part,
    part: _Part,
) -> R:
    """The result for a part that goes on from `start`, of which `end` is a copy: the last part moves that on.

    Weights and moments take megabytes, so that only those of the parts in work are there.
    """
    return function(part, end if part is last else start.copy(), None)


def _restriction(colours: Colours | None, block: Block, strips: Strips, cell: int) -> Restriction | None:
    """What the colours of a block's image say of its pixels, in the order of their wavefront."""
    if colours is None or not colours.restricts:
        return None
    exceptional = np.zeros(strips.canvas.flat.size // strips.canvas.channels, np.bool_)
    y, x = colours.exceptions_in(block.top, block.left, block.height, block.width)
    exceptional[strips.canvas.indices(0, y, x) // strips.canvas.channels] = True
    places = strips.wavefront(cell).indices // strips.canvas.channels
    return Restriction(colours.lattice.allowed, exceptional[places])


def _along(
    function: Callable[[_Part, Parameters, Progress | None], R],
    parts: Sequence[Sequence[_Part]],
    parameters: Parameters,
    progress: Progress | None,
    start_of: Callable[[int, Parameters], Parameters] | None = None,
) -> list[R]:
    """The function's results for the parts of each image, in order. It moves the parameters on that it gets.

    progress: called from this thread; the function gets it for parts that it works on in this thread. start_of: gives
    the parameters with which an image begins that is not the first, of its number and those where the image before
    ended; else these.
    """
    results: list[R] = []
    for first, *others in parts:
        if start_of is not None and first.image:
            with exact_arithmetic():
                parameters = start_of(first.image, parameters)
        results.append(function(first, parameters, progress))
        if others:
            start, parameters = parameters, parameters.copy()
            work = partial(_go_on, function, start, parameters, others[-1])
            largest = max(part.block.height * part.block.width for part in others)
            for part, result in zip(others, at_once(work, others, largest), strict=True):
                results.append(result)
                if progress is not None:
                    progress(part.block.height * part.block.width)
    return results


def decode_learned(
    vae: ExactLocalVAE,
    group: Group,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
    costs: GroupCosts | None = None,
    wanted: Wanted | None = None,
) -> list[NumpyArray]:
    """The images of such a group, uint8 (H, W, C).

    wanted: of one image a region, which is all that comes. For it those blocks are decoded that it touches, and those
    from which their weights come.

    Raises:
        FormatError: it is damaged or above the limits. RegionError: the region is not within the image.
    """
    weights, header, learning = vae.weights, group.header, group.header.learning
    assert learning is not None
    tile = weights.tile
    reader = ByteReader(group.payload, _WHAT)
    sizes = _read_sizes(reader, header, limits)
    if learning.starts and header.count == 1:
        raise FormatError(f"{_WHAT} says how images begin, but it has one")
    colours: Sequence[Colours | None] = [None] * len(sizes)
    if learning.lattices:
        if weights.channels != 3:
            raise FormatError(f"{_WHAT} has colours, but its model has none")
        colours = read_colours(reader, sizes)
    context = context_of(weights, header) + group.payload[: reader.position]
    check_block_count(sizes, tile, header, reader, LEAST_PART_BYTES)
    parts = _parts_of(sizes, tile, header.block_side)
    stored, starts = _read_parts(reader, parts, learning.starts)
    grid = CoarseBins(weights.direct_bits)
    regions = {image: Region.whole(*size) for image, size in enumerate(sizes)}
    needed: Sequence[Sequence[_Part]] = parts
    if wanted is not None:
        wanted.region.check(*sizes[wanted.index])
        regions, needed = {wanted.index: wanted.region}, _needed_parts(parts, starts, wanted)
    images = {
        image: np.empty((region.height, region.width, weights.channels), np.uint8) for image, region in regions.items()
    }
    if costs is not None:
        rows = sum(-(-part.block.height // tile) * -(-part.block.width // tile) for its in parts for part in its)
        messages = [(lanes, len(data)) for lanes, data in stored]
        costs.begin(sizes, messages, sum(image.size for image in images.values()) + rows * weights.latents)

    def decode(part: _Part, parameters: Parameters, told: Progress | None) -> None:
        lanes, data = stored[part.number]
        block = part.block
        strips = Strips.all_of(Canvas(1, block.height, block.width, weights.channels, tile))
        message = message_of(data, lanes)
        with exact_arithmetic():
            try:
                z = grid.pop(message, strips.row_count)
                restriction = _restriction(colours[part.image], part.block, strips, weights.cell)
                before = None if costs is None else parameters.copy()
                coder = vae.learning_coder(parameters, learning.unit, part.stride(header), restriction)
                coder.pop(message, vae.features(grid.values(z)), strips, told)
            except EmptyMessage:
                raise FormatError("damaged: the coded images end too early") from None
        check_end(message, strips, context + varint(part.number))
        if part.image in images:
            regions[part.image].paste(images[part.image], block.top, block.left, strips.canvas.inner[0])
        if costs is not None and before is not None:
            again = vae.learning_coder(before, learning.unit, part.stride(header), restriction)
            its_costs, found = CanvasCosts(strips.canvas), costs.images[part.image]
            with exact_arithmetic():
                lengths = vae.pixel_lengths(grid.values(z), strips, again)
            its_costs.add(lengths, np.full(len(z), float(sum(weights.direct_bits))))
            block.of(found.pixels)[:], block.of(found.latents)[:] = its_costs.of_image(0)

    checkpoint = vae.parameters(learning.rate)

    def start(image: int, last: Parameters) -> Parameters:
        return starts[image].of(last, checkpoint)

    _along(decode, needed, checkpoint.copy(), progress, start if learning.starts else None)
    for image, region in regions.items():
        its = colours[image]
        if its is not None:
            images[image] = its.image_of(images[image], region.top, region.left)
            if wanted is None and not its.fit(images[image]):
                raise FormatError(f"{_WHAT} has exceptions from a lattice of colours that are none")
    return list(images.values())


def lattices_of(group: Group, limits: Limits = DEFAULT_LIMITS) -> list[str | None]:
    """The name of the lattice of colours of each image of such a group; None for an image that has none. Neither the
    model is needed nor anything decoded.

    Raises:
        FormatError: it is damaged or above the limits.
    """
    header, learning = group.header, group.header.learning
    if learning is None or not learning.lattices:
        return [None] * header.count
    reader = ByteReader(group.payload, _WHAT)
    colours = read_colours(reader, _read_sizes(reader, header, limits))
    return [None if its is None else its.lattice.name for its in colours]


def _read_sizes(reader: ByteReader, header: GroupHeader, limits: Limits) -> list[tuple[int, int]]:
    """Height and width of each image. Raises FormatError."""
    if header.size is None:
        sizes = [(height, width) for width, height in read_sizes(reader, header, limits)]
    else:
        sizes = [header.size[::-1]] * header.count
    if header.count > 1 and sum(height * width for height, width in sizes) > MAX_LEARNED_PIXELS:
        raise FormatError(f"{_WHAT} is above the limit of {MAX_LEARNED_PIXELS} pixels")
    return sizes


def _needed_parts(
    parts: Sequence[Sequence[_Part]], starts: Sequence[Start], wanted: Wanted
) -> Sequence[Sequence[_Part]]:
    """Those parts that have to be decoded for a region, of the images that have any, and their numbers taken down.

    The first part of the image gives the others their weights. Its own are those at which the image before ended, which
    is with its last part, and so on back to an image that begins with the checkpoint's.
    """
    needed: list[Sequence[_Part]] = []
    first = wanted.index
    while first and starts[first] is not Start.CHECKPOINT:
        first -= 1
    for image in range(first, wanted.index):
        needed.append(parts[image][:1] if len(parts[image]) == 1 else [parts[image][0], parts[image][-1]])
    beginning, *others = parts[wanted.index]
    touched = [part for part in others if part.block.is_touched_by(wanted.region)]
    needed.append([beginning, *touched])
    decoded = wanted.decoded
    its_touched = len(touched) + beginning.block.is_touched_by(wanted.region)
    decoded.touched += its_touched
    decoded.learned_from += sum(map(len, needed)) - its_touched
    decoded.parts += sum(map(len, parts))
    decoded.pixels += sum(_pixels_of(part) for its in parts for part in its)
    decoded.decoded_pixels += sum(_pixels_of(part) for its in needed for part in its)
    return needed


def _pixels_of(part: _Part) -> int:
    return part.block.height * part.block.width


def _read_parts(
    reader: ByteReader, parts: Sequence[Sequence[_Part]], with_starts: bool
) -> tuple[list[tuple[int, bytes]], list[Start]]:
    """Lanes and message of each block, and how each image begins."""
    stored, starts = [], [Start.LAST] * len(parts)
    last = parts[-1][-1].number
    for part in (part for its in parts for part in its):
        if with_starts and part.image and not part.block.number:
            code = reader.byte()
            if code not in list(Start):
                raise FormatError(f"{_WHAT} has an image that begins in a way that this version does not know")
            starts[part.image] = Start(code)
        lanes = reader.varint(MAX_LANES, "the number of lanes")
        if not lanes:
            raise FormatError(f"{_WHAT}: the number of lanes is 0")
        data = (
            reader.rest()
            if part.number == last
            else reader.take(reader.varint(reader.remaining, "the length of a block"))
        )
        stored.append((lanes, data))
    return stored, starts
