"""imageio reads and writes .bbc files through the plugin for Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from arrays_for_tests import digits, microscopy
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401

import bbcompress as bbc

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def test_images_and_archives() -> None:
    imageio = pytest.importorskip("imageio.v3")
    bbc.register_pillow()
    stack, deep = digits(3), microscopy(1, 9, 14)[0]
    imageio.imwrite("a.bbc", stack[0], effort=2)
    assert np.array_equal(imageio.imread("a.bbc"), stack[0])
    imageio.imwrite("deep.bbc", deep)
    assert np.array_equal(bbc.decompress(Path("deep.bbc").read_bytes()), deep)
    assert np.array_equal(imageio.imread("deep.bbc"), deep)
    bbc.write("set.bbc", {f"{at}.png": image for at, image in enumerate(stack)})
    assert np.array_equal(imageio.imread("set.bbc", index=...), stack)
    assert [bool((image == stack[at]).all()) for at, image in enumerate(imageio.imiter("set.bbc"))] == [True] * 3
    assert imageio.improps("set.bbc", index=...).shape == (3, 28, 28)
