"""Where the bits of a file go: the cost of each pixel of an image, and a list that adds up to the file's size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.codecs.costs import CHECK_BITS, GroupCosts, ImageCosts, bits_by_image
from bbcompress.codecs.fallback.items import item_mode
from bbcompress.codecs.fallback.kept import KeptFile, is_kept
from bbcompress.codecs.learned import lattices_of
from bbcompress.codecs.progress import Progress
from bbcompress.codecs.ways import FALLBACK, stored_by
from bbcompress.images.image import PixelImage, bits_of
from bbcompress.limits import MAX_SIDE, Limits
from bbcompress.pipeline.reader import Reader
from bbcompress.text import count_of

NumpyArray = np.ndarray[Any, Any]

NOTES = {
    "prefix": "say that the file is one of bbc",
    "group_headers": "models, settings and layouts",
    "metadata": "EXIF, ICC profile, text and the like",
    "checksums": "tell whether the file is as it was written",
    "names": "of the images",
    "times": "when the images were modified",
    "index": "where each group is",
    "footer": "where the index is",
    "models": "that the file carries",
    "previews": "small pictures, for thumbnails and sheets",
    "manifest": "which shards there are",
    "unfinished": "an addition that was cut off",
    "behind": "no part of the file",
}
"""What the parts of a file are for."""


@dataclass(frozen=True)
class Part:
    """What a part of a file takes, and what it is. of_image: whether it is of the image that is explained alone."""

    name: str
    bits: float
    note: str = ""
    of_image: bool = False


@dataclass(frozen=True)
class Explanation:
    """Where the bits of an image go.

    Attributes:
        image: the image.
        name: its name in the file; None where it has none.
        coder: what coded it, and `settings`, how.
        pixels, latents: bits that each of its pixels takes, (H, W): by p(x|z), and for the z of its tile, spread
            evenly. None where the bits cannot be told apart by pixels; `unknown` says why, also where that is so of a
            part of the image alone.
        parts: of the file. They add up to its size, `file_bytes`.
    """

    image: PixelImage
    name: str | None
    coder: str
    settings: tuple[str, ...]
    pixels: NumpyArray | None
    latents: NumpyArray | None
    unknown: str
    parts: tuple[Part, ...]
    file_bytes: int

    @property
    def bits(self) -> NumpyArray | None:
        """Bits that each pixel takes, its share of z with them, (H, W)."""
        return None if self.pixels is None or self.latents is None else self.pixels + self.latents

    @property
    def image_bits(self) -> float:
        """Of the image alone."""
        return sum(part.bits for part in self.parts if part.of_image)

    @property
    def bits_per_pixel(self) -> float:
        """Of the image alone."""
        return self.image_bits / (self.image.width * self.image.height)


@dataclass(frozen=True)
class _Piece:
    """An image, or a part of one, as it lies in a group: at which index, and what the group spends.

    name: of the part; empty for a whole image.
    """

    group: Group
    index: int
    costs: GroupCosts
    name: str = ""

    def called(self, what: str) -> str:
        """What is listed of it."""
        return f"{what}, {self.name}" if self.name else what


def explain(reader: Reader, position: int, progress: Progress | None = None) -> Explanation:
    """Where the bits of the image at a position go; its group is decoded, and its costs are computed again.

    Raises:
        FormatError, ModelError, LimitError: as of `Reader.read_group`. IndexError: there is no such image.
    """
    number, index = reader.file.locate(position)
    content, costs = reader.read_costs(number, progress)
    group = reader.file.read_group(number)
    found = content[index]
    image = found if isinstance(found, PixelImage) else found.image()
    coder = reader.facts(group).coders[index]
    maps: list[ImageCosts] = []
    unknown: list[str] = []
    parts: list[Part] = []
    settings: list[str] = []
    for piece in _pieces(group, index, costs):
        its_map, why = _map_of(piece, image)
        maps += [] if its_map is None else [its_map]
        unknown += [why] if why else []
        parts += _of_piece(piece)
        settings += [piece.called(words) for words in _settings(piece)]
    parts += _beside(group, index, costs)
    parts += _of_file(reader, group)
    return Explanation(
        image,
        reader.names[position],
        coder,
        tuple(settings),
        sum((one.pixels for one in maps[1:]), maps[0].pixels) if maps else None,
        sum((one.latents for one in maps[1:]), maps[0].latents) if maps else None,
        " ".join(unknown),
        tuple(parts),
        round(sum(part.bits for part in parts)) // 8,
    )


def _pieces(group: Group, index: int, costs: GroupCosts) -> Iterator[_Piece]:
    """The image at an index of a group, or each of its parts."""
    if group.header.parts is None:
        yield _Piece(group, index, costs)
        return
    names = _PART_NAMES[group.header.parts]
    for part in costs.parts:
        if index in part.positions:
            yield _Piece(part.group, list(part.positions).index(index), part.costs, names[part.number])


_PART_NAMES = {"LA": ("grey", "alpha"), "RGBA": ("colours", "alpha")}


def _map_of(piece: _Piece, image: PixelImage) -> tuple[ImageCosts | None, str]:
    """The bits of each pixel, or why they are not known."""
    if not piece.group.header.fallback:
        return piece.costs.images[piece.index], ""
    item = piece.group.items[piece.index]
    coder = stored_by(item).removeprefix(f"{FALLBACK} ")
    what = f"The {piece.name or 'image'}"
    if is_kept(item):
        form = KeptFile.decode(item, image.width * image.height).form.name
        return None, f"The {form} file is kept as it is, byte for byte: its bits are those of {form}, not of pixels."
    if coder == "raw":
        bits = np.full((image.height, image.width), bits_of(item_mode(item)), np.float32)
        return ImageCosts(bits, np.zeros_like(bits)), ""
    return None, f"{what} is stored by {coder}, whose codes stand for runs of pixels: no pixel has bits of its own."


def _of_piece(piece: _Piece) -> Iterator[Part]:
    """What an image, or a part of it, takes alone."""
    if piece.group.header.fallback:
        item = piece.group.items[piece.index]
        yield Part(piece.called("stored image"), 8.0 * len(item), stored_by(item), of_image=True)
        return
    own = piece.costs.images[piece.index]
    yield Part(piece.called("pixels"), own.pixel_bits, "-log2 p(x|z)", of_image=True)
    yield Part(piece.called("latent variables z"), own.latent_bits, "-log2 p(z), less what q(z|x) gives back", True)


def _beside(group: Group, index: int, costs: GroupCosts) -> Iterator[Part]:
    """What the payload of a group holds beside an image."""
    groups = [(group, costs)] if group.header.parts is None else [(part.group, part.costs) for part in costs.parts]
    if group.header.count > 1:
        others = np.delete(bits_by_image(group, costs), index).sum()
        yield Part("other images of its group", float(others), count_of(group.header.count - 1))
    messages = [its_costs for its, its_costs in groups if not its.header.fallback]
    if messages:
        lanes = count_of(sum(one.lanes for one in messages), "lane")
        bits = sum(one.overhead_bits for one in messages)
        yield Part("checks and coder", bits, f"{lanes}, {CHECK_BITS} bits of checksum each")
    rest = len(group.payload) - sum(one.message_bytes for one in messages)
    rest -= sum(sum(map(len, its.items)) for its, _ in groups if its.header.fallback)
    if rest > 0:
        yield Part("layout", 8.0 * rest, "sizes, lengths, blocks, batches, colours, beginnings")


def _settings(piece: _Piece) -> Iterator[str]:
    """How a model coded an image, a few words each; none where none did."""
    header, learning = piece.group.header, piece.group.header.learning
    if header.fallback:
        return
    if learning is not None and not learning.batches:
        yield f"learning at a rate of {learning.rate / 1e6:g} every {learning.unit} pixels"
        name = lattices_of(piece.group, Limits(MAX_SIDE**2))[piece.index]
        if name is not None:
            yield f"colours of {name}"
        return
    if header.count > 1 or header.blocks:
        yield f"encoder {header.encoder}"
        yield f"K = {header.k}"
    else:
        yield "coded directly"
    if learning is not None:
        yield f"learning between batches at a rate of {learning.rate / 1e6:g} every {learning.unit} z"


def _of_file(reader: Reader, group: Group) -> Iterator[Part]:
    """What the file has beside the payload of this group."""
    for name, size in asdict(reader.file.accounting()).items():
        if name == "payloads":
            if (others := size - len(group.payload)) > 0:
                yield Part("other groups", 8.0 * others, count_of(len(reader.file.groups) - 1, "group"))
        elif size:
            label = {"prefix": "first bytes", "group_headers": "headers", "behind": "bytes behind it"}.get(name, name)
            yield Part(label, 8.0 * size, NOTES[name])
