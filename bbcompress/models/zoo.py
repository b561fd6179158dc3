"""The zoo: which models are installed, which of them a file names, and which fit an image.

Models are looked for where the user points (`-m`), in the directories of BBC_MODELS, and among those shipped.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bbcompress.errors import MissingModelError, ModelError
from bbcompress.images.kinds import Kind
from bbcompress.lazy import cached_property
from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import CARD_FILE, WEIGHTS_FILE, load, read_card
from bbcompress.models.shipped import shipped_model_folders

_log = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "BBC_MODELS"
BERNOULLI = "bernoulli"
"""The likelihood of models of two levels; all others have 256."""


@dataclass(frozen=True)
class ModelEntry:
    """An installed model: what its card says, and on demand its weights."""

    folder: Path

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # what was read is read again

    @cached_property
    def card(self) -> dict[str, Any]:
        """Raises ModelError if it is damaged or cannot be read."""
        try:
            return read_card(self.folder)
        except OSError as error:
            raise ModelError(f"{self.folder / CARD_FILE}: cannot be read: {error.strerror or error}") from None

    @cached_property
    def weights(self) -> ModelWeights:
        """Raises ModelError."""
        return load(self.folder)

    @cached_property
    def id(self) -> bytes:
        """As the card says, which loading verifies; that of the weights where the card says nothing."""
        try:
            stated = bytes.fromhex(self.card["id"])
        except (KeyError, TypeError, ValueError):
            return self.weights.id
        return stated if len(stated) == 32 else self.weights.id

    @property
    def name(self) -> str:
        """As the card says, else the folder's."""
        return str(self.card.get("name") or self.folder.name)

    @property
    def is_default(self) -> bool:
        """Whether the model is tried without `-m`; reference models are not."""
        return bool(self.card.get("default", True))

    @property
    def input_spec(self) -> dict[str, Any]:
        """What images the model takes: `shape` (height, width) or None for all, `channels`, `likelihood`.

        As the card says, else as the weights do.

        Raises:
            ModelError: a model is missing or damaged.
        """
        spec = {"channels": 1, **self.card}
        if not all(name in spec for name in ("shape", "likelihood")):
            weights = self.weights
            spec = {"channels": weights.channels, "shape": weights.shape, "likelihood": weights.likelihood}
        return spec

    @property
    def kind(self) -> Kind:
        """The kind of its images where a file names none.

        Raises:
            ModelError: a model is missing or damaged.
        """
        spec = self.input_spec
        return Kind.default(spec["channels"], 2 if spec["likelihood"] == BERNOULLI else 256)

    def fits(self, shape: tuple[int, int], kind: Kind) -> bool:
        """Whether the model codes images (height, width) of that kind."""
        spec = self.input_spec
        if spec["channels"] != kind.channels or (spec["likelihood"] == BERNOULLI) != kind.is_binary:
            return False
        return spec["shape"] is None or spec["shape"] in (shape, list(shape))


class Zoo:
    """The models that can be used, in order of preference."""

    def __init__(self, chosen: Path | str | None = None) -> None:
        """chosen: a model's folder, a directory of models, or the name of an installed model; None for no choice.

        Raises:
            ModelError: `chosen` is none of these.
        """
        installed = []
        for directory in filter(None, os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)):
            folders = _folders(Path(directory))
            installed += [ModelEntry(folder) for folder in folders]
            if not folders:
                _warn_of_no_model(directory)
        installed += [ModelEntry(folder) for folder in shipped_model_folders()]
        self.chosen: list[ModelEntry] = []
        if chosen is not None:
            self.chosen = [ModelEntry(folder) for folder in _folders(Path(chosen))]
            if not self.chosen:
                self.chosen = [entry for entry in installed if _name(entry) == str(chosen)][:1]
            if not self.chosen:
                names = ", ".join(_name(entry) for entry in installed) or "none"
                raise ModelError(f"there is no model {chosen}; installed: {names}")
        self.entries = _distinct([*self.chosen, *installed])

    def candidates(self, shape: tuple[int, int], kind: Kind) -> list[ModelEntry]:
        """The models to try for images (height, width) of a kind: the chosen ones, else the default ones that fit."""
        among = self.chosen or [entry for entry in self.entries if entry.is_default]
        return [entry for entry in among if entry.fits(shape, kind)]

    def named(self, prefix: bytes) -> list[ModelEntry]:
        """The models whose id begins with `prefix`, as a file names them.

        Raises:
            ModelError: there is none; the message says which one is needed.
        """
        found, broken = [], ""
        for entry in self.entries:
            try:
                if entry.id.startswith(prefix):
                    found.append(entry)
            except ModelError as error:  # a model that the file may not need
                broken = broken or f"; {error}"
        if not found:
            raise MissingModelError(
                f"this file needs the model with id {prefix.hex()}..., which is not installed "
                f"(give it with -m or in {ENVIRONMENT_VARIABLE}){broken}"
            )
        return found


@functools.cache
def _warn_of_no_model(place: str) -> None:
    """Once in a process."""
    what = "there is no model in it" if Path(place).is_dir() else "there is no such folder"
    _log.warning("%s names %s: %s", ENVIRONMENT_VARIABLE, place, what)


def _folders(directory: Path) -> list[Path]:
    """The model folders that `directory` is or holds."""
    if (directory / WEIGHTS_FILE).is_file():
        return [directory]
    try:
        return sorted(path.parent for path in directory.glob(f"*/{WEIGHTS_FILE}"))
    except OSError:
        return []


def _name(entry: ModelEntry) -> str:
    """The entry's name, its folder's where the card is damaged."""
    try:
        return entry.name
    except ModelError:
        return entry.folder.name


def _distinct(entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    """One entry of each folder."""
    seen: set[Path] = set()
    distinct = []
    for entry in entries:
        folder = entry.folder.resolve()
        if folder not in seen:
            seen.add(folder)
            distinct.append(entry)
    return distinct
