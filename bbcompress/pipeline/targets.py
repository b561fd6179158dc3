"""Where the outputs of several inputs go: each beside its input or into one folder, and no two into one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bbcompress.archive.manifest import MANIFEST
from bbcompress.archive.signature import SUFFIX
from bbcompress.errors import BBCError, MissingFileError, OutputExistsError
from bbcompress.images.formats.registry import image_suffixes
from bbcompress.limits import STANDARD_STREAM
from bbcompress.pipeline.sources import folder_and_name
from bbcompress.system import storage
from bbcompress.system.output import make_folders
from bbcompress.system.storage import Place, Url, place_of

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
    target: Place | None


def refuse_foreign_suffix(output: str) -> None:
    """Raises BBCError where the name says that a file is of another kind than those of bbc."""
    suffix = place_of(output).suffix.lower()
    if suffix in image_suffixes() | OTHER_SUFFIXES:
        raise BBCError(
            f"{place_of(output)}: bbc compress writes files of bbc, and {suffix} is the suffix of others; use {SUFFIX}"
        )


def place_beside(source: Place) -> Path:
    """The folder in which stands what is made of a file, where nothing else is said: its own, of a URL the current
    one."""
    return Path() if isinstance(source, Url) else source.parent


def is_for_files(output: Place) -> bool:
    """Whether an output is a folder, into which files go by their own names: a URL is one where it ends with `/`."""
    return output.address.endswith("/") if isinstance(output, Url) else storage.is_folder(output)


def beside(source: Place, ending: str) -> Path:
    """Where what is made of a file goes, where nothing else is said: `place_beside` it, by its name without the suffix.

    Args:
        ending: of the name.

    Raises BBCError where the file has no name of its own, as the folders `.` and `..`.
    """
    if source.name in ("", ".."):
        raise BBCError(f"{source} has no name to call a file by", command="name it with -o")
    return place_beside(source) / f"{source.stem}{ending}"


def for_images(folder: Place) -> Path:
    """The folder, for the images of an archive. Raises BBCError where it is a URL."""
    if isinstance(folder, Url):
        raise BBCError(
            f"{folder}: images are written into folders of this machine alone, in which all appear or none does"
        )
    return folder


def refuse_name_of_a_file(folder: Place) -> None:
    """Raises BBCError where the name of a new folder, for the images of an archive, says that it is a file."""
    suffix = folder.suffix.lower()
    if (
        suffix in image_suffixes() | OTHER_SUFFIXES | {SUFFIX}
        and isinstance(folder, Path)
        and storage.is_missing(folder)
    ):
        raise BBCError(
            f"{folder}: the images of an archive go into a folder, and {suffix} is the suffix of a file; use "
            f"-o {folder.with_suffix('')}"
        )


def to_add_to(archive: Place) -> Path:
    """The archive, to which something is to be added. Raises BBCError where it is a URL, or a sharded archive."""
    if isinstance(archive, Url):
        raise BBCError(
            f"{archive}: nothing can be added to what a URL names, which is written as a whole or not at all: add to a "
            "copy of it on this machine"
        )
    if storage.is_folder(archive) or archive.name == MANIFEST:
        raise BBCError(f"{archive}: nothing can be added to a sharded archive, which is made of its sources as a whole")
    return archive


def packed_target(source: str, folder: Place | None = None) -> Place:
    """The file of bbc that an image or a folder becomes: beside it, or in a folder; of a URL in the current folder.

    Raises BBCError where a folder has no name of its own, as `.` and `..`, and stands in no other place, or where the
    name is that of the source.
    """
    path = place_of(source)
    if isinstance(path, Url):
        stem = (path.parts or ("",))[-1] if storage.is_folder(path) else path.stem
        if not stem:
            raise BBCError(f"{path} has no name to call a file by: name it with -o OUT{SUFFIX}")
        return (place_beside(path) if folder is None else folder) / f"{stem}{SUFFIX}"
    if not storage.is_folder(path):
        target = (path.parent if folder is None else folder) / path.with_suffix(SUFFIX).name
        if target == path:
            if storage.is_missing(path):
                raise MissingFileError(f"{source}: no such file", command="-o names an output")
            advice = "if it is a file of bbc, bbc decompress brings its image back; if not, say with -o what to write"
            raise OutputExistsError(f"{target} is the image, and the output", command=advice)
        return target
    if path.name in ("", ".."):
        if folder is None:
            raise BBCError(f"{source} has no name to call the archive by: name it with -o OUT{SUFFIX}")
        path = Path(os.path.realpath(path))
    return (path.parent if folder is None else folder) / f"{path.name or 'root'}{SUFFIX}"


def plan(sources: Sequence[str], target_of: Callable[[str], Place]) -> tuple[list[Job], list[str]]:
    """What becomes of each input, and the inputs that were given before, by the same path or another one.

    Raises BBCError where two inputs would become the same file: the second would replace the first.
    """
    jobs: list[Job] = []
    repeated: list[str] = []
    seen: set[tuple[str, str]] = set()
    taken: dict[str, str] = {}
    for source in sources:
        place = folder_and_name(place_of(source))
        if place in seen:
            repeated.append(source)
            continue
        seen.add(place)
        target = target_of(source)
        key = target.address if isinstance(target, Url) else os.path.realpath(target)
        if key in taken:
            raise BBCError(f"{taken[key]} and {source} would both become {target}: give them one by one, with -o")
        taken[key] = source
        jobs.append(Job(source, target))
    return jobs, repeated


class Outputs:
    """The outputs of one command: none is an input of it, or was written by it before, through whatever link."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self._inputs = {key for name in inputs if name != STANDARD_STREAM and (key := _identity(place_of(name)))}
        self._written: dict[tuple[int, int] | Url, Place] = {}

    def check(self, target: Place) -> None:
        """Raises OutputExistsError where this is an input of the command, or an output that it wrote."""
        key = _identity(target)
        if key is None:
            return
        if key in self._written:
            raise OutputExistsError(f"{target} is what was just written as {self._written[key]}")
        if key in self._inputs and (isinstance(target, Url) or not target.is_dir()):
            raise OutputExistsError(f"{target} is one of the inputs, and an output")

    def written(self, target: Place) -> None:
        """Take down what was written."""
        if key := _identity(target):
            self._written[key] = target


def _identity(path: Place) -> tuple[int, int] | Url | None:
    """What tells a file from all others, whatever its name; None where there is none."""
    if isinstance(path, Url):
        return path
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


@contextmanager
def made_folder(folder: Place | None) -> Iterator[None]:
    """A folder, and those it is in, are there in the block; those that were made for it and are empty are gone then.
    That of a URL need not be made.

    Raises BBCError where it cannot be made.
    """
    made: list[Path] = []
    try:
        try:
            if isinstance(folder, Path):
                make_folders(folder, made)
        except OSError as error:
            raise BBCError(f"{folder}: cannot be made: {error.strerror or error}") from None
        yield
    finally:
        for place in reversed(made):
            with suppress(OSError):  # it holds what was written
                place.rmdir()
