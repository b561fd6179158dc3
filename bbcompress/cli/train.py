"""bbc train and bbc evaluate."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbcompress.cli.group import main
from bbcompress.cli.messages import say, tell
from bbcompress.cli.options import (
    NamedPath,
    complete_model,
    complete_path,
    device_option,
    force_option,
    not_empty,
    quiet_option,
)
from bbcompress.cli.progress import set_up_notices
from bbcompress.cli.report import report_at_end, told_where_it_fails
from bbcompress.errors import NEEDS_TORCH, BBCError
from bbcompress.system.signals import Terminated
from bbcompress.system.storage import place_of
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.clock import Clock

if TYPE_CHECKING:
    from bbcompress.training.datasets import Dataset
    from bbcompress.training.folder import Folder

WORTH_SECONDS = 10.0
"""What it takes to say what a model is worth, after a run of a minute; after longer ones more images are looked at."""


@main.command()
@click.argument(
    "directory", metavar="[DIR]", required=False, shell_complete=complete_path, callback=not_empty,
)  # fmt: skip
@click.option(
    "--architecture", type=click.Choice(list(ARCHITECTURES)), help="Of the model. [default: mlp; of DIR: local]"
)
@click.option(
    "--data",
    metavar="mnist|cifar10|DIR",
    help="Data set, directory of images, or archive of bbc. [default: binary MNIST; resnet: cifar10]",
)
@click.option("--any-size", is_flag=True, help="The directory's images may differ in size (local models).")
@click.option("--grey", is_flag=True, help="Make the directory's colour images grey.")
@click.option("--binary", is_flag=True, help="Train on binary pixels: grey > 127.")
@click.option(
    "--leave-out",
    is_flag=True,
    help="Leave out the directory's images that cannot be used, and name them, as bbc train DIR does.",
)
@click.option("--data-dir", metavar="DIR", help="Where data sets lie or are downloaded to. [default: data]")
@click.option("-o", "--out", type=NamedPath(), help="Directory of the run. [default: runs/NAME]")
@click.option("--name", help="Name of the model. [default: from the data set]")
@click.option(
    "--objective",
    metavar="NAME",
    type=click.Choice(["elbo", "sleep", "reverse-sleep", "reverse-half-asleep", "denoising", "wake-sleep"]),
    help="Of phase 2, the decoder frozen: elbo, sleep, reverse-sleep, reverse-half-asleep or denoising. Or wake-sleep, "
    "in place of the ELBO in phase 1, with reverse-half-asleep in phase 2. [default: reverse-half-asleep]",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1),
    help="Share of model samples in reverse-half-asleep, of noisy images in denoising. [default: 0.5]",
)
@click.option("--sigma", type=click.FloatRange(0), help="Of the noise in denoising; pixels have [0, 1]. [default: 0.1]")
@click.option(
    "--samples",
    type=click.Choice(["prior", "aggregate"]),
    help="Where the z of model samples come from: the prior, or the posteriors of training images. "
    "[default: prior; resnet: aggregate]",
)
@click.option(
    "--minutes",
    metavar="M",
    type=click.FloatRange(0, min_open=True),
    help="Let the run take so many minutes, in place of epochs: with reading, evaluation and export. How many steps it "
    "makes then depends on the machine. [default of bbc train DIR: 30]",
)
@click.option("--epochs", type=click.IntRange(1), help="Epochs of phase 1. [default: 100; resnet: 500]")
@click.option("--encoder-epochs", type=click.IntRange(0), help="Epochs of phase 2, 0: none. [default: 100]")
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True), help="Of phase 1. [default: 3e-4; resnet: 5e-4; local: 2e-3]"
)
@click.option(
    "--encoder-lr",
    type=click.FloatRange(0, min_open=True),
    help="Of phase 2. [default: 3e-4; resnet: 1e-5; local: 5e-4]",
)
@click.option("--batch", type=click.IntRange(1), help="Images a step. [default: 100]")
@click.option(
    "--latents",
    type=click.IntRange(1),
    help="Latent variables, of a resnet their channels. [default: 16; grey mlp: 32; resnet: 4]",
)
@click.option(
    "--hidden",
    type=click.IntRange(1),
    help="Width of hidden layers. [default: 500; resnet: 256; local: its preset's]",
)
@click.option("--blocks", type=click.IntRange(1), help="Residual blocks in each network of a resnet. [default: 2]")
@click.option(
    "--norm",
    type=click.Choice(["clamped", "batch"]),
    help="Of a resnet: batch norm alone, or with ReLUs behind it that end at 8, so that no single image makes its "
    "activations explode. [default: clamped]",
)
@click.option(
    "--fast",
    is_flag=True,
    default=None,
    help="Of a local model for images of any size: a network of a third of the products or less, as "
    "photo-fast has, for the lowest efforts.",
)
@click.option(
    "--average",
    type=click.FloatRange(0, 1, max_open=True),
    help="Decay a step of the averaged weights, 0: none. [default: 0.999]",
)
@click.option("--decay", is_flag=True, help="Let the learning rates fall to nothing, as always in local models.")
@click.option("--compile", is_flag=True, help="Use torch.compile, for resnet and local; needs a C++ compiler.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), help="Of matrix products. [default: float32]")
@click.option("--seed", type=int, help="Seed of all randomness. [default: 0]")
@click.option("--device", help="cpu or cuda. [default: cpu]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: torch's choice]")
@click.option(
    "--keep-every",
    type=click.IntRange(0),
    help="Keep a copy of the checkpoint after so many epochs of the VAE, 0: none. [default: 0; resnet: 100]",
)
@click.option(
    "--part-size",
    metavar="MIB",
    type=click.IntRange(1),
    help="Write checkpoints in parts of at most so many MiB. [default: in one file]",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run, with the options it was begun with.")
@click.option(
    "--from",
    "from_checkpoint",
    metavar="CHECKPOINT",
    type=click.Path(exists=True, path_type=Path),
    help="Phase 2 alone, for the decoder of another run (its directory or checkpoint).",
)
@click.option(
    "--init",
    metavar="MODEL",
    shell_complete=complete_model,
    callback=not_empty,
    help="Begin with the numbers of an installed model or a model's folder, not with random ones (none); its "
    "sizes and kind are those of the run. The learning rate is lower then. [default of DIR: the installed model that "
    "fits]",
)
@click.option("--licence", metavar="TEXT", help="What the model's card says of its licence. [default: not stated]")
@click.option(
    "--report/--no-report", default=True, help="Write the page of the run, report.html, at its end. [default: write]"
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def train(
    directory: str | None,
    out: Path | None,
    resume: bool,
    from_checkpoint: Path | None,
    report: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a VAE, and a second encoder for its decoder.

    `bbc train DIR` trains a model on the images of a directory and those below it: what is not given is chosen by what
    they are, images that cannot be used are named and left out, every 10th is held out, and the run takes half an hour
    (--minutes). It begins with an installed model of such images where there is one. At the end it says what an archive
    of held-out images takes with the new model, without it and by other formats.

    DIR may be a file of bbc, a sharded archive, or the URL of one: its images are decoded once, and no file of an image
    is written.

    Phase 1 trains decoder and encoder by the ELBO; phase 2 goes on with a copy of the encoder by another objective, the
    decoder frozen.
    """
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    try:
        from bbcompress.training import run
        from bbcompress.training.data import RunData
        from bbcompress.training.distributed import is_first, leave
        from bbcompress.training.elastic import by_torchrun
        from bbcompress.training.export import export_run
        from bbcompress.training.finished import CHECKPOINTS
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BBCError(f"training {NEEDS_TORCH}") from error

    quiet = quiet or not is_first()  # of several processes one speaks
    set_up_notices(quiet)
    clock = Clock()
    if directory is not None:
        given = _with_directory(directory, given)
    if not resume and by_torchrun() and run.goes_on(place := _place_of_run(given, out, from_checkpoint)):
        resume, out, from_checkpoint = True, place, None
        if not quiet:
            tell(f"{out}: torchrun has started the processes anew; the run goes on from its last checkpoint")
    folder = None
    if directory is not None and not resume and from_checkpoint is None:
        given, folder = _chosen_for_directory(given, out, quiet)
    config, out = run.configure(given, out, resume, from_checkpoint)
    data = RunData(config, out, quiet, folder)
    try:
        run.train(config, out, resume, from_checkpoint, quiet, dataset=data, clock=clock)
        if is_first():
            export_run(out, config.data_dir, data)
            if report:
                report_at_end(out, data, quiet, config.minutes)
            if config.minutes is not None and not quiet and _is_directory(config.data):
                with told_where_it_fails("what the model is worth could not be measured"):
                    _tell_worth(out, Path(config.data), data(), clock)
    except (KeyboardInterrupt, Terminated):
        if any((out / name).exists() for name in CHECKPOINTS):  # a finished run may lack its export
            tell(f"go on with: {shlex.join(['bbc', 'train', '--resume', '-o', str(out)])}")
        elif out.exists():
            tell(f"{out}: the run has no checkpoint yet; the same command begins it anew")
        raise
    leave()


def _with_directory(directory: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options of `bbc train DIR` with the directory and a name."""
    from bbcompress.training.sources import is_archive

    if "data" in given:
        raise click.UsageError(f"--data {given['data']} and {directory} are both the data")
    data = place_of(directory)
    name = data.stem if is_archive(data) else (data.resolve() if isinstance(data, Path) else data).name
    return {"data": directory, "name": name or "images", **given}


def _place_of_run(given: dict[str, Any], out: Path | None, from_checkpoint: Path | None) -> Path:
    """The directory of a run that is begun with these options."""
    from bbcompress.training import run

    if out is not None:
        return out
    return Path("runs") / given["name"] if "name" in given else run.configure(given, None, False, from_checkpoint)[1]


def _chosen_for_directory(given: dict[str, Any], out: Path | None, quiet: bool) -> tuple[dict[str, Any], Folder | None]:
    """The options of a new run by `bbc train DIR`, and the directory's images where these have been read to choose
    them."""
    from bbcompress.training import automatic
    from bbcompress.training.folder import Folder
    from bbcompress.training.run import refuse_run

    data = place_of(given["data"])
    refuse_run(out or Path("runs") / given["name"])
    if not automatic.is_automatic(given):
        return {"leave_out": True, **given}, None
    place = Path.cwd() if out is None else out
    while not place.is_dir() and place != place.parent:
        place = place.parent
    folder = Folder(data, bool(given.get("grey")), True, place, None if quiet else tell)
    given = automatic.choose_options(folder, given)
    if not quiet:
        tell(automatic.describe(data, given, len(folder.images)))
    return given, folder


def _is_directory(data: str) -> bool:
    """Whether the data are the files of a directory of this machine."""
    from bbcompress.training.sources import is_archive

    place = place_of(data)
    return isinstance(place, Path) and place.is_dir() and not is_archive(place)


def _tell_worth(out: Path, folder: Path, data: Dataset, clock: Clock) -> None:
    """Say what a finished model is worth, and write that into its directory.

    Args:
        clock: that of the run; no more is measured than half of what is left of it allows, as the processor may be
            slow.
    """
    from bbcompress.bench.worth import measure_worth
    from bbcompress.system.output import write_file
    from bbcompress.training.runs import WORTH

    seconds = min(WORTH_SECONDS * max(clock.seconds / 60, 1) ** 0.5, clock.left / 2)
    worth = measure_worth(out, data, folder, seconds)
    for line in worth.lines(folder, out):
        say(line, err=True)
    write_file(out / WORTH, (json.dumps(worth.as_dict(), indent=2) + "\n").encode(), True)


@main.command()
@click.argument("run", metavar="RUN", type=NamedPath())
@click.option("--data", metavar="mnist|cifar10|DIR", help="Data set, or directory of images. [default: the run's]")
@click.option("--data-dir", metavar="DIR", help="Where data sets lie or are downloaded to. [default: the run's]")
@click.option("--images", type=click.IntRange(1), help="Only the first N training and N test images. [default: all]")
@click.option("--samples", type=click.IntRange(1), help="Draws of z an image. [default: 4; of training images 1]")
@click.option("--optimal", metavar="EPOCHS", type=click.IntRange(0), default=0,
              help="Train an encoder on the test images themselves: gives the amortised inference gap.")  # fmt: skip
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Of --optimal. [default: 5e-4; resnet: 1e-5]")
@click.option("--batch", type=click.IntRange(1), help="Images a step of --optimal. [default: the run's]")
@click.option("--importance", metavar="N", type=click.IntRange(0), default=0,
              help="IWAE bound of N draws on the test images, tighter than the ELBO.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness.")
@device_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: torch's choice]")
@click.option("--json", "json_file", metavar="FILE", type=NamedPath(), help="Write all figures as JSON.")
@force_option
@quiet_option
def evaluate(run: Path, json_file: Path | None, force: bool, quiet: bool, **options: Any) -> None:
    """Say what a trained VAE reaches on its training and test images, and where the difference comes from.

    RUN is the directory of a training run, or a checkpoint in it. The rates are those of the networks as trained,
    not of files.
    """
    from rich.console import Console

    from bbcompress.system.output import refuse_target, write_file

    try:
        from bbcompress.training.evaluation import EvaluationOptions, evaluate_run, table
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BBCError(f"evaluation {NEEDS_TORCH}") from error

    if json_file is not None:
        refuse_target(json_file, force)
    figures = evaluate_run(run, EvaluationOptions(**options), quiet)
    if json_file is not None:
        write_file(json_file, (json.dumps(figures, indent=2) + "\n").encode(), force)
    if not quiet:
        Console().print(table(figures))
