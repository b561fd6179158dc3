"""The codec `bbc` of zarr 3: each chunk of an array is the file of one image.

zarr finds it by its entry point: `zarr.create_array(..., serializer=BBCCodec())` writes by it, and arrays that were
written by it are opened as any others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bbcompress import arguments
from bbcompress.errors import NEEDS_ZARR, BBCError, FormatError, LimitError, ModelError
from bbcompress.images.image import PixelImage, samples_of
from bbcompress.images.region import Region
from bbcompress.integrations.chunks import NAME, ChunkCoder, Layout, NumpyArray, described_call
from bbcompress.limits import DEFAULT_EFFORT

try:
    from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"the codec {NAME} of zarr {NEEDS_ZARR}", name=error.name) from error

if TYPE_CHECKING:
    from typing_extensions import Self


@arguments.checked_class
@dataclass(frozen=True, init=False, repr=False)
class BBCCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """The serializer of arrays of uint8 and uint16 whose chunks are images: (y, x), (y, x, c), (c, y, x) or (1, y, x),
    with c from 1 to 4 samples, and any number of further axes of length 1 in front.

    Each chunk is a file of bbc. The metadata of the array name the models that may code it, with their hashes.
    """

    is_fixed_size = False

    coder: ChunkCoder

    def __init__(
        self,
        *,
        effort: int = DEFAULT_EFFORT,
        model: str | Path | None = None,
        k: int | None = None,
        learn: bool | None = None,
        models: Any = None,
        block_size: int | None = None,
    ) -> None:
        """effort, model, k, learn, block_size: as of `bbcompress.compress`; k is at most 100, and what is written is
        always decoded again and compared. models: what the metadata of an array say; None takes the model that is asked
        for, or else those that `bbcompress.compress` tries.

        Raises:
            ModelError: there is no such model. BBCError: a value is out of range. CallError: there is no such option.
        """
        object.__setattr__(self, "coder", ChunkCoder.of(effort, model, k, learn, models, block_size))

    def __repr__(self) -> str:
        return described_call(self, self.coder.config)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The codec that the metadata of an array describe. Raises as `BBCCodec`."""
        given = data.get("configuration", {})
        if data.get("name") != NAME or not isinstance(given, dict):
            raise BBCError(f"this is no configuration of the codec {NAME}: {data!r:.200}")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """What the metadata of an array say."""
        return {"name": NAME, "configuration": self.coder.config}

    def evolve_from_array_spec(self, array_spec: Any) -> Self:
        """The codec of an array: no model codes samples of 16 bits.

        Raises:
            ImageError: the codec does not take the type of its values, or a model was asked for that does not code
            them.
        """
        coder = self.coder.for_dtype(array_spec.dtype.to_native_dtype())
        return self if coder == self.coder else type(self)(**coder.config)

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raises ImageError where the codec does not take chunks of the type or shape."""
        coder = self.coder.for_dtype(dtype.to_native_dtype())
        chunk_shape = getattr(chunk_grid, "chunk_shape", None)  # of a regular grid
        if chunk_shape is not None:
            coder.check(Layout.of(chunk_shape))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Raises NotImplementedError: it depends on the values."""
        raise NotImplementedError

    def _encode_sync(self, chunk_array: Any, chunk_spec: Any) -> Any:
        chunk: NumpyArray = chunk_array.as_numpy_array()
        coder = self.coder.for_dtype(chunk.dtype.newbyteorder("="))  # into an array values of either order are written
        layout = Layout.of(chunk.shape)
        return chunk_spec.prototype.buffer.from_bytes(coder.encode(layout.image(chunk), layout))

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        return self._decoded(chunk_bytes, chunk_spec, f"a chunk {chunk_spec.shape}")

    def _decoded(self, chunk_bytes: Any, chunk_spec: Any, name: str, selection: Any = None) -> Any:
        """A chunk, or what a selection has of it."""
        shape, dtype = chunk_spec.shape, chunk_spec.dtype.to_native_dtype()
        layout, data = Layout.of(shape), chunk_bytes.to_bytes()
        region = whole = Region.whole(layout.height, layout.width)
        part = layout.part(selection, shape)
        if part is not None:
            region, shape, selection = part
        try:
            if region == whole:
                image = self.coder.decode(data, layout.height * layout.width)
            else:
                image = self.coder.decode_region(data, layout, region)
            found = image.height, image.width, samples_of(image.mode)
            if image.pixels.dtype != dtype or found != (region.height, region.width, layout.samples):
                raise FormatError(f"it holds {_described(image)}, not a chunk {chunk_spec.shape} of {dtype}")
        except (FormatError, ModelError, LimitError) as error:
            raise error.of(name) from error
        chunk = chunk_spec.prototype.nd_buffer.from_numpy_array(layout.chunk(image, shape))
        return chunk if selection is None else chunk[selection]

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _decode_partial_single(self, byte_getter: Any, selection: Any, chunk_spec: Any) -> Any:
        """As `_decode_single`, but here zarr says what of a chunk it wants, so that no more blocks are decoded than
        that takes, and where the chunk comes from, so that an error can name it."""
        chunk_bytes = await byte_getter.get(prototype=chunk_spec.prototype)
        if chunk_bytes is None:
            return None
        name = _name_of(byte_getter)
        return await asyncio.to_thread(self._decoded, chunk_bytes, chunk_spec, name, selection)


def _name_of(byte_getter: Any) -> str:
    """Where a chunk is: its place in the store, or in its shard."""
    place = getattr(byte_getter, "chunk_coords", None)
    return f"chunk {byte_getter}" if place is None else f"chunk {tuple(map(int, place))} of a shard"


def _described(image: PixelImage) -> str:
    return f"an image of {image.width}x{image.height} pixels of mode {image.mode}"
