"""bbc info and bbc test of files with models: which are needed, where they are, what they cost, and what is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder  # noqa: F401
from models_for_tests import MODELS
from PIL import Image

import bbcompress as bbc
from bbcompress.cli import main
from bbcompress.images.image import from_array
from bbcompress.models.checkpoint import load

DATA = Path(__file__).resolve().parents[1] / "data"
BINARY = MODELS / "tiny-binary"
ID = load(BINARY).id.hex()

pytestmark = pytest.mark.usefixtures("no_models", "empty_folder")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def info(*arguments: str) -> Any:
    result = run("info", "--json", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def write(name: str, embed: bool, count: int = 2) -> None:
    images = [bbc.read_image(DATA / "digits" / "binary" / f"{number:04}.png") for number in range(count)]
    entries = [(f"{number}.png", image, 1000 * number) for number, image in enumerate(images)]
    bbc.write(name, entries, model=BINARY, embed_model=embed, overwrite=True)


def test_where_a_model_is() -> None:
    write("in.bbc", True)
    write("out.bbc", False)
    size = info("in.bbc")["parts"]["models"]
    facts = {"name": "tiny-binary", "id": ID, "images": 2, "fault": None}
    assert info("in.bbc")["models"] == [{**facts, "installed": False, "bytes": size}]
    assert info("in.bbc", "-m", str(BINARY))["models"] == [{**facts, "installed": True, "bytes": size}]
    assert info("out.bbc", "-m", str(BINARY))["models"] == [{**facts, "installed": True, "bytes": None}]
    missing = {"name": None, "id": ID[:8], "images": 2, "installed": False, "bytes": None, "fault": None}
    assert info("out.bbc")["models"] == [missing]
    assert f"  model tiny-binary {ID[:8]}: in the file, {size} bytes\n" in run("info", "in.bbc").stdout
    text = run("info", "in.bbc", "-m", str(BINARY)).stdout
    assert f"  model tiny-binary {ID[:8]}: installed and in the file, {size} bytes\n" in text
    assert (
        f"  model {ID[:8]}: missing: give it with -m, in BBC_MODELS or by bbc models add\n"
        in run("info", "out.bbc").stdout
    )


def test_a_model_that_is_not_needed() -> None:
    write("a.bbc", True)
    noise = Image.effect_noise((9, 9), 90).convert("RGBA")
    with pytest.warns(UserWarning, match="does not fit"):
        bbc.write("b.bbc", {"b": noise}, model=BINARY)
    Path("both.bbc").write_bytes(
        Path("b.bbc").read_bytes() + Path("a.bbc").read_bytes()[-info("a.bbc")["parts"]["models"] :]
    )
    (model,) = info("both.bbc")["models"]
    assert (model["name"], model["images"]) == ("tiny-binary", 0)
    assert ", not needed\n" in run("info", "both.bbc").stdout


def test_times_and_png() -> None:
    write("a.bbc", True)
    assert info("a.bbc")["times"] == ["1970-01-01T00:00:00Z", "1970-01-01T00:16:40Z"]
    assert "  modified: 1970-01-01T00:00:00Z to 1970-01-01T00:16:40Z\n" in run("info", "a.bbc").stdout
    assert "png_bytes" not in info("a.bbc")["totals"]
    png = info("a.bbc", "--png")["totals"]["png_bytes"]
    run("decompress", "a.bbc", "--format", "png")
    assert png == sum(path.stat().st_size for path in Path("a").iterdir())
    size = Path("a.bbc").stat().st_size
    assert f"  as PNG {png} bytes: {png / size:.2f}x\n" in run("info", "--png", "a.bbc").stdout
    Path("lone.bbc").write_bytes(
        bbc.compress(from_array(bbc.read_image(DATA / "digits" / "binary" / "0000.png").pixels))
    )
    assert info("lone.bbc")["times"] is None


def test_how_much_smaller_than_the_source() -> None:
    Path("set/sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "sub/b.png", "sub/c.png")):
        Path("set", name).write_bytes((DATA / "digits" / "binary" / f"{number:04}.png").read_bytes())
    run("compress", "set", "-o", "set.bbc", "-q")
    run("compress", "set/a.png", "-q")
    before = sum(path.stat().st_size for path in Path("set").rglob("*.png"))
    size, alone = Path("set.bbc").stat().st_size, Path("set/a.png").stat().st_size
    totals = info("set.bbc", "--source", "set")["totals"]
    assert (totals["source_bytes"], totals["source_missing"]) == (before, 0)
    assert f"  source {before} bytes: {before / size:.2f}x\n" in run("info", "set.bbc", "--source", "set").stdout
    assert info("set/a.bbc", "--source", "set/a.png")["totals"]["source_bytes"] == alone
    Path("set/sub/b.png").unlink()
    assert info("set.bbc", "--source", "set")["totals"]["source_missing"] == 1
    assert ": 1 image not found there\n" in run("info", "set.bbc", "--source", "set").stdout
    assert info("set.bbc", "--source", "set/a.png")["totals"]["source_missing"] == 2
    assert "--source is for one file" in run("info", "set.bbc", "set/a.bbc", "--source", "set").stderr


STREAMS = DATA.parent / "golden" / "streams"


def test_the_decoders_whose_colours_a_model_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBC_MODELS", str(MODELS))
    file, lone = str(STREAMS / "local-learned-colours.bbc"), str(STREAMS / "lone-local-learned-colours.bbc")
    (group,) = info(file)["groups"]
    assert group["learning"]["colours"] == {"AVIF": 1, "WebP": 1}
    assert ", colours of AVIF in 1 image and WebP in 1 image\n" in run("info", file).stdout
    assert run("info", lone).stdout.endswith(", colours of JPEG\n")
    entries = json.loads(run("list", "--json", file).stdout)
    assert [entry["colours"] for entry in entries] == ["WebP", None, "AVIF"]
    assert "  colours of" not in run("list", file).stdout
    assert run("list", "-v", file).stdout.splitlines()[0].endswith("  colours of WebP")
    with bbc.open(file) as archive:
        assert [entry.colours for entry in archive.entries()] == ["WebP", None, "AVIF"]
        assert archive.info()["groups"] == [group]
    assert "colours" not in info(str(STREAMS / "local-learned.bbc"))["groups"][0]["learning"]


def test_damage_where_the_colours_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the header says is listed all the same."""
    monkeypatch.setenv("BBC_MODELS", str(MODELS))
    data = bytearray((STREAMS / "lone-local-learned-colours.bbc").read_bytes())
    at = info(str(STREAMS / "lone-local-learned-colours.bbc"))["parts"]
    data[at["prefix"] + at["group_headers"]] = 255
    Path("a.bbc").write_bytes(data)
    (entry,) = json.loads(run("list", "--json", "a.bbc").stdout)
    assert (entry["width"], entry["coder"], entry["colours"]) == (30, "tiny-local", None)
    result = run("info", "a.bbc")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "the lattice of colours 255 is not known" in result.stderr


def test_png_of_what_png_does_not_hold() -> None:
    Path("a.bbc").write_bytes(bbc.compress(Image.new("CMYK", (3, 2))))
    assert info("a.bbc", "--png")["totals"]["png_bytes"] is None
    assert "as PNG it cannot be" in run("info", "--png", "a.bbc").stdout


def test_png_needs_the_model() -> None:
    write("a.bbc", False)
    result = run("info", "--png", "a.bbc")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "a.bbc: this file needs the model" in result.stderr


def test_a_damaged_model_in_a_file() -> None:
    write("a.bbc", True)
    data = bytearray(Path("a.bbc").read_bytes())
    data[-1000] ^= 1
    Path("a.bbc").write_bytes(data)
    line = "a.bbc: the model in the file is damaged: its checksum does not fit"
    for arguments in (["test", "a.bbc"], ["decompress", "a.bbc"]):
        result = run(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert line in result.stderr
    assert "the model in the file is damaged" in info("a.bbc")["models"][0]["fault"]
    result = run("decompress", "a.bbc", "--keep-going", "-o", "left")
    assert result.exit_code == 1 and "a.bbc: nothing can be brought out" in result.stderr
    installed = ["-m", str(BINARY)]
    assert run("decompress", "a.bbc", *installed).exit_code == 0
    result = run("test", "a.bbc", *installed)
    assert (result.exit_code, "all images are as they were, but the model in the file is damaged" in result.stderr) == (
        1,
        True,
    )
