"""`bbc desktop`: the entries are valid, lead to thumbnails, and go again."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder  # noqa: F401

from bbcompress.cli import main
from bbcompress.pipeline import desktop

STREAM = Path(__file__).resolve().parents[1] / "golden" / "streams" / "lone-preview.bbc"
FILES = [Path(name) for name in (desktop.TYPES, desktop.THUMBNAILER, desktop.APPLICATION)]

pytestmark = [
    pytest.mark.usefixtures("empty_folder"),
    pytest.mark.skipif(sys.platform != "linux", reason="is for desktops of Linux"),
]


def run(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["desktop", *arguments], prog_name="bbc")
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of data, which is not there yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def group_of(path: Path) -> configparser.SectionProxy:
    """The only group of an entry."""
    parser = configparser.ConfigParser(interpolation=None, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text(encoding="utf-8"))
    (name,) = parser.sections()
    return parser[name]


def test_the_thumbnailer_makes_a_thumbnail(data: Path) -> None:
    """As a file manager runs it: of a path with a space, into a file that is there and has no suffix."""
    run("install", "-q")
    entry = group_of(data / desktop.THUMBNAILER)
    assert entry.name == "Thumbnailer Entry" and entry["MimeType"] == "image/x-bbc;"
    assert Path(entry["TryExec"]).is_absolute() and shutil.which(entry["TryExec"])
    shutil.copy(STREAM, "a file.bbc")
    Path("there").write_bytes(b"")
    codes = {"%s": "128", "%o": str(Path("there").absolute()), "%i": str(Path("a file.bbc").absolute())}
    words = [codes.get(word, word) for word in shlex.split(entry["Exec"])]
    result = subprocess.run(words, capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"", b"")
    assert Path("there").read_bytes().startswith(b"\x89PNG")


def test_the_type(data: Path) -> None:
    run("install", "-q")
    root = ET.parse(data / desktop.TYPES).getroot()
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    (kind,) = root.findall(f"{space}mime-type")
    assert kind.get("type") == "image/x-bbc"
    assert [glob.get("pattern") for glob in kind.findall(f"{space}glob")] == ["*.bbc"]
    (match,) = kind.iter(f"{space}match")
    assert match.get("value") == "\\xbb\\xc1" and STREAM.read_bytes().startswith(b"\xbb\xc1")


@pytest.mark.skipif(not shutil.which("desktop-file-validate"), reason="desktop-file-utils is not installed")
@pytest.mark.parametrize("program", [["/usr/bin/bbc"], ["/a b/50%/py$thon", "-m", "bbcompress"], ['/a"b\\c/bbc']])
def test_the_entries_validate(program: list[str]) -> None:
    """The thumbnailer's keys are those of an application, but for its %-codes, of which the tool knows no such."""
    texts = desktop.entries(program)
    thumbnailer = (
        texts[desktop.THUMBNAILER].partition("\n")[2].replace("%s", "1").replace("%o", "x").replace("%i", "%f")
    )
    Path("a.desktop").write_text(texts[desktop.APPLICATION])
    Path("b.desktop").write_text(f"[Desktop Entry]\nType=Application\nName=b\n{thumbnailer}")
    result = subprocess.run(["desktop-file-validate", "a.desktop", "b.desktop"], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    unescaped = group_of(Path("a.desktop"))["Exec"].replace("\\\\", "\\").replace("%%", "%")
    assert shlex.split(unescaped.replace("\\$", "$")) == [*program, "decompress", "%F"]


@pytest.mark.skipif(not shutil.which("update-mime-database"), reason="shared-mime-info is not installed")
def test_the_database_knows_the_type_until_it_is_gone(data: Path) -> None:
    run("install")
    assert "image/x-bbc:*.bbc" in (data / "mime" / "globs2").read_text()
    run("uninstall")
    assert "image/x-bbc" not in (data / "mime" / "globs2").read_text()


def test_what_is_said_and_written(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice is as once; others' entries stay."""
    (data / "applications").mkdir(parents=True)
    (data / "applications" / "other.desktop").write_text("[Desktop Entry]")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(desktop, "command", lambda: ["/opt/bbc"])
    for _ in range(2):
        result = run("install")
        assert result.stdout.splitlines() == [str(data / name) for name in FILES]
        assert "note: update-mime-database is not installed (it is in the package shared-mime-info)" in result.stderr
        assert (
            "GNOME makes thumbnails in a sandbox that sees nothing outside of /usr, and not /opt/bbc" in result.stderr
        )
    assert run("uninstall").stdout.splitlines() == [f"deleted: {data / name}" for name in FILES]
    assert run("uninstall").stdout == f"nothing of bbc is in {data}\n"
    assert [path.name for path in data.rglob("*") if path.is_file()] == ["other.desktop"]


def test_a_program_that_fails_is_a_note(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("false", "nowhere"):
        monkeypatch.setattr(shutil, "which", lambda name, program=program: f"/bin/{program}")
        assert f"note: {desktop.UPDATES[0][0]} " in run("install").stderr


def test_where_it_cannot_be(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.write_text("a file")
    result = run("install", status=1)
    assert result.stderr.startswith(f"bbc: error: {data}/mime/packages: cannot be made: ")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert desktop.data_folder({"XDG_DATA_HOME": "relative"}) == Path("/home/somebody/.local/share")
    for system in ("win32", "darwin"):
        monkeypatch.setattr(sys, "platform", system)
        for name in ("install", "uninstall"):
            line = "bbc: error: bbc desktop is for desktops of Linux; this system has others\n"
            assert run(name, status=1).stderr == line
