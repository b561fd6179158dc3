"""How images are coded, as the codecs need to know it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CodingSettings:
    """How images are coded. steps: K. learning_rate: in units of 1e-6, None for the model's own."""

    encoder: str = "rha"
    steps: int = 0
    learning_rate: int | None = None
    compute_batch: int = 128
