"""The scripts of the paper's study: short runs on digits, shared, gone on with and never trained twice."""

from __future__ import annotations

import importlib
import json
import runpy
import shutil
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixtures_for_tests import quick_calibration  # noqa: F401
from matplotlib.figure import Figure

from bbcompress.errors import BBCError
from bbcompress.training import run
from bbcompress.training.checkpoints.checkpoint import load_checkpoint
from bbcompress.training.datasets import load_mnist
from bbcompress.training.finished import stored_config

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "study"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that the scripts share."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("study")


def call(
    monkeypatch: pytest.MonkeyPatch, name: str, runs: Path, *options: str, draws: bool = True, of: str = ""
) -> dict[str, Any]:
    """Run a script as the command line does; gives its results, whose files are there.

    draws: whether it draws the plot, which takes a second; of: what else the names of its files have.
    """
    with monkeypatch.context() as changed:
        changed.setattr(sys, "argv", [name, "--quick", "--runs", str(runs), "--threads", "1", *options])
        if not draws:
            changed.setattr(Figure, "savefig", lambda *_, **__: None)
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    pixels = f"-{options[options.index('--pixels') + 1]}" if "--pixels" in options else ""
    files = [runs / "results" / f"study-{name}{of}{pixels}.{kind}" for kind in ("json", "png", "svg")]
    if draws:
        assert files[1].read_bytes().startswith(PNG_SIGNATURE)
        assert "QUICK RUN" in files[2].read_text()
    return dict(json.loads(files[0].read_text()))


def refuse(*args: Any, **kwargs: Any) -> None:
    """In place of a training that must not be."""
    raise AssertionError("trained again")


def test_figures_share_a_vae_and_its_gap_is_theirs(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = call(monkeypatch, "figure1", tmp_path)
    svg = (tmp_path / "results" / "study-figure1.svg").read_bytes()
    assert first["quick"] is True and first["epochs"] == [1, 2]
    assert "rate 0.0003, 2 epochs" in svg.decode()
    assert [point["deviation"] for point in first["results"]["test"]] == [None, None]

    monkeypatch.setattr(run, "train", refuse)
    second = call(monkeypatch, "figure2", tmp_path)["results"]
    assert second["amortised"] == first["results"]["test"]
    for amortised, optimal, gap in zip(second["amortised"], second["optimal"], second["gap"], strict=True):
        assert gap["mean"] == pytest.approx(amortised["mean"] - optimal["mean"])
        assert optimal["mean"] < amortised["mean"]
    monkeypatch.setattr(scripts, "evaluate_run", refuse)  # measured once, too
    assert call(monkeypatch, "figure1", tmp_path)["results"] == first["results"]
    assert (tmp_path / "results" / "study-figure1.svg").read_bytes() == svg


def test_an_interrupted_run_is_gone_on_with(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = call(monkeypatch, "figure1", tmp_path, draws=False)
    shutil.rmtree(tmp_path / "measured")
    vae = tmp_path / "mnist-binary"
    for name in ("training.pt", "epoch-0002.pt"):
        (vae / name).unlink()
    shutil.copy(vae / "epoch-0001.pt", vae / "checkpoint.pt")
    first_epoch = (vae / "train.jsonl").read_text().splitlines()[0]
    assert call(monkeypatch, "figure1", tmp_path, draws=False)["results"] == whole["results"]
    assert (vae / "train.jsonl").read_text().splitlines()[0] == first_epoch  # seconds and all: not trained again


def test_encoders_of_one_vae_by_objective_and_seed(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = call(monkeypatch, "figure4", tmp_path)
    assert len(results["results"]) == 4
    for of_objective in results["results"].values():
        values = of_objective["final"]["values"]
        assert len(of_objective["curve"]) == 2 and len(set(values)) == 2  # two epochs, two seeds that differ
        assert of_objective["final"]["deviation"] > 0
    configs = [json.loads(path.read_text()) for path in tmp_path.glob("*-seed*/config.json")]
    assert {(c["alpha"], c["objective"]) for c in configs} == {
        (0.0, "reverse-half-asleep"), (0.5, "reverse-half-asleep"), (1.0, "reverse-half-asleep"), (None, "sleep"),
    }  # fmt: skip
    assert {(c["encoder_lr"], c["average"], c["decay"], c["batch"]) for c in configs} == {(3e-4, 0.0, False, 100)}


def test_alphas_for_vaes_of_several_lengths(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = ("--alphas", "0", "0.75", "--at", "100", "1000")
    grid = call(monkeypatch, "figure4", tmp_path, *options, of="-grid")
    assert list(grid["results"]) == ["1", "2"]
    assert grid["schedule"]["encoder"]["alphas"] == [0, 0.75]
    for found in grid["results"].values():
        assert list(found["alphas"]) == ["0", "0.75"]
        assert all(result["final"]["mean"] < found["VAE"] for result in found["alphas"].values())
    monkeypatch.setattr(run, "train", refuse)
    assert call(monkeypatch, "figure4", tmp_path, *options, of="-grid", draws=False)["results"] == grid["results"]


@pytest.mark.parametrize(
    ("options", "words"), [(["--alphas", "0"], "go together"), (["--alphas", "0", "--at", "150"], "multiples")]
)
def test_options_of_the_grid_that_do_not_fit(
    options: list[str], words: str, scripts: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["figure4", *options])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPTS / "figure4.py"), run_name="__main__")
    assert words in capsys.readouterr().err


def test_known_model_gives_the_data_and_its_decoder(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = call(monkeypatch, "figure3", tmp_path)
    assert set(results["results"]["test_bpd"]) == {"wake", "sleep", "reverse sleep"}
    drawn = load_mnist(tmp_path / "known-2-images")
    assert set(np.unique(drawn.train)) == {0, 255}
    known = load_checkpoint(tmp_path / "known-2" / "training.pt")
    starts = [load_checkpoint(tmp_path / f"known-2-start-seed{seed}.pt") for seed in (0, 1)]
    for start in starts:
        assert all(torch.equal(start["decoder"][name], value) for name, value in known["decoder"].items())
    name = next(name for name, value in known["baseline"].items() if value.ndim == 2)
    weights = [state["baseline"][name] for state in (known, *starts)]
    for one, other in combinations(weights, 2):  # neither trained nor begun alike
        assert not torch.allclose(one, other, atol=0.01)
    trained = load_checkpoint(tmp_path / "known-2-sleep-seed1" / "training.pt")
    assert torch.equal(trained["baseline"][name], starts[1]["baseline"][name])


def test_figures_of_both_kinds_of_pixels(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sixth = call(monkeypatch, "figure6", tmp_path)["results"]
    trained = {path.name: (path / "training.pt").stat().st_mtime_ns for path in tmp_path.glob("*-seed*")}
    fifth = call(monkeypatch, "figure5", tmp_path)["results"]
    table = call(monkeypatch, "table1", tmp_path)["results"]
    assert set(trained) == {
        f"mnist-{pixels}-0002-alpha0.5-lr0.0005-2-seed{seed}" for pixels in ("binary", "grey") for seed in (0, 1)
    }
    assert {name: (tmp_path / name / "training.pt").stat().st_mtime_ns for name in trained} == trained  # shared
    for pixels in ("binary", "grey"):
        names = ("optimal", "reverse half-asleep", "VAE")
        for optimal, asleep, vae in zip(*(fifth[pixels][name] for name in names), strict=True):
            assert max(optimal["mean"], asleep["mean"]) < vae["mean"]  # by the same noise
        assert table[pixels]["reverse half-asleep"] == sixth[pixels]["final"]
        assert list(table[pixels]["denoising"]) == ["0.1", "0.2"]
        assert table[pixels]["denoising"]["0.1"] != table[pixels]["denoising"]["0.2"]
        assert table[pixels]["VAE"] == sixth[pixels]["VAE"] > sixth[pixels]["final"]["mean"]


def test_cifar10_has_its_points_curve_and_table(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = call(monkeypatch, "cifar10", tmp_path)
    found = whole["results"]
    assert found["figure5"]["epochs"] == [1, 2]  # one checkpoint that was kept, and the finished run
    assert found["table1"]["reverse half-asleep"] == found["figure6"]["final"]
    assert len(found["figure6"]["curve"]) == 2 and list(found["table1"]["denoising"]) == ["0.1", "0.2"]
    values = [found["figure5"][name][1]["mean"] for name in ("VAE", "optimal", "reverse half-asleep")]
    assert len(set(values)) == 3
    config = json.loads((tmp_path / "cifar10-0002-denoising0.2-lr1e-05-2-seed1" / "config.json").read_text())
    told = {name: config[name] for name in ("encoder_lr", "sigma", "alpha", "batch", "samples", "decay", "hidden")}
    assert told == {
        "encoder_lr": 1e-5, "sigma": 0.2, "alpha": 0.5, "batch": 10, "samples": "aggregate", "decay": False, "hidden": 8
    }  # fmt: skip
    monkeypatch.setattr(run, "train", refuse)
    monkeypatch.setattr(scripts, "evaluate_run", refuse)
    assert call(monkeypatch, "cifar10", tmp_path, draws=False)["results"] == found
    assert not list(tmp_path.rglob("model.safetensors"))


def test_cifar10_names_the_run_that_is_missing(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["cifar10", "--start", str(tmp_path / "none"), "--runs", str(tmp_path)])
    with pytest.raises(SystemExit, match="none: no finished run; bbc train"):
        runpy.run_path(str(SCRIPTS / "cifar10.py"), run_name="__main__")


def test_a_run_of_other_options_is_refused(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    call(monkeypatch, "figure1", tmp_path, draws=False)
    config = stored_config(tmp_path / "mnist-binary")
    config.lr = 1e-3
    study = scripts.Study("mnist", "data", tmp_path, tmp_path, 2, 1, 1, ("binary",))
    with pytest.raises(BBCError, match=r"whose lr is 0\.0003, not 0\.001"):
        study.train(config, tmp_path / "mnist-binary")


def test_a_plot_is_drawn_anew_from_its_results(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"study-figure1\.json: holds no results to draw"):
        call(monkeypatch, "figure1", tmp_path, "--redraw")
    found = call(monkeypatch, "figure1", tmp_path)
    folder = tmp_path / "results"
    svg = (folder / "study-figure1.svg").read_bytes()
    for kind in ("png", "svg"):
        (folder / f"study-figure1.{kind}").unlink()
    monkeypatch.setattr(scripts.Study, "measure", refuse)
    assert call(monkeypatch, "figure1", tmp_path, "--redraw") == found
    assert (folder / "study-figure1.svg").read_bytes() == svg


RESULTS = SCRIPTS.parent / "results"
DRAWN = sorted(path.stem for path in RESULTS.glob("study-*.json"))


def options_of(found: dict[str, Any]) -> list[str]:
    """Those of the command line with which results were made, as far as a plot depends on them."""
    schedule = found["schedule"]
    vae, epochs = schedule.get("vae", {}), schedule.get("encoder", {}).get("epochs")
    given = {"--seeds": schedule["seeds"], "--encoder-epochs": epochs if isinstance(epochs, int) else None}
    if "every" in vae:
        given |= {"--epochs": vae["epochs"], "--every": vae["every"]}
    lists = {"--at": vae.get("at", []), "--alphas": schedule.get("encoder", {}).get("alphas", [])}
    words = [part for name, value in given.items() if value for part in (name, value)]
    return [str(part) for part in words + [part for name, of in lists.items() if of for part in (name, *of)]]


def covered(figure: Figure) -> list[str]:
    """The lines of a figure that a legend lies over, or the edge of a band about them."""
    figure.draw_without_rendering()
    boxes = [legend.get_window_extent() for legend in figure.legends]
    found = []
    for axes in figure.axes:
        its = [legend.get_window_extent() for legend in [axes.get_legend()] if legend]
        lines = [(line.get_label(), line.get_transform().transform_path(line.get_path())) for line in axes.lines]
        for band in axes.collections:
            lines += [(f"band {band.get_label()}", axes.transData.transform_path(path)) for path in band.get_paths()]
        for box in (*boxes, *its):
            found += [str(name) for name, path in lines if path.intersects_bbox(box, filled=False)]
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_no_legend_of_a_stored_figure_covers_a_curve(
    name: str, scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = json.loads((RESULTS / f"{name}.json").read_text())
    script, *of = name.removeprefix("study-").split("-")
    kinds = ["--pixels", *of] if {*of} & {"binary", "grey"} else []
    monkeypatch.setattr(scripts.Study, "results", lambda *_: found["results"])
    figures: list[Figure] = []
    monkeypatch.setattr(scripts.Study, "write", lambda *arguments: figures.append(arguments[-1]))
    monkeypatch.setattr(sys, "argv", [script, "--redraw", "--out", str(tmp_path), *kinds, *options_of(found)])
    runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
    (figure,) = figures
    assert len(figure.axes) >= 1 and covered(figure) == []


def test_a_legend_over_a_curve_is_seen() -> None:
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="rising")
    axes.fill_between([0, 1], [0.9, 0.9], [0.95, 0.95], label="high")
    axes.legend(loc="upper right")
    assert covered(figure) == ["rising", "band high"]
    axes.legend(loc="lower right")
    assert covered(figure) == []


def test_spreads(scripts: Any) -> None:
    assert scripts.spread([1.0, 2.0, 3.0]) == {"mean": 2.0, "deviation": 1.0, "values": [1.0, 2.0, 3.0]}
    assert scripts.spread([1.0])["deviation"] is None
    assert [point["mean"] for point in scripts.spreads([[1.0, 2.0], [3.0, 6.0]])] == [2.0, 4.0]


@pytest.mark.usefixtures("quick_calibration")
def test_files_of_cifar10s_models_that_are_trained(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = ("--pixels", "cifar10", "--train-vae", "--norm", "batch", "--seeds", "2")
    found = call(monkeypatch, "figure7", tmp_path, *options, draws=False)
    sizes = found["results"]["cifar10"]["bits_per_subpixel"]["VAE"]
    assert found["schedule"]["vae_of_cifar10_trained"] is True
    assert all(len(set(point["values"])) == 2 for point in sizes)  # a VAE for each seed
    for name in ("cifar10-quick", "cifar10-quick-seed1"):
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert (config["norm"], config["seed"]) == ("batch", int(name.endswith("1")))


@pytest.mark.usefixtures("quick_calibration")
def test_sizes_and_times_are_of_the_same_files(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = ("--pixels", "binary", "--seeds", "1")
    seventh = call(monkeypatch, "figure7", tmp_path, *options)["results"]["binary"]
    svg = tmp_path / "results" / "study-figure7-binary.svg"
    drawn = svg.read_bytes()
    svg.unlink()
    compression = importlib.import_module("compression")
    monkeypatch.setattr(compression.bench, "measure", refuse)
    call(monkeypatch, "figure7", tmp_path, *options, "--redraw")
    assert svg.read_bytes() == drawn
    eighth = call(monkeypatch, "figure8", tmp_path, *options)["results"]["binary"]
    assert seventh["K"] == eighth["K"] == [0, 1]
    for name in ("VAE", "reverse half-asleep"):
        points = seventh["bits_per_subpixel"][name]
        assert [point["mean"] for point in points] == pytest.approx(eighth[name]["bits_per_subpixel"])
        assert all(seconds > 0 for kind in ("compress", "decompress") for seconds in eighth[name][kind])
    assert len(eighth["baseline_reaches_rha_at_K_0"]) == 1
    trained = json.loads((tmp_path / "mnist-binary-z10-rha2-seed0" / "config.json").read_text())
    assert (trained["latents"], trained["alpha"], trained["lr"]) == (10, 0.5, 3e-4)


def test_shipped_models_are_measured_untrained(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "train", refuse)
    results = call(monkeypatch, "figure7", tmp_path, "--pixels", "binary", "--shipped", draws=False)
    assert results["schedule"]["shipped_models"] is True
    assert "mnist-binary-z10" in results["results"]["binary"]["trained_by"][0][0]


def test_runs_trained_together_are_found_by_the_scripts(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fifth = call(monkeypatch, "figure5", tmp_path, "--together", "--pixels", "binary", draws=False)
    assert fifth["schedule"]["trained_together"] is True
    found = fifth["results"]["binary"]
    for asleep, optimal, vae in zip(found["reverse half-asleep"], found["optimal"], found["VAE"], strict=True):
        assert max(asleep["mean"], optimal["mean"]) < vae["mean"]
        assert len(set(asleep["values"])) == len(set(optimal["values"])) == 2
    monkeypatch.setattr(scripts, "train_together", refuse)
    call(monkeypatch, "figure6", tmp_path, "--together", "--pixels", "binary", draws=False)


def test_the_float_model_of_norms_is_that_of_the_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    norms = importlib.import_module("norms")
    weights = norms.load(norms.ROOT / "models" / "cifar10-resnet-small")
    noise = np.random.default_rng(0).normal(0, 3, (3, 32, 32, 3))
    images = np.clip(120 + np.cumsum(noise, axis=2), 0, 255).astype(np.uint8)
    model, exact = norms.floats_of(weights), norms.ExactResNetVAE(weights, norms.NumpyBackend())
    strips = norms.Strips.all_of(norms.Canvas.of(images, weights.tile))
    mu = exact.encode(exact.prepare(strips), "baseline")[0]
    x = norms.rows_of(images)
    assert np.abs(model.encode(x)[0].numpy() - mu).mean() < 1e-3  # of activations of 12 bits
    z = torch.from_numpy(mu).float()
    nats = -model.likelihood.log_prob(model.decode(z), x)
    lengths = exact.lengths(np.rint(mu * 2.0**24).astype(np.int64), strips) / 2.0**30
    np.testing.assert_allclose(lengths, nats / np.log(2), rtol=1e-3)
    plain = norms.bits_of(model, images)
    with norms.clamped_relus(model, 0.5):
        assert norms.bits_of(model, images).mean() > 1.1 * plain.mean()
    with norms.clamped_posterior(model):  # far from any limit
        assert norms.bits_of(model, images) == pytest.approx(plain, abs=0)
    assert norms.bits_of(model, images) == pytest.approx(plain, abs=0)
    stripes = norms.stripes()
    assert len({image.tobytes() for image in stripes}) == len(stripes) == 24


def test_disagreements_have_their_parts_and_are_gone_on_with(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(*parts: str) -> dict[str, Any]:
        options = ["--quick", "--runs", str(tmp_path), "--parts", *parts]
        monkeypatch.setattr(sys, "argv", ["disagreements", *options])
        runpy.run_path(str(SCRIPTS / "disagreements.py"), run_name="__main__")
        return dict(json.loads((tmp_path / "disagreements.json").read_text())["results"])

    parts = ("batches", "alphas", "sigmas", "rates")
    for part in parts:
        found = measured(part)
    assert tuple(found) == parts and all(found[part]["quick"] for part in parts)
    assert list(found["batches"]["batches"]) == ["32", "100", "500", "100, begun as the encoder of the VAE"]
    for of_batch in found["batches"]["batches"].values():
        assert set(of_batch) == {"wake", "sleep", "reverse sleep"}
        assert all(len(result["curve"]) == 2 for result in of_batch.values())
    (of_vae,) = (vae for name, vae in found["alphas"]["vaes"].items() if name.startswith("2 "))
    *by_alpha, twice = of_vae["alphas"].values()
    assert [len(result["curve"]) for result in by_alpha] == [2] * 5 and len(twice["curve"]) == 4
    config = json.loads((tmp_path / "small-0002-alpha0.5-batch200-4-seed0" / "config.json").read_text())
    assert (config["batch"], config["alpha"], config["encoder_lr"]) == (200, 0.5, 3e-4)
    scales = found["sigmas"]["vaes"]["2 epochs"]["scales"]
    assert list(scales) == ["[0, 1]", "standardised", "[0, 255]"]
    assert all(list(of_scale) == ["0.1", "0.2"] for of_scale in scales.values())
    assert list(found["rates"]["rates"]) == ["0.0005", "0.0003", "0.0001"]
    monkeypatch.setattr(run, "train", refuse)
    monkeypatch.setattr("bbcompress.training.trainer.Trainer.run_epoch", refuse)
    assert measured(*parts) == found


@pytest.mark.parametrize("scale", ["standardised", "[0, 255]"])
def test_denoising_of_rescaled_inputs_is_the_same_loss(scale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    disagreements = importlib.import_module("disagreements")
    plain = disagreements.MLPVAE((6, 5), 3, 8, True)
    rescaled = disagreements.Rescaled(plain, *disagreements.SCALES[scale])
    assert not torch.allclose(plain.encoder[0].weight, rescaled.encoder[0].weight)
    x = (torch.rand(40, 30, generator=torch.Generator().manual_seed(1)) > 0.5).to(torch.uint8)
    losses = [
        disagreements.denoising(model, x, 0.5, 0.4, torch.Generator().manual_seed(2)).item()
        for model in (plain, rescaled)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.fixture
def missing(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The parts that wait for a GPU. Modules of benchmarks/ come last: one has the name of a package, markdown."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(SCRIPTS.parent)])
    return importlib.import_module("study_missing")


def test_what_waits_for_a_gpu_is_a_command_of_the_scripts(
    missing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = set()
    for part in missing.MISSING.values():
        assert part.command in part.line
        for script, options in part.calls:
            others = ["--redraw", "--runs", str(tmp_path), "--out", str(tmp_path), "--device", "cuda"]
            monkeypatch.setattr(sys, "argv", [script, *options, *others])
            with pytest.raises(SystemExit, match="holds no results to draw") as caught:
                runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
            asked.add(Path(str(caught.value).split(":")[1].strip()).stem)
    assert asked == {
        "study-figure4-grid", "study-cifar10", "study-figure7-cifar10", "study-figure8-cifar10",
        *(f"study-{name}-grey" for name in ("figure5", "figure6", "figure7", "figure8", "table1")),
    }  # fmt: skip


def test_a_row_stands_for_a_part_until_its_results_are_there(
    missing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = importlib.import_module("study_results")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    assert missing.not_run("figure4", 3) == [
        ["not run", "`python benchmarks/study/missing.py figure4 --device cuda`", ""]
    ]
    assert missing.missing().count("missing.py") == len(missing.MISSING)
    found = {"table1-grey": {"schedule": {"vae": {"epochs": 1000}}}, "figure4-grid": {}, "figure7-cifar10": {}}
    for name, content in found.items():
        (tmp_path / f"study-{name}.json").write_text(json.dumps(content))
    (tmp_path / "study-cifar10.json").write_text(json.dumps({"results": {"vae": {"norm": "batch"}}}))
    assert missing.not_run("figure4", 3) == missing.not_run("grey", 3) == []
    waiting = [name for name, part in missing.MISSING.items() if not part.there()]
    assert waiting == ["grey-files", "cifar10"]


@pytest.mark.parametrize(
    ("low", "high", "difference", "deviations", "verdict"),
    [
        ((1.0, 0.3), (2.0, 0.4), 1.0, 2.0, "holds"),
        ((2.0, 0.3), (1.0, 0.4), -1.0, -2.0, "does not hold"),
        ((1.0, 0.6), (2.0, 0.8), 1.0, 1.0, "not to be told"),
        ((1.0, 0.1), (2.0, None), 1.0, 10.0, "holds"),
        ((2.0, None), (1.0, None), -1.0, None, "does not hold"),
    ],
)
def test_a_comparison_holds_by_so_many_deviations(
    low: Any, high: Any, difference: float, deviations: float | None, verdict: str, missing: Any
) -> None:
    claims = importlib.import_module("study_claims")
    spreads = [{"mean": mean, "deviation": deviation} for mean, deviation in (low, high)]
    claim = claims.Claim("Figure 4", "binary", "one below the other", *spreads)
    assert claim.difference == pytest.approx(difference)
    assert claim.deviations == (None if deviations is None else pytest.approx(deviations))
    assert claim.verdict == verdict and claim.row()[-1] == verdict
    assert claims.Claim("Figure 4", "binary", "", *spreads, void=True).verdict == "says nothing"


def test_each_figure_is_compared_with_the_paper(missing: Any) -> None:
    rows = importlib.import_module("study_claims").claims()
    compared = {(row[0], row[1]) for row in rows}
    digits = {("Figure 1", "binary MNIST"), ("Figure 2", "binary MNIST"), ("Figure 3", "binary MNIST")}
    kinds = ("binary MNIST", "grey MNIST", "CIFAR-10")
    both = {(where, kind) for where in ("Figure 5", "Figure 6", "Table 1", "Figure 7") for kind in kinds}
    assert compared >= digits | both | {("Figure 4", "binary MNIST"), ("Figure 8", "binary MNIST")}
    heads = importlib.import_module("study_claims").HEADS
    assert all(len(row) == len(heads) and row[-1] for row in rows)
