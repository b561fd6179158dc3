"""Files and folders: what to read, and the names of what is written."""

from __future__ import annotations

import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn

from bbcompress.archive.names import name_fault
from bbcompress.archive.times import FIRST_TIME, LAST_TIME
from bbcompress.errors import BBCError, ImageError

SUFFIX = ".bbc"
STANDARD_STREAM = "-"
MAX_NAMES = 1 << 22
NAMED = 3
"""Paths that a line names, of all that it counts."""

_WINDOWS_REFUSES = re.compile(r'[<>:"|?*\x00-\x1f]')
_WINDOWS_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789")}
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


def odd_names(names: Sequence[str]) -> Iterator[str]:
    """A line for each kind of names that some systems cannot hold; there, images come back under others."""
    lower = Counter(name.lower() for name in names)
    alike = [name for name in names if lower[name.lower()] > 1]
    if alike:
        yield f"{len(alike)} names differ only in case, such as {alike[0]!r}: not all systems can hold them as they are"
    refused = [name for name in names if windows_name(name) != name]
    if refused:
        some = "1 name" if len(refused) == 1 else f"{len(refused)} names"
        yield f"{some}, such as {refused[0]!r}, cannot be held as they are by Windows"


def windows_name(name: str) -> str:
    """The name, or one that Windows can hold: no character and no device name that it refuses."""
    parts = []
    for part in name.split("/"):
        part = _WINDOWS_REFUSES.sub("_", part)
        part = re.sub(r"[ .]$", "_", part)
        stem = part.partition(".")[0].rstrip(" ").upper()
        parts.append(f"_{part}" if stem in _WINDOWS_DEVICES else part)
    return "/".join(parts)


def list_names(names: Sequence[str | None]) -> list[str | None]:
    """The names, in memory. Raises BBCError for so many as only a forged archive claims; a few bytes can."""
    if len(names) > MAX_NAMES:
        raise BBCError(f"there are {len(names)} images; at most {MAX_NAMES} can be listed")
    return list(names)


def select(names: Sequence[str | None], patterns: Sequence[str]) -> list[int] | None:
    """Positions of the images whose name, its last part or, of one without a name, number fits one of the patterns (as
    a shell has them: `*`, `?`, `[a-z]`; case counts). None for no patterns. Raises BBCError where one fits nothing."""
    if not patterns:
        return None
    listed = [number_name(place, len(names)) if name is None else name for place, name in enumerate(list_names(names))]
    chosen: set[int] = set()
    for pattern in patterns:
        fits = re.compile(translate(pattern)).match
        found = [place for place, name in enumerate(listed) if fits(name) or fits(name.rpartition("/")[2])]
        if not found:
            raise BBCError(f"no image has a name that fits {pattern!r}")
        chosen.update(found)
    return sorted(chosen)


def number_name(position: int, count: int) -> str:
    """What an image without a name, one of `count` images, is called."""
    return f"{position:0{max(5, len(str(count)))}}"


def image_names(names: Sequence[str | None], suffix: str = ".png") -> list[str]:
    """A file name with the suffix for each image of an archive, all of them distinct: `a.png` and `a.PNG` stay as they
    are, `a.jpg` becomes `a.png`, or `a.jpg.png` where there is an `a.png` or `a.PNG`, or `a.jpg-2.png`; images without
    a name are numbered."""
    wanted = [number_name(place, len(names)) if name is None else name for place, name in enumerate(list_names(names))]
    taken = {name.lower() for name in wanted if name.lower().endswith(suffix)}
    result = []
    for name in wanted:
        if not name.lower().endswith(suffix):
            whole = name
            name = str(PurePosixPath(name).with_suffix(suffix))
            tries = 1
            while name.lower() in taken:
                name = f"{whole}{'' if tries == 1 else f'-{tries}'}{suffix}"
                tries += 1
            taken.add(name.lower())
        result.append(name)
    return result


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
