"""tools/train_through_learning.py codes crops as the codec does, and moves the weights that they begin with."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bbcompress.codecs.learned import RATE, UNIT, strips_and_features
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.models.checkpoint import load
from bbcompress.models.local import LocalWeights
from bbcompress.models.shipped import shipped_model_folders
from bbcompress.training.architectures.local.restore import restore_local, shape_of

ROOT = Path(__file__).parents[1]
PHOTOGRAPH = ROOT / "tests/data/photos/landscape.png"
sys.path.insert(0, str(ROOT / "tools"))

import train_through_learning as tool  # noqa: E402


@pytest.fixture(scope="module")
def weights() -> LocalWeights:
    found = load(next(folder for folder in shipped_model_folders() if folder.name == "photo-fast"))
    assert isinstance(found, LocalWeights)
    return found


def crops_of(weights: LocalWeights) -> tool.Crops:
    return tool.Crops(weights, [np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))], np.random.default_rng(0))


@pytest.mark.parametrize("learns", [False, True])
def test_a_crop_is_coded_as_by_the_codec(weights: LocalWeights, learns: bool) -> None:
    pixels = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))[:64, :72]
    crops = crops_of(weights)
    network = tool.PixelNetwork(restore_local(weights, shape_of(weights))[0])
    crop, rows = tool.Crop(crops.vae, crops.shape, np.ascontiguousarray(pixels)), network.start.clone()[None]
    assert crop.units * UNIT == pixels[..., 0].size
    adam, nats = tool.Adam(rows), 0.0
    while not crop.done:
        leaf = rows.clone().requires_grad_()
        mean = network.nats(leaf, *(values[None] for values in crop.unit())).sum()
        nats += mean.item() * UNIT
        if learns:
            (gradient,) = torch.autograd.grad(mean, leaf)
            rows = rows + adam.change(gradient, RATE * 1e-6)
    x, features = strips_and_features(crops.vae, pixels)
    with exact_arithmetic():
        coder = crops.vae.learning_coder(crops.vae.parameters(RATE), UNIT, int(learns))
        bits = float(coder.lengths(features, x).sum()) / 2**30
    assert nats / math.log(2) == pytest.approx(bits, rel=0.003)


def test_crops_are_pieces_of_the_picture(weights: LocalWeights) -> None:
    crops = crops_of(weights)
    units = [crops.draw().units for _ in range(40)]
    low, high = np.array(tool.AREAS) // UNIT
    assert low - 1 <= min(units) < 2 * low and max(units) <= high
    assert len(set(units)) > 20


def test_training_makes_what_is_learned_smaller(weights: LocalWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that were disturbed are mended, and the same steps give the same weights."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("time.process_time", lambda: next(ticks))
    monkeypatch.setattr(tool, "STREAMS", 4)
    network = tool.PixelNetwork(restore_local(weights, shape_of(weights))[0])
    network.start += 0.02 * torch.randn(network.start.shape, generator=torch.Generator().manual_seed(0))
    state = tool.State("", network.start)
    tool.train_through(network, crops_of(weights), 40, 1e-3, state)

    def nats(row: torch.Tensor) -> float:
        crop = crops_of(weights).draw()
        with torch.no_grad():
            return sum(float(network.nats(row[None], *(v[None] for v in crop.unit()))) for _ in range(crop.units))

    assert state.steps == 40
    assert nats(state.average[0]) < 0.99 * nats(network.start)


def shipped(name: str) -> Path:
    return next(folder for folder in shipped_model_folders() if folder.name == name)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        Image.open(PHOTOGRAPH).convert("RGB").resize((300 + number, 260)).save(folder / f"{number}.png")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["tool", *map(str, words)])
    tool.main()


def test_a_model_is_trained_and_written_and_goes_on(
    weights: LocalWeights,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bbcompress.training.quantisation.samples.CROP", 64)
    out = tmp_path / "out"
    command = shipped("photo-fast"), photos, out, "--seconds"
    run(monkeypatch, *command, 0.2)
    steps = torch.load(out / "state.pt")["steps"]
    told = capsys.readouterr().out
    assert f"{steps} steps of 32 x 128 pixels" in told and "held-out pictures with learning: " in told
    found = load(out)
    assert isinstance(found, LocalWeights) and found.id != weights.id
    assert found.direct_bits == weights.direct_bits
    assert found.card["evaluated_on"] == "1 held-out images of 64x64" and found.card["name"] == "out"
    assert found.card["init"]["id"] == weights.id.hex() and "note" not in found.card
    assert (found.card["data"], found.card["data_licence"]) == ("photos", "the user's own")
    words = "python tools/train_through_learning.py photo-fast photos out"
    commands = [f"{words} --seconds 0.2 --lr 0.0007"]
    assert found.card["commands"] == commands
    for seconds, options, message in (
        (0.5, (), "--resume goes on"),
        (0.1, ("--resume",), "nothing is to be done"),
    ):
        with pytest.raises(SystemExit, match=message):
            run(monkeypatch, *command, seconds, *options)
    run(monkeypatch, *command, 0.5, "--lr", 1e-4, "--seed", 3, "--resume")
    assert torch.load(out / "state.pt")["steps"] > steps
    commands.append(f"{words} --seconds 0.5 --lr 0.0001 --seed 3 --resume")
    assert load(out).card["commands"] == commands


def test_an_interrupted_run_goes_on(
    weights: LocalWeights, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tool.Crops, "draw", interrupt)
    command = shipped("photo-fast"), photos, tmp_path / "out", "--seconds", 1
    with pytest.raises(SystemExit, match="out: interrupted; --resume goes on with it"):
        run(monkeypatch, *command)
    state = tool.State(weights.id.hex(), tool.PixelNetwork(restore_local(weights, shape_of(weights))[0]).start)
    state.load(tmp_path / "out" / "state.pt")
    assert state.steps == 0 and len(state.commands) == 1


def test_what_is_told_of_a_run_that_goes_on_is_of_its_own_steps(
    weights: LocalWeights, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr("time.process_time", lambda: next(ticks))
    monkeypatch.setattr(tool, "STREAMS", 2)
    monkeypatch.setattr(tool, "REPORT_EVERY", 10)
    network = tool.PixelNetwork(restore_local(weights, shape_of(weights))[0])
    told = []
    for steps in (0, 8):
        state = tool.State("", network.start)
        state.steps = steps
        tool.train_through(network, crops_of(weights), 10 - steps, 1e-6, state)
        told.append(float(capsys.readouterr().out.split()[2]))
    assert told[1] == pytest.approx(told[0], rel=0.5)  # not a fifth of it


def test_weights_that_diverge_end_the_run(weights: LocalWeights) -> None:
    network = tool.PixelNetwork(restore_local(weights, shape_of(weights))[0])
    kept: list[int] = []
    with pytest.raises(SystemExit, match=r"diverged at step .*; give a smaller --lr"):
        tool.train_through(network, crops_of(weights), 60, 1e3, tool.State("", network.start), lambda: kept.append(1))
    assert not kept


def a_state(model: str = "m", size: int = 50) -> tool.State:
    state = tool.State(model, torch.randn(size, generator=torch.Generator().manual_seed(0)))
    state.start += state.outer.change(torch.ones(1, size), 0.1)
    state.average.lerp_(state.start, 0.3)
    state.steps, state.seconds, state.commands = 7, 1.5, ["a command"]
    return state


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    state, other = a_state(), tool.State("m", torch.zeros(50))
    state.save(tmp_path / "state.pt")
    other.load(tmp_path / "state.pt")
    assert (other.steps, other.seconds, other.commands) == (7, 1.5, ["a command"])
    for name, tensor in other.tensors.items():
        assert torch.equal(tensor, state.tensors[name]), name


@pytest.mark.parametrize(
    "change",
    [
        [],
        torch.zeros(3),
        b"no state",
        b"",
        {"steps": "x"},
        {"steps": -7},
        {"seconds": math.nan},
        {"seconds": -1.0},
        {"start": torch.zeros(1, 9)},
        {"average": torch.full((1, 50), math.nan)},
        {"commands": None},
    ],
    ids=str,
)
def test_a_damaged_state_is_refused(change: object, tmp_path: Path) -> None:
    place = tmp_path / "state.pt"
    a_state().save(place)
    if isinstance(change, bytes):
        place.write_bytes(change)
    else:
        torch.save({**torch.load(place), **change} if isinstance(change, dict) else change, place)
    other = tool.State("m", torch.zeros(50))
    with pytest.raises(SystemExit, match=r"state\.pt: is damaged"):
        other.load(place)
    assert other.steps == 0 and not other.start.any()


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    a_state("other").save(tmp_path / "state.pt")
    with pytest.raises(SystemExit, match=r"of another model \(id other\)"):
        tool.State("m", torch.zeros(50)).load(tmp_path / "state.pt")


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        ("mnist-binary", {}, "not a local model for images of any size"),
        ("grey", {"--lr": "0"}, "0: not a number above 0"),
        ("grey", {"--seconds": "nan"}, "nan: not a number above 0"),
        ("grey", {"--seconds": "x"}, "x: not a number above 0"),
        ("grey", {"--threads": "0"}, "0: not a whole number of at least 1"),
        ("grey", {"--threads": "99999999999"}, "not a whole number of at least 1"),
        ("grey", {"--seed": "-1"}, "-1: not a whole number of at least 0"),
        ("photo-fast", {"photos": "missing"}, "missing: no such data set or directory"),
        ("photo-fast", {"photos": "empty"}, "there is no image in this folder"),
        ("photo-fast", {"photos": "grey"}, "grey: its images are grey, and the model is for RGB ones"),
        ("photo-fast", {"photos": ""}, "a name is empty"),
        ("photo-fast", {"model": "missing"}, "missing"),
        ("photo-fast", {"--resume": ""}, "there is no run to go on with"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(
    model: str,
    change: dict[str, str],
    message: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("empty", "grey"):
        (tmp_path / name).mkdir()
    for number in range(2):
        Image.open(PHOTOGRAPH).convert("L").save(tmp_path / "grey" / f"{number}.png")
    places: dict[str, object] = {"model": shipped(model), "photos": photos}
    for name in places.keys() & change.keys():
        places[name] = tmp_path / change[name] if change[name] else ""
    options = {"--seconds": "1", **{name: value for name, value in change.items() if name[0] == "-"}}
    words = [word for option in options.items() for word in option if word]
    with pytest.raises(SystemExit) as raised:
        run(monkeypatch, *places.values(), tmp_path / "out", *words)
    assert message in f"{raised.value} {capsys.readouterr().err}"
    assert not (tmp_path / "out").exists()


def test_models_and_files_are_not_written_over(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "file").touch()
    for out, message in (
        (shipped("photo-fast"), "is the model that is trained"),
        (shipped("grey"), "holds a model; give another folder"),
        (file, "is not a folder"),
    ):
        with pytest.raises(SystemExit, match=message):
            run(monkeypatch, shipped("photo-fast"), photos, out, "--seconds", "1")
