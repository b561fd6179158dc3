"""What the scripts of the paper's study share: options, runs, measurements, results and plots.

All that is trained is a run of `bbc train` under --runs, which the scripts share and go on with after an interruption;
one process at a time may work on a run. With --together, or on a GPU, runs that are alike are trained as one; such
runs are begun anew after an interruption. Measurements of checkpoints are kept beside the runs, in `measured`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, cast

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bbcompress.errors import BBCError
from bbcompress.training import run
from bbcompress.training.architectures.base import PHASE_RHA
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.checkpoints.log import save_json
from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import Dataset, load
from bbcompress.training.evaluation import EvaluationOptions, evaluate_run
from bbcompress.training.finished import stored_config
from bbcompress.training.objectives import REVERSE_HALF_ASLEEP
from bbcompress.training.run import MAY_CHANGE
from bbcompress.training.stacked import Member, optimal_encoders, train_together
from bbcompress.training.trained import TrainedRun, TrainedVAE, open_run

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

import machine  # noqa: E402

LR = 3e-4  # of VAEs (paper, Section 4)
HALF_ASLEEP_LR = OPTIMAL_LR = 5e-4
HALF_ASLEEP_EPOCHS = 100
BATCH = 100
VAE_SEED = 0
SVG_SALT = "bbc"
LETTERS_AN_INCH = 13  # of a plot's title
PACKAGES = ("bbcompress", "torch", "numpy", "matplotlib")
DIGITS = HERE.parents[1] / "tests" / "data" / "digits" / "grey"


@dataclass(frozen=True)
class Study:
    """A script's options.

    data, data_dir: as of `bbc train`; runs, out: directories; epochs: of the long VAEs; every: epochs from one point of
    a VAE to the next; seeds: how many; hidden: None is the paper's width; quick: schedules of a few epochs on a hundred
    digits, to see that the scripts work; together: train runs that are alike as one, which pays on a GPU;
    shipped: Figures 7 and 8 are of the models that bbc ships; start: the run whose decoder CIFAR-10's encoders have;
    encoder_epochs: of Figure 3; of Figures 4, 7 and 8, Table 1 and CIFAR-10 at most so many; optimal_epochs: the same
    of optimal inference in Figure 5; partly: whether pixels are not all that the figure is of; redraw: only draw what
    has been measured; alphas, at: of Figure 4's grid, the shares of model samples and the epochs of the VAEs, none
    where only the paper's are wanted; train_vae: whether the VAE of CIFAR-10 is trained, too, with the norm, precision,
    channels and batches that are given.
    """

    data: str
    data_dir: str
    runs: Path
    out: Path
    epochs: int
    every: int
    seeds: int
    pixels: tuple[str, ...]
    threads: int | None = None
    device: str = "cpu"
    hidden: int | None = None
    quick: bool = False
    together: bool = False
    shipped: bool = False
    start: Path = Path("runs/cifar10-resnet")
    encoder_epochs: int | None = None
    optimal_epochs: int | None = None
    partly: bool = False
    redraw: bool = False
    alphas: tuple[float, ...] = ()
    at: tuple[int, ...] = ()
    train_vae: bool = False
    norm: str | None = None
    precision: str = "float32"
    batch: int = BATCH

    @property
    def points(self) -> list[int]:
        """Epochs of a long VAE that are looked at."""
        return list(range(self.every, self.epochs + 1, self.every))

    def length(self, full: int) -> int:
        """How many of something that the paper has `full` of."""
        return min(full, 2) if self.quick else full

    def encoder_length(self, full: int) -> int:
        """Epochs of an encoder, of which the paper has `full`."""
        return self.length(min(full, self.encoder_epochs or full))

    def optimal_length(self, full: int) -> int:
        """Epochs of optimal inference, of which the paper has `full`."""
        return self.length(min(full, self.optimal_epochs or full))

    # --- Runs ---

    def config(self, pixels: str, **options: Any) -> TrainingConfig:
        """The paper's training of a VAE: constant learning rate, no weight averaging."""
        values: dict[str, Any] = {
            "data": self.data, "data_dir": self.data_dir, "binary": pixels == "binary", "hidden": self.hidden,
            "lr": LR, "batch": BATCH, "average": 0.0, "encoder_epochs": 0, "seed": VAE_SEED, "threads": self.threads,
            "device": self.device,
        }  # fmt: skip
        return TrainingConfig(**(values | options))

    def train(self, config: TrainingConfig, out: Path, start: Path | None = None) -> None:
        """Train what is not yet trained of a run; start: the checkpoint whose decoder it has.

        Raises BBCError, among others for a run of other options.
        """
        finished, begun = ((out / name).exists() for name in ("training.pt", "checkpoint.pt"))
        if finished or begun:
            self.check(config, out)
        if not finished:
            print(f"{out.name}: {'resumed' if begun else 'begun'}", file=sys.stderr, flush=True)
            if begun:  # its name is no matter of the study
                config.name = stored_config(out).name
            data = partial(load_once, config.data, config.data_dir, config.binary)
            run.train(config, out, resume=begun, from_checkpoint=None if begun else start, dataset=data)

    def check(self, config: TrainingConfig, path: Path) -> None:
        """Raise BBCError if a run was begun with other options; path: its directory or a checkpoint."""
        may_differ = {*MAY_CHANGE, "name"} - {"encoder_epochs"}
        compared = tuple(field.name for field in fields(TrainingConfig) if field.name not in may_differ)
        stored = stored_config(path)
        if different := stored.differences(config, compared):
            one, other = (getattr(which, different[0]) for which in (stored, config))
            raise BBCError(f"{path}: a run whose {different[0]} is {one}, not {other}: choose other --runs")

    def train_all(self, members: Sequence[Member]) -> None:
        """Train what is not yet trained of several runs: together where they can be, else one after the other."""
        waiting = [member for member in members if not (member.out / "training.pt").exists()]
        for member in members:
            if member not in waiting:
                self.check(member.config, member.out)
        if not self.together:
            for member in waiting:
                self.train(member.config, member.out, member.start)
        elif waiting:
            names = f"{waiting[0].out.name} to {waiting[-1].out.name}"
            print(f"{len(waiting)} runs together, {names}", file=sys.stderr, flush=True)
            for member in waiting:
                shutil.rmtree(member.out, ignore_errors=True)  # of an interruption
            train_together(waiting, self.dataset(waiting[0].config.binary))

    def dataset(self, binary: bool) -> Dataset:
        """The images, loaded once."""
        return load_once(self.data, self.data_dir, binary)

    def vaes(self, pixels: str, seeds: Sequence[int] = (VAE_SEED,)) -> list[dict[int, Path]]:
        """For each seed the checkpoints of a long VAE by epoch, at `points`. A run that has them all need not be
        finished."""
        found, waiting = [], []
        for seed in seeds:
            out = self.runs / (f"mnist-{pixels}" if seed == VAE_SEED else f"mnist-{pixels}-seed{seed}")
            checkpoints = {epoch: out / f"epoch-{epoch:04}.pt" for epoch in self.points}
            config = self.config(
                pixels, seed=seed, epochs=self.epochs, keep_every=self.every, evaluate_every=10, name=out.name
            )
            if not all(path.exists() for path in checkpoints.values()):
                waiting.append(Member(config, out))
            found.append((config, checkpoints))
        self.train_all(waiting)
        for config, checkpoints in found:
            for path in checkpoints.values():
                if not path.exists():
                    raise BBCError(f"{path}: not kept by this run: choose another --every or --runs")
                self.check(config, path)
        return [checkpoints for _, checkpoints in found]

    def vae(self, pixels: str) -> dict[int, Path]:
        """The checkpoints of the long VAE by epoch, at `points`."""
        return self.vaes(pixels)[0]

    def encoder(
        self,
        name: str,
        start: Path,
        seed: int,
        *,
        pixels: str,
        vae_epochs: int,
        epochs: int,
        lr: float,
        objective: str = REVERSE_HALF_ASLEEP,
        **options: Any,
    ) -> Member:
        """The run of an encoder, to be trained by an objective for the decoder of `start` and tested each epoch."""
        out = self.runs / f"{name}-seed{seed}"
        config = self.config(
            pixels, seed=seed, epochs=vae_epochs, encoder_epochs=epochs, encoder_lr=lr, objective=objective,
            evaluate_every=1, name=out.name, **options,
        )  # fmt: skip
        return Member(config, out, start)

    def half_asleep(
        self, pixels: str, epoch: int, start: Path, epochs: int = HALF_ASLEEP_EPOCHS, lr: float = HALF_ASLEEP_LR,
        alpha: float = 0.5,
    ) -> list[Member]:  # fmt: skip
        """Runs of reverse half-asleep inference (paper Eq. 17) for a long VAE after `epoch`, one for each seed."""
        epochs = self.length(epochs)
        name = f"mnist-{pixels}-{epoch:04}-alpha{alpha:g}-lr{lr:g}-{epochs}"
        return [
            self.encoder(name, start, seed, pixels=pixels, vae_epochs=epoch, epochs=epochs, lr=lr, alpha=alpha)
            for seed in range(self.seeds)
        ]

    # --- Measurements ---

    def measure(self, checkpoint: Path, optimal: int = 0, lr: float = OPTIMAL_LR, seed: int = 0) -> dict[str, Any]:
        """The `encoders` of `evaluate_run`; optimal: epochs of optimal inference on the test images."""
        return self.measure_all([(checkpoint, seed)], optimal, lr)[0]

    def measure_all(
        self, wanted: Sequence[tuple[Path, int]], optimal: int = 0, lr: float = OPTIMAL_LR
    ) -> list[dict[str, Any]]:
        """`measure` of several checkpoints, each with a seed; optimal inference is trained together where it can be."""
        all_of_them = [Measurement(self, checkpoint, seed, optimal, lr) for checkpoint, seed in wanted]
        models: list[TrainedVAE | None] = [None] * len(wanted)
        missing = [number for number, measurement in enumerate(all_of_them) if measurement.kept() is None]
        if optimal and self.together and missing:
            print(f"{len(missing)} times optimal inference together", file=sys.stderr, flush=True)
            runs = [all_of_them[number].open() for number in missing]
            made = optimal_encoders(
                [cast(MLPVAE, run.models["baseline"]) for run in runs], runs[0].test, optimal, lr, batch=BATCH
            )
            for number, model in zip(missing, made, strict=True):
                models[number] = model
        return [measurement.take(model) for measurement, model in zip(all_of_them, models, strict=True)]

    # --- Results ---

    def results(self, name: str, measure: Callable[[Study], Any]) -> Any:
        """What `measure` gives: it is measured, or with --redraw what NAME.json holds."""
        if not self.redraw:
            return measure(self)
        path = self.out / f"{self._name(name)}.json"
        try:
            return json.loads(path.read_text())["results"]
        except (OSError, ValueError, KeyError) as error:
            raise BBCError(f"{path}: holds no results to draw") from error

    def _name(self, name: str) -> str:
        return "-".join([name, *(self.pixels if self.partly else ())])

    def about(self, **schedule: Any) -> dict[str, Any]:
        """What every results file says before its results."""
        return {
            "quick": self.quick,
            "schedule": {
                "data": "a hundred digits" if self.quick else self.data,
                "pixels": list(self.pixels),
                "optimiser": "Adam, constant learning rate, no weight averaging",
                "batch": BATCH,
                "hidden": self.hidden or 500,
                "seeds": self.seeds,
                "trained_together": self.together,
                "shipped_models": self.shipped,
                "vae_of_cifar10_trained": self.train_vae,
                "spread": "mean and sample standard deviation over the seeds",
                **schedule,
            },
            "environment": environment(self.device),
        }

    def figure(self, title: str, *schedule: str, width: float = 7) -> Figure:
        """An empty figure of trainings under its title and the lines of its schedule."""
        return self.plot(
            title, *schedule, f"Adam at constant rates, batches of {BATCH}, no weight averaging", width=width
        )

    def plot(self, title: str, *schedule: str, width: float = 7, height: float = 4.8) -> Figure:
        """An empty figure under its title and the lines of its schedule."""
        lines = [title, *schedule]
        if self.quick:
            lines.insert(0, "QUICK RUN ON A HUNDRED DIGITS: NOT A RESULT")
        width = max(width, 7)
        wrapped = [part for line in lines for part in textwrap.wrap(line, int(LETTERS_AN_INCH * width))]
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle("\n".join(wrapped), fontsize=9, parse_math=False)
        return figure

    def write(self, name: str, results: dict[str, Any], figure: Figure) -> None:
        """Write NAME.json, NAME.png and NAME.svg, of only some of a figure's kinds of pixels NAME-KIND.json and so on.

        The SVG of the same figure has the same bytes.
        """
        name = self._name(name)
        self.out.mkdir(parents=True, exist_ok=True)
        if not self.redraw:
            save_json(results, self.out / f"{name}.json")
        with rc_context({"svg.hashsalt": SVG_SALT, "svg.fonttype": "none"}):
            figure.savefig(self.out / f"{name}.png", dpi=150)
            figure.savefig(self.out / f"{name}.svg", metadata={"Date": None})
        print(f"written: {self.out / name}.json, .png, .svg")


@dataclass(frozen=True)
class Measurement:
    """What `evaluate_run` says of a checkpoint, kept beside the runs of a study."""

    study: Study
    checkpoint: Path
    seed: int
    optimal: int
    lr: float

    @property
    def options(self) -> EvaluationOptions:
        """Of `evaluate_run`."""
        more: dict[str, Any] = {"lr": self.lr, "batch": BATCH} if self.optimal else {}
        return EvaluationOptions(
            data_dir=self.study.data_dir, optimal=self.optimal, seed=self.seed, device=self.study.device,
            threads=self.study.threads, **more,
        )  # fmt: skip

    @property
    def path(self) -> Path:
        """Where it is kept."""
        kind = f"-optimal{self.optimal}" if self.optimal else ""
        name = f"{self.checkpoint.parent.name}-{self.checkpoint.stem}{kind}-seed{self.seed}.json"
        return self.study.runs / "measured" / name

    @cached_property
    def key(self) -> dict[str, Any]:
        """What it is of."""
        digest = hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()
        return {"checkpoint": digest, "optimal": self.optimal, "lr": self.options.lr, "seed": self.seed}

    def kept(self) -> dict[str, Any] | None:
        """The figures, if they have been measured."""
        if not self.path.exists():
            return None
        found = json.loads(self.path.read_text())
        return dict(found["encoders"]) if found["of"] == self.key else None

    def open(self) -> TrainedRun:
        """The models, and images for them."""
        return open_run(self.checkpoint, device=self.study.device, dataset=self._dataset())

    def take(self, optimal: TrainedVAE | None = None) -> dict[str, Any]:
        """The figures, measured if they are not kept; optimal: what optimal inference has given, if it has."""
        if (kept := self.kept()) is not None:
            return kept
        print(f"{self.path.stem}: measured", file=sys.stderr, flush=True)
        evaluation = evaluate_run(self.checkpoint, self.options, dataset=self._dataset(), optimal=optimal)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_json({"of": self.key, **{name: evaluation[name] for name in ("encoders", "data", "seconds")}}, self.path)
        return dict(evaluation["encoders"])

    def _dataset(self) -> Dataset:
        return self.study.dataset(stored_config(self.checkpoint).binary)


@lru_cache(maxsize=2)
def load_once(data: str, data_dir: str, binary: bool) -> Dataset:
    """`load`, for what a script asks for again and again."""
    return load(data, data_dir, binary)


# --- Figures of runs -----------------------------------------------------------------------------


def test_curve(out: Path) -> dict[int, float]:
    """Test BPD of a run's second encoder by epoch, where it was tested; one draw of z an image, the same noise."""
    lines = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    of_encoder = (line for line in lines if line["phase"] == PHASE_RHA)
    return {line["epoch"]: line["test_bpd"] for line in of_encoder if "test_bpd" in line}


def test_bpd(out: Path, encoder: str = "rha") -> float:
    """Test BPD of a finished run's second encoder, or its `baseline` one; four draws of z an image, the same noise."""
    return float(json.loads((out / "metrics.json").read_text())[f"{encoder}_test_bpd"])


def results_of(outs: Sequence[Path]) -> dict[str, Any]:
    """Spreads over finished runs: `curve` of `test_curve` at `epochs`, `final` of `test_bpd`."""
    curves = [test_curve(out) for out in outs]
    return {
        "epochs": list(curves[0]),
        "curve": spreads([list(curve.values()) for curve in curves]),
        "final": spread([test_bpd(out) for out in outs]),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None of one value) and the values."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "deviation": deviation, "values": list(values)}


def spreads(curves: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """The spread at each place over curves of the same length."""
    return [spread(values) for values in zip(*curves, strict=True)]


# --- Plots ---------------------------------------------------------------------------------------


def draw(axes: Axes, x: Sequence[float], y: Sequence[dict[str, Any]], label: str, marker: str = "") -> None:
    """A line of the means of spreads, and a band of one standard deviation on each side."""
    means = [value["mean"] for value in y]
    (line,) = axes.plot(x, means, label=label, marker=marker, markersize=4)
    if all(value["deviation"] is not None for value in y):
        low, high = ([v["mean"] + sign * v["deviation"] for v in y] for sign in (-1, 1))
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.25, linewidth=0)


def finish(
    axes: Axes, x_label: str, title: str = "", y_label: str = "-ELBO, bits per dimension", legend: bool = True
) -> None:
    """Labels, grid and legend."""
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend(fontsize=8)


def seeds_text(n: int) -> str:
    """How the seeds are shown, for a schedule."""
    return "one seed" if n == 1 else f"mean and standard deviation of {n} seeds"


# --- Scripts -------------------------------------------------------------------------------------


def main(script: Callable[[Study], None], doc: str | None, seeds: int = 3, pixels: Sequence[str] = ("binary",)) -> None:
    """Run a script with the options of the command line; seeds: unless others are given; pixels: the kinds it has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few epochs on a hundred digits, never to be quoted")
    parser.add_argument("--data-dir", default="data", help="where MNIST lies or is downloaded to")
    parser.add_argument("--runs", type=Path, help="runs/study if not given, with --quick runs/study-quick")
    parser.add_argument("--out", type=Path, help="for results; benchmarks/results, with --quick RUNS/results")
    parser.add_argument("--epochs", type=int, default=1000, help="of the long VAEs; default: %(default)s")
    parser.add_argument("--every", type=int, default=100, help="epochs between their points; default: %(default)s")
    parser.add_argument("--seeds", type=int, default=seeds, help="how many; default: %(default)s")
    parser.add_argument("--pixels", nargs="+", choices=pixels, default=list(pixels))
    parser.add_argument("--redraw", action="store_true", help="draw the plots anew from the results that are there")
    parser.add_argument("--start", type=Path, help="the run of cifar10.py's VAE; default: runs/cifar10-resnet")
    parser.add_argument(
        "--encoder-epochs", type=int, help="of Figure 3; of Figures 4, 7, 8, Table 1 and CIFAR-10 at most so many"
    )
    parser.add_argument("--optimal-epochs", type=int, help="of optimal inference in Figure 5, at most so many")
    parser.add_argument("--alphas", type=float, nargs="+", default=[], help="of Figure 4, in place of the paper's")
    parser.add_argument(
        "--at", type=int, nargs="+", default=[], help="epochs of Figure 4's VAEs, points of the long one"
    )
    parser.add_argument(
        "--train-vae",
        action="store_true",
        help="train CIFAR-10's VAE as the paper has it, in Figures 7 and 8 each seed's",
    )
    parser.add_argument("--norm", choices=("clamped", "batch"), help="of CIFAR-10's VAE that is trained")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the same")
    parser.add_argument("--batch", type=int, default=BATCH, help="of the same; default: %(default)s")
    parser.add_argument("--hidden", type=int, help="width of hidden layers; default: 500, CIFAR-10: 256")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--together", action="store_true", help="train runs that are alike as one; always with another device than cpu"
    )
    parser.add_argument("--shipped", action="store_true", help="Figures 7 and 8 are of the models that bbc ships")
    args = parser.parse_args()
    counts = (args.seeds, args.every, args.encoder_epochs or 1, args.optimal_epochs or 1)
    if min(counts) < 1 or args.epochs < args.every:
        parser.error("all counts are at least 1, and --epochs no smaller than --every")
    if bool(args.alphas) != bool(args.at):
        parser.error("--alphas and --at go together")
    if any(epochs not in range(args.every, args.epochs + 1, args.every) for epochs in args.at):
        parser.error("--at: multiples of --every, up to --epochs")
    runs = args.runs or Path("runs") / ("study-quick" if args.quick else "study")
    small: dict[str, Any] = {"data": str(DIGITS), "epochs": 2, "every": 1, "seeds": min(args.seeds, 2), "hidden": 8}
    at = [1, 2] if args.quick and args.at else args.at
    given = {name: getattr(args, name) for name in ("epochs", "every", "seeds", "hidden")}
    values: dict[str, Any] = {"data": "mnist", **given}
    study = Study(
        **(values | small if args.quick else values),
        data_dir=args.data_dir,
        runs=runs,
        out=args.out or (runs / "results" if args.quick else HERE.parent / "results"),
        pixels=tuple(args.pixels),
        threads=args.threads,
        device=args.device,
        quick=args.quick,
        together=args.together or args.device != "cpu",
        shipped=args.shipped,
        start=args.start or Study.start,
        encoder_epochs=args.encoder_epochs,
        optimal_epochs=args.optimal_epochs,
        redraw=args.redraw,
        alphas=tuple(args.alphas),
        at=tuple(at),
        train_vae=args.train_vae,
        norm=args.norm,
        precision=args.precision,
        batch=args.batch,
        partly=set(args.pixels) != set(pixels),
    )
    try:
        script(study)
    except BBCError as error:
        sys.exit(f"error: {error}")


def environment(device: str) -> dict[str, Any]:
    """Machine and versions."""
    return {
        **machine.environment(PACKAGES),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device,
    }
