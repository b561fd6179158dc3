"""What is known of the images of a file before any is decoded: names, sizes, modes, coders, times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from bbcompress.archive.embedded import ModelPlace
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.names import Lazy
from bbcompress.archive.parts import decode_parts
from bbcompress.codecs.fallback.items import item_codec, item_mode, item_size
from bbcompress.codecs.fallback.kept import ANY_SIZE, KeptFile, is_kept
from bbcompress.codecs.learned import lattices_of
from bbcompress.codecs.mixed import mixed_sizes
from bbcompress.codecs.ways import FALLBACK, PARTS_NAME, in_parts, stored_by
from bbcompress.errors import EmbeddedModelError, ModelError
from bbcompress.images.image import bits_of
from bbcompress.images.parts import PARTS
from bbcompress.limits import Limits
from bbcompress.models.zoo import ModelEntry, Zoo

T = TypeVar("T")

ImageInfo = tuple[tuple[int, int] | None, str | None]
"""Size (width, height) in pixels and mode of an image, each None where it is not known."""


@dataclass(frozen=True)
class ListEntry:
    """An image of a file.

    name: None for an image without one.
    size: width and height in pixels. mode: Pillow's, with `;16` for 16 bits a sample. None where only a model that is
        not installed could tell, or where the group is damaged.
    coder: the name of the model, its id where it is not installed, or `fallback raw`, `fallback PNG`, `fallback WebP`,
        or `kept` and the format of a file that is kept as it is; of an image in parts what codes its colours, then
        `, alpha ` and what codes that; None where the group is damaged.
    k: K of its group; 0 where there are none.
    time: when it was modified, in seconds since 1970; None if the file does not say.
    bytes: that the image takes, where it is by itself: an image that is stored or kept, or alone in its group. None
        where several are coded together.
    metadata: names of what there is beside the pixels; of a file that is kept as it is none are listed.
    colours: the decoder from which the model knows that the image comes, such as `JPEG` or `Photo CD`; None where it
        knows of none, and where that was not asked for.
    """

    name: str | None
    size: tuple[int, int] | None
    mode: str | None
    coder: str | None
    k: int
    time: int | None
    bytes: int | None = None
    metadata: tuple[str, ...] = ()
    colours: str | None = None

    @property
    def raw_bytes(self) -> int | None:
        """Of the pixels without compression; None where size or mode is not known."""
        if self.size is None or self.mode is None:
            return None
        return (self.size[0] * self.size[1] * bits_of(self.mode) + 7) // 8


class Same(Lazy[T]):
    """A sequence of one item so many times."""

    def __init__(self, item: T, count: int) -> None:
        self.item, self._count = item, count

    def __len__(self) -> int:
        return self._count

    def _at(self, index: int) -> T:
        return self.item


class _Coders(Lazy[str]):
    """What stores each image of a group of the fallback; FormatError for an item that is damaged."""

    def __init__(self, items: Sequence[bytes]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def _at(self, index: int) -> str:
        return stored_by(self._items[index])


@dataclass(frozen=True)
class GroupFacts:
    """What is known of the images of a group before they are decoded.

    coders: of each image, the name of its model, the model's id where it is not installed, or `fallback raw`, `fallback
        PNG`, `fallback WebP`, or `kept` and the format of a file that is kept as it is; or those of its parts.
    images: size and mode of each. k: K, the largest of the parts.
    parts: of a group in parts, the groups of each part and what is known of these.
    """

    coders: Sequence[str]
    images: Sequence[ImageInfo]
    k: int = 0
    parts: Sequence[Sequence[tuple[Group, GroupFacts]]] = ()

    @property
    def counted(self) -> Iterable[tuple[ImageInfo, int]]:
        """Size and mode of images, and of how many, in the order of the images."""
        if isinstance(self.images, Same):
            return [(self.images.item, len(self.images))]
        return ((info, 1) for info in self.images)


def facts_of(header: GroupHeader, read: Callable[[], Group], zoo: Zoo, limits: Limits) -> GroupFacts:
    """What is known of a group.

    Args:
        read: gives the group; called only where its header does not say all.

    Raises:
        FormatError: the file is damaged.
    """
    if header.fallback:
        items = read().items
        return GroupFacts(_Coders(items), [(item_size(item), item_mode(item)) for item in items])
    if header.parts is not None:
        return _facts_of_parts(header, header.parts, read().payload, zoo, limits)
    name, size, mode = _of_model(header, zoo)
    coders = Same(name, header.count)
    if header.is_mixed:
        return GroupFacts(coders, [(its, mode) for its in mixed_sizes(read(), limits)], header.k)
    return GroupFacts(coders, Same((size, mode), header.count), header.k)


def _same(group: Group) -> Group:
    return group


def _facts_of_parts(header: GroupHeader, mode: str, payload: bytes, zoo: Zoo, limits: Limits) -> GroupFacts:
    """What is known of a group in parts: the sizes are those of the first part."""
    coders: list[list[str]] = [[] for _ in range(header.count)]
    sizes: list[tuple[int, int] | None] = [None] * header.count
    parts = []
    for number, part in enumerate(decode_parts(payload, header.count, len(PARTS[mode]), limits)):
        parts.append([(group, facts_of(group.header, partial(_same, group), zoo, limits)) for group in part.groups])
        its_coders = [coder for _, facts in parts[-1] for coder in facts.coders]
        for position, coder in zip(part.positions, its_coders, strict=True):
            coders[position].append(coder)
        if number == 0:
            found = [info[0] for _, facts in parts[0] for info in facts.images]
            for position, size in zip(part.positions, found, strict=True):
                sizes[position] = size
    k = max(facts.k for part in parts for _, facts in part)
    return GroupFacts([*map(in_parts, coders)], [(size, mode) for size in sizes], k, parts)


def _of_model(header: GroupHeader, zoo: Zoo) -> tuple[str, tuple[int, int] | None, str | None]:
    """The name of the model that coded a group, and size and mode of its images, as far as they are all the same."""
    size, mode = header.size, None if header.kind is None else header.kind[0]
    try:
        entry = zoo.named(header.model)[0]
        name = entry.name
    except EmbeddedModelError:
        name = f"{header.model.hex()}... (damaged in the file)"
    except ModelError:
        name = f"{header.model.hex()}... (not installed)"
    else:
        with suppress(ModelError, TypeError, ValueError):  # of an odd card
            mode = mode or entry.kind.mode
            if size is None and entry.input_spec["shape"] is not None:
                height, width = entry.input_spec["shape"]
                size = int(width), int(height)
    return name, size, mode


def colours_of(group: Group, limits: Limits) -> Sequence[str | None]:
    """For each image of a group the decoder from whose colours the model learns, as `ListEntry` names it.

    Raises:
        FormatError: the file is damaged.
    """
    header = group.header
    if header.parts is None:
        is_told = header.learning is not None and header.learning.lattices
        return lattices_of(group, limits) if is_told else Same(None, header.count)
    part = decode_parts(group.payload, header.count, len(PARTS[header.parts]), limits)[0]
    found: list[str | None] = [None] * header.count
    names = (name for its in part.groups for name in colours_of(its, limits))
    for position, name in zip(part.positions, names, strict=True):
        found[position] = name
    return found


def models_of(header: GroupHeader, facts: GroupFacts) -> Counter[bytes]:
    """The first bytes of the ids of the models that code a group, and the images of each."""
    found: Counter[bytes] = Counter()
    if header.by_model:
        found[header.model] += header.count
    for part in facts.parts:
        for group, its in part:
            found += models_of(group.header, its)
    return found


def describe_models(used: Mapping[bytes, int], places: Sequence[ModelPlace], zoo: Zoo) -> list[dict[str, Any]]:
    """The models that code a file, and those that it carries, as JSON values.

    Args:
        used: the images that each codes, by first bytes of its id. places: of those that the file carries.

    Returns:
        For each `name`, None where that is not known; `id`, or what the file says of it; `images`, or parts of them,
        that it codes; `installed`; `bytes` that it takes in the file, None where it is not in it; and as `fault` what
        is wrong with the one in the file, else None.
    """
    carried = {place.id: place for place in places}
    prefixes = list(used)
    prefixes += [identity for identity in carried if not any(identity.startswith(prefix) for prefix in used)]
    described = []
    for prefix in prefixes:
        installed = zoo.installed(prefix)
        entries: list[ModelEntry] = [*installed, *(entry for entry in zoo.carried if entry.id.startswith(prefix))]
        place = next((carried[identity] for identity in carried if identity.startswith(prefix)), None)
        name = fault = None
        try:
            name = entries[0].name if entries else None
        except ModelError as error:
            fault = str(error)
        described.append(
            {
                "name": name,
                "id": (entries[0].id if entries else prefix).hex(),
                "images": used.get(prefix, 0),
                "installed": bool(installed),
                "bytes": None if place is None else place.length,
                "fault": fault,
            }
        )
    return described


def describe_group(group: Group, facts: GroupFacts, limits: Limits) -> dict[str, Any]:
    """What coded a group, and what that took, as JSON values.

    Raises:
        FormatError: the file is damaged.
    """
    header, model = group.header, FALLBACK if group.header.fallback else facts.coders[0]
    if header.parts is not None:
        parts = [[describe_group(its, known, limits) for its, known in part] for part in facts.parts]
        size = len(group.payload)
        return {"model": PARTS_NAME, "mode": header.parts, "images": header.count, "bytes": size, "parts": parts}
    description: dict[str, Any] = {"model": model, "images": header.count, "bytes": len(group.payload)}
    if header.fallback:
        items = group.items
        stored = Counter(item_codec(item) for item in items if not is_kept(item))
        files = [KeptFile.decode(item, ANY_SIZE) for item in items if is_kept(item)]
        if stored:
            description["stored"] = dict(sorted(stored.items()))
        if files:
            description["kept"] = dict(sorted(Counter(file.form.name for file in files).items()))
            description["kept_bytes"] = sum(len(file.data) for file in files)
        return description
    if header.learning is not None:
        description["learning"] = asdict(header.learning)
        if header.learning.lattices:
            named = filter(None, lattices_of(group, limits))
            description["learning"]["colours"] = dict(sorted(Counter(named).items()))
    if header.learning is None or header.learning.batches:
        description |= {"encoder": header.encoder, "K": header.k}
    if header.block_side is not None:
        description["block_size"] = header.block_side
    if not header.blocks:
        return {**description, "direct": header.direct, "batches": list(header.batches), "lanes": header.lanes}
    if header.size is not None:
        description |= zip(("width", "height"), header.size, strict=True)
    return description
