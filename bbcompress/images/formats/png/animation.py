"""Animated PNG: its pictures as they are seen, of 16 bits a sample too."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bbcompress.errors import ImageError
from bbcompress.images.canvas import CLEAR, KEEP, RESTORE, Box, Canvas, draw_over, without_alpha
from bbcompress.images.formats.png import file as png
from bbcompress.images.formats.png.file import Frames, Png

Pixels = npt.NDArray[Any]

_CONTROL = struct.Struct(">IIIIIHHBB")
_DISPOSALS = (KEEP, CLEAR, RESTORE)
_REPLACE, _OVER = range(2)


class _Control(NamedTuple):
    """What an fcTL chunk says; the times are fractions of a second."""

    sequence: int
    width: int
    height: int
    left: int
    top: int
    over: int
    under: int
    disposal: int
    blend: int

    @property
    def box(self) -> Box:
        return Box(self.left, self.top, self.width, self.height)


@dataclass(frozen=True)
class Apng:
    """An animation.

    Attributes:
        count: of its pictures, with the image itself where it is none of its frames.
        lost: names of what its pictures do not keep.
    """

    source: Png
    frames: Frames
    count: int
    lost: tuple[str, ...]

    @property
    def native(self) -> bool:
        """Whether all that is ever seen is of pixels of the file's own kind: none is transparent or mixed."""
        controls = list(_controls(self.frames))
        clears = any(control.disposal == 1 for control in controls[:-1]) or controls[0].disposal == 2
        whole = controls[0].box == Box(0, 0, self.source.width, self.source.height)
        return not _may_be_transparent(self.source) and whole and not clears


def parse_apng(source: Png) -> Apng | None:
    """The animation of a PNG, None for an image.

    Raises:
        ImageError: its chunks do not fit each other.
    """
    frames = source.frames
    if frames is None or not 0 < frames.total < 1 << 31 or frames.fault:
        if frames is not None and (frames.total > 1 or len(frames.starts) > 1):
            raise ImageError("is damaged: the chunks of its animation are missing or in a wrong order")
        return None
    if frames.total == 1 and (frames.shown or not frames.starts):
        return None
    if frames.total != len(frames.starts):
        raise ImageError(f"is damaged: of its animation's {frames.total} pictures there are {len(frames.starts)}")
    for control in _controls(frames):
        right, bottom = control.left + control.width, control.top + control.height
        sound = control.width and control.height and right <= source.width and bottom <= source.height
        if not sound or control.disposal > 2 or control.blend > 1:
            raise ImageError(
                "is damaged: a picture of its animation lies outside the image, or is put there in an unknown way"
            )
    names = ["times of the frames"] + ["loop count"] * bool(frames.plays)
    return Apng(source, frames, frames.total + (not frames.shown), tuple(names))


def _controls(frames: Frames) -> Iterator[_Control]:
    return (_Control(*values) for values in _CONTROL.iter_unpack(frames.controls))


def read_pictures(animation: Apng) -> Iterator[tuple[Pixels, bool, set[str]]]:
    """What is seen, picture after picture: as `read_pixels` of a PNG has it, and then True; else the pixels of
    grey or RGB, with alpha or without. Then the names of what its own data hold beside the pixels. The image itself,
    where it is none of the frames, comes first.

    The caller has checked the size.

    Raises:
        ImageError: the file is damaged.
    """
    source, frames = animation.source, animation.frames
    native = animation.native
    if not frames.shown:
        names: set[str] = set()
        yield *_seen(_pixels(source, native, names), source, native), names
    canvas: Canvas | None = None
    ends = [*frames.starts[1:], len(frames.parts)]
    for number, control in enumerate(_controls(frames)):
        data = frames.parts.between(frames.starts[number], ends[number])
        if number == 0 and frames.shown:
            data = source.data
        names = set()
        part = replace(source, width=control.width, height=control.height, data=data)
        pixels = _pixels(part, native, names)
        canvas = canvas or Canvas((source.height, source.width, *pixels.shape[2:]), pixels.dtype)
        place = canvas.begin(control.box, _DISPOSALS[control.disposal])
        if native or control.blend == _REPLACE:
            place[...] = pixels
        else:
            draw_over(place, pixels)
        yield *_seen(canvas.pixels.copy(), source, native), names


def _seen(pixels: Pixels, source: Png, native: bool) -> tuple[Pixels, bool]:
    if not native and not _may_be_transparent(source):
        opaque = without_alpha(pixels)
        pixels = pixels if opaque is None else opaque
    if not native and pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    pixels.flags.writeable = False
    return pixels, native


def _may_be_transparent(source: Png) -> bool:
    return source.transparency is not None or source.colour_type in (4, 6)


def _pixels(source: Png, native: bool, names: set[str]) -> Pixels:
    """The pixels of a picture; unless native, grey or RGB with alpha.

    Args:
        names: as of `read_pixels`.
    """
    pixels = png.read_pixels(source, names)
    if native or source.colour_type in (4, 6):
        return pixels
    if source.mode == "P":
        return np.asarray(_palette(source)[pixels])
    most = 65535 if source.bit_depth == 16 else 255
    colours = pixels.reshape(*pixels.shape[:2], -1)
    alpha = np.full(colours.shape[:2], most, np.uint16)
    if source.transparency is not None:
        if len(source.transparency) != 2 * source.samples:
            raise ImageError("is damaged: its transparency chunk does not hold a colour of its kind")
        values = struct.unpack(f">{source.samples}H", source.transparency)
        alpha[(colours == [(value & (1 << source.bit_depth) - 1) * source.scale for value in values]).all(axis=2)] = 0
    if source.mode == "1":
        colours = np.where(colours, np.uint8(255), np.uint8(0))
    return np.concatenate([colours, alpha[:, :, None].astype(colours.dtype)], axis=2)


def _palette(source: Png) -> Pixels:
    """The colours (256, 4) of the palette."""
    colours = np.zeros((256, 4), np.uint8)
    colours[:, :3] = np.frombuffer(source.palette.ljust(768, b"\0"), np.uint8).reshape(256, 3)
    alpha = (source.transparency or b"")[:256].ljust(256, b"\xff")
    colours[:, 3] = np.frombuffer(alpha, np.uint8)
    return colours
