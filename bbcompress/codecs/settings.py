"""How images are coded, as the codecs need to know it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CodingSettings:
    """How images are coded.

    k: K, how many steps refine the posteriors. learning_rate: of the K steps, in units of 1e-6, None for the model's
    own. learn: whether models that can learn from the images do, None where that makes them smaller.
    """

    encoder: str = "rha"
    k: int = 0
    learning_rate: int | None = None
    compute_batch: int = 128
    learn: bool | None = False
