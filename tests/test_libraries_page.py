"""The examples of the page on other libraries run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays_for_tests import digits, photograph
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401

import bbcompress as bbc

PAGE = Path(__file__).resolve().parents[1] / "docs" / "libraries.md"

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def examples(chapter: str) -> list[str]:
    """The blocks of Python of a chapter, without their indentation."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks if "    $" not in block]


def test_zarr() -> None:
    pytest.importorskip("zarr", minversion="3.1")
    names: dict[str, Any] = {}
    writing, reading, by_dask, format_2 = examples("zarr")
    for block in (writing, reading, format_2):
        exec(block, names)
    assert np.array_equal(names["back"][...], names["stack"]) and (names["old"][...] == 7).all()
    pytest.importorskip("dask.array")
    exec(by_dask, names)
    assert np.array_equal(names["brightest"], names["stack"].max(axis=0))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # WebDataset leaves it to Python to close files
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("webdataset")
    names: dict[str, Any] = {"bbc": bbc, "digits": digits(3)}
    for block in examples("WebDataset"):
        exec(block, names)
    assert capsys.readouterr().out.splitlines() == [
        *(f"{number:04} (28, 28) {number}" for number in range(3)),
        *(f"{number:04} (28, 28)" for number in range(3)),
    ]
    assert np.array_equal(names["first"]["npy"], names["digits"][0])


def test_imageio() -> None:
    pytest.importorskip("imageio")
    image = photograph(12, 16)
    names: dict[str, Any] = {"photo": image}
    bbc.write("set.bbc", {f"{number}.png": image for number in range(2)})
    (block,) = examples("imageio and scikit-image")
    exec(block, names)
    assert np.array_equal(names["photo"], image) and np.array_equal(names["images"], [image, image])
