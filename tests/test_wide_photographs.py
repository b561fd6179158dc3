"""tools/wide_photographs.py makes training pictures of the sizes that it says, the same ones again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

TOOL = Path(__file__).parents[1] / "tools/wide_photographs.py"
PHOTOGRAPH = Path(__file__).parent / "data/photos/landscape.png"


def run(folder: Path, out: Path, *options: str) -> dict[str, np.ndarray]:
    subprocess.run([sys.executable, str(TOOL), str(folder), str(out), *options], check=True)
    return {path.name: np.asarray(Image.open(path)) for path in sorted(out.iterdir())}


def test_pictures_are_wide_and_the_same_again(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    photograph = Image.open(PHOTOGRAPH).convert("RGB")
    for name, width in (("one.png", 2000), ("two.jpg", 900)):
        photograph.resize((width, 800)).save(folder / name)
    photograph.resize((150, 100)).save(folder / "very_small.png")
    found = run(folder, tmp_path / "out")
    assert list(found) == ["b_one.png", "b_two.png", "c_one.png", "c_two.png", "d_one.png"]
    assert all(pixels.dtype == np.uint8 and pixels.shape[2] == 3 for pixels in found.values())
    assert found["d_one.png"].shape == (448, 448, 3)
    for name, most in (("b_one.png", 640), ("c_one.png", 512)):
        assert 128 <= min(found[name].shape[:2]) <= max(found[name].shape[:2]) <= most
    again = run(folder, tmp_path / "again")
    others = run(folder, tmp_path / "others", "--seed", "2")
    assert all(np.array_equal(pixels, again[name]) for name, pixels in found.items())
    assert not np.array_equal(found["d_one.png"], others["d_one.png"])


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    command = [sys.executable, str(TOOL), str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'notes.txt'}: cannot be read as an image")
    assert done.stderr.count("\n") == 1
