"""The one round-trip check that every codec has to pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bbcompress.coder.ans import Message


def random_message(lanes: int = 1, words: int = 2000, seed: int = 0) -> Message:
    """A message of random bits, so many that pops find some."""
    random = np.random.default_rng(seed)
    heads = random.integers(1 << 31, 1 << 63, lanes, dtype=np.uint64)
    return Message(heads, random.integers(1 << 32, size=words, dtype=np.uint32))


def check_round_trip(
    message: Message,
    push: Callable[[Message, Any], None],
    pop: Callable[[Message], Any],
    symbols: Any,
    *,
    pop_first: bool = True,
    certain: bool = False,
) -> None:
    """`pop` after `push` gives the symbols and the message back; with `pop_first`, `push` undoes `pop` too.

    pop_first: off for codecs whose `push` chooses among several codes or cannot push just anything.
    certain: whether the symbols may have probability 1, which leaves the message as it was.
    """
    before = message.copy()
    push(message, symbols)
    assert message != before or certain or not np.size(symbols)
    popped = pop(message)
    assert np.array_equal(popped, symbols)
    assert message == before
    if pop_first:
        popped = pop(message)
        assert message != before or certain or not np.size(symbols)
        push(message, popped)
        assert message == before
