"""Groups: images of one kind to the bytes of one group and back, by a model or by the fallback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.archive.header import GROUP_ID_BYTES, GroupHeader, check_size
from bbcompress.archive.lone import LeftOverError
from bbcompress.codecs.blocks import (
    MAX_SUBPIXELS,
    codec_of,
    context_of,
    decode_blocks,
    encode_blocks,
    lanes_for,
    message_of,
)
from bbcompress.codecs.fallback.items import decode_item, encode_item, item_size
from bbcompress.codecs.fallback.kept import KeptFile, is_kept
from bbcompress.codecs.group import Layout, decode_group, encode_group
from bbcompress.codecs.learned import can_learn, decode_learned, encode_learned, learning_for
from bbcompress.codecs.mixed import decode_mixed, encode_mixed
from bbcompress.codecs.progress import Progress
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import BBCError, FormatError, ImageError, LimitError
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import Kind
from bbcompress.images.metadata import decode_metadata, encode_metadata
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.models.base import Model
from bbcompress.models.cache import Models
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.strips import Canvas, Strips

NumpyArray = np.ndarray[Any, Any]

MAX_STORED_PIXELS = 1 << 24
"""Most pixels of all stored images of a group but the last: items of a few bytes can be images of many pixels."""


Content = PixelImage | KeptFile
"""What a group holds of an image: its pixels, or a file that is kept as it is."""


def is_mixed(images: Sequence[PixelImage]) -> bool:
    """Whether images have several sizes."""
    return len({image.size for image in images}) > 1


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
    weights = vae.weights
    k, rate = settings.k, settings.learning_rate
    metadata = encode_metadata([image.metadata for image in images])
    header = GroupHeader(
        count=len(images),
        model=weights.id[:GROUP_ID_BYTES],
        kind=None if kind == Kind.default(weights.channels, weights.levels) else kind,
        encoder=settings.encoder,
        k=k,
        learning_rate=None if k == 0 or rate in (None, weights.learning_rate) else rate,
        direct=len(images),
    )
    if settings.learn and can_learn(vae):
        arrays = [kind.pixels(image) for image in images]
        header = replace(header, learning=learning_for(arrays, settings))
        return encode_learned(vae, arrays, header, settings, progress).described(metadata)
    if weights.shape is None:
        arrays = [kind.pixels(image) for image in images]
        if is_mixed(images):
            return encode_mixed(vae, weights, arrays, header, settings, progress, direct).described(metadata)
        return encode_blocks(vae, weights, arrays, header, settings, progress).described(metadata)
    if len(images) == 1:  # coded directly, without an encoder
        header = replace(header, encoder="rha", k=0, learning_rate=None)
    pixels = np.stack([kind.pixels(image) for image in images])
    lanes = 1 if len(images) == 1 else lanes_for(weights, pixels.size)  # a lone image's header has no room for lanes
    x = Strips.all_of(Canvas.of(pixels.reshape(*pixels.shape[:3], -1), weights.tile))
    codec = codec_of(vae, header, settings.compute_batch)
    layout, message = encode_group(codec, x, lanes, context_of(weights, header))
    if progress is not None:
        progress(sum(image.width * image.height for image in images))
    header = replace(header, lanes=lanes, direct=layout.direct, batches=layout.batches)
    return Group(header, message.to_bytes()).described(metadata)


def encode_fallback(images: Sequence[PixelImage], progress: Progress | None = None) -> Group:
    """Store images of any kind as a group of fallback items. Raises ImageError for what cannot be stored exactly.

    progress: called with the number of pixels newly done.
    """
    items = [encode_item(image, progress) for image in images]
    return Group.of_items(items).described(encode_metadata([image.metadata for image in images]))


def with_metadata(group: Group, images: list[PixelImage]) -> list[PixelImage]:
    """Images decoded from a group's payload with the metadata of the group. FormatError where it is damaged."""
    if not group.metadata:
        return images
    metadata = decode_metadata(group.metadata, group.header.count)
    try:
        return [replace(image, metadata=its) for image, its in zip(images, metadata, strict=True)]
    except ImageError as error:
        raise FormatError(f"the file is damaged: {error}") from error


def decode_images(
    group: Group,
    models: Models,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
    compute_batch: int = 128,
) -> list[PixelImage]:
    """The images of a group; of a file that is kept as it is that of the file, with its metadata.

    progress: called with the number of pixels newly done. The limit of pixels is that of each image; sizes in headers
    are checked where these are read.

    Raises:
        FormatError: it is damaged, or its images are above the limits. ModelError: its model is missing. LimitError: K
        is above the limit.
    """
    content = decode_content(group, models, limits, progress, compute_batch)
    return [one if isinstance(one, PixelImage) else one.image(limits.pixels) for one in content]


def decode_content(
    group: Group,
    models: Models,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
    compute_batch: int = 128,
) -> list[Content]:
    """The images of a group, and in the places of those that are files kept as they are these, which are not decoded.

    Arguments and errors are those of :func:`decode_images`.
    """
    k = group.header.k
    if k > limits.k:
        raise LimitError(
            f"K is {k}, above the limit of {limits.k} refinement steps",
            python=f"max_steps={k}, as of bbcompress.open, allows it",
            command=f"--max-steps {k} allows it",
        )
    if group.header.fallback:
        return _decode_stored(group, limits, progress)
    return [*with_metadata(group, _decode_by_model(group, models, limits, progress, compute_batch))]


def _decode_stored(group: Group, limits: Limits, progress: Progress | None) -> list[Content]:
    """The content of a fallback group."""
    items = group.items
    _check_stored(items)
    metadata = decode_metadata(group.metadata, group.header.count) if group.metadata else [()] * len(items)
    content: list[Content] = []
    for item, its in zip(items, metadata, strict=True):
        if not is_kept(item):
            try:
                image = decode_item(item, limits.pixels, progress)
                content.append(replace(image, metadata=its) if its else image)
            except ImageError as error:
                raise FormatError(f"the file is damaged: {error}") from error
            continue
        if its:
            raise FormatError("the file is damaged: a kept file has metadata beside its own")
        content.append(kept := KeptFile.decode(item, limits.pixels))
        if progress is not None:
            progress(kept.size[0] * kept.size[1])
    return content


def _check_stored(items: Sequence[bytes]) -> None:
    """FormatError where the images of a fallback group are too large together, by what they say of themselves."""
    left = MAX_STORED_PIXELS
    for item in items[:-1]:
        width, height = item_size(item)
        left -= width * height
        if left < 0:
            raise FormatError(
                f"the file is damaged: a group has more than {MAX_STORED_PIXELS} pixels before its last image"
            )


def _decode_by_model(
    group: Group,
    models: Models,
    limits: Limits,
    progress: Progress | None,
    compute_batch: int,
) -> list[PixelImage]:
    candidates = models.zoo.named(group.header.model)
    for entry in candidates[:-1]:  # several ids may begin alike; the message's check tells which was meant
        try:
            return _decode_with(models.model(entry), group, limits, None, compute_batch)
        except LeftOverError:  # it was this one
            raise
        except BBCError:
            pass
    return _decode_with(models.model(candidates[-1]), group, limits, progress, compute_batch)


def _decode_with(
    vae: Model,
    group: Group,
    limits: Limits,
    progress: Progress | None,
    compute_batch: int,
) -> list[PixelImage]:
    header, weights = group.header, vae.weights
    default = Kind.default(weights.channels, weights.levels)
    kind = default if header.kind is None else Kind(*header.kind)
    if not kind.is_coded_as(default):
        raise FormatError("the file is damaged: its images are not of the model's kind")
    if header.blocks:
        if weights.shape is not None:
            raise FormatError("the file is damaged: its model does not code blocks")
        if header.learning is not None:
            if not isinstance(vae, ExactLocalVAE) or not vae.learns:
                raise FormatError("the file is damaged: its model does not learn")
            return [kind.image(pixels) for pixels in decode_learned(vae, group, progress, limits)]
        if header.is_mixed:
            mixed = decode_mixed(vae, weights, group, compute_batch, progress, limits)
            return [kind.image(pixels) for pixels in mixed]
        arrays = decode_blocks(vae, weights, group, compute_batch, progress)
        return [kind.image(pixels) for pixels in arrays]
    if weights.shape is None or header.size not in (None, weights.shape[::-1]):
        raise FormatError("the file is damaged: its images are not of the model's size")
    if header.count * weights.dimensions > MAX_SUBPIXELS:
        raise FormatError(f"the file is damaged: a group is above the limit of {MAX_SUBPIXELS} sub-pixels")
    height, width = weights.shape
    check_size((width, height), limits)  # which the header leaves out where it is the model's own
    layout = Layout(header.lanes, header.direct, header.batches)
    codec = codec_of(vae, header, compute_batch)
    canvas = Canvas(header.count, height, width, weights.channels, weights.tile)
    message, context = message_of(group.payload, header.lanes), context_of(weights, header)
    decode_group(codec, layout, message, context, Strips.all_of(canvas))
    if progress is not None:
        progress(header.count * height * width)
    return [kind.image(pixels) for pixels in canvas.images]
