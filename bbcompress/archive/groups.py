"""Groups: images of one kind to the bytes of one group and back, by a model or by the fallback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bbcompress.ans import Message
from bbcompress.archive.container import join_items, split_items
from bbcompress.archive.header import BILEVEL, BINARY, GREY, GROUP_ID_BYTES, GroupHeader, Kind
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.fallback import decode_item, encode_item, least_size
from bbcompress.codecs.group import Layout, decode_group, encode_group
from bbcompress.errors import BBCError, FormatError
from bbcompress.exact.backend import Backend
from bbcompress.images import PixelImage, binary_view
from bbcompress.models.vae import VAE
from bbcompress.models.zoo import ModelEntry, Zoo

NumpyArray = np.ndarray[Any, Any]

DEFAULT_KINDS = {"bernoulli": BINARY, "discretised_logistic": GREY}
"""The kind of image that a model of each likelihood takes where a header names none."""

SUBPIXELS_PER_LANE = {"bernoulli": 1 << 18, "discretised_logistic": 1 << 15}
"""About one lane for each 4 KiB of coded size; a choice of the writer."""

MAX_SUBPIXELS = 1 << 24
"""Most sub-pixels that a model-coded group may have: what bounds a reader's memory."""

FALLBACK_SAMPLE = 16
"""Images of a group on which the fallback is tried before it is tried on all of them."""

PROBED_PIXELS = 10_000
"""Images of more pixels, in the mean, are probed before the fallback is tried on them."""


@dataclass(frozen=True)
class CodingSettings:
    """How images are coded. steps: K. learning_rate: in units of 1e-6, None for the model's own."""

    encoder: str = "rha"
    steps: int = 0
    learning_rate: int | None = None
    compute_batch: int = 128


class ModelCache:
    """Models on a backend, each built once."""

    def __init__(self, zoo: Zoo, backend: Backend) -> None:
        self.zoo = zoo
        self.backend = backend
        self._vaes: dict[bytes, VAE] = {}

    def vae(self, entry: ModelEntry) -> VAE:
        """Raises ModelError if the model is damaged."""
        if entry.id not in self._vaes:
            self._vaes[entry.id] = VAE(entry.weights, self.backend)
        return self._vaes[entry.id]


def image_kinds(image: PixelImage) -> list[tuple[str, Kind]]:
    """The likelihoods that can code an image, best first, each with what the image is to it."""
    view = binary_view(image)
    kinds = []
    if view is not None:
        kinds.append(("bernoulli", BILEVEL if view.mode == "1" else Kind(view.mode, view.levels)))
    if image.mode == "L" and image.plain:
        kinds.append(("discretised_logistic", GREY))
    return kinds


def encode_images(
    vae: VAE, images: Sequence[PixelImage], kind: Kind, settings: CodingSettings
) -> tuple[GroupHeader, bytes]:
    """Code images of one kind and of the model's size as one group: its header and message."""
    weights = vae.weights
    x = np.stack([_pixels(image, kind) for image in images]).reshape(len(images), -1)
    lanes = min(64, max(1, x.size // SUBPIXELS_PER_LANE[weights.likelihood]))
    steps, rate = settings.steps, settings.learning_rate
    header = GroupHeader(
        count=len(images),
        model=weights.id[:GROUP_ID_BYTES],
        kind=None if kind == DEFAULT_KINDS[weights.likelihood] else kind,
        encoder=settings.encoder,
        steps=steps,
        learning_rate=None if steps == 0 or rate in (None, weights.learning_rate) else rate,
        lanes=lanes,
        direct=len(images),
    )
    if len(images) == 1:  # coded directly, without an encoder
        header = replace(header, encoder="rha", steps=0, learning_rate=None)
    layout, message = encode_group(_codec(vae, header, settings.compute_batch), x, lanes, _context(weights.id, header))
    return replace(header, direct=layout.direct, batches=layout.batches), message.to_bytes()


def encode_fallback(
    images: Sequence[PixelImage], progress: Callable[[int], None] | None = None
) -> tuple[GroupHeader, bytes]:
    """Store images of any kind as a group of fallback items. Raises ImageError for what cannot be stored exactly.

    progress: called with the number of pixels newly done.
    """
    return GroupHeader(count=len(images), fallback=True), join_items([encode_item(image, progress) for image in images])


def prefers_fallback(images: Sequence[PixelImage], payload_bytes: int) -> bool:
    """Whether the fallback may be smaller than a model's payload; then it is tried on all of the images.

    Of large images probes say that, of small ones a sample: where its share of the payload comes within a quarter.
    """
    if sum(image.width * image.height for image in images) > PROBED_PIXELS * len(images):
        return sum(map(least_size, images)) < payload_bytes
    sample = images[:: max(1, len(images) // FALLBACK_SAMPLE)]
    return 4 * len(images) * sum(len(encode_item(image)) for image in sample) < 5 * payload_bytes * len(sample)


def decode_images(
    header: GroupHeader, payload: bytes, models: ModelCache, compute_batch: int = 128
) -> list[PixelImage]:
    """The images of a group.

    Raises:
        FormatError: it is damaged. ModelError: its model is missing.
    """
    if header.fallback:
        return [decode_item(item) for item in split_items(payload, header.count)]
    candidates = models.zoo.named(header.model)
    for entry in candidates[:-1]:  # several ids may begin alike; the message's check tells which was meant
        with suppress(BBCError):
            return _decode_with(models.vae(entry), header, payload, compute_batch)
    return _decode_with(models.vae(candidates[-1]), header, payload, compute_batch)


def _decode_with(vae: VAE, header: GroupHeader, payload: bytes, compute_batch: int) -> list[PixelImage]:
    weights = vae.weights
    kind = header.kind or DEFAULT_KINDS[weights.likelihood]
    if header.size not in (None, weights.shape[::-1]):
        raise FormatError("the file is damaged: its images are not of the model's size")
    if (kind.levels is None) != (weights.likelihood == "discretised_logistic"):
        raise FormatError("the file is damaged: its images are not of the model's kind")
    if header.count * weights.dimensions > MAX_SUBPIXELS:
        raise FormatError(f"the file is damaged: a group is above the limit of {MAX_SUBPIXELS} sub-pixels")
    try:
        message = Message.from_bytes(payload, header.lanes)
    except ValueError as error:
        raise FormatError(f"the file is damaged: {error}") from None
    layout = Layout(header.lanes, header.direct, header.batches)
    codec = _codec(vae, header, compute_batch)
    x = decode_group(codec, layout, message, _context(weights.id, header))
    return [_image(pixels, kind) for pixels in x.reshape(-1, *weights.shape)]


def _codec(vae: VAE, header: GroupHeader, compute_batch: int) -> BitsBack:
    rate = header.learning_rate or vae.weights.learning_rate
    return BitsBack(vae, header.encoder, header.steps, rate, compute_batch)


def _context(model_id: bytes, header: GroupHeader) -> bytes:
    """What a message's check covers beside the pixels: the whole model id, and the header without its layout."""
    return model_id + replace(header, model=model_id, lanes=1, direct=header.count, batches=()).encode_group()


def _pixels(image: PixelImage, kind: Kind) -> NumpyArray:
    """What a model of that kind codes: bits or levels, uint8 (height, width)."""
    if kind.levels is None:
        return image.pixels
    view = binary_view(image)
    if view is None:
        raise BBCError("the image has more than two levels")
    return view.bits


def _image(pixels: NumpyArray, kind: Kind) -> PixelImage:
    if kind.mode == "1":
        return PixelImage("1", pixels.astype(np.bool_))
    if kind.levels is None:
        return PixelImage(kind.mode, pixels.astype(np.uint8))
    return PixelImage(kind.mode, np.array(kind.levels, np.uint8)[pixels])
