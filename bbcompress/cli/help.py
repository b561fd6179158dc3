"""What `--help`, `bbc help`, docs/cli.md and the manual page say beside what each command says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from bbcompress.archive.signature import SUFFIX

SECTIONS = {
    "Everyday": {
        "compress": "Compress images and folders.",
        "decompress": "Bring the images of files back.",
        "test": "Check files without writing anything.",
    },
    "Archives": {
        "list": "List the images of files.",
        "info": "Say what is in files and what it costs.",
        "add": "Add images to an archive.",
        "explain": "Show where the bits of an image go.",
        "sheet": "Write a contact sheet of a file.",
        "thumbnail": "Write a small picture of an image.",
        "mount": "Show the images of a file in a folder.",
    },
    "Models and training": {
        "models": "List, add, export, remove and check models.",
        "train": "Train a model on your own images.",
        "runs": "List and compare training runs.",
        "evaluate": "Measure a trained model.",
        "report": "Write the page of a training run.",
    },
    "Tools": {
        "bench": "Measure size against time.",
        "doctor": "Look at this installation, for a bug report.",
        "desktop": "Show files of bbc in file managers.",
        "completion": "Make a shell complete commands.",
        "help": "Show the help of a command.",
    },
}
"""The commands, in the order in which they are shown, and a line on each."""

EXAMPLES = (
    ("bbc compress photo.png", "Write photo.bbc beside it."),
    ("bbc compress shots/ -o shots.bbc", "Put a folder into one archive."),
    ("bbc decompress photo.bbc shots.bbc --output-dir back", "Bring all images back."),
    ("bbc list shots.bbc", "Show what an archive holds."),
    ("bbc compress *.png --rm", "Replace images by files of bbc, once each is checked."),
)
"""Commands that people begin with, and what each does."""

EXIT_STATUSES = (
    ("0", "All that was asked for is done."),
    ("1", "An error: nothing is written, and what was there is as it was."),
    ("1", "A part is done, and a line names each thing that is not: one of several files failed, `compress` or `add` "
          "skipped files that cannot be read, `--rm` did not delete a file, `decompress --keep-going` left out what is "
          "damaged."),
    ("1", "`test` found damage."),
    ("2", "The command was used wrongly."),
    ("129", "SIGHUP came: the terminal was closed. Nothing is left behind."),
    ("130", "Ctrl-C (SIGINT) came. Nothing is left behind; train says how to go on."),
    ("143", "SIGTERM came. Nothing is left behind."),
)  # fmt: skip
"""What the exit statuses of all commands mean."""

ENVIRONMENT = (
    ("BBC_MODELS", "Folders of further models, separated as those of PATH."),
    ("NUMBA_CACHE_DIR", "Where compiled kernels are kept."),
    ("NO_COLOR, FORCE_COLOR", "Whether progress and tables have colours."),
)
"""Variables of the environment."""

OPTION_GROUPS = {
    "Input and output": (
        "output output_dir to_stdout remove source png force skip frames form strip pixels only region json_file "
        "as_json plots out name data side decode data_dir images any_size grey binary leave_out part_size page "
        "tensorboard"
    ),
    "Model and coding": (
        "model effort efforts k encoder encoders learning_rate lr learn solid block_size no_verify embed_model preview "
        "architecture latents hidden blocks norm fast"
    ),
    "Training": (
        "objective alpha sigma samples epochs encoder_epochs encoder_lr batch average decay compile precision seed "
        "keep_every report resume from_checkpoint init licence minutes optimal importance"
    ),
    "Shards": "shard_pixels cluster goes_on",
    "Machine and limits": "device jobs threads max_pixels max_steps keep_going repeat gpu",
    "Messages": "verbose quiet help",
}
"""The options of all commands by the heading under which help shows them; others stand under "Options"."""


WORDS_OF_OTHERS = {
    "decompress": "extract unpack uncompress unzip decode restore x d",
    "compress": "pack archive create encode zip c",
    "test": "verify check t",
    "list": "ls l",
    "info": "show inspect identify",
    "add": "append update",
    "bench": "benchmark",
    "models": "model",
}
"""Commands, and what other programs call them."""

OPTIONS_OF_OTHERS = (
    ("no pixel is ever changed", ("--effort",), "--lossy --quality --distance --lossless"),
    ("bbc decompress does that", ("--effort", "--version"), "--decompress --uncompress --extract -d -x"),
    ("bbc list does that", ("--output-dir", "--version"), "--list -l"),
    ("bbc test does that", ("--output-dir", "--version"), "--test -t"),
    ("-1 to -9 say the effort", ("--effort",), "--level --fast --best --ultra -0"),
    ("-j says how many processes", ("--jobs",), "--threads --num_threads --num-threads --workers"),
    ("folders are walked without it", ("--skip-unreadable",), "--recursive -r -R"),
    ("-f overwrites", ("--force",), "--overwrite"),
    ("--rm deletes the sources", ("--rm",), "--delete --remove"),
    ("--only names the images that are wanted", ("--only",), "--include"),
)
"""What stands in the place of options of other programs: what is said, where one of these options is known; the options
of others."""


def command_meant(word: str, commands: Sequence[str]) -> str:
    """The end of a message on a command that does not exist: which one was meant; empty where none is likely."""
    for command, words in WORDS_OF_OTHERS.items():
        if command in commands and word in words.split():
            return f"; bbc {command} does that"
    suffix = os.path.splitext(word)[1].lower()
    if "compress" in commands and (suffix or os.path.exists(word)):
        return f"; a command stands before the file: bbc {'decompress' if suffix == SUFFIX else 'compress'} {word}"
    return near(word, {command: command for command in commands})


def option_meant(option: str, options: Sequence[str]) -> str:
    """The same of an option."""
    for meaning, needed, names in OPTIONS_OF_OTHERS:
        if option in names.split() and not {*needed}.isdisjoint(options):
            return f"; {meaning}"
    if not option.startswith("--"):  # every letter is like another
        return ""
    return near(option[2:], {name[2:]: name for name in options if name.startswith("--")})


def near(word: str, names: Mapping[str, str]) -> str:
    """The names whose words are most like one that is none of them, as the end of a message; empty where none is."""
    from difflib import get_close_matches

    matches = [names[match] for match in get_close_matches(word, names, n=2, cutoff=0.65)]
    return f"; did you mean {' or '.join(matches)}?" if matches else ""


def groups_of(command: click.Command, context: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The headings of a command's options, and of each option its names and what it does."""
    headings = {name: heading for heading, names in OPTION_GROUPS.items() for name in names.split()}
    found: dict[str, list[tuple[str, str]]] = {heading: [] for heading in ["Options", *OPTION_GROUPS]}
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None:
            found[headings.get(parameter.name or "", "Options")].append(record)
    filled = {heading: records for heading, records in found.items() if records}
    if sum(map(len, filled.values())) <= 4:  # too few for headings
        yield "Options", [record for records in filled.values() for record in records]
        return
    yield from filled.items()


def format_headed(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """The options of a command under their headings."""
    for heading, records in groups_of(command, context):
        with formatter.section(heading):
            formatter.write_dl(records)


@contextmanager
def in_context(context: click.Context) -> Iterator[None]:
    """Errors of the parser know the command, whose help they name; click leaves it out of some."""
    try:
        yield
    except click.UsageError as error:
        error.ctx = error.ctx or context
        raise


class Command(click.Command):
    """A command whose options are shown under headings, and whose help ends with the exit statuses."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with in_context(ctx):
            return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_headed(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write_text("Exit status: 0 all is done, 1 something failed and a line says what, 2 wrong use.")
