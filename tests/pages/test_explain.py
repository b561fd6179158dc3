"""bbc explain: figures that add up to the file, for files and images of every way, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

from bbcompress.archive.file import Accounting
from bbcompress.cli import main
from bbcompress.images.image import PixelImage
from bbcompress.images.preview import viewed
from bbcompress.pages.pictures import HeatMap, averaged, colours
from bbcompress.pipeline.explaining import NOTES
from bbcompress.pipeline.names import number_name

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

DATA = Path(__file__).resolve().parents[1] / "data"
STREAMS = Path(__file__).resolve().parents[1] / "golden" / "streams"


def bbc(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def told(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["explain", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def parts(answer: dict[str, Any]) -> dict[str, float]:
    return {part["name"]: part["bits"] for part in answer["parts"]}


@pytest.mark.parametrize(
    "name",
    ["lone-binary", "lone-local-learned-colours", "lone-local-blocks", "lone-resnet-tile", "lone-metadata",
     "lone-fallback-rgb", "lone-fallback-one-pixel", "lone-kept", "lone-parts-colours", "lone-parts-grey"],
)  # fmt: skip
def test_parts_add_up_to_a_file_of_one_image(name: str) -> None:
    path = STREAMS / f"{name}.bbc"
    answer = told(path)
    assert sum(parts(answer).values()) == pytest.approx(8 * path.stat().st_size, abs=1e-3)
    assert answer["bytes"] == path.stat().st_size
    has_map = not any(coder in answer["coder"] for coder in ("PNG", "WebP", "kept"))
    assert answer["map"] == has_map or "parts" in name


@pytest.mark.parametrize(
    "name", ["metadata", "mixed", "two-segments", "parts", "parts-learned", "kept", "local-learned", "binary-learned"]
)
def test_parts_add_up_to_an_archive(name: str) -> None:
    """Of each image, and what images of one group take is the same by each of them."""
    path = STREAMS / f"{name}.bbc"
    names = [entry["name"] for entry in json.loads(bbc("list", path, "--json").stdout)]
    names = [number_name(number, len(names)) if name is None else name for number, name in enumerate(names)]
    answers = [told(path, "--only", called) for called in names[:4]]
    for answer in answers:
        assert sum(parts(answer).values()) == pytest.approx(8 * path.stat().st_size, abs=1e-3)
    if name == "binary-learned":
        group = [parts(a)["pixels"] + parts(a)["latent variables z"] + parts(a)["other images of its group"]
                 for a in answers]  # fmt: skip
        assert group == pytest.approx([group[0]] * len(group))


def test_an_image_file_is_coded_as_compress_would() -> None:
    image = DATA / "local" / "long.png"
    answer = told(image, "-m", "tiny-local")
    assert bbc("compress", image, "-m", "tiny-local", "-o", "long.bbc").exit_code == 0
    assert answer["bytes"] == Path("long.bbc").stat().st_size
    assert told("long.bbc")["parts"] == answer["parts"]
    assert sorted(path.name for path in Path().iterdir()) == ["long.bbc"]


def test_figure_holds_image_and_map() -> None:
    image = DATA / "local" / "middle-0.png"
    result = bbc("explain", image, "-m", "tiny-local", "-1", "-o", "heat.png")
    assert result.exit_code == 0, result.output
    assert "pixels" in result.output and "the file" in result.output
    with Image.open("heat.png") as figure:
        figure.load()
    pixels = np.asarray(figure.convert("RGB"))
    palette = {tuple(colour) for colour in colours().tolist()}
    of_map = np.array([tuple(pixel) in palette for pixel in pixels.reshape(-1, 3).tolist()])
    assert np.count_nonzero(of_map) > 10_000


def test_a_map_says_what_pixels_take() -> None:
    values = np.linspace(0, 20, 600).reshape(20, 30)
    heat = HeatMap.of(values)
    assert np.abs(heat.levels * (heat.most / 255) - np.minimum(values, heat.most)).max() <= heat.most / 510 + 1e-9
    assert averaged(values, 10).shape == (7, 10)
    assert averaged(values, 10)[0, 0] == pytest.approx(values[:3, :3].mean())
    assert averaged(values, 10)[-1, -1] == pytest.approx(values[18:, 27:].mean())
    assert HeatMap.of(np.zeros((3, 3))).levels.max() == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "LA;16", "RGB;16", "RGBA;16"])
def test_images_of_every_mode_are_shown(mode: str) -> None:
    samples = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}.get(mode.removesuffix(";16"), 1)
    shape = (4, 5) if samples == 1 else (4, 5, samples)
    dtype = np.bool_ if mode == "1" else np.uint16 if mode.endswith(";16") else np.uint8
    image = PixelImage(mode, np.ones(shape, dtype), palette=bytes(range(6)) if mode == "P" else b"")
    assert viewed(image).size == (5, 4) and viewed(image).mode in ("RGB", "RGBA")


def test_names_are_text_in_a_page() -> None:
    """An archive can hold an image of any name."""
    folder = Path("set/<script>alert(1)<")
    folder.mkdir(parents=True)
    (folder / "script>.png").write_bytes((DATA / "local" / "small.png").read_bytes())
    assert bbc("compress", "set", "-o", "a.bbc").exit_code == 0
    assert bbc("explain", "a.bbc", "--html", "a.html").exit_code == 0
    page = Path("a.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "&lt;script&gt;" in page
    scripts = re.findall(r"<script(.*?)>", page)
    assert all(attributes == "" or "application/json" in attributes for attributes in scripts)


def test_what_is_refused_leaves_nothing() -> None:
    archive, lone = STREAMS / "two-segments.bbc", STREAMS / "lone-binary.bbc"
    Path("there.png").write_bytes(b"mine")
    damaged = bytearray(lone.read_bytes())
    damaged[-1] ^= 1
    Path("damaged.bbc").write_bytes(damaged)
    Path("text.png").write_bytes(b"no image")
    before = sorted(Path().iterdir())
    for arguments, words in (
        (["missing.png"], "no such file"),
        ([archive, "-o", "a.png"], "name one by --only NAME"),
        ([archive, "--only", "nothing", "-o", "a.png"], "no image has a name"),
        ([lone, "-o", "there.png"], "there.png"),
        (["there.png", "-o", "there.png", "-f"], "is the image, and the output"),
        ([lone, "-o", "a", "--html", "a"], "same file"),
        (["damaged.bbc", "-o", "a.png"], "damaged"),
        ([lone, "-o", "a.png", "--html", "none/a.html"], "there is no folder none"),
        (["text.png", "-o", "a.png"], "text.png"),
        ([".", "-o", "a.png"], "holds no manifest"),
    ):
        result = bbc("explain", *arguments)
        assert result.exit_code in (1, 2), arguments
        assert words.lower() in result.output.lower() and result.output.count("\n") == 1, result.output
        assert sorted(Path().iterdir()) == before and Path("there.png").read_bytes() == b"mine"


def test_every_part_of_a_file_is_explained() -> None:
    assert {*NOTES, "payloads"} == {field.name for field in fields(Accounting)}


def test_padding_behind_an_image_is_counted() -> None:
    data = (STREAMS / "lone-binary.bbc").read_bytes() + bytes(8)
    Path("padded.bbc").write_bytes(data)
    answer = told("padded.bbc")
    assert answer["bytes"] == len(data) and parts(answer)["bytes behind it"] == 64
