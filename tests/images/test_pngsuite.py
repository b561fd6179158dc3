"""PngSuite: all of its valid files back exactly, as another program reads them; the invalid ones refused."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from cases_for_tests import one_test_of
from models_for_tests import models_in
from seen_for_tests import rgba

from bbcompress.errors import ImageError
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).resolve().parents[1] / "data"
SUITE = DATA / "pngsuite"
RGBA: dict[str, str] = json.loads((SUITE / "rgba.json").read_text(encoding="utf-8"))
INVALID = sorted(path.stem for path in SUITE.glob("x*.png"))


def test_the_suite_is_complete() -> None:
    assert (len(RGBA), len(INVALID)) == (161, 14)
    assert {path.stem for path in SUITE.glob("*.png")} == {*RGBA, *INVALID}


@one_test_of("name", RGBA)
def test_valid(name: str) -> None:
    image = read_image(SUITE / f"{name}.png")
    seen = rgba(image)
    assert hashlib.sha256(seen.astype(seen.dtype.newbyteorder(">")).tobytes()).hexdigest() == RGBA[name]
    data, suffix = write_image(image)
    assert suffix == ".png" and image.lost == ("interlacing",) * (name[3] == "i")
    assert read_image(data) == image


@one_test_of("name", INVALID)
def test_invalid(name: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(SUITE / f"{name}.png", name)
    assert str(caught.value).startswith(f"{name}: ") and len(str(caught.value).splitlines()) == 1


def test_as_one_archive() -> None:
    """Compressed, pixels and all that the files say beside them come back."""
    images = [(name, read_image(SUITE / f"{name}.png")) for name in RGBA]
    file = io.BytesIO()
    Compressor(Options(model=DATA / "models", verify=False)).archive(images, file)
    found = dict(Reader(file, models_in()).images())
    assert [found[position] for position in range(len(images))] == [image for _, image in images]
