"""Training on archives in a store of S3, which are read without being unpacked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner, Result
from stores import Store, s3_store
from training_for_tests import write_images

from bbcompress.cli import main
from bbcompress.training import export

SMALL = ["--architecture", "local", "--any-size", "--decay", "--batch", "6", "--epochs", "2", "--encoder-epochs", "1"]
SMALL += ["--latents", "2", "--hidden", "4", "--threads", "1", "--no-report", "-q"]


@pytest.fixture(scope="module", autouse=True)
def no_export() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_run", lambda *_: None)
        yield


def bbc(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of 18 + 2 colour images of two sizes."""
    return write_images(tmp_path_factory.mktemp("of") / "pictures", 20, 3, (64, 72), (80, 64))


@pytest.fixture(scope="module")
def store(pictures: Path) -> Iterator[Store]:
    """A store with the images in an archive, and in shards."""
    with s3_store() as store:
        for arguments in (["-o", f"{store.url}/set.bbc"], ["-o", f"{store.url}/shards.bbc", "--shard-size", "40000"]):
            result = bbc("compress", pictures, *arguments, "-1", "-q")
            assert result.exit_code == 0, result.output
        yield store


@pytest.fixture(scope="module")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of a run on the directory."""
    out = tmp_path_factory.mktemp("runs") / "of-files"
    result = bbc("train", "--data", pictures, *SMALL, "-o", out)
    assert result.exit_code == 0, result.output
    return losses(out)


def losses(out: Path) -> list[float]:
    return [json.loads(line)["train_bpd"] for line in (out / "train.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("way", "name"), [(["--data"], "set.bbc"), ([], "shards.bbc")])
def test_an_archive_in_a_store_is_trained_on_as_the_files_that_it_was_made_of(
    store: Store, expected: list[float], way: list[str], name: str, tmp_path: Path
) -> None:
    url, out = f"{store.url}/{name}", tmp_path / "run"
    size = sum(file["size"] for file in fsspec.filesystem("s3").find(url, detail=True).values())
    store.requests.clear()
    result = bbc("train", *way, url, *SMALL, "-o", out)
    assert (result.exit_code, result.output) == (0, "")
    assert losses(out) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not list(out.rglob("*.png"))
    assert store.sent < 2 * size, (store.sent, size, store.requests)


def test_an_archive_that_is_not_there_is_told_in_a_line(store: Store, tmp_path: Path) -> None:
    for way in (["--data"], []):
        result = bbc("train", *way, f"{store.url}/no.bbc", *SMALL, "-o", tmp_path / "run")
        assert result.exit_code == 1
        assert result.stderr == f"bbc: error: {store.url}/no.bbc: cannot be read: there is no such file\n"
        assert not list(tmp_path.iterdir())
