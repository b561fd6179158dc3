"""The errors that bbc reports to its users: one line each, naming what is wrong and what to do."""

from __future__ import annotations

from bbcompress.escaping import escaped

NEEDS_TORCH = "needs PyTorch: pip install 'bbcompress[train]'"
NEEDS_MATPLOTLIB = "needs matplotlib: pip install 'bbcompress[plot]'"
"""What messages say of packages that only some uses need."""


class BBCError(Exception):
    """Base of all errors of bbc that a user can act on; the message is one line, in which names are escaped."""

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(escaped(str(message)))


class DataError(BBCError):
    """A data set is missing, damaged or of a kind that cannot be trained on."""


class ModelError(BBCError):
    """A model or training checkpoint is missing, damaged or not the one that is needed."""


class FormatError(BBCError):
    """A file is damaged or is not a file of bbc."""


class CutShortError(FormatError):
    """Bytes end before what is read from them does."""


class ImageError(BBCError):
    """An image cannot be read or is of a kind that is not supported."""


class OutputExistsError(BBCError):
    """The output is there already and would be overwritten."""


class TrainingError(BBCError):
    """Training cannot start, go on or be resumed as asked."""
