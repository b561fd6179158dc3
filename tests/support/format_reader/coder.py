"""Section "The coder" of docs/format.md: rANS."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .primitives import check

Array = npt.NDArray[Any]


class Message:
    """The coder: a head for each lane, and the stack of words, the newest last."""

    def __init__(self, data: bytes, lanes: int) -> None:
        """The coder: a message as bytes."""
        check(len(data) >= 4, "a message without a head")
        head_bytes = {0: 4, 1: 5, 2: 6, 3: 7}[len(data) % 4]
        both = int.from_bytes(data[:8], "little")
        if len(data) % 4 == 0 and len(data) > 4 and both < 2**63:
            head_bytes = 8
        if len(data) % 4 == 0 and len(data) > 4 and both >= 2**63:
            head, newest_first = both >> 32, data[:4] + data[8:]
        else:
            head, newest_first = int.from_bytes(data[:head_bytes], "little"), data[head_bytes:]
        fewest = head_bytes == 4 or head >> 8 * (head_bytes - 1) > 0
        check(2**31 <= head < 2**63 and fewest, "a head beyond its limits, or in too many bytes")
        self.words = [int(word) for word in np.frombuffer(newest_first, "<u4")][::-1]
        self.heads = [head]
        for _ in range(1, lanes):
            bits = self.pop_uniform(0, 5) + 31
            head = 1
            for width in [bits % 16 or 16] + [16] * ((bits - 1) // 16):
                head = head << width | self.pop_uniform(0, width)
            self.heads.append(head)

    def pop_uniform(self, lane: int, precision: int) -> int:
        """The coder: pop a symbol of frequency 1."""
        symbol: int = self.heads[lane] % 2**precision
        self.advance(lane, symbol, 1, precision)
        return symbol

    def pop_bin(self, lane: int, bits: int) -> int:
        """The message: a direct unit; pop one of 2^bits bins."""
        symbol = self.heads[lane] % 2**24 >> (24 - bits)
        self.advance(lane, symbol << (24 - bits), 1 << (24 - bits), 24)
        return symbol

    def advance(self, lane: int, start: int, freq: int, precision: int) -> None:
        """The coder: pop a symbol that is known from the head."""
        head = self.heads[lane]
        head = freq * (head >> precision) + head % 2**precision - start
        if head < 2**31:
            check(bool(self.words), "the message ends too early")
            head = head << 32 | self.words.pop()
        self.heads[lane] = head

    def pop(self, lane: int, edges: Array, precision: int = 24) -> int:
        """The coder: pop a symbol; symbol k has the interval [edges[k], edges[k + 1])."""
        value = self.heads[lane] % 2**precision
        symbol = int(np.searchsorted(edges, value, side="right")) - 1
        self.advance(lane, int(edges[symbol]), int(edges[symbol + 1] - edges[symbol]), precision)
        return symbol

    def push(self, lane: int, start: int, freq: int, precision: int = 24) -> None:
        """The coder: push."""
        check(freq > 0, "a symbol without frequency")
        head = self.heads[lane]
        if head >= freq << (63 - precision):
            self.words.append(head % 2**32)
            head >>= 32
        self.heads[lane] = (head // freq << precision) + head % freq + start
