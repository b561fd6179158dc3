"""Options that several commands have, and how a shell completes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from bbcompress.errors import BBCError
from bbcompress.limits import DEFAULT_STEPS, ENCODERS, MAX_PIXELS, MAX_STEPS, READER_STEPS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bbcompress.pipeline.compressor import Compressor
    from bbcompress.pipeline.loader import ImageLoader


def complete_path(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell completes names of files itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of installed models, else folders."""
    from click.shell_completion import CompletionItem

    from bbcompress.cli.progress import set_up_notices
    from bbcompress.models.zoo import Zoo

    set_up_notices(quiet=True)
    try:
        names = sorted({entry.name for entry in Zoo(None).entries if entry.name.startswith(incomplete)})
    except BBCError:  # of a damaged card; no place to say so
        names = []
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="dir")]


def not_empty(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A path or paths as given. An empty one, as of a variable that was never set, would mean the current folder."""
    if value is not None and "" in (value if isinstance(value, tuple) else (value,)):
        raise click.BadParameter("the path is empty", context, parameter)
    return value


def path_argument(name: str, metavar: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An argument of files, which are looked at in the command: errors are to be ours."""
    return click.argument(name, metavar=metavar, shell_complete=complete_path, callback=not_empty, **settings)


def output_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Which file or folder to write."""
    return click.option("-o", "--output", metavar="OUT", shell_complete=complete_path, callback=not_empty, help=text)


def model_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which models there are to be."""
    text = "A model's folder, a folder of models, or the name of an installed model."
    option = click.option(
        "-m", "--model", metavar="MODEL", shell_complete=complete_model, callback=not_empty, help=text
    )
    return option(command)


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where networks run."""
    return click.option("--device", default="cpu", show_default=True, help="cpu, or cuda with PyTorch.")(command)


force_option = click.option("-f", "--force", is_flag=True, help="Overwrite what exists.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")


jobs_option = click.option("-j", "--jobs", metavar="N", type=click.IntRange(1),
                            help="Processes that share an archive's groups. [default: processors, to 8]")  # fmt: skip
max_pixels_option = click.option("--max-pixels", metavar="N", type=click.IntRange(1), default=MAX_PIXELS,
                                  show_default=True, help="Refuse images of more pixels.")  # fmt: skip
max_steps_option = click.option("--max-steps", metavar="N", type=click.IntRange(0), default=READER_STEPS,
                                 show_default=True,
                                 help="Refuse images of more refinement steps, which take time.")  # fmt: skip
only_option = click.option("--only", metavar="PATTERN", multiple=True,
                            help="Only images whose name or path fits, such as 'a*.png'; may be repeated.")  # fmt: skip

skip_option = click.option("--skip-unreadable/--no-skip-unreadable", "skip", default=None,
                           help="Leave out files that cannot be read, name each, and exit with 1; or write nothing "
                           "where there is one. [default: leave out those met in folders]")  # fmt: skip

_CODING_OPTIONS = (
    model_option,
    click.option("-K", "--steps", type=click.IntRange(0, MAX_STEPS), default=DEFAULT_STEPS, show_default=True,
                 help="Refinement steps of the posterior: smaller and slower."),
    click.option("--encoder", type=click.Choice(ENCODERS), default=ENCODERS[0], show_default=True,
                 help="Which of a model's encoders."),
    click.option("--lr", "learning_rate", type=click.FloatRange(1e-6, 1),
                 help="Learning rate of the K steps. [default: the model's own]"),
    click.option("--learn/--no-learn", default=None,
                 help="Let models learn from the images as they go; decoding takes longer. [default: where that is "
                 "smaller]"),
    click.option("--binary", is_flag=True, help="Refuse images of more than two levels; nothing is ever thresholded."),
    click.option("--frames", is_flag=True, help="Take each picture of an animation, and each page, as an image."),
    click.option("--strip", is_flag=True, help="Leave out metadata (EXIF, ICC profile, text, ...)."),
    click.option("--no-verify", is_flag=True, help="Do not decode what was coded before it counts."),
    device_option,
    jobs_option,
    max_pixels_option,
    click.option("-v", "--verbose", is_flag=True,
                 help="Also note what says only how a file packs its pixels, as the order of a GIF's rows."),
)  # fmt: skip


def coding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what compresses."""
    for option in reversed(_CODING_OPTIONS):
        command = option(command)
    return command


def compressor_and_loader(
    frames: bool, strip: bool, no_verify: bool, jobs: int | None, verbose: bool, **options: Any
) -> tuple[Compressor, ImageLoader]:
    """What compresses and what reads, by these options."""
    from bbcompress.pipeline.compressor import Compressor
    from bbcompress.pipeline.loader import ImageLoader
    from bbcompress.pipeline.options import Options

    jobs = jobs_for(jobs, options["device"])
    loader = ImageLoader(strip, frames, options["max_pixels"], verbose)
    return Compressor(Options(verify=not no_verify, jobs=jobs, **options)), loader


def jobs_for(asked: int | None, device: str) -> int:
    """Processes to share the work; one for an accelerator, unless more are asked for."""
    from bbcompress.system.jobs import default_jobs

    return asked or (default_jobs() if device == "cpu" else 1)
