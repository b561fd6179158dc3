"""The Python examples of the README run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bbcompress as bbc

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"


def examples() -> list[str]:
    """The blocks of code of the section, without their indentation."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## From Python\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", section, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a photograph and an archive of digits; tiny models stand for those shipped."""
    monkeypatch.chdir(tmp_path)
    for name, stands_for in (("tiny-local", "photo"), ("tiny-grey", "grey")):
        shutil.copytree(DATA / "models" / name, tmp_path / "models" / stands_for)
        card = tmp_path / "models" / stands_for / "card.json"
        card.write_text(json.dumps({**json.loads(card.read_text()), "name": stands_for}))
    monkeypatch.setenv("BBC_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [])
    y, x = np.mgrid[0:12, 0:16]
    Image.fromarray(np.stack([9 * x, 11 * y, x * y], 2).astype(np.uint8)).save("photo.png", dpi=(300, 300))
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
    exec(examples()[1], {"bbc": bbc})
    assert re.fullmatch(r"torch.Size\(\[5, 1, 28, 28\]\) 000[0-4].png\n", capsys.readouterr().out)


def test_there_are_no_other_examples() -> None:
    assert len(examples()) == 2
