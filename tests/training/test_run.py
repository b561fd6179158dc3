from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases_for_tests import one_test_of
from training_for_tests import Killer

from bbcompress.errors import BBCError, ModelError, OutputExistsError, TrainingError
from bbcompress.training import run
from bbcompress.training.card import describe_objective, describe_run, training_command
from bbcompress.training.checkpoints.checkpoint import save_checkpoint
from bbcompress.training.config import TrainingConfig, option
from bbcompress.training.finished import load_trained
from bbcompress.training.objectives import OBJECTIVES
from bbcompress.training.run import configure, train

EPOCHS = [("vae", 1), ("vae", 2), ("rha", 1), ("rha", 2)]


def final(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(out / "training.pt", weights_only=True)
    return state


def networks(out: Path) -> dict[str, torch.Tensor]:
    state = final(out)
    return {f"{part}.{k}": v for part in ("decoder", "baseline", "rha") for k, v in state[part].items()}


def same_networks(one: Path, other: Path) -> bool:
    a, b = networks(one), networks(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def log(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_a_run(config: TrainingConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    metrics = train(config, out, quiet=True)
    assert {p.name for p in out.iterdir()} == {"config.json", "metrics.json", "train.jsonl", "training.pt"}
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert [(line["phase"], line["epoch"]) for line in log(out)] == EPOCHS
    assert all({"train_bpd", "test_bpd", "test_bpd_averaged", "learning_rate"} <= line.keys() for line in log(out))
    baseline, rha, stored, figures = load_trained(out)
    assert (stored, figures) == (config, metrics)
    assert baseline.shape == (6, 5)
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in (*baseline.parameters(), *rha.parameters()))
    assert torch.equal(next(baseline.decoder.parameters()), next(rha.decoder.parameters()))
    assert not torch.equal(next(baseline.encoder.parameters()), next(rha.encoder.parameters()))


@pytest.mark.parametrize("killed_in", [1, 2, 3, 4])
def test_resume_is_bit_for_bit_the_uninterrupted_run(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int
) -> None:
    train(config, tmp_path / "whole", quiet=True)
    out = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Killer(killed_in, patch)
        train(config, out, quiet=True, save_seconds=0)
    assert not (out / "training.pt").exists()
    with monkeypatch.context() as patch:
        killer = Killer(99, patch)
        train(config, out, resume=True, quiet=True)
    assert 99 - killer.left == 4 - killed_in + 1  # nothing but the interrupted epoch was done again
    assert same_networks(out, tmp_path / "whole")
    assert log(out) == log(tmp_path / "whole")


def test_resume_from_a_checkpoint_some_epochs_back(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, epochs=4)
    train(config, tmp_path / "whole", quiet=True)
    out = tmp_path / "killed"
    for killed_in in (3, 6, 2):  # within vae, then at its end and within rha, then again there
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            Killer(killed_in, patch)
            train(config, out, resume=out.exists(), quiet=True, save_seconds=3600)
    train(config, out, resume=True, quiet=True)
    assert same_networks(out, tmp_path / "whole")
    assert log(out) == log(tmp_path / "whole")


def test_the_frozen_decoder_stays(config: TrainingConfig, tmp_path: Path) -> None:
    train(config, tmp_path / "long", quiet=True)
    train(replace(config, encoder_epochs=0), tmp_path / "short", quiet=True)
    long, short = networks(tmp_path / "long"), networks(tmp_path / "short")
    assert all(torch.equal(long[k], short[k]) for k in long if not k.startswith("rha"))
    assert all(torch.equal(short[k], short[k.replace("rha", "baseline")]) for k in short if k.startswith("rha"))
    figures = final(tmp_path / "short")["metrics"]
    assert figures["rha_test_bpd"] == figures["baseline_test_bpd"]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_extreme_alpha_binary_bfloat16(config: TrainingConfig, tmp_path: Path, alpha: float) -> None:
    config = replace(config, alpha=alpha, binary=True, average=0.0, precision="bfloat16")
    metrics = train(config, tmp_path / "run", quiet=True)
    assert 0 < metrics["rha_test_bpd"] < 3
    assert "test_bpd_averaged" not in log(tmp_path / "run")[0]


def test_training_lowers_the_rate(config: TrainingConfig, tmp_path: Path) -> None:
    train(replace(config, epochs=30, evaluate_every=0), tmp_path / "run", quiet=True)
    lines = log(tmp_path / "run")
    assert lines[29]["train_bpd"] < lines[0]["train_bpd"] - 0.1
    assert "test_bpd" not in lines[29]


def test_from_an_earlier_run(config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, out = tmp_path / "first", tmp_path / "second"
    train(config, first, quiet=True)
    again = replace(config, alpha=0.25, encoder_epochs=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Killer(1, patch)
        train(again, out, from_checkpoint=first, quiet=True)
    train(again, out, resume=True, quiet=True)
    a, b = networks(first), networks(out)
    assert all(torch.equal(a[k], b[k]) for k in a if not k.startswith("rha"))
    assert not torch.equal(a["rha.0.weight"], b["rha.0.weight"])
    assert [(line["phase"], line["epoch"]) for line in log(out)] == [("rha", 1)]
    with pytest.raises(TrainingError, match="--hidden"):
        train(replace(config, hidden=9), tmp_path / "third", from_checkpoint=first / "training.pt", quiet=True)


def test_from_a_run_within_phase_vae(config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Killer(2, patch)
        train(config, tmp_path / "killed", quiet=True, save_seconds=0)
    train(replace(config, epochs=1), tmp_path / "one", quiet=True)
    train(config, tmp_path / "from", from_checkpoint=tmp_path / "killed", quiet=True)
    a, b = networks(tmp_path / "one"), networks(tmp_path / "from")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_in_parts_resumed(config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(config, hidden=300, keep_every=1)  # 1.5 MB of weights in a checkpoint, 4 with Adam's
    train(config, tmp_path / "whole", quiet=True)
    out = tmp_path / "killed"
    for part_size, killed_in in ((1, 2), (2, 1)):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            Killer(killed_in, patch)
            train(replace(config, part_size=part_size), out, resume=out.exists(), quiet=True, save_seconds=0)
        assert len(list(out.glob("checkpoint.pt.*"))) > 2 / part_size
    train(replace(config, part_size=1), out, resume=True, quiet=True)
    _, rha, stored, _ = load_trained(out)
    assert stored.part_size == 1
    expected = load_trained(tmp_path / "whole")[1].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in rha.state_dict().items())
    assert log(out) == log(tmp_path / "whole")
    names = {"checkpoint.pt": 0, "training.pt": 2, "epoch-0001.pt": 2, "epoch-0002.pt": 2}
    assert all(len(list(out.glob(f"{name}*"))) >= parts for name, parts in names.items())
    assert not list(out.glob("checkpoint.pt*"))
    train(config, tmp_path / "from", from_checkpoint=out / "epoch-0002.pt", quiet=True)
    assert same_networks(tmp_path / "from", tmp_path / "whole")


def test_what_an_interruption_after_the_end_left_is_removed(config: TrainingConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(config, out, quiet=True)
    for name in ("checkpoint.pt", "checkpoint.pt.01234567.000"):
        (out / name).write_bytes(b"old")
    train(config, out, resume=True, quiet=True)
    assert not list(out.glob("checkpoint.pt*"))


def test_kept_checkpoints_can_be_gone_on_from(config: TrainingConfig, tmp_path: Path) -> None:
    config = replace(config, keep_every=2)
    train(replace(config, epochs=5, encoder_epochs=2), tmp_path / "five", quiet=True)
    assert {path.name for path in (tmp_path / "five").glob("epoch-*")} == {"epoch-0002.pt", "epoch-0004.pt"}
    for epochs in (2, 4):
        name = f"epoch-{epochs:04}.pt"
        train(replace(config, epochs=epochs), tmp_path / f"{epochs}", quiet=True)
        train(config, tmp_path / f"from-{epochs}", from_checkpoint=tmp_path / "five" / name, quiet=True)
        assert same_networks(tmp_path / f"from-{epochs}", tmp_path / f"{epochs}")


def test_existing_and_contradicting_runs(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with pytest.raises(TrainingError, match="nothing to resume"):
        train(config, out, resume=True, quiet=True)
    metrics = train(config, out, quiet=True)
    with pytest.raises(OutputExistsError):
        train(config, out, quiet=True)
    for contradiction in (replace(config, lr=1e-4), replace(config, latents=4)):
        with pytest.raises(TrainingError, match="contradicts"):
            train(contradiction, out, resume=True, quiet=True)
    moved = replace(config, threads=1, data_dir="elsewhere")
    assert train(moved, out, resume=True, quiet=True) == metrics
    with pytest.raises(TrainingError, match="exclude"):
        train(config, out, resume=True, from_checkpoint=out, quiet=True)


def test_a_finished_run_has_the_epochs_that_it_has(config: TrainingConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(config, out, quiet=True)
    for change in ({"epochs": 7}, {"encoder_epochs": 3}, {"epochs": 1}):
        changes: dict[str, Any] = change
        with pytest.raises(TrainingError, match=r"run is a finished run \(--epochs 2, --encoder-epochs 2\)") as error:
            train(replace(config, **changes), out, resume=True, quiet=True)
        assert str(error.value).startswith(option(*change) + ":")
    train(config, out, resume=True, quiet=True)


def test_an_exported_model_is_no_run(config: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(ModelError, match="an exported model"):
            train(config, tmp_path / "run", from_checkpoint=path, quiet=True)


def test_a_run_killed_as_it_keeps_a_copy_keeps_it_when_resumed(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, keep_every=1)

    def killed(state: dict[str, Any], path: Path, part_size: int) -> None:
        if path.name == "epoch-0001.pt":
            raise KeyboardInterrupt
        save_checkpoint(state, path, part_size)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "save_checkpoint", killed)
        train(config, tmp_path / "run", quiet=True)
    train(config, tmp_path / "run", resume=True, quiet=True)
    assert len(list((tmp_path / "run").glob("epoch-*.pt"))) == 2


def test_lines_without_a_terminal(config: TrainingConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(config, tmp_path / "loud")
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert [line.split()[:2] for line in stderr.splitlines()[:4]] == [[p, f"{e}/2"] for p, e in EPOCHS]
    train(config, tmp_path / "quiet", quiet=True)
    assert capfd.readouterr() == ("", "")


def test_settings() -> None:
    assert TrainingConfig().latents == 32
    assert TrainingConfig(binary=True).latents == 16
    for wrong in ({"alpha": 1.5}, {"precision": "int8"}, {"batch": 0}, {"average": 1.0}, {"encoder_lr": 0.0}):
        with pytest.raises(TrainingError, match="--"):
            TrainingConfig(**wrong)


@pytest.mark.parametrize("objective", ["sleep", "denoising", "wake-sleep"])
def test_objectives_resume_bit_for_bit(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    config = replace(config, objective=objective, alpha=None)
    train(config, tmp_path / "whole", quiet=True)
    lines = log(tmp_path / "whole")
    joint, usual = objective == "wake-sleep", "reverse-half-asleep"
    assert [(line["phase"], line["objective"]) for line in lines] == [
        *[("vae", "wake-sleep" if joint else "elbo")] * 2, *[("rha", usual if joint else objective)] * 2
    ]  # fmt: skip
    # what is no negative ELBO is not called bits per dimension
    assert ["train_loss" in line for line in lines] == [joint, joint, *[objective == "sleep"] * 2]
    out = tmp_path / "killed"
    for killed_in in (2, 2):  # in the second epoch of phase vae, then in the first of phase rha
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            Killer(killed_in, patch)
            train(config, out, resume=out.exists(), quiet=True, save_seconds=0)
    train(config, out, resume=True, quiet=True)
    assert same_networks(out, tmp_path / "whole")
    assert log(out) == lines
    assert load_trained(out)[2] == config


def test_encoders_by_each_objective_for_one_decoder(config: TrainingConfig, tmp_path: Path) -> None:
    first = tmp_path / "first"
    train(config, first, quiet=True)
    encoders = {}
    for objective in OBJECTIVES:
        again = replace(config, objective=objective, alpha=None)
        if objective == "wake-sleep":
            with pytest.raises(TrainingError, match="--from"):
                train(again, tmp_path / objective, from_checkpoint=first, quiet=True)
            assert not (tmp_path / objective).exists()
            continue
        train(again, tmp_path / objective, from_checkpoint=first, quiet=True)
        a, b = networks(first), networks(tmp_path / objective)
        assert all(torch.equal(a[k], b[k]) for k in a if not k.startswith("rha"))
        encoders[objective] = b["rha.0.weight"]
        description = describe_run(tmp_path / objective, again)
        usual = objective == "reverse-half-asleep"
        assert description.get("objective", "").startswith("" if usual else objective)
        assert ("objective" in description) != usual
        assert (f"--objective {objective}" in description["commands"][1]) != usual
    assert torch.equal(encoders["reverse-half-asleep"], networks(first)["rha.0.weight"])
    assert len({tuple(weights.flatten().tolist()) for weights in encoders.values()}) == 5
    for objective, alpha in (("elbo", 0.0), ("reverse-sleep", 1.0)):
        out = tmp_path / f"alpha-{alpha}"
        train(replace(config, alpha=alpha), out, from_checkpoint=first, quiet=True)
        assert torch.equal(encoders[objective], networks(out)["rha.0.weight"])


def test_wake_sleep_trains_both_networks(config: TrainingConfig, tmp_path: Path) -> None:
    train(replace(config, objective="wake-sleep", encoder_epochs=0), tmp_path / "wake-sleep", quiet=True)
    train(replace(config, encoder_epochs=0), tmp_path / "elbo", quiet=True)
    a, b = networks(tmp_path / "wake-sleep"), networks(tmp_path / "elbo")
    assert not any(torch.equal(a[k], b[k]) for k in a)
    assert all(torch.equal(a[k], a[k.replace("rha", "baseline")]) for k in a)


def test_the_objective_is_shown(config: TrainingConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(replace(config, objective="sleep", alpha=None), tmp_path / "sleep")
    train(replace(config, objective="wake-sleep"), tmp_path / "wake-sleep")
    lines = [line.split()[:2] for line in capfd.readouterr().err.splitlines()]
    for shown, (first, second) in zip((lines[:6], lines[6:]), (("vae", "sleep"), ("wake-sleep", "rha")), strict=True):
        epochs = [[title, epoch] for title in (first, second) for epoch in ("1/2", "2/2")]
        assert shown == [*epochs, ["baseline", "encoder:"], [second, "encoder:"]]


def test_a_run_from_before_there_were_objectives(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    config = replace(config, name="old")
    train(config, tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Killer(4, patch)
        train(config, out, quiet=True, save_seconds=0)
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    for name in ("objective", "sigma"):
        del state["config"][name]
    torch.save(state, out / "checkpoint.pt")
    stored, _ = configure({}, out, resume=True, from_checkpoint=None)
    assert stored == config
    train(stored, out, resume=True, quiet=True)
    assert same_networks(out, tmp_path / "whole")


OPTIONS: dict[str, tuple[dict[str, Any], float | None, float | None]] = {
    "elbo": ({}, None, None),
    "sleep": ({"samples": "aggregate"}, None, None),
    "reverse-sleep": ({}, None, None),
    "reverse-half-asleep": ({}, 0.5, None),
    "denoising": ({"sigma": 0.4}, 0.5, 0.4),
    "wake-sleep": ({"alpha": 1.0}, 1.0, None),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_options_of_objectives_and_their_command(objective: str, tmp_path: Path) -> None:
    given, alpha, sigma = OPTIONS[objective]
    config, _ = configure({"data": "mnist", "objective": objective, **given}, tmp_path, False, None)
    assert (config.objective, config.alpha, config.sigma) == (objective, alpha, sigma)
    assert config.name == ("mnist" if objective == "reverse-half-asleep" else f"mnist-{objective}")
    words = training_command(config).split()
    assert ("--objective" in words) == (objective != "reverse-half-asleep")
    assert "None" not in words
    pairs = dict(zip(words[2::2], words[3::2], strict=True))
    again: dict[str, Any] = {name.removeprefix("--"): value for name, value in pairs.items()}
    again |= {name: float(again[name]) for name in ("alpha", "sigma") if name in again}
    assert configure(again, tmp_path, False, None)[0] == config


def test_the_objective_in_a_card() -> None:
    def said(**values: Any) -> str | None:
        return describe_objective(TrainingConfig(**values)).get("objective")

    assert said() is said(alpha=0.25) is None
    assert said(objective="sleep") == "sleep"
    assert said(objective="denoising", sigma=0.25) == "denoising (alpha 0.5, sigma 0.25)"
    assert said(objective="wake-sleep") == "wake-sleep, then reverse-half-asleep (alpha 0.5)"
    assert said(objective="wake-sleep", encoder_epochs=0) == "wake-sleep"
    assert said(objective="sleep", encoder_epochs=0) is None


@one_test_of(
    ("values", "words"),
    [
        ({"objective": "dreaming"}, "--objective cannot be dreaming"),
        *(({"objective": name, "alpha": 0.5}, "--alpha is not for") for name in ("elbo", "sleep", "reverse-sleep")),
        *(({"objective": name, "sigma": 0.1}, "--sigma is not for") for name in OBJECTIVES if name != "denoising"),
        *(({"objective": "denoising", "sigma": sigma}, "--sigma cannot be") for sigma in (-0.1, float("inf"))),
        *(
            ({"objective": name, "architecture": "local", "decay": True}, "--architecture mlp and resnet")
            for name in ("sleep", "denoising", "wake-sleep")
        ),
    ],
)
def test_objectives_that_make_no_sense(values: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        TrainingConfig(**values)


@pytest.mark.parametrize("objective", ["elbo", "denoising"])
def test_samples_are_for_objectives_that_draw_some(objective: str, tmp_path: Path) -> None:
    given = {"architecture": "resnet", "objective": objective}
    assert configure(given, tmp_path, False, None)[0].samples == "aggregate"
    with pytest.raises(TrainingError, match="--samples is not for"):
        configure({**given, "samples": "prior"}, tmp_path, False, None)


def test_load_trained_wants_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_trained(tmp_path)


def test_an_unknown_device(config: TrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(BBCError, match="--device"):
        train(replace(config, device="abacus"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
