"""Which way to code images takes the fewest bytes: the models that fit them and the fallback, tried in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.codecs.blocks import BLOCK_SIDE
from bbcompress.codecs.fallback.items import encode_item, png_item
from bbcompress.codecs.fallback.probe import least_size
from bbcompress.codecs.groups import encode_fallback, encode_images, is_mixed
from bbcompress.codecs.learned import can_learn, chosen_learning
from bbcompress.codecs.mixed import arrange, model_bits
from bbcompress.codecs.progress import Passes, Progress
from bbcompress.codecs.settings import CodingSettings
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import GREY, Kind, kinds_of
from bbcompress.models.base import Model
from bbcompress.models.cache import Models
from bbcompress.models.zoo import ModelEntry

FALLBACK = "fallback"
"""What is told of images that no model coded; which of raw, PNG and WebP stores them follows."""

SAMPLE = 24
"""Images of a group on which models are compared."""

FALLBACK_SAMPLE = 16
"""Images of a group on which the fallback is tried before it is tried on all of them."""

PLAIN_BITS = 3.0
"""Bits a sub-pixel below which a PNG says that the fallback may win: drawings have 0.1 to 3, photographs 4 to 7."""

PROBED_PIXELS = 10_000
"""Images of more pixels, in the mean, are probed before the fallback is tried on them."""

SOLID_IMAGE_PIXELS = 1 << 22
"""Larger images do not join solid groups: their blocks are coded at once."""

MIXED_PIXELS = 1 << 16
"""Images of at most so many pixels join a group of several sizes: alone, each would take far longer than its pixels."""


@dataclass(frozen=True)
class Fit:
    """What images share that may be coded together: what they are to models, the models that fit them, their size.

    entries: none means the fallback. shape: height and width; None where they may have several. solid: the models learn
    from one image after the other.
    """

    kind: Kind
    entries: tuple[ModelEntry, ...]
    shape: tuple[int, int] | None
    solid: bool = False


STORED = Fit(GREY, (), None)
"""Of images that no model codes."""


def fit_of(image: PixelImage, models: Models, settings: CodingSettings | None = None) -> Fit:
    """What decides with which others an image is coded. Raises ModelError where a model is damaged.

    settings: with them, images from which models may learn join solid groups.
    """
    shape, pixels = (image.height, image.width), image.width * image.height
    may_learn = settings is not None and settings.learn is not False and MIXED_PIXELS < pixels <= SOLID_IMAGE_PIXELS
    for kind in kinds_of(image):
        if entries := models.zoo.candidates(shape, kind):
            any_size = all(entry.input_spec["shape"] is None for entry in entries)
            if any_size and may_learn and learners(entries, models):
                return Fit(kind, tuple(entries), None, solid=True)
            several = any_size and pixels <= MIXED_PIXELS and max(shape) <= BLOCK_SIDE
            return Fit(kind, tuple(entries), None if several else shape)
    return STORED


def learners(entries: Sequence[ModelEntry], models: Models) -> list[ModelEntry]:
    """Those of the models that can learn from images."""
    return [entry for entry in entries if can_learn(models.model(entry))]


@dataclass(frozen=True)
class Coded:
    """Images as a group: what coded them, and the order in which it holds those that were given, by their indices.

    tried: what was tried and with what result, a few words each.
    """

    coder: str
    group: Group
    indices: Sequence[int]
    tried: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes, but for what all ways of coding these images have alike."""
        return len(self.group.payload)


class Candidate(Protocol):
    """A way to code images of one fit as a group."""

    @property
    def coder(self) -> str:
        """What is told of images that it codes."""

    @property
    def cost(self) -> int:
        """About how many passes of a model over the pixels it takes; 0 for hardly any."""

    def may_win(self, images: Sequence[PixelImage], size: int) -> bool:
        """Whether it may take fewer than so many bytes: a quick look, where one can say no."""

    def encode(self, images: Sequence[PixelImage], progress: Progress) -> Coded:
        """The images as a group. progress: called with the number of pixels newly done."""


@dataclass(frozen=True)
class ByModel:
    """A model, with settings of its own."""

    entry: ModelEntry
    models: Models
    kind: Kind
    settings: CodingSettings

    @property
    def coder(self) -> str:
        """The model's name."""
        return self.entry.name

    @property
    def cost(self) -> int:
        """Each of K steps goes through the decoder forward and back."""
        return 1 + self.settings.k

    def may_win(self, images: Sequence[PixelImage], size: int) -> bool:
        """Nobody knows before."""
        return True

    def encode(self, images: Sequence[PixelImage], progress: Progress) -> Coded:
        """In the order in which it best takes them."""
        model = self.models.model(self.entry)
        indices, direct = list(range(len(images))), 1
        learns = self.settings.learn is True and can_learn(model)
        if model.weights.shape is None and is_mixed(images) and not learns:
            indices, direct = arrange(model, [self.kind.pixels(image) for image in images], self.settings)
        ordered = [images[index] for index in indices]
        return Coded(self.coder, encode_images(model, ordered, self.kind, self.settings, progress, direct), indices)


@dataclass(frozen=True)
class ByFallback:
    """Raw, PNG or WebP, whichever is the smallest for each image."""

    cost: int = 1
    coder: str = FALLBACK

    def may_win(self, images: Sequence[PixelImage], size: int) -> bool:
        """Of large images probes say that, of small ones a sample: where its share comes within a quarter."""
        if sum(image.width * image.height for image in images) > PROBED_PIXELS * len(images):
            return sum(map(least_size, images)) < size
        sample = images[:: max(1, len(images) // FALLBACK_SAMPLE)]
        return 4 * len(images) * sum(len(encode_item(image)) for image in sample) < 5 * size * len(sample)

    def encode(self, images: Sequence[PixelImage], progress: Progress) -> Coded:
        """Raises ImageError where an image cannot be stored exactly."""
        return Coded(self.coder, encode_fallback(images, progress), range(len(images)))


def candidates(fit: Fit, models: Models, settings: CodingSettings) -> list[Candidate]:
    """The ways to code images of a fit, in the order they are tried in; the fallback costs little beside models."""
    if fit.solid:
        settings = replace(settings, learn=True)
    by_models = [ByModel(entry, models, fit.kind, settings) for entry in fit.entries]
    return [*by_models, ByFallback(cost=0 if by_models else 1)]


def choose(
    images: Sequence[PixelImage], fit: Fit, models: Models, settings: CodingSettings, passes: Passes | None = None
) -> Coded:
    """The smallest coding of images of a fit as one group. passes: is told what is planned, and what is done.

    Of several models, for many images, only that is tried on all which is best on a sample of them.

    Raises:
        ImageError: no model codes an image, and it cannot be stored exactly. ModelError: a model is damaged.
    """
    passes = Passes(images, None) if passes is None else passes
    ways = candidates(fit, models, settings)
    tried = [] if fit.entries else ["no model fits"]
    if len(fit.entries) > 1 and len(images) > SAMPLE:
        sample = images[:: len(images) // SAMPLE]
        sizes = [way.encode(sample, _untold).size for way in ways[:-1]]
        tried += [f"{way.coder} {size} bytes for {len(sample)} of them" for way, size in zip(ways, sizes, strict=False)]
        ways = [ways[sizes.index(min(sizes))], ways[-1]]
    for way in ways:
        passes.plan(way.cost)
    best: Coded | None = None
    for way in ways:
        if best is None or way.may_win(images, best.size):
            coded = way.encode(images, passes.of(way.cost))
            tried.append(f"{coded.coder} {coded.size} bytes")
            if best is None or coded.size < best.size:
                best = coded
        else:
            tried.append(f"{way.coder} not tried, as a quick look says that it is larger")
    assert best is not None  # there is the fallback
    return replace(best, tried=tuple(tried))


def split(
    images: Sequence[PixelImage], fit: Fit, models: Models, settings: CodingSettings
) -> list[tuple[Sequence[int], Fit]]:
    """Which of images of a fit, by their indices, are coded together: all, or of small images of several sizes those
    for which the fallback is better by themselves, or of solid groups that are better frozen those of one size."""
    everything = range(len(images))
    if fit.solid:
        entries = learners(fit.entries, models)
        arrays = [fit.kind.pixels(image) for image in images]
        if chosen_learning(models.model(entries[0]), arrays, settings.learn) is not None:
            return [(everything, replace(fit, entries=tuple(entries)))]
        return _by_shape(images, fit)
    if not fit.entries or not is_mixed(images):
        return [(everything, fit)]
    wins = fallback_wins(models.model(fit.entries[0]), images, fit.kind, settings)
    parts = [([index for index in everything if wins[index] == stored]) for stored in (False, True)]
    return [(part, its_fit) for part, its_fit in zip(parts, (fit, STORED), strict=True) if part]


def _by_shape(images: Sequence[PixelImage], fit: Fit) -> list[tuple[Sequence[int], Fit]]:
    """The images in groups of one size, of about `SOLID_IMAGE_PIXELS` sub-pixels, the first of which come first."""
    parts: list[tuple[list[int], Fit]] = []
    filling: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(images):
        shape = image.height, image.width
        part = filling.get(shape)
        if part is None or sum(images[at].samples for at in part) >= SOLID_IMAGE_PIXELS:
            part = filling[shape] = []
            parts.append((part, replace(fit, shape=shape, solid=False)))
        part.append(index)
    return list(parts)


def fallback_wins(model: Model, images: Sequence[PixelImage], kind: Kind, settings: CodingSettings) -> list[bool]:
    """Of each of many small images whether the fallback takes fewer bytes than a model for any size.

    Looked at closely are images of which a PNG is small, or no smaller than the pixels, and a sample of the others; all
    of these where that shows one for which the fallback wins.
    """
    sizes = [8 * len(png_item(image)) / image.samples for image in images]
    odd = {number for number, size in enumerate(sizes) if not PLAIN_BITS <= size <= 8}
    others = [number for number in range(len(images)) if number not in odd]
    sample = set(others[:: max(1, 2 * len(others) // FALLBACK_SAMPLE)])
    wins = _stored_smaller(model, images, odd | sample, kind, settings)
    if wins & sample:
        wins |= _stored_smaller(model, images, set(others) - sample, kind, settings)
    return [number in wins for number in range(len(images))]


def _stored_smaller(
    model: Model, images: Sequence[PixelImage], numbers: set[int], kind: Kind, settings: CodingSettings
) -> set[int]:
    """Of the images with these numbers those that the fallback stores in fewer bytes than a model's."""
    if not numbers:
        return set()
    ordered = sorted(numbers)
    bits = np.minimum(*model_bits(model, [kind.pixels(images[number]) for number in ordered], settings)).tolist()
    return {n for n, by_model in zip(ordered, bits, strict=True) if 8 * len(encode_item(images[n])) < by_model}


def _untold(_: int) -> None:
    """Nobody wants to know how far a sample is."""
