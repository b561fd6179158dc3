"""Which way to code images takes the fewest bytes: the models that fit them and the fallback, tried in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.codecs.effort import Plan, plan_for
from bbcompress.codecs.fallback.items import encode_item, png_item
from bbcompress.codecs.fallback.probe import least_size
from bbcompress.codecs.groups import is_mixed
from bbcompress.codecs.learned import can_learn, expected_gain
from bbcompress.codecs.mixed import model_bits
from bbcompress.codecs.progress import Passes, pixels_of
from bbcompress.codecs.settings import CodingRequest, CodingSettings
from bbcompress.codecs.ways import FALLBACK_SAMPLE, ByFallback, ByModel, Coded, group_size
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import GREY, Kind, kinds_of
from bbcompress.images.parts import PARTS, parts_of
from bbcompress.limits import BLOCK_SIDE
from bbcompress.models.base import Model
from bbcompress.models.cache import Models
from bbcompress.models.zoo import ModelEntry

SAMPLE = 24
"""Images of a group on which models are compared."""

FAR_SMALLER = 2
"""Where the fallback takes so many times fewer bytes than a model is expected to take, models do not learn."""

PHOTOGRAPH_BITS = 1.5
"""Bits a sub-pixel that the fallback takes at least for images of which a trial of learning may be believed alone."""

PLAIN_BITS = 3.0
"""Bits a sub-pixel below which a PNG says that the fallback may win: drawings have 0.1 to 3, photographs 4 to 7."""

SOLID_IMAGE_PIXELS = 1 << 22
"""Larger images do not join solid groups: their blocks are coded at once."""

MIXED_PIXELS = 1 << 16
"""Images of at most so many pixels join a group of several sizes: alone, each would take far longer than its pixels."""


@dataclass(frozen=True)
class Fit:
    """What images share that may be coded together: what they are to models, the models that fit them, their size.

    entries: none means the fallback. shape: height and width; None where they may have several. solid: the models learn
    from one image after the other. parts: the mode of images in parts, of whose first part all this is said; None of
    others.
    """

    kind: Kind
    entries: tuple[ModelEntry, ...]
    shape: tuple[int, int] | None
    solid: bool = False
    parts: str | None = None


STORED = Fit(GREY, (), None)
"""Of images that no model codes."""


def fit_of(image: PixelImage, models: Models, request: CodingRequest | None = None) -> Fit:
    """What decides with which others an image is coded. Raises ModelError where a model is damaged.

    request: with it, the models are those for its effort, and images from which models may learn join solid groups, at
    every effort alike.
    """
    if image.mode in PARTS:
        fit = fit_of(parts_of(image)[0], models, request)
        return replace(fit, parts=image.mode) if fit.entries else STORED
    shape, pixels = (image.height, image.width), image.width * image.height
    fast = request is not None and plan_for(request).fast
    may_learn = request is not None and request.learn is not False and MIXED_PIXELS < pixels <= SOLID_IMAGE_PIXELS
    for kind in kinds_of(image):
        if entries := models.zoo.candidates(shape, kind, fast):
            any_size = all(entry.input_spec["shape"] is None for entry in entries)
            if any_size and may_learn and learners(entries, models):
                return Fit(kind, tuple(entries), None, solid=True)
            longest = BLOCK_SIDE if request is None or request.block_side is None else request.block_side
            several = any_size and pixels <= MIXED_PIXELS and max(shape) <= longest
            return Fit(kind, tuple(entries), None if several else shape)
    return STORED


def learners(entries: Sequence[ModelEntry], models: Models) -> list[ModelEntry]:
    """Those of the models that can learn from images."""
    return [entry for entry in entries if can_learn(models.model(entry))]


@dataclass(frozen=True)
class _Part:
    """Images that are coded as one group, and the ways by models that are tried on all of them; none where none fits.

    Attributes:
        indices: of the images among all that are chosen for.
        deep: whether the fallback tries the codec for samples of 16 bits.
        tried: what was found before.
    """

    images: Sequence[PixelImage]
    indices: Sequence[int]
    ways: Sequence[ByModel]
    deep: bool
    tried: tuple[str, ...] = ()

    @property
    def _fallback(self) -> ByFallback:
        """It costs little beside models."""
        return ByFallback(cost=0 if self.ways else 1, deep=self.deep)

    def plan(self, passes: Passes) -> None:
        """Tell of all ways."""
        for cost in (*(way.cost for way in self.ways), self._fallback.cost):
            passes.plan(self.images, cost)

    def smallest(self, passes: Passes, size_of: Callable[[Group], int]) -> tuple[Coded, int]:
        """The smallest coding, and the bytes of the smallest by a model where there is one.

        Raises:
            ImageError: no model codes an image, and it cannot be stored exactly. ModelError: a model is damaged.
        """
        tried, found = list(self.tried), []
        for way in self.ways:
            found.append(way.encode(self.images, passes.of(way.cost)))
            tried.append(f"{way.label} {size_of(found[-1].group)} bytes")
        by_models = min((size_of(coded.group) for coded in found), default=None)
        fallback = self._fallback
        if by_models is None or fallback.may_win(self.images, by_models):
            found.append(fallback.encode(self.images, passes.of(fallback.cost)))
            tried.append(f"{fallback.label} {size_of(found[-1].group)} bytes")
        else:
            tried.append(f"{fallback.label} not tried, as a quick look says that it is larger")
        best = min(found, key=lambda coded: size_of(coded.group))
        size = size_of(best.group)
        return replace(best.within(self.indices), tried=tuple(tried)), size if by_models is None else by_models


@dataclass(frozen=True)
class _Choice:
    """The ways in which images of one fit may be coded, before any is tried on all of them.

    Attributes:
        parts: the groups in which they are coded if not `learned`.
        learned: ways to code all as one group by models that learn; none where that is not expected to pay.
        gain: the share of the bytes that learning is expected to save.
        least_gain: the share that it has to save to be taken.
    """

    images: Sequence[PixelImage]
    parts: Sequence[_Part]
    learned: Sequence[ByModel] = ()
    gain: float = -inf
    least_gain: float = 0.0

    def plan(self, passes: Passes) -> None:
        """Tell of all ways."""
        for part in self.parts:
            part.plan(passes)
        for way in self.learned:
            passes.plan(self.images, way.cost)

    def smallest(self, passes: Passes, size_of: Callable[[Group], int]) -> list[Coded]:
        """The smallest coding, in one group or several. passes: where all ways are planned. size_of: the bytes that
        count.

        Raises:
            ImageError: no model codes an image, and it cannot be stored exactly. ModelError: a model is damaged.
        """
        parts = [part.smallest(passes, size_of) for part in self.parts]
        best = [coded for coded, _ in parts]
        size = least = sum(size_of(coded.group) for coded in best)
        if not self.learned:
            expected = f"learning not tried, as a trial expects {_saved(self.gain)}" if self.gain > -inf else ""
            return [_also(coded, expected) for coded in best]
        if FAR_SMALLER * size < (1 - self.gain) * sum(by_models for _, by_models in parts):
            for way in self.learned:
                passes.of(way.cost)(pixels_of(self.images))
            return [_also(coded, "learning not tried, as the fallback is far smaller") for coded in best]
        tried = []
        for way in self.learned:
            coded = way.encode(self.images, passes.of(way.cost))
            its_size = size_of(coded.group)
            tried.append(f"{way.label} {its_size} bytes")
            if its_size < least and its_size <= (1 - self.least_gain) * size:
                best, least = [coded], its_size
        if len(parts) == 1:
            return [replace(coded, tried=(*parts[0][0].tried, *tried)) for coded in best]
        if len(best) == 1:
            return [replace(best[0], tried=(f"in {len(parts)} groups of one size {size} bytes", *tried))]
        return [_also(coded, *(f"together, {words}" for words in tried)) for coded in best]


def _also(coded: Coded, *tried: str) -> Coded:
    """The same, where more was tried."""
    return replace(coded, tried=(*coded.tried, *filter(None, tried)))


def _saved(gain: float) -> str:
    """A share of bytes in words."""
    return f"{100 * abs(gain):.1f} % {'less' if gain >= 0 else 'more'}"


def _learners_of(fit: Fit, models: Models, plan: Plan) -> list[ModelEntry]:
    """Those of the models that can learn which a plan lets learn."""
    found = learners(fit.entries, models)
    return [entry for entry in found if entry.is_fast] if plan.fast and not plan.must_learn else found


def _choice(images: Sequence[PixelImage], fit: Fit, models: Models, plan: Plan) -> _Choice:
    """What may be tried of a plan. Raises ModelError where a model is damaged."""
    everything, learning = range(len(images)), _learners_of(fit, models, plan)
    if fit.solid and plan.must_learn:
        fit = replace(fit, entries=tuple(learning))
    groups = _by_shape(images, fit) if fit.solid and not plan.must_learn else [(everything, fit)]
    parts = [_part([images[index] for index in indices], indices, its_fit, models, plan) for indices, its_fit in groups]
    if not learning or not plan.learned or plan.must_learn:
        return _Choice(images, parts)
    tried = {way.entry for part in parts for way in part.ways}
    learning = [entry for entry in learning if fit.solid or entry in tried]
    arrays = [fit.kind.pixels(image) for image in images]
    known = [model for model in map(models.model, learning) if can_learn(model)]
    gain = max((expected_gain(model, arrays, plan.learned[0].lattices) for model in known), default=-inf)
    worth = gain > plan.least_expected
    if plan.sure_gain <= gain < inf and all(map(_is_photograph, images)):
        expected = f"without learning not tried, as a trial expects that learning takes {_saved(gain)}"
        fit, plan = replace(fit, entries=tuple(learning)), replace(plan, must_learn=True)
        return _Choice(images, [_part(images, everything, fit, models, plan, expected)])
    learned = _ways(learning, plan.learned, fit, models) if worth else []
    return _Choice(images, parts, learned, gain, plan.least_gain)


def _is_photograph(image: PixelImage) -> bool:
    """Whether a quick look says that the fallback takes so many bytes as it takes for photographs."""
    return 8 * least_size(image) >= PHOTOGRAPH_BITS * image.samples


def _part(
    images: Sequence[PixelImage], indices: Sequence[int], fit: Fit, models: Models, plan: Plan, expected: str = ""
) -> _Part:
    """What may be tried of images as one group. expected: what was found before, in words.

    Of several models, for many images, only that is tried on all which is best on a sample of them.
    """
    entries, tried = fit.entries, [expected] if expected else []
    if not entries:
        tried.append("no model fits")
    if len(entries) > 1 and len(images) > SAMPLE and not plan.every_model:
        sample = images[:: len(images) // SAMPLE]
        usual = _ways(entries, plan.frozen[:1], fit, models)
        sizes = [group_size(way.encode(sample, _untold).group) for way in usual]
        tried += [f"{way.label} {size} bytes for {len(sample)} of them" for way, size in zip(usual, sizes, strict=True)]
        entries = entries[sizes.index(min(sizes)) :][:1]
    elif plan.one_model:
        entries = entries[:1]
    learning = learners(entries, models) if plan.must_learn else []
    frozen = [entry for entry in entries if entry not in learning]
    ways = [*_ways(learning, plan.learned, fit, models), *_ways(frozen, plan.frozen, fit, models)]
    return _Part(images, indices, ways, plan.deep, tuple(tried))


def _ways(entries: Sequence[ModelEntry], settings: Sequence[CodingSettings], fit: Fit, models: Models) -> list[ByModel]:
    """All of the settings with all of the models."""
    return [ByModel(entry, models, fit.kind, way) for entry in entries for way in settings]


def cost_of_reading(fit: Fit, models: Models, request: CodingRequest) -> int:
    """About how many passes of a model over the pixels it takes at most to read what is chosen."""
    plan = plan_for(request)
    settings = [*plan.frozen, *(plan.learned if _learners_of(fit, models, plan) else ())]
    return max(way.cost for way in _ways(fit.entries, settings, fit, models)) if fit.entries else 1


def plan_choice(
    images: Sequence[PixelImage], fit: Fit, models: Models, request: CodingRequest, passes: Passes
) -> Callable[[Callable[[Group], int]], list[Coded]]:
    """Plan the choice for images of a fit, which are not in parts, and give what makes it, of the bytes that count.

    That finds the smallest coding, as one group or several. Of small images of several sizes those for which the
    fallback is better are by themselves, and images that are coded without learning from one to the next are in groups
    of one size.

    passes: is told what is planned, and what is done.

    Raises:
        ImageError: no model codes an image, and it cannot be stored exactly. ModelError: a model is damaged.
    """
    plan = plan_for(request)
    choices = [
        (indices, _choice([images[index] for index in indices], its_fit, models, plan))
        for indices, its_fit in _split(images, fit, models, request)
    ]
    for _, choice in choices:
        choice.plan(passes)

    def carry_out(size_of: Callable[[Group], int]) -> list[Coded]:
        found: list[Coded] = []
        for indices, choice in choices:
            found += [coded.within(indices) for coded in choice.smallest(passes, size_of)]
        return found

    return carry_out


def _split(
    images: Sequence[PixelImage], fit: Fit, models: Models, request: CodingRequest
) -> list[tuple[Sequence[int], Fit]]:
    """Which of images of a fit, by their indices, are coded together: all, or of small images of several sizes those
    for which the fallback is better by themselves."""
    everything = range(len(images))
    if fit.solid or not fit.entries or not is_mixed(images):
        return [(everything, fit)]
    wins = fallback_wins(models.model(fit.entries[0]), images, fit.kind, request.usual)
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
