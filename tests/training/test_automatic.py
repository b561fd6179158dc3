"""`bbc train DIR`: what is chosen by the images, told, and what a person is told at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bbcompress.bench.worth import NEW, SHIPPED, Worth
from bbcompress.cli import main
from bbcompress.training import automatic, export, run
from bbcompress.training.clock import Clock
from bbcompress.training.config import TrainingConfig
from bbcompress.training.folder import Folder


def write(folder: Path, count: int, *shape: int, binary: bool = False, first: int = 0) -> Path:
    random = np.random.default_rng(count)
    folder.mkdir(exist_ok=True)
    for number in range(count):
        pixels = 255 * random.integers(0, 2, shape) if binary else random.integers(0, 256, shape)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{first + number:03}.png")
    return folder


def chosen(folder: Path, **given: Any) -> dict[str, Any]:
    return automatic.choose_options(Folder(folder, bool(given.get("grey")), True), given)


def test_options_follow_the_images(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", 5, 64, 70, 3)
    values = chosen(photos)
    assert (values["architecture"], values["any_size"], values["binary"], values["init"]) == (
        "local", True, False, "photo",
    )  # fmt: skip
    assert (values["minutes"], values["leave_out"], values["batch"]) == (30.0, True, 32)
    assert chosen(photos, grey=True)["init"] == "grey"
    assert "init" not in chosen(photos, latents=8)
    assert chosen(photos, init="none")["init"] == "none"
    assert chosen(photos, minutes=2.0)["minutes"] == 2.0
    assert "minutes" not in chosen(photos, epochs=3)
    thumbnails = write(tmp_path / "thumbnails", 10, 32, 32, 3)
    assert (chosen(thumbnails)["any_size"], chosen(thumbnails)["init"]) == (False, "cifar10")
    write(thumbnails, 1, 90, 80, 3, first=50)  # a stray one
    assert not chosen(thumbnails)["any_size"]
    assert chosen(thumbnails, any_size=True)["any_size"]
    digits = write(tmp_path / "digits", 10, 28, 28, binary=True)
    assert (chosen(digits)["binary"], chosen(digits)["init"]) == (True, "mnist-binary-local")
    scans = write(tmp_path / "scans", 10, 64, 80, binary=True)
    assert (chosen(scans)["binary"], chosen(scans)["any_size"], "init" in chosen(scans)) == (True, True, False)
    icons = write(tmp_path / "icons", 10, 16, 16)
    assert "init" not in chosen(icons)
    write(icons, 4, 16, 16, 3, first=30)  # most are grey
    found = Folder(icons, leave_out=True)
    automatic.choose_options(found, {})
    assert len(found.images) == 10
    large = write(tmp_path / "large", 10, 256, 256)
    assert (chosen(large)["any_size"], chosen(large)["init"]) == (True, "grey")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainingConfig, Path, Any]]:
    """Runs that are begun, and not trained."""
    found: list[tuple[TrainingConfig, Path, Any]] = []

    def train(config: TrainingConfig, out: Path, *_: Any, dataset: Any, clock: Clock) -> None:
        found.append((config, out, dataset()))

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(export, "export_run", lambda *_: None)
    return found


def bbc(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_directory_alone_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: list[tuple[TrainingConfig, Path, Any]]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "shots", 12, 64, 70, 3)
    write(tmp_path / "shots", 1, 90, 90, 4, first=90)
    result = bbc("train", "shots", "--no-report", "-q")
    assert (result.exit_code, result.output) == (0, "")
    config, out, data = begun[0]
    assert (config.name, out, config.architecture, config.init) == ("shots", Path("runs/shots"), "local", "photo")
    assert (config.minutes, config.any_size, config.leave_out) == (30.0, True, True)
    assert (len(data.train), len(data.test)) == (11, 1)
    Path("runs/shots").mkdir(parents=True)
    Path("runs/shots/checkpoint.pt").write_bytes(b"")
    refused = bbc("train", "shots")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "--resume" in refused.stderr
    both = bbc("train", "shots", "--data", "mnist")
    assert (both.exit_code, both.stderr.count("\n")) == (2, 1)
    paper = bbc("train", "shots", "--architecture", "resnet", "-o", "other", "--no-report", "-q")
    assert (paper.exit_code, begun[-1][0].architecture, begun[-1][0].minutes) == (0, "resnet", None)


def test_what_is_chosen_and_left_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: list[tuple[TrainingConfig, Path, Any]]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bbcompress.cli.train._tell_worth", lambda *_: None)
    write(tmp_path / "shots", 12, 64, 70, 3)
    write(tmp_path / "shots", 1, 90, 90, 4, first=90)
    lines = bbc("train", "shots", "--minutes", "2", "--no-report").stderr.splitlines()
    assert any("090.png" in line and "left out" in line for line in lines)
    assert any("beginning with the model photo" in line and "2 minutes" in line for line in lines)


def test_wrong_directories(tmp_path: Path) -> None:
    for place, words in ((tmp_path / "none", "no such"), (tmp_path, "no image")):
        result = bbc("train", place, "-o", tmp_path / "run")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.stderr
        assert words in result.stderr
    small = write(tmp_path / "small", 12, 20, 30)
    result = bbc("train", small, "-o", tmp_path / "run")
    assert result.exit_code == 1
    assert "64" in result.stderr.splitlines()[-2]
    assert not (tmp_path / "run").exists()


def worth(**sizes: int) -> Worth:
    found = {NEW: sizes["new"], SHIPPED: sizes["shipped"], "PNG": sizes["png"]}
    return Worth(2, 10, 100_000, 10_000_000, found, 200_000, 0.0)


def test_the_verdict_is_that_of_the_sizes(tmp_path: Path) -> None:
    good = worth(new=90_000, shipped=100_000, png=150_000)
    assert good.is_worth_keeping
    assert good.saved == pytest.approx(1_000_000)
    assert "is worth keeping: it takes 10.0 % fewer bytes than the installed models, about 1.0 MB" in good.verdict
    assert good.command(Path("my shots"), Path("runs/x")) == "bbc compress 'my shots' -o 'my shots.bbc' -m runs/x"
    little = worth(new=99_000, shipped=100_000, png=150_000)
    assert not little.is_worth_keeping
    assert (
        "hardly worth keeping: it saves 1.0 %, about 100 kB of this folder, and takes 200 kB itself" in little.verdict
    )
    bad = worth(new=100_000, shipped=95_000, png=90_000)
    assert bad.lines(Path("a"), Path("runs/a"))[-1] == (
        "An archive of the folder by the installed models: bbc compress a -o a.bbc"
    )
    assert good.lines(Path("a"), Path("runs/a"))[-1].startswith("An archive of the folder by it: bbc compress a -o")
    assert "not worth keeping: PNG took 10.0 % fewer bytes" in bad.verdict
    same = worth(new=95_000, shipped=95_000, png=96_000)
    assert same.verdict == "The model is not worth keeping: the installed models took as many bytes."
    assert "-m" not in bad.command(Path("shots"), Path("runs/x"))
