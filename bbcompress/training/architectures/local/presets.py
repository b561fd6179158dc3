"""Sizes of the `local` models for the kinds of images that they are trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bbcompress.errors import TrainingError
from bbcompress.models.local import MAX_TILE
from bbcompress.training.architectures.local.network import LocalShape

PHOTO_TILE = 64
FAST_TRUNK, FAST_HEAD = (64, 64), 32


@dataclass(frozen=True)
class Preset:
    """A local model's sizes, and how many pixels of a tile a training step looks at."""

    shape: LocalShape
    samples: int


def preset(
    image: tuple[int, int] | None,
    channels: int,
    binary: bool,
    latents: int | None = None,
    width: int | None = None,
    fast: bool = False,
) -> Preset:
    """The preset for images of one size (height, width), or of any size (None), with the widths asked for.

    Args:
        width: of the per-pixel network's hidden layers.
        fast: a per-pixel network of a third of the products or less, for images of any size.

    Raises:
        TrainingError: no preset fits the images.
    """
    if binary and channels != 1:
        raise TrainingError("binary images have one channel")
    if fast and image is not None:
        raise TrainingError("--fast is for images of any size; use --any-size")
    if image is None:
        chosen = _photo(channels, binary)
    elif image[0] != image[1] or image[0] % 4 or image[0] > MAX_TILE:
        raise TrainingError(
            f"images of one size must be square, their sides multiples of 4 and at most {MAX_TILE}; use --any-size"
        )
    else:
        chosen = _thumbnail(image[0], channels) if channels == 3 else _digit(image[0], binary)
    shape = chosen.shape
    if fast:
        shape = replace(shape, trunk=FAST_TRUNK, head=FAST_HEAD)
    if latents is not None:
        shape = replace(shape, latents=latents)
    if width is not None:
        shape = replace(shape, trunk=(width,) * len(shape.trunk))
    return replace(chosen, shape=shape)


def _photo(channels: int, binary: bool) -> Preset:
    """Any size: z is about a tile's texture, noise and colours, the same everywhere in it."""
    shape = LocalShape(
        channels=channels, binary=binary, tile=PHOTO_TILE, image=None, latents=16, cell=PHOTO_TILE, features=32,
        decoder=(64,), trunk=(160, 160) if channels == 3 else (128, 128), head=64, mixtures=5,
        patch=4, pool=1, patch_hidden=(48, 48), encoder_hidden=(64,), centred=not binary,
    )  # fmt: skip
    return Preset(shape, samples=128)


def _thumbnail(side: int, channels: int) -> Preset:
    """Small colour images of one size: 16 cells of features."""
    shape = LocalShape(
        channels=channels, binary=False, tile=side, image=(side, side), latents=16, cell=side // 4, features=32,
        decoder=(128,), trunk=(192, 192), head=64, mixtures=5,
        patch=4, pool=4 if side % 16 == 0 else 1, patch_hidden=(48, 48), encoder_hidden=(128,), centred=True,
    )  # fmt: skip
    return Preset(shape, samples=100)


def _digit(side: int, binary: bool) -> Preset:
    """Small grey images of one size: every pixel has features of its own, so that z can draw the shape."""
    shape = LocalShape(
        channels=1, binary=binary, tile=side, image=(side, side), latents=16, cell=1, features=6,
        decoder=(128,), trunk=(96, 96), head=64, mixtures=8,
        patch=side, pool=1, patch_hidden=(256, 256), encoder_hidden=(), centred=False,
    )  # fmt: skip
    return Preset(shape, samples=98)
