"""The commands and Python examples of the README run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import bbcompress as bbc
from bbcompress.cli import main

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
BATCH = r"torch.Size\(\[5, 1, 28, 28\]\) 000[0-4].png\n"


def examples() -> list[str]:
    """The blocks of code of the section, without their indentation."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## From Python\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", section, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks]


@pytest.fixture(autouse=True)
def folder(no_models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a photograph and digits; `photo` is as shipped, a tiny model stands for `grey`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "models" / "photo", tmp_path / "models" / "photo")
    shutil.copytree(DATA / "models" / "tiny-grey", tmp_path / "models" / "grey")
    card = tmp_path / "models" / "grey" / "card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "name": "grey"}))
    monkeypatch.setenv("BBC_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("bbcompress.models.zoo.Zoo.is_shipped", lambda *_: True)
    with Image.open(DATA / "photos" / "landscape.png") as picture:
        picture.convert("RGB").crop((40, 40, 72, 64)).save("photo.png", dpi=(300, 300))
    digits = [DATA / "digits" / "grey" / f"{number:04}.png" for number in range(5)]
    bbc.write("digits.bbc", {path.name: bbc.read_image(path) for path in digits}, k=0)
    return tmp_path


def test_images_and_archives() -> None:
    names: dict[str, Any] = {}
    exec(examples()[0], names)
    assert names["pixels"].shape == (28, 28) and not names["pixels"].any()
    assert names["names"] == ["a.png", "b.png", "c.png"]
    photo = bbc.read_image("photo.png")
    assert names["image"] == photo and photo.metadata
    assert np.array_equal(np.asarray(Image.open("a.tiff")), photo.pixels)


def test_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    exec(examples()[1], {"bbc": bbc, "__name__": "__main__"})
    assert re.fullmatch(BATCH, capsys.readouterr().out)


def test_a_data_set_whose_workers_are_spawned() -> None:
    """As a script, as macOS and Windows start workers: each imports the script anew."""
    guard = 'if __name__ == "__main__":'
    script = examples()[1].replace(guard, f"{guard}\n    multiprocessing.set_start_method('spawn')", 1)
    Path("script.py").write_text(f"import multiprocessing\n\nimport bbcompress as bbc\n{script}", encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=600)
    assert "set_start_method" in script and re.fullmatch(BATCH, done.stdout), done.stderr


def commands(begin: str, end: str) -> list[str]:
    """The lines of bbc between two texts of the README, in their order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^    \$ bbc (.*)$", text.partition(begin)[2].partition(end)[0], re.MULTILINE)


def run(lines: list[str]) -> None:
    for line in lines:
        result = CliRunner().invoke(main, shlex.split(line, comments=True))
        assert result.exit_code == 0, (line, result.output)


def test_the_first_commands_bring_the_pixels_back() -> None:
    """As they stand at the top, in a folder with a photograph alone."""
    Path("digits.bbc").unlink()
    lines = commands("# bbc\n", "\n## ")
    assert [line.split()[0] for line in lines] == ["compress", "decompress"]
    run(lines)
    assert bbc.read_image("back.png") == bbc.read_image("photo.png")
    assert {path.name for path in Path().iterdir()} == {"models", "photo.png", "photo.bbc", "back.png"}


def test_the_commands_run_one_after_the_other() -> None:
    """Each does what its comment says, and none has anything to complain of but what is noted."""
    pytest.importorskip("matplotlib")
    Path("digits.bbc").unlink()
    Image.open("photo.png").save("hills.png")  # without its resolution, which WebP cannot hold
    Path("digits").mkdir()
    for number in range(12):
        shutil.copy(DATA / "digits" / "grey" / f"{number:04}.png", "digits")
    lines = commands("\n## Use\n", "\nTrain a model")
    run(lines)
    names = sorted(path.name for path in Path("digits").iterdir())
    assert names == sorted(path.name for path in Path("back").iterdir())
    assert [name for name in names if name.endswith("1.png")] == sorted(path.name for path in Path("some").iterdir())
    with bbc.open("digits.bbc") as archive:
        assert sorted(archive) == [*names, "hills.png"]
        assert all(bbc.read_image(Path("back") / name) == archive[name] for name in names)
    assert bbc.read_image("hills.webp") == bbc.read_image("hills.png")
    assert bbc.read_image("hills-8-4-16x12.png") == bbc.read_image("hills.png").crop(8, 4, 16, 12)
    assert len(list(Path("tiffs").iterdir())) == len(names) + 1
    assert Path("bench.png").stat().st_size > 0
    assert len(lines) == 16


def test_the_words_of_the_figure_say_what_it_shows() -> None:
    """Bits per sub-pixel of photographs and of digits, by each format."""
    results = ROOT / "benchmarks" / "results"
    kodak = json.loads((results / "photographs-kodak-without-lattices.json").read_text())["alone"]["bits_per_subpixel"]
    digits = {row["coder"]: row["bits"] for row in json.loads((results / "front-page.json").read_text())["digits"]}
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    (words,) = re.findall(r"!\[([^]]*)\]\(docs/rate-against-time.png\)", text)
    for half, rates in zip(words.split("MNIST"), (kodak, digits), strict=True):
        said = dict(re.findall(r"(PNG|WebP|JPEG XL|bbc)(?: effort 9)? (\d\.\d\d)", half))
        names = {"PNG": "PNG", "WebP": "WebP m6", "JPEG XL": "JPEG XL e9", "bbc": "bbc"}
        assert said == {name: f"{rates[coder]:.2f}" for name, coder in names.items()}


def test_there_are_no_other_examples() -> None:
    assert len(examples()) == 2
