"""Files and folders that are read."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from bbcompress.archive.manifest import MANIFEST, MAX_MANIFEST_BYTES, START
from bbcompress.archive.names import new_name_fault
from bbcompress.archive.sharded import ShardSource
from bbcompress.archive.times import FIRST_TIME, LAST_TIME
from bbcompress.errors import BBCError, ImageError, MissingFileError, MissingImageError, OutputExistsError
from bbcompress.images.formats.registry import image_suffixes
from bbcompress.limits import MAX_FILE_BYTES, STANDARD_STREAM
from bbcompress.system import storage
from bbcompress.system.storage import CHAINED, Place, Url
from bbcompress.system.temporary import is_temporary
from bbcompress.text import count_of, some_of


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
                yield f"{count_of(len(paths), kind)} {what}: {some_of(paths)}"


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
        return some_of(self.reasons, between="; ")


class Source(NamedTuple):
    """A file that is to be an image of an archive: its name there, its place, and whether it was given by itself, not
    met in a folder."""

    name: str
    path: Place
    given: bool


class SameFile:
    """Whether paths lead to one file, which need not be there yet, however they are written and through any link."""

    def __init__(self, path: Place) -> None:
        self._url = path if isinstance(path, Url) else None
        self._there: os.stat_result | None = None
        if isinstance(path, Path):
            self._place = folder_and_name(path)
            with suppress(OSError):
                self._there = os.stat(path)

    def __call__(self, path: Place) -> bool:
        """Whether this path does."""
        if self._url is not None or isinstance(path, Url):
            return self._url == path
        if self._there is None:
            return path.name == self._place[1] and folder_and_name(path) == self._place
        try:
            return os.path.samestat(self._there, os.stat(path))
        except OSError:
            return False


def folder_and_name(path: Place, known: dict[Path, str] | None = None) -> tuple[str, str]:
    """The folder of a path, without links, and its name in that folder, which may itself be a link; of a URL all of it,
    and no name.

    Args:
        known: what was found of folders before.
    """
    if isinstance(path, Url):
        return path.address.rstrip("/"), ""
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
    output: Place | None = None,
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
    places: dict[tuple[str, str], Place] = {}
    for name in inputs:
        path = storage.place_of(name)
        place = folder_and_name(path, known)
        if place in places:
            (left_out.folders if storage.is_folder(path) else left_out.repeated).append(str(path))
        places.setdefault(place, path)
    found: list[Source] = []
    seen: set[tuple[str, str]] = set()
    for (place, path), label in zip(places.items(), _labels(places), strict=True):
        if storage.is_folder(path):
            prefix = f"{label}/" if len(places) > 1 and label else ""
            if prefix and (fault := new_name_fault(label)):
                raise ImageError(f"{str(path)!r} cannot have its name in an archive: it {fault}")
            inside = _images_in(path, left_out, skipped, is_output)
            sources = [Source(prefix + within, one, False) for within, one in inside]
            keys = [folder_and_name(one, known) for _, one in inside]
        elif isinstance(path, Url) or not storage.is_missing(path):  # what a URL lacks is told when it is read
            sources, keys = [Source(label, path, True)], [place]
        else:
            skipped.take(MissingImageError(f"{path}: no such file"), True)
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


def _labels(places: Mapping[tuple[str, str], Place]) -> list[str]:
    """What inputs are called in an archive: by their own names, with so many folders before them as tell them apart."""
    parts = [
        place.parts if isinstance(place, Url) else (*Path(folder).parts[1:], name) if name else ()
        for (folder, name), place in places.items()
    ]
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


def _images_in(
    folder: Place, left_out: LeftOut, skipped: Skipped, is_output: SameFile | None
) -> list[tuple[str, Place]]:
    """The images in a folder and those below it, by their paths relative to it, in sorted order.

    Raises:
        ImageError: the folder holds no images and no files that cannot be read.
    """
    before = len(skipped.reasons)
    if isinstance(folder, Url):
        images = _images_below(folder, left_out, skipped, is_output)
    else:
        images = _images_of_paths(folder, left_out, skipped, is_output)
    if not images and len(skipped.reasons) == before:
        skipped.take(ImageError(f"{folder}: there is no image in this folder"), True)
    return sorted(images, key=lambda image: image[0])


def _images_of_paths(
    folder: Path, left_out: LeftOut, skipped: Skipped, is_output: SameFile | None
) -> list[tuple[str, Place]]:
    """The images in a folder of this machine, and in those below it."""
    images: list[tuple[str, Place]] = []
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
    return images


def _images_below(url: Url, left_out: LeftOut, skipped: Skipped, is_output: SameFile | None) -> list[tuple[str, Place]]:
    """The images in a folder of a URL, and in those below it."""
    images: list[tuple[str, Place]] = []
    for found in storage.list_folder(url):
        if PurePosixPath(found.name).suffix.lower() in image_suffixes():
            if CHAINED in found.name:
                skipped.take(ImageError(f"{url}: {found.name!r} cannot be read: no URL has {CHAINED} in a name"), False)
                continue
            images.append((found.name, found.place))
        elif is_output is None or not is_output(found.place):
            left_out.files.append(str(found.place))
    return images


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
    taken: dict[str, Place] = {}
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


def read_file(path: Place, label: str) -> bytes:
    """The bytes of a file that is to be an image.

    Args:
        label: what errors call it.

    Raises:
        ImageError: the file cannot be read or is being written.
    """
    if isinstance(path, Url):
        return _read_url(path)
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


def readable(place: Place) -> Path | bytes:
    """What `read_image` takes of a place: a path, or the bytes that a URL names. Raises ImageError."""
    return _read_url(place) if isinstance(place, Url) else place


def _read_url(url: Url) -> bytes:
    """Raises ImageError where it cannot be read."""
    try:
        size = storage.look_up(url).size
        if size is not None and size > MAX_FILE_BYTES:
            raise ImageError(f"{url}: has more than {MAX_FILE_BYTES} bytes, which no image needs")
        data = storage.read_bytes(url)
    except MissingFileError as error:
        raise MissingImageError(str(error)) from None
    except BBCError as error:
        raise ImageError(str(error)) from None
    if not data:
        raise ImageError(f"{url}: is empty")
    return data


def modified(path: Place) -> int | None:
    """When a file was modified: whole seconds since 1970, the nearest that an archive can say; None where that is not
    known, as of URLs it may not be.

    Raises:
        OSError: the operating system reports an error.
    """
    when = storage.look_up(path).modified if isinstance(path, Url) else path.stat().st_mtime_ns // 10**9
    return None if when is None else archive_time(when)


def archive_time(seconds: int) -> int:
    """The nearest time that an archive can say, in seconds since 1970."""
    return min(max(seconds, FIRST_TIME), LAST_TIME)


def open_input(name: str) -> BinaryIO:
    """A seekable binary file, by its path or URL; - is stdin. Of a sharded archive, given by its folder or its
    manifest, it is a `ShardSource`.

    Raises:
        BBCError: stdin is closed, a file cannot be read, or a folder holds no manifest.
    """
    return io.BytesIO(read_standard_input()) if name == STANDARD_STREAM else open_place(storage.place_of(name))


def open_place(place: Place) -> BinaryIO:
    """The same of a path or URL."""
    if isinstance(place, Path) and storage.is_folder(place):
        place = _manifest_in(place)
    try:
        file = storage.open_to_read(place)
    except MissingFileError:
        if isinstance(place, Path) or not storage.is_folder(place):
            raise
        place = _manifest_in(place)
        file = storage.open_to_read(place)
    if not file.seekable():
        with file:
            return io.BytesIO(file.read())
    start = file.read(len(START))
    file.seek(0)
    if start != START:
        return file
    with file:
        manifest = file.read(MAX_MANIFEST_BYTES + 1)
    return ShardSource(manifest, str(place), partial(_open_shard, place.parent))


def _open_shard(folder: Place, name: str) -> BinaryIO:
    """Raises OSError, BBCError."""
    if isinstance(folder, Url):
        if CHAINED in name:
            raise BBCError(f"no URL has {CHAINED} in a name")
        return storage.open_to_read(folder / name)
    path = folder / name
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise BBCError("it is no file")
    return path.open("rb")


def _manifest_in(folder: Place) -> Place:
    """The manifest of a sharded archive. Raises BBCError where there is none."""
    manifest = folder / MANIFEST
    if not (os.path.isfile(manifest) if isinstance(manifest, Path) else storage.exists(manifest)):
        raise BBCError(f"{folder}: is a folder, and holds no {MANIFEST} of a sharded archive")
    return manifest


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


def is_inside(path: Place, folder: Place) -> bool:
    """Whether a file, which need not be there, lies in a folder or below it, whatever links lead there."""
    if isinstance(path, Url) or isinstance(folder, Url):
        return isinstance(path, Url) and isinstance(folder, Url) and folder.has(path)
    place = Path(os.path.realpath(path))
    return Path(os.path.realpath(folder)) in place.parents
