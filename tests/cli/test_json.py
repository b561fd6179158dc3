"""--json of compress, add and decompress: an object for each file, also where it fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401

import bbcompress as bbc
from bbcompress.cli import main

DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits" / "binary"

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

NO_PREVIEWS = {"images": 0, "bytes": 0}


def run(*arguments: str, status: int = 0) -> Any:
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (status, ""), result.output
    return json.loads(result.stdout)


@pytest.fixture(autouse=True)
def digits(empty_folder: Path) -> None:  # noqa: F811
    for number in range(3):
        shutil.copy(DIGITS / f"{number:04}.png", f"{number}.png")


def test_one_file() -> None:
    made = run("compress", "0.png")
    before, after = Path("0.png").stat().st_size, Path("0.bbc").stat().st_size
    assert made.pop("seconds") >= 0 and made.pop("bits_per_dimension") == 8 * after / 784
    expected = {"output": "0.bbc", "ok": True, "error": None, "images": 1, "bytes_before": before, "bytes_after": after}
    also = {
        "ratio": before / after,
        "coders": {"tiny-binary": 1},
        "models": {},
        "previews": NO_PREVIEWS,
        "notes": [],
        "skipped": [],
    }
    assert made == {"inputs": ["0.png"], **expected, **also}
    back = run("decompress", "0.bbc", "-o", "back.png")
    written = Path("back.png").stat().st_size
    assert back.pop("seconds") >= 0
    sizes = {"bytes_before": after, "bytes_after": written, "ratio": written / after}
    expected = {"output": "back.png", "ok": True, "error": None, "images": 1, "coders": {"tiny-binary": 1}}
    assert back == {"file": "0.bbc", **expected, **sizes}


def test_several_files_of_which_one_fails() -> None:
    Path("bad.png").write_text("no image")
    good, bad, other = run("compress", "0.png", "bad.png", "1.png", status=1)
    assert (good["ok"], other["ok"], other["output"]) == (True, True, "1.bbc")
    assert not bad["ok"] and bad["error"].startswith("bad.png: ") and "bytes_after" not in bad
    Path("1.bbc").write_bytes(Path("1.bbc").read_bytes()[:-1])
    good, bad = run("decompress", "0.bbc", "1.bbc", "--output-dir", "out", status=1)
    assert (good["ok"], bad["ok"]) == (True, False) and "1.bbc" in bad["error"]
    assert run("decompress", "1.bbc", "-o", "x.png", status=1)["error"]
    assert run("compress", "bad.png", status=1)["error"]


def test_an_archive() -> None:
    made = run("compress", "0.png", "1.png", "2.png", "-o", "set.bbc", "--embed-model")
    assert (made["inputs"], made["images"], list(made["models"])) == (["0.png", "1.png", "2.png"], 3, ["tiny-binary"])
    back = run("decompress", "set.bbc")
    assert (back["output"], back["images"], back["coders"]) == ("set", 3, {"tiny-binary": 3})
    assert back["bytes_after"] == sum(path.stat().st_size for path in Path("set").iterdir())


def test_a_part_that_is_lost_is_an_error_of_its_file() -> None:
    noise = np.random.default_rng(0).integers(0, 1 << 16, (40, 40), np.uint16)
    bbc.write("set.bbc", {"a.png": bbc.read_image("0.png"), "b.png": noise, "c.png": noise}, preview=False)
    data = bytearray(Path("set.bbc").read_bytes())
    data[len(data) // 2] ^= 1
    Path("bad.bbc").write_bytes(data)
    result = CliRunner().invoke(main, ["decompress", "set.bbc", "bad.bbc", "--keep-going", "--json"])
    good, bad = json.loads(result.stdout)
    assert (result.exit_code, good["ok"], good["images"], good["error"]) == (1, True, 3, None)
    assert (bad["ok"], bad["images"], bad["error"]) == (False, 1, "bad.bbc: 2 of 3 images not brought out")


def test_adding() -> None:
    run("compress", "0.png", "1.png", "-o", "set.bbc")
    before, size = Path("set.bbc").stat().st_size, Path("2.png").stat().st_size
    Path("set.bbc").write_bytes(Path("set.bbc").read_bytes() + bytes(7))
    made = run("add", "set.bbc", "2.png")
    added = Path("set.bbc").stat().st_size - before
    assert made.pop("seconds") >= 0 and made.pop("bits_per_dimension") == 8 * added / 784
    notes = ["7 bytes behind the archive, all zero, are cut off"]
    expected = {"output": "set.bbc", "ok": True, "error": None, "images": 1, "bytes_before": size, "bytes_after": added}
    also = {
        "ratio": size / added,
        "coders": {"tiny-binary": 1},
        "models": {},
        "previews": {"images": 0, "bytes": 0},
        "notes": notes,
        "skipped": [],
    }
    assert made == {"inputs": ["2.png"], **expected, **also}
    data = Path("set.bbc").read_bytes()
    failed = run("add", "set.bbc", "2.png", status=1)
    reason = "2.png: there is an image of the name '2.png' in set.bbc already"
    assert failed == {"inputs": ["2.png"], "output": "set.bbc", "ok": False, "error": reason}
    assert Path("set.bbc").read_bytes() == data


@pytest.mark.parametrize("arguments", [["compress", "0.png", "-c"], ["decompress", "0.bbc", "-o", "-"]])
def test_not_beside_a_file_on_stdout(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--json is printed to stdout" in result.stderr
