"""The zoo: where models are found, which are tried, which a file names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from models_for_tests import tiny_local, tiny_resnet, tiny_vae

from bbcompress.codecs.effort import LADDER
from bbcompress.errors import ModelError, TrainingError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images import kinds
from bbcompress.models import shipped
from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import save
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.mlp import ExactMLPVAE
from bbcompress.models.registry import model_of
from bbcompress.models.resnet import ExactResNetVAE
from bbcompress.models.zoo import InstalledModel, ModelEntry, Zoo
from bbcompress.training.origin import origin_of
from bbcompress.training.quantisation.calibrate import usual_encoder

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests" / "data" / "models"
BINARY, GREY = MODELS / "tiny-binary", MODELS / "tiny-grey"
BINARY_ID = bytes.fromhex("641adb16e557b5fe9e8ef4a0593b44c7ac5f9480c599a7591a9138e2c596f984")
SHAPE = (28, 28)


@pytest.fixture(autouse=True)
def nothing_installed(no_models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BBC_MODELS", raising=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory of models that BBC_MODELS names."""
    path = tmp_path / "place"
    path.mkdir()
    monkeypatch.setenv("BBC_MODELS", str(path))
    return path


def put(source: Path, folder: Path, edit: Callable[[dict[str, Any]], Any] | None = None) -> Path:
    """Copy a model, its card edited in place or, where `edit` gives something, replaced."""
    shutil.copytree(source, folder)
    if edit is not None:
        card = json.loads((folder / "card.json").read_text())
        card = edit(card) or card
        (folder / "card.json").write_text(card if isinstance(card, str) else json.dumps(card))
    return folder


def folders(entries: Sequence[ModelEntry]) -> list[str]:
    return [entry.folder.name for entry in entries if isinstance(entry, InstalledModel)]


def refused(*chosen: Any) -> str:
    with pytest.raises(ModelError) as caught:
        Zoo(*chosen)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_nothing_installed() -> None:
    zoo = Zoo()
    assert (zoo.entries, zoo.chosen) == ([], [])
    assert zoo.candidates(SHAPE, kinds.BINARY) == []


def test_directories_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories of models and models' own folders, in their order; what is not there is passed over."""
    put(GREY, tmp_path / "second" / "b")
    put(BINARY, tmp_path / "second" / "a")
    (tmp_path / "second" / "no model").mkdir()
    places = [str(GREY), str(tmp_path / "missing"), "", str(tmp_path / "second")]
    monkeypatch.setenv("BBC_MODELS", os.pathsep.join(places))
    assert folders(Zoo().entries) == ["tiny-grey", "a", "b"]


def test_shipped_models_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBC_MODELS", str(GREY))
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [BINARY, GREY])
    assert folders(Zoo().entries) == ["tiny-grey", "tiny-binary"]  # and each folder once


def test_one_folder_by_two_ways_is_one_model(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(BINARY, place / "a")
    (tmp_path / "link").symlink_to(place)
    monkeypatch.setenv("BBC_MODELS", os.pathsep.join([str(place), str(place / "a"), str(tmp_path / "link")]))
    assert folders(Zoo(tmp_path / "link" / "a").entries) == ["a"]


@pytest.mark.parametrize("chosen", [BINARY, str(BINARY)])
def test_chosen_by_folder(chosen: Path | str) -> None:
    zoo = Zoo(chosen)
    assert folders(zoo.chosen) == ["tiny-binary"]
    assert folders(zoo.candidates(SHAPE, kinds.BINARY)) == ["tiny-binary"]
    assert zoo.candidates(SHAPE, kinds.GREY) == []
    assert zoo.candidates((28, 27), kinds.BINARY) == []


def test_chosen_by_directory() -> None:
    zoo = Zoo(MODELS)
    assert folders(zoo.chosen) == ["tiny-binary", "tiny-grey", "tiny-local", "tiny-resnet"]
    assert folders(zoo.candidates(SHAPE, kinds.GREY)) == ["tiny-grey"]


def test_chosen_by_name(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The card's name counts, not the folder's, and a folder of that name without a model does not hide it."""
    put(BINARY, place / "folder", lambda card: card.update(name="mine"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    zoo = Zoo("mine")
    assert folders(zoo.chosen) == ["folder"]
    assert zoo.chosen[0].name == "mine"
    assert "folder" in refused("folder")


def test_the_chosen_model_alone_is_tried_but_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBC_MODELS", str(MODELS))
    zoo = Zoo(GREY)
    assert zoo.candidates(SHAPE, kinds.BINARY) == []
    assert folders(zoo.named(BINARY_ID[:3])) == ["tiny-binary"]


def test_quick_models_stand_in_for_those_beside_them(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of another place stays a candidate at every effort, and a quick one where it is alone."""
    put(GREY, place / "usual")
    put(GREY, place / "quick", lambda card: card.update(fast=True))
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [GREY])
    assert folders(Zoo().candidates(SHAPE, kinds.GREY)) == ["usual", "tiny-grey"]
    assert folders(Zoo().candidates(SHAPE, kinds.GREY, fast=True)) == ["quick", "tiny-grey"]
    assert folders(Zoo(place).candidates(SHAPE, kinds.GREY, fast=True)) == ["quick"]
    for name in ("usual", "quick"):
        for fast in (False, True):
            assert folders(Zoo(place / name).candidates(SHAPE, kinds.GREY, fast)) == [name]


def test_a_quick_model_for_any_size_leaves_that_of_one_size(place: Path) -> None:
    """Which knows its images better, and may be no slower."""
    put(GREY, place / "a")
    put(GREY, place / "b", lambda card: card.update(shape=None))
    put(GREY, place / "c", lambda card: card.update(shape=None, fast=True))
    for fast, its in ((False, "b"), (True, "c")):
        assert folders(Zoo().candidates(SHAPE, kinds.GREY, fast)) == ["a", its]
        assert folders(Zoo(place).candidates((30, 40), kinds.GREY, fast)) == [its]


@pytest.mark.parametrize("effort", [1, 2, 5])
def test_shipped_models_of_small_images_are_tried_at_every_effort(effort: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of CIFAR-10 took 11 % more bytes at efforts 1 and 2 by a model of photographs alone."""
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", shipped.shipped_model_folders)
    found = folders(Zoo().candidates((32, 32), kinds.COLOUR, LADDER[effort].fast))
    assert found == ["cifar10", "photo-fast" if effort < 3 else "photo"]


@pytest.mark.parametrize("name", ["fast", "default"])
@pytest.mark.parametrize("value", ["true", 1, 0, None, [], {}])
def test_a_card_says_true_or_false(name: str, value: Any, place: Path) -> None:
    """Any other value names the card where models are chosen, and does not hinder those who read a file."""
    folder = put(GREY, place / "own", lambda card: card.update({name: value}))
    with pytest.raises(ModelError) as caught:
        Zoo().candidates(SHAPE, kinds.GREY)
    assert str(caught.value) == f'{folder / "card.json"}: "{name}" is {json.dumps(value)}, and must be true or false'
    assert folders(Zoo().named(InstalledModel(folder).id)) == ["own"]
    with pytest.raises(TrainingError, match=r'^--init .*"fast" is') if name == "fast" else nullcontext():
        origin_of(str(folder))


def test_unknown_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("nosuch") == "there is no model nosuch; installed: none"
    monkeypatch.setenv("BBC_MODELS", str(MODELS))
    assert refused("nosuch") == "there is no model nosuch; installed: tiny-binary, tiny-grey, tiny-local, tiny-resnet"
    assert str(BINARY / "card.json") in refused(BINARY / "card.json")
    assert str(MODELS / "missing") in refused(MODELS / "missing")


@pytest.mark.parametrize("shape", [5, "28", [[6, 5]], {}])
def test_a_card_of_a_shape_that_is_none_fits_nothing(place: Path, shape: Any) -> None:
    put(BINARY, place / "odd", lambda card: card.update(shape=shape))
    assert not InstalledModel(place / "odd").fits(SHAPE, kinds.BINARY)


CARD = {"name": "resnet", "shape": None, "channels": 3, "likelihood": "channel_logistic"}


@pytest.mark.parametrize("card", [CARD, {}], ids=["card", "no card"])
def test_a_model_for_images_of_any_size(place: Path, card: dict[str, Any]) -> None:
    """As its card says, or its weights where that says nothing."""
    save(tiny_resnet(), place / "resnet")
    (place / "resnet" / "card.json").write_text(json.dumps(card))
    entry = InstalledModel(place / "resnet")
    assert entry.fits((1, 1), kinds.COLOUR)
    assert entry.fits((3000, 17), kinds.COLOUR)
    assert not entry.fits((8, 8), kinds.GREY)
    assert not entry.fits((8, 8), kinds.BINARY)
    assert not entry.fits((8, 8), kinds.Kind("RGB", (0, 1)))
    assert folders(Zoo().candidates((5, 9), kinds.COLOUR)) == ["resnet"]
    assert Zoo().candidates((5, 9), kinds.GREY) == []


@pytest.mark.parametrize(
    ("weights", "kind"),
    [(tiny_vae(), ExactMLPVAE), (tiny_local(), ExactLocalVAE), (tiny_resnet(), ExactResNetVAE)],
    ids=["mlp", "local", "resnet"],
)
def test_a_checkpoint_makes_the_model_of_its_kind(weights: ModelWeights, kind: type[Any], place: Path) -> None:
    save(weights, place / "a")
    model = model_of(InstalledModel(place / "a").weights, NumpyBackend())
    assert type(model) is kind
    assert model.weights.id == weights.id


def test_weights_of_no_kind_make_no_model() -> None:
    weights: Any = object()
    with pytest.raises(ModelError, match="does not know"):
        model_of(weights, NumpyBackend())


def test_models_that_are_not_default_need_to_be_chosen(place: Path) -> None:
    put(BINARY, place / "reference", lambda card: card.update(default=False, name="reference"))
    assert Zoo().candidates(SHAPE, kinds.BINARY) == []
    assert folders(Zoo("reference").candidates(SHAPE, kinds.BINARY)) == ["reference"]
    assert folders(Zoo(place).candidates(SHAPE, kinds.BINARY)) == ["reference"]
    assert folders(Zoo().named(BINARY_ID[:4])) == ["reference"]


@pytest.mark.parametrize("length", [1, 3, 4, 32])
def test_by_the_first_bytes_of_the_id(length: int) -> None:
    zoo = Zoo(MODELS)
    assert folders(zoo.named(BINARY_ID[:length])) == ["tiny-binary"]
    wrong = BINARY_ID[: length - 1] + bytes([BINARY_ID[length - 1] ^ 1])
    with pytest.raises(ModelError) as caught:
        zoo.named(wrong)
    assert f"id {wrong.hex()}..." in str(caught.value)
    assert "BBC_MODELS" in str(caught.value)


def test_id_without_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise AssertionError(f"{folder} was loaded")

    monkeypatch.setattr("bbcompress.models.zoo.load", fail)
    zoo = Zoo(MODELS)
    assert folders(zoo.named(BINARY_ID[:3])) == ["tiny-binary"]
    assert zoo.candidates(SHAPE, kinds.BINARY)[0].id == BINARY_ID


def test_a_card_without_an_id(place: Path) -> None:
    """The weights say what they are."""
    put(BINARY, place / "a", lambda card: card.pop("id") and None)
    assert Zoo().entries[0].id == BINARY_ID


@pytest.mark.parametrize("stated", [None, 5, "", "xyz", "641adb16"])
def test_a_card_with_a_damaged_id(stated: Any, place: Path) -> None:
    put(BINARY, place / "a", lambda card: card.update(id=stated))
    with pytest.raises(ModelError):
        Zoo().named(BINARY_ID[:3])


def test_a_model_without_a_card(place: Path) -> None:
    (put(BINARY, place / "a") / "card.json").unlink()
    zoo = Zoo()
    (entry,) = zoo.entries
    assert (entry.name, entry.id, entry.is_default) == ("a", BINARY_ID, True)
    assert zoo.candidates(SHAPE, kinds.BINARY) == [entry]
    assert zoo.candidates(SHAPE, kinds.GREY) == zoo.candidates((1, 1), kinds.BINARY) == []


def test_a_card_that_names_another_model(place: Path) -> None:
    put(BINARY, place / "a", lambda card: card.update(id="00" * 32))
    (entry,) = Zoo().named(bytes(3))
    with pytest.raises(ModelError, match="not the model that its card names"):
        entry.weights  # noqa: B018


@pytest.mark.parametrize("card", ["", "{", "[]", "null ", "\ud800", "[" * 100_000])
def test_a_damaged_card_is_an_error_where_the_model_is_tried(card: str, place: Path) -> None:
    folder = put(BINARY, place / "a")
    (folder / "card.json").write_bytes(card.encode("utf-8", "surrogatepass"))
    for zoo in (Zoo(), Zoo(folder)):
        with pytest.raises(ModelError) as caught:
            zoo.candidates(SHAPE, kinds.BINARY)
        assert str(folder / "card.json") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_card_that_cannot_be_read(place: Path) -> None:
    folder = put(BINARY, place / "a")
    (folder / "card.json").unlink()
    (folder / "card.json").mkdir()
    with pytest.raises(ModelError, match=r"card\.json: cannot be read"):
        Zoo().candidates(SHAPE, kinds.BINARY)


def test_a_damaged_model_is_not_in_the_way_of_others(place: Path) -> None:
    put(BINARY, place / "b")
    put(GREY, place / "a", lambda card: "{")
    assert folders(Zoo().named(BINARY_ID[:3])) == ["b"]
    assert folders(Zoo("tiny-binary").chosen) == ["b"]
    assert refused("nosuch").endswith("installed: a, tiny-binary")
    with pytest.raises(ModelError) as caught:
        Zoo().named(b"\0\0\0")
    assert "id 000000..." in str(caught.value)
    assert str(place / "a") in str(caught.value)  # it might be the one
    assert "\n" not in str(caught.value)


def test_shipped_models_are_those_of_the_package_or_else_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "bbcompress"
    monkeypatch.setattr(shipped, "_PACKAGE", package)
    put(GREY, tmp_path / "models" / "b")
    put(BINARY, tmp_path / "models" / "a")
    assert shipped.shipped_model_folders() == []  # somebody else's `models`
    (tmp_path / "pyproject.toml").touch()
    assert shipped.shipped_model_folders() == [tmp_path / "models" / "a", tmp_path / "models" / "b"]
    put(GREY, package / "_models" / "c")
    assert shipped.shipped_model_folders() == [package / "_models" / "c"]


@pytest.mark.parametrize("folder", [folder.name for folder in shipped.shipped_model_folders()])
def test_shipped_cards_name_the_encoder_that_measured_better(folder: str) -> None:
    card = json.loads((ROOT / "models" / folder / "card.json").read_text())
    assert card["encoder"] == usual_encoder(card["net_rate"])
