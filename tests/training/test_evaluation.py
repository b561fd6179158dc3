from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.distributions import Normal

from bbcompress.cli import main
from bbcompress.errors import BBCError, ModelError, TrainingError
from bbcompress.training import evaluation, run, trained
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from bbcompress.training.config import TrainingConfig
from bbcompress.training.evaluation import (
    EvaluationOptions,
    elbo_figures,
    elbo_terms,
    evaluate_run,
    importance_bound,
    log_importance_weight,
    optimal_encoder,
)
from bbcompress.training.finished import stored_config
from bbcompress.training.objectives import evaluate
from bbcompress.training.run import train
from bbcompress.training.trained import TileVAE, TrainedRun, open_run

BITS = math.log(2)


# --- Runs to evaluate ----------------------------------------------------------------------------


def write_images(folder: Path, size: tuple[int, int], channels: int, n: int = 30) -> Path:
    """Pictures of two kinds, noisy."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        levels = rng.normal(60 + 100 * (i % 2), 40, (*size, channels))
        Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8).squeeze()).save(folder / f"{i:02}.png")
    return folder


def trained_run(out: Path, images: Path, **settings: Any) -> Path:
    """A finished run of 2 + 2 epochs, all checkpoints kept, not exported."""
    architecture = settings.get("architecture", "mlp")
    options: dict[str, Any] = {
        **ARCHITECTURES[architecture].defaults,
        "data": str(images), "latents": 3, "hidden": 8, "epochs": 2, "encoder_epochs": 2,
        "lr": 3e-3, "encoder_lr": 3e-3, "batch": 4, "evaluate_every": 0, "keep_every": 1, "samples": "prior",
        **settings,
    }  # fmt: skip
    train(TrainingConfig(**options), out, quiet=True)
    return out


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlp")
    return trained_run(folder / "run", write_images(folder / "images", (6, 5), 1))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resnet")
    images = write_images(folder / "images", (8, 4), 3)
    return trained_run(folder / "run", images, architecture="resnet", latents=2, blocks=1, batch=9)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    images = write_images(folder / "images", (8, 8), 3)
    return trained_run(folder / "run", images, architecture="local", latents=2, encoder_epochs=0)


@pytest.fixture(params=["mlp", "resnet"])
def opened(request: pytest.FixtureRequest) -> TrainedRun:
    return open_run(request.getfixturevalue(request.param))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights_of(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- A VAE whose evidence is known ---------------------------------------------------------------


class LinearGaussian(nn.Module):
    """x = z + N(0, noise^2), z ~ N(0, 1): p(x) = N(0, 1 + noise^2) and p(z|x) = N(x / v, noise^2 / v), v = 1 + noise^2.

    encoder: x to mu and rho, as `MLPVAE`'s; it starts away from the posterior unless `exact`.
    """

    def __init__(self, noise: float, exact: bool) -> None:
        super().__init__()
        self.latents = self.dimensions = 1
        self.compute_dtype = torch.float32
        self.noise = noise
        self.encoder = nn.Linear(1, 2)
        self.generative = nn.Linear(1, 1, bias=False)
        variance = 1 + noise**2
        with torch.no_grad():
            self.generative.weight.fill_(1)
            self.encoder.weight.copy_(torch.tensor([[1 / variance if exact else 0.1], [0.0]]))
            rho = math.log(math.expm1(noise / math.sqrt(variance)))
            self.encoder.bias.copy_(torch.tensor([0.0, rho if exact else 1.0]))

    @property
    def likelihood(self) -> LinearGaussian:
        return self

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, rho = self.encoder(x).chunk(2, dim=1)
        return mu, F.softplus(rho)

    def decode(self, z: Tensor) -> Tensor:
        return self.generative(z)  # type: ignore[no-any-return]

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return Normal(params, self.noise, validate_args=False).log_prob(x).sum(1)  # type: ignore[no-any-return, no-untyped-call]

    def evidence(self, x: Tensor) -> Tensor:
        """log p(x), (B,)."""
        return Normal(0.0, math.sqrt(1 + self.noise**2)).log_prob(x).sum(1)  # type: ignore[no-any-return, no-untyped-call]


@given(noise=st.floats(0.1, 3), x=st.floats(-4, 4), draw=st.floats(-3, 3))
def test_a_weight_by_the_true_posterior_is_the_evidence(noise: float, x: float, draw: float) -> None:
    model = LinearGaussian(noise, exact=True)
    image = torch.tensor([[x]])
    weight = log_importance_weight(model, image, *model.encode(image), torch.tensor([[draw]]))
    assert weight.dtype == torch.float64
    assert weight.item() == pytest.approx(model.evidence(image).item(), abs=1e-3)


@pytest.mark.parametrize("batch", [500, 45])
def test_bounds_of_a_model_whose_evidence_is_known(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BATCH", batch)
    x = 1.5 * torch.randn(200, 1, generator=generator(9))
    exact, rough = LinearGaussian(0.8, exact=True), LinearGaussian(0.8, exact=False)
    evidence = -exact.evidence(x).mean().item() / BITS
    for n in (1, 5):
        assert importance_bound(exact, x, n, generator()) == pytest.approx(evidence, abs=1e-5)
    bounds = [importance_bound(rough, x, n, generator()) for n in (1, 2, 200)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > evidence + 0.1
    assert bounds[-1] == pytest.approx(evidence, abs=0.02)
    many = x.repeat(50, 1)
    elbo, bound = elbo_figures(rough, many, 1, generator())["bpd"], importance_bound(rough, many, 1, generator())
    assert elbo == pytest.approx(bound, abs=0.03)  # the KL in closed form, and by one draw of the same z


def test_optimal_inference_finds_the_true_posterior() -> None:
    x = 1.5 * torch.randn(200, 1, generator=generator(9))
    model = LinearGaussian(0.8, exact=False)
    optimal = optimal_encoder(model, x, 25, 0.03, batch=25, average=0.98)
    evidence = -model.evidence(x).mean().item() / BITS
    assert importance_bound(model, x, 1, generator()) > evidence + 0.1
    assert importance_bound(optimal, x, 1, generator()) == pytest.approx(evidence, abs=0.01)


# --- Plain functions on trained networks ---------------------------------------------------------


def test_the_elbo_is_the_training_code_s(opened: TrainedRun) -> None:
    for model in opened.models.values():
        figures = elbo_figures(model, opened.test, 3, generator(1))
        expected = evaluate(model, opened.test, 3, generator(1))  # type: ignore[arg-type]
        assert figures["bpd"] == pytest.approx(expected, rel=1e-6)
        assert figures["kl_bpd"] + figures["nll_bpd"] == pytest.approx(figures["bpd"], rel=1e-12)
        assert 0 < figures["kl_bpd"] < figures["nll_bpd"]


def test_one_draw_of_the_importance_bound(opened: TrainedRun) -> None:
    model, x = opened.models["baseline"], opened.test
    mu, sigma = model.encode(x)
    noise = torch.randn(mu.shape, generator=generator(2))
    z = mu + sigma * noise
    log_p = model.likelihood.log_prob(model.decode(z), x) + Normal(0, 1).log_prob(z).sum(1)  # type: ignore[no-untyped-call]
    log_q = Normal(mu, sigma).log_prob(z).sum(1)  # type: ignore[no-untyped-call]
    expected = -(log_p - log_q).mean().item() / BITS / model.dimensions
    assert importance_bound(model, x, 1, generator(2)) == pytest.approx(expected, rel=1e-5)


def test_more_draws_are_a_tighter_bound(opened: TrainedRun) -> None:
    x = opened.test.repeat(20, 1)
    for model in opened.models.values():
        bounds = [importance_bound(model, x, n, generator()) for n in (1, 10, 60)]
        assert bounds[0] > bounds[1] > bounds[2]
        assert bounds[1] < elbo_figures(model, x, 10, generator())["bpd"]


def test_optimal_inference_touches_nothing_but_its_own_encoder(opened: TrainedRun) -> None:
    model, x = opened.models["baseline"], opened.test
    before = weights_of(model.encoder), weights_of(model.generative)
    optimal, again, other = (optimal_encoder(model, x, 15, 5e-3, batch=2, seed=seed) for seed in (0, 0, 1))
    assert same(weights_of(model.encoder), before[0]) and same(weights_of(model.generative), before[1])
    assert same(weights_of(optimal.generative), before[1])
    assert same(weights_of(optimal.encoder), weights_of(again.encoder))
    assert not same(weights_of(optimal.encoder), weights_of(other.encoder))
    buffers = [[*network.encoder.buffers()] for network in (model, optimal)]
    assert same(*buffers)  # batch norm kept its statistics
    reached, was = (elbo_figures(m, x, 20, generator())["bpd"] for m in (optimal, model))
    assert reached < was - 0.001
    assert not any(
        parameter.requires_grad for parameter in (*optimal.encoder.parameters(), *model.encoder.parameters())
    )


def test_mode_and_precision_are_put_back(opened: TrainedRun) -> None:
    model, x = opened.models["baseline"], opened.test
    expected = elbo_figures(model, x, 1, generator()), importance_bound(model, x, 2, generator())
    model.train(True)
    model.compute_dtype = torch.bfloat16
    before = weights_of(model.encoder)
    assert (elbo_figures(model, x, 1, generator()), importance_bound(model, x, 2, generator())) == expected
    assert model.training and model.compute_dtype == torch.bfloat16
    assert same(weights_of(model.encoder), before)


def test_likelihoods_that_are_no_numbers() -> None:
    model = LinearGaussian(0.5, exact=False)
    x = torch.tensor([[math.nan]])
    for measure in (elbo_figures, importance_bound):
        with pytest.raises(TrainingError, match="not finite"):
            measure(model, x, 1, generator())


# --- Local models --------------------------------------------------------------------------------


def test_the_likelihood_of_a_whole_tile(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_run(local)
    model = opened.models["baseline"]
    assert isinstance(model, TileVAE)
    x = opened.test
    noise = torch.randn(len(x), model.latents, generator=generator())
    nll, kl = elbo_terms(model, x, noise)
    mu, sigma = model.encode(x)
    features = model.decode(mu + sigma * noise)
    shape = model.model.shape
    by_pixel = torch.zeros(len(x))
    for dy in range(shape.tile):
        for dx in range(shape.tile):
            place = x[:, 0], x[:, 1] + dy, x[:, 2] + dx
            pixels = model.model.gather(model.images, *place, shape)
            cell = (dy // shape.cell) * shape.cells + dx // shape.cell
            by_pixel -= model.model.log_likelihood(*pixels, features[:, cell])
    assert torch.allclose(nll, by_pixel, rtol=1e-5)
    monkeypatch.setattr(trained, "PIXELS_AT_ONCE", shape.tile**2)
    assert torch.allclose(elbo_terms(model, x, noise)[0], nll, rtol=1e-5)
    assert (kl > 0).all()


def test_a_local_run(local: Path) -> None:
    figures = evaluate_run(local, EvaluationOptions(optimal=2, importance=3, lr=1e-3), quiet=True)
    assert figures["data"] == {**figures["data"], "rows": "tiles", "train": 27, "test": 3, "dimensions": 192}
    assert figures["encoders"]["baseline"]["test"] == figures["encoders"]["rha"]["test"]  # it had no epoch
    assert figures["encoders"]["optimal"]["test"]["bpd"] < figures["encoders"]["baseline"]["test"]["bpd"]
    with pytest.raises(TrainingError, match="--device cpu"):
        open_run(local, device="meta")


# --- Runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_all_figures_of_a_run(kind: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    options = EvaluationOptions(optimal=20, importance=20, lr=5e-3, batch=3)
    figures = evaluate_run(path, options, quiet=True)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    encoders = figures["encoders"]
    baseline, rha, optimal = (encoders[name] for name in ("baseline", "rha", "optimal"))
    assert "train" not in optimal
    for name, encoder in (("baseline", baseline), ("rha", rha)):
        assert encoder["generalisation_gap"] == encoder["test"]["bpd"] - encoder["train"]["bpd"]
        assert encoder["amortised_inference_gap"] == encoder["test"]["bpd"] - optimal["test"]["bpd"]
        model = open_run(path).models[name]
        expected = elbo_figures(model, open_run(path).test, 200, generator())["bpd"]
        assert encoder["test"]["bpd"] == pytest.approx(expected, rel=0.02)
        assert encoder["importance_bpd"] < encoder["test"]["bpd"]
    assert baseline["amortised_inference_gap"] > 0
    left = baseline["generalisation_gap"] - baseline["amortised_inference_gap"]
    assert figures["generative_model_gap"] == pytest.approx(left, abs=1e-12)
    assert baseline != rha
    assert figures["optimal_schedule"]["average"] == 0.999
    assert figures["samples"] == {"train": 1, "test": 4}
    assert (figures["data"]["train"], figures["data"]["test"]) == (27, 3)
    again = evaluate_run(path, options, quiet=True)
    assert again["encoders"] == encoders
    reseeded = evaluate_run(path, EvaluationOptions(importance=20, seed=1), quiet=True)["encoders"]["rha"]
    assert all(reseeded[part] != rha[part] for part in ("train", "test", "importance_bpd"))


def test_without_optimal_inference_there_are_no_gaps_of_it(mlp: Path) -> None:
    figures = evaluate_run(mlp, quiet=True)
    assert set(figures["encoders"]["rha"]) == {"train", "test", "generalisation_gap"}
    assert "generative_model_gap" not in figures and "optimal_schedule" not in figures
    few = evaluate_run(mlp, EvaluationOptions(images=2, samples=3), quiet=True)
    assert (few["data"]["train"], few["data"]["test"], few["samples"]["train"]) == (2, 2, 3)


@pytest.mark.parametrize("kind", ["mlp", "resnet", "local"])
def test_checkpoints_within_a_run(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    path = request.getfixturevalue(kind)
    whole = evaluate_run(path, quiet=True)["encoders"]
    last, earlier = (evaluate_run(path / f"epoch-000{epoch}.pt", quiet=True) for epoch in (2, 1))
    assert last["encoders"] == {"baseline": whole["baseline"]}
    assert earlier["encoders"]["baseline"] != whole["baseline"]
    assert (earlier["checkpoint"]["phase"], earlier["checkpoint"]["epoch"]) == ("vae", 1)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run._Run, "_conclude", interrupt)
        train(stored_config(path), tmp_path / "stopped", quiet=True)
    stopped = evaluate_run(tmp_path / "stopped", quiet=True)
    assert stopped["encoders"] == whole
    assert (stopped["checkpoint"]["phase"], stopped["checkpoint"]["epoch"]) == ("rha", 2 * (kind != "local"))


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_is_no_run(mlp: Path, tmp_path: Path) -> None:
    rubbish, empty, exported = tmp_path / "rubbish.pt", tmp_path / "empty", tmp_path / "model"
    rubbish.write_bytes(b"rubbish")
    for folder in (empty, exported):
        folder.mkdir()
    (exported / "model.safetensors").write_bytes(b"")
    refused = {
        tmp_path / "none": "no such training checkpoint",
        rubbish: "not a training checkpoint",
        empty: "holds no training checkpoint",
        exported: "exported model.*training.pt.*bbc bench",
        exported / "model.safetensors": "exported model",
    }
    for path, words in refused.items():
        with pytest.raises(ModelError, match=words) as error:
            evaluate_run(path, quiet=True)
        assert "\n" not in str(error.value)


def test_damaged_checkpoints(mlp: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pt"
    for source, without in (
        ("training.pt", "config"),
        ("training.pt", "rha"),
        ("training.pt", "shape"),
        ("epoch-0001.pt", "trainer"),
        ("epoch-0001.pt", "phase"),
    ):
        state = load_checkpoint(mlp / source)
        del state[without]
        save_checkpoint(state, path)
        with pytest.raises(BBCError, match=r"damaged\.pt"):
            open_run(path)
    state = load_checkpoint(mlp / "training.pt")
    state["decoder"] = {name: value[:1] for name, value in state["decoder"].items()}
    save_checkpoint(state, path)
    with pytest.raises(ModelError, match=r"damaged\.pt: not a training checkpoint of this version, or a damaged one"):
        open_run(path)


def test_data_that_do_not_fit(mlp: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="another size"):
        open_run(mlp, data=str(write_images(tmp_path / "larger", (6, 6), 1)))
    with pytest.raises(TrainingError, match="grey images"):
        open_run(mlp, data=str(write_images(tmp_path / "colour", (6, 5), 3)))
    with pytest.raises(BBCError, match="no such data set"):
        open_run(mlp, data=str(tmp_path / "none"))
    with pytest.raises(TrainingError, match="--device"):
        open_run(mlp, device="abacus")
    other = open_run(mlp, data=str(write_images(tmp_path / "others", (6, 5), 1, n=40)))
    assert (len(other.train), len(other.test)) == (36, 4)


def test_options_that_make_no_sense() -> None:
    for wrong in ({"samples": 0}, {"optimal": -1}, {"lr": 0.0, "optimal": 1}, {"images": 0}, {"threads": 0}):
        with pytest.raises(TrainingError, match="cannot be"):
            EvaluationOptions(**wrong)
    for idle in ({"lr": 1e-3}, {"batch": 5}):
        with pytest.raises(TrainingError, match="is for --optimal"):
            EvaluationOptions(**idle)


# --- The command ---------------------------------------------------------------------------------


def bbc(*args: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *(str(a) for a in args)])


def test_the_command(mlp: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    args = [mlp, "--optimal", 2, "--importance", 3, "--lr", "1e-3", "--json", file]
    result = bbc(*args)
    assert result.exit_code == 0
    figures = json.loads(file.read_text())
    for row in (
        f"-ELBO, test {figures['encoders']['rha']['test']['bpd']:.5f}",
        f"amortised inference gap (test - optimal) {figures['encoders']['rha']['amortised_inference_gap']:.5f}",
        f"generative model gap (optimal - train) {figures['generative_model_gap']:.5f}",
        f"IWAE bound, test, 3 draws {figures['encoders']['optimal']['importance_bpd']:.5f}",
    ):
        label, value = row.rsplit(" ", 1)
        assert any(label in line and value in line for line in result.stdout.splitlines()), row
    assert "optimal 2/2" in result.stderr
    refused = bbc(*args)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1) and "exists" in refused.stderr
    quiet = bbc(*args, "-f", "-q", "--seed", 5)
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert json.loads(file.read_text())["options"]["seed"] == 5


def test_errors_of_the_command(mlp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for args in (
        [tmp_path / "none"],
        [mlp, "--device", "abacus"],
        [mlp, "--lr", "1"],
        [mlp, "--data", tmp_path / "none"],
    ):
        result = bbc(*args)
        assert result.exit_code == 1 and result.stderr.startswith("bbc: error: ") and result.stderr.count("\n") == 1
    assert bbc(mlp, "--samples", "0").exit_code == 2
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "bbcompress.training.evaluation")
    result = bbc(mlp)
    assert result.exit_code == 1 and "pip install 'bbcompress[train]'" in result.stderr


def test_an_interrupted_evaluation(mlp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "optimal_encoder", interrupt)
    result = bbc(mlp, "--optimal", 1, "--json", tmp_path / "figures.json")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (130, "bbc: interrupted")
    assert not (tmp_path / "figures.json").exists()
