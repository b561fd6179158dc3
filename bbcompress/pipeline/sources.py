"""Files and folders that are read."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bbcompress.archive.manifest import MANIFEST, MAX_MANIFEST_BYTES, START
from bbcompress.archive.names import new_name_fault
from bbcompress.archive.sharded import ShardSource
from bbcompress.archive.times import FIRST_TIME, LAST_TIME
from bbcompress.errors import BBCError, ImageError, MissingImageError, OutputExistsError
from bbcompress.images.formats.registry import image_suffixes
from bbcompress.system.temporary import is_temporary
from bbcompress.text import count_of

STANDARD_STREAM = "-"
NAMED = 3
"""Paths that a line names, of all that it counts."""


@dataclass
class LeftOut:
    """What was met and is not among the images, or not twice: paths of files of folders that have no image's name or
    are none at all (pipes, devices), of links to folders or to what lies outside, of files that several inputs reach,
    of folders that are given again.
    """

    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """A line for each kind of which there is any."""
        kinds = (
            (self.files, "file", "left out, no image or not named as one"),
            (self.links, "file", "left out, a link to a folder or out of its own"),
            (self.repeated, "file", "reached by several inputs and taken once"),
            (self.folders, "folder", "given again and taken once"),
        )
        for paths, kind, what in kinds:
            if paths:
                some = count_of(len(paths), kind)
                yield f"{some} {what}: {', '.join(paths[:NAMED])}{', ...' * (len(paths) > NAMED)}"


class Skipped:
    """Files that cannot be read and do not stop the others: the reason for each, which names it."""

    def __init__(self, asked: bool | None = None) -> None:
        """asked: whether to skip such files; None skips those met in folders, as one that is given by itself is one
        that is wanted."""
        self._asked = asked
        self.reasons: list[str] = []

    def take(self, error: ImageError, given: bool, but: str = "") -> None:
        """Note a file that cannot be read, or raise the error.

        Args:
            given: by itself.
            but: what else there is to say.
        """
        if self._asked is False or (given and not self._asked):
            raise error
        self.reasons.append(f"{error.for_command_line}{but}")

    def some(self) -> str:
        """The first reasons, for one line."""
        return "; ".join(self.reasons[:NAMED]) + "; ..." * (len(self.reasons) > NAMED)


class Source(NamedTuple):
    """A file that is to be an image of an archive: its name there, its path, and whether it was given by itself, not
    met in a folder."""

    name: str
    path: Path
    given: bool


class SameFile:
    """Whether paths lead to one file, which need not be there yet, however they are written and through any link."""

    def __init__(self, path: Path) -> None:
        self._place = place_of(path)
        try:
            self._there: os.stat_result | None = os.stat(path)
        except OSError:
            self._there = None

    def __call__(self, path: Path) -> bool:
        """Whether this path does."""
        if self._there is None:
            return path.name == self._place[1] and place_of(path) == self._place
        try:
            return os.path.samestat(self._there, os.stat(path))
        except OSError:
            return False


def place_of(path: Path, known: dict[Path, str] | None = None) -> tuple[str, str]:
    """The folder of a path, without links, and its name in that folder, which may itself be a link.

    Args:
        known: what was found of folders before.
    """
    if path.name in ("", ".."):
        folder, name = os.path.split(os.path.realpath(path))
        return folder, name
    known = {} if known is None else known
    if path.parent not in known:
        known[path.parent] = os.path.realpath(path.parent)
    return known[path.parent], path.name


def find_images(
    inputs: Sequence[str],
    left_out: LeftOut | None = None,
    skipped: Skipped | None = None,
    output: Path | None = None,
) -> list[Source]:
    """The images of the inputs: files as they are, folders walked in sorted order.

    An image in a folder is named by its path relative to it; where there are several inputs, the folder's own name
    stands before that. A file given by itself has its own name. Where two inputs would have the same name, so many of
    the folders that they are in stand before it as tell them apart. A file that several inputs reach is taken once, as
    the first of them has it. Links are followed where they are given by themselves, and in a folder where they lead to
    a file of that folder.

    Args:
        left_out: gets what is not among the images.
        skipped: gets what cannot be read; without it that is an error.
        output: the file that is to be written, which can be no image; where a folder holds it under a name that no
            image has, it is left out and not told of.

    Raises:
        ImageError: an input does not exist, a folder cannot be read or holds no image, or a name cannot stand in an
            archive or beside the others. OutputExistsError: the output is one of the images.
    """
    left_out = LeftOut() if left_out is None else left_out
    skipped = Skipped(False) if skipped is None else skipped
    is_output = None if output is None else SameFile(output)
    known: dict[Path, str] = {}
    places: dict[tuple[str, str], str] = {}
    for name in inputs:
        place = place_of(Path(name), known)
        if place in places:
            (left_out.folders if Path(name).is_dir() else left_out.repeated).append(name)
        places.setdefault(place, name)
    found: list[Source] = []
    seen: set[tuple[str, str]] = set()
    for (place, name), label in zip(places.items(), _labels(list(places)), strict=True):
        path = Path(name)
        if path.is_dir():
            prefix = f"{label}/" if len(places) > 1 and label else ""
            if prefix and (fault := new_name_fault(label)):
                raise ImageError(f"{name!r} cannot have its name in an archive: it {fault}")
            inside = _images_in(path, left_out, skipped, is_output)
            sources = [Source(prefix + within, one, False) for within, one in inside]
            keys = [place_of(one, known) for _, one in inside]
        elif path.exists():
            sources, keys = [Source(label, path, True)], [place]
        else:
            skipped.take(MissingImageError(f"{name}: no such file"), True)
            continue
        for source, key in zip(sources, keys, strict=True):
            if key in seen:
                left_out.repeated.append(str(source.path))
            elif is_output is not None and is_output(source.path):
                raise OutputExistsError(f"{source.path} is one of the images, and the output")
            else:
                seen.add(key)
                found.append(source)
    return _with_good_names(found, skipped)


def _labels(places: Sequence[tuple[str, str]]) -> list[str]:
    """What inputs are called in an archive: by their own names, with so many folders before them as tell them apart."""
    parts = [(*Path(folder).parts[1:], name) if name else () for folder, name in places]
    counts = [1] * len(parts)
    while True:
        labels = ["/".join(some[-count:]) for some, count in zip(parts, counts, strict=True)]
        often = Counter(labels)
        alike = [
            number for number, label in enumerate(labels) if often[label] > 1 and counts[number] < len(parts[number])
        ]
        if not alike:
            return labels
        for number in alike:
            counts[number] += 1


def _images_in(folder: Path, left_out: LeftOut, skipped: Skipped, is_output: SameFile | None) -> list[tuple[str, Path]]:
    """The images in a folder and those below it, by their paths relative to it, in sorted order.

    Raises:
        ImageError: the folder holds no images and no files that cannot be read.
    """
    before = len(skipped.reasons)
    images = []
    for path in _walk(folder, left_out, skipped):
        try:
            is_image = path.suffix.lower() in image_suffixes() and path.is_file()
        except OSError as error:
            skipped.take(ImageError(f"{path}: cannot be read: {error.strerror or error}"), False)
            continue
        if is_image:
            images.append((path.relative_to(folder).as_posix(), path))
        elif is_output is None or not is_output(path):
            left_out.files.append(str(path))
    if not images and len(skipped.reasons) == before:
        skipped.take(ImageError(f"{folder}: there is no image in this folder"), True)
    return sorted(images)


def _walk(folder: Path, left_out: LeftOut, skipped: Skipped) -> Iterator[Path]:
    """The files in a folder and those below it; a folder that cannot be listed is skipped as a file is."""
    root = Path(os.path.realpath(folder))
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            skipped.take(ImageError(f"{place}: cannot be read: {error.strerror or error}"), place is folder)
            continue
        for entry in here:
            if is_temporary(entry.name):  # that of a command at work, or of one that was killed
                continue
            path = place / entry.name
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link that leads nowhere, or round in a circle
                is_folder = False
            if is_folder and not entry.is_symlink():
                waiting.append(path)
            elif is_folder or (entry.is_symlink() and root not in Path(os.path.realpath(path)).parents):
                left_out.links.append(str(path))
            else:
                yield path


def _with_good_names(found: Sequence[Source], skipped: Skipped) -> list[Source]:
    """The files whose names can stand in an archive.

    Raises:
        ImageError: the names of two files exclude each other.
    """
    taken: dict[str, Path] = {}
    good = []
    for source in found:
        if fault := new_name_fault(source.name):
            error = ImageError(f"{str(source.path)!r} cannot have its name in an archive: it {fault}")
            skipped.take(error, source.given)
            continue
        if source.name in taken:
            raise ImageError(f"two images have the name {source.name!r}: {taken[source.name]} and {source.path}")
        taken[source.name] = source.path
        good.append(source)
    # A slash as the least of all characters puts what is in a folder directly behind a file of the folder's name.
    for one, other in pairwise(sorted(name.replace("/", "\0") for name in taken)):
        if other.startswith(f"{one}\0"):
            name, inside = one.replace("\0", "/"), other.replace("\0", "/")
            raise ImageError(
                f"{taken[name]} would be {name!r} in the archive, and {taken[inside]} {inside!r}: a file is no folder"
            )
    return good


def read_file(path: Path, label: str) -> bytes:
    """The bytes of a file that is to be an image.

    Args:
        label: what errors call it.

    Raises:
        ImageError: the file cannot be read or is being written.
    """
    try:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            data = file.read()
            after = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        kind = MissingImageError if isinstance(error, FileNotFoundError) else ImageError
        raise kind(f"{label}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISREG(after.st_mode) and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError(f"{label}: was changed while it was read")
    return data


def modified(path: Path) -> int:
    """When a file was modified: whole seconds since 1970, the nearest that an archive can say.

    Raises:
        OSError: the operating system reports an error.
    """
    return min(max(path.stat().st_mtime_ns // 10**9, FIRST_TIME), LAST_TIME)


def open_input(name: str) -> BinaryIO:
    """A seekable binary file; - is stdin. Of a sharded archive, given by its folder or its manifest, it is a
    `ShardSource`.

    Raises:
        OSError: the operating system reports an error.
        BBCError: stdin is closed, or a folder holds no manifest.
    """
    return io.BytesIO(read_standard_input()) if name == STANDARD_STREAM else open_path(Path(name))


def open_path(path: Path) -> BinaryIO:
    """The same of a path."""
    if path.is_dir():
        if not (path / MANIFEST).exists():
            raise BBCError(f"{path}: is a folder, and holds no {MANIFEST} of a sharded archive")
        path = path / MANIFEST
    file = path.open("rb")
    if not file.seekable():
        with file:
            return io.BytesIO(file.read())
    start = file.read(len(START))
    file.seek(0)
    if start != START:
        return file
    with file:
        return ShardSource(file.read(MAX_MANIFEST_BYTES + 1), str(path), lambda shard: (path.parent / shard).open("rb"))


def read_standard_input() -> bytes:
    """All of stdin.

    Raises:
        BBCError: stdin is closed.
    """
    return open_standard_input().read()


def open_standard_input() -> BinaryIO:
    """Stdin, from which whoever knows how much it needs reads.

    Raises:
        BBCError: stdin is closed.
    """
    if sys.stdin is None:  # so Python has it when it was closed at the start
        raise BBCError("standard input is closed")
    return sys.stdin.buffer


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a file, which need not be there, lies in a folder or below it, whatever links lead there."""
    place = Path(os.path.realpath(path))
    return Path(os.path.realpath(folder)) in place.parents
