"""A limit of refinement steps: what is above it is refused by every reader, in a line, and told of by every writer."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

import bbcompress as bbc
from bbcompress.archive.lone import parse_lone
from bbcompress.bench.measure import load_data, measure
from bbcompress.bench.schedule import Schedule
from bbcompress.cli import main
from bbcompress.codecs.groups import decode_images
from bbcompress.integrations.torch_data import pixels_tensor
from bbcompress.limits import MAX_K, READER_K
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).resolve().parent / "data"
DIGITS = DATA / "digits" / "binary"
STEPS = READER_K + 1
LINE = f"K is {STEPS}, above the limit of {READER_K} refinement steps"
IN_PYTHON = f"{LINE}; max_steps={STEPS}, as of bbcompress.open, allows it"
IN_A_COMMAND = f"{LINE}; --max-steps {STEPS} allows it"


pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def digits(first: int, last: int) -> dict[str, bbc.PixelImage]:
    return {f"{number}.png": bbc.read_image(DIGITS / f"{number:04}.png") for number in range(first, last)}


def local(name: str) -> bbc.PixelImage:
    return bbc.read_image(DATA / "local" / f"{name}.png")


def lone() -> tuple[bytes, dict[str, bbc.PixelImage]]:
    """An image whose strips are refined."""
    data, _ = Compressor(Options("tiny-local", STEPS)).lone(local("middle-0"))
    return data, {"file": local("middle-0")}


def archive() -> tuple[bytes, dict[str, bbc.PixelImage]]:
    images = digits(0, 3)
    Compressor(Options("tiny-binary", STEPS)).archive(images.items(), file := io.BytesIO())
    return file.getvalue(), images


def several_sizes() -> tuple[bytes, dict[str, bbc.PixelImage]]:
    images = {f"{name}.png": local(name) for name in ("small", "middle-0", "middle-1")}
    Compressor(Options("tiny-local", STEPS)).archive(images.items(), file := io.BytesIO())
    assert "width" not in Reader(io.BytesIO(file.getvalue())).describe()["groups"][0]
    return file.getvalue(), images


FILES = [lone, archive, several_sizes]


def one_of_two_groups() -> dict[str, bbc.PixelImage]:
    """Put down set.bbc with a group within the limit behind one above it."""
    with pytest.warns(UserWarning, match=f"K is {STEPS}: "):
        bbc.write("set.bbc", digits(0, 3), k=STEPS)
    bbc.add("set.bbc", digits(3, 5), k=READER_K)
    return digits(0, 5)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="bbc")


def lines(result: Result) -> list[str]:
    """The lines on stderr, but for the notice that comes once."""
    return [line for line in result.stderr.splitlines() if not line.startswith("bbc: compiling kernels")]


@pytest.mark.parametrize("make", FILES)
def test_from_python(make: Callable[[], tuple[bytes, dict[str, bbc.PixelImage]]]) -> None:
    data, images = make()
    Path("file.bbc").write_bytes(data)
    with bbc.open("file.bbc") as opened:
        assert list(opened) == list(images)
        for read in (lambda: opened.read(0), lambda: opened[next(iter(images))], lambda: list(opened.images())):
            with pytest.raises(bbc.LimitError, match=f"^{re.escape(IN_PYTHON)}$"):
                read()
    with bbc.open("file.bbc", max_steps=STEPS) as opened:
        assert dict(opened.images()) == images
        assert opened.read(0) == next(iter(images.values()))
    assert [listed.k for listed in Reader(io.BytesIO(data)).entries()] == [STEPS] * len(images)
    refused, dataset = bbc.ArchiveDataset("file.bbc"), bbc.ArchiveDataset("file.bbc", max_steps=STEPS)
    with pytest.raises(bbc.LimitError, match=re.escape(IN_PYTHON)):
        refused[0]
    assert torch.equal(dataset[0], pixels_tensor(next(iter(images.values()))))
    refused.close()
    dataset.close()
    bbc.register_pillow()
    with Image.open("file.bbc") as picture, pytest.raises(bbc.LimitError, match=re.escape(IN_PYTHON)):
        picture.load()


def test_bytes_of_one_image() -> None:
    data, images = lone()
    with pytest.raises(bbc.LimitError, match=re.escape(IN_PYTHON)):
        bbc.decompress(data)
    with pytest.raises(bbc.LimitError, match=f"^K is {STEPS}, above the limit of 7 refinement steps; "):
        bbc.decompress(data, max_steps=7)
    assert np.array_equal(bbc.decompress(data, max_steps=STEPS), images["file"].pixels)
    with pytest.raises(bbc.LimitError):
        decode_images(parse_lone(data), open_models())


def test_the_limit_itself_is_allowed() -> None:
    data, _ = Compressor(Options("tiny-local", 5)).lone(local("middle-0"))
    assert np.array_equal(bbc.decompress(data, max_steps=5), local("middle-0").pixels)
    with pytest.raises(bbc.LimitError):
        bbc.decompress(data, max_steps=4)
    without, _ = Compressor(Options("tiny-local", 0)).lone(local("middle-0"))
    assert np.array_equal(bbc.decompress(without, max_steps=0), local("middle-0").pixels)


@pytest.mark.parametrize("steps", [-1, "x", 1.5, None])
def test_no_limits(steps: Any) -> None:
    data, _ = archive()
    for call in (lambda: bbc.open(io.BytesIO(data), max_steps=steps), lambda: bbc.decompress(data, max_steps=steps)):
        with pytest.raises(bbc.BBCError, match="max_steps must be a whole number of at least 0"):
            call()


@pytest.mark.parametrize("jobs", [1, 2])
def test_groups_within_the_limit_are_read(jobs: int) -> None:
    one_of_two_groups()
    with open("set.bbc", "rb") as file:
        above, within = Reader(file).each(bbc.PixelImage.without_metadata, jobs=jobs)
    assert isinstance(above.error, bbc.LimitError) and str(above.error) == IN_PYTHON
    assert above.error.for_command_line == IN_A_COMMAND
    assert within.error is None and list(within.results) == list(digits(3, 5).values())


@pytest.mark.parametrize("make", FILES)
def test_commands(make: Callable[[], tuple[bytes, dict[str, bbc.PixelImage]]]) -> None:
    data, images = make()
    Path("file.bbc").write_bytes(data)
    out = ["-o", "out.png" if len(images) == 1 else "out"]
    for arguments in (["test", "file.bbc"], ["decompress", "file.bbc", *out],
                      ["decompress", "file.bbc", *out, "--keep-going"],
                      ["test", "file.bbc", "-j", "2"]):  # fmt: skip
        result = run(*arguments)
        assert (result.exit_code, lines(result)) == (1, [f"bbc: error: file.bbc: {IN_A_COMMAND}"]), arguments
    assert [path.name for path in Path().iterdir()] == ["file.bbc"]
    allowed = ["--max-steps", str(STEPS)]
    result = run("test", "file.bbc", *allowed)
    assert (result.exit_code, lines(result)) == (0, [])
    result = run("decompress", "file.bbc", *out, *allowed)
    assert (result.exit_code, lines(result)) == (0, [])
    paths = [Path("out.png")] if len(images) == 1 else [Path("out") / name for name in images]
    assert [bbc.read_image(path) for path in paths] == list(images.values())
    facts = json.loads(run("info", "file.bbc", "--json").stdout)
    assert [group["K"] for group in facts["groups"]] == [STEPS]
    assert f"K = {STEPS}" in run("info", "file.bbc").stdout
    rows = json.loads(run("list", "file.bbc", "--json").stdout)
    assert [row["K"] for row in rows] == [STEPS] * len(images)
    listed = run("list", "file.bbc").stdout.splitlines()
    assert all(f", K = {STEPS}" in line for line in listed) and len(listed) == len(images)


def test_what_is_not_read_is_not_said_to_be_damaged() -> None:
    images = one_of_two_groups()
    result = run("decompress", "set.bbc")
    assert (result.exit_code, lines(result)) == (1, [f"bbc: error: set.bbc: {IN_A_COMMAND}"])
    assert not Path("set").exists()
    result = run("decompress", "set.bbc", "--keep-going")
    expected = [f"bbc: group 0 is not read ({IN_A_COMMAND})", *(f"bbc: not read: {n}.png" for n in range(3))]
    assert (result.exit_code, lines(result)) == (1, expected)
    assert {path.name: bbc.read_image(path) for path in Path("set").iterdir()} == digits(3, 5)
    result = run("decompress", "set.bbc", "--only", "[34].png", "-o", "some")
    assert (result.exit_code, lines(result)) == (0, [])
    result = run("decompress", "set.bbc", "-o", "all", "--max-steps", str(MAX_K))
    assert (result.exit_code, lines(result)) == (0, [])
    assert {path.name: bbc.read_image(path) for path in Path("all").iterdir()} == images


def test_a_damaged_group_beside_one_that_is_not_read() -> None:
    one_of_two_groups()
    data = bytearray(Path("set.bbc").read_bytes())
    data[Reader(io.BytesIO(data)).file.groups[1].offset + 20] ^= 1
    Path("set.bbc").write_bytes(data)
    result = run("decompress", "set.bbc", "--keep-going")
    assert (result.exit_code, lines(result)) == (1, ["bbc: error: set.bbc: nothing can be brought out"])


def test_what_is_written_above_the_limit_is_noted() -> None:
    note = f"K is {STEPS}: those who read it have to allow so many steps, by --max-steps {STEPS}, from Python by " + (
        f"max_steps={STEPS}; without it the limit is {READER_K}"
    )
    image = local("middle-0")
    with pytest.warns(UserWarning, match=f"^{re.escape(note)}$"):
        data = bbc.compress(image, k=STEPS, model="tiny-local")
    assert np.array_equal(bbc.decompress(data, max_steps=STEPS), image.pixels)
    with pytest.warns(UserWarning, match=re.escape(note)):
        assert bbc.write("set.bbc", digits(0, 3), k=STEPS).notes == [note]
    with pytest.warns(UserWarning, match=re.escape(note)):
        assert bbc.add("set.bbc", digits(3, 5), k=STEPS).notes == [note]
    steps = ["-K", str(STEPS), "-m", "tiny-binary"]
    for arguments in (["compress", str(DIGITS), "-o", "new.bbc"], ["add", "set.bbc", str(DIGITS / "0006.png"),
                                                                 str(DIGITS / "0007.png")]):  # fmt: skip
        result = run(*arguments, *steps)
        assert (result.exit_code, lines(result)) == (0, [f"bbc: note: {note}"])
    result = run("test", "new.bbc", "--max-steps", str(STEPS))
    assert (result.exit_code, lines(result)) == (0, [])


def test_what_has_no_steps_is_not_noted() -> None:
    """A small image by itself is coded directly, and the fallback has none."""
    for image in (digits(0, 1)["0.png"], bbc.from_array(np.zeros((3, 4, 4), np.uint8))):
        data, summary = Compressor(Options(k=STEPS)).lone(image)
        assert summary.notes == []
        assert np.array_equal(bbc.decompress(data, max_steps=0), image.pixels)
    _, summary = Compressor(Options("tiny-local", READER_K)).lone(local("small"))
    assert summary.notes == []


def test_bench_measures_any_number() -> None:
    data = load_data([str(DIGITS)], None, "", 3)
    (row,) = measure(data, Schedule(("rha",), (STEPS,), "tiny-binary")).rows
    assert row.k == STEPS


def test_the_default_of_the_commands() -> None:
    for command in ("decompress", "test"):
        (option,) = (option for option in main.commands[command].params if option.name == "max_steps")
        assert option.default == READER_K
