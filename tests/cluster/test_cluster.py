"""Sharded archives made by a cluster: the same bytes as by one process, whatever ends meanwhile."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cluster_for_tests
import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401

from bbcompress.archive.manifest import MANIFEST
from bbcompress.cli import main
from bbcompress.cluster import engine
from bbcompress.cluster.engine import DaskEngine
from bbcompress.errors import BBCError

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")
DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits" / "binary"
ARGUMENTS = ("compress", "set", "--shard-size", "1600", "-1", "--json")


def run(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
    """The lines that a command prints of a sharded archive."""
    result: Result = CliRunner().invoke(main, [*ARGUMENTS, *arguments], prog_name="bbc")
    assert result.exit_code == status, (result.output, result.exception)
    return [json.loads(line) for line in result.stdout.splitlines()]


def statuses(lines: list[dict[str, Any]]) -> list[str]:
    """What became of each shard, in the order of their numbers."""
    return [line["status"] for line in sorted(lines[:-1], key=lambda line: str(line["shard"]))]


def shards(folder: str) -> dict[str, bytes]:
    return {path.name.partition("-")[2]: path.read_bytes() for path in Path(folder).glob("*.bbc")}


@pytest.fixture
def expected() -> dict[str, bytes]:
    """Four shards of two digits, made in this process."""
    Path("set").mkdir()
    for number in range(8):
        shutil.copy(DIGITS / f"{number:04}.png", "set")
    assert statuses(run("-o", "here")) == ["done"] * 4
    return shards("here")


@pytest.fixture
def cluster(tiny_models: None) -> Iterator[str]:  # noqa: F811
    """The address of a scheduler with two processes, that see the tiny models."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=60) as its:  # type: ignore[no-untyped-call]
        yield its.scheduler_address


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_cluster_makes_the_same_whatever_is_killed_or_raised(
    cluster: str, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "bbcompress.pipeline.sharding.run.make_shard"
    with monkeypatch.context() as patch:
        patch.setattr(name, cluster_for_tests.make_shard_killed_once)
        assert statuses(run("-o", "killed", "--cluster", cluster)) == ["done"] * 4
    assert Path("killed-1.begun").exists()
    assert shards("killed") == expected
    with monkeypatch.context() as patch:
        patch.setattr(name, cluster_for_tests.make_shard_failing_once)
        lines = run("-o", "raised", "--cluster", cluster, status=1)
    assert statuses(lines) == ["done", "failed", "done", "done"]
    assert lines[-1]["error"] == (
        "raised-00001.bbc: ZeroDivisionError on a worker: of a test; raised has 3 shards so far; "
        "--resume goes on from there"
    )
    assert statuses(run("-o", "raised", "--cluster", cluster, "--resume")) == [
        "resumed", "done", "resumed", "resumed"]  # fmt: skip
    assert shards("raised") == expected
    assert Path("raised", MANIFEST).read_bytes().count(b"\n") == 6


def test_a_scheduler_that_goes_ends_the_command_in_one_line_and_the_run_is_resumed(
    expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters: list[Any] = []
    connect = DaskEngine._connect

    def connected(self: DaskEngine) -> None:
        connect(self)
        clusters.append(self._cluster)

    def made(task: Any) -> int:
        if clusters:  # the first shard is there: it is when a shard is told of that its weight is asked for
            its = clusters.pop()
            its.sync(its.scheduler.close)
        return int(task.plan.pixels)

    with monkeypatch.context() as patch:
        patch.setattr(DaskEngine, "_connect", connected)
        patch.setattr("bbcompress.pipeline.sharding.run._pixels_of", made)
        patch.setattr("bbcompress.cli.sharded.progress", lambda *_: _Told())
        lines = run("-o", "gone", "--cluster", "local", "-j", "1", status=1)
    assert lines[-1]["error"].startswith("local: the scheduler is gone")
    assert lines[-1]["error"].endswith("; gone has 1 shard so far; --resume goes on from there")
    assert "resumed" in statuses(run("-o", "gone", "--resume"))
    assert shards("gone") == expected


class _Told:
    """A progress bar that somebody looks at."""

    def __enter__(self) -> Any:
        return lambda _: None

    def __exit__(self, *_: object) -> None:
        return


def test_no_cluster_is_one_line(expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 0.1)
    for address, reason in (
        ("localhost:8786", "'localhost:8786' is no address of a cluster, such as tcp://host:8786 or local"),
        ("tcp://user:hush@localhost:1", "'tcp://***@localhost:1' is no address of a cluster"),
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1: there is no scheduler of dask ("),
    ):
        (line,) = run("-o", "out", "--cluster", address, status=1)
        assert line["error"].startswith(reason)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BBCError, match=r"needs dask\.distributed: pip install 'bbcompress\[cluster\]'"):
        DaskEngine("local")
    assert not Path("out").exists()
