"""Options that several commands have, and how a shell completes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbcompress.errors import BBCError
from bbcompress.limits import (
    BLOCK_SIDE,
    DEFAULT_EFFORT,
    ENCODERS,
    LEAST_BLOCK_SIDE,
    LEAST_EFFORT,
    MAX_K,
    MAX_PIXELS,
    MOST_EFFORT,
    READER_K,
    STANDARD_STREAM,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bbcompress.images.region import Region
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


class NamedPath(click.Path):
    """A path of this machine. It refuses an empty one as `not_empty` does, which would be taken for the current folder
    by then."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


def path_argument(name: str, metavar: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An argument of files, which are looked at in the command: errors are to be ours."""
    return click.argument(name, metavar=metavar, shell_complete=complete_path, callback=not_empty, **settings)


def parse_region(context: click.Context, parameter: click.Parameter, value: str | None) -> Region | None:
    """The region that X,Y,W,H says."""
    from bbcompress.images.region import Region

    try:
        return None if value is None else Region.parse(value)
    except BBCError as error:
        raise click.BadParameter(str(error), context, parameter) from None


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


def _limit_threads(context: click.Context, _: click.Parameter, asked: int | None) -> int | None:
    """Let there be, until the command ends, no more threads than are asked for, those of all processes together."""
    if asked:
        from bbcompress.system.threads import limit_threads

        limit_threads(asked)
        context.call_on_close(lambda: limit_threads(None))
    return asked


jobs_option = click.option("-j", "-T", "--jobs", metavar="N", type=click.IntRange(0), callback=_limit_threads,
                            help="Processes that share an archive's groups, or threads that share an image; 1 is one "
                            "of each, 0 the default. [default: processors, to 8]")  # fmt: skip
output_folder_option = click.option("--output-dir", "output_dir", metavar="DIR", shell_complete=complete_path,
                                     callback=not_empty,
                                     help="The folder to write into, in place of those of the inputs; it is made "
                                     "where it is missing.")  # fmt: skip
stdout_option = click.option("-c", "--stdout", "to_stdout", is_flag=True, help="Write to stdout, as -o - does.")
remove_option = click.option("--rm/--keep", " /-k", "remove", default=False,
                              help="Delete each input once what was made of it is checked and on the disk, or keep "
                              "it. [default: keep]")  # fmt: skip
max_pixels_option = click.option("--max-pixels", metavar="N", type=click.IntRange(1), default=MAX_PIXELS,
                                  show_default=True, help="Refuse images of more pixels.")  # fmt: skip
max_steps_option = click.option("--max-steps", metavar="N", type=click.IntRange(0), default=READER_K,
                                 show_default=True,
                                 help="Refuse images of more refinement steps, which take time.")  # fmt: skip
only_option = click.option("--only", metavar="PATTERN", multiple=True,
                            help="Only images whose name or path fits, such as 'a*.png'; may be repeated.")  # fmt: skip

crop_option = click.option("--crop", "region", metavar="X,Y,W,H", callback=parse_region,
                            help="Only this region of each image: W x H pixels from the one at column X and row Y, "
                            "counted from 0. Of a large image only the blocks that it takes are decoded; -v says how "
                            "much that is.")  # fmt: skip

skip_option = click.option("--skip-unreadable/--no-skip-unreadable", " /--strict", "skip", default=None,
                           help="Leave out files that cannot be read, name each, and exit with 1; or write nothing "
                           "where there is one. [default: leave out those met in folders]")  # fmt: skip


class _Effort(click.Option):
    """`-e N`, for which a digit alone stands, too."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        super().add_to_parser(parser, ctx)
        for effort in range(LEAST_EFFORT, MOST_EFFORT + 1):
            parser.add_option(self, [f"-{effort}"], self.name, "store_const", const=str(effort))


_CODING_OPTIONS = (
    model_option,
    click.option("-e", "--effort", metavar="1..9", type=click.IntRange(LEAST_EFFORT, MOST_EFFORT), cls=_Effort,
                 default=DEFAULT_EFFORT, show_default=True,
                 help="1 is the quickest, 9 the smallest and many times slower; -1 to -9 are short for it. It decides "
                 "which K, encoders and ways to learn are tried, unless these are given."),
    click.option("-K", "--steps", "k", type=click.IntRange(0, MAX_K),
                 help="Refinement steps of the posterior: smaller and slower. [default: 0, from effort 7 on also 4 and "
                 "more]"),
    click.option("--encoder", type=click.Choice(ENCODERS),
                 help="Which of a model's encoders. [default: the one that its card names, from effort 6 on also "
                 "the other]"),
    click.option("--lr", "learning_rate", type=click.FloatRange(1e-6, 1),
                 help="Learning rate of the K steps. [default: the model's own]"),
    click.option("--learn/--no-learn", default=None,
                 help="Let models learn from the images as they go; decoding takes longer. [default: where that is "
                 "smaller, from effort 3 on, of quick models from 2 on]"),
    click.option("--solid/--no-solid", default=True, show_default=True,
                 help="Learn from up to 16 megapixels of an archive in a row, or else from up to 8: larger, but less "
                 "has to be decoded to reach an image, and more groups can be coded at once."),
    click.option("--block-size", metavar="N", type=click.IntRange(LEAST_BLOCK_SIDE, BLOCK_SIDE),
                 help="Longest side of the blocks into which models cut an image, in pixels. --crop decodes those that "
                 "it touches and, where a model learned, the first one: of smaller ones less, but the file is larger. "
                 "[default: 1024]"),
    click.option("--binary", is_flag=True, help="Refuse images of more than two levels; nothing is ever thresholded."),
    click.option("--frames", is_flag=True, help="Take each picture of an animation, and each page, as an image."),
    click.option("--strip", is_flag=True,
                 help="Leave out metadata (EXIF, ICC profile, text, ...); no file is kept as it is then."),
    click.option("--pixels", is_flag=True,
                 help="Code the pixels also where the file itself, such as a JPEG, is smaller and would be kept as it "
                 "is."),
    click.option("--embed-model/--no-embed-model", default=None,
                 help="Put the models that code it into the file, which can then be read without them, or do not. "
                 "[default: those that do not come with bbc and are less than 5 % of the file]"),
    click.option("--preview/--no-preview", default=None,
                 help="Put a small picture of each image into the file, at most 3 kB, from which thumbnails are made "
                 "without decoding, or do not. [default: of images that take 1 MiB or more]"),
    click.option("--no-verify", is_flag=True, help="Do not decode what was coded before it counts."),
    device_option,
    jobs_option,
    max_pixels_option,
    click.option("-v", "--verbose", is_flag=True,
                 help="Say which codings were tried and why one was taken; also note what says only how a file packs "
                 "its pixels, as the order of a GIF's rows."),
)  # fmt: skip


def coding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what compresses."""
    for option in reversed(_CODING_OPTIONS):
        command = option(command)
    return command


def compressor_of(
    frames: bool, strip: bool, pixels: bool, no_verify: bool, jobs: int | None, verbose: bool, **options: Any
) -> Compressor:
    """What compresses, by these options."""
    from bbcompress.pipeline.compressor import Compressor
    from bbcompress.pipeline.options import Options

    return Compressor(Options(verify=not no_verify, jobs=jobs_for(jobs, options["device"]), **options))


def loader_of(frames: bool, strip: bool, pixels: bool, verbose: bool, max_pixels: int, **_: Any) -> ImageLoader:
    """What reads images and counts them, by these options."""
    from bbcompress.pipeline.loader import ImageLoader

    return ImageLoader(strip, frames, max_pixels, verbose, pixels)


def one_output(output: str | None, output_dir: str | None, to_stdout: bool) -> str | None:
    """What `-o` says, or `-c`. Raises UsageError where two of the options say where to write."""
    if sum((output is not None, output_dir is not None, to_stdout)) > 1:
        raise click.UsageError("-o, --output-dir and -c exclude each other")
    return STANDARD_STREAM if to_stdout else output


def refuse_unsafe_removal(output: str | None, inputs: Sequence[str], **unsafe: bool) -> None:
    """Raises UsageError where `--rm` would delete what is in no file that was checked.

    unsafe: whether each of these options is given, with which nothing may be deleted.
    """
    if output == STANDARD_STREAM:
        raise click.UsageError("--rm needs a file that is written: what goes to stdout may never arrive")
    if STANDARD_STREAM in inputs:
        raise click.UsageError("--rm deletes files, and stdin is none")
    from bbcompress.system.storage import is_url

    for name in (name for name in (*inputs, output) if is_url(name)):
        raise click.UsageError(f"--rm deletes files of this machine, whose images are in a file here: not with {name}")
    for name in (name for name, given in unsafe.items() if given):
        raise click.UsageError(f"--rm and --{name.replace('_', '-')} exclude each other: something would be lost")


def jobs_for(asked: int | None, device: str) -> int:
    """Processes to share the work; one for an accelerator, unless more are asked for."""
    from bbcompress.system.jobs import default_jobs

    return asked or (default_jobs() if device == "cpu" else 1)
