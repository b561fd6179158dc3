"""Models that the user adds, exports, removes and checks: from files of bbc, checkpoints and folders, and into them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bbcompress.archive.names import new_name_fault
from bbcompress.archive.opening import open_file
from bbcompress.archive.signature import MAGIC
from bbcompress.errors import BBCError, FormatError, ModelError, OutputExistsError, unreadable
from bbcompress.models.added import added_models_folder
from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import CARD_FILE, WEIGHTS_FILE, parse, parse_card, read_checkpoint_file, with_card
from bbcompress.models.zoo import InstalledModel, ModelEntry, Zoo, model_folders
from bbcompress.pipeline.reader import carried_models
from bbcompress.system.output import NewFolder, write_file

WEIGHTS_SUFFIX = Path(WEIGHTS_FILE).suffix


@dataclass(frozen=True)
class Found:
    """A model that may be installed, its bounds proved.

    Attributes:
        source: where it was found.
        name: by which it would be installed.
        id: of the model.
        weights, card: the bytes of its files; the card is empty where there is none.
    """

    source: str
    name: str
    id: bytes
    weights: bytes
    card: bytes

    def named(self, name: str) -> Found:
        """The same under another name. Raises BBCError where no folder can have the name."""
        return Found(self.source, checked_name(name), self.id, self.weights, self.card)

    def card_as(self, name: str) -> bytes:
        """The card of a model of this name: as it is, if it has just this."""
        card = parse_card(self.card, "the card")
        if (card.get("name"), card.get("id")) == (name, self.id.hex()):
            return self.card
        return f"{json.dumps({**card, 'name': name, 'id': self.id.hex()}, indent=2, ensure_ascii=False)}\n".encode()


@dataclass(frozen=True)
class Installed:
    """What became of a model that was to be installed.

    Attributes:
        name: by which it is there.
        is_new: whether it was not there before.
    """

    name: str
    id: bytes
    folder: Path
    is_new: bool


def checked_name(name: str) -> str:
    """Raises BBCError where no folder of a model can have this name."""
    fault = new_name_fault(name)
    if fault is None and ("/" in name or name.startswith(".") or name != name.strip()):
        fault = "is no name of a folder"
    if fault is not None:
        raise BBCError(f"{name[:80]!r} cannot be the name of a model: it {fault}; --name gives it another")
    return name


def find(source: str) -> list[Found]:
    """The models in a file of bbc, a checkpoint's file or folder, or a folder of these, as runs of training are.

    Raises:
        BBCError: there is none, or one is damaged.
    """
    path = Path(source)
    if os.path.isdir(path):
        folders = model_folders(path)
        if not folders:
            raise ModelError(f"{source}: there is no model in this folder")
        return [_found(str(folder), InstalledModel(folder)) for folder in folders]
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return [_of_checkpoint(path)]
            opened = open_file(file)
            if not opened.models:
                raise ModelError("this file carries no model")
            return [_found(source, entry) for entry in carried_models(opened)]
    except (FormatError, ModelError) as error:
        raise error if source in str(error) else error.of(source) from None
    except OSError as error:
        raise unreadable(source, error) from None


def _of_checkpoint(path: Path) -> Found:
    weights, card = read_checkpoint_file(path)
    model = parse(weights, card, str(path), f"the card of {path}")
    name = str(
        parse_card(card, "the card").get("name") or (path.parent.name if path.name == WEIGHTS_FILE else path.stem)
    )
    return Found(str(path), name, model.id, weights, card)


def _found(source: str, entry: ModelEntry) -> Found:
    model: ModelWeights = entry.weights  # which proves it
    return Found(source, entry.name, model.id, *entry.files())


def install(model: Found, force: bool = False) -> Installed:
    """Put a model among those that the user has added, unless it is installed.

    Raises:
        OutputExistsError: another model has its name. BBCError: the name cannot be one, or the folder cannot be
            written.
    """
    base = added_models_folder()
    if base is None:
        raise BBCError("there is no home directory, in which models are installed")
    folder = base / checked_name(model.name)
    for entry in Zoo().entries:
        try:
            same_id, same_name = entry.id == model.id, entry.name == model.name
        except ModelError:  # a damaged one is in nobody's way, unless it is in this folder
            continue
        if same_id:
            return Installed(entry.name, model.id, entry.folder, False)
        if same_name and not (force and entry.folder == folder):
            advice = "-f replaces it, --name gives" if entry.folder == folder else "--name gives"
            raise OutputExistsError(f"there is a model {model.name} in {entry.folder}; {advice} this one another name")
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BBCError(f"{base}: cannot be made: {error.strerror or error}") from None
    with NewFolder(folder, force) as new:
        new.check([WEIGHTS_FILE])
        new.write(WEIGHTS_FILE, model.weights)
        new.write(CARD_FILE, model.card_as(model.name))
    return Installed(model.name, model.id, folder, True)


def export(name: str, target: str, force: bool = False) -> Path:
    """Write an installed model as one file, its card in it, or into a folder of its name where the target is one.

    Raises:
        ModelError: there is no such model, or it is damaged. OutputExistsError: the output exists. BBCError: it cannot
            be written.
    """
    zoo = Zoo(name)
    if len(zoo.chosen) != 1:
        raise ModelError(f"{name} holds {len(zoo.chosen)} models: name one of them")
    entry = zoo.chosen[0]
    found = _found(str(entry.folder), entry)
    path = Path(target)
    if os.path.isdir(path) or target.endswith("/"):
        folder = path / checked_name(found.name)
        with NewFolder(folder, force) as new:
            new.check([WEIGHTS_FILE, CARD_FILE])
            new.write(WEIGHTS_FILE, found.weights)
            new.write(CARD_FILE, found.card_as(found.name))
        return folder
    if path.suffix != WEIGHTS_SUFFIX:
        raise BBCError(f"{target}: a model is written as {WEIGHTS_SUFFIX}, or into a folder")
    write_file(path, with_card(found.weights, found.card_as(found.name)), force)
    return path


def remove(name: str) -> Path:
    """Delete a model that the user has added; gives the folder in which it was.

    Raises:
        ModelError: there is none of the name, or it was not added. BBCError: it cannot be deleted.
    """
    base = added_models_folder()
    there = []
    for entry in Zoo().entries:
        try:
            names = {entry.name, entry.folder.name}
        except ModelError:
            names = {entry.folder.name}
        if name in names:
            there.append(entry)
    added = [entry for entry in there if entry.is_added]
    if base is None or not added:
        place = (
            f"it lies in {there[0].folder}, and was not added by bbc models add" if there else "there is no such model"
        )
        raise ModelError(f"the model {name} cannot be removed: {place}")
    folder = added[0].folder
    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise BBCError(f"{error.filename or folder}: cannot be deleted: {error.strerror or error}") from None
    return folder


def verify(names: Sequence[str]) -> list[dict[str, Any]]:
    """Prove the bounds of models and compute their ids anew.

    Args:
        names: as `Zoo` takes them; none means all that are installed.

    Returns:
        For each `name`, `folder`, `id`, and as `fault` what is wrong, else None.

    Raises:
        ModelError: there is no model of a name.
    """
    entries = [entry for name in names for entry in Zoo(name).chosen] if names else Zoo().entries
    return [_verified(entry) for entry in entries]


def _verified(entry: InstalledModel) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": entry.folder.name, "folder": str(entry.folder), "id": None, "fault": None}
    try:
        identity = entry.weights.id
        return {**facts, "name": entry.name, "id": identity.hex()}
    except ModelError as error:
        return {**facts, "fault": str(error)}
