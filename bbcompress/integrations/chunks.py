"""Chunks of arrays as files of one image each, for the codecs of zarr and numcodecs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bbcompress import arguments
from bbcompress.archive.embedded import ID_BYTES
from bbcompress.archive.lone import parse_lone
from bbcompress.codecs.fallback.kept import is_kept
from bbcompress.codecs.groups import decode_content
from bbcompress.errors import BBCError, FormatError, ImageError, MissingModelError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.kinds import BINARY, COLOUR, GREY
from bbcompress.images.region import Decoded, Region, Wanted
from bbcompress.limits import MAX_PIXELS, MAX_SIDE, READER_K, Limits
from bbcompress.models.cache import Models
from bbcompress.models.zoo import ModelEntry, Zoo
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.listing import facts_of
from bbcompress.pipeline.options import Options
from bbcompress.text import count_of

NumpyArray = np.ndarray[Any, Any]

NAME = "bbc"
"""Of the codecs, in the registries of zarr and numcodecs."""

MOST_SAMPLES = 4
"""Of a pixel."""

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))

_MODES = ("L", "LA", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16")
"""Of images that chunks become."""


class Layout(NamedTuple):
    """Where the axes of an image are in a chunk.

    height, width, samples: of the image. first: whether the samples are the first axis, not the last one.
    """

    height: int
    width: int
    samples: int
    first: bool

    @staticmethod
    def of(shape: Sequence[int], first: bool = False) -> Layout:
        """The layout of a chunk: (y, x), (y, x, c) or (c, y, x) with c from 1 to 4. Of four axes and more, those in
        front have length 1 and mean nothing.

        first: whether the first axis is that of the samples where both could be.

        Raises:
            ImageError: the shape is none of these, or too large for an image.
        """
        axes = tuple(shape)
        while len(axes) > 3 and axes[0] == 1:
            axes = axes[1:]
        could_be = [place for place in (first, not first) if len(axes) == 3 and axes[-1 + place] <= MOST_SAMPLES]
        if len(axes) == 2:
            layout = Layout(axes[0], axes[1], 1, False)
        elif could_be and could_be[0]:
            layout = Layout(axes[1], axes[2], axes[0], True)
        elif could_be:
            layout = Layout(axes[0], axes[1], axes[2], False)
        else:
            raise ImageError(
                f"the codec {NAME} takes chunks (y, x), (y, x, c), (c, y, x) and (1, y, x), with c from 1 to "
                f"{MOST_SAMPLES}, not {tuple(shape)}"
            )
        if max(layout.height, layout.width) > MAX_SIDE or layout.height * layout.width > MAX_PIXELS:
            raise ImageError(f"a chunk of {layout.height}x{layout.width} pixels is too large for the codec {NAME}")
        return layout

    def image(self, chunk: NumpyArray) -> PixelImage:
        """The chunk as an image."""
        axes = (self.samples, self.height, self.width) if self.first else (self.height, self.width, self.samples)
        pixels = chunk.reshape(axes)
        return from_array(np.moveaxis(pixels, 0, -1) if self.first else pixels)

    def part(self, selection: object, shape: Sequence[int]) -> ChunkPart | None:
        """The least rectangle of the image that holds a selection of a chunk of that shape; None where the selection is
        empty or another one than of numpy: integers from 0, slices and arrays of such integers, one for each axis."""
        axes = len(shape)
        if not isinstance(selection, tuple) or len(selection) != axes:
            return None
        rows = axes - 2 if axes == 2 or self.first else axes - 3
        found = [_span(index, length) for index, length in zip(selection[rows : rows + 2], shape[rows:], strict=False)]
        (top, bottom, of_rows), (left, right, of_columns) = (span or (0, 0, None) for span in found)
        if not top < bottom or not left < right:
            return None
        region = Region(left, top, right - left, bottom - top)
        its_shape = (*shape[:rows], region.height, region.width, *shape[rows + 2 :])
        return ChunkPart(region, its_shape, (*selection[:rows], of_rows, of_columns, *selection[rows + 2 :]))

    def chunk(self, image: PixelImage, shape: Sequence[int]) -> NumpyArray:
        """The image as a chunk of that shape."""
        pixels = image.pixels if image.pixels.ndim == 3 else image.pixels[:, :, None]
        return (np.moveaxis(pixels, -1, 0) if self.first else pixels).reshape(tuple(shape))


class ChunkPart(NamedTuple):
    """A rectangle of the image of a chunk: its region, the shape of the chunk if it were no larger, and a selection of
    the chunk as one of that."""

    region: Region
    shape: tuple[int, ...]
    selection: tuple[Any, ...]


def _span(index: object, length: int) -> tuple[int, int, Any] | None:
    """From where to where an index of an axis reaches, and the same index counted from there; None for others."""
    if isinstance(index, slice):
        numbers = range(length)[index]
        if not numbers or numbers.step < 0:
            return None
        first, end = numbers[0], numbers[-1] + 1
        return first, end, slice(0, end - first, numbers.step)
    values = np.asarray(index)
    if values.dtype.kind not in "iu" or not values.size or values.min() < 0 or values.max() >= length:
        return None
    first = int(values.min())
    return first, int(values.max()) + 1, values - first if values.ndim else int(values) - first


class NamedModel(NamedTuple):
    """A model as the metadata of an array name it: its name, for people, and its id, in hexadecimal digits."""

    name: str
    id: str

    @staticmethod
    def parsed(given: object) -> NamedModel:
        """Raises BBCError where it is not what `config` writes."""
        if not isinstance(given, Mapping) or set(given) != set(NamedModel._fields):
            raise BBCError(f"each of the models of the codec {NAME} must have a name and an id, not {given!r:.60}")
        name, digits = given["name"], given["id"]
        try:
            identity = bytes.fromhex(digits)
        except (TypeError, ValueError):
            identity = b""
        if len(identity) != ID_BYTES or not isinstance(name, str):
            raise BBCError(f"the codec {NAME} cannot take a model of name {name!r:.60} and id {digits!r:.70}")
        return NamedModel(name, identity.hex())


class _UnnamedModelError(MissingModelError):
    """A chunk needs a model that its array does not name."""


class _NamedModels(Zoo):
    """The models that an array names, as far as they are installed, and no others."""

    def __init__(self, models: Sequence[NamedModel]) -> None:
        super().__init__()
        self._named = models
        self._take(self)

    def _take(self, installed: Zoo) -> None:
        found = [installed.installed(bytes.fromhex(model.id))[:1] for model in self._named]
        self.entries = self.chosen = [entry for entries in found for entry in entries]

    def require(self, models: Sequence[NamedModel]) -> None:
        """Look again for those of the models that were not installed before.

        Raises:
            MissingModelError: one still is not.
        """
        if self._first_missing(models) is not None:
            self._take(Zoo())
        missing = self._first_missing(models)
        if missing is not None:
            raise MissingModelError(
                f"this array needs the model {missing.name} with id {missing.id[:8]}..., which is not installed: "
                "bbc models add installs it"
            )

    def _first_missing(self, models: Sequence[NamedModel]) -> NamedModel | None:
        there = {entry.id.hex() for entry in self.entries}
        return next((model for model in models if model.id not in there), None)

    def named(self, prefix: bytes) -> list[ModelEntry]:
        """As of `Zoo`. Raises MissingModelError, which says which of the array's models is missing, or that it is none
        of them."""
        needed = [model for model in self._named if model.id.startswith(prefix.hex())]
        if not needed:
            raise _UnnamedModelError(
                f"damaged, or coded by a model (id {prefix.hex()}...) that the metadata of its array do not name"
            )
        self.require(needed)
        return super().named(prefix)


class _SharedModels(Models):
    """Those models, on the CPU. They can be used by several threads."""

    def __init__(self, models: Sequence[NamedModel]) -> None:
        self.named = _NamedModels(models)
        super().__init__(self.named, NumpyBackend())


@lru_cache(maxsize=64)
def _models_of(models: tuple[NamedModel, ...]) -> _SharedModels:
    """What all arrays of these models share in this process: each model is loaded once."""
    return _SharedModels(models)


def _models_for(model: str | Path | None) -> tuple[NamedModel, ...]:
    """The models that code images when this one is asked for; those that are tried by default for None."""
    zoo = Zoo(model)
    entries = zoo.chosen or [entry for entry in zoo.entries if entry.is_default]
    return tuple(dict.fromkeys(NamedModel(entry.name, entry.id.hex()) for entry in entries))


@dataclass(frozen=True)
class ChunkCoder:
    """Chunks to files of one image and back, by the models that the metadata of their array name.

    effort, k, learn, block_size: as in `Options`; k is at most what readers take without a word. model: the name of the
    model that was asked for, None for those of the kind. models: those that chunks may be coded by.
    """

    effort: int
    k: int | None
    learn: bool | None
    model: str | None
    models: tuple[NamedModel, ...]
    block_size: int | None = None

    @staticmethod
    def of(effort: Any, model: Any, k: Any, learn: Any, models: Any, block_size: Any = None) -> ChunkCoder:
        """What a program or the metadata of an array ask for.

        models: what `config` gives under this name, None to look for them.

        Raises:
            ModelError: there is no such model. BBCError: a value is out of range.
        """
        if k is not None:
            k = arguments.integer("k", k, 0, READER_K)
        options = Options(arguments.model(model), k, learn=learn, block_size=block_size, effort=effort)
        if models is None:
            named = _models_for(model)
            model = None if model is None else named[0].name if len(named) == 1 else Path(model).name
        elif isinstance(models, Sequence) and not isinstance(models, str):
            named = tuple(map(NamedModel.parsed, models))
        else:
            raise BBCError(f"models of the codec {NAME} must be a list, not {arguments.shown(models)}")
        name = None if model is None else str(model)
        return ChunkCoder(options.effort, options.k, options.learn, name, named, options.block_size)

    @property
    def config(self) -> dict[str, Any]:
        """What the metadata of an array say of the codec, as JSON values."""
        return {
            "effort": self.effort,
            "model": self.model,
            "k": self.k,
            "learn": self.learn,
            "models": [model._asdict() for model in self.models],
            **({} if self.block_size is None else {"block_size": self.block_size}),
        }

    def for_dtype(self, dtype: np.dtype[Any]) -> ChunkCoder:
        """The same for an array of that type: no model codes samples of 16 bits.

        Raises:
            ImageError: the codec does not take the type, or its byte order; or a model was asked for, and none codes
            them.
        """
        if dtype not in _DTYPES:
            raise ImageError(
                f"the codec {NAME} takes uint8 and uint16 in the byte order of this machine, not {dtype} ({dtype.str})"
            )
        if dtype.itemsize == 1:
            return self
        if self.model is not None:
            raise ImageError(f"the model {self.model} does not code {dtype}, nor does any other")
        return replace(self, models=())

    def check(self, layout: Layout) -> None:
        """Raises ImageError where a model was asked for that codes no chunk of the layout, as far as that is known."""
        models = _models_of(self.models).named.entries
        if self.model is None or len(models) < len(self.models):
            return
        size, colours = (layout.height, layout.width), layout.samples > 2
        kinds = [COLOUR] * colours + [GREY, BINARY] * (layout.samples != 3)  # alpha is grey
        if not any(entry.fits(size, kind) for entry in models for kind in kinds):
            samples = count_of(layout.samples, "sample")
            raise ImageError(f"the model {self.model} codes no chunks of {size[0]}x{size[1]} pixels of {samples}")

    def encode(self, image: PixelImage, layout: Layout) -> bytes:
        """The file of the image of a chunk. It carries no model: the metadata name it.

        Raises:
            MissingModelError: a model is not installed. ImageError: as of `check`.
        """
        models = _models_of(self.models)
        models.named.require(self.models)
        self.check(layout)
        options = Options(
            k=self.k,
            learn=self.learn,
            block_size=self.block_size,
            effort=self.effort,
            embed_model=False,
            preview=False,
        )
        return Compressor(options, models).lone(image)[0]

    def decode(self, data: bytes, max_pixels: int = MAX_PIXELS) -> PixelImage:
        """The image of a file. max_pixels: of the image, width times height.

        Raises:
            As :meth:`decode_region`.
        """
        return self._decode(data, Limits(max_pixels), None)

    def decode_region(self, data: bytes, layout: Layout, region: Region) -> PixelImage:
        """A region of the image of a file; of the image no more is decoded than it takes.

        layout: of the chunk, whose size the image has to have.

        Raises:
            FormatError: it is damaged, or not the file of one image with pixels alone, as `encode` writes them.
            ModelError: the model that it needs is missing. LimitError: its K is above the limit.
        """
        return self._decode(data, Limits(layout.height * layout.width), (layout, region))

    def _decode(self, data: bytes, limits: Limits, part: tuple[Layout, Region] | None) -> PixelImage:
        models, wanted = _models_of(self.models), None
        group = parse_lone(data, limits)
        if group.header.fallback and any(map(is_kept, group.items)):
            raise FormatError("it keeps a file of another format, not pixels")
        if part is not None:
            layout, region = part
            size = facts_of(group.header, lambda: group, models.zoo, limits).images[0][0]
            if size not in (None, (layout.width, layout.height)):
                raise FormatError(f"it holds an image of {size[0]}x{size[1]} pixels")
            wanted = Wanted(0, region, Decoded())
        try:
            (image,) = decode_content(group, models, limits, wanted=wanted)
        except _UnnamedModelError as error:
            raise FormatError(error.args[0]) from None
        assert isinstance(image, PixelImage)
        if not image.plain or image.metadata or image.mode not in _MODES:
            raise FormatError(f"it holds more than the samples of a chunk: an image of mode {image.mode}")
        return image


def described_call(made: object, given: Mapping[str, Any]) -> str:
    """The call that makes an object from these arguments, as its repr."""
    return f"{type(made).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"
