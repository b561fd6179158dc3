"""The codec `bbc` of numcodecs, for arrays of zarr's format 2: each chunk is the file of one image.

numcodecs finds it by its entry point: `numcodecs.get_codec({"id": "bbc"})`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bbcompress import arguments
from bbcompress.errors import NEEDS_ZARR, BBCError, FormatError, ImageError, LimitError, ModelError
from bbcompress.integrations.chunks import NAME, ChunkCoder, Layout, NumpyArray, described_call
from bbcompress.limits import DEFAULT_EFFORT

try:
    from numcodecs.abc import Codec
    from numcodecs.compat import ensure_bytes, ensure_ndarray, ndarray_copy
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"the codec {NAME} of numcodecs {NEEDS_ZARR}", name=error.name) from error


@arguments.checked_class
class BBC(Codec):
    """The compressor of arrays of uint8 and uint16 whose chunks are images: (y, x), (y, x, c) or (1, y, x), with c from
    1 to 4 samples, and any number of further axes of length 1 in front; (c, y, x) where `samples_first` says so.

    numcodecs tells a codec nothing of the array: what is decoded has the order of values of what was encoded, and zarr
    gives it its shape.
    """

    codec_id = NAME

    def __init__(
        self,
        effort: int = DEFAULT_EFFORT,
        model: str | Path | None = None,
        k: int | None = None,
        learn: bool | None = None,
        samples_first: bool = False,
        models: Any = None,
    ) -> None:
        """effort, model, k, learn: as of `bbcompress.compress`; k is at most 100, and what is written is always
        decoded again and compared. samples_first: whether chunks are (c, y, x). models: what the metadata of an array
        say; None takes the model that is asked for, or else those that `bbcompress.compress` tries.

        Raises:
            ModelError: there is no such model. BBCError: a value is out of range. CallError: there is no such option.
        """
        self._coder = ChunkCoder.of(effort, model, k, learn, models)
        self._samples_first = arguments.flag("samples_first", samples_first)

    def encode(self, buf: Any) -> bytes:
        """The file of a chunk: an array, or a buffer that has a shape, contiguous in C's or Fortran's order.

        Raises:
            ImageError: it has another shape or type. ModelError: a model is not installed.
        """
        chunk: NumpyArray = ensure_ndarray(buf)
        coder = self._coder.for_dtype(chunk.dtype)
        if not chunk.flags.c_contiguous:
            chunk = chunk.T  # of Fortran's order: the same memory, to which zarr gives its axes
        if not chunk.flags.c_contiguous:
            raise ImageError(f"the codec {NAME} takes chunks that are contiguous in memory")
        layout = Layout.of(chunk.shape, self._samples_first)
        if layout.samples > 1 and layout.first != self._samples_first:
            raise ImageError(
                f"the samples of a chunk {chunk.shape} are the {'first' if layout.first else 'last'} axis in memory: "
                f"the codec {NAME} takes it with samples_first={layout.first}"
            )
        return coder.encode(layout.image(chunk), layout)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The values of a chunk, in the order in memory of what was encoded, as an array; or `out`, which is filled
        with them, and has to have as many bytes.

        Raises:
            FormatError: the file is damaged, or not that of a chunk. ModelError: the model that it needs is missing.
            BBCError: `out` has another size.
        """
        data = ensure_bytes(buf)
        try:
            pixels = self._coder.decode(data).pixels
        except (FormatError, ModelError, LimitError) as error:
            raise error.of(f"a chunk of {len(data)} bytes") from error
        if self._samples_first and pixels.ndim == 3:
            pixels = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
        if out is None:
            return pixels
        if memoryview(out).nbytes != pixels.nbytes:
            raise BBCError(f"a chunk of {pixels.nbytes} bytes does not fit into an output of {memoryview(out).nbytes}")
        return ndarray_copy(pixels, out)

    def get_config(self) -> dict[str, Any]:
        """What the metadata of an array say."""
        return {"id": NAME, **self._coder.config, "samples_first": self._samples_first}

    def __repr__(self) -> str:
        return described_call(self, {**self._coder.config, "samples_first": self._samples_first})
