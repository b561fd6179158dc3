"""Two processes train as one does, up to rounding: see also the shares in test_objectives.py."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_for_training import data_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from stores import s3_store

import bbcompress as bbc
from bbcompress.errors import TrainingError
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.architectures.resnet.network import ResNetShape, ResNetVAE
from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import load
from bbcompress.training.distributed import ALONE, BatchNorm2d, Share, joined
from bbcompress.training.objectives import OBJECTIVES, negative_elbo
from bbcompress.training.reporter import Reporter
from bbcompress.training.run import train
from bbcompress.training.trainer import Trainer

LANDSCAPE = Path(__file__).parents[1] / "data" / "photos" / "landscape.png"
WORKER = Path(__file__).with_name("distributed_worker.py")
SUPPORT = Path(__file__).parents[1] / "support"
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
TORCHRUN += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TOLERANCE = 1e-4  # bits per dimension; what is left out of a batch costs more than 1e-3
NORMS = {"uneven": ((0, 4), (4, 7)), "empty": ((0, 7), (7, 7))}


def python(*args: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, args)], env={**os.environ, **THREADS, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """266 tiles of 32 x 32 pixels of a photograph, 27 of which are held out."""
    folder = tmp_path_factory.mktemp("tiles")
    photograph = Image.open(LANDSCAPE)
    for y in range(0, photograph.height - 31, 16):
        for x in range(0, photograph.width - 31, 16):
            photograph.crop((x, y, x + 32, y + 32)).save(folder / f"{y:03}-{x:03}.png")
    return folder


def configurations(tiles: str, archive: str) -> dict[str, TrainingConfig]:
    """Runs by name: some of their own, and one of each architecture by each objective that it has.

    Args:
        archive: of images of several sizes.
    """
    # slow: with a rate of 1e-4 Adam makes 1e-4 in the loss of 20 steps of what the order of a batch's rows makes
    slow: dict[str, Any] = {"hidden": 8, "lr": 3e-5, "encoder_lr": 3e-5, "evaluate_every": 0, "threads": 1, "batch": 49}
    of: dict[str, dict[str, Any]] = {"mlp": {"grey": True}, "resnet": {}, "local": {"decay": True}}
    tiny = TrainingConfig("resnet", tiles, samples="aggregate", **slow)
    local = TrainingConfig("local", tiles, **of["local"], **slow)
    found = {
        "both_phases": replace(tiny, epochs=4, encoder_epochs=2),  # epochs of 5 steps, the last of 43 rows
        "prior_and_an_empty_share": replace(tiny, batch=119, samples="prior", epochs=2, encoder_epochs=1),
        "resumed": replace(tiny, epochs=2, encoder_epochs=1),
        "local_and_an_empty_share": replace(local, batch=119, epochs=2, encoder_epochs=2),
        "any_size_from_a_store": replace(local, data=archive, any_size=True, batch=7, epochs=2, encoder_epochs=1),
        "grey_from_a_store": replace(
            local, data=archive, any_size=True, grey=True, batch=7, epochs=1, encoder_epochs=1
        ),
    }
    for architecture in ARCHITECTURES:
        for objective in OBJECTIVES:
            with suppress(TrainingError):  # the architecture lacks it
                found[f"{architecture}_{objective}"] = TrainingConfig(
                    architecture, tiles, objective=objective, epochs=1, encoder_epochs=1, **of[architecture], **slow
                )
    return found


NAMES = list(configurations("tiles", "archive"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an archive in a store: 30 pieces of a photograph, 3 of which are held out."""
    photograph = Image.open(LANDSCAPE).convert("RGB")
    random = np.random.default_rng(0)
    pieces = {}
    for number in range(30):
        width, height = (int(side) for side in random.integers(64, 100, 2))
        left = int(random.integers(photograph.width - width))
        top = int(random.integers(photograph.height - height))
        pieces[f"{number:02}.png"] = np.asarray(photograph.crop((left, top, left + width, top + height)))
    with s3_store() as store:
        bbc.write(f"{store.url}/pieces.bbc", pieces, effort=1)
        yield f"{store.url}/pieces.bbc"


@pytest.fixture(scope="module")
def trained(tiles: Path, archive: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `one` and `two`: the runs of one process and of two."""
    folder = tmp_path_factory.mktemp("runs")
    one, two = folder / "one", folder / "two"
    two.mkdir()
    configs = configurations(str(tiles), archive)
    with pytest.MonkeyPatch.context() as patch:
        for name, config in configs.items():
            train(config, one / name, quiet=True, dataset=data_of(config))
        original = Trainer.run_epoch

        def interrupted(trainer: Trainer, reporter: Reporter) -> float:
            if trainer.epoch == 1:
                raise KeyboardInterrupt
            return original(trainer, reporter)

        patch.setattr(Trainer, "run_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            resumed = configs["resumed"]
            train(resumed, two / "resumed", quiet=True, save_seconds=0, dataset=data_of(resumed))
    for name, rows in NORMS.items():
        torch.save({**norm_case(), "rows": rows}, two / f"norm-{name}.pt")
    torch.save(batch(), two / "batch.pt")
    runs = {name: (asdict(config), name == "resumed") for name, config in configs.items()}
    (two / "runs.json").write_text(json.dumps(runs))
    path = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
    process = python(*TORCHRUN, WORKER, two, PYTHONPATH=path)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return folder


def norm_case() -> dict[str, Any]:
    """A batch whose mean is so far from 0 that sums of squares in float32 would cancel, and a gradient."""
    generator = torch.Generator().manual_seed(0)
    norm = BatchNorm2d(3, momentum=0.05)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2, generator=generator)
        norm.bias.uniform_(-1, 1, generator=generator)
    x = torch.randn(7, 3, 4, 5, generator=generator) + torch.tensor([0.0, 300.0, -2.0])[:, None, None]
    return {"x": x, "gradient": torch.randn(x.shape, generator=generator), "norm": norm.state_dict()}


@pytest.mark.parametrize("name", NORMS)
def test_batch_norm_is_torchs_of_the_whole_batch(trained: Path, name: str) -> None:
    case = norm_case()
    norm = torch.nn.BatchNorm2d(3, momentum=0.05)
    norm.load_state_dict(case["norm"])
    x = case["x"].requires_grad_()
    y = norm(x)
    y.backward(case["gradient"])
    parts = [torch.load(trained / "two" / f"{rank}-norm-{name}.pt", weights_only=True) for rank in (0, 1)]
    for key, expected in {"y": y, "of_x": x.grad}.items():
        torch.testing.assert_close(torch.cat([part[key] for part in parts]), expected, atol=2e-4, rtol=1e-5)
    for key, parameter in {"of_weight": norm.weight, "of_bias": norm.bias}.items():
        # the other tolerance is for x itself: at 300 a float32 has 3e-5
        torch.testing.assert_close(parts[0][key] + parts[1][key], parameter.grad, atol=2e-3, rtol=1e-5)
    for key, expected in norm.state_dict().items():
        for part in parts:
            torch.testing.assert_close(part[key], expected)


def batch() -> torch.Tensor:
    return torch.randint(256, (9, 3072), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_gradients_are_those_of_the_whole_batch(trained: Path) -> None:
    model = ResNetVAE(ResNetShape((32, 32), 8))
    negative_elbo(model, batch(), torch.Generator().manual_seed(1)).backward()  # type: ignore[no-untyped-call]
    parts = [torch.load(trained / "two" / f"{rank}-gradients.pt", weights_only=True) for rank in (0, 1)]
    for name, parameter in model.named_parameters():
        assert torch.equal(parts[0][name], parts[1][name])
        expected = parameter.grad
        assert expected is not None
        assert (parts[0][name] - expected).norm() < 1e-4 * expected.norm(), name


def test_each_architecture_and_each_objective_is_here() -> None:
    for words in (ARCHITECTURES, OBJECTIVES):
        assert all(any(word in name.split("_") for name in NAMES) for word in words)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_those_of_one_process(trained: Path, name: str) -> None:
    one, two = (
        [json.loads(line) for line in (trained / number / name / "train.jsonl").read_text().splitlines()]
        for number in ("one", "two")
    )
    assert [(line["phase"], line["epoch"]) for line in one] == [(line["phase"], line["epoch"]) for line in two]
    losses = [[line.get("train_bpd", line.get("train_loss")) for line in lines] for lines in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=TOLERANCE, rel=0)
    expected = json.loads((trained / "one" / name / "metrics.json").read_text())
    for rank in (0, 1):
        metrics = json.loads((trained / "two" / f"{name}-{rank}.json").read_text())
        for figure in ("baseline_test_bpd", "rha_test_bpd"):
            assert metrics[figure] == pytest.approx(expected[figure], abs=TOLERANCE, rel=0)


def test_the_first_process_alone_writes_and_exports(trained: Path) -> None:
    for name in ("both_phases", "resumed"):
        found = {path.name for path in (trained / "two" / name).iterdir()}
        assert found == {"config.json", "metrics.json", "train.jsonl", "training.pt", "exported-by-0"}


def test_a_process_does_not_outlive_another(tiles: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    options = ["train", "--architecture", "resnet", "--data", tiles, "--hidden", "8", "-q", "-o", tmp_path / "run"]
    processes = [
        python("-m", "bbcompress", *options, RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=port)
        for rank in (0, 1)
    ]
    try:
        log = tmp_path / "run" / "train.jsonl"
        deadline = time.monotonic() + 600
        while not (log.exists() and log.read_text()):
            assert time.monotonic() < deadline
            assert processes[0].poll() is None, processes[0].communicate()
            time.sleep(0.1)
        processes[1].send_signal(signal.SIGKILL)
        _, errors = processes[0].communicate(timeout=600)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert processes[0].returncode == 1
    lines = [line for line in errors.splitlines() if line.startswith("bbc: ")]
    assert lines == ["bbc: error: another process of the training has ended or cannot be reached"]
    assert "Traceback" not in errors
    assert (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize("options", [{"architecture": "local", "decay": True}, {"architecture": "resnet"}])
def test_what_wants_one_process(tiles: Path, options: dict[str, Any]) -> None:
    config = TrainingConfig(data=str(tiles), compile=True, **options)
    data = load(config.data, config.data_dir, quiet=True)
    ARCHITECTURES[config.architecture].task(config, data, ALONE)
    with pytest.raises(TrainingError, match="without torchrun"):
        ARCHITECTURES[config.architecture].task(config, data, Share(0, 2))


@given(rows=st.lists(st.integers(0, 9), min_size=1, max_size=3), size=st.integers(1, 4))
def test_shares_are_all_rows_once(rows: list[int], size: int) -> None:
    parts = [torch.arange(n * 2).view(n, 2) + 100 * i for i, n in enumerate(rows)]
    shares = [Share(rank, size) for rank in range(size)]
    own = torch.cat([share.of(*parts) for share in shares])
    assert sorted(own.tolist()) == sorted(torch.cat(parts).tolist())
    for share in shares:
        own, total = share.of(parts[0]), rows[0]
        whole = share.spread(own, total)
        assert len(whole) == total
        assert torch.equal(share.of(whole), own)
    if rows[0]:
        means = [share.mean(share.of(parts[0].double()).sum(1), rows[0]) for share in shares]
        assert sum(means).item() / size == pytest.approx(parts[0].double().sum(1).mean().item())  # type: ignore[union-attr]


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ("1", None):
        with monkeypatch.context() as patch:
            if size is not None:
                patch.setenv("WORLD_SIZE", size)
            with joined("cpu") as share:
                assert share is ALONE
                assert not torch.distributed.is_initialized()


def test_one_of_several_leaves_at_once_and_one_alone_does_not() -> None:
    program = "import atexit; from bbcompress.training.distributed import leave\n"
    program += "atexit.register(print, 'torn down'); print('written'); leave(); print('alone')"
    for size, expected in (("2", "written\n"), ("1", "written\nalone\ntorn down\n")):
        process = python("-c", program, WORLD_SIZE=size)
        printed, errors = process.communicate(timeout=600)
        assert (process.returncode, printed) == (0, expected), errors


@pytest.mark.parametrize(
    ("size", "device", "words"),
    [("two", "cpu", "must be numbers"), ("2", "cuda:1", "without a number"), ("2", "cpu", "cannot meet")],
)
def test_what_cannot_be_joined(monkeypatch: pytest.MonkeyPatch, size: str, device: str, words: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.setenv("RANK", "1")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TrainingError, match=words), joined(device):
        pass
