"""Which files are kept as they are, byte for byte, because their images would take more bytes. See docs/format.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bbcompress.archive.group import Group
from bbcompress.codecs.choose import Fit
from bbcompress.codecs.estimate import estimated_bits
from bbcompress.codecs.fallback.items import item_codec
from bbcompress.codecs.fallback.kept import encode_kept
from bbcompress.codecs.fallback.probe import least_size
from bbcompress.codecs.settings import CodingSettings
from bbcompress.codecs.ways import Coded
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import Metadata, encode_metadata
from bbcompress.images.parts import parts_of
from bbcompress.models.cache import Models
from bbcompress.wire import varint

LONE_MARGIN = 1.2
"""A lone image is coded before its file is kept, unless the estimate is above so many times the file."""

PROBED_BITS = 4.0
"""Files of fewer bits a sub-pixel may be smaller than what any model makes of them: photographs without loss have 2 to
4, as JPEGs they have 0.2 to 3."""

PROBED_PIXELS = 1 << 16
"""Smaller images are coded without an estimate."""


@dataclass(frozen=True)
class SourceFile:
    """The file that an image comes from.

    Attributes:
        data: its bytes.
        must_stay: whether the image alone would not be all that the file holds, so that it can only be kept.
    """

    data: bytes
    must_stay: bool = False


Files = Sequence[SourceFile | None]
"""Of each image the file that it comes from, None for one that may not be kept as a file."""


def kept(images: Sequence[PixelImage], files: Sequence[SourceFile]) -> Coded:
    """The files as a group."""
    items = [encode_kept(file.data, image) for file, image in zip(files, images, strict=True)]
    return Coded(item_codec(items[0]), Group.of_items(items), range(len(items)), ("the file is smaller",))


def surely_smaller(
    image: PixelImage, file: SourceFile | None, fit: Fit, models: Models, settings: CodingSettings, margin: float
) -> bool:
    """Whether a file has to be kept, or can be without coding its image: a look at parts of that says that no model and
    no codec of the fallback comes near the file's size.

    Args:
        margin: the estimate that is so many times the file's size is enough.
    """
    if file is None or file.must_stay:
        return file is not None
    size = len(file.data)
    if image.width * image.height <= PROBED_PIXELS or 8 * size >= PROBED_BITS * image.samples:
        return False
    if least_size(image) <= size:
        return False
    coded = image if fit.parts is None else parts_of(image)[0]
    estimates = (estimated_bits(fit.kind.pixels(coded), models.model(entry), settings) for entry in fit.entries)
    return all(8 * size * margin < estimate for estimate in estimates)


def keep_smaller(coded: Coded, images: Sequence[PixelImage], files: Files) -> Coded:
    """A group in which the files stand that are smaller than what was coded.

    In a group of the fallback each file that is smaller than the item of its image takes its place. Where a model coded
    the images, the files do, if all of them together are smaller.

    Args:
        images, files: in the order in which they were given to what coded them.
    """
    if all(file is None for file in files):
        return coded
    ordered = [(images[index], files[index]) for index in coded.indices]
    group = coded.group
    if not group.header.fallback:
        present = [(image, file.data) for image, file in ordered if file is not None]
        coded_size = len(group.payload) + len(group.metadata)
        if len(present) < len(ordered) or sum(len(data) for _, data in present) >= coded_size:  # no copies of the files
            return coded
        items = [encode_kept(data, image) for image, data in present]
        if sum(len(varint(len(item))) + len(item) for item in items) >= coded_size:
            return coded
        kept_items: list[bytes] = items
        its_records: list[Metadata] = [()] * len(items)
    else:
        kept_items, its_records = [], []
        for item, (image, file) in zip(group.items, ordered, strict=True):
            its = image.metadata
            of_image = len(item) + (len(encode_metadata([its])) if its else 0)
            mine = b"" if file is None or len(file.data) >= of_image else encode_kept(file.data, image)
            smaller = bool(mine) and len(mine) < of_image
            kept_items.append(mine if smaller else item)
            its_records.append(() if smaller else its)
        if kept_items == group.items:
            return coded
    tried = (*coded.tried, "files are smaller")
    made = Group.of_items(kept_items).described(encode_metadata(its_records))
    return Coded(item_codec(kept_items[0]), made, coded.indices, tried)
