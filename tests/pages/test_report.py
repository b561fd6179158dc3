"""bbc report: what a training run has to show, by its exact model."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bbcompress.cli import main
from bbcompress.cli.report import report_at_end
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import net_bits
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.checkpoint import load as load_model
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips
from bbcompress.pages.run_figures import ModelFigures, figures_of, open_run
from bbcompress.training.datasets import load


def bbc(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def figures(trained: Path) -> ModelFigures:
    return figures_of(open_run(trained), 20, (0, 2))


def test_the_page_is_there_when_training_ends(trained: Path) -> None:
    page = (trained / "report.html").read_text(encoding="utf-8")
    headings = (
        "Phase 1", "Phase 2", "Encoders", "What each latent", "Samples", "Reconstructions", "Along the latents",
        "Rate against K", "Command and environment",
    )  # fmt: skip
    for heading in headings:
        assert f"<h2>{heading}" in page
    assert "<b>digits" not in page and "&lt;b&gt;digits" in page
    assert "bbc train --data" in page


def test_figures_are_those_of_the_model(trained: Path, figures: ModelFigures) -> None:
    model = model_of(load_model(trained), NumpyBackend())
    config = json.loads((trained / "config.json").read_text())
    data = load(config["data"], "", True)
    assert figures.counts == {"train": 20, "test": 10}
    x = Strips.all_of(Canvas.of(np.stack(list(data.test))[..., None], model.weights.tile))
    bits = net_bits(BitsBack(model, "baseline", 0, model.weights.learning_rate), x, 64).sum()
    assert figures.rates["baseline", "test"] == pytest.approx(bits / np.stack(list(data.test)).size, rel=0.01)
    logged = json.loads((trained / "metrics.json").read_text())["baseline_test_bpd"]
    assert figures.rates["baseline", "test"] == pytest.approx(logged, rel=0.02)
    assert len(figures.kl) == 3 and (figures.kl >= 0).all()
    q = BitsBack(model, "rha", 0, 1).posterior(x)
    mu, sigma = q.mu / 2.0**24, q.sigma / 2.0**24
    of_first = [(m * m + s * s - 1) / 2 - math.log(s) for m, s in zip(mu[:, 0], sigma[:, 0], strict=True)]
    assert figures.kl[0] == pytest.approx(sum(of_first) / len(of_first) / math.log(2), rel=1e-6)


def test_pictures_of_the_model(figures: ModelFigures) -> None:
    assert len(figures.samples) == 64 and figures.samples[0].shape == (28, 28, 1)
    assert len({sample.tobytes() for sample in figures.samples}) > 32
    assert [latent for latent, _ in figures.traversals] == np.argsort(-figures.kl).tolist()
    for one in figures.reconstructions:
        assert set(np.unique(one.image)) <= {0, 255}
        assert set(one.decoded) == {(encoder, k) for encoder in ("rha", "baseline") for k in (0, 10)}
    for encoder in ("rha", "baseline"):  # K steps go up the ELBO
        bits = [sum(one.decoded[encoder, k][1] for one in figures.reconstructions) for k in (0, 10)]
        assert bits[1] < bits[0]


def test_rates_by_k(figures: ModelFigures) -> None:
    assert [(row.encoder, row.k) for row in figures.rate.rows] == [(e, k) for e in ("baseline", "rha") for k in (0, 2)]
    for row in figures.rate.rows:
        assert row.bpd == 8 * row.size / (10 * 784) and min(*row.compress, *row.decompress) > 0


def test_a_run_that_is_not_finished_has_its_curves(trained: Path, tmp_path: Path) -> None:
    for name in ("config.json", "train.jsonl"):
        shutil.copy(trained / name, tmp_path)
    result = bbc("report", tmp_path, "-o", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "not finished" in page and "has no exact model yet" in page and "<h2>Samples" not in page
    assert len(re.findall("<path", page)) >= 2


def test_no_fault_of_the_page_fails_a_finished_training(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bbcompress.training.config import TrainingConfig
    from bbcompress.training.data import RunData

    config = TrainingConfig(**json.loads((trained / "config.json").read_text()))
    data, page = RunData(config, trained, True), (trained / "report.html").read_bytes()

    def drawn(*_: object) -> bytes:
        raise ZeroDivisionError("no\nroom")

    monkeypatch.setattr("bbcompress.pages.report.html", drawn)
    report_at_end(trained, data, quiet=False)
    told = capsys.readouterr().err
    assert told == "bbc: note: the report could not be written: ZeroDivisionError: no room\n"
    assert (trained / "report.html").read_bytes() == page


def test_a_run_of_an_earlier_version_is_reported(trained: Path, tmp_path: Path) -> None:
    """Its options lack those that came later."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text())
    for name in ("grey", "leave_out", "init", "licence", "minutes"):
        config.pop(name, None)
    (run / "config.json").write_text(json.dumps(config))
    result = bbc("report", run, "--images", "4", "-K", "0")
    assert result.exit_code == 0 and "<h2>Samples" in (run / "report.html").read_text(encoding="utf-8")


def test_what_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "there.html").write_bytes(b"mine")
    for arguments, words in (
        ([tmp_path / "none"], "is not the folder of a training run"),
        ([tmp_path], "is not the folder of a training run"),
        ([trained, "-o", tmp_path / "there.html"], "there.html"),
        ([trained, "-o", tmp_path / "none" / "page.html"], "there is no folder"),
        ([trained, "-K", "x"], "-K x"),
    ):
        result = bbc("report", *arguments)
        assert result.exit_code == 1 and words in result.output and result.output.count("\n") == 1, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"]


def test_what_a_run_says_of_itself_may_be_damaged_or_half_written(trained: Path, tmp_path: Path) -> None:
    config, log = ((trained / name).read_text() for name in ("config.json", "train.jsonl"))
    for damaged in (("[]", log), ("{}", log), ("{", log), (config, f"3\n{log}"), (config, f"{{\n{log}")):
        for name, text in zip(("config.json", "train.jsonl"), damaged, strict=True):
            (tmp_path / name).write_text(text)
        result = bbc("report", tmp_path)
        assert result.exit_code == 1 and "its log or options cannot be read" in result.output
        assert result.output.count("\n") == 1 and not (tmp_path / "report.html").exists()
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "train.jsonl").write_text(f'{log}{{"phase": "va')
    assert bbc("report", tmp_path).exit_code == 0 and open_run(tmp_path).log == open_run(trained).log


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="TensorBoard is installed")
def test_tensorboard_that_is_missing_is_one_line(trained: Path, tmp_path: Path) -> None:
    result = bbc("report", trained, "-o", tmp_path / "page.html", "--tensorboard", tmp_path / "events")
    assert result.exit_code == 1 and "pip install 'bbcompress[train,tensorboard]'" in result.output
    assert result.output.count("\n") == 1 and not list(tmp_path.iterdir())


def test_tensorboard_gets_the_same_scalars_and_pictures(
    trained: Path, figures: ModelFigures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scalars: dict[tuple[str, int], float] = {}
    pictures: dict[str, Any] = {}

    class Writer:
        def __init__(self, log_dir: str) -> None:
            assert log_dir == str(tmp_path)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            scalars[name, step] = value

        def add_image(self, name: str, image: Any, step: int, dataformats: str) -> None:
            assert dataformats == "HWC" and image.dtype == np.uint8
            pictures[name] = image

        def close(self) -> None:
            pass

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    from bbcompress.pages.tensorboard import write_events

    run = open_run(trained)
    write_events(run, figures, tmp_path)
    for line in run.log:
        if "train_bpd" in line:
            assert scalars[f"{line['phase']}/train_bpd", line["epoch"]] == line["train_bpd"]
    assert scalars["model/rha_test_net_bpd", 0] == figures.rates["rha", "test"]
    assert set(pictures) == {"samples", "reconstructions", "traversals"}
