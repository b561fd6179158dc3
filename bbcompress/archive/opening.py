"""Which kind of file of bbc a file is."""

from __future__ import annotations

from typing import BinaryIO

from bbcompress.archive.container import ArchiveFile
from bbcompress.archive.file import BBCFile, check_magic, is_archive
from bbcompress.archive.lone import LoneFile
from bbcompress.archive.manifest import START
from bbcompress.archive.sharded import ShardedFile, ShardSource
from bbcompress.archive.signature import PREFIX
from bbcompress.errors import FormatError
from bbcompress.limits import DEFAULT_LIMITS, Limits


def open_file(file: BinaryIO, limits: Limits = DEFAULT_LIMITS, keep_going: bool = False) -> BBCFile:
    """The file of bbc that a seekable file is.

    Args:
        file: it stays open and is not closed here. A `ShardSource` is a sharded archive.
        keep_going: find what is left of an archive whose end, beginning or indexes are damaged.

    Raises:
        FormatError: it is no file of bbc, or damaged.
    """
    if isinstance(file, ShardSource):
        return ShardedFile(file, limits, keep_going)
    file.seek(0)
    start = file.read(len(START))
    if start == START:
        raise FormatError("the file is a manifest of shards: give its path, or that of its folder")
    start = start[: len(PREFIX)]
    try:
        check_magic(start)  # before what may be a large file of something else is read
        if not is_archive(start):
            file.seek(0)
            return LoneFile(file.read(), limits)
    except FormatError as fault:
        if not keep_going:
            raise
        try:  # its first bytes may be what is damaged
            return ArchiveFile(file, limits, keep_going)
        except FormatError:
            raise fault from None
    return ArchiveFile(file, limits, keep_going)
