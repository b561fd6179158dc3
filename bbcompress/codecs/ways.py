"""The ways to code images of one kind as a group: a model with settings of its own, and the fallback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bbcompress.archive.group import Group
from bbcompress.codecs.fallback.items import encode_item, item_codec
from bbcompress.codecs.fallback.kept import is_kept
from bbcompress.codecs.fallback.probe import least_size
from bbcompress.codecs.groups import encode_fallback, encode_images, is_mixed
from bbcompress.codecs.learned import UNIT
from bbcompress.codecs.mixed import arrange
from bbcompress.codecs.progress import Progress, pixels_of
from bbcompress.codecs.settings import CodingSettings
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import Kind
from bbcompress.limits import USUAL_ENCODER
from bbcompress.models.base import encoder_of
from bbcompress.models.cache import Models
from bbcompress.models.zoo import ModelEntry

FALLBACK = "fallback"
"""What is told of images that no model coded; which of raw, PNG, WebP and deep stores them follows."""

PARTS_NAME = "parts"
"""What is told of groups in parts; what codes each part follows."""

FALLBACK_SAMPLE = 16
"""Images of a group on which the fallback is tried before it is tried on all of them."""

PROBED_PIXELS = 10_000
"""Images of more pixels, in the mean, are probed before the fallback is tried on them."""

LEARNING_COST = 4
"""A pass of a model that learns takes about so many times as long as one of a model that does not."""


@dataclass(frozen=True)
class Coded:
    """Images as a group.

    Attributes:
        coder: what coded them: a model's name, or the fallback.
        indices: the order in which it holds the images that were given, by their indices.
        tried: what was tried and with what result, a few words each.
        label: the way in which they are coded, in words, where it says more than `coder`.
        parts: where the group is in parts, how each of them is coded; `indices` are of the images of the group.
    """

    coder: str
    group: Group
    indices: Sequence[int]
    tried: tuple[str, ...] = ()
    label: str = ""
    parts: Sequence[Sequence[Coded]] = ()

    @property
    def coders(self) -> list[str]:
        """What is told of each image, in the order of the group: what coded it, or each of its parts."""
        if self.parts:
            by_part = []
            for part in self.parts:
                found = {at: name for coded in part for at, name in zip(coded.indices, coded.coders, strict=True)}
                by_part.append([found[at] for at in range(len(found))])
            return [in_parts(names) for names in zip(*by_part, strict=True)]
        if self.group.header.fallback:
            return [*map(stored_by, self.group.items)]
        return [self.coder] * self.group.header.count

    @property
    def k(self) -> int:
        """The largest K of the group and its parts."""
        return max([self.group.header.k, *(coded.k for part in self.parts for coded in part)])

    def within(self, indices: Sequence[int]) -> Coded:
        """The same of images that are some of others, by their indices there."""
        return replace(self, indices=[indices[index] for index in self.indices])


def stored_by(item: bytes) -> str:
    """What is told of an image that this item of the fallback stores. FormatError where it is damaged."""
    return item_codec(item) if is_kept(item) else f"{FALLBACK} {item_codec(item)}"


def in_parts(coders: Sequence[str]) -> str:
    """What is told of an image whose colours, or grey, and alpha are coded so."""
    colours, alpha = coders
    return f"{colours}, alpha {alpha.removeprefix(FALLBACK).strip()}"


def group_size(group: Group) -> int:
    """Bytes of a group in an archive, but for what all ways of coding its images have alike."""
    return len(group.header.encode_group()) + len(group.payload)


@dataclass(frozen=True)
class ByModel:
    """A model, with settings of its own."""

    entry: ModelEntry
    models: Models
    kind: Kind
    settings: CodingSettings

    @property
    def label(self) -> str:
        """The model's name, and how the settings differ from the usual ones."""
        way, words = self.settings, self.entry.name
        if way.encoder != USUAL_ENCODER:
            words += f" by {encoder_of(self.entry.card, way.encoder)}"
        if way.k:
            words += f" with K = {way.k}"
        if way.learn:
            words += f" learning every {UNIT if way.learn_unit is None else way.learn_unit} pixels"
            words += "" if way.learn_rate is None else f" at {way.learn_rate}e-6"
        return words

    @property
    def cost(self) -> int:
        """Each of K steps goes through the decoder forward and back."""
        learns = self.settings.learn or self.settings.learn_between
        return (LEARNING_COST if learns else 1) + self.settings.k

    def encode(self, images: Sequence[PixelImage], progress: Progress) -> Coded:
        """In the order in which it best takes them."""
        model = self.models.model(self.entry)
        indices, direct = list(range(len(images))), 1
        if model.weights.shape is None and is_mixed(images) and not self.settings.learn:
            indices, direct = arrange(model, [self.kind.pixels(image) for image in images], self.settings)
        ordered = [images[index] for index in indices]
        group = encode_images(model, ordered, self.kind, self.settings, progress, direct)
        return Coded(self.entry.name, group, indices, label=self.label)


@dataclass(frozen=True)
class ByFallback:
    """Raw, PNG, WebP or, of 16 bits, deep, whichever is the smallest for each image. deep: whether that is tried."""

    cost: int = 1
    label: str = FALLBACK
    deep: bool = True

    def may_win(self, images: Sequence[PixelImage], size: int) -> bool:
        """Whether it may take fewer than so many bytes: a quick look, where one can say no. Of large images probes say
        that, of small ones a sample: where its share comes within a quarter."""
        if pixels_of(images) > PROBED_PIXELS * len(images):
            return sum(map(least_size, images)) < size
        sample = images[:: max(1, len(images) // FALLBACK_SAMPLE)]
        return 4 * len(images) * sum(len(encode_item(image)) for image in sample) < 5 * size * len(sample)

    def encode(self, images: Sequence[PixelImage], progress: Progress) -> Coded:
        """Raises ImageError where an image cannot be stored exactly."""
        return Coded(FALLBACK, encode_fallback(images, progress, self.deep), range(len(images)))
