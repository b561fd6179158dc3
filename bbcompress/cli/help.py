"""What `--help`, `bbc help`, docs/cli.md and the manual page say beside what each command says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import click

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
    ("130", "Ctrl-C (SIGINT) came. Nothing is left behind."),
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
        "output output_dir to_stdout remove png force skip frames form strip pixels only region json_file as_json "
        "plots out name data side decode data_dir images any_size grey binary leave_out part_size page tensorboard"
    ),
    "Model and coding": (
        "model effort efforts k encoder encoders learning_rate lr learn solid no_verify embed_model preview "
        "architecture latents hidden blocks"
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


def near(word: str, words: Any) -> str:
    """The words most like one that is none of them, as the end of a message; empty where none is like it."""
    matches = get_close_matches(word, list(words), n=2, cutoff=0.6)
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
