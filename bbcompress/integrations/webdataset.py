"""Files of bbc for WebDataset: members `.bbc` of tar files, and archives in place of tar files.

It needs nothing of the library, which asks decoders and stages of pipelines only to be callable.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from bbcompress import arguments
from bbcompress.api import limits_of
from bbcompress.archive.signature import SUFFIX
from bbcompress.collection import Archive
from bbcompress.errors import BBCError, FormatError
from bbcompress.images.image import PixelImage, Pixels
from bbcompress.images.write import write_image
from bbcompress.lazy import cached_property
from bbcompress.limits import MAX_PIXELS, READER_K
from bbcompress.models.cache import Models
from bbcompress.pipeline.options import open_models
from bbcompress.pipeline.reader import Reader

Sample = dict[str, Any]
FORMS = ("png", "npy")


@arguments.checked_class
class BBCDecoder:
    """A decoder for `WebDataset.decode`: members whose names end with `.bbc`, files of one image each, become arrays of
    their pixels, as from `bbcompress.decompress`. It leaves others to the decoders behind it.

    It loads each model once, and each process that it is sent to does so for itself.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        device: str = "cpu",
        max_pixels: int = MAX_PIXELS,
        max_steps: int = READER_K,
    ) -> None:
        """model, device, max_pixels, max_steps: as of `bbcompress.open`. Raises BBCError."""
        self._choice = arguments.model(model), device
        self._limits = limits_of(max_pixels, max_steps)

    def __call__(self, key: str, data: bytes) -> Pixels | None:
        """The pixels of a member, None where it is no file of bbc by its name.

        Raises:
            FormatError: it is damaged, or an archive. ModelError: the model that it names is missing. LimitError: its K
            is above the limit.
        """
        if not key.lower().endswith(SUFFIX):
            return None
        reader = Reader(io.BytesIO(data), self._models, self._limits)
        if reader.is_archive:
            raise FormatError("this is an archive of several images")
        return reader.read(0).pixels

    @cached_property
    def _models(self) -> Models:
        return open_models(*self._choice)

    def __getstate__(self) -> dict[str, Any]:
        return {"_choice": self._choice, "_limits": self._limits}


bbc_decoder = BBCDecoder()
"""A decoder with the models that are installed: `WebDataset(...).decode(bbc_decoder)`."""


@arguments.checked
def archive_samples(
    archive: str | Path,
    form: str = "png",
    model: str | Path | None = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    max_steps: int = READER_K,
) -> Iterator[Sample]:
    """The images of an archive as samples of WebDataset, in the order of the file; each group is decoded once.

    A sample has `__key__`, the name of the image without its suffix, and `__url__`, the archive. form: `png`: it has
    the pixels as the bytes of a PNG, without metadata, under `png`, which the decoders of WebDataset take; `npy`: it
    has them as an array under `npy`, which is decoded already. model, device, max_pixels, max_steps: as of
    `bbcompress.open`, which says also what `archive` may be: a path or a URL.

    Raises:
        FormatError: the archive is damaged. ModelError: a model is missing. ImageError: PNG does not hold an image.
        LimitError: K is above the limit. BBCError: the file cannot be read, or there is no such form.
    """
    if form not in FORMS:
        raise BBCError(f"there is no form {form!r}; choose {' or '.join(FORMS)}")
    opened = Archive(archive, model, device, max_pixels, max_steps)
    return _samples(opened, str(archive), form)


def _samples(archive: Archive, url: str, form: str) -> Iterator[Sample]:
    with archive:
        for name, image in archive.images():
            key = PurePosixPath(name).with_suffix("").as_posix()
            try:
                value = image.pixels if form == "npy" else _png(image)
            except BBCError as error:
                raise error.of(name) from error
            yield {"__key__": key, "__url__": url, form: value}


def _png(image: PixelImage) -> bytes:
    return write_image(image.without_metadata(), "png")[0]


class ArchivesToSamples:
    """A stage for `webdataset.DataPipeline`, behind those that give it shards: archives take the place of tar files."""

    def __init__(self, form: str = "png", handler: Callable[[Exception], bool] | None = None, **options: Any) -> None:
        """form, options: as of `archive_samples`. handler: what is done with errors, one of those of WebDataset: where
        it gives True the next shard follows, else there are no more; None raises them."""
        if handler is not None and not callable(handler):
            raise BBCError(f"handler must be a function of an error, not {arguments.shown(handler)}")
        self._form, self._handler, self._options = form, handler, options

    def __call__(self, shards: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
        for shard in shards:
            try:
                yield from archive_samples(shard["url"], self._form, **self._options)
            except Exception as error:
                if self._handler is None:
                    raise
                if not self._handler(error):
                    return
