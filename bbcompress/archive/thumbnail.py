"""The preview of one image of a file, found without reading more than takes it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from bbcompress.archive.file import check_magic, is_archive
from bbcompress.archive.manifest import START
from bbcompress.archive.opening import open_file
from bbcompress.archive.previews import read_lone_preview
from bbcompress.archive.sharded import ShardSource
from bbcompress.errors import PreviewError


def read_preview(file: BinaryIO, choose: Callable[[Sequence[str | None]], int]) -> bytes | None:
    """The preview of an image of a seekable file; None where it has none. Of a lone image the beginning of the file is
    read, of an archive the indexes and the previews of the image's group.

    Args:
        choose: the position of the image, by the names of all images of an archive.

    Raises:
        FormatError: it is no file of bbc, or damaged as a whole. PreviewError: the preview is damaged.
    """
    if not isinstance(file, ShardSource):
        file.seek(0)
        start = file.read(len(START))
        if start != START:
            check_magic(start)
            if not is_archive(start):
                return _of_lone(file)
    archive = open_file(file)
    return archive.preview(choose(archive.names))


def _of_lone(file: BinaryIO) -> bytes | None:
    """Raises FormatError, PreviewError."""
    found = read_lone_preview(file)
    if found is not None and found.data is None:
        raise PreviewError("the preview is damaged: its checksum does not fit")
    return None if found is None else found.data
