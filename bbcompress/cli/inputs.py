"""Opening files of bbc, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from bbcompress.cli.messages import tell
from bbcompress.cli.progress import set_up_notices
from bbcompress.errors import BBCError, EmbeddedModelError, FormatError, LimitError, MissingModelError, unreadable
from bbcompress.text import count_of, escaped, some_of

if TYPE_CHECKING:
    from bbcompress.pipeline.reader import GroupResult, Reader


RANGES = 10
"""Ranges of images that a line names."""


ABOUT_THE_FILE = (FormatError, LimitError, MissingModelError, EmbeddedModelError)
"""Errors that are about the file that is read, wherever they come up; others name what they are about themselves: an
output, a model's folder, a device."""


@contextmanager
def about(file: str, *kinds: type[BBCError]) -> Iterator[None]:
    """Errors about the file begin with its name. kinds: of errors, where these are not `ABOUT_THE_FILE`."""
    try:
        yield
    except BBCError as error:
        if not isinstance(error, kinds or ABOUT_THE_FILE) or str(error).startswith(f"{escaped(file)}: "):
            raise
        raise error.of(file) from None
    except MemoryError:
        raise BBCError(f"{file}: there is not enough memory for it") from None


def open_stream(file: str) -> BinaryIO:
    """The bytes of the file; - is stdin. Raises BBCError."""
    from bbcompress.pipeline.sources import open_input

    try:
        return open_input(file)
    except BBCError:
        raise
    except OSError as error:
        raise unreadable(file, error) from None


@contextmanager
def open_file(
    file: str,
    model: str | None,
    device: str,
    quiet: bool,
    max_pixels: int,
    max_steps: int = 0,
    keep_going: bool = False,
    stream: BinaryIO | None = None,
) -> Iterator[Reader]:
    """A reader of the file; errors within the block that are about the file begin with its name; - is stdin.

    max_steps: matters where images are decoded. stream: the file, where it is open already; it is closed here.

    Raises BBCError.
    """
    from bbcompress.limits import Limits
    from bbcompress.pipeline.options import open_models
    from bbcompress.pipeline.reader import Reader

    stream = open_stream(file) if stream is None else stream
    set_up_notices(quiet)
    with stream, about(file):
        yield Reader(stream, open_models(model, device), Limits(max_pixels, max_steps), keep_going)


def tell_of_damage(reader: Reader, lost: list[GroupResult[Any]]) -> bool:
    """A line on stderr for each thing that is damaged, and for each image that is lost, or not read because of a limit;
    whether there is any."""
    from bbcompress.pipeline.names import list_names

    opened = reader.file
    if opened.fault is not None:
        tell(f"{opened.fault}; {opened.unread} bytes cannot be made out")
        if nameless := opened.without_index:
            tell(f"names are lost: those of {_some(nameless)}, whose index is damaged")
        if unchecked := opened.unchecked_index:
            tell(f"names and times are not checked: those of {_some(unchecked)}, of whose index the checksum is lost")
    if opened.duplicate is not None:
        tell(f"two images have the name {opened.duplicate!r}; each comes out under a name of its own")
    names = list_names(reader.names) if lost else []
    for done in lost:
        refused = isinstance(done.error, LimitError)
        reason = "" if done.error is None else done.error.for_command_line
        tell(f"group {done.number} is {'not read' if refused else 'lost'} ({reason})")
        for position in done.positions:
            name = names[position]
            tell(f"{'not read' if refused else 'lost'}: {f'image {position}' if name is None else name}")
    return bool(lost) or opened.fault is not None or opened.duplicate is not None


def _some(ranges: Sequence[range]) -> str:
    """How many images there are at some positions, and which."""
    return f"{count_of(sum(map(len, ranges)))} ({some_of([*map(_range_of, ranges)], RANGES)})"


def _range_of(positions: range) -> str:
    return f"{positions[0]}" if len(positions) == 1 else f"{positions[0]} to {positions[-1]}"


def echo_notes(notes: list[str]) -> None:
    """Lines on stderr."""
    for note in notes:
        tell(note)
