import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bbcompress.errors import ModelError, TrainingError
from bbcompress.training.checkpoints import checkpoint
from bbcompress.training.checkpoints.atomic import replacing
from bbcompress.training.checkpoints.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from bbcompress.training.checkpoints.log import Log
from bbcompress.training.reporter import Reporter
from bbcompress.training.trainer import Trainer, seeded_generator


class Distance:
    """Mean squared distance of noisy rows from a point: a loss that has nothing to do with images."""

    def __init__(self) -> None:
        self.point = torch.zeros(3, requires_grad=True)

    def __call__(self, batch: Tensor, *, generator: torch.Generator) -> Tensor:
        noise = torch.randn(batch.shape, generator=generator)
        return (batch.float() + 0.1 * noise - self.point).square().mean()


def trainer(average: float = 0.9) -> Trainer:
    loss = Distance()
    data = torch.randint(5, (50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Trainer([loss.point], loss, data, phase="p", lr=0.05, batch=8, average=average)


def test_trains_averages_and_is_reproducible() -> None:
    one, same = trainer(), trainer()
    before = torch.random.get_rng_state()
    losses = [one.run_epoch(Reporter(quiet=True)) for _ in range(20)]
    assert [same.run_epoch(Reporter(quiet=True)) for _ in range(20)] == losses
    assert torch.equal(torch.random.get_rng_state(), before)
    assert losses[-1] < losses[0] / 2
    assert one.steps == 20 * one.steps_per_epoch == 140
    raw = one.parameters[0].detach().clone()
    with one.averaged():
        average = one.parameters[0].detach().clone()
    assert torch.equal(one.parameters[0], raw)
    assert not torch.equal(average, raw)
    torch.testing.assert_close(average, one.data.float().mean(0), atol=0.2, rtol=0)


def test_a_training_too_short_for_averages_is_not_undone() -> None:
    short = trainer()
    short.run_epoch(Reporter(quiet=True))
    assert short.steps == 7
    raw = short.parameters[0].detach().clone()
    assert raw.any()
    with short.averaged():
        assert torch.equal(short.parameters[0], raw)
    short.use_averages()
    assert torch.equal(short.parameters[0], raw)


def test_averaging_off() -> None:
    off, on = trainer(0), trainer()
    for t in (off, on):
        t.run_epoch(Reporter(quiet=True))
    raw = off.parameters[0].detach().clone()
    assert torch.equal(raw, on.parameters[0])
    with off.averaged():
        assert torch.equal(off.parameters[0], raw)
    off.use_averages()
    assert torch.equal(off.parameters[0], raw)


def test_state_survives_a_file(tmp_path: Path) -> None:
    whole, first, second = trainer(), trainer(), trainer()
    for _ in range(3):
        whole.run_epoch(Reporter(quiet=True))
    first.run_epoch(Reporter(quiet=True))
    save_checkpoint({"format": 1, **first.state_dict()}, tmp_path / "c.pt")
    second.load_state_dict(load_checkpoint(tmp_path / "c.pt"))
    for _ in range(2):
        second.run_epoch(Reporter(quiet=True))
    assert torch.equal(second.parameters[0], whole.parameters[0])
    assert torch.equal(second.averages[0], whole.averages[0])


def test_checkpoints_are_the_same_with_and_without_a_graph() -> None:
    """A graph's Adam keeps its rate in a tensor and is capturable, which Adam on a CPU refuses."""
    plain = trainer()
    plain.run_epoch(Reporter(quiet=True))
    of_graph = copy.deepcopy(plain.state_dict())
    of_graph["optimiser"]["param_groups"][0] |= {"lr": torch.tensor(0.7), "capturable": True}
    resumed, expected = trainer(), trainer()
    resumed.load_state_dict(of_graph)
    expected.load_state_dict(plain.state_dict())
    group = resumed.optimiser.param_groups[0]
    assert (group["lr"], group["capturable"]) == (0.05, False)
    assert resumed.run_epoch(Reporter(quiet=True)) == expected.run_epoch(Reporter(quiet=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_steps_of_a_graph_are_steps() -> None:
    """The same noise in the same steps, by replays and one by one; each replay draws its own."""

    def of_device(graph: bool) -> tuple[list[float], Tensor]:
        point = torch.zeros(3, requires_grad=True, device="cuda")
        data = trainer().data.cuda()

        def loss(batch: Tensor, *, generator: torch.Generator) -> Tensor:
            noise = torch.randn(batch.shape, generator=generator, device="cuda")
            return (batch.float() + 0.1 * noise - point).square().mean()

        made = Trainer([point], loss, data, phase="p", lr=0.05, batch=8)
        if not graph:
            made.graph = None
        return [made.run_epoch(Reporter(quiet=True)) for _ in range(5)], point.detach()

    (losses, point), (expected, one_by_one) = of_device(True), of_device(False)
    assert losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(point, one_by_one)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    t = trainer()
    with torch.no_grad():
        t.parameters[0].fill_(float("inf"))
    with pytest.raises(TrainingError, match="not finite in epoch 1"):
        t.run_epoch(Reporter(quiet=True))


def test_generators_differ_by_every_word() -> None:
    cpu = torch.device("cpu")
    seeds = {seeded_generator(cpu, *w).initial_seed() for w in ((0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1))}
    assert len(seeds) == 4


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    synced, sync = [], os.fsync

    def watched(descriptor: int) -> None:
        sync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, path.read_text()))

    monkeypatch.setattr(os, "fsync", watched)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert synced == [(path.stat().st_ino, "old")]


@pytest.mark.parametrize("part_size", [0, 1])
def test_what_a_killed_process_left_is_removed(tmp_path: Path, part_size: int) -> None:
    path = tmp_path / "c.pt"
    others = [".c.pt.abc_12345", ".c.pt", ".c.pt.short", "c.pt.abc_1234", ".d.pt.abc_1234", ".c.pt.abc_1234.txt"]
    for saved in (True, False):
        for name in (".c.pt.abc_1234", *others):
            (tmp_path / name).write_bytes(b"old")
        if saved:
            save_checkpoint({"format": 1}, path, part_size)
        else:
            remove_checkpoint(path)
        names = {file.name for file in tmp_path.iterdir()}
        assert ".c.pt.abc_1234" not in names
        assert set(others) < names if saved else set(others) == names


@pytest.mark.parametrize("content", [b"", b"rubbish", b"{rubbish", b"PK\x03\x04 and no more"])
def test_damaged_checkpoints(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ModelError, match="not a training checkpoint"):
        load_checkpoint(tmp_path / "c.pt")
    with pytest.raises(ModelError, match="no such"):
        load_checkpoint(tmp_path / "none.pt")


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    path.mkdir()
    with pytest.raises(ModelError, match=r"c\.pt: cannot be read: "):
        load_checkpoint(path)
    path.rmdir()
    save_checkpoint({"format": 1}, path)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "load", fail)
    error: Exception = PermissionError(13, "Permission denied", str(path))
    with pytest.raises(ModelError, match=r"c\.pt: cannot be read: Permission denied"):
        load_checkpoint(path)
    error = MemoryError()
    with pytest.raises(MemoryError):
        load_checkpoint(path)


def big(value: float) -> dict[str, object]:
    """A checkpoint of a little more than 2 MiB."""
    return {"format": 1, "tensor": torch.full((1 << 19,), value), "nothing": torch.zeros(0)}


@pytest.mark.parametrize("part_size", [1, 2, 3])
def test_a_checkpoint_in_parts(tmp_path: Path, part_size: int) -> None:
    path = tmp_path / "c.pt"
    for value, number in ((1.0, 0), (2.0, part_size), (3.0, part_size), (4.0, 0)):
        save_checkpoint(big(value), path, number)
        state = load_checkpoint(path)
        assert torch.equal(state["tensor"], torch.full((1 << 19,), value))
        parts = sorted(set(tmp_path.iterdir()) - {path})
        assert len(parts) == (-(-2.1 // number) if number else 0)
        assert all(part.stat().st_size <= number << 20 for part in parts)
    save_checkpoint(big(5.0), path, part_size)
    remove_checkpoint(path)
    remove_checkpoint(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("crash_at", range(4))
@pytest.mark.parametrize("killed", [False, True])
def test_a_crash_between_parts_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int, killed: bool
) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(big(1.0), path, 1)
    before = set(tmp_path.iterdir())
    original, opened = Path.open, 0

    def crashing(self: Path, mode: str = "r", **options: Any) -> object:
        nonlocal opened
        opened += mode == "xb"
        if mode == "xb" and opened > crash_at:
            raise KeyboardInterrupt
        return original(self, mode, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if killed:  # it cannot clean up
            patch.setattr(checkpoint, "remove_stray_parts", lambda path: None)
        if crash_at < 3:
            patch.setattr(Path, "open", crashing)
        else:  # all parts are written

            def replace(*_: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(os, "replace", replace)
        save_checkpoint(big(2.0), path, 1)
    left = set(tmp_path.iterdir())
    assert len(left - before) == (crash_at if killed else 0)
    assert before <= left
    assert load_checkpoint(path)["tensor"][0] == 1
    save_checkpoint(big(3.0), path, 1)
    assert load_checkpoint(path)["tensor"][0] == 3
    assert len(list(tmp_path.iterdir())) == 4
    assert not (before - {path}) & set(tmp_path.iterdir())


def test_an_interruption_after_the_new_name_keeps_the_new_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(big(1.0), path, 1)
    original = os.replace

    def replace(source: Path, target: Path) -> None:
        original(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", replace)
        save_checkpoint(big(2.0), path, 1)
    assert load_checkpoint(path)["tensor"][0] == 2
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_part_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(big(1.0), path, 1)
    part = sorted(set(tmp_path.iterdir()) - {path})[1]
    content = bytearray(part.read_bytes())
    content[1000] ^= 1
    part.write_bytes(content)
    with pytest.raises(ModelError, match=part.name):
        load_checkpoint(path)
    part.unlink()
    with pytest.raises(ModelError, match=part.name):
        load_checkpoint(path)


def test_log_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    for epoch in range(3):
        log.append(epoch=epoch)
    log = Log(tmp_path / "log", keep=2)
    log.append(epoch=7)
    assert [json.loads(line)["epoch"] for line in log.path.read_text().splitlines()] == [0, 1, 7]
    assert log.lines == 3
