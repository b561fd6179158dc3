"""Names of the files that the images of an archive become: every archive can be brought out, whatever its names are.

A name comes back as it is where the file can have it. It changes where its suffix says another format, where another
image has the name or it is a folder of others, and where a system cannot hold it.
"""

from __future__ import annotations

import os
import re
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from unicodedata import normalize

from bbcompress.archive.names import MAX_NAME_BYTES
from bbcompress.errors import BBCError
from bbcompress.system.windows import windows_name

MAX_NAMES = 1 << 22
MAX_DEPTH = 100
"""Folders that a file is in, one in the other; what is deeper comes out in the last of these."""

_SUFFIX = 12
"""Bytes of a suffix where a name is changed: a longer one is cut."""

_NUMBERING = 20
"""Bytes that such a suffix and a number take at most."""


@dataclass(frozen=True)
class NameLimits:
    """How long the names of files may be in some folder, in bytes: each part, and the whole path from that folder."""

    part: int = 255
    whole: int = MAX_NAME_BYTES

    @staticmethod
    def of(folder: Path) -> NameLimits:
        """Those of a folder, which need not be there yet."""
        place = Path(os.path.abspath(folder))
        part, path = 255, {"darwin": 1024, "win32": 260}.get(sys.platform, 4096)
        there = next((one for one in (place, *place.parents) if os.path.isdir(one)), place)
        if hasattr(os, "pathconf"):
            with suppress(OSError, ValueError):
                part = min(part, max(os.pathconf(there, "PC_NAME_MAX"), 0) or part)
                path = min(path, max(os.pathconf(there, "PC_PATH_MAX"), 0) or path)
        # Files are written in a temporary folder inside it first.
        return NameLimits(part, max(part, path - len(os.fsencode(place)) - 32))


def list_names(names: Sequence[str | None]) -> list[str | None]:
    """The names, in memory.

    Raises:
        BBCError: there are so many as only a forged archive claims.
    """
    if len(names) > MAX_NAMES:
        raise BBCError(f"there are {len(names)} images; at most {MAX_NAMES} can be listed")
    return list(names)


def number_name(position: int, count: int) -> str:
    """What an image without a name, one of `count` images, is called."""
    return f"{position:0{max(5, len(str(count)))}}"


def _called(names: Sequence[str | None]) -> list[str]:
    """The names, numbers where there are none."""
    return [number_name(place, len(names)) if name is None else name for place, name in enumerate(list_names(names))]


def select(names: Sequence[str | None], patterns: Sequence[str]) -> list[int] | None:
    """Positions of the images whose name, its last part or, of one without a name, number fits one of the patterns (as
    a shell has them: `*`, `?`, `[a-z]`; case counts). None for no patterns.

    Raises:
        BBCError: a pattern fits no name.
    """
    if not patterns:
        return None
    called = _called(names)
    chosen: set[int] = set()
    for pattern in patterns:
        fits = re.compile(translate(pattern)).match
        found = [place for place, name in enumerate(called) if fits(name) or fits(name.rpartition("/")[2])]
        if not found:
            raise BBCError(f"no image has a name that fits {pattern!r}")
        chosen.update(found)
    return sorted(chosen)


def odd_names(names: Sequence[str]) -> Iterator[str]:
    """A line for each kind of names that some systems cannot hold; there, images come back under others."""
    folded = Counter(map(_folded, names))
    alike = [name for name in names if folded[_folded(name)] > 1]
    if alike:
        yield (
            f"{len(alike)} names differ only in case or in how Unicode composes a letter, such as {alike[0]!r}: "
            f"not all systems can hold them as they are"
        )
    refused = [name for name in names if windows_name(name) != name]
    if refused:
        some = "1 name" if len(refused) == 1 else f"{len(refused)} names"
        yield f"{some}, such as {refused[0]!r}, cannot be held as they are by Windows"


def simple_name(name: str, suffix: str) -> str:
    """What a file of that suffix is called where nothing stands in the way."""
    return name if name.lower().endswith(suffix) else f"{_without_suffix(name)}{suffix}"


def lone_name(stem: str, suffix: str, limits: NameLimits = NameLimits()) -> str:
    """What the file of a lone image is called: as its file of bbc, but for the suffix. It changes where the system
    cannot hold it.

    Args:
        stem: the name of the file of bbc without its suffix. suffix: of the image's file, with its point.
    """
    name = f"{stem}{suffix}"
    if not _fits(name, limits):
        name = next(_candidates(name, suffix, limits, Counter()))
    return windows_name(name) if os.name == "nt" else name


def image_names(
    names: Sequence[str | None], suffix: str | Sequence[str] = ".png", limits: NameLimits = NameLimits()
) -> list[str]:
    """A file name with the suffix for each image of an archive, all of them distinct, none the folder of another, none
    above the limits.

    suffix: of all, or of each by itself, in lower case.

    `a.png` and `a.PNG` stay as they are; `a.jpg` becomes `a.png`, or `a.jpg.png` where there is an `a.png`, an `A.png`
    or a folder `a.png`, or else `a.jpg-2.png`. Where `a.png` is a folder of other images, or was cut to its length,
    it becomes `a-2.png`. Images without a name are numbered. Folders keep their names, cut to the limits.
    """
    placed = [_placed(name, limits) for name in _called(names)]
    folders = _Folders(placed)
    kept: set[str] = set()
    others = []
    suffixes = [suffix] * len(placed) if isinstance(suffix, str) else suffix
    for place, name in enumerate(placed):
        if name not in kept and _is_free(name, suffixes[place], limits, folders):  # two may have been cut to the same
            kept.add(name)
        else:
            others.append(place)
    if not others:
        return placed
    taken, numbers = {_folded(name) for name in kept}, Counter[str]()
    folders = _Folders([_folded(name) for name in placed])
    result = list(placed)
    for place in others:
        for candidate in _candidates(placed[place], suffixes[place], limits, numbers):
            folded = _folded(candidate)
            if folded not in taken and not folders.holds(folded):
                taken.add(folded)
                result[place] = candidate
                break
    return result


def _is_free(name: str, suffix: str, limits: NameLimits, folders: _Folders) -> bool:
    """Whether a file can have the name as it is, for all that other images' folders and lengths matter."""
    return name.lower().endswith(suffix) and _fits(name, limits) and not folders.holds(name)


def _candidates(name: str, suffix: str, limits: NameLimits, numbers: Counter[str]) -> Iterator[str]:
    """Names for a file that cannot have its own, without end.

    Args:
        numbers: how many a base has been given, so that many files that would have the same name do not try the same
            numbers again and again.
    """
    suffix = _cut(suffix, _SUFFIX)
    folder, slash, last = name.rpartition("/")
    room = min(limits.part, limits.whole - len(os.fsencode(folder + slash)))
    base = _without_suffix(last)
    yield f"{folder}{slash}{_cut(base, room - len(suffix.encode()))}{suffix}"
    if not last.lower().endswith(suffix):
        base = last
        yield f"{folder}{slash}{_cut(base, room - len(suffix.encode()))}{suffix}"
    key = _folded(f"{folder}{slash}{_cut(base, room - _NUMBERING)}")
    while True:
        numbers[key] += 1
        tail = f"-{numbers[key] + 1}{suffix}"
        yield f"{folder}{slash}{_cut(base, room - len(tail.encode()))}{tail}"


def _without_suffix(name: str) -> str:
    """A name without what is behind the last dot of its last part, unless that is all but dots."""
    stem, dot, _ = name.rpartition(".")
    last = stem.rpartition("/")[2]
    return stem if dot and last.strip(".") and "/" not in name[len(stem) :] else name


def _placed(name: str, limits: NameLimits) -> str:
    """The name with folders that the system can hold, and without those that are too deep for it."""
    if os.name == "nt":
        name = windows_name(name)
    if len(name) < limits.part and name.isascii() and name.count("/") <= MAX_DEPTH:
        return name
    *folders, last = name.split("/")
    folders = [_cut(folder, limits.part) for folder in folders[:MAX_DEPTH]]
    sizes = [len(folder.encode()) + 1 for folder in folders]
    size = sum(sizes) + min(len(last.encode()) + _NUMBERING, limits.part)
    while folders and size > limits.whole:
        folders.pop()
        size -= sizes.pop()
    return "/".join([*folders, last])


def _fits(name: str, limits: NameLimits) -> bool:
    """Whether a file can have the name, whose folders are within the limits already."""
    return len(name) * 4 <= limits.part or (
        len(name.rpartition("/")[2].encode()) <= limits.part and len(name.encode()) <= limits.whole
    )


def _cut(text: str, size: int) -> str:
    """The text, or as much of its beginning as so many bytes hold."""
    return text if len(text) * 4 <= size else text.encode()[:size].decode(errors="ignore")


def _folded(name: str) -> str:
    """What names have in common that a system may take for one: they differ in case, or in how Unicode writes them."""
    return name.lower() if name.isascii() else normalize("NFD", normalize("NFD", name).casefold())


class _Folders:
    """The folders of some names."""

    def __init__(self, names: Sequence[str]) -> None:
        # A slash as the least of all characters puts a folder's names directly behind its own.
        self._sorted = sorted(name.replace("/", "\0") for name in names) if any("/" in name for name in names) else []

    def holds(self, name: str) -> bool:
        """Whether one of the names is in a folder of this name."""
        inside = name.replace("/", "\0") + "\0"
        place = bisect_left(self._sorted, inside)
        return place < len(self._sorted) and self._sorted[place].startswith(inside)
