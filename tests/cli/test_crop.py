"""`bbc decompress --crop`, and regions from Python: names of files, what is told, wrong regions, archives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from models_for_tests import MODELS

import bbcompress as bbc
from bbcompress.cli import main

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

STREAMS = Path(__file__).resolve().parents[1] / "golden" / "streams"
LEARNED, FROZEN, ARCHIVE, KEPT = "lone-local-learned.bbc", "lone-local-blocks.bbc", "local-learned.bbc", "kept.bbc"


def run(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["decompress", *arguments], prog_name="bbc")
    assert result.exit_code == status, result.output
    return result


def put(name: str) -> bbc.PixelImage:
    """A golden stream in the working directory, and its first image."""
    shutil.copy(STREAMS / name, name)
    with bbc.open(name) as archive:
        return archive[0]


@pytest.mark.parametrize("name", [LEARNED, FROZEN])
def test_a_region_of_a_lone_image(name: str) -> None:
    image = put(name)
    assert max(image.size) > 1024  # two blocks
    left, top = image.width - 1, image.height - 2
    result = run(name, "--crop", f"{left},{top},1,2", "-v")
    out = f"{Path(name).stem}-{left}-{top}-1x2.png"
    assert bbc.read_image(out) == image.crop(left, top, 1, 2)
    learned = name == LEARNED
    number, share, others = (2, "100.0", ", and 1 from which these learn") if learned else (1, "49.5", "")
    line = f"decoded {number} of 2 blocks, {share} % of the pixels: 1 that the region touches{others}"
    assert result.stderr == f"bbc: {name}: {line}\n"
    assert result.stdout == f"{name} -> {out}  1x2 RGB\n"
    told = json.loads(run(name, "--crop", "0,0,5,2", "-o", "b.png", "--json").stdout)
    assert (told["output"], told["decoded"]["touched"], told["decoded"]["parts"]) == ("b.png", 1, 2)
    assert 0 < told["decoded"]["decoded_pixels"] < told["decoded"]["pixels"] == image.width * image.height
    assert bbc.read_image("b.png") == image.crop(0, 0, 5, 2)


def test_what_is_no_region_of_the_image_is_one_line_and_leaves_nothing() -> None:
    image = put(FROZEN)
    before = sorted(Path().iterdir())
    result = run(FROZEN, "--crop", f"{image.width - 1},0,2,1", status=1)
    size = f"{image.width}x{image.height}"
    line = f"the region {image.width - 1},0,2,1 is not within the image, which is {size} pixels"
    assert result.stderr == f"bbc: error: {FROZEN}: {line}\n"
    put(ARCHIVE)
    result = run(ARCHIVE, "--crop", "1,1,5,1", "-o", "out", status=1)
    assert result.stderr.startswith(f"bbc: error: {ARCHIVE}: a/small.png: the region 1,1,5,1 is not within the image")
    assert sorted(Path().iterdir()) == sorted([*before, Path(ARCHIVE)])


def test_regions_of_an_archive() -> None:
    """Of one image those blocks are decoded that it takes, of several each once."""
    put(ARCHIVE)
    with bbc.open(ARCHIVE) as archive:
        images = dict(archive.images())
    result = run(ARCHIVE, "--crop", "1,1,3,1", "-v", "--json")
    assert json.loads(result.stdout)["output"] == "local-learned-1-1-3x1"
    decoded = json.loads(result.stdout)["decoded"]
    first_block = 1040 * 1  # of the two of the long image, which is a group of its own
    others = sum(image.width * image.height for image in images.values() if image.width < 1000)
    assert (decoded["touched"], decoded["decoded_pixels"]) == (2, first_block + others)
    for name, image in images.items():
        assert bbc.read_image(Path("local-learned-1-1-3x1") / name) == image.crop(1, 1, 3, 1)
    first = next(iter(images))
    told = json.loads(run(ARCHIVE, "--crop", "1,1,3,1", "--only", first, "-o", "one", "--json").stdout)
    assert told["images"] == 1
    assert told["decoded"]["decoded_pixels"] == images[first].width * images[first].height < told["decoded"]["pixels"]


def test_a_kept_file_becomes_an_image_of_its_region() -> None:
    put(KEPT)
    run(KEPT, "--crop", "0,0,2,2", "--only", "*.GIF", "-o", "out")
    (found,) = (path for path in Path("out").rglob("*") if path.is_file())
    with bbc.open(KEPT) as archive:
        whole = archive["a/x.GIF"]
    assert found == Path("out/a/x.png")
    assert bbc.read_image(found).pixels.tolist() == whole.crop(0, 0, 2, 2).pixels.tolist()


def test_regions_from_python() -> None:
    whole = put(LEARNED)
    with bbc.open(LEARNED) as archive:
        name = next(iter(archive))
        found = archive.crop(name, whole.width - 3, 0, 3, 2)
        assert found == archive.crop(0, whole.width - 3, 0, 3, 2) == whole.crop(whole.width - 3, 0, 3, 2)
        _ = archive[name]
        assert archive.crop(0, 1, 1, 2, 1) == whole.crop(1, 1, 2, 1)  # from memory
        with pytest.raises(bbc.RegionError, match="not within"):
            archive.crop(0, whole.width, 0, 1, 1)
        with pytest.raises(KeyError):
            archive.crop("none", 0, 0, 1, 1)
        with pytest.raises(IndexError):
            archive.crop(1, 0, 0, 1, 1)
        with pytest.raises(bbc.BBCError, match="left must be a whole number"):
            archive.crop(0, "0", 0, 1, 1)  # type: ignore[arg-type]
    with pytest.raises(bbc.BBCError, match="closed"):
        archive.crop(0, 0, 0, 1, 1)
    small = bbc.write("set.bbc", {"a.png": bbc.read_image(DIGIT)}, model=MODELS / "tiny-binary")
    assert small.images == 1
    with bbc.open("set.bbc") as archive:
        assert archive.crop("a.png", 3, 4, 20, 10) == bbc.read_image(DIGIT).crop(3, 4, 20, 10)


DIGIT = Path(__file__).resolve().parents[1] / "data" / "digits" / "binary" / "0000.png"
