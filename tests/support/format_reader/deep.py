"""Section "Deep" of docs/format.md."""

from __future__ import annotations

from bisect import bisect_left
from math import floor, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from .primitives import Cursor, check
from .tables import sigmoid

Array = npt.NDArray[Any]
PLACES = [
    *[(0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-2, 1), (-1, -2), (-1, 2), (-2, -1), (-2, 2), (-2, -2)],
    *[(0, -3), (-3, 0), (-3, 1), (-3, -1), (-1, 3), (-1, -3)],
]


SIGMOID = [int(s) for s in sigmoid(np.arange(-(2**14), 2**14 + 1))]


def read_deep(cursor: Cursor, width: int, height: int, channels: int) -> Array:
    """Deep: samples of shape (height, width, channels)."""
    check(width <= 2**14, "a width above the limit")
    levels, means = [], []
    for _ in range(channels):
        levels.append(read_levels(cursor))
        means.append(cursor.varint(0, len(levels[-1]) - 1))
    bits = Bits(cursor.rest())
    planes = [Channel(c, len(levels[c]) - 1, means[c], height, width) for c in range(channels)]
    for y in range(height):
        for x in range(width):
            deviations: list[int] = []
            for plane in planes:
                deviations.append(plane.read(bits, y, x, deviations))
    bits.end()
    ranks = [np.array(plane.samples) for plane in planes]
    return np.stack([levels[c][ranks[c]] for c in range(channels)], axis=2).astype(np.uint16)


def read_levels(cursor: Cursor) -> Array:
    """Deep: the levels of a channel."""
    form = cursor.byte()
    check(form <= 1, "a reserved form of levels")
    if form == 0:
        low = cursor.varint(0, 65535)
        return np.arange(low, low + cursor.varint(0, 65535 - low) + 1)
    count = cursor.varint(0, 65535) + 1
    listed = Cursor(cursor.packed(3 * count))
    levels = [listed.varint(0, 65535)]
    while len(levels) < count:
        levels.append(levels[-1] + 1 + listed.varint(0, 65535))
    listed.end()
    check(levels[-1] <= 65535, "a level above 65535")
    return np.array(levels)


class Bits:
    """Deep: bits."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.low, self.high, self.value = 0, 2**32 - 1, 0
        for _ in range(4):
            self.value = self.value * 256 + self.byte()

    def byte(self) -> int:
        """Deep: the next byte."""
        self.at += 1
        check(self.at <= len(self.data) + 4, "bits behind the end")
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def read(self, p: int) -> int:
        """Deep: one bit."""
        w = self.high - self.low
        m = self.low + (w >> 16) * p + (((w % 2**16) * p) >> 16)
        bit = int(self.value <= m)
        if bit:
            self.high = m
        else:
            self.low = m + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low % 2**24 * 256
            self.high = self.high % 2**24 * 256 + 255
            self.value = self.value % 2**24 * 256 + self.byte()
        return bit

    def end(self) -> None:
        """Deep: no byte is left."""
        missing = self.at - len(self.data)
        check(missing >= 0, "bytes behind the bits")
        check(missing == 4 or self.data[-1] != 0, "a last byte of 00")
        zeros = max(bits for bits in range(33) if self.high >> bits << bits >= self.low)
        check(self.value == self.high >> zeros << zeros, "other last bytes than the shortest")


def squash(x: float) -> float:
    """Deep: inputs."""
    a = (min(max(x, -15.99), 15.99) + 16.0) * 1024.0
    i = floor(a)
    low, high = SIGMOID[i] * 2.0**-30, SIGMOID[i + 1] * 2.0**-30
    return low + (high - low) * (a - i)


def stretch(p: float) -> float:
    """Deep: inputs."""
    middle = (2 * min(floor(2**16 * p), 2**16 - 1) + 1) * 2**13
    return (bisect_left(SIGMOID, middle) - 2**14) * 2.0**-10


class Share:
    """Deep: the share of a context."""

    def __init__(self, start: float, least: float) -> None:
        self.f, self.n, self.least = start, 0, least

    def add(self, bit: int) -> None:
        """Deep: a share, behind a bit."""
        self.n += 1
        self.f = max(self.f + (bit - self.f) * max(1 / (self.n + 1.5), self.least), 2.0**-30)


def near(rows: list[list[Any]], y: int, x: int, place: tuple[int, int], default: Any) -> Any:
    """Deep: neighbours."""
    dy, dx = place
    if y + dy < 0 or (dy == 0 and x + dx < 0):
        if y + dy < 0 and x > 0:
            return rows[y][x - 1]
        if y > 0:
            return rows[y - 1][0]
        return rows[0][x - 1] if x > 0 else default
    return rows[y + dy][min(max(x + dx, 0), len(rows[0]) - 1)]


class Channel:
    """Deep: what a channel has for itself."""

    def __init__(self, number: int, top: int, mean: int, height: int, width: int) -> None:
        self.c, self.top, self.mean, self.width = number, top, mean, width
        self.samples = [[0] * width for _ in range(height)]
        self.errors = [[[0.0] * width for _ in range(height)] for _ in range(5)]
        self.like = [[0] * width for _ in range(height)]
        self.values: dict[tuple[int, int], list[int]] = {}
        self.weights = [[0.0] * (number + n) for n in (10, 6, 18)]
        self.faded = np.zeros((number + 19, number + 19))
        self.ones: dict[tuple[int, int], Share] = {}
        self.again: dict[tuple[str, int, str], Share] = {}
        self.mixers: dict[tuple[int, ...], list[float]] = {}

    def read(self, bits: Bits, y: int, x: int, deviations: list[int]) -> int:
        """Deep: a sample; its deviation."""
        if self.top == 0:
            return 0
        w, n, nw, ne, ww, nn = (
            near(self.samples, y, x, place, self.mean)
            for place in ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
        )
        r = (w + n + 1) >> 1
        values = [0, *deviations, *(near(self.samples, y, x, place, self.mean) - r for place in PLACES)]
        q = self.predictions(y, x, values, r)
        q.append(float(min(max(w + n - nw, min(w, n)), max(w, n))))
        q = [min(max(one, 0.0), float(self.top)) for one in q]
        d = [self.near_errors(k, y, x) for k in range(4)]
        g = [1 / (one + 0.1) for one in d]
        for _ in range(2):
            g = [one * one for one in g]
        total = mean = 0.0
        for k in range(4):
            total += g[k]
            mean += g[k] * q[k]
        q.append(min(max(mean / total, 0.0), float(self.top)))
        d.append(self.near_errors(4, y, x))
        place = 4 * (w == nw) + 8 * (n == nw) + 16 * (n == ne) + 32 * (w == ww) + 64 * (n == nn) + 128 * (w == n)
        place += 2 * (x % 2) + y % 2
        pattern = sum(
            factor * near(self.like, y, x, there, 0)
            for factor, there in ((1, (0, -1)), (4, (-1, 0)), (16, (-1, -1)), (64, (-1, 1)), (256, (-2, 0)))
        )
        sample: int = Decisions(self, bits, q, d, (w, n), (place, pattern)).sample()
        self.samples[y][x] = sample
        values[0] = sample - r
        self.values[y, x] = values
        for k in range(5):
            self.errors[k][y][x] = abs(sample - q[k])
        self.like[y][x] = int(sample == w) + 2 * (sample == n)
        for name, context in (("place", place), ("pattern", pattern)):
            self.share(name, context, "W").add(int(sample == w))
            if sample != w and w != n:
                self.share(name, context, "N").add(int(sample == n))
        products = np.outer(values, values).astype(np.float64)
        self.faded = self.faded * 0.998 + products
        self.faded[np.abs(self.faded) < 2.0**-100] = 0
        return sample - int(r)

    def near_errors(self, k: int, y: int, x: int) -> float:
        """Deep: predictions: d_k."""
        total = 0.0
        for factor, place in (
            (2.0, (0, -1)),
            (2.0, (-1, 0)),
            (1.0, (-1, -1)),
            (1.0, (-1, 1)),
            (1.0, (0, -2)),
            (1.0, (-2, 0)),
        ):
            total += factor * near(self.errors[k], y, x, place, self.top / 64 + 1)
        return total / 8

    def predictions(self, y: int, x: int, values: list[int], r: int) -> list[float]:
        """Deep: least squares: the three predictions."""
        found = []
        for number, (n, reach) in enumerate(((10, 6), (6, 3), (18, 0))):
            n += self.c
            if reach:
                seen = [
                    self.values[there]
                    for there in (
                        *((y + dy, x + dx) for dy in range(-reach, 0) for dx in range(-reach, reach + 1)),
                        *((y, x + dx) for dx in range(-reach, 0)),
                    )
                    if there in self.values
                ]
                table = np.array(seen, np.int64).reshape(-1, len(values))
                sums = (table.T @ table).astype(np.float64)
                self.fit(number, sums, n, 0.002, 2.0)
            elif x % 2 == 0:
                self.fit(number, self.faded, n, 0.001, 1.0)
            total = 0.0
            for i in range(n):
                total += self.weights[number][i] * values[i + 1]
            found.append(r + total)
        return found

    def fit(self, number: int, sums: Array, n: int, share: float, least: float) -> None:
        """Deep: least squares: the weights."""
        s_ = sums.tolist()
        diagonal = 0.0
        for i in range(1, n + 1):
            diagonal += s_[i][i]
        ridge = share * diagonal / n + least
        lower = [[0.0] * n for _ in range(n)]
        for i in range(n):
            for j in range(i + 1):
                s = s_[i + 1][j + 1] + (ridge if i == j else 0.0)
                for k in range(j):
                    s -= lower[i][k] * lower[j][k]
                if i == j:
                    if s <= 1e-9:
                        return
                    lower[i][i] = sqrt(s)
                else:
                    lower[i][j] = s / lower[j][j]
        w = self.weights[number]
        for i in range(n):
            s = s_[i + 1][0]
            for k in range(i):
                s -= lower[i][k] * w[k]
            w[i] = s / lower[i][i]
        for i in range(n - 1, -1, -1):
            s = w[i]
            for k in range(i + 1, n):
                s -= lower[k][i] * w[k]
            w[i] = s / lower[i][i]

    def share(self, name: str, context: int, like: str) -> Share:
        """Deep: inputs: values that come again."""
        return self.again.setdefault((name, context, like), Share(0.1, 0.008))


class Decisions:
    """Deep: decisions, of one sample."""

    def __init__(
        self,
        channel: Channel,
        bits: Bits,
        q: list[float],
        d: list[float],
        beside: tuple[int, int],
        contexts: tuple[int, int],
    ) -> None:
        self.channel, self.bits, self.q = channel, bits, q
        self.b = [1 / (one * 0.72 + 0.06) for one in d]
        self.beside = beside
        self.spread, self.z, t = 0, 1, d[4]
        while t > 0.25 and self.spread < 15:
            t *= 0.5
            self.spread += 1
        t = d[4] * 0.5
        while t >= 2 and self.z < 2**14:
            t *= 0.5
            self.z *= 2
        self.shares = []
        for name, context in zip(("place", "pattern"), contexts, strict=True):
            left = channel.share(name, context, "W").f
            over = channel.share(name, context, "N").f * (1 - left) if beside[0] != beside[1] else 0.0
            self.shares.append((left, over))

    def sample(self) -> int:
        """Deep: decisions: the three steps."""
        top, centre = self.channel.top, floor(self.q[4] + 0.5)
        up = centre == 0 or self.bit(0, 0, centre, top + 1, True) == 1
        count = top - centre + 1 if up else centre
        f, z, u = 0, self.z, 0
        while f + z < count:
            if not self.bit_of(1 + min(u, 20), centre, up, f, f + z, count):
                break
            f, u = f + z, u + 1
            z = 2 * z if u > 1 else z
        while z > 1:
            h = z // 2
            if f + h < count and self.bit_of(24 + h.bit_length() - 1, centre, up, f, f + h, min(f + z, count)):
                f += h
            z = h
        return centre + f if up else centre - 1 - f

    def bit_of(self, kind: int, centre: int, up: bool, f: int, m: int, e: int) -> int:
        """Deep: decisions: a bit of steps 2 and 3."""
        if up:
            return self.bit(kind, centre + f, centre + m, centre + e, True)
        return self.bit(kind, centre - e, centre - m, centre - f, False)

    def bit(self, kind: int, low: int, edge: int, high: int, above: bool) -> int:
        """Deep: inputs, mixers: one bit."""
        channel = self.channel
        inputs: list[float] = []
        for k in range(5):
            at = [self.below(k, one) for one in (low, edge, high)]
            whole, part = at[2] - at[0], at[2] - at[1] if above else at[1] - at[0]
            inputs.append(stretch((part + 1e-7) / (whole + 2e-7)))
        ones = channel.ones.setdefault((kind, self.spread), Share(0.5, 0.004))
        inputs += [stretch(ones.f), 0.3]
        for shares in self.shares:
            rest = 1 - shares[0] - shares[1]
            every, chosen = rest * whole, rest * part
            for one, share in zip(self.beside, shares, strict=True):
                if low <= one < high:
                    every += share
                    if (one >= edge) == above:
                        chosen += share
            inputs.append(stretch((chosen + 1e-7) / (every + 2e-7)))
        start = [0.22] * 5 + [0.1, 0.0, 0.1, 0.1]
        mixers = [channel.mixers.setdefault(key, list(start)) for key in ((kind,), (kind, self.spread))]
        dots: list[float] = []
        for mixer in mixers:
            dots.append(0.0)
            for weight, value in zip(mixer, inputs, strict=True):
                dots[-1] += weight * value
        p = min(max(floor(squash((dots[0] + dots[1]) * 0.5) * 2**16), 1), 2**16 - 1)
        bit = self.bits.read(p)
        for mixer, dot in zip(mixers, dots, strict=True):
            rate = (bit - squash(dot)) * 0.02
            for k in range(9):
                mixer[k] += rate * inputs[k]
        ones.add(bit)
        return bit

    def below(self, k: int, edge: int) -> float:
        """Deep: inputs: P_k."""
        if edge in (0, self.channel.top + 1):
            return float(edge > 0)
        return squash((edge - 0.5 - self.q[k]) * self.b[k])
