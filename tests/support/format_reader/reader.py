"""docs/format.md as a whole: of a file's bytes, its images with names, times and metadata."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .blocks import LONGEST, read_blocks
from .checkpoint import Checkpoint, parse_checkpoint, read_checkpoint
from .container import Group, read_container
from .embedded import Embedded
from .fallback import Picture, read_item
from .header import Kind, read_prefix
from .learning import read_learned
from .learning_between import LearningBetween
from .local import Local
from .message import Coding, Model, read_message
from .metadata import Record
from .mlp import MLP
from .parts import read_parts
from .previews import split_lone
from .primitives import Cursor, FormatError, check, varint
from .residual import Residual
from .several_sizes import read_several_sizes

__all__ = ["FormatError", "FormatReader", "Image"]

Array = npt.NDArray[Any]
KINDS = [(2, 1), (2, 1), (2, 1), (256, 1), (256, 3)]


@dataclass
class Image:
    """What a file says of one image."""

    name: str | None
    time: int | None
    picture: Picture
    metadata: list[Record]
    preview: bytes | None = None


class FormatReader:
    """A reader with the checkpoints that it knows."""

    def __init__(self, checkpoints: Iterable[Path]) -> None:
        self.checkpoints = [read_checkpoint(folder) for folder in checkpoints]
        self.carried: list[Embedded] = []

    def read(self, data: bytes) -> list[Image]:
        """Lone image: where it is damaged as it is, without some of the zeros at its end."""
        archive = read_prefix(Cursor(split_lone(data)[0]))[0] == "archive"
        padding = 0 if archive else len(data) - len(data.rstrip(b"\0"))
        for zeros in range(padding):
            try:
                return self.read_whole(data[: len(data) - zeros])
            except FormatError:
                pass
        return self.read_whole(data[: len(data) - padding])

    def read_whole(self, data: bytes) -> list[Image]:
        """Archive: the images of all segments, in the order of their positions."""
        images = []
        segments = read_container(data)
        self.carried = [model for segment in segments for model in segment.models]
        for segment in segments:
            content = [item for group in segment.groups for item in self.read_group(group)]
            previews = [group.previews.get(image) for group in segment.groups for image in range(group.count)]
            ordered = dict(zip(segment.positions, zip(content, previews, strict=True), strict=True))
            for position in range(len(content)):
                name = segment.names[position].decode() if segment.names else None
                time = segment.times[position] if segment.times else None
                (picture, metadata), preview = ordered[position]
                images.append(Image(name, time, picture, metadata, preview))
        return images

    def read_group(self, group: Group) -> list[tuple[Picture, list[Record]]]:
        """Group: its images and their metadata, in the group's order."""
        pictures = self.read_pictures(group)
        pairs = list(zip(pictures, group.metadata or [[]] * group.count, strict=True))
        check(not any(its and picture.file is not None for picture, its in pairs), "metadata of a kept file")
        return pairs

    def read_pictures(self, group: Group) -> list[Picture]:
        """Group: its images."""
        if group.header.parts is not None:
            return read_parts(group, self.read_pictures)
        return read_items(group) if group.header.fallback else self.read_coded(group)

    def read_coded(self, group: Group) -> list[Picture]:
        """Group: what a model codes."""
        header = group.header
        checkpoint = self.checkpoint(header.model)
        settings = checkpoint.settings
        kind = header.kind or default_kind(checkpoint)
        check(KINDS[kind.code] == (levels(checkpoint), channels(checkpoint)), "a kind that the model does not code")
        fixed = settings.get("shape") or settings.get("image")
        check((fixed is None) == header.blocks, "blocks are for models of any size, and for no others")
        check(not fixed or header.size in (None, tuple(fixed[::-1])), "another size than the model's")
        checked = header.first + checkpoint.id[:4] + header.checked + varint(group.count)
        rate = header.rate or settings["learning_rate"]
        coding = Coding(group.lanes, group.direct, group.batches, header.steps, rate)
        height, width = fixed or (header.size or (0, 0))[::-1]

        def begin() -> tuple[Model, Any]:
            model = architecture(checkpoint, header.encoder)
            if header.learning is None:
                return model, None
            return model, LearningBetween(model, checkpoint, header.learning).learn

        if header.learning is not None and header.learning.coding is None:
            sizes = None if header.size is None else [header.size[::-1]] * group.count
            learned = read_learned(
                group.payload,
                checkpoint,
                header.learning,
                sizes,
                group.count,
                channels(checkpoint),
                checked,
                header.side or LONGEST,
            )
            return [picture(image, kind) for image in learned]
        if header.blocks and header.size is None:
            model, coding.learn = begin()
            several = read_several_sizes(
                group.payload, coding, checkpoint, model, group.count, channels(checkpoint), checked
            )
            return [picture(image, kind) for image in several]
        x = np.zeros((group.count, height, width, channels(checkpoint)), np.int64)
        if header.blocks:
            read_blocks(group.payload, coding, checkpoint, begin, x, checked, header.side or LONGEST)
        else:
            check(header.learning is None or group.count > 1, "a single image that is learned from")
            checked += varint(1) + varint(group.count)
            model, coding.learn = begin()
            read_message(group.payload, coding, checkpoint, model, list(x), checked)
        return [picture(image, kind) for image in x]

    def checkpoint(self, start: bytes) -> Checkpoint:
        """Group header: the model whose id begins so."""
        found = [checkpoint for checkpoint in self.checkpoints if checkpoint.id.startswith(start)]
        if not found:
            found = [self.embedded(model) for model in self.carried if model.id.startswith(start)]
        check(len({checkpoint.id for checkpoint in found}) == 1, f"no model {start.hex()}")
        return found[0]

    def embedded(self, model: Embedded) -> Checkpoint:
        """Embedded models: a model of the file, whose id is that which the file says."""
        checkpoint = parse_checkpoint(model.weights())
        check(checkpoint.id == model.id, "an embedded model of another id")
        return checkpoint


def architecture(checkpoint: Checkpoint, encoder: str) -> Model:
    """Checkpoints: the architectures."""
    kinds: dict[str, type[Any]] = {"mlp": MLP, "resnet": Residual, "local": Local}
    model: Model = kinds[checkpoint.architecture](checkpoint, encoder)
    return model


def read_items(group: Group) -> list[Picture]:
    """Group: fallback items."""
    if not group.in_archive:
        return [read_item(group.payload)]
    cursor = Cursor(group.payload)
    pictures = [read_item(cursor.take(cursor.varint())) for _ in range(group.count)]
    cursor.end()
    check(sum(p.samples.shape[0] * p.samples.shape[1] for p in pictures[:-1]) <= 2**24, "too many pixels in a group")
    return pictures


def default_kind(checkpoint: Checkpoint) -> Kind:
    """Group header: the model's default kind."""
    if levels(checkpoint) == 2:
        return Kind(0)
    return Kind(4 if channels(checkpoint) == 3 else 3)


def levels(checkpoint: Checkpoint) -> int:
    """Checkpoints: the levels of a sub-pixel."""
    if checkpoint.architecture == "local":
        return 2 if checkpoint.settings["mixtures"] == 0 else 256
    return 2 if checkpoint.settings.get("likelihood") == "bernoulli" else 256


def channels(checkpoint: Checkpoint) -> int:
    """Checkpoints: the channels of a pixel."""
    return 3 if checkpoint.architecture == "resnet" else int(checkpoint.settings.get("channels", 1))


def picture(x: Array, kind: Kind) -> Picture:
    """Group header: levels of the model as an image."""
    x = x[:, :, 0] if x.shape[2] == 1 else x
    if kind.code == 1:
        return Picture("1", x == 1)
    if kind.code in (0, 2):
        return Picture("L", np.where(x == 1, kind.high, kind.low).astype(np.uint8))
    return Picture("RGB" if kind.code == 4 else "L", x.astype(np.uint8))
