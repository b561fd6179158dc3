"""A training run: the VAE, then a second encoder for its decoder, evaluated and saved."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from bbcompress.errors import OutputExistsError, TrainingError
from bbcompress.training.architectures.base import PHASE_RHA, PHASE_VAE, Criterion, Task
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.checkpoints.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from bbcompress.training.checkpoints.log import Log, save_json
from bbcompress.training.clock import Clock
from bbcompress.training.config import (
    OBJECTIVE_OPTIONS,
    OF_DECODER,
    TrainingConfig,
    config_from_dict,
    option,
    usual_name,
    usual_options,
)
from bbcompress.training.datasets import Dataset, load
from bbcompress.training.distributed import ALONE, Share, from_first, joined, parallel, wait
from bbcompress.training.elastic import has_begun, note_begun
from bbcompress.training.finished import CHECKPOINTS, checkpoint_in, save_finished, state_of, stored_config
from bbcompress.training.objectives import ELBO, OBJECTIVES, REVERSE_HALF_ASLEEP
from bbcompress.training.origin import NO_MODEL, Origin, origin_of
from bbcompress.training.reporter import Reporter, reporting
from bbcompress.training.trainer import Trainer, buffers_of, copy_all, seeded_generator, weights_of

FINAL_SAMPLES = 4  # draws of z an image in the final evaluation
SAVE_SECONDS = 60.0
ENCODER_SHARE = 0.15
"""Of the time of a run that has one, phase rha takes this share of what both phases have."""
ENDING_SHARE, ENDING_LEAST, ENDING_MOST = 0.2, 40.0, 240.0
"""The share that is left for the end of the run, and least and most seconds of it."""
PREPARED_SHARE = 0.25
"""The share of phase rha that may go into its dreams."""
TRIED_SHARE = 0.3
"""After this share of its time phase rha ends where it has gained nothing."""
TEST_EVERY_SHARE, TEST_COST = 0.05, 9.0
"""Held-out images are looked at after such shares of a phase, and at most after so many times of what that takes."""
ENDING_ROWS, ENDING_LARGEST = 12_000, 0.75
"""What the end of a run takes, as the time in which so many tiles are trained on, and the largest share that it gets on
a slow machine."""
LEAST_TEST_ROWS, TEST_ROWS_A_MINUTE = 200, 100
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
    "licence",
)


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
    elif "data" not in given and "init" not in given and given.get("architecture") != "resnet":
        values = {"binary": True}
    if given.get("init") == NO_MODEL:
        given = {**given, "init": ""}
    init = {**values, **given}.get("init", "")
    if init and not values:
        values = origin_of(init).options
    values = {**usual_options({**values, **given}.get("architecture", "mlp"), init), **values, **given}
    config = TrainingConfig(**values)
    if "samples" in given and not OBJECTIVES[config.objective].dreams:
        raise TrainingError(f"--samples is not for --objective {config.objective}, which draws none from the model")
    if config.minutes is not None and "epochs" in given:
        raise TrainingError("--minutes and --epochs exclude each other: a run has a time, or a number of epochs")
    if config.minutes is not None and given.get("encoder_epochs"):
        raise TrainingError("--encoder-epochs can only be 0 with --minutes")
    if not config.name:
        config.name = usual_name(config, from_checkpoint is not None)
    out = out_dir or Path("runs") / config.name
    if resume and out_dir is None:
        return configure(given, out, resume, None)
    return config, out


def train(
    config: TrainingConfig,
    out_dir: str | Path,
    resume: bool = False,
    from_checkpoint: str | Path | None = None,
    quiet: bool = False,
    save_seconds: float = SAVE_SECONDS,
    dataset: Callable[[], Dataset] | None = None,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Train a model into out_dir and return its evaluation figures (bits per dimension, seconds).

    Phase `vae` trains the decoder and the baseline encoder by the ELBO, or by wake-sleep (paper Eqs. 12 and 13); phase
    `rha` freezes the averaged decoder and trains a copy of the averaged baseline encoder by the run's objective,
    unless another is given reverse half-asleep (Eq. 17). Then both encoders are evaluated on the held-out images,
    training.pt is written. `export_run` makes a model of a finished run.

    resume: go on from out_dir's last checkpoint, with the same result as if it had not stopped; of a
        finished run the figures are given again; it is refused with other numbers of epochs.
    Of a configuration with `init` phase `vae` begins with that model's numbers.
    from_checkpoint: skip phase `vae`, taking the decoder and the baseline encoder from another run.
    save_seconds: least time between two checkpoints within a phase.
    dataset: gives the configuration's data, if they are loaded elsewhere.
    clock: of the whole run, if that began before. It has the configuration's time then, and tells what is left of it
        for the end of the run.
    Under torchrun all its processes train the one model (see `distributed`) and return the same figures.
    Raises BBCError. On KeyboardInterrupt the last checkpoint stays.
    """
    clock, out = clock or Clock(), Path(out_dir)
    if config.minutes is not None:
        clock.seconds = 60 * config.minutes
    with joined(config.device) as share:
        earlier = None if from_checkpoint is None else Path(from_checkpoint)
        return _train(config, out, resume, earlier, quiet or not share.first, save_seconds, share, clock, dataset)


def _train(
    config: TrainingConfig,
    out: Path,
    resume: bool,
    from_checkpoint: Path | None,
    quiet: bool,
    save_seconds: float,
    share: Share,
    clock: Clock,
    dataset: Callable[[], Dataset] | None,
) -> dict[str, Any]:
    """What `train` does in each process."""
    final, checkpoint = out / "training.pt", out / "checkpoint.pt"
    if resume and from_checkpoint is not None:
        raise TrainingError("--from and --resume exclude each other (a run begun with --from is resumed without)")
    if from_checkpoint is not None and OBJECTIVES[config.objective].of_both:
        raise TrainingError(
            f"--objective {config.objective} trains a decoder: it does not go with --from, which freezes one"
        )
    if from_checkpoint is not None and config.init:
        raise TrainingError("--from and --init exclude each other: a decoder that is frozen learns nothing more")
    if config.minutes is not None and share.size > 1:
        raise TrainingError("--minutes is for one process: several would not end at the same step")
    if not resume:
        refuse_run(out)
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
    origin = origin_of(config.init) if config.init and not resume else None
    if not share.first:  # the first process downloads what is missing; and it writes nothing before all have read
        wait()
    data = dataset() if dataset is not None else load_for(config, out, quiet)
    if share.first:
        wait()
    with reporting(quiet) as reporter:
        run = _Run(config, out, data, reporter, save_seconds, clock, share)
        if saved is not None:
            run.restore(saved)
        elif from_checkpoint is not None:
            run.take_from(from_checkpoint)
        elif origin is not None:
            run.begin_with(origin)
        if share.first:
            note_begun(out)
            out.mkdir(parents=True, exist_ok=True)
        metrics = run.finish()
    if share.first:
        remove_checkpoint(checkpoint)
    return metrics


class _Run:
    """A run in the making: its models, log and clock."""

    def __init__(
        self,
        config: TrainingConfig,
        out: Path,
        data: Dataset,
        reporter: Reporter,
        save_seconds: float,
        clock: Clock,
        share: Share = ALONE,
    ) -> None:
        self.share = share
        self.clock = clock
        self.config = config
        self.out = out
        self.reporter = reporter
        self.save_seconds = save_seconds
        self.device = torch.device(config.device)
        self.test_images = len(data.test)
        self.task: Task = ARCHITECTURES[config.architecture].task(config, data, share)
        self.shape = self.task.shape
        if config.minutes is not None:
            self.task.look_at_fewer(max(LEAST_TEST_ROWS, round(TEST_ROWS_A_MINUTE * config.minutes)))
        self.baseline = self.task.build()
        self.rha = self.task.build()
        self.phase = PHASE_VAE
        self.saved_trainer: dict[str, Any] | None = None
        self.seconds = {PHASE_VAE: 0.0, PHASE_RHA: 0.0}
        self.log_lines = 0
        self.source = ""
        self.origin: dict[str, Any] | None = None
        self.plan: dict[str, float] = {}
        """Of a run that has a time: the seconds that are kept for its `ending`, and rows trained on in a second of the
        first phase (`pace`)."""
        self.next_test = 0.0
        self.last_save = time.monotonic()

    def restore(self, saved: dict[str, Any]) -> None:
        """Stand where a checkpoint was written."""
        if not _same_shape(saved["shape"], self.shape):
            raise TrainingError(f"{self.out}: the run was trained on images of another size")
        self.phase = saved["phase"]
        self.seconds = saved["seconds"]
        self.log_lines = saved["log_lines"]
        self.source = saved["source"]
        self.origin = saved.get("origin")
        self.plan = saved.get("plan", {})
        self.clock.count(saved.get("spent", 0.0))
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

    def begin_with(self, origin: Origin) -> None:
        """Start phase vae with the numbers of an exact model."""
        try:
            self.baseline = self.task.restore(origin.weights)
        except TrainingError as error:
            raise TrainingError(f"--init {origin.name}: {error}") from None
        self.origin = origin.facts

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
        if config.minutes is not None and not self.plan:
            self.plan = {"ending": _usual_ending(self.clock.seconds)}
        if self.phase == PHASE_VAE:
            trainer = self._trainer(
                PHASE_VAE, self.baseline, self.baseline, self.task.of_both(self.baseline),
                config.lr, config.epochs, settings,
            )  # fmt: skip
            self._train_phase(trainer, self.baseline, config.epochs, log)
            self.phase = PHASE_RHA
            if self.plan:
                self.plan["pace"] = trainer.steps * config.batch / max(self.seconds[PHASE_VAE], 1e-3)
        self.rha.load_state_dict(self.baseline.state_dict())
        self.rha.generative.requires_grad_(False)
        if self._affords_encoder():
            trainer = self._trainer(
                PHASE_RHA, self.rha, self.rha.encoder, self.task.of_encoder(self.rha),
                config.encoder_lr, config.encoder_epochs, settings,
            )  # fmt: skip
            self._train_phase(trainer, self.rha, config.encoder_epochs, log)
            self._keep_better_encoder()
        return from_first(self._conclude() if self.share.first else {})

    def _seconds_for(self, phase: str) -> float:
        """Seconds that a phase may still take in a run that has a time: what is left but for the end of the run, of
        which phase rha has its share."""
        left = max(self.clock.left - self.plan["ending"], 0.0)
        return left * (1 - ENCODER_SHARE) if phase == PHASE_VAE and self.config.encoder_epochs else left

    def _leave_time(self, clock: Clock, steps: int) -> None:
        """Make phase vae shorter where its first steps say that the end of the run will take long on this machine."""
        ending = min(ENDING_ROWS * clock.spent / (steps * self.config.batch), ENDING_LARGEST * self.clock.seconds)
        self.plan["ending"] = max(self.plan["ending"], ending)
        self._end_in_time(clock, PHASE_VAE)

    def _end_in_time(self, clock: Clock, phase: str) -> None:
        """Have a phase take no more than is left for it."""
        clock.seconds = min(clock.seconds, clock.spent + self._seconds_for(phase))

    def _affords_encoder(self) -> bool:
        """Whether there is time for phase rha, in a run that has a time."""
        if not self.plan:
            return True
        if not self.config.encoder_epochs:
            return False
        if "pace" in self.plan and not self.task.afford(
            PREPARED_SHARE * self._seconds_for(PHASE_RHA) * self.plan["pace"]
        ):
            self.reporter.line("there is no time for a second encoder: both are the same")
            return False
        return True

    def _keep_better_encoder(self) -> None:
        """In a run that has a time, the encoder of phase rha is that of phase vae where it is no better."""
        if self.plan and self._test_figures(self.rha)["test_bpd"] >= self._test_figures(self.baseline)["test_bpd"]:
            self.rha.load_state_dict(self.baseline.state_dict())
            self.reporter.line("the second encoder gained nothing on held-out images: both are the same")

    def _conclude(self) -> dict[str, Any]:
        """Evaluate both encoders and write training.pt; returns the figures."""
        metrics = self._evaluate()
        networks = {
            "decoder": self.baseline.generative.state_dict(),
            "baseline": self.baseline.encoder.state_dict(),
            "rha": self.rha.encoder.state_dict(),
        }
        save_finished(self.out, self.config, self.source, self.shape, networks, metrics, self.seconds, self.origin)
        return metrics

    def _trainer(
        self,
        phase: str,
        model: Any,
        trained: Any,
        criterion: Criterion,
        lr: float,
        epochs: int,
        settings: dict[str, Any],
    ) -> Trainer:
        """trained: that part of the model whose parameters are not frozen."""
        loss, before_step = criterion
        return Trainer(
            trained.parameters(), parallel(loss, model), self.task.data, phase=phase, lr=lr, before_step=before_step,
            decay_epochs=epochs if self.config.decay else 0, buffers=buffers_of(trained),
            clock=Clock(self._seconds_for(phase)) if self.plan else None, **settings,
        )  # fmt: skip

    def _train_phase(self, trainer: Trainer, model: Any, epochs: int, log: Log | None) -> None:
        """Bring the trainer to `epochs` epochs, or to the end of its time; the model is left with its averaged
        weights."""
        first = self._test_figures(model)["test_bpd"] if self.plan and trainer.phase == PHASE_RHA else math.inf
        if self.saved_trainer is not None:
            trainer.load_state_dict(self.saved_trainer)
            self.saved_trainer = None
            if trainer.clock is not None:
                self._end_in_time(trainer.clock, trainer.phase)
        elif log is not None:  # from here on the run can be resumed
            self._save(trainer, log)
        clock = trainer.clock
        if clock is None:
            self.reporter.begin(self._title(trainer.phase), epochs * trainer.steps_per_epoch, trainer.steps)
        else:
            self.reporter.begin(f"{self._title(trainer.phase)}, seconds", round(clock.seconds), round(clock.spent))
        self.next_test = 0.0
        while trainer.epoch < epochs if clock is None else clock.left or not trainer.steps:
            started = time.monotonic()
            train_loss = trainer.run_epoch(self.reporter)
            seconds = time.monotonic() - started
            self.seconds[trainer.phase] += seconds
            if clock is not None and trainer.epoch == 1 and trainer.phase == PHASE_VAE:
                self._leave_time(clock, trainer.steps)
            test = None
            if log is not None:
                test = self._after_epoch(trainer, model, epochs, train_loss, seconds, log)
            wait()
            if clock is not None and test is not None and clock.share > TRIED_SHARE and test >= first:
                break  # it gains nothing
        trainer.use_averages()

    def _after_epoch(
        self, trainer: Trainer, model: Any, epochs: int, train_loss: float, seconds: float, log: Log
    ) -> float | None:
        """Evaluate, tell and save what is due after the trainer's epoch; gives the figure of held-out images, where one
        was due."""
        objective = self.config.objective_in(trainer.phase)
        # other losses are no negative ELBO
        figures = {"train_bpd" if OBJECTIVES[objective].is_elbo else "train_loss": train_loss}
        every, clock = self.config.evaluate_every, trainer.clock
        if clock is None:
            due = bool(every) and (trainer.epoch % every == 0 or trainer.epoch == epochs)
            ends = trainer.epoch == epochs
        else:
            due = bool(every) and (clock.spent >= self.next_test or not clock.left)
            ends = not clock.left
        if due:
            began = time.monotonic()
            figures |= self._test_figures(model)
            if trainer.averages:
                with trainer.averaged():
                    figures |= {f"{name}_averaged": value for name, value in self._test_figures(model).items()}
            if clock is not None:
                cost = time.monotonic() - began
                self.next_test = clock.spent + max(TEST_EVERY_SHARE * clock.seconds, TEST_COST * cost)
        log.append(
            phase=trainer.phase,
            objective=objective,
            epoch=trainer.epoch,
            **figures,
            seconds=round(seconds, 3),
            learning_rate=trainer.lr,
        )
        text = "  ".join(f"{name} {value:.5f}" for name, value in figures.items())
        if clock is None:
            steps = epochs * trainer.steps_per_epoch - trainer.steps
            left = steps * seconds / max(1, trainer.steps_per_epoch)
            place = f"{trainer.epoch}/{epochs}"
        else:
            left, place = clock.left, f"step {trainer.steps}"
        test = figures.get("test_bpd_averaged", figures.get("test_bpd"))
        if test is not None:
            self.reporter.tested(test)
        if clock is None or due:
            self.reporter.line(f"{self._title(trainer.phase)} {place}  {text}  {seconds:.1f} s, {_minutes(left)} left")
        kept = self._kept(trainer)
        if kept:  # first: a run that is killed here does the epoch, and the copy, again
            self._save(trainer, log, kept)
        if kept or ends or time.monotonic() - self.last_save >= self.save_seconds:
            self._save(trainer, log)
        return test

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
            **state_of(self.config, self.source, self.shape, self.seconds, self.origin),
            "phase": trainer.phase,
            "trainer": trainer.state_dict(),
            "log_lines": log.lines,
            **({"plan": self.plan, "spent": self.clock.spent} if self.plan else {}),
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
        samples = 1 if self.plan else FINAL_SAMPLES
        metrics: dict[str, Any] = {"test_images": self.test_images, "test_samples": samples}
        for name, model in (("baseline", self.baseline), ("rha", self.rha)):
            generator = seeded_generator(self.device, "final")
            figures = self.task.figures(model, samples, generator)
            metrics |= {f"{name}_test_{figure}": value for figure, value in figures.items()}
            bpd = figures["bpd"]
            title = self._title(PHASE_RHA) if name == "rha" else name
            self.reporter.line(f"{title} encoder: negative ELBO {bpd:.5f} bits per dimension on held-out images")
        metrics["seconds"] = {phase: round(seconds, 1) for phase, seconds in self.seconds.items()}
        return metrics


def _usual_ending(seconds: float) -> float:
    """Seconds that are kept for the end of a run that may take so many."""
    return min(max(ENDING_SHARE * seconds, min(ENDING_LEAST, seconds / 2)), ENDING_MOST)


def _minutes(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def load_for(config: TrainingConfig, out: Path, quiet: bool) -> Dataset:
    """The data of a configuration; the pixels of a directory's images lie on the disk of the run's directory.

    Raises:
        DataError: the data cannot be found, read or used.
    """
    place = out
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return load(
        config.data, config.data_dir, config.binary, quiet, config.any_size, config.grey, config.leave_out, place
    )


def _same_shape(stored: Any, shape: Any) -> bool:
    """Whether two shapes are the same, lists and tuples alike."""
    return bool(json.dumps(stored) == json.dumps(shape))


def _refuse_contradictions(config: TrainingConfig, stored: TrainingConfig, path: Path) -> None:
    fixed = tuple(f.name for f in fields(TrainingConfig) if f.name not in MAY_CHANGE)
    if different := config.differences(stored, fixed):
        was = getattr(stored, different[0])
        raise TrainingError(f"{option(different[0])} contradicts {path}, which was begun with {was}")


def refuse_run(out: Path) -> None:
    """Raises OutputExistsError for a directory that holds a run."""
    if _holds_run(out):
        raise OutputExistsError(f"{out}: holds a run already; go on with --resume or choose another --out")


def goes_on(out: Path) -> bool:
    """Whether `out` holds what an earlier start of this command by torchrun has left of the run: then it is to be
    resumed (see `elastic`). Raises TrainingError."""
    return _holds_run(out) and has_begun(out)


def _holds_run(out: Path) -> bool:
    return any((out / name).exists() for name in CHECKPOINTS)


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
