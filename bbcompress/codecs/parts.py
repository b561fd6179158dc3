"""Images coded in parts: their colours, or grey, and their alpha as if they were images of their own.

Each part is coded in the way that takes the fewest bytes, by a model or by the fallback. Images for which the fallback
as a whole is the smaller, as it mostly is of drawings, are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bbcompress.archive.group import Group
from bbcompress.archive.parts import Part
from bbcompress.codecs.choose import STORED, Fit, fit_of, plan_choice
from bbcompress.codecs.estimate import estimated_bits
from bbcompress.codecs.fallback.items import encode_item
from bbcompress.codecs.groups import group_of_parts
from bbcompress.codecs.learned import LEAST_PIXELS, can_learn
from bbcompress.codecs.progress import Passes
from bbcompress.codecs.settings import CodingRequest
from bbcompress.codecs.ways import FALLBACK, PARTS_NAME, Coded, group_size
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import encode_metadata
from bbcompress.images.parts import parts_of
from bbcompress.models.cache import Models

PART_NAMES = "colours", "alpha"
"""What is told of the parts; the first may be grey."""

LEARNING_MARGIN = 2
"""An image that may be learned from is stored without a trial where a model without learning is expected to take so
many times the bytes of the fallback: of soft alpha, learning saves up to a half, by a model that is trained for it."""


Planned = Callable[[Callable[[Group], int]], list[Coded]]
"""What makes a choice, of the bytes that count, when all choices are planned."""


def choose_in_parts(
    images: Sequence[PixelImage],
    fit: Fit,
    models: Models,
    request: CodingRequest,
    passes: Passes,
    size_of: Callable[[Group], int] = group_size,
) -> list[Coded]:
    """The smallest coding of images of a fit, in parts or not, as one group or several. size_of: the bytes that count.
    Other arguments, and errors, are those of `plan_choice`."""
    if fit.parts is None:
        return plan_choice(images, fit, models, request, passes)(size_of)
    items = [encode_item(image) for image in images]
    wins = _fallback_wins([parts_of(image)[0] for image in images], items, [fit] * len(images), models, request)
    tried = [index for index, stored in enumerate(wins) if not stored]
    stored = [index for index, stored in enumerate(wins) if stored]
    words = "parts not tried, as a quick look says that they are larger"
    if tried:
        some = [images[index] for index in tried]
        coded = _by_parts(some, fit, models, request, passes)
        size, size_stored = size_of(coded.group), size_of(_stored(some, [items[index] for index in tried]))
        both = f"in parts {size} bytes", f"{FALLBACK} {size_stored} bytes"
        if size < size_stored:
            found = [_also(coded.within(tried), *both)]
            return [*found, _coded(images, items, stored, words)] if stored else found
        words = "; ".join(both)
    return [_coded(images, items, range(len(images)), words)]


def _by_parts(images: Sequence[PixelImage], fit: Fit, models: Models, request: CodingRequest, passes: Passes) -> Coded:
    """The images as a group in parts."""
    by_part = list(zip(*map(parts_of, images), strict=True))
    choices = []
    for number, part in enumerate(by_part):
        planned: list[tuple[Sequence[int], Planned]] = []
        fits = [replace(fit, parts=None)] * len(part) if number == 0 else _fits(part, fit.solid, models, request)
        for its_fit in dict.fromkeys(fits):
            indices = [index for index, other in enumerate(fits) if other == its_fit]
            some = [part[index] for index in indices]
            planned.append((indices, plan_choice(some, its_fit, models, request, passes)))
        choices.append(planned)
    found: list[list[Coded]] = []
    for planned in choices:
        found.append([its.within(indices) for indices, carry_out in planned for its in carry_out(group_size)])
    parts = [Part([its.group for its in part], [index for its in part for index in its.indices]) for part in found]
    tried = tuple(
        f"{name}: {words}" for name, part in zip(PART_NAMES, found, strict=True) for its in part for words in its.tried
    )
    label = " and ".join(dict.fromkeys(its.label or its.coder for part in found for its in part))
    return Coded(PARTS_NAME, group_of_parts(images, parts), range(len(images)), tried, label, found)


def _fits(images: Sequence[PixelImage], solid: bool, models: Models, request: CodingRequest) -> list[Fit]:
    """The fit of each part, `STORED` where the fallback is expected to be the smaller.

    solid: whether models may learn from one to the next.
    """
    fits = [fit_of(image, models, request) for image in images]
    wins = _fallback_wins(images, [encode_item(image) for image in images], fits, models, request)
    return [
        STORED if stored else replace(fit, solid=fit.solid and solid) for stored, fit in zip(wins, fits, strict=True)
    ]


def _fallback_wins(
    images: Sequence[PixelImage], items: Sequence[bytes], fits: Sequence[Fit], models: Models, request: CodingRequest
) -> list[bool]:
    """Of each image whether its item surely takes fewer bytes than a model that fits, by a quick look.

    Args:
        items: of these images, or of images of which they are a part.
    """
    wins = []
    for image, item, fit in zip(images, items, fits, strict=True):
        if not fit.entries:
            wins.append(True)
            continue
        model = models.model(fit.entries[0])
        may_learn = request.learn is not False and can_learn(model) and image.width * image.height >= LEAST_PIXELS
        margin = LEARNING_MARGIN if may_learn else 1
        wins.append(8 * len(item) * margin < estimated_bits(fit.kind.pixels(image), model, request.usual))
    return wins


def _stored(images: Sequence[PixelImage], items: Sequence[bytes]) -> Group:
    """The images as a group of these items."""
    return Group.of_items(items).described(encode_metadata([image.metadata for image in images]))


def _coded(images: Sequence[PixelImage], items: Sequence[bytes], indices: Sequence[int], words: str) -> Coded:
    """Those images as a group of their items."""
    group = _stored([images[index] for index in indices], [items[index] for index in indices])
    return Coded(FALLBACK, group, indices, (f"{FALLBACK} {group_size(group)} bytes", words))


def _also(coded: Coded, *tried: str) -> Coded:
    """The same, where more was tried."""
    return replace(coded, tried=(*coded.tried, *tried))
