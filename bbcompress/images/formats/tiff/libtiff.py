"""Pillow's libtiff as what it is best at: undoing a compression. Its errors are told, and never written to stderr."""

from __future__ import annotations

import ctypes
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy.typing as npt
from PIL import ImageFile, TiffImagePlugin, _imaging

from bbcompress.errors import ImageError
from bbcompress.images.decoders import pixels_in

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


class _Strips(TiffImagePlugin.TiffImageFile):
    """A TIFF whose size the caller has checked: of bytes, not of pixels, so that Pillow's limit means nothing here."""

    def load_prepare(self) -> None:
        ImageFile.ImageFile.load_prepare(self)


def decode(data: bytes) -> tuple[str, npt.NDArray[Any]]:
    """The mode and the pixels of a TIFF of a simple kind, whose size the caller has checked.

    Raises:
        ImageError: libtiff cannot decode it, or finds it damaged.
    """
    with _errors_of_libtiff() as errors:
        try:
            file = _Strips(io.BytesIO(data))
            pixels = pixels_in(file)
            mode = file.mode
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers raise nearly anything on damaged files
            raise ImageError("is damaged: its pixels cannot be decoded") from error
    if errors:
        raise ImageError("is damaged: its pixels cannot be decoded")
    return mode, pixels


class _Silence:
    """libtiff's handler of errors belongs to the process: it is ours while anyone here decodes, then as it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: Any = None
        self.failed: set[int] = set()
        self._handler = _Handler(lambda *_: self.failed.add(threading.get_ident()))

    def enter(self, setter: Callable[[Any], Any]) -> None:
        with self._lock:
            if self._users == 0:
                self._before = setter(ctypes.cast(self._handler, ctypes.c_void_p))
            self._users += 1

    def leave(self, setter: Callable[[Any], Any]) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                setter(self._before)

    def after_fork(self) -> None:
        """In a child the other threads of its parent are not there, and may have held the lock."""
        users, self._lock, self._users = self._users, threading.Lock(), 0
        self.failed.clear()
        if users and (setter := _setter()) is not None:
            setter(self._before)


_silence = _Silence()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_silence.after_fork)


@cache
def _setter() -> Callable[[Any], Any] | None:
    """libtiff's function that sets the handler, found through Pillow's module; None where it is not to be found."""
    try:
        setter = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError, TypeError):
        return None
    setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
    found: Callable[[Any], Any] = setter
    return found


def lacks(compression: int) -> bool:
    """Whether this Pillow's libtiff is known not to undo a compression."""
    try:
        known = ctypes.CDLL(_imaging.__file__).TIFFIsCODECConfigured
    except (OSError, AttributeError, TypeError):
        return False
    known.argtypes, known.restype = [ctypes.c_uint16], ctypes.c_int
    return not known(compression)


@contextmanager
def _errors_of_libtiff() -> Iterator[list[None]]:
    """A list that has an item, at the end, if libtiff told of an error in this thread; the error is written nowhere."""
    errors: list[None] = []
    setter = _setter()
    if setter is None:
        yield errors
        return
    thread = threading.get_ident()
    _silence.failed.discard(thread)
    _silence.enter(setter)
    try:
        yield errors
    finally:
        _silence.leave(setter)
        if thread in _silence.failed:
            _silence.failed.discard(thread)
            errors.append(None)
