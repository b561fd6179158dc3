"""Pillow knows .bbc files once both are imported, in either order, and importing the package alone imports neither."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOUND = """
import importlib.util
spec = importlib.util.find_spec("PIL.Image")
assert spec.name == "PIL.Image" and "def open(" in spec.loader.get_source("PIL.Image")
assert importlib.util.find_spec("PIL.Image") and importlib.util.find_spec("PIL.none") is None
"""

REGISTERED = """
import PIL.Image, sys
assert PIL.Image.registered_extensions()[".bbc"] == "BBC"
assert {"BBC"} <= {*PIL.Image.OPEN} & {*PIL.Image.SAVE} & {*PIL.Image.SAVE_ALL} & {*PIL.Image.MIME}
assert PIL.Image.__spec__.loader is PIL.Image.__loader__
assert type(PIL.Image.__loader__).__module__ != "bbcompress.integrations.pillow_hook"
assert all(type(finder).__module__ != "bbcompress.integrations.pillow_hook" for finder in sys.meta_path)
"""

ORDERS = {
    "ours first": "import bbcompress",
    "Pillow first": "import PIL.Image, bbcompress",
    "a part of Pillow first": "import PIL, bbcompress",
    "from both": "from bbcompress import BBCError; from PIL import Image",
    "its plugins first": "import PIL.Image; PIL.Image.init(); import bbcompress",
    "a plugin of Pillow imports it": "import bbcompress; import PIL.PngImagePlugin",
    "only looked for before": f"import bbcompress; {FOUND}",
    "one of ours imports it": "import bbcompress.images.formats.gif.convert, bbcompress.images.pillow",
}


def python(program: str, folder: Path) -> None:
    result = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("order", ORDERS)
def test_either_order_of_imports(order: str, tmp_path: Path) -> None:
    python(ORDERS[order] + REGISTERED, tmp_path)


def test_without_ours_pillow_does_not_know_the_files(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unknown file extension"):
        python("import PIL.Image; PIL.Image.new('L', (5, 4)).save('x.bbc')", tmp_path)


def test_importing_the_package_imports_nothing_slow(tmp_path: Path) -> None:
    slow = {"PIL", "numpy", "numba", "torch", "click", "importlib.abc"}
    python(f"import sys, bbcompress as bbc\ndir(bbc)\nassert not {slow} & set(sys.modules)", tmp_path)


def test_opening_and_saving_by_pillow_without_torch(tmp_path: Path) -> None:
    program = """
import bbcompress, sys
from PIL import Image
Image.new("L", (5, 4), 7).save("x.bbc")
with Image.open("x.bbc") as image:
    assert image.format == "BBC" and image.getpixel((4, 3)) == 7
assert "torch" not in sys.modules
"""
    python(program, tmp_path)
