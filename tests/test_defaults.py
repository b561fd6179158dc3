"""The defaults are the same by every door: commands, Python and Pillow."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from fixtures_for_tests import empty_folder  # noqa: F401
from PIL import Image

import bbcompress as bbc
from bbcompress.cli import main
from bbcompress.errors import BBCError
from bbcompress.limits import MAX_PIXELS, READER_K
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options

PIXELS = np.zeros((3, 4), np.uint8)


def command(*arguments: str) -> Callable[[], Any]:
    return lambda: CliRunner().invoke(main, arguments)


WRITERS: dict[str, Callable[[], Any]] = {
    "bbc compress": command("compress", "a.png", "-o", "new.bbc"),
    "bbc add": command("add", "set.bbc", "a.png"),
    "compress": lambda: bbc.compress(PIXELS),
    "compress of a path": lambda: bbc.compress("a.png"),
    "write": lambda: bbc.write("new.bbc", {"a": PIXELS}),
    "add": lambda: bbc.add("set.bbc", {"a": PIXELS}),
    "pack": lambda: bbc.pack("a.png", "new.bbc"),
    "Pillow": lambda: Image.fromarray(PIXELS).save("new.bbc"),
    "Pillow, all frames": lambda: Image.fromarray(PIXELS).save("new.bbc", save_all=True),
}


@pytest.mark.parametrize("door", WRITERS)
def test_writers(door: str, empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    bbc.register_pillow()
    Image.fromarray(PIXELS).save("a.png")
    bbc.write("set.bbc", {"b": PIXELS})
    seen: list[Options] = []

    def record(self: Compressor, options: Options | None = None, models: object = None) -> None:
        seen.append(options or Options())
        raise BBCError("seen")

    monkeypatch.setattr(Compressor, "__init__", record)
    try:
        WRITERS[door]()
    except BBCError as error:
        assert str(error).endswith("seen")
    (options,) = seen
    assert replace(options, jobs=1) == Options()  # the bytes are the same for any number of processes


def test_readers() -> None:
    for name in ("decompress", "test"):
        defaults = main.commands[name].make_context(name, ["a.bbc"]).params
        assert (defaults["max_pixels"], defaults["max_steps"]) == (MAX_PIXELS, READER_K)
        assert (defaults["device"], defaults["model"]) == ("cpu", None)
    for function in (bbc.open, bbc.decompress, bbc.extract, bbc.Archive):
        parameters = inspect.signature(function).parameters
        found = {name: parameters[name].default for name in ("max_pixels", "max_steps", "device", "model")}
        assert found == {"max_pixels": MAX_PIXELS, "max_steps": READER_K, "device": "cpu", "model": None}


def test_every_option_has_a_name_on_the_command_line() -> None:
    """One name each, but that `verify` is said as --no-verify."""
    named = {parameter.name for parameter in main.commands["compress"].params if isinstance(parameter, click.Option)}
    assert set(Options.__dataclass_fields__) - named == {"verify"}
