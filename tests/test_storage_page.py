"""The examples of the pages on storage and on large collections run as they stand there, with a server of S3."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from stores import s3_store, web_store

import bbcompress as bbc
from bbcompress.cli import main
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import from_array
from bbcompress.images.read import read_image
from bbcompress.integrations.filesystem import BBCFileSystem
from bbcompress.limits import SHARD_PIXELS
from bbcompress.system import storage

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "storage.md"

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def examples() -> list[str]:
    """The blocks of Python, without their indentation."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks if "    $" not in block]


def test_the_examples() -> None:
    hills = np.arange(24, dtype=np.uint8).reshape(4, 6)
    bbc.write("photos.bbc", {"hills.png": hills, "more.png": hills}, effort=1)
    names: dict[str, Any] = {}
    with s3_store("bucket") as store:
        bbc.write(f"{store.url}/photos.bbc", {"hills.png": hills}, effort=1)
        for block in examples():
            if "datasets" not in block and "fuse" not in block:
                exec(block, names)
        for system in BBCFileSystem._cache.values():
            system.close()
        BBCFileSystem.clear_instance_cache()
    assert {"archive", "image", "data", "batches"} <= names.keys()
    assert np.array_equal(np.asarray(names["image"]), np.stack([hills] * 3, axis=2))


def commands(page: str) -> list[list[str]]:
    """The words of each command of bbc, without comments."""
    lines = re.findall(r"^    \$ bbc (.*)$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def follow(words: list[str], web: str) -> None:
    """Run a command. What one before it has written in its place is deleted; this process stands for a cluster, a web
    server here for one elsewhere, and of training the settings alone are understood."""
    if words[0] == "train":
        main.commands["train"].make_context("train", words[1:])
        return
    words = [word.replace("https://example.org", web) for word in words]
    if "--cluster" in words:
        place = words.index("--cluster")
        words[place : place + 2] = ["--shard-size", str(SHARD_PIXELS)]
    if "-o" in words or words[0] == "decompress":
        target = words[words.index("-o") + 1] if "-o" in words else "photos"
        shutil.rmtree(target, ignore_errors=True)
        if target.startswith("s3:") and (system := fsspec.filesystem("s3")).exists(target):
            system.rm(target, recursive=True)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, (words, result.output)


@pytest.mark.parametrize("page", ["storage.md", "scale.md"])
def test_the_commands(page: str) -> None:
    """In their order, where there are three images in a folder, in a bucket, and in an archive on the web."""
    shades = {"a/b.png": 10, "summer/beach.png": 20, "all.png": 30}
    images = {name: write_png(from_array(np.full((3, 4), shade, np.uint8))) for name, shade in shades.items()}
    with s3_store("bucket") as store:
        for name, data in images.items():
            for folder in ("photos", f"{store.url}/photos", f"{store.url}/scans"):
                if folder == "photos":
                    Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
                with storage.new_file(storage.place_of(f"{folder}/{name}"), False) as file:
                    file.write(data)
        bbc.pack(["photos"], "set.bbc", effort=1)
        lines = commands(page)
        assert len(lines) > 4
        with web_store({"set.bbc": Path("set.bbc").read_bytes()}) as web:
            for words in lines:
                follow(words, web.url)
    if page == "scale.md":
        assert read_image("back/a/b.png") == read_image("photos/a/b.png")


def block_of(library: str) -> str:
    """The only block that names a library."""
    (block,) = (block for block in examples() if library in block)
    return block


def test_hugging_face_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    pytest.importorskip("datasets", minversion="5", exc_type=ImportError)
    shades = {f"{kind}/{shade}.png": np.full((3, 4), shade, np.uint8) for shade, kind in enumerate(("cat", "dog"))}
    names: dict[str, Any] = {}
    with s3_store("bucket") as store:
        bbc.write(f"{store.url}/classes.bbc", shades, effort=1)
        exec(block_of("datasets"), names)
    found = {names["images"].features["label"].int2str(row["label"]): row["image"] for row in names["images"]}
    assert {kind: np.asarray(image)[0, 0] for kind, image in found.items()} == {"cat": 0, "dog": 1}


@pytest.mark.parametrize("way", ["python", "command"])
def test_a_mounted_folder(way: str) -> None:
    unmount = shutil.which("fusermount3") or shutil.which("fusermount")
    try:
        import fuse  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("needs fusepy and libfuse2")
    if unmount is None or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("nothing can be mounted here")
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    bbc.write("photos.bbc", {"deep/a.png": image}, effort=1)
    Path("folder").mkdir()
    program = ["-c", f"import fsspec\n{block_of('import fsspec.fuse')}"]
    if way == "command":
        program = ["-m", "bbcompress", "mount", "-q", "photos.bbc", "folder"]
    with subprocess.Popen([sys.executable, *program]) as process:
        try:
            while not os.path.ismount("folder") and process.poll() is None:
                time.sleep(0.05)
            assert [path.as_posix() for path in Path("folder").rglob("*.*")] == ["folder/deep/a.png"]
            assert np.array_equal(read_image("folder/deep/a.png").pixels, image)
            with pytest.raises(OSError, match="Read-only"):
                Path("folder/new.png").touch()
        finally:
            subprocess.run([unmount, "-u", "folder"], check=False)
            if not os.path.ismount("folder"):
                process.wait(60)
            process.kill()
