"""Messages of models whose decoder learns between batches. See docs/format.md, "Learning between batches".

A reader pops the last batch first, and learns from each once it has its pixels. A writer pushes the first batch first.
So it goes along the reader's way before it codes anything: the batches, and with them the weights, are then fixed. They
depend on pixels and on posterior means, never on z that are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np

from bbcompress.archive.header import GroupHeader, Learning
from bbcompress.codecs.bitsback import BitsBack, codec_of
from bbcompress.codecs.direct import DirectCodec
from bbcompress.codecs.group import Layout, check_of
from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.batch_learning import Integers
from bbcompress.exact.tables import LOG2_BITS, VALUE_BITS, bin_edges
from bbcompress.models.base import LearningModel, Model
from bbcompress.models.decoder_learning import DecoderLearning
from bbcompress.models.strips import Strips

NumpyArray = np.ndarray[Any, Any]

UNIT = 16
"""Rows of z of a step; fewer where sums would not be exact."""
LEAST_BATCH = 32
"""Strips of a batch, about, ..."""
MOST_BATCHES = 32
"""... unless there would be more than so many: the writer keeps the weights of each."""
LEAST_ROWS = 64
"""With fewer rows of z it is not tried whether learning makes images smaller."""
TRIED_SHARE, TRIED_ROWS = 4, 96
"""It is tried on this share of the rows, and on at most so many."""
LEAST_GAIN = 1 / 200
"""The share of a group's size for which it is worth a reader's time, which learning takes several times."""


def can_learn_between(model: Model) -> TypeGuard[LearningModel]:
    """Whether a model's decoder can learn between batches."""
    return isinstance(model, LearningModel) and model.largest_unit > 0


def learning_between(model: LearningModel, rate: int | None = None) -> Learning:
    """How a model is to learn between batches."""
    return Learning(rate or model.learning_rates[0], min(UNIT, model.largest_unit), batches=True)


def chosen_learning_between(
    model: LearningModel, x: Strips, encoder: str, learn: bool | None, frozen_bytes: int
) -> Learning | None:
    """How a model is to learn from strips; None where it should not.

    learn: whether it should, None where a trial says whether enough of `frozen_bytes` is gained.
    """
    if x.row_count < LEAST_ROWS:
        return learning_between(model) if learn else None
    rate, bits = chosen_rate(model, x, encoder)
    return learning_between(model, rate) if learn or bits > 8 * LEAST_GAIN * frozen_bytes else None


def chosen_rate(model: LearningModel, x: Strips, encoder: str) -> tuple[int, float]:
    """The model's rate at which images become the smallest, and about how many bits are gained by it.

    What a reader pops first is tried, with the mean of each posterior as z. What is not tried is taken to gain as much
    as the second half of it.
    """
    sizes, rates, end = _trial_sizes(x), model.learning_rates, len(x)
    found: dict[int, list[tuple[float, int]]] = {rate: [] for rate in rates}
    with exact_arithmetic():
        learners = {rate: DecoderLearning(model, rate, learning_between(model).unit) for rate in rates}
        for size in sizes:
            batch = x[end - size : end]
            end -= size
            z = _means(model, batch, encoder)
            frozen = model.lengths(z, batch).sum()
            for rate, learner in learners.items():
                gain = int(frozen - learner.model.lengths(z, batch).sum()) / (1 << LOG2_BITS)
                found[rate].append((gain, batch.row_count))
                learner.learn(batch, encoder)
    gains = {rate: _gain_of(parts, x.row_count) for rate, parts in found.items()}
    best = max(rates, key=gains.__getitem__)
    return best, gains[best]


def _gain_of(parts: Sequence[tuple[float, int]], rows: int) -> float:
    """The bits that all rows are expected to gain, by the bits gained and the rows of each batch that was tried."""
    later = parts[len(parts) // 2 :]
    share = sum(gain for gain, _ in later) / sum(tried for _, tried in later)
    return sum(gain for gain, _ in parts) + share * (rows - sum(tried for _, tried in parts))


def _trial_sizes(x: Strips) -> list[int]:
    """Strips of each batch of a trial, from the last strip on."""
    ends, rows = x.row_ends, min(TRIED_ROWS, x.row_count // TRIED_SHARE)
    sizes, end = [], len(x)
    while end and ends[-1] - ends[end] < rows:
        begin = int(np.searchsorted(ends, ends[end] - UNIT, "right")) - 1
        begin = min(max(begin, 0), end - 1)
        sizes.append(end - begin)
        end = begin
    return sizes


def _means(model: Model, x: Strips, encoder: str) -> NumpyArray:
    """The values of the prior's bins in which the posterior means lie, (rows, Z)."""
    mu, _ = model.encode(model.prepare(x), encoder)
    points = np.floor(model.backend.numpy(mu) * float(1 << VALUE_BITS))
    return model.prior.values(np.searchsorted(bin_edges(model.prior.bits), points, "right"))


def encode_between(
    model: Model, header: GroupHeader, compute_batch: int, x: Strips, layout: Layout, context: bytes
) -> tuple[Layout, Message]:
    """Code all strips of a canvas by a model that learns as the header says.

    layout: of the same strips without learning; its batches are cut into smaller ones. context: as in `encode_group`.

    Where the message then does not hold a batch's z, the batch is halved, or one more strip is coded directly.
    """
    most = max(LEAST_BATCH, -(-len(x) // MOST_BATCHES))
    layout = replace(layout, batches=tuple(part for batch in layout.batches for part in _parts(batch, most)))
    with exact_arithmetic():
        while True:
            codec = codec_of(model, header, compute_batch)
            message = Message.empty(layout.lanes, check_of(x, layout.lanes, context))
            failed = _push(codec, message, x, layout)
            if failed is None:
                return layout, message
            batches = list(layout.batches)
            size = batches[failed]
            batches[failed : failed + 1] = [size // 2, size - size // 2] if size > 1 else []
            layout = replace(layout, direct=len(x) - sum(batches), batches=tuple(batches))


def _parts(batch: int, most: int) -> list[int]:
    """A batch in as few parts as may be, of about one size."""
    count = -(-batch // most)
    return [batch * (part + 1) // count - batch * part // count for part in range(count)]


def _push(codec: BitsBack, message: Message, x: Strips, layout: Layout) -> int | None:
    """Push all strips; the number of the first batch of which the message does not hold the z, None where it holds all
    of them."""
    learning = codec.learning
    assert learning is not None
    weights: list[Integers] = []
    end = len(x)
    for size in reversed(layout.batches):
        weights.append(learning.integers)
        codec.learn(x[end - size : end])
        end -= size
    direct = DirectCodec(codec.model)
    if layout.together:
        direct.push(message, x[:end], direct.middle(x[:end]))
    else:
        for strip in range(end):
            direct.push(message, x[strip : strip + 1])
    for number, size in enumerate(layout.batches):
        learning.model.load_decoder(weights.pop())
        try:
            codec.push(message, x[end : end + size])
        except EmptyMessage:
            return number
        end += size
    return None
