"""Groups: images of one kind to the bytes of one group and back, by a model or by the fallback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bbcompress.archive.container import join_items, parse_lone, split_items
from bbcompress.archive.group import Group
from bbcompress.archive.header import BILEVEL, BINARY, COLOUR, GREY, GROUP_ID_BYTES, GroupHeader, Kind
from bbcompress.archive.lone import LeftOverError
from bbcompress.codecs.blocks import (
    MAX_SUBPIXELS,
    CodingSettings,
    codec_of,
    context_of,
    decode_blocks,
    encode_blocks,
    lanes_for,
    message_of,
)
from bbcompress.codecs.fallback import Progress, decode_item, encode_item, item_size, least_size, png_item
from bbcompress.codecs.group import Layout, decode_group, encode_group
from bbcompress.codecs.mixed import arrange, decode_mixed, encode_mixed, model_bits
from bbcompress.errors import BBCError, FormatError, ImageError, LimitError
from bbcompress.exact.backend import Backend
from bbcompress.images.image import PixelImage, binary_view
from bbcompress.images.metadata import decode_metadata, encode_metadata
from bbcompress.limits import MAX_PIXELS, READER_STEPS
from bbcompress.models.base import Model, ModelWeights
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import ModelEntry, Zoo, model_of

NumpyArray = np.ndarray[Any, Any]

FALLBACK_SAMPLE = 16
"""Images of a group on which the fallback is tried before it is tried on all of them."""

MAX_STORED_PIXELS = 1 << 24
"""Most pixels of all stored images of a group but the last: items of a few bytes can be images of many pixels."""

PLAIN_BITS = 3.0
"""Bits a sub-pixel below which a PNG says that the fallback may win: drawings have 0.1 to 3, photographs 4 to 7."""

PROBED_PIXELS = 10_000
"""Images of more pixels, in the mean, are probed before the fallback is tried on them."""


class ModelCache:
    """Models on a backend, each built once."""

    def __init__(self, zoo: Zoo, backend: Backend) -> None:
        self.zoo = zoo
        self.backend = backend
        self._vaes: dict[bytes, Model] = {}

    def vae(self, entry: ModelEntry) -> Model:
        """Raises ModelError if the model is damaged."""
        if entry.id not in self._vaes:
            self._vaes[entry.id] = model_of(entry.weights, self.backend)
        return self._vaes[entry.id]


def default_kind(weights: ModelWeights) -> Kind:
    """The kind of image that a model takes where a header names none."""
    if weights.levels == 2:
        return BINARY
    return COLOUR if weights.channels == 3 else GREY


def image_kinds(image: PixelImage) -> list[tuple[int, int, Kind]]:
    """Channels and levels of models that can code an image, the best first, each with what the image is to them."""
    view = binary_view(image)
    kinds = []
    if view is not None:
        kinds.append((1, 2, BILEVEL if view.mode == "1" else Kind(view.mode, view.levels)))
    if image.mode == "L" and image.plain:
        kinds.append((1, 256, GREY))
    if image.mode == "RGB" and image.plain:
        kinds.append((3, 256, COLOUR))
    return kinds


def is_mixed(images: Sequence[PixelImage]) -> bool:
    """Whether images have several sizes."""
    return len({image.size for image in images}) > 1


def arranged(vae: Model, images: Sequence[PixelImage], kind: Kind, settings: CodingSettings) -> tuple[list[int], int]:
    """The order in which `encode_images` best takes images, and its `direct`."""
    if vae.weights.shape is not None or not is_mixed(images):
        return list(range(len(images))), 1
    return arrange(vae, [_pixels(image, kind) for image in images], settings)


def encode_images(
    vae: Model,
    images: Sequence[PixelImage],
    kind: Kind,
    settings: CodingSettings,
    progress: Progress | None = None,
    direct: int = 1,
) -> Group:
    """Code images of one kind, of one size or as `encode_mixed` takes them, as one group.

    progress: called with the number of pixels newly done. direct: of images of several sizes, as `encode_mixed` takes
    it.
    """
    group = _encode_pixels(vae, images, kind, settings, progress, direct)
    return group.described(encode_metadata([image.metadata for image in images]))


def _encode_pixels(
    vae: Model,
    images: Sequence[PixelImage],
    kind: Kind,
    settings: CodingSettings,
    progress: Progress | None,
    direct: int,
) -> Group:
    weights = vae.weights
    steps, rate = settings.steps, settings.learning_rate
    header = GroupHeader(
        count=len(images),
        model=weights.id[:GROUP_ID_BYTES],
        kind=None if kind == default_kind(weights) else kind,
        encoder=settings.encoder,
        steps=steps,
        learning_rate=None if steps == 0 or rate in (None, weights.learning_rate) else rate,
        direct=len(images),
    )
    if weights.shape is None:
        arrays = [_pixels(image, kind) for image in images]
        if is_mixed(images):
            return encode_mixed(vae, weights, arrays, header, settings, progress, direct)
        return encode_blocks(vae, weights, arrays, header, settings, progress)
    if len(images) == 1:  # coded directly, without an encoder
        header = replace(header, encoder="rha", steps=0, learning_rate=None)
    pixels = np.stack([_pixels(image, kind) for image in images])
    lanes = 1 if len(images) == 1 else lanes_for(weights, pixels.size)  # a lone image's header has no room for lanes
    x = Strips.all_of(Canvas.of(pixels.reshape(*pixels.shape[:3], -1), weights.tile))
    codec = codec_of(vae, header, settings.compute_batch)
    layout, message = encode_group(codec, x, lanes, context_of(weights, header))
    if progress is not None:
        progress(sum(image.width * image.height for image in images))
    header = replace(header, lanes=lanes, direct=layout.direct, batches=layout.batches)
    return Group(header, message.to_bytes())


def encode_fallback(images: Sequence[PixelImage], progress: Progress | None = None) -> Group:
    """Store images of any kind as a group of fallback items. Raises ImageError for what cannot be stored exactly.

    progress: called with the number of pixels newly done.
    """
    items = [encode_item(image, progress) for image in images]
    group = Group(GroupHeader(count=len(images), fallback=True), join_items(items))
    return group.described(encode_metadata([image.metadata for image in images]))


def with_metadata(group: Group, images: list[PixelImage]) -> list[PixelImage]:
    """Images decoded from a group's payload with the metadata of the group. FormatError where it is damaged."""
    if not group.metadata:
        return images
    metadata = decode_metadata(group.metadata, group.header.count)
    try:
        return [replace(image, metadata=its) for image, its in zip(images, metadata, strict=True)]
    except ImageError as error:
        raise FormatError(f"the file is damaged: {error}") from error


def prefers_fallback(images: Sequence[PixelImage], payload_bytes: int) -> bool:
    """Whether the fallback may be smaller than a model's payload; then it is tried on all of the images.

    Of large images probes say that, of small ones a sample: where its share of the payload comes within a quarter.
    """
    if sum(image.width * image.height for image in images) > PROBED_PIXELS * len(images):
        return sum(map(least_size, images)) < payload_bytes
    sample = images[:: max(1, len(images) // FALLBACK_SAMPLE)]
    return 4 * len(images) * sum(len(encode_item(image)) for image in sample) < 5 * payload_bytes * len(sample)


def fallback_wins(vae: Model, images: Sequence[PixelImage], kind: Kind, settings: CodingSettings) -> list[bool]:
    """Of each of many small images whether the fallback takes fewer bytes than a model for any size.

    Looked at closely are images of which a PNG is small, or no smaller than the pixels, and a sample of the others; all
    of these where that shows one for which the fallback wins.
    """
    sizes = [8 * len(png_item(image)) / image.samples for image in images]
    odd = {number for number, size in enumerate(sizes) if not PLAIN_BITS <= size <= 8}
    others = [number for number in range(len(images)) if number not in odd]
    sample = set(others[:: max(1, 2 * len(others) // FALLBACK_SAMPLE)])
    wins = _stored_smaller(vae, images, odd | sample, kind, settings)
    if wins & sample:
        wins |= _stored_smaller(vae, images, set(others) - sample, kind, settings)
    return [number in wins for number in range(len(images))]


def _stored_smaller(
    vae: Model, images: Sequence[PixelImage], numbers: set[int], kind: Kind, settings: CodingSettings
) -> set[int]:
    """Of the images with these numbers those that the fallback stores in fewer bytes than a model's."""
    if not numbers:
        return set()
    ordered = sorted(numbers)
    bits = np.minimum(*model_bits(vae, [_pixels(images[number], kind) for number in ordered], settings)).tolist()
    return {n for n, by_model in zip(ordered, bits, strict=True) if 8 * len(encode_item(images[n])) < by_model}


def decode_images(
    group: Group,
    models: ModelCache,
    compute_batch: int = 128,
    progress: Progress | None = None,
    max_pixels: int = MAX_PIXELS,
    max_steps: int = READER_STEPS,
) -> list[PixelImage]:
    """The images of a group.

    progress: called with the number of pixels newly done.
    max_pixels: of a stored image; those of others are checked where headers are read. max_steps: the limit of K.

    Raises:
        FormatError: it is damaged, or its images are above the limits. ModelError: its model is missing. LimitError: K
        is above the limit.
    """
    steps = group.header.steps
    if steps > max_steps:
        raise LimitError(
            f"K is {steps}, above the limit of {max_steps} refinement steps",
            python=f"max_steps={steps}, as of bbcompress.open, allows it",
            command=f"--max-steps {steps} allows it",
        )
    if group.header.fallback:
        items = split_items(group.payload, group.header.count)
        _check_stored(items)
        return with_metadata(group, [decode_item(item, max_pixels, progress) for item in items])
    return with_metadata(group, _decode_by_model(group, models, compute_batch, progress, max_pixels))


def decode_lone(
    data: bytes,
    models: ModelCache,
    progress: Progress | None = None,
    max_pixels: int = MAX_PIXELS,
    max_steps: int = READER_STEPS,
) -> PixelImage:
    """The image of the bytes of a file of one image. Raises FormatError, ModelError, LimitError."""
    return decode_one(parse_lone(data, max_pixels), models, progress, max_pixels, max_steps)


def decode_one(
    group: Group,
    models: ModelCache,
    progress: Progress | None = None,
    max_pixels: int = MAX_PIXELS,
    max_steps: int = READER_STEPS,
) -> PixelImage:
    """The image of the group of a file of one image. Raises FormatError, ModelError, LimitError."""
    if group.header.fallback:
        return with_metadata(group, [decode_item(group.payload, max_pixels, progress)])[0]
    (image,) = decode_images(group, models, progress=progress, max_steps=max_steps)
    return image


def _check_stored(items: Sequence[bytes]) -> None:
    """FormatError where the images of a fallback group are too large together, by what they say of themselves."""
    left = MAX_STORED_PIXELS
    for item in items[:-1]:
        width, height = item_size(item)
        left -= width * height
        if left < 0:
            raise FormatError(f"the file is damaged: a group has more than {MAX_STORED_PIXELS} pixels before its last")


def _decode_by_model(
    group: Group,
    models: ModelCache,
    compute_batch: int,
    progress: Progress | None,
    max_pixels: int,
) -> list[PixelImage]:
    candidates = models.zoo.named(group.header.model)
    for entry in candidates[:-1]:  # several ids may begin alike; the message's check tells which was meant
        try:
            return _decode_with(models.vae(entry), group, compute_batch, None, max_pixels)
        except LeftOverError:  # it was this one
            raise
        except BBCError:
            pass
    return _decode_with(models.vae(candidates[-1]), group, compute_batch, progress, max_pixels)


def _decode_with(
    vae: Model,
    group: Group,
    compute_batch: int,
    progress: Progress | None,
    max_pixels: int,
) -> list[PixelImage]:
    header, weights = group.header, vae.weights
    kind = header.kind or default_kind(weights)
    if (kind.levels is None) != (weights.levels > 2) or (kind.mode == "RGB") != (weights.channels == 3):
        raise FormatError("the file is damaged: its images are not of the model's kind")
    if header.blocks:
        if weights.shape is not None:
            raise FormatError("the file is damaged: its model does not code blocks")
        if header.is_mixed:
            mixed = decode_mixed(vae, weights, group, compute_batch, progress, max_pixels)
            return [_image(pixels, kind) for pixels in mixed]
        arrays = decode_blocks(vae, weights, group, compute_batch, progress)
        return [_image(pixels, kind) for pixels in arrays]
    if weights.shape is None or header.size not in (None, weights.shape[::-1]):
        raise FormatError("the file is damaged: its images are not of the model's size")
    if header.count * weights.dimensions > MAX_SUBPIXELS:
        raise FormatError(f"the file is damaged: a group is above the limit of {MAX_SUBPIXELS} sub-pixels")
    layout = Layout(header.lanes, header.direct, header.batches)
    codec = codec_of(vae, header, compute_batch)
    height, width = weights.shape
    canvas = Canvas(header.count, height, width, weights.channels, weights.tile)
    message, context = message_of(group.payload, header.lanes), context_of(weights, header)
    decode_group(codec, layout, message, context, Strips.all_of(canvas))
    if progress is not None:
        progress(header.count * height * width)
    return [_image(pixels, kind) for pixels in canvas.images]


def _pixels(image: PixelImage, kind: Kind) -> NumpyArray:
    """What a model of that kind codes: bits or levels, uint8 (height, width) or (height, width, channels)."""
    if kind.levels is None:
        return image.pixels
    view = binary_view(image)
    if view is None:
        raise BBCError("the image has more than two levels")
    return view.bits


def _image(pixels: NumpyArray, kind: Kind) -> PixelImage:
    """The image of pixels (height, width, channels)."""
    if kind.mode == "RGB":
        return PixelImage("RGB", pixels.astype(np.uint8, copy=False))
    pixels = pixels[:, :, 0]
    if kind.mode == "1":
        return PixelImage("1", pixels.astype(np.bool_))
    if kind.levels is None:
        return PixelImage(kind.mode, pixels.astype(np.uint8))
    return PixelImage(kind.mode, np.array(kind.levels, np.uint8)[pixels])
