"""Groups: images of one kind to the bytes of one group and back, by a model or by the fallback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.archive.header import GROUP_ID_BYTES, GroupHeader, check_size
from bbcompress.archive.lone import LeftOverError
from bbcompress.archive.parts import Part, decode_parts, encode_parts
from bbcompress.codecs.between import can_learn_between, chosen_learning_between, encode_between
from bbcompress.codecs.bitsback import codec_of
from bbcompress.codecs.blocks import (
    MAX_SUBPIXELS,
    blocks_of,
    context_of,
    decode_blocks,
    encode_blocks,
    lanes_for,
    layouts_of,
    message_of,
    strips_of,
)
from bbcompress.codecs.costs import CanvasCosts, GroupCosts, PartCosts
from bbcompress.codecs.fallback.items import decode_item, decode_region_of_item, encode_item, item_size
from bbcompress.codecs.fallback.kept import KeptFile, is_kept
from bbcompress.codecs.group import Layout, decode_group, encode_group
from bbcompress.codecs.learned import can_learn, decode_learned, encode_learned, learning_for
from bbcompress.codecs.mixed import decode_mixed, encode_mixed, mixed_layout, mixed_strips
from bbcompress.codecs.progress import Progress
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import BBCError, FormatError, ImageError, LimitError, RegionError
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import Kind
from bbcompress.images.metadata import decode_metadata, encode_metadata
from bbcompress.images.parts import PARTS, joined
from bbcompress.images.region import Decoded, Wanted
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.models.base import LearningModel, Model, encoder_of
from bbcompress.models.cache import Models
from bbcompress.models.strips import Canvas, Strips
from bbcompress.wire import varint

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
        encoder=encoder_of(weights.card, settings.encoder),
        k=k,
        learning_rate=None if k == 0 or rate in (None, weights.learning_rate) else rate,
        direct=len(images),
    )
    arrays = [kind.pixels(image) for image in images]
    if settings.learn and can_learn(vae):
        header = replace(header, learning=learning_for(arrays, settings))
        return encode_learned(vae, arrays, header, settings, progress).described(metadata)
    frozen = _encode_by_batches(vae, arrays, header, settings, progress, direct)
    if settings.learn_between is False or not can_learn_between(vae):
        return frozen.described(metadata)
    return _encode_between(vae, arrays, frozen, settings).described(metadata)


def _encode_by_batches(
    vae: Model,
    arrays: Sequence[NumpyArray],
    header: GroupHeader,
    settings: CodingSettings,
    progress: Progress | None,
    direct: int,
    plans: Sequence[Layout] = (),
) -> Group:
    """Code images, uint8 (H, W) or (H, W, C), by bits-back. plans: where the model learns between batches, the layout
    of each message without that."""
    weights = vae.weights
    if weights.shape is None:
        if len({array.shape for array in arrays}) > 1:
            plan = plans[0] if plans else None
            return encode_mixed(vae, weights, arrays, header, settings, progress, direct, plan)
        return encode_blocks(vae, weights, arrays, header, settings, progress, plans)
    if len(arrays) == 1:  # coded directly, without an encoder
        header = replace(header, encoder="rha", k=0, learning_rate=None)
    # a lone image's header has no room for lanes
    lanes = 1 if len(arrays) == 1 else lanes_for(weights, sum(map(np.size, arrays)))
    x, context = strips_of(arrays, weights.tile), context_of(weights, header)
    if plans:
        layout, message = encode_between(vae, header, settings.compute_batch, x, plans[0], context)
    else:
        layout, message = encode_group(codec_of(vae, header, settings.compute_batch), x, lanes, context)
    if progress is not None:
        progress(sum(array.shape[0] * array.shape[1] for array in arrays))
    header = replace(header, lanes=lanes, direct=layout.direct, batches=layout.batches)
    return Group(header, message.to_bytes())


def _encode_between(vae: LearningModel, arrays: Sequence[NumpyArray], frozen: Group, settings: CodingSettings) -> Group:
    """The images of a group by a model that learns between batches; as they are where it should not, or where they do
    not become smaller and it is not asked for."""
    tile, header = vae.weights.tile, frozen.header
    if header.is_mixed:
        x, plans = mixed_strips(arrays, tile), [mixed_layout(frozen, tile)]
    elif header.blocks:
        height, width = arrays[0].shape[:2]
        first = next(blocks_of(height, width, tile, header.block_side))
        x, plans = strips_of([first.of(array) for array in arrays], tile), layouts_of(frozen, tile)
    else:
        x, plans = strips_of(arrays, tile), [Layout(header.lanes, header.direct, header.batches)]
    if not any(plan.batches for plan in plans):  # there is nothing to learn from
        return frozen
    learning = chosen_learning_between(vae, x, header.encoder, settings.learn_between, len(frozen.payload))
    if learning is None:
        return frozen
    header = replace(header, learning=learning, lanes=1, direct=0 if header.blocks else header.count, batches=())
    learned = _encode_by_batches(vae, arrays, header, settings, None, 1, plans)
    return learned if settings.learn_between or _size(learned) < _size(frozen) else frozen


def _size(group: Group) -> int:
    """Bytes of a group, but for what is the same whether its model learns or not."""
    header = group.header
    learning = b"" if header.learning is None else header.learning.encode() + bytes(1)
    return len(group.payload) + len(learning) + len(b"".join(map(varint, header.batches)))


def encode_fallback(images: Sequence[PixelImage], progress: Progress | None = None, deep: bool = True) -> Group:
    """Store images of any kind as a group of fallback items. Raises ImageError for what cannot be stored exactly.

    progress: called with the number of pixels newly done. deep: as of :func:`encode_item`.
    """
    items = [encode_item(image, progress, deep) for image in images]
    return Group.of_items(items).described(encode_metadata([image.metadata for image in images]))


def group_of_parts(images: Sequence[PixelImage], parts: Sequence[Part]) -> Group:
    """The group of images of one mode whose parts are coded so."""
    header = GroupHeader(count=len(images), parts=images[0].mode)
    return Group(header, encode_parts(parts)).described(encode_metadata([image.metadata for image in images]))


def with_metadata(group: Group, images: list[PixelImage], wanted: Wanted | None = None) -> list[PixelImage]:
    """Images decoded from a group's payload with the metadata of the group. FormatError where it is damaged."""
    if not group.metadata:
        return images
    metadata = decode_metadata(group.metadata, group.header.count)
    if wanted is not None:
        metadata = metadata[wanted.index : wanted.index + 1]
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
    costs: GroupCosts | None = None,
    wanted: Wanted | None = None,
) -> list[PixelImage]:
    """The images of a group; of a file that is kept as it is that of the file, with its metadata.

    progress: called with the number of pixels newly done. The limit of pixels is that of each image; sizes in headers
    are checked where these are read. costs: takes up what the messages of models spend, which takes as long again.
    wanted: as of :func:`decode_content`.

    Raises:
        FormatError: it is damaged, or its images are above the limits. ModelError: its model is missing. LimitError: K
        is above the limit.
    """
    content = decode_content(group, models, limits, progress, compute_batch, costs, wanted)
    return [one if isinstance(one, PixelImage) else one.image() for one in content]


def decode_content(
    group: Group,
    models: Models,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
    compute_batch: int = 128,
    costs: GroupCosts | None = None,
    wanted: Wanted | None = None,
) -> list[Content]:
    """The images of a group, and in the places of those that are files kept as they are these, which are not decoded.

    wanted: decode a region of one image, which is all that comes, as an image also of a kept file. Where the image is
    coded in blocks, those are decoded that the region touches, and those from which a model learns for them.

    Other arguments, and errors, are those of :func:`decode_images`. RegionError: the region is not within the image.
    """
    k = group.header.k
    if k > limits.k:
        raise LimitError(
            f"K is {k}, above the limit of {limits.k} refinement steps",
            python=f"max_steps={k}, as of bbcompress.open, allows it",
            command=f"--max-steps {k} allows it",
        )
    if group.header.fallback:
        return _decode_stored(group, limits, progress, wanted)
    if group.header.parts is not None:
        images = _decode_in_parts(group, group.header.parts, models, limits, progress, compute_batch, costs, wanted)
        return [*with_metadata(group, images, wanted)]
    images = _decode_by_model(group, models, limits, progress, compute_batch, costs, wanted)
    return [*with_metadata(group, images, wanted)]


def _decode_stored(
    group: Group, limits: Limits, progress: Progress | None, wanted: Wanted | None = None
) -> list[Content]:
    """The content of a fallback group."""
    items = group.items
    _check_stored(items)
    metadata = decode_metadata(group.metadata, group.header.count) if group.metadata else [()] * len(items)
    if wanted is not None:
        try:
            image = decode_region_of_item(items[wanted.index], wanted, limits.pixels, progress)
            return [replace(image, metadata=metadata[wanted.index] or image.metadata)]
        except RegionError:
            raise
        except ImageError as error:
            raise FormatError(f"the file is damaged: {error}") from error
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


def _decode_in_parts(
    group: Group,
    mode: str,
    models: Models,
    limits: Limits,
    progress: Progress | None,
    compute_batch: int,
    costs: GroupCosts | None,
    wanted: Wanted | None = None,
) -> list[PixelImage]:
    """The images of a group in parts. Of these the first takes the most time, so that its progress is told."""
    found: list[list[PixelImage]] = [[] for _ in range(group.header.count if wanted is None else 1)]
    parts = decode_parts(group.payload, group.header.count, len(PARTS[mode]), limits)
    later = Decoded()  # of what no progress is told
    for number, (groups, positions) in enumerate(parts):
        images: list[PixelImage] = []
        done, its_wanted = 0, None
        for part in groups:
            its_costs = None if costs is None else GroupCosts()
            if costs is not None and its_costs is not None:
                its_positions = positions[len(images) : len(images) + part.header.count]
                costs.parts.append(PartCosts(number, part, its_positions, its_costs))
            if part.header.fallback and any(map(is_kept, part.items)):
                raise FormatError("the file is damaged: a part of its images is a kept file")
            if wanted is not None:
                done += part.header.count
                its_own = list(positions[done - part.header.count : done])
                if wanted.index not in its_own:
                    continue
                its_decoded = later if number else wanted.decoded
                its_wanted = Wanted(its_own.index(wanted.index), wanted.region, its_decoded)
            try:
                images += decode_images(part, models, limits, progress, compute_batch, its_costs, its_wanted)
            except LeftOverError as error:  # of a message that is not the end of the file
                raise FormatError(f"the file is {error}") from error
        progress = None
        for position, image in zip(positions if wanted is None else [0], images, strict=True):
            found[position].append(image)
    if wanted is not None:
        wanted.decoded.add(later)
    try:
        return [joined(mode, parts) for parts in found]
    except ImageError as error:
        raise FormatError(f"the file is damaged: {error}") from error


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
    costs: GroupCosts | None,
    wanted: Wanted | None = None,
) -> list[PixelImage]:
    candidates = models.zoo.named(group.header.model)
    for entry in candidates[:-1]:  # several ids may begin alike; the message's check tells which was meant
        trial = None if wanted is None else replace(wanted, decoded=Decoded())
        try:
            images = _decode_with(models.model(entry), group, limits, None, compute_batch, costs, trial)
        except (LeftOverError, RegionError):  # it was this one, or any
            raise
        except BBCError:
            continue
        if wanted is not None and trial is not None:
            wanted.decoded.add(trial.decoded)
        return images
    return _decode_with(models.model(candidates[-1]), group, limits, progress, compute_batch, costs, wanted)


def _decode_with(
    vae: Model,
    group: Group,
    limits: Limits,
    progress: Progress | None,
    compute_batch: int,
    costs: GroupCosts | None = None,
    wanted: Wanted | None = None,
) -> list[PixelImage]:
    header, weights = group.header, vae.weights
    default = Kind.default(weights.channels, weights.levels)
    kind = default if header.kind is None else Kind(*header.kind)
    if not kind.is_coded_as(default):
        raise FormatError("the file is damaged: its images are not of the model's kind")
    learning = header.learning
    if learning is not None and learning.batches:
        if not can_learn_between(vae) or learning.unit > vae.largest_unit:
            raise FormatError("the file is damaged: its model does not learn so between batches")
        learning = None  # codecs see to it
    if header.blocks:
        if weights.shape is not None:
            raise FormatError("the file is damaged: its model does not code blocks")
        if learning is not None:
            if not can_learn(vae):
                raise FormatError("the file is damaged: its model does not learn")
            return [kind.image(pixels) for pixels in decode_learned(vae, group, progress, limits, costs, wanted)]
        if header.is_mixed:
            mixed = decode_mixed(vae, weights, group, compute_batch, progress, limits, costs)
            return _regions_of([kind.image(pixels) for pixels in mixed], wanted)
        arrays = decode_blocks(vae, weights, group, compute_batch, progress, costs, wanted)
        its = arrays if wanted is None else arrays[wanted.index : wanted.index + 1]
        return [kind.image(pixels) for pixels in its]
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
    strips = Strips.all_of(canvas)
    its_costs = None if costs is None else CanvasCosts(canvas)
    decode_group(codec, layout, message, context, strips, its_costs)
    if costs is not None and its_costs is not None:
        costs.take_canvas(its_costs, strips, weights.latents, layout.lanes, len(group.payload))
    if progress is not None:
        progress(header.count * height * width)
    return _regions_of([kind.image(pixels) for pixels in canvas.images], wanted)


def _regions_of(images: list[PixelImage], wanted: Wanted | None) -> list[PixelImage]:
    """The images of a group that is one message, or the region that is wanted of one. Raises RegionError."""
    if wanted is None:
        return images
    wanted.decoded.add(Decoded.of_one(sum(image.width * image.height for image in images)))
    return [images[wanted.index].region(wanted.region)]
