"""A training run: the VAE, then a second encoder for its decoder, evaluated, saved and exported."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bbcompress.errors import ModelError, OutputExistsError, TrainingError
from bbcompress.training.architectures.tasks import DTYPES, TASKS, Objective, Task, build_local, build_mlp, build_resnet
from bbcompress.training.datasets import Dataset, load
from bbcompress.training.distributed import ALONE, Share, from_first, joined, parallel, wait
from bbcompress.training.objectives import (
    DENOISING,
    ELBO,
    OBJECTIVES,
    REVERSE_HALF_ASLEEP,
    REVERSE_SLEEP,
    SLEEP,
    WAKE_SLEEP,
)
from bbcompress.training.trainer import (
    Log,
    Reporter,
    Trainer,
    buffers_of,
    copy_all,
    load_checkpoint,
    remove_checkpoint,
    reporting,
    save_checkpoint,
    save_json,
    seeded_generator,
    weights_of,
)

FORMAT = 1
PHASE_VAE = "vae"
PHASE_RHA = "rha"
CHECKPOINTS = ("training.pt", "checkpoint.pt")
"""Of a run that is finished, and of one that is not."""
EXPORTED = "model.safetensors"
SAMPLES = ("prior", "aggregate")
# options of an objective: what it is unless given, and the objectives that have it
OBJECTIVE_OPTIONS = {"alpha": (0.5, (REVERSE_HALF_ASLEEP, DENOISING, WAKE_SLEEP)), "sigma": (0.1, (DENOISING,))}
WITHOUT_SAMPLES = (ELBO, DENOISING)
OF_LOCAL = (ELBO, REVERSE_SLEEP, REVERSE_HALF_ASLEEP)
FINAL_SAMPLES = 4  # draws of z an image in the final evaluation
SAVE_SECONDS = 60.0
# on --resume; the model does not rest on them
MAY_CHANGE = (
    "data_dir",
    "device",
    "threads",
    "evaluate_every",
    "epochs",
    "encoder_epochs",
    "compile",
    "keep_every",
    "part_size",
)
# what TrainingConfig has otherwise, unless given
DEFAULTS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "local": {"decay": True, "lr": 2e-3, "encoder_lr": 5e-4},
    # the schedule of the paper
    "resnet": {
        "data": "cifar10",
        "epochs": 500,
        "lr": 5e-4,
        "encoder_lr": 1e-5,
        "samples": "aggregate",
        "keep_every": 100,
    },
}
# given by the earlier run with --from
OF_DECODER = ("architecture", "data", "binary", "any_size", "grey", "latents", "hidden", "blocks")


@dataclass
class TrainingConfig:
    """The options of a training run.

    architecture: `mlp` or `resnet` (the paper's) or `local`; data: `mnist`, `cifar10` or a directory; any_size, grey:
    of a directory's images, see `load`; latents: None is 16, but 32 for an mlp of grey images, and 4 channels for a
    resnet; hidden: None is 500 for an mlp, 256 channels for a resnet and the preset's width for a local model; blocks:
    residual blocks in each network of a resnet, None is 2; objective: one of `OBJECTIVES`, of phase rha, but wake-sleep
    is of phase vae; samples: where the z of model samples come from, `prior` or `aggregate`, the posteriors of training
    images; alpha: share of model samples (of wake-sleep in phase rha), or of noisy images in denoising, None is 0.5;
    sigma: of the noise in denoising, for pixels scaled to [0, 1], None is 0.1; both are None where the objective does
    not have them; keep_every: after so many epochs of phase vae a copy of
    the checkpoint is kept, 0 is never; part_size: most MiB in each part of a checkpoint, 0 is one file; average: decay
    a step of the averaged weights, 0 is off; decay: let the learning rates fall to nothing, which local models need;
    compile: use torch.compile; threads: None leaves torch's choice; evaluate_every: epochs, 0 is never.
    """

    architecture: str = "mlp"
    data: str = "mnist"
    data_dir: str = "data"
    binary: bool = False
    any_size: bool = False
    grey: bool = False
    latents: int | None = None
    hidden: int | None = None
    blocks: int | None = None
    objective: str = REVERSE_HALF_ASLEEP
    samples: str = "prior"
    alpha: float | None = None
    sigma: float | None = None
    epochs: int = 100
    encoder_epochs: int = 100
    lr: float = 3e-4
    encoder_lr: float = 3e-4
    batch: int = 100
    average: float = 0.999
    decay: bool = False
    compile: bool = False
    precision: str = "float32"
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    evaluate_every: int = 5
    keep_every: int = 0
    part_size: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        """Fill in what follows from the rest. Raises TrainingError for values that make no sense."""
        if self.architecture == "mlp":
            self.latents = self.latents or (16 if self.binary else 32)
            self.hidden = self.hidden or 500
        if self.architecture == "resnet":
            self.latents, self.hidden, self.blocks = self.latents or 4, self.hidden or 256, self.blocks or 2
        elif self.blocks is not None:
            raise TrainingError("--blocks is for --architecture resnet")
        if self.architecture == "local" and not self.decay:
            raise TrainingError("local models need --decay: their objective warms up with the schedule")
        self._complete_objective()
        wrong = [
            name
            for name, right in {
                "architecture": self.architecture in TASKS,
                "latents": self.latents is None or self.latents >= 1,
                "hidden": self.hidden is None or self.hidden >= 1,
                "blocks": self.blocks is None or self.blocks >= 1,
                "samples": self.samples in SAMPLES and (self.architecture != "local" or self.samples == "prior"),
                "keep_every": self.keep_every >= 0,
                "part_size": self.part_size >= 0,
                "alpha": self.alpha is None or 0 <= self.alpha <= 1,
                "sigma": self.sigma is None or 0 <= self.sigma < math.inf,
                "epochs": self.epochs >= 0,
                "encoder_epochs": self.encoder_epochs >= 0,
                "lr": self.lr > 0,
                "encoder_lr": self.encoder_lr > 0,
                "batch": self.batch >= 1,
                "average": 0 <= self.average < 1,
                "precision": self.precision in DTYPES,
                "threads": self.threads is None or self.threads >= 1,
            }.items()
            if not right
        ]
        if wrong:
            raise TrainingError(f"{option(wrong[0])} cannot be {getattr(self, wrong[0])}")

    def _complete_objective(self) -> None:
        """Fill in the options that the objective has. Raises TrainingError for others."""
        if self.objective not in OBJECTIVES:
            raise TrainingError(f"--objective cannot be {self.objective}")
        if self.architecture == "local" and self.objective not in OF_LOCAL:
            raise TrainingError(f"--objective {self.objective} is for --architecture mlp and resnet")
        for name, (usual, objectives) in OBJECTIVE_OPTIONS.items():
            if self.objective not in objectives:
                if getattr(self, name) is not None:
                    raise TrainingError(f"{option(name)} is not for --objective {self.objective}")
            elif getattr(self, name) is None:
                setattr(self, name, usual)

    def objective_in(self, phase: str) -> str:
        """What is trained by in phase `vae` or `rha`: one of `OBJECTIVES`."""
        if phase == PHASE_VAE:
            return WAKE_SLEEP if self.objective == WAKE_SLEEP else ELBO
        return REVERSE_HALF_ASLEEP if self.objective == WAKE_SLEEP else self.objective

    def differences(self, other: TrainingConfig, among: tuple[str, ...]) -> list[str]:
        """Those of the fields that differ from another configuration's."""
        return [name for name in among if getattr(self, name) != getattr(other, name)]


def option(field: str) -> str:
    """The command line's name of a field."""
    return "--" + field.replace("_", "-")


def config_from_dict(values: dict[str, Any], source: Path) -> TrainingConfig:
    """The configuration stored in `source`. Raises ModelError if it is not one of this version."""
    try:
        return TrainingConfig(**values)
    except TypeError as error:
        raise ModelError(f"{source}: made by another version of bbc") from error


def stored_config(run: Path) -> TrainingConfig:
    """The configuration of a run: a directory or a checkpoint in it. Raises ModelError, TrainingError."""
    path = checkpoint_in(run)
    return config_from_dict(load_checkpoint(path)["config"], path)


def checkpoint_in(path: Path) -> Path:
    """The checkpoint meant by a file or the directory of a run. Raises ModelError."""
    found = next((path / name for name in CHECKPOINTS if (path / name).exists()), None) if path.is_dir() else path
    if found is not None and found.name != EXPORTED:
        return found
    if (path / EXPORTED).exists() or path.name == EXPORTED:
        raise ModelError(
            f"{path}: an exported model, whose networks are of integers, not those that were trained: give the "
            "directory of its training run, which holds training.pt, or measure the model with bbc bench"
        )
    raise ModelError(f"{path}: holds no training checkpoint")


def train(
    config: TrainingConfig,
    out_dir: str | Path,
    resume: bool = False,
    from_checkpoint: str | Path | None = None,
    quiet: bool = False,
    save_seconds: float = SAVE_SECONDS,
    export: bool = True,
) -> dict[str, Any]:
    """Train a model into out_dir and return its evaluation figures (bits per dimension, seconds).

    Phase `vae` trains the decoder and the baseline encoder by the ELBO, or by wake-sleep (paper Eqs. 12 and 13); phase
    `rha` freezes the averaged decoder and trains a copy of the averaged baseline encoder by the run's objective,
    unless another is given reverse half-asleep (Eq. 17). Then both encoders are evaluated on the held-out images,
    training.pt is written, and the run exported, unless `export` is false.

    resume: go on from out_dir's last checkpoint, with the same result as if it had not stopped; a finished
        run is only exported again, and refused with other numbers of epochs.
    from_checkpoint: skip phase `vae`, taking the decoder and the baseline encoder from another run.
    save_seconds: least time between two checkpoints within a phase.
    Under torchrun all its processes train the one model (see `distributed`) and return the same figures.
    Raises BBCError. On KeyboardInterrupt the last checkpoint stays.
    """
    out = Path(out_dir)
    with joined(config.device) as share:
        earlier = None if from_checkpoint is None else Path(from_checkpoint)
        metrics = _train(config, out, resume, earlier, quiet or not share.first, save_seconds, share)
    if share.first and export:
        _export(out, config.data_dir)
    return metrics


def _train(
    config: TrainingConfig,
    out: Path,
    resume: bool,
    from_checkpoint: Path | None,
    quiet: bool,
    save_seconds: float,
    share: Share,
) -> dict[str, Any]:
    """What `train` does before the export."""
    final, checkpoint = out / "training.pt", out / "checkpoint.pt"
    if resume and from_checkpoint is not None:
        raise TrainingError("--from and --resume exclude each other (a run begun with --from is resumed without)")
    if from_checkpoint is not None and config.objective == WAKE_SLEEP:
        raise TrainingError(f"--objective {WAKE_SLEEP} trains a decoder: it does not go with --from, which freezes one")
    if not resume and (final.exists() or checkpoint.exists()):
        raise OutputExistsError(f"{out}: holds a run already; go on with --resume or choose another --out")
    if resume and final.exists():
        state = load_checkpoint(final)
        stored = config_from_dict(state["config"], final)
        _refuse_contradictions(config, stored, final)
        if different := config.differences(stored, ("epochs", "encoder_epochs")):
            raise TrainingError(
                f"{option(different[0])}: {out} is a finished run (--epochs {stored.epochs}, --encoder-epochs "
                f"{stored.encoder_epochs}); begin a new one, of an encoder alone with --from {out}"
            )
        if share.first:  # may be left by an interruption
            remove_checkpoint(checkpoint)
        return dict(state["metrics"])
    if resume and not checkpoint.exists():
        raise TrainingError(f"{out}: nothing to resume")
    _prepare_torch(config)
    saved = load_checkpoint(checkpoint, config.device) if resume else None
    if saved is not None:
        _refuse_contradictions(config, config_from_dict(saved["config"], checkpoint), checkpoint)
    if not share.first:  # the first process downloads what is missing; and it writes nothing before all have read
        wait()
    data = load(config.data, config.data_dir, config.binary, quiet, config.any_size, config.grey)
    if share.first:
        wait()
        out.mkdir(parents=True, exist_ok=True)
    with reporting(quiet) as reporter:
        run = _Run(config, out, data, reporter, save_seconds, share)
        if saved is not None:
            run.restore(saved)
        elif from_checkpoint is not None:
            run.take_from(from_checkpoint)
        metrics = run.finish()
    if share.first:
        remove_checkpoint(checkpoint)
    return metrics


def load_trained(out_dir: str | Path) -> tuple[Any, Any, TrainingConfig, dict[str, Any]]:
    """A finished run: the model with the baseline encoder, that with the rha encoder, options and figures.

    Both models have the same decoder, float32 on the CPU. Raises ModelError.
    """
    path = Path(out_dir) / "training.pt"
    state = load_checkpoint(path)
    config = config_from_dict(state["config"], path)
    models = []
    for encoder in ("baseline", "rha"):
        model = _build(config, state["shape"])
        model.generative.load_state_dict(state["decoder"])
        model.encoder.load_state_dict(state[encoder])
        models.append(model.eval().requires_grad_(False))
    return models[0], models[1], config, dict(state["metrics"])


def state_of(config: TrainingConfig, source: str, shape: Any, seconds: dict[str, float]) -> dict[str, Any]:
    """What every checkpoint of a run says. source: the checkpoint that its decoder is from, or nothing."""
    return {"format": FORMAT, "config": asdict(config), "source": source, "shape": shape, "seconds": seconds}


def save_finished(
    out: Path,
    config: TrainingConfig,
    source: str,
    shape: Any,
    networks: dict[str, dict[str, Tensor]],
    metrics: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    """Write metrics.json and training.pt of a finished run. networks: the weights of `decoder`, `baseline`, `rha`."""
    save_json(metrics, out / "metrics.json")
    state = {**state_of(config, source, shape, seconds), **networks, "metrics": metrics}
    save_checkpoint(state, out / "training.pt", config.part_size)


class _Run:
    """A run in the making: its models, log and clock."""

    def __init__(
        self,
        config: TrainingConfig,
        out: Path,
        data: Dataset,
        reporter: Reporter,
        save_seconds: float,
        share: Share = ALONE,
    ) -> None:
        self.share = share
        self.config = config
        self.out = out
        self.reporter = reporter
        self.save_seconds = save_seconds
        self.device = torch.device(config.device)
        self.test_images = len(data.test)
        self.task: Task = TASKS[config.architecture](config, data, share)
        self.shape = self.task.shape
        self.baseline = self.task.build()
        self.rha = self.task.build()
        self.phase = PHASE_VAE
        self.saved_trainer: dict[str, Any] | None = None
        self.seconds = {PHASE_VAE: 0.0, PHASE_RHA: 0.0}
        self.log_lines = 0
        self.source = ""
        self.last_save = time.monotonic()

    def restore(self, saved: dict[str, Any]) -> None:
        """Stand where a checkpoint was written."""
        if not _same_shape(saved["shape"], self.shape):
            raise TrainingError(f"{self.out}: the run was trained on images of another size")
        self.phase = saved["phase"]
        self.seconds = saved["seconds"]
        self.log_lines = saved["log_lines"]
        self.source = saved["source"]
        self.saved_trainer = saved["trainer"]
        if self.phase == PHASE_RHA:
            self.baseline.load_state_dict(saved["baseline"])

    def take_from(self, path: Path) -> None:
        """Start at phase rha with the decoder and the baseline encoder of an earlier run."""
        path = checkpoint_in(path)
        state = load_checkpoint(path, self.device)
        earlier = config_from_dict(state["config"], path)
        if different := self.config.differences(earlier, OF_DECODER):
            raise TrainingError(f"{option(different[0])} differs from that of {path}")
        if not _same_shape(state["shape"], self.shape):
            raise TrainingError(f"{path}: was trained on images of another size")
        if "decoder" in state:
            self.baseline.generative.load_state_dict(state["decoder"])
            self.baseline.encoder.load_state_dict(state["baseline"])
        elif state["phase"] == PHASE_RHA:
            self.baseline.load_state_dict(state["baseline"])
        else:  # a checkpoint within phase vae: the trainer's parameters are the model's, in order
            trainer = state["trainer"]
            copy_all(weights_of(self.baseline), trainer["averages"] or trainer["parameters"])
        self.source = str(path)
        self.phase = PHASE_RHA
        self.seconds[PHASE_VAE] = state["seconds"][PHASE_VAE]

    def finish(self) -> dict[str, Any]:
        """Run what is left of both phases, evaluate and write training.pt; returns the figures."""
        config = self.config
        log = None  # but in the first process, which alone writes
        if self.share.first:
            save_json(asdict(config), self.out / "config.json")
            log = Log(self.out / "train.jsonl", keep=self.log_lines)
        settings: dict[str, Any] = {
            "batch": config.batch,
            "average": config.average,
            "seed": config.seed,
            "unit": self.task.unit,
        }
        if self.phase == PHASE_VAE:
            trainer = self._trainer(
                PHASE_VAE, self.baseline, self.baseline, self.task.of_both(self.baseline),
                config.lr, config.epochs, settings,
            )  # fmt: skip
            self._train_phase(trainer, self.baseline, config.epochs, log)
            self.phase = PHASE_RHA
        self.rha.load_state_dict(self.baseline.state_dict())
        self.rha.generative.requires_grad_(False)
        trainer = self._trainer(
            PHASE_RHA, self.rha, self.rha.encoder, self.task.of_encoder(self.rha),
            config.encoder_lr, config.encoder_epochs, settings,
        )  # fmt: skip
        self._train_phase(trainer, self.rha, config.encoder_epochs, log)
        return from_first(self._conclude() if self.share.first else {})

    def _conclude(self) -> dict[str, Any]:
        """Evaluate both encoders and write training.pt; returns the figures."""
        metrics = self._evaluate()
        networks = {
            "decoder": self.baseline.generative.state_dict(),
            "baseline": self.baseline.encoder.state_dict(),
            "rha": self.rha.encoder.state_dict(),
        }
        save_finished(self.out, self.config, self.source, self.shape, networks, metrics, self.seconds)
        return metrics

    def _trainer(
        self,
        phase: str,
        model: Any,
        trained: Any,
        objective: Objective,
        lr: float,
        epochs: int,
        settings: dict[str, Any],
    ) -> Trainer:
        """trained: that part of the model whose parameters are not frozen."""
        loss, before_step = objective
        return Trainer(
            trained.parameters(), parallel(loss, model), self.task.data, phase=phase, lr=lr, before_step=before_step,
            decay_epochs=epochs if self.config.decay else 0, buffers=buffers_of(trained), **settings,
        )  # fmt: skip

    def _train_phase(self, trainer: Trainer, model: Any, epochs: int, log: Log | None) -> None:
        """Bring the trainer to `epochs` epochs; the model is left with its averaged weights."""
        if self.saved_trainer is not None:
            trainer.load_state_dict(self.saved_trainer)
            self.saved_trainer = None
        elif log is not None:  # from here on the run can be resumed
            self._save(trainer, log)
        self.reporter.begin(self._title(trainer.phase), epochs * trainer.steps_per_epoch, trainer.steps)
        while trainer.epoch < epochs:
            started = time.monotonic()
            train_loss = trainer.run_epoch(self.reporter)
            seconds = time.monotonic() - started
            self.seconds[trainer.phase] += seconds
            if log is not None:
                self._after_epoch(trainer, model, epochs, train_loss, seconds, log)
            wait()
        trainer.use_averages()

    def _after_epoch(
        self, trainer: Trainer, model: Any, epochs: int, train_loss: float, seconds: float, log: Log
    ) -> None:
        """Evaluate, tell and save what is due after the trainer's epoch."""
        objective = self.config.objective_in(trainer.phase)
        # other losses are no negative ELBO
        figures = {"train_loss" if objective in (SLEEP, WAKE_SLEEP) else "train_bpd": train_loss}
        every = self.config.evaluate_every
        if every and (trainer.epoch % every == 0 or trainer.epoch == epochs):
            figures |= self._test_figures(model)
            if trainer.averages:
                with trainer.averaged():
                    figures |= {f"{name}_averaged": value for name, value in self._test_figures(model).items()}
        log.append(
            phase=trainer.phase,
            objective=objective,
            epoch=trainer.epoch,
            **figures,
            seconds=round(seconds, 3),
            learning_rate=trainer.lr,
        )
        text = "  ".join(f"{name} {value:.5f}" for name, value in figures.items())
        self.reporter.line(f"{self._title(trainer.phase)} {trainer.epoch}/{epochs}  {text}  {seconds:.1f} s")
        kept = self._kept(trainer)
        if kept:  # first: a run that is killed here does the epoch, and the copy, again
            self._save(trainer, log, kept)
        if kept or trainer.epoch == epochs or time.monotonic() - self.last_save >= self.save_seconds:
            self._save(trainer, log)

    def _title(self, phase: str) -> str:
        """A phase, as it is shown: by its name if its objective is the usual one, else by the objective's."""
        objective = self.config.objective_in(phase)
        usual = {PHASE_VAE: ELBO, PHASE_RHA: REVERSE_HALF_ASLEEP}
        return phase if objective == usual[phase] else objective

    def _kept(self, trainer: Trainer) -> str:
        """The name of the copy to keep of the checkpoint after this epoch, if any."""
        every = self.config.keep_every
        keep = every and trainer.phase == PHASE_VAE and trainer.epoch % every == 0
        return f"epoch-{trainer.epoch:04}.pt" if keep else ""

    def _save(self, trainer: Trainer, log: Log, name: str = "checkpoint.pt") -> None:
        state = {
            **state_of(self.config, self.source, self.shape, self.seconds),
            "phase": trainer.phase,
            "trainer": trainer.state_dict(),
            "log_lines": log.lines,
        }
        if trainer.phase == PHASE_RHA:
            state["baseline"] = self.baseline.state_dict()
        save_checkpoint(state, self.out / name, self.config.part_size)
        self.last_save = time.monotonic()

    def _test_figures(self, model: Any) -> dict[str, float]:
        figures = self.task.figures(model, 1, seeded_generator(self.device, "test"))
        return {f"test_{name}": value for name, value in figures.items()}

    def _evaluate(self) -> dict[str, Any]:
        """The held-out figures of both encoders, with the same noise."""
        metrics: dict[str, Any] = {"test_images": self.test_images, "test_samples": FINAL_SAMPLES}
        for name, model in (("baseline", self.baseline), ("rha", self.rha)):
            generator = seeded_generator(self.device, "final")
            figures = self.task.figures(model, FINAL_SAMPLES, generator)
            metrics |= {f"{name}_test_{figure}": value for figure, value in figures.items()}
            bpd = figures["bpd"]
            title = self._title(PHASE_RHA) if name == "rha" else name
            self.reporter.line(f"{title} encoder: negative ELBO {bpd:.5f} bits per dimension on held-out images")
        metrics["seconds"] = {phase: round(seconds, 1) for phase, seconds in self.seconds.items()}
        return metrics


def _build(config: TrainingConfig, shape: Any) -> Any:
    if config.architecture == "mlp":
        return build_mlp(config, shape)
    return (build_local if config.architecture == "local" else build_resnet)(shape, config.seed)


def _same_shape(stored: Any, shape: Any) -> bool:
    """Whether two shapes are the same, lists and tuples alike."""
    return bool(json.dumps(stored) == json.dumps(shape))


def _refuse_contradictions(config: TrainingConfig, stored: TrainingConfig, path: Path) -> None:
    fixed = tuple(f.name for f in fields(TrainingConfig) if f.name not in MAY_CHANGE)
    if different := config.differences(stored, fixed):
        was = getattr(stored, different[0])
        raise TrainingError(f"{option(different[0])} contradicts {path}, which was begun with {was}")


def refuse_device(device: str) -> None:
    """Raises TrainingError for a device that torch cannot use here."""
    try:
        torch.empty(1, device=torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error


def _prepare_torch(config: TrainingConfig) -> None:
    refuse_device(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.backends.cudnn.benchmark = True  # batches are all of one size


def _export(out: Path, data_dir: str) -> None:
    """Turn the finished run into an exact model."""
    from bbcompress.training.export.export import export_run  # which imports this module

    export_run(out, data_dir)


def configure(
    given: dict[str, Any], out_dir: Path | None, resume: bool, from_checkpoint: Path | None
) -> tuple[TrainingConfig, Path]:
    """The configuration and directory of a run, from the options that were given explicitly.

    With resume or from_checkpoint the options not given are those of the earlier run. Without `data` the run is on
    binary MNIST, of a resnet on CIFAR-10. Raises BBCError, TrainingError among others for options that do not go
    together.
    """
    values: dict[str, Any] = {}
    if resume and (out_dir is not None or "name" in given):
        out_dir = out_dir or Path("runs") / given["name"]
        values = asdict(stored_config(out_dir))
        if given.get("objective", values["objective"]) != values["objective"]:  # the contradiction is refused later
            values |= dict.fromkeys(OBJECTIVE_OPTIONS)
    elif from_checkpoint is not None:
        earlier = asdict(stored_config(from_checkpoint))
        values = {name: earlier[name] for name in (*OF_DECODER, "data_dir", "epochs", "lr", "seed")}
    elif "data" not in given and given.get("architecture") != "resnet":
        values = {"binary": True}
    values = {**DEFAULTS.get({**values, **given}.get("architecture", "mlp"), {}), **values}
    values.update(given)
    config = TrainingConfig(**values)
    if "samples" in given and config.objective in WITHOUT_SAMPLES:
        raise TrainingError(f"--samples is not for --objective {config.objective}, which draws none from the model")
    if not config.name:
        config.name = usual_name(config, from_checkpoint is not None)
    out = out_dir or Path("runs") / config.name
    if resume and out_dir is None:
        return configure(given, out, resume, None)
    return config, out


def usual_name(config: TrainingConfig, only_encoder: bool) -> str:
    """The name of a model that is given none. only_encoder: it has the decoder of another run."""
    data = config.data if config.data in ("mnist", "cifar10") else Path(config.data).resolve().name
    parts = {
        f"-{config.architecture}": config.architecture != "mlp",
        "-binary": config.binary,
        "-rha": only_encoder and config.objective == REVERSE_HALF_ASLEEP,
        f"-{config.objective}": config.objective != REVERSE_HALF_ASLEEP,
    }
    return data + "".join(part for part, wanted in parts.items() if wanted)
