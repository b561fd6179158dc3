"""The errors that bbc reports to its users: one line each, naming what is wrong and what to do."""

from __future__ import annotations

import copy
import errno
from typing import Any, TypeVar

from bbcompress.text import escaped

_Error = TypeVar("_Error", bound="BBCError")

NEEDS_TORCH = "needs PyTorch: pip install 'bbcompress[train]'"
NEEDS_MATPLOTLIB = "needs matplotlib: pip install 'bbcompress[plot]'"
NEEDS_CLUSTER = "needs dask.distributed: pip install 'bbcompress[cluster]'"
NEEDS_TENSORBOARD = "needs TensorBoard's writer: pip install 'bbcompress[train,tensorboard]'"
NEEDS_REMOTE = "needs fsspec and its libraries: pip install 'bbcompress[remote]'"
NEEDS_ZARR = "needs zarr and numcodecs: pip install 'bbcompress[zarr]'"
"""What messages say of packages that only some uses need."""


class BBCError(Exception):
    """Base of all errors of bbc that a user can act on; the message is one line, in which names are escaped."""

    exit_code = 1

    def __init__(self, message: object = "", *, python: str = "", command: str = "") -> None:
        """python, command: what to do about it, in the words of Python and in those of the command line."""
        super().__init__(escaped(str(message)))
        self._python, self._command = python, command

    def __str__(self) -> str:
        return self._with(self._python)

    @property
    def for_command_line(self) -> str:
        """The message, in the words of the command line."""
        return self._with(self._command)

    def of(self: _Error, what: str) -> _Error:
        """The same error, whose message begins with what it is about, such as the name of a file."""
        error = copy.copy(self)
        error.args = (escaped(f"{what}: {self.args[0]}"),)
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        """How to copy the error, or send it to another process: its class may be made from other arguments."""
        return _copied, (type(self), self.args, self.__dict__)

    def _with(self, advice: str) -> str:
        return f"{self.args[0]}; {advice}" if advice else str(self.args[0])


def _copied(kind: type[BBCError], args: tuple[object, ...], state: dict[str, Any]) -> BBCError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class CallError(BBCError, TypeError):
    """A function of bbc is called with an argument that it does not have, or without one that it needs."""


class DataError(BBCError):
    """A data set is missing, damaged or of a kind that cannot be trained on."""


class ModelError(BBCError):
    """A model or training checkpoint is missing, damaged or not the one that is needed."""


class MissingModelError(ModelError):
    """The model that a file names is not installed."""


class EmbeddedModelError(ModelError):
    """The model that a file carries is damaged."""


class LargeModelError(EmbeddedModelError):
    """A model is too large for files to carry it."""


class MissingFileError(BBCError, FileNotFoundError):
    """A file that is to be read is not there."""


def unreadable(what: object, error: OSError) -> BBCError:
    """The error of a file or folder that the operating system does not let be read."""
    kind = MissingFileError if isinstance(error, FileNotFoundError) else BBCError
    return kind(f"{what}: cannot be read: {error.strerror or error}")


class FormatError(BBCError):
    """A file is damaged or is not a file of bbc."""


class PreviewError(FormatError):
    """A preview in a file is damaged; its image need not be."""


class LimitError(BBCError):
    """A file asks a reader for more work than its limit allows; it need not be damaged."""


class ImageError(BBCError):
    """An image cannot be read or is of a kind that is not supported."""


class RegionError(ImageError):
    """A region that is asked for is not within its image."""


class MissingImageError(ImageError, MissingFileError):
    """An image file that is to be read is not there."""


class ReadOnlyError(BBCError, OSError):
    """Something is to be written where everything is only read."""

    errno = errno.EROFS


class OutputExistsError(BBCError):
    """The output is there already and would be overwritten."""


class TrainingError(BBCError):
    """Training cannot start, go on or be resumed as asked."""
