"""Pillow knows .bbc files when it is told of them, and not before; importing the package alone imports neither."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REGISTERED = """
import PIL.Image
assert PIL.Image.registered_extensions()[".bbc"] == "BBC"
assert {"BBC"} <= {*PIL.Image.OPEN} & {*PIL.Image.SAVE} & {*PIL.Image.SAVE_ALL} & {*PIL.Image.MIME}
assert PIL.Image.ID.count("BBC") == 1
"""

WAYS = {
    "a call": "import bbcompress; bbcompress.register_pillow()",
    "an import": "import bbcompress.pillow",
    "Pillow first": "import PIL.Image; PIL.Image.init(); import bbcompress.pillow",
    "twice": "import bbcompress.pillow; bbcompress.register_pillow(); bbcompress.register_pillow()",
}


def python(program: str, folder: Path) -> None:
    result = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_register(way: str, tmp_path: Path) -> None:
    python(WAYS[way] + REGISTERED, tmp_path)


def test_the_package_alone_changes_nothing_of_pillow_or_of_imports(tmp_path: Path) -> None:
    program = "import sys; before = list(sys.meta_path); import bbcompress, PIL.Image; PIL.Image.init(); "
    python(program + "assert 'BBC' not in PIL.Image.OPEN and sys.meta_path == before", tmp_path)
    with pytest.raises(AssertionError, match="unknown file extension"):
        python("import bbcompress, PIL.Image; PIL.Image.new('L', (5, 4)).save('x.bbc')", tmp_path)


def test_importing_the_package_imports_nothing_slow(tmp_path: Path) -> None:
    slow = {"PIL", "numpy", "numba", "torch", "click", "importlib.abc"}
    python(f"import sys, bbcompress as bbc\ndir(bbc)\nassert not {slow} & set(sys.modules)", tmp_path)


def test_opening_and_saving_by_pillow_without_torch(tmp_path: Path) -> None:
    program = """
import bbcompress.pillow, sys
from PIL import Image
Image.new("L", (5, 4), 7).save("x.bbc")
with Image.open("x.bbc") as image:
    assert image.format == "BBC" and image.getpixel((4, 3)) == 7
assert "torch" not in sys.modules
"""
    python(program, tmp_path)
