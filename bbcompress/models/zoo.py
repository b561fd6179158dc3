"""The zoo: which models are installed, which of them a file names, and which fit an image.

Models are looked for where the user points (`-m`), in the directories of BBC_MODELS, among those shipped and among
those that were added; to read a file also in it.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bbcompress.errors import EmbeddedModelError, FormatError, MissingModelError, ModelError
from bbcompress.images.kinds import Kind
from bbcompress.lazy import cached_property
from bbcompress.models.added import added_model_folders
from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import CARD_FILE, WEIGHTS_FILE, load, parse, parse_card, read_card, read_files
from bbcompress.models.memory import refuse_large
from bbcompress.models.shipped import shipped_model_folders

_log = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "BBC_MODELS"
BERNOULLI = "bernoulli"
"""The likelihood of models of two levels; all others have 256."""


class ModelEntry(ABC):
    """A model that can be used: what its card says, and on demand its weights."""

    @property
    @abstractmethod
    def card(self) -> dict[str, Any]:
        """Raises ModelError if it is damaged or cannot be read."""

    @property
    @abstractmethod
    def weights(self) -> ModelWeights:
        """Raises ModelError."""

    @property
    @abstractmethod
    def id(self) -> bytes:
        """Raises ModelError."""

    @property
    @abstractmethod
    def usual_name(self) -> str:
        """Of a model whose card names none."""

    @property
    @abstractmethod
    def card_name(self) -> str:
        """What errors call the card."""

    @abstractmethod
    def files(self) -> tuple[bytes, bytes]:
        """The bytes of weights and card, which is empty where there is none. Raises ModelError."""

    @property
    def name(self) -> str:
        """As the card says, else the usual one."""
        return str(self.card.get("name") or self.usual_name)

    @property
    def is_default(self) -> bool:
        """Whether the model is tried without `-m`; reference models are not. Raises ModelError."""
        return self._says("default", True)

    @property
    def is_fast(self) -> bool:
        """Whether the model is a quick one, for the lowest efforts. Raises ModelError."""
        return self._says("fast", False)

    def _says(self, name: str, usual: bool) -> bool:
        """What the card says under a name; the usual value where it says nothing.

        Raises:
            ModelError: the card is damaged, or says neither true nor false.
        """
        value = self.card.get(name, usual)
        if not isinstance(value, bool):
            raise ModelError(f'{self.card_name}: "{name}" is {json.dumps(value):.40}, and must be true or false')
        return value

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


@dataclass(frozen=True)
class InstalledModel(ModelEntry):
    """A model in a folder.

    Attributes:
        is_added: whether `bbc models add` installed it: it is used where it is asked for, and to read files.
    """

    folder: Path
    is_added: bool = field(default=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "is_added": self.is_added}  # what was read is read again

    @cached_property
    def card(self) -> dict[str, Any]:
        """Raises ModelError if it is damaged or cannot be read."""
        try:
            return read_card(self.folder)
        except OSError as error:
            raise ModelError(f"{self.card_name}: cannot be read: {error.strerror or error}") from None

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
    def usual_name(self) -> str:
        """The folder's."""
        return self.folder.name

    @property
    def card_name(self) -> str:
        """Its path."""
        return str(self.folder / CARD_FILE)

    @property
    def is_default(self) -> bool:
        """As of `ModelEntry`; those that were added are not, either."""
        return not self.is_added and super().is_default

    def files(self) -> tuple[bytes, bytes]:
        """As of `ModelEntry`."""
        return read_files(self.folder)


class CarriedModel(ModelEntry):
    """A model that a file carries, for what is in that file alone."""

    def __init__(self, identity: bytes, read: Callable[[], tuple[bytes, bytes]]) -> None:
        """identity: its id, as the file says it, which loading verifies. read: gives the bytes of weights and card,
        which is empty for none; raises FormatError where they are damaged."""
        self._id, self._read = identity, read

    def __getstate__(self) -> dict[str, Any]:
        try:
            files, fault = self.files(), ""
        except ModelError as error:
            files, fault = None, str(error)
        return {"_id": self._id, "_read": functools.partial(_given, files, fault)}  # the file is open in this process

    @property
    def id(self) -> bytes:
        """As the file says it."""
        return self._id

    @cached_property
    def _files(self) -> tuple[bytes, bytes]:
        try:
            return self._read()
        except FormatError as error:
            raise EmbeddedModelError(str(error)) from None

    @cached_property
    def card(self) -> dict[str, Any]:
        """Raises EmbeddedModelError if it is damaged."""
        try:
            return parse_card(self._files[1], self.card_name)
        except ModelError as error:
            raise EmbeddedModelError(str(error)) from None

    @cached_property
    def weights(self) -> ModelWeights:
        """Raises EmbeddedModelError if it is damaged or would take too much memory."""
        what = "the model in the file"
        try:
            weights = parse(*self._files, what, self.card_name)
        except ModelError as error:
            raise EmbeddedModelError(str(error)) from None
        if weights.id != self.id:
            raise EmbeddedModelError(f"{what} is damaged: it is not the one that the file names")
        refuse_large(weights)
        return weights

    @property
    def usual_name(self) -> str:
        """The beginning of the id."""
        return self.id.hex()[:8]

    @property
    def card_name(self) -> str:
        """As of `ModelEntry`."""
        return "the card of the model in the file"

    def files(self) -> tuple[bytes, bytes]:
        """As of `ModelEntry`."""
        return self._files


def _given(files: tuple[bytes, bytes] | None, fault: str) -> tuple[bytes, bytes]:
    """What was read in another process, or why it could not be."""
    if files is None:
        raise EmbeddedModelError(fault)
    return files


class Zoo:
    """The models that can be used, in order of preference.

    Attributes:
        chosen: those that are asked for.
        entries: these and the installed ones.
        carried: those that the file carries that is read.
    """

    carried: Sequence[CarriedModel] = ()

    def __init__(self, chosen: Path | str | None = None) -> None:
        """chosen: a model's folder, a directory of models, or the name of an installed model; None for no choice.

        Raises:
            ModelError: `chosen` is none of these.
        """
        installed = []
        for directory in filter(None, os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)):
            folders = model_folders(Path(directory))
            installed += [InstalledModel(folder) for folder in folders]
            if not folders:
                _warn_of_no_model(directory)
        installed += [InstalledModel(folder) for folder in shipped_model_folders()]
        installed += [InstalledModel(folder, is_added=True) for folder in added_model_folders()]
        self.chosen: list[InstalledModel] = []
        if chosen is not None:
            self.chosen = [InstalledModel(folder) for folder in model_folders(Path(chosen))]
            if not self.chosen:
                self.chosen = [entry for entry in installed if _name(entry) == str(chosen)][:1]
            if not self.chosen:
                names = ", ".join(_name(entry) for entry in installed) or "none"
                raise ModelError(f"there is no model {chosen}; installed: {names}")
        self.entries = _distinct([*self.chosen, *installed])

    def candidates(self, shape: tuple[int, int], kind: Kind, fast: bool = False) -> list[ModelEntry]:
        """The models to try for images (height, width) of a kind: the chosen ones, else the default ones that fit.

        Of those that lie beside each other, and are all for any size or all for one, the quick ones are meant for the
        lowest efforts, the others for the rest.

        fast: whether the effort is one of the lowest.

        Raises:
            ModelError: a model is damaged.
        """
        among = self.chosen or [entry for entry in self.entries if entry.is_default]
        fitting = [(entry, _rivals(entry)) for entry in among if entry.fits(shape, kind)]
        wanted = {rivals for entry, rivals in fitting if entry.is_fast == fast}
        return [entry for entry, rivals in fitting if entry.is_fast == fast or rivals not in wanted]

    def carrying(self, models: Sequence[CarriedModel]) -> Zoo:
        """The same with the models of a file, which are used to read it where they are not installed."""
        zoo = copy.copy(self)
        zoo.carried = tuple(models)
        return zoo

    def installed(self, prefix: bytes) -> list[InstalledModel]:
        """Those that are installed, or asked for, whose id begins with `prefix`, but for damaged ones."""
        return [entry for entry in self.entries if (_id_of(entry) or b"").startswith(prefix)]

    def is_shipped(self, identity: bytes) -> bool:
        """Whether the model of this id comes with bbc."""
        shipped = (InstalledModel(folder) for folder in shipped_model_folders())
        return any(_id_of(entry) == identity for entry in shipped)

    def named(self, prefix: bytes) -> list[ModelEntry]:
        """The models whose id begins with `prefix`, as a file names them: those that are installed, then those that the
        file carries.

        Raises:
            ModelError: there is none; the message says which one is needed.
        """
        found: list[ModelEntry] = []
        broken = ""
        for entry in self.entries:
            try:
                if entry.id.startswith(prefix):
                    found.append(entry)
            except ModelError as error:  # a model that the file may not need
                broken = broken or f"; {error}"
        ids = {entry.id for entry in found}
        carried = {entry.id: entry for entry in self.carried if entry.id.startswith(prefix) and entry.id not in ids}
        found += carried.values()
        if not found:
            raise MissingModelError(
                f"this file needs the model with id {prefix.hex()}..., which is not installed "
                f"(give it with -m, in {ENVIRONMENT_VARIABLE} or by bbc models add){broken}"
            )
        return found


@functools.cache
def _warn_of_no_model(place: str) -> None:
    """Once in a process."""
    what = "there is no model in it" if os.path.isdir(place) else "there is no such folder"
    _log.warning("%s names %s: %s", ENVIRONMENT_VARIABLE, place, what)


def model_folders(directory: Path) -> list[Path]:
    """The model folders that `directory` is or holds."""
    if os.path.isfile(directory / WEIGHTS_FILE):
        return [directory]
    try:
        return sorted(path.parent for path in directory.glob(f"*/{WEIGHTS_FILE}"))
    except OSError:
        return []


def only_quick(entries: Sequence[InstalledModel]) -> list[InstalledModel]:
    """Those that are tried at the lowest efforts alone without `-m`, as others take their place at the rest.

    Raises:
        ModelError: a model is damaged.
    """
    among = [(entry, (entry.kind, *_rivals(entry))) for entry in entries if entry.is_default]
    others = {rivals for entry, rivals in among if not entry.is_fast}
    return [entry for entry, rivals in among if entry.is_fast and rivals in others]


def _rivals(entry: InstalledModel) -> tuple[Path, bool]:
    """What models have in common that stand in for each other: where they lie, and whether they take any size."""
    return entry.folder.parent, entry.input_spec["shape"] is None


def _id_of(entry: ModelEntry) -> bytes | None:
    """The entry's id; None where it is damaged."""
    try:
        return entry.id
    except ModelError:
        return None


def _name(entry: InstalledModel) -> str:
    """The entry's name, its folder's where the card is damaged."""
    try:
        return entry.name
    except ModelError:
        return entry.folder.name


def _distinct(entries: Sequence[InstalledModel]) -> list[InstalledModel]:
    """One entry of each folder."""
    seen: set[Path] = set()
    distinct = []
    for entry in entries:
        folder = entry.folder.resolve()
        if folder not in seen:
            seen.add(folder)
            distinct.append(entry)
    return distinct
