"""What pip installs: the wheel, made from the sdist and used far from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from bbcompress.models.shipped import shipped_model_folders

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
DIGIT = ROOT / "tests" / "data" / "digits" / "binary" / "0000.png"
UNSET = ("BBC_MODELS", "PYTHONPATH")
MAX_BYTES_BY_MODEL = 64
"""A digit that a model coded is smaller; the fallback needs 98 bytes for 784 bits."""


def run(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a Python command that has to succeed."""
    inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
    environment = {**inherited, **environment}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def shipped_names() -> list[str]:
    names = [path.parent.name for path in sorted((ROOT / "models").glob("*/model.safetensors"))]
    assert names
    return names


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package alone."""
    folder = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder)
    return folder


def test_wheel_holds_all_that_is_needed(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"bbcompress/exact/tables.npz", "bbcompress/py.typed"} <= names
    for model in shipped_names():
        assert {f"bbcompress/_models/{model}/{file}" for file in ("model.safetensors", "card.json")} <= names
    assets = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bbcompress" / "pages" / "assets").iterdir()}
    assert assets and assets <= names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bbcompress").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    roots = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    (data,) = (root for root in roots if root.endswith(".data"))
    assert {root for root in roots if not root.endswith(".dist-info")} == {"bbcompress", data}
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.startswith(data)] == [f"{data}/data/share/man/man1/bbc.1"]


def test_only_training_needs_torch(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    needed = [line for line in lines if line.startswith("Requires-Dist: torch")]
    assert needed == ["Requires-Dist: torch>=2.3; extra == 'train'"]
    assert not [line for line in lines if line.startswith("Requires-Dist: pytest")]


def test_the_oldest_versions_are_those_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    pinned = [line for line in (ROOT / "constraints-oldest.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line.partition("==")[0] for line in pinned] == [line.partition(">=")[0] for line in allowed]
    for line, requirement in zip(pinned, allowed, strict=True):
        version, least = line.partition("==")[2], requirement.partition(">=")[2]
        assert version in (least, f"{least}.0"), line


def test_sdist_holds_what_the_tests_need(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    files = ["LICENSE", "Makefile", "README.md", "constraints.txt", DIGIT.relative_to(ROOT).as_posix()]
    assert {*files, *(f"models/{model}/model.safetensors" for model in shipped_names())} <= names


def test_checkout_finds_its_models() -> None:
    assert [folder.name for folder in shipped_model_folders()] == shipped_names()


def test_installed_wheel_finds_its_models(installed: Path, tmp_path: Path) -> None:
    program = (
        "from bbcompress.models.shipped import shipped_model_folders\n"
        "for folder in shipped_model_folders(): print(folder)"
    )
    folders = run("-c", program, cwd=tmp_path, PYTHONPATH=str(installed)).splitlines()
    assert [Path(folder) for folder in folders] == [
        installed.resolve() / "bbcompress" / "_models" / name for name in shipped_names()
    ]


def test_installed_wheel_compresses(installed: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    digit = work / "digit.png"
    digit.write_bytes(DIGIT.read_bytes())
    environment = {"PYTHONPATH": str(installed)}  # its kernels are those of the checkout, whose sources are the same
    run("-m", "bbcompress", "compress", "digit.png", cwd=work, **environment)
    assert (work / "digit.bbc").stat().st_size < MAX_BYTES_BY_MODEL
    run("-m", "bbcompress", "decompress", "digit.bbc", "-o", "back.png", cwd=work, **environment)
    with Image.open(digit) as before, Image.open(work / "back.png") as after:
        assert (after.mode, after.size, after.tobytes()) == (before.mode, before.size, before.tobytes())
