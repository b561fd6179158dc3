"""What is known of the images of a file before any is decoded: names, sizes, modes, coders, times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.codecs.fallback.items import item_mode, item_size
from bbcompress.codecs.mixed import mixed_sizes
from bbcompress.errors import ModelError
from bbcompress.limits import Limits
from bbcompress.models.zoo import Zoo

ImageInfo = tuple[tuple[int, int] | None, str | None]
"""Size (width, height) in pixels and mode of an image, each None where it is not known."""


@dataclass(frozen=True)
class ListEntry:
    """An image of a file.

    name: None for an image without one.
    size: width and height in pixels. mode: Pillow's, with `;16` for 16 bits a sample. None where only a model that is
        not installed could tell, or where the group is damaged.
    coder: the name of the model, its id where it is not installed, or `fallback raw`, `fallback PNG`, `fallback WebP`;
        None where the group is damaged.
    k: K of its group; 0 where there are none.
    time: when it was modified, in seconds since 1970; None if the file does not say.
    """

    name: str | None
    size: tuple[int, int] | None
    mode: str | None
    coder: str | None
    k: int
    time: int | None


def stored_info(items: Sequence[bytes]) -> list[ImageInfo]:
    """Size and mode of the images of a fallback group, as its items say.

    Raises:
        FormatError: an item does not say its size and mode.
    """
    return [(item_size(item), item_mode(item)) for item in items]


def mixed_info(group: Group, zoo: Zoo, limits: Limits) -> list[ImageInfo]:
    """Size and mode of the images of a group of several sizes.

    Raises:
        FormatError: the file is damaged.
    """
    _, mode = coded_info(group.header, zoo)
    return [(size, mode) for size in mixed_sizes(group, limits)]


def coded_info(header: GroupHeader, zoo: Zoo) -> ImageInfo:
    """Size and mode of each image of a group that a model codes; no size where there are several."""
    size, kind = header.size, header.kind
    try:
        entry = zoo.named(header.model)[0]
        kind = kind or entry.kind
        if size is None and entry.input_spec["shape"] is not None:
            height, width = entry.input_spec["shape"]
            size = int(width), int(height)
    except (ModelError, TypeError, ValueError):  # it is not installed, or its card is odd
        pass
    return size, None if kind is None else kind.mode
