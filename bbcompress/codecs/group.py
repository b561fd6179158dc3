"""A group of images as one ANS message: a few images coded directly, then bits-back in growing batches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bbcompress.ans import EmptyMessage, Message
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.direct import DirectCodec
from bbcompress.errors import FormatError
from bbcompress.exact.distributions import NormalPosterior

NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layout:
    """How a group's message is made: its lanes, how many images come directly, and the batches after them."""

    lanes: int
    direct: int
    batches: tuple[int, ...]


def encode_group(codec: BitsBack, x: NumpyArray, lanes: int, context: bytes) -> tuple[Layout, Message]:
    """Code images x, uint8 (N, D).

    context: whatever else the group's check shall cover. Images are coded directly until the message holds the bits
    of another image's z; each batch is as large as the message allows.
    """
    check = _check(x, lanes, context)
    posterior = codec.posterior(x) if len(x) > 1 else None
    message, direct = Message.empty(lanes, check), 0
    while True:
        DirectCodec(codec.vae).push(message, x[direct : direct + 1])
        direct += 1
        started = message.copy()
        batches = [] if posterior is None else _push_batches(codec, started, x[direct:], posterior[direct:])
        if direct + sum(batches) == len(x):
            return Layout(lanes, direct, tuple(batches)), started


def _push_batches(codec: BitsBack, message: Message, x: NumpyArray, posterior: NormalPosterior) -> list[int]:
    """Push images in batches as large as the message allows; their sizes, which end where it allows none."""
    batches: list[int] = []
    done = 0
    while done < len(x) and (size := posterior[done:].poppable(message)):
        codec.push(message, x[done : done + size], posterior[done : done + size])
        batches.append(size)
        done += size
    return batches


def decode_group(codec: BitsBack, layout: Layout, message: Message, context: bytes) -> NumpyArray:
    """Decode a group's images, uint8 (N, D); the message is used up.

    Raises:
        FormatError: the message ends early, or does not end at the check of the very images that came out.
    """
    parts = []
    try:
        for size in reversed(layout.batches):
            parts.append(codec.pop(message, size))
        direct_codec = DirectCodec(codec.vae)
        for _ in range(layout.direct):
            parts.append(direct_codec.pop(message))
    except EmptyMessage:
        raise FormatError("damaged: the coded images end too early") from None
    except ValueError:  # a posterior gives no room to the z of other images
        raise FormatError("damaged: the coded images do not fit their latent variables") from None
    x = np.concatenate(parts[::-1])
    if message != Message.empty(layout.lanes, _check(x, layout.lanes, context)):
        raise FormatError("damaged: the images do not agree with their checksum")
    return x


def _check(x: NumpyArray, lanes: int, context: bytes) -> NumpyArray:
    """31 bits of a hash of pixels and context for each lane: the message starts, and decoding ends, with them."""
    digest = hashlib.shake_128(context + np.ascontiguousarray(x, np.uint8).tobytes()).digest(4 * lanes)
    return np.frombuffer(digest, "<u4").astype(np.int64) & 0x7FFFFFFF
