"""How images are coded, as the codecs need to know it."""

from __future__ import annotations

from dataclasses import dataclass

from bbcompress.limits import DEFAULT_EFFORT, USUAL_ENCODER


@dataclass(frozen=True)
class CodingSettings:
    """How images are coded: one way of those that may be tried.

    Attributes:
        encoder: whose posterior is used: `rha`, `baseline`, or the model's `USUAL_ENCODER` or `OTHER_ENCODER`.
        k: K, how many steps refine the posteriors.
        learning_rate: of the K steps, in units of 1e-6; None for the model's own.
        learn: whether models that can learn from the images do so.
        learn_rate, learn_unit: how they learn, as in a group's header; None for the usual rate and unit.
        learn_between: whether models whose decoder can learn between batches do so; None where a trial says that it
            saves enough.
        lattices: whether models that learn are told of colours that an image cannot have.
        starts: whether models that learn may begin anew at an image that is unlike those before.
        block_side: longest side of the blocks into which models for any size cut images, in pixels, 64 .. 1023; None
            for the usual one.
    """

    encoder: str = USUAL_ENCODER
    k: int = 0
    learning_rate: int | None = None
    compute_batch: int = 128
    learn: bool = False
    learn_rate: int | None = None
    learn_unit: int | None = None
    learn_between: bool | None = False
    lattices: bool = True
    starts: bool = True
    block_side: int | None = None


@dataclass(frozen=True)
class CodingRequest:
    """What a user asks for: an effort, 1 to 9, which decides what is None, and values that hold at every effort.

    Attributes:
        encoder: `rha` or `baseline`. k, learning_rate: as in `CodingSettings`.
        learn: whether models learn that can; None where that makes the images smaller.
        block_side: as in `CodingSettings`.
    """

    effort: int = DEFAULT_EFFORT
    encoder: str | None = None
    k: int | None = None
    learning_rate: int | None = None
    learn: bool | None = None
    block_side: int | None = None

    @property
    def usual(self) -> CodingSettings:
        """The way of the least effort, without learning. It decides at every effort which images are coded together."""
        encoder = USUAL_ENCODER if self.encoder is None else self.encoder
        return CodingSettings(encoder, self.k or 0, self.learning_rate)
