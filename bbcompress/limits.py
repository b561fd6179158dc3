"""Limits, defaults and names that every layer, and the command line, share. Importing it costs hardly anything."""

from __future__ import annotations

from dataclasses import dataclass

STANDARD_STREAM = "-"
"""In place of the name of a file: stdin, or stdout."""

MAX_PIXELS = 1 << 28
"""Default limit of width times height."""

MAX_SIDE = 1 << 24
"""Most pixels of a side of an image."""

SHARD_PIXELS = 1 << 26
"""Pixels of a shard, where nothing else is asked for: minutes of work, and several groups that learn."""

MOST_SHARD_PIXELS = 1 << 40
"""Most that may be asked for."""

LEAST_BLOCK_SIDE, BLOCK_SIDE = 1 << 6, 1 << 10
"""Least and usual longest side of the blocks into which models cut images, in pixels."""

MAX_FILE_BYTES = 1 << 32
"""Most bytes of an image file. What is no image is told from its first bytes, and not read on."""

MAX_PREVIEW_BYTES = 1 << 12
MAX_PREVIEW_SIDE = 512
"""Most bytes of a preview in a file, and most pixels of a side."""

LEAST_EFFORT, DEFAULT_EFFORT, MOST_EFFORT = 1, 5, 9
"""How much time a writer spends to make files small. `codecs/effort.py` says what each effort tries."""

MAX_K = 1000
"""Most K steps that the format allows."""

READER_K = 100
"""Most that a reader takes unless it is told otherwise: a file of few bytes may ask for any number of steps."""

ENCODERS = ("rha", "baseline")
"""The encoders of a model: trained by reverse half-asleep inference, and by the ELBO."""

USUAL_ENCODER, OTHER_ENCODER = "usual", "other"
"""In place of a name: the encoder that a model's card names, which was the better one on held-out images; the other."""


@dataclass(frozen=True)
class Limits:
    """What a reader or a writer takes. pixels: most of an image, width times height. k: the largest K of a group."""

    pixels: int = MAX_PIXELS
    k: int = READER_K


DEFAULT_LIMITS = Limits()
