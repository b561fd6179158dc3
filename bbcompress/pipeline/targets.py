"""Where the outputs of several inputs go: each beside its input or into one folder, and no two into one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bbcompress.archive.signature import SUFFIX
from bbcompress.errors import BBCError, OutputExistsError
from bbcompress.images.formats.registry import image_suffixes
from bbcompress.pipeline.sources import STANDARD_STREAM, place_of

OTHER_SUFFIXES = frozenset(
    f".{name}"
    for names in (
        ("avif", "bpg", "dng", "exr", "flif", "hdr", "heic", "heif", "ico", "j2k", "jls", "jp2", "jpx", "jxl", "jxr"),
        ("pcx", "pdf", "psd", "qoi", "svg", "tga", "7z", "bz2", "gz", "rar", "tar", "tgz", "xz", "zip", "zst"),
    )
    for name in names
)
"""Suffixes of well-known files that bbc does not write, beside those of the images that it reads."""


class Job(NamedTuple):
    """An input, and the file or folder that is made of it; None is stdout."""

    source: str
    target: Path | None


def refuse_foreign_suffix(output: str) -> None:
    """Raises BBCError where the name says that a file is of another kind than those of bbc."""
    suffix = Path(output).suffix.lower()
    if suffix in image_suffixes() | OTHER_SUFFIXES:
        raise BBCError(
            f"{output}: bbc compress writes files of bbc, and {suffix} is the suffix of others; use {SUFFIX}"
        )


def packed_target(source: str, folder: Path | None = None) -> Path:
    """The file of bbc that an image or a folder becomes: beside it, or in a folder.

    Raises BBCError where a folder has no name of its own, as `.` and `..`, and stands in no other place, or where the
    name is that of the source.
    """
    path = Path(source)
    if not path.is_dir():
        target = (path.parent if folder is None else folder) / path.with_suffix(SUFFIX).name
        if target == path:
            advice = "if it is a file of bbc, bbc decompress brings its image back; if not, say with -o what to write"
            raise OutputExistsError(f"{target} is the image, and the output", command=advice)
        return target
    if path.name in ("", ".."):
        if folder is None:
            raise BBCError(f"{source} has no name to call the archive by: name it with -o OUT{SUFFIX}")
        path = Path(os.path.realpath(path))
    return (path.parent if folder is None else folder) / f"{path.name or 'root'}{SUFFIX}"


def plan(sources: Sequence[str], target_of: Callable[[str], Path]) -> tuple[list[Job], list[str]]:
    """What becomes of each input, and the inputs that were given before, by the same path or another one.

    Raises BBCError where two inputs would become the same file: the second would replace the first.
    """
    jobs: list[Job] = []
    repeated: list[str] = []
    seen: set[tuple[str, str]] = set()
    taken: dict[str, str] = {}
    for source in sources:
        place = place_of(Path(source))
        if place in seen:
            repeated.append(source)
            continue
        seen.add(place)
        target = target_of(source)
        key = os.path.realpath(target)
        if key in taken:
            raise BBCError(f"{taken[key]} and {source} would both become {target}: give them one by one, with -o")
        taken[key] = source
        jobs.append(Job(source, target))
    return jobs, repeated


class Outputs:
    """The outputs of one command: none is an input of it, or was written by it before, through whatever link."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self._inputs = {key for name in inputs if name != STANDARD_STREAM and (key := _identity(Path(name)))}
        self._written: dict[tuple[int, int], Path] = {}

    def check(self, target: Path) -> None:
        """Raises OutputExistsError where this is an input of the command, or an output that it wrote."""
        key = _identity(target)
        if key is None:
            return
        if key in self._written:
            raise OutputExistsError(f"{target} is what was just written as {self._written[key]}")
        if key in self._inputs and not target.is_dir():
            raise OutputExistsError(f"{target} is one of the inputs, and an output")

    def written(self, target: Path) -> None:
        """Take down what was written."""
        if key := _identity(target):
            self._written[key] = target


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from all others, whatever its name; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


@contextmanager
def made_folder(folder: Path | None) -> Iterator[None]:
    """A folder, and those it is in, are there in the block; those that were made for it and are empty are gone then.

    Raises BBCError where it cannot be made.
    """
    made: list[Path] = []
    try:
        try:
            for place in () if folder is None else (*reversed(folder.parents), folder):
                if not place.is_dir():
                    place.mkdir()
                    made.append(place)
        except OSError as error:
            raise BBCError(f"{folder}: cannot be made: {error.strerror or error}") from None
        yield
    finally:
        for place in reversed(made):
            with suppress(OSError):  # it holds what was written
                place.rmdir()
