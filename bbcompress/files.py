"""Files and folders that are read."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from bbcompress.archive.names import name_fault
from bbcompress.archive.times import FIRST_TIME, LAST_TIME
from bbcompress.errors import BBCError, ImageError

SUFFIX = ".bbc"
STANDARD_STREAM = "-"
NAMED = 3
"""Paths that a line names, of all that it counts."""

IMAGE_SUFFIXES = {".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jpg", ".jpeg"}


@dataclass
class LeftOut:
    """What was met in folders and is not among the images: paths of files that have no image's name or are none at all
    (pipes, devices), and of links to folders or to what lies outside."""

    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """A line for each kind of which there is any."""
        kinds = ((self.files, "no image or not named as one"), (self.links, "a link to a folder or out of its own"))
        for paths, what in kinds:
            if paths:
                some = "1 file" if len(paths) == 1 else f"{len(paths)} files"
                yield f"{some} left out, {what}: {', '.join(paths[:NAMED])}{', ...' * (len(paths) > NAMED)}"


def find_images(inputs: Sequence[str], left_out: LeftOut | None = None) -> list[tuple[str, Path]]:
    """Name in the archive and path of every image of the inputs: files as they are, folders walked in sorted order.

    A file given by itself is named by its own name, one in a folder by its path relative to it. Links are followed
    where they are given by themselves, and in a folder where they lead to a file of that folder.

    left_out: gets what is not among the images.

    Raises:
        ImageError: an input does not exist, a folder cannot be read or holds no image, or a name cannot stand in an
            archive or occurs twice.
    """
    left_out = LeftOut() if left_out is None else left_out
    found: list[tuple[str, Path]] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            inside = [place for place in _walk(path, left_out) if _is_image(place, left_out)]
            if not inside:
                raise ImageError(f"{name}: there is no image in this folder")
            found += sorted((p.relative_to(path).as_posix(), p) for p in inside)
        elif path.exists():
            found.append((path.name, path))
        else:
            raise ImageError(f"{name}: no such file")
    _check_names(found)
    return found


def _is_image(path: Path, left_out: LeftOut) -> bool:
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return True
    left_out.files.append(str(path))
    return False


def _walk(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """The files in a folder and those below it. Raises ImageError where one cannot be listed: none is left out."""

    def fail(error: OSError) -> NoReturn:
        raise ImageError(f"{error.filename}: cannot be read: {error.strerror or error}")

    root = Path(os.path.realpath(folder))
    for place, folders, files in os.walk(folder, onerror=fail):
        left_out.links += (os.path.join(place, name) for name in folders if os.path.islink(os.path.join(place, name)))
        for name in files:
            path = Path(place) / name
            if path.is_symlink() and root not in Path(os.path.realpath(path)).parents:
                left_out.links.append(str(path))
            else:
                yield path


def _check_names(found: Sequence[tuple[str, Path]]) -> None:
    taken: dict[str, Path] = {}
    for name, path in found:
        if fault := name_fault(name):
            raise ImageError(f"{str(path)!r} cannot have its name in an archive: it {fault}")
        if name in taken:
            raise ImageError(f"two images have the name {name!r}: {taken[name]} and {path}")
        taken[name] = path


def modified(path: Path) -> int:
    """When a file was modified: whole seconds since 1970, the nearest that an archive can say. Raises OSError."""
    return min(max(path.stat().st_mtime_ns // 10**9, FIRST_TIME), LAST_TIME)


def open_input(name: str) -> BinaryIO:
    """A seekable binary file; - is stdin. Raises OSError, BBCError."""
    if name == STANDARD_STREAM:
        return io.BytesIO(read_standard_input())
    file = Path(name).open("rb")  # noqa: SIM115
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def read_standard_input() -> bytes:
    """All of stdin. Raises BBCError where it is closed."""
    if sys.stdin is None:  # so Python has it when it was closed at the start
        raise BBCError("standard input is closed")
    return sys.stdin.buffer.read()
