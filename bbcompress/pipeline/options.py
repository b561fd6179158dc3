"""What Python and the command line both ask for: options and the models there are; what an image of an archive is, and
what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from bbcompress import arguments
from bbcompress.codecs.fallback.items import KEPT_NAME
from bbcompress.codecs.fallback.kept import is_kept
from bbcompress.codecs.kept import SourceFile
from bbcompress.codecs.settings import CodingRequest
from bbcompress.codecs.ways import FALLBACK, Coded
from bbcompress.errors import NEEDS_TORCH, BBCError
from bbcompress.exact.backend import Backend, NumpyBackend, TorchBackend
from bbcompress.images.image import PixelImage
from bbcompress.limits import (
    BLOCK_SIDE,
    DEFAULT_EFFORT,
    ENCODERS,
    LEAST_BLOCK_SIDE,
    LEAST_EFFORT,
    MAX_K,
    MAX_PIXELS,
    MOST_EFFORT,
)
from bbcompress.models.cache import Models
from bbcompress.models.zoo import Zoo
from bbcompress.text import count_of

PREVIEW_BYTES = 1 << 20
"""An image that takes so many bytes in the file has a preview by default, which then is below 0.3 % of it."""


@arguments.checked_class
@dataclass(frozen=True)
class Options:
    """How to compress.

    model: a model's folder, a directory of models or an installed model's name; None chooses by what an image is.
    k: K of the paper's Algorithm 2 (Eqs. 20 and 21), 0 to 1000. encoder: `rha`, trained by reverse half-asleep
    inference (Eq. 17), or `baseline`, trained by the ELBO (Eq. 1); None for the one that a model's card names.
    learning_rate: of the K steps, 1e-6 to 1, None for the model's own. learn: whether models that can learn from the
    images while they code them do so; None where that makes them smaller. solid: learn from up to 2^24 pixels of an
    archive in a row, not 2^23, which is smaller; so many have to be decoded to reach an image. block_size: longest side
    of the blocks into which models for any size cut an image, 64 to 1024 pixels, None for 1024: of smaller ones less is
    decoded to get a region, and the file is larger. effort: 1, the quickest,
    to 9, the smallest; it decides k, encoder and learn where they are None.
    binary: refuse images of more than two levels. verify: decode what was written before it counts. device: `cpu`
    or one of torch's. jobs: processes that share the groups of an archive; the bytes are the same for any number (a
    program that asks for several guards what it does by `if __name__ == "__main__"`, as `multiprocessing` wants).
    max_pixels: of an image. embed_model: whether the file carries the models that code it; None for those that do not
    come with bbc and are less than a twentieth of the file. With them it can be read where they are not installed.
    preview: whether the file carries a small picture of each image, at most 3 kB, from which thumbnails are made
    without decoding; None for images that take at least `PREVIEW_BYTES` and are not kept as their files. It is a lossy
    WebP by Pillow, whose bytes depend on Pillow's release.

    Raises:
        BBCError: a value is out of range.
    """

    model: str | Path | None = None
    k: int | None = None
    encoder: str | None = None
    learning_rate: float | None = None
    learn: bool | None = None
    solid: bool = True
    block_size: int | None = None
    effort: int = DEFAULT_EFFORT
    binary: bool = False
    verify: bool = True
    device: str = "cpu"
    jobs: int = 1
    max_pixels: int = MAX_PIXELS
    embed_model: bool | None = None
    preview: bool | None = None

    def __post_init__(self) -> None:
        taken: dict[str, object] = {
            "solid": arguments.flag("solid", self.solid),
            "effort": arguments.integer("effort", self.effort, LEAST_EFFORT, MOST_EFFORT),
            "binary": arguments.flag("binary", self.binary),
            "verify": arguments.flag("verify", self.verify),
            "jobs": arguments.integer("jobs", self.jobs, 1),
            "max_pixels": arguments.integer("max_pixels", self.max_pixels, 1),
        }
        if self.k is not None:
            taken["k"] = arguments.integer("K", self.k, 0, MAX_K)
        if self.block_size is not None:
            taken["block_size"] = arguments.integer("block_size", self.block_size, LEAST_BLOCK_SIDE, BLOCK_SIDE)
        if self.learning_rate is not None:
            taken["learning_rate"] = arguments.number("learning_rate", self.learning_rate, 1e-6, 1)
        for name in ("learn", "embed_model", "preview"):
            if getattr(self, name) is not None:
                taken[name] = arguments.flag(name, getattr(self, name))
        for name, value in taken.items():
            object.__setattr__(self, name, value)
        if self.encoder is not None and self.encoder not in ENCODERS:
            raise BBCError(f"there is no encoder {self.encoder!r}; choose {' or '.join(ENCODERS)}")
        if self.model is not None:
            arguments.path("model", self.model)

    @staticmethod
    def of(k: object, given: Mapping[str, Any], others: Sequence[str] = ()) -> Options:
        """The options that functions of Python take. Raises BBCError, also for names that are none.

        others: arguments of the function that are no options, to be named where a name is none.
        """
        names = [field.name for field in fields(Options) if field.name != "k"]
        arguments.options(given, ["k", *others, *names])
        return Options(k=k, **given)  # type: ignore[arg-type]

    @property
    def coding(self) -> CodingRequest:
        """What the codecs need to know."""
        rate = None if self.learning_rate is None else round(self.learning_rate * 1e6)
        side = None if self.block_size == BLOCK_SIDE else self.block_size
        return CodingRequest(self.effort, self.encoder, self.k, rate, self.learn, side)


class OptionKeywords(TypedDict, total=False):
    """The keyword arguments of functions of Python that have them besides `k`: the other fields of `Options`."""

    model: str | Path | None
    encoder: str | None
    learning_rate: float | None
    learn: bool | None
    solid: bool
    block_size: int | None
    effort: int
    binary: bool
    verify: bool
    device: str
    jobs: int
    max_pixels: int
    embed_model: bool | None
    preview: bool | None


def is_fallback(coder: str) -> bool:
    """Whether this is what is told of images that no model coded."""
    return coder.partition(" ")[0] in (FALLBACK, KEPT_NAME)


@dataclass
class Summary:
    """What was written: images, sub-pixels, bytes, how many images each coder took, and what else there is to say.

    coders: by the name of the model, or `fallback raw`, `fallback PNG`, `fallback WebP`, or `kept` and the format of
        files that are kept as they are; of images in parts what codes their colours, then `, alpha ` and what codes it.
    notes: a line each. tried: of each group a line on what was tried. kept: positions of the images whose files are
        kept. frozen: by the name of the model how many images it coded without learning.
    embedded: by the name of each model that was put into the file, the bytes that it takes there. missing_models: a
        line for each model that does not come with bbc and is not in the file, and that readers need all the same.
    previews: how many images have one, and preview_bytes: what these take.
    """

    images: int = 0
    subpixels: int = 0
    size: int = 0
    coders: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    frozen: dict[str, int] = field(default_factory=dict)
    embedded: dict[str, int] = field(default_factory=dict)
    missing_models: list[str] = field(default_factory=list)
    previews: int = 0
    preview_bytes: int = 0

    @property
    def bits_per_dimension(self) -> float:
        """Whole-file bits a sub-pixel."""
        return 8 * self.size / max(self.subpixels, 1)

    def count(self, coded: Coded, subpixels: int, positions: Sequence[int]) -> None:
        """Add the images of a group, of so many sub-pixels in all, in the order in which it has them."""
        group = coded.group
        if group.header.fallback:
            self.kept += [at for at, item in zip(positions, group.items, strict=True) if is_kept(item)]
        self.images += group.header.count
        self.subpixels += subpixels
        images = count_of(group.header.count)
        self.tried.append(f"{images}: {'; '.join(coded.tried)}; {coded.label or coded.coder} is taken")
        for part in coded.parts[0] if coded.parts else [coded]:
            if part.group.header.by_model and part.group.header.learning is None:
                self.frozen[part.coder] = self.frozen.get(part.coder, 0) + part.group.header.count
        for name in coded.coders:
            self.coders[name] = self.coders.get(name, 0) + 1


class Item(NamedTuple):
    """An image of an archive: its name, and when it was modified, in whole seconds since 1970; None for neither.

    file: that from which it was read, where it may be kept in place of the pixels.
    """

    name: str | None
    image: PixelImage
    time: int | None = None
    file: SourceFile | None = None


def backend_for(device: str) -> Backend:
    """numpy for the CPU, torch for other devices. Raises BBCError where the device cannot be used."""
    if not isinstance(device, str) or not device:
        raise BBCError(f"device must be 'cpu' or one of torch's, not {arguments.shown(device)}")
    if device == "cpu":
        return NumpyBackend()
    if device.partition(":")[0] == "mps":
        raise BBCError(f"device {device} cannot be used: it has no float64, in which products are exact")
    try:
        backend = TorchBackend(device)
        backend.numpy(backend.asarray(np.zeros(1)))  # torch looks for the device only when it is used
        return backend
    except ModuleNotFoundError:
        raise BBCError(f"device {device} {NEEDS_TORCH}") from None
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        if reason.startswith("Expected one of"):  # and a list of all that torch has heard of
            reason = "there is no such kind of device; bbc runs on cpu, or with PyTorch on cuda"
        raise BBCError(f"device {device} cannot be used: {reason}") from None


def open_models(model: str | Path | None = None, device: str = "cpu") -> Models:
    """The models that there are, on a device. model: as in `Options`. Raises ModelError, BBCError."""
    return Models(Zoo(model), backend_for(device))
