"""Checks of what Python programs pass: what is wrong is a `BBCError` that names the argument and its type."""

from __future__ import annotations

import functools
import inspect
import io
import operator
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar, cast

from bbcompress.errors import BBCError, CallError

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)


def checked(function: _Function) -> _Function:
    """The function, or method: called with arguments that it does not have, or without those that it needs, it raises
    CallError."""

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # from inside the function
            options(named, [name for name in inspect.signature(function).parameters if name != "self"])
            raise CallError(str(error).replace(".__init__()", "()")) from None

    return cast(_Function, call)


def checked_class(made: _Class) -> _Class:
    """The class, whose constructor is `checked`."""
    setattr(made, "__init__", checked(vars(made)["__init__"]))  # noqa: B010
    return made


def integer(name: str, value: object, low: int | None = None, high: int | None = None) -> int:
    """A whole number within limits, of Python or numpy.

    Raises:
        BBCError: the value is not allowed.
    """
    limits = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
    wanted = f"a whole number{limits}"
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise BBCError(f"{name} must be {wanted}, not {shown(value)}") from None
    if (low is not None and number < low) or (high is not None and number > high):
        raise BBCError(f"{name} must be {wanted}, not {shown(number)}")
    return number


def number(name: str, value: object, low: float, high: float) -> float:
    """A number within limits.

    Raises:
        BBCError: the value is not allowed.
    """
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise BBCError(f"{name} must be a number from {low} to {high}, not {shown(value)}") from None
    if not low <= found <= high:
        raise BBCError(f"{name} must be a number from {low} to {high}, not {shown(value)}")
    return found


def flag(name: str, value: object) -> bool:
    """True or False, of Python or numpy.

    Raises:
        BBCError: the value is not allowed.
    """
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise BBCError(f"{name} must be True or False, not {shown(value)}")


def path(name: str, value: object) -> Path:
    """The path of a file.

    Raises:
        BBCError: the value is not allowed.
    """
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        if isinstance(text, str) and text and "\0" not in text:
            return Path(text)
    raise BBCError(f"{name} must be the path of a file, not {shown(value)}")


def model(value: Any) -> str | Path | None:
    """A model's name or path, or None.

    Raises:
        BBCError: the value is not allowed.
    """
    if value is not None:
        path("model", value)
    found: str | Path | None = value
    return found


def image_name(value: object) -> str | None:
    """The name of an image in an archive: text, or a path, which is written with `/`.

    Raises:
        BBCError: the value is not allowed.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, PurePath):
        return value.as_posix()
    raise BBCError(f"the name of an image must be text or a path, not {shown(value)}")


def options(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises CallError where an option is none."""
    for name in given:
        if name not in known:
            raise CallError(f"there is no option {name!r}; there are {', '.join(known)}") from None


def no_text_file(name: str, value: object) -> None:
    """Raises BBCError where a file is one of text."""
    if isinstance(value, io.TextIOBase):
        raise BBCError(f"{name} is a text file; open(..., 'rb') opens a binary one")


def binary_file(value: Any) -> Any:
    """A file that can be read at any place.

    Raises:
        BBCError: the value is not allowed.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        raise BBCError("file must be a path or a binary file, not bytes; of what these hold io.BytesIO(...) makes one")
    no_text_file("file", value)
    if not all(callable(getattr(value, method, None)) for method in ("read", "seek", "tell")):
        raise BBCError(f"file must be a path or a binary file, not {shown(value)}")
    if getattr(value, "closed", False):
        raise BBCError("file is closed")
    try:
        readable = not callable(getattr(value, "readable", None)) or value.readable()
        seekable = not callable(getattr(value, "seekable", None)) or value.seekable()
    except (OSError, ValueError) as error:
        raise BBCError(f"file cannot be read: {error}") from error
    if not readable:
        raise BBCError("file is not open for reading")
    if not seekable:
        raise BBCError("file cannot be read at any place, as a pipe cannot; io.BytesIO(file.read()) can")
    return value


def data(value: Any) -> bytes:
    """Bytes.

    Raises:
        BBCError: the value is not allowed.
    """
    if isinstance(value, str | os.PathLike):
        raise BBCError(f"data must be the bytes of a file, not {shown(value)}; bbcompress.open() opens a path")
    try:
        return value if isinstance(value, bytes) else bytes(memoryview(value))
    except (TypeError, ValueError):
        raise BBCError(f"data must be the bytes of a file, not {shown(value)}") from None


def shown(value: object) -> str:
    """What an argument is, for a message: small values as they are, else the type alone."""
    if isinstance(value, str | bytes | int | float | os.PathLike) or value is None:
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:60]}..."
    return f"a {type(value).__name__}"
