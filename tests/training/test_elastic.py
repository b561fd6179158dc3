"""Where a process of a training dies, torchrun starts all anew, and the run goes on from its last checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from PIL import Image

from bbcompress.errors import TrainingError
from bbcompress.training import elastic
from bbcompress.training.config import TrainingConfig
from bbcompress.training.elastic import has_begun, meeting_place, note_begun
from bbcompress.training.run import goes_on, train

WORKER = Path(__file__).with_name("elastic_worker.py")
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "3", "--monitor-interval", "0.1"]
TORCHRUN += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TOLERANCE = 1e-4  # bits per dimension
PATIENCE = timedelta(minutes=10)


@pytest.fixture(scope="module")
def strokes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 black and white images of 12 x 12 pixels, with a stroke each."""
    folder = tmp_path_factory.mktemp("strokes")
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:12, 0:12]
    for i in range(300):
        angle, place = random.uniform(0, np.pi), random.normal(0, 2)
        inside = np.abs((x - 5.5) * np.sin(angle) - (y - 5.5) * np.cos(angle) - place) < 1.3
        Image.fromarray((255 * inside).astype(np.uint8)).save(folder / f"{i:03}.png")
    return folder


def killed(strokes: Path, out: Path, deaths: list[list[object]]) -> tuple[str, list[list[Any]]]:
    """What two processes print that train and die so, and the epochs that each begins."""
    options = ["--architecture", "mlp", "--binary", "--hidden", "16", "--latents", "4", "--batch", "54"]
    options += ["--epochs", "4", "--encoder-epochs", "3", "--lr", "1e-4", "--encoder-lr", "1e-4", "--threads", "1"]
    notes = out.with_suffix(".notes")
    command = [sys.executable, *TORCHRUN, WORKER, notes, json.dumps(deaths), "train", "--data", strokes, *options]
    process = subprocess.run(
        [*map(str, command), "-o", str(out)], env=ENVIRONMENT, capture_output=True, text=True, timeout=900
    )
    assert process.returncode == 0, process.stderr
    return process.stderr, [json.loads(line) for line in notes.read_text().splitlines()]


def test_a_run_whose_processes_die_ends_as_one_that_nothing_befell(strokes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    deaths: list[list[object]] = [[0, 1, "", 0], [1, 1, "vae", 3], [2, 0, "rha", 2]]
    messages, epochs = killed(strokes, out, deaths)
    expected = [[1, "vae", 1], [1, "vae", 2], [1, "vae", 3]]
    expected += [[2, "vae", 3], [2, "vae", 4], [2, "rha", 1], [2, "rha", 2]]
    expected += [[3, "rha", 2], [3, "rha", 3]]
    assert [[start, phase, epoch] for start, rank, phase, epoch in epochs if rank == 0] == expected
    assert messages.count("torchrun has started the processes anew; the run goes on from its last checkpoint") == 2
    assert {"training.pt", "model.safetensors", "card.json"} < {path.name for path in out.iterdir()}
    assert not (out / "checkpoint.pt").exists()

    config = TrainingConfig(
        "mlp", str(strokes), binary=True, hidden=16, latents=4, batch=54, epochs=4, encoder_epochs=3, lr=1e-4,
        encoder_lr=1e-4, threads=1,
    )  # fmt: skip
    metrics = train(config, tmp_path / "alone", quiet=True)
    lines, alone = (
        [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
        for folder in (out, tmp_path / "alone")
    )
    assert [(line["phase"], line["epoch"]) for line in lines] == [(line["phase"], line["epoch"]) for line in alone]
    assert [line["train_bpd"] for line in lines] == pytest.approx(
        [line["train_bpd"] for line in alone], abs=TOLERANCE, rel=0
    )
    figures = json.loads((out / "metrics.json").read_text())
    for name in ("baseline_test_bpd", "rha_test_bpd"):
        assert figures[name] == pytest.approx(metrics[name], abs=TOLERANCE, rel=0)


# --- What torchrun's store knows -----------------------------------------------------------------


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The store of an agent of torchrun, which says so to this process."""
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    for name, value in {
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    yield store


def test_a_run_goes_on_where_an_earlier_start_has_begun_it(
    agent: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run, other):
        folder.mkdir()
        (folder / "checkpoint.pt").touch()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not has_begun(run)  # refused at the start before: torchrun found it there
    note_begun(run)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")  # of another machine, whose processes did not die
    assert goes_on(run)
    assert not goes_on(other)
    (run / "checkpoint.pt").unlink()
    assert has_begun(run)
    assert not goes_on(run)


def test_a_run_goes_on_where_torchrun_shares_no_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    note_begun(tmp_path)
    assert not has_begun(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    for count in ("0", "1"):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
        note_begun(tmp_path)
        assert has_begun(tmp_path) == (count == "1")


def test_without_torchrun_there_is_no_meeting_place() -> None:
    assert meeting_place(0, 2, PATIENCE) is None


@pytest.mark.parametrize("noted", ["nobody", "another"])
def test_what_an_earlier_start_has_noted_leads_nobody_astray(
    agent: Any, monkeypatch: pytest.MonkeyPatch, noted: str
) -> None:
    monkeypatch.setattr(elastic, "_meetings", repeat(0))
    monkeypatch.setattr(elastic, "ATTEMPT", timedelta(seconds=1))
    looks = 0

    def second_look(deadline: float) -> None:
        nonlocal looks
        looks += 1
        time.sleep(0.05)

    monkeypatch.setattr(elastic, "_pause", second_look)
    earlier = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    agent.set(f"{elastic.PLACE}0", f"{earlier.port} word")
    if noted == "nobody":
        del earlier
    with ThreadPoolExecutor(1) as thread:
        second = thread.submit(meeting_place, 1, 2, PATIENCE)
        while not looks:  # it has found nobody there
            time.sleep(0.05)
        first = meeting_place(0, 2, PATIENCE)
        found = second.result(600)
    assert first is not None
    assert found is not None
    first.set("said", "here")
    assert found.get("said") == b"here"


def test_who_does_not_come_is_waited_for_no_longer_than_patience(agent: Any) -> None:
    for rank in (0, 1):
        with pytest.raises(RuntimeError, match="not come in time"):
            meeting_place(rank, 2, timedelta(seconds=2))


def test_torchrun_that_has_ended_is_told(agent: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise dist.DistNetworkError("refused")

    monkeypatch.setattr(elastic, "_store", refuse)
    for call in (has_begun, note_begun):
        with pytest.raises(TrainingError, match="torchrun cannot be reached"):
            call(tmp_path)
