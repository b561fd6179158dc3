"""bbc models: adding, exporting, removing and checking models."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder  # noqa: F401
from models_for_tests import MODELS, tiny_vae

import bbcompress as bbc
from bbcompress.cli import main
from bbcompress.models.added import added_models_folder
from bbcompress.models.checkpoint import CARD_FILE, WEIGHTS_FILE, load, save

BINARY = MODELS / "tiny-binary"
ID = load(BINARY).id
DIGIT = str(Path(__file__).resolve().parents[1] / "data" / "digits" / "binary" / "0000.png")


@pytest.fixture(autouse=True)
def home(no_models: None, empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """Models are added in this folder, and none is installed."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(empty_folder / "home"))
    return empty_folder / "home" / "bbcompress" / "models"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def succeed(*arguments: str) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def fail(*arguments: str, status: int = 1) -> str:
    """The one line that says what is wrong."""
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def as_json(*arguments: str) -> Any:
    return json.loads(succeed(*arguments, "--json"))


def test_where_models_are_added(home: Path) -> None:
    assert added_models_folder() == home
    assert not home.exists()
    assert succeed("models") == ""
    assert not home.exists()


@pytest.mark.parametrize("source", ["archive", "lone", "folder", "file", "exported", "folders"])
def test_add(source: str, home: Path) -> None:
    """From all that holds a model; then what needs it is read, and it is found by its name."""
    summary = bbc.write("needs.bbc", {"a": bbc.read_image(DIGIT)}, model=BINARY)
    assert summary.missing_models
    assert "bbc models add" in fail("decompress", "needs.bbc")
    given = "a.bbc"
    if source == "archive":
        bbc.write("a.bbc", {"a": bbc.read_image(DIGIT)}, model=BINARY, embed_model=True)
    elif source == "lone":
        Path("a.bbc").write_bytes(bbc.compress(DIGIT, model=BINARY, embed_model=True))
    elif source == "exported":
        given = "x.safetensors"
        succeed("models", "export", str(BINARY), "-o", given)
    else:
        given = str({"folder": BINARY, "file": BINARY / WEIGHTS_FILE, "folders": Path("runs")}[source])
        shutil.copytree(BINARY, "runs/mine")
    line = succeed("models", "add", given)
    assert line == f"tiny-binary ({ID.hex()[:8]}): installed in {home / 'tiny-binary'}\n"
    assert load(home / "tiny-binary").id == ID
    assert (home / "tiny-binary" / CARD_FILE).read_bytes() == (BINARY / CARD_FILE).read_bytes()
    if source != "exported":
        assert (home / "tiny-binary" / WEIGHTS_FILE).read_bytes() == (BINARY / WEIGHTS_FILE).read_bytes()
    assert "1 image" in succeed("decompress", "needs.bbc")
    assert "(only with -m)" in succeed("models")  # nothing is coded by it without a word
    assert "(fallback" in succeed("compress", DIGIT, "-o", "plain.bbc")
    assert "(tiny-binary)" in succeed("compress", DIGIT, "-o", "mine.bbc", "-m", "tiny-binary")
    assert (
        succeed("models", "add", given)
        == f"tiny-binary ({ID.hex()[:8]}): is there already, in {home / 'tiny-binary'}\n"
    )


def test_names(home: Path) -> None:
    save(tiny_vae(), Path("other"))  # whose card says "tiny"
    (Path("other") / CARD_FILE).unlink()
    assert as_json("models", "add", "other")[0]["name"] == "other"
    assert json.loads((home / "other" / CARD_FILE).read_text()) == {"name": "other", "id": tiny_vae().id.hex()}
    succeed("models", "add", str(BINARY), "--name", "digits 2")
    card = json.loads((home / "digits 2" / CARD_FILE).read_text())
    assert card == json.loads((BINARY / CARD_FILE).read_text()) | {"name": "digits 2"}
    assert {entry["name"] for entry in as_json("models")} == {"other", "digits 2"}
    for name in ("a/b", "..", ".hidden", "x" * 256, " a"):
        assert "cannot be the name of a model" in fail("models", "add", str(MODELS / "tiny-grey"), "--name", name)
    shutil.copytree(BINARY, "both/a")
    shutil.copytree(MODELS / "tiny-grey", "both/b")
    assert "--name is for one model" in fail("models", "add", "both", "--name", "a", status=2)


def test_a_name_that_a_file_forges_stays_in_the_folder(home: Path) -> None:
    for name in ("../../evil", "/evil", "a\0b", "..", "C:\\x"):
        save(tiny_vae(), Path("forged"))
        card = {"name": name, "id": tiny_vae().id.hex()}
        (Path("forged") / CARD_FILE).write_text(json.dumps(card))
        assert "cannot be the name of a model" in fail("models", "add", "forged")
    assert not home.exists()
    assert succeed("models", "add", "forged", "--name", "good")


def test_a_name_that_is_taken(home: Path) -> None:
    save(tiny_vae(), Path("one"))
    save(tiny_vae(seed=1), Path("two"))
    succeed("models", "add", "one")
    before = (home / "tiny" / WEIGHTS_FILE).read_bytes()
    assert "there is a model tiny in" in fail("models", "add", "two")
    assert (home / "tiny" / WEIGHTS_FILE).read_bytes() == before
    assert as_json("models", "add", "two", "-f")[0]["new"] is True
    assert load(home / "tiny").id == tiny_vae(seed=1).id
    assert sorted(path.name for path in home.iterdir()) == ["tiny"]
    result = run("models", "add", "one", "missing", str(BINARY))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 2)  # the others go on
    assert load(home / "tiny-binary").id == ID


def test_a_model_that_comes_with_bbc_is_there_already(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [BINARY])
    assert as_json("models", "add", str(BINARY))[0]["new"] is False
    save(tiny_vae(), Path("mine"))
    assert "there is a model tiny-binary in" in fail("models", "add", "mine", "--name", "tiny-binary", "-f")
    assert "was not added by bbc models add" in fail("models", "remove", "tiny-binary")
    assert not home.exists() and BINARY.is_dir()


def test_what_is_no_model(home: Path) -> None:
    bbc.write("none.bbc", {"a": bbc.read_image(DIGIT)}, model=BINARY, embed_model=False)
    Path("text.safetensors").write_text("hello")
    Path("empty").mkdir()
    bbc.write("damaged.bbc", {"a": bbc.read_image(DIGIT)}, model=BINARY, embed_model=True)
    data = bytearray(Path("damaged.bbc").read_bytes())
    data[-1000] ^= 1
    Path("damaged.bbc").write_bytes(data)
    for source, reason in (
        ("none.bbc", "none.bbc: this file carries no model"),
        ("text.safetensors", "damaged or no safetensors file"),
        ("empty", "empty: there is no model in this folder"),
        ("missing", "missing: cannot be read: No such file"),
        ("damaged.bbc", "damaged.bbc: the model in the file is damaged"),
        (DIGIT, "damaged or no safetensors file"),
    ):
        assert reason in fail("models", "add", source)
    assert not home.exists()


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("output", ["x.safetensors", "out", "old.safetensors"])
def test_an_export_that_is_broken_off_leaves_nothing(
    fault: BaseException, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a full disk, or by Ctrl-C, at each call of the system that it takes."""
    Path("out").mkdir()
    Path("old.safetensors").write_text("old")
    before = {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}
    for call in ("os.fsync", "os.replace", "os.open"):
        with monkeypatch.context() as patched:
            real = eval(call)

            def broken(path: Any, *rest: Any, **named: Any) -> Any:
                writes = call != "os.open" or (rest and rest[0] & (os.O_WRONLY | os.O_RDWR))  # noqa: B023
                if writes:
                    raise fault
                return real(path, *rest, **named)  # noqa: B023

            patched.setattr(call, broken)
            result = CliRunner().invoke(main, ["models", "export", str(BINARY), "-o", output, "-f"])
        if result.exit_code == 0:  # this output takes no such call
            assert call == "os.replace" and output == "out"
            shutil.rmtree("out/tiny-binary")
        else:
            line = "bbc: interrupted" if isinstance(fault, KeyboardInterrupt) else "No space left on device"
            assert line in result.stderr and result.stderr.count("\n") == 1
            assert result.exit_code == (130 if isinstance(fault, KeyboardInterrupt) else 1)
        assert {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")} == before


def test_export_into_a_folder() -> None:
    Path("out").mkdir()
    assert as_json("models", "export", str(BINARY), "-o", "out") == {"name": str(BINARY), "output": "out/tiny-binary"}
    for name in (WEIGHTS_FILE, CARD_FILE):
        assert (Path("out") / "tiny-binary" / name).read_bytes() == (BINARY / name).read_bytes()
    assert f"out/tiny-binary/{WEIGHTS_FILE}" in fail("models", "export", str(BINARY), "-o", "out")
    assert "-o" in fail("models", "export", str(BINARY), status=2)
    assert "is written as .safetensors" in fail("models", "export", str(BINARY), "-o", "x.bbc")
    assert "holds 4 models" in fail("models", "export", str(MODELS), "-o", "x.safetensors")
    assert "there is no model nothing" in fail("models", "export", "nothing", "-o", "x.safetensors")
    succeed("models", "export", str(BINARY), "-o", "x.safetensors")
    before = Path("x.safetensors").read_bytes()
    assert "x.safetensors" in fail("models", "export", str(BINARY), "-o", "x.safetensors")
    succeed("models", "export", str(BINARY), "-o", "x.safetensors", "-f")
    assert Path("x.safetensors").read_bytes() == before


def test_an_exported_file_is_a_checkpoint_of_its_own() -> None:
    succeed("models", "export", str(BINARY), "-o", "x.safetensors")
    Path("folder").mkdir()
    shutil.copy("x.safetensors", f"folder/{WEIGHTS_FILE}")
    assert load(Path("folder")).id == ID


def test_remove(home: Path) -> None:
    succeed("models", "add", str(BINARY))
    assert as_json("models", "remove", "tiny-binary") == [{"name": "tiny-binary", "folder": str(home / "tiny-binary")}]
    assert list(home.iterdir()) == []
    assert "there is no such model" in fail("models", "remove", "tiny-binary")


def test_verify(home: Path) -> None:
    succeed("models", "add", str(BINARY))
    assert succeed("models", "verify").startswith(f"tiny-binary  {ID.hex()[:8]}")
    assert as_json("models", "verify", "tiny-binary", str(MODELS / "tiny-grey"))[1]["name"] == "tiny-grey"
    path = home / "tiny-binary" / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "it is not the model that its card names" in fail("models", "verify")
    result = run("models", "verify", "--json")
    assert result.exit_code == 1 and json.loads(result.stdout)[0]["fault"]
    assert "there is no model mine" in fail("models", "verify", "mine")
    assert succeed("models", "remove", "tiny-binary")  # a damaged one as well


def test_wrong_use() -> None:
    assert "did you mean add" in fail("models", "ad", status=2)
    assert "stand behind its name" in fail("models", "--json", "verify", status=2)
    for arguments in (["add"], ["remove"], ["export"]):
        fail("models", *arguments, status=2)


def test_a_quick_model_is_for_the_lowest_efforts_where_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def put(name: str, **card: Any) -> None:
        folder = Path("own") / name
        shutil.copytree(MODELS / "tiny-grey", folder)
        (folder / CARD_FILE).write_text(
            json.dumps(json.loads((folder / CARD_FILE).read_text()) | {"name": name, **card})
        )

    monkeypatch.setenv("BBC_MODELS", "own")
    put("quick", fast=True)
    assert "(efforts 1 and 2)" not in succeed("models")
    put("for-colours", channels=3)
    put("for-any-size", shape=None)
    put("reference", default=False)
    assert "(efforts 1 and 2)" not in succeed("models")
    put("usual")
    assert [line.split()[0] for line in succeed("models").splitlines() if "(efforts 1 and 2)" in line] == ["quick"]
