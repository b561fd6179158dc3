"""Observation distributions p(x|z) in torch: from the decoder's outputs to log-probabilities and samples."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_LOG_SCALE = -1.5  # of a logistic, in pixel levels
MAX_LOG_SCALE = 7.0


class Likelihood(Protocol):
    """What a model needs of its observation distribution over D sub-pixels."""

    name: str
    parameters_per_pixel: int
    max_level: int

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for params (B, D * parameters_per_pixel) and x (B, D) of any dtype."""

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw for each row of params: uint8 (B, D)."""

    def initialise(self, bias: Tensor) -> None:
        """Set the bias (D * parameters_per_pixel,) of the decoder's last layer in place."""


class Bernoulli:
    """Binary pixels; the parameter is the logit of 1."""

    name = "bernoulli"
    parameters_per_pixel = 1
    max_level = 1

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for logits (B, D) and x (B, D) in {0, 1}."""
        return -F.binary_cross_entropy_with_logits(params, x.to(params.dtype), reduction="none").sum(1)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw for each row of logits: uint8 (B, D)."""
        noise = torch.rand(params.shape, generator=generator, device=params.device)
        return (noise < torch.sigmoid(params)).to(torch.uint8)

    def initialise(self, bias: Tensor) -> None:
        """Leave the bias as it is."""


class DiscretisedLogistic:
    """Levels 0..255; a logistic in pixel units, its mass outside going to the edge levels.

    params (B, 2 D): first D outputs o_m, the mean being 255 o_m, then D outputs o_s, the logarithm of the
    scale being o_s + ln 255, clamped to [-1.5, 7].
    """

    name = "discretised_logistic"
    parameters_per_pixel = 2
    max_level = 255

    def mean_and_log_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of each pixel, (B, D) both, in pixel levels."""
        o_m, o_s = params.chunk(2, dim=1)
        return 255 * o_m, (o_s + math.log(255)).clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for params (B, 2 D) and levels x (B, D).

        With b, a the standardised upper and lower edge of a level and S the logistic function,
        S(b) - S(a) = S(b) S(-a) (1 - exp(a - b)), which has no cancellation and a gradient everywhere.
        """
        mean, log_scale = self.mean_and_log_scale(params)
        inverse = torch.exp(-log_scale)
        level = x.to(params.dtype)
        centred = level - mean
        upper = F.softplus((-0.5 - centred) * inverse)  # -log S(b)
        lower = F.softplus((centred - 0.5) * inverse)  # -log S(-a)
        width = torch.log(-torch.expm1(-inverse))
        above, below = level > 0, level < self.max_level
        nothing = torch.zeros((), dtype=params.dtype, device=params.device)
        log_p = torch.where(above & below, width, nothing)
        log_p = log_p - torch.where(below, upper, nothing) - torch.where(above, lower, nothing)
        return log_p.sum(1)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw for each row of params: uint8 (B, D)."""
        mean, log_scale = self.mean_and_log_scale(params)
        noise = torch.rand(mean.shape, generator=generator, device=params.device)
        level = torch.logit(noise, eps=1e-7).mul_(torch.exp(log_scale)).add_(mean)
        # a rounded logistic variable has the masses of log_prob
        return level.round_().clamp_(0, self.max_level).to(torch.uint8)

    def initialise(self, bias: Tensor) -> None:
        """Start with scales of exp(-2) of the range: wide enough for a gradient from every level."""
        with torch.no_grad():
            bias[len(bias) // 2 :].fill_(-2.0)
