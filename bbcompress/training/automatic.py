"""What `bbc train DIR` does by itself: a model and a schedule that suit the images of a directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bbcompress.errors import BBCError
from bbcompress.images.kinds import Kind
from bbcompress.models.local import ARCHITECTURE
from bbcompress.models.shipped import shipped_model_folders
from bbcompress.models.zoo import InstalledModel
from bbcompress.system.storage import Place
from bbcompress.text import count_of
from bbcompress.training.folder import HELD_OUT_EVERY, Folder
from bbcompress.training.origin import NO_MODEL

MINUTES = 30.0
LARGEST_OF_ONE_SIZE = 64
"""Images of one size that are larger are better off with a model of any size: the next ones may have another."""
MOST_OF_ONE_SIZE = 0.9
"""The share of images that have to have a size for the others to be left out."""
BATCH_OF_TILES, BATCH_OF_IMAGES = 32, 100


def is_automatic(given: Mapping[str, Any]) -> bool:
    """Whether the architecture is left to bbc; those of the paper are only trained where they are asked for."""
    return bool(given.get("architecture", ARCHITECTURE) == ARCHITECTURE)


def choose_options(folder: Folder, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run on a directory's images, those that are given among them."""
    folder.keep_one_kind()
    shapes = Counter(image.shape for image in folder.images)
    values: dict[str, Any] = {"architecture": ARCHITECTURE, "leave_out": True, "minutes": MINUTES}
    shape: tuple[int, ...] | None = None
    if shapes and not given.get("any_size"):
        ((most, count),) = shapes.most_common(1)
        fits = most[0] == most[1] <= LARGEST_OF_ONE_SIZE and most[0] % 4 == 0
        shape = most if fits and count >= MOST_OF_ONE_SIZE * len(folder.images) else None
    values["any_size"] = shape is None
    values["batch"] = BATCH_OF_TILES if shape is None else BATCH_OF_IMAGES
    values["binary"] = bool(given.get("binary")) or folder.is_binary
    if {"epochs", "encoder_epochs"} & set(given):
        del values["minutes"]
    if not {"init", "latents", "hidden"} & set(given):
        channels = 3 if any(len(image.shape) == 3 for image in folder.images) else 1
        entry = shipped_local(shape, channels, values["binary"], bool(given.get("fast")))
        if entry is not None:
            values["init"] = entry.name
    values |= given
    return values


def shipped_local(
    shape: tuple[int, ...] | None, channels: int, binary: bool, fast: bool = False
) -> InstalledModel | None:
    """The shipped local model of images (height, width) or of any size, those that are chosen by default first.

    fast: whether a quick one is wanted.
    """
    found = []
    for path in shipped_model_folders():
        entry = InstalledModel(path)
        try:
            size = entry.input_spec["shape"]
            is_local = str(entry.card.get("architecture", "")).startswith(ARCHITECTURE)
            kind = Kind.default(channels, 2 if binary else 256)
            fits = entry.is_fast == fast and entry.fits((0, 0) if shape is None else (shape[0], shape[1]), kind)
        except BBCError:  # a damaged model is none to begin with
            continue
        if is_local and fits and (size is None) == (shape is None):
            found.append(entry)
    return min(found, key=lambda entry: not entry.is_default, default=None)


def describe(folder: Place, values: Mapping[str, Any], images: int) -> str:
    """A line on what a run is about to do."""
    size = "of any size" if values["any_size"] else "of one size"
    init = values.get("init", NO_MODEL)
    begin = "beginning with random weights"
    if init not in ("", NO_MODEL):
        begin = f"beginning with the model {init} (--init {NO_MODEL}: with random weights)"
    minutes = values.get("minutes")
    time = f", {minutes:g} minute{'s' * (minutes != 1)}" if minutes else ""
    what = count_of(images, "black and white image" if values["binary"] else "image")
    return f"{folder}: {what} {size}, every {HELD_OUT_EVERY}th held out; {begin}{time}"
