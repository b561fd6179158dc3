"""A group as one ANS message: a few strips coded directly, then bits-back in growing batches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bbcompress.archive.lone import LeftOverError
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.costs import CanvasCosts
from bbcompress.codecs.direct import DirectCodec
from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.errors import FormatError
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.distributions import NormalPosterior
from bbcompress.models.strips import Strips

NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a group's message is made: its lanes, how many strips come directly, and the batches after them.

    Attributes:
        together: whether those that come directly are popped at once, and not one by one.
    """

    lanes: int
    direct: int
    batches: tuple[int, ...]
    together: bool = False


def encode_group(codec: BitsBack, x: Strips, lanes: int, context: bytes) -> tuple[Layout, Message]:
    """Code all strips of a canvas.

    Strips are coded directly until the message holds the bits of another one's z; each batch is as large as the message
    allows.

    Args:
        context: whatever else the group's check shall cover.
    """
    direct_codec, direct = DirectCodec(codec.model), 0
    message = Message.empty(lanes, check_of(x, lanes, context))
    with exact_arithmetic():
        posterior = codec.posterior(x) if len(x) > 1 else None
        while True:
            direct_codec.push(message, x[direct : direct + 1])
            direct += 1
            started = message.copy()
            batches = [] if posterior is None else _push_batches(codec, started, x, posterior, direct)
            if direct + sum(batches) == len(x):
                return Layout(lanes, direct, tuple(batches)), started


def encode_strips_together(
    codec: BitsBack, x: Strips, direct: int, lanes: int, context: bytes
) -> tuple[Layout, Message]:
    """Code strips, at least the first `direct` (1 or more) of them directly, in one push and without a search."""
    direct_codec, check = DirectCodec(codec.model), check_of(x, lanes, context)
    with exact_arithmetic():
        posterior = codec.posterior(x)
        while True:
            message = Message.empty(lanes, check)
            direct_codec.push(message, x[:direct], direct_codec.middle(x[:direct]))
            batches = _push_batches(codec, message, x, posterior, direct)
            if direct + sum(batches) == len(x):
                return Layout(lanes, direct, tuple(batches), together=True), message
            direct = min(2 * direct, len(x))


def _push_batches(codec: BitsBack, message: Message, x: Strips, posterior: NormalPosterior, done: int) -> list[int]:
    """Push what follows the first `done` strips in batches as large as the message allows; their sizes, which end
    where it allows none."""
    batches: list[int] = []
    ends = x.row_ends
    while done < len(x):
        held = ends[done] + posterior[ends[done] :].poppable(message)
        end = int(np.searchsorted(ends, held, "right")) - 1
        if end == done:
            break
        codec.push(message, x[done:end], posterior[ends[done] : ends[end]])
        batches.append(end - done)
        done = end
    return batches


def decode_group(
    codec: BitsBack, layout: Layout, message: Message, context: bytes, x: Strips, costs: CanvasCosts | None = None
) -> None:
    """Decode a group into all strips of a canvas; the message is used up. costs: of this canvas, takes them up.

    Raises:
        FormatError: the layout is of another number of strips, the message ends early, or does not end at the check of
            the very images that came out.
        LeftOverError: it would end there, without some bytes at its end.
    """
    if layout.direct + sum(layout.batches) != len(x):
        raise FormatError("damaged: it has not as many coded images as its header says")
    try:
        end, direct_codec = len(x), DirectCodec(codec.model)
        unit = max(layout.direct, 1) if layout.together else 1
        with exact_arithmetic():
            for size in reversed(layout.batches):
                codec.pop(message, x[end - size : end], costs)
                codec.learn(x[end - size : end])
                end -= size
            for start in reversed(range(0, layout.direct, unit)):
                direct_codec.pop(message, x[start : start + unit], costs)
    except EmptyMessage:
        raise FormatError("damaged: the coded images end too early") from None
    except ValueError:  # a posterior gives no room to the z of other images
        raise FormatError("damaged: the coded images do not fit their latent variables") from None
    check_end(message, x, context)


def check_end(message: Message, x: Strips, context: bytes) -> None:
    """Check that a message from which the images x have been decoded ends at their check.

    Raises:
        FormatError: it does not. LeftOverError: it would, without the zeros at its end.
    """
    end = Message.empty(message.lanes, check_of(x, message.lanes, context))
    if message != end:
        left = message.words
        if left.size and np.array_equal(message.heads, end.heads):
            raise LeftOverError(left.nbytes, is_zero=not left.any())
        raise FormatError("damaged: the checksum of its pixels does not match")


def check_of(x: Strips, lanes: int, context: bytes) -> NumpyArray:
    """31 bits of a hash of pixels and context for each lane: the message starts, and decoding ends, with them."""
    digest = hashlib.shake_128(context + x.canvas.levels()).digest(4 * lanes)
    return np.frombuffer(digest, "<u4").astype(np.int64) & 0x7FFFFFFF
