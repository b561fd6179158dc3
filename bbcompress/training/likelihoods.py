"""Observation distributions p(x|z) in torch: from the decoder's outputs to log-probabilities and samples."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_LOG_SCALE = -1.5  # of a logistic, in pixel levels
MAX_LOG_SCALE = 7.0

Affine = tuple[tuple[float, float], ...]
"""Gain and offset of each of a pixel's parameters."""


class Likelihood(Protocol):
    """What a model needs of its observation distribution over D sub-pixels, whose parameters are params (B, ...).

    Attributes:
        to_exact: gain and offset of each of a pixel's parameters, which turn it into that of the exact twin, the one of
            the same name in `exact/registry.py`.
    """

    name: str
    parameters_per_pixel: int
    max_level: int
    to_exact: Affine

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for levels x (B, D) of any dtype."""

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw for each row of params: uint8 (B, D)."""


class Bernoulli:
    """Binary pixels; the parameter is the logit of 1."""

    name = "bernoulli"
    parameters_per_pixel = 1
    max_level = 1
    to_exact: Affine = ((1.0, 0.0),)

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
    to_exact: Affine = ((255 / 256, 0.0), (1.0, math.log(255)))  # mean = 256 o, and the scale in levels

    def mean_and_log_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of each pixel, (B, D) both, in pixel levels."""
        o_m, o_s = params.chunk(2, dim=1)
        return 255 * o_m, (o_s + math.log(255)).clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for params (B, 2 D) and levels x (B, D)."""
        mean, log_scale = self.mean_and_log_scale(params)
        return log_mass(x.to(params.dtype), mean, log_scale).sum(1)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw for each row of params: uint8 (B, D)."""
        mean, log_scale = self.mean_and_log_scale(params)
        return draw_levels(mean, log_scale, generator).to(torch.uint8)

    def initialise(self, bias: Tensor) -> None:
        """Start with scales of exp(-2) of the range: wide enough for a gradient from every level."""
        with torch.no_grad():
            bias[len(bias) // 2 :].fill_(-2.0)


class ChannelLogistic:
    """RGB levels 0..255, logistic, the mean of a channel being linear in the channels before it; its mass outside goes
    to the edge levels.

    params (B, 9, H, W): three means m (127.5 + 64 o, in levels), three logarithms of scales (o + ln 20, clamped to
    [-1.5, 7]), three coefficients c. Given the pixel's earlier channels r, g the means are m_R, m_G + c_0 (r - m_R) and
    m_B + c_1 (r - m_R) + c_2 (g - m_G). Rows of x are the sub-pixels in the order height, width, channel.
    """

    name = "channel_logistic"
    parameters_per_pixel = 9
    max_level = 255
    MEAN_UNIT = 64.0
    FIRST_LOG_SCALE = math.log(20)
    to_exact: Affine = (
        *((MEAN_UNIT / 256, 127.5 / 256),) * 3,  # mean = 256 o
        *((1.0, FIRST_LOG_SCALE),) * 3,
        *((1.0, 0.0),) * 3,
    )

    def __init__(self, image: tuple[int, int]) -> None:
        """image: height and width."""
        self.image = image

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for params (B, 9, H, W) and levels x (B, D)."""
        means, log_scales, coefficients = self._parts(params)
        levels = x.view(-1, *self.image, 3).permute(0, 3, 1, 2).to(params.dtype)
        red, green, _ = (levels - means).unbind(1)
        c0, c1, c2 = coefficients.unbind(1)
        shift = torch.stack([torch.zeros_like(red), c0 * red, c1 * red + c2 * green], 1)
        return log_mass(levels, means + shift, log_scales).flatten(1).sum(1)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw for each row of params: uint8 (B, D)."""
        means, log_scales, coefficients = self._parts(params)
        c0, c1, c2 = coefficients.unbind(1)
        red = draw_levels(means[:, 0], log_scales[:, 0], generator)
        by_red = red - means[:, 0]
        green = draw_levels(means[:, 1] + c0 * by_red, log_scales[:, 1], generator)
        by_green = green - means[:, 1]
        blue = draw_levels(means[:, 2] + c1 * by_red + c2 * by_green, log_scales[:, 2], generator)
        return torch.stack([red, green, blue], dim=3).flatten(1).to(torch.uint8)

    def _parts(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means, log_scales, coefficients = params.chunk(3, dim=1)
        log_scales = (log_scales + self.FIRST_LOG_SCALE).clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)
        return 127.5 + self.MEAN_UNIT * means, log_scales, coefficients


class LogisticMixture:
    """Levels 0..255 of single sub-pixels under mixtures of discretised logistics (Salimans et al., 2017), with point
    masses at 0 and 255 and a floor for every level.

    params: (N, 3 M + 2): logits of M components and of point masses at 0 and 255; means less `reference` (N,) in units
    of 64 levels; logarithms of the scales in units of 2^-5 levels. They are those of the exact twin.
    """

    name = "logistic_mixture"
    MEAN_UNIT = 64.0
    LOG_SCALE_TOP = 10.0
    SMALLEST_SCALE = 2.0**-5  # levels
    LOG_FLOOR = -24 * math.log(2.0)  # the exact distribution gives every level 2^-24 at least

    @staticmethod
    def log_prob(params: Tensor, reference: Tensor, level: Tensor) -> Tensor:
        """log p of levels (N,) in nats, (N,)."""
        m = (params.shape[1] - 2) // 3
        log_pi = torch.log_softmax(params[:, : m + 2], dim=1)
        inverse = (
            torch.exp(-params[:, 2 * m + 2 :].clamp(0, LogisticMixture.LOG_SCALE_TOP)) / LogisticMixture.SMALLEST_SCALE
        )
        centred = (level - reference)[:, None] - LogisticMixture.MEAN_UNIT * params[:, m + 2 : 2 * m + 2]
        upper = F.softplus((-0.5 - centred) * inverse)  # -log S(b)
        lower = F.softplus((centred - 0.5) * inverse)  # -log S(-a)
        width = torch.log(-torch.expm1(-inverse))
        lowest, highest = (level == 0)[:, None], (level == 255)[:, None]
        zero = torch.zeros(())
        log_p = torch.where(lowest | highest, zero, width)
        log_p = log_p - torch.where(highest, zero, upper) - torch.where(lowest, zero, lower)
        never = torch.full((), -1e4)
        edges = torch.where(torch.cat([lowest, highest], dim=1), log_pi[:, m:], never)
        floor = torch.full((len(level), 1), LogisticMixture.LOG_FLOOR)
        return torch.logsumexp(torch.cat([log_pi[:, :m] + log_p, edges, floor], dim=1), dim=1)

    @staticmethod
    def sample(params: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
        """One draw for each row of params, float (N,)."""
        noise = torch.rand(len(params), generator=generator)
        m = (params.shape[1] - 2) // 3
        picked = torch.multinomial(torch.softmax(params[:, : m + 2], 1), 1, generator=generator)
        component = picked.clamp_max(m - 1)
        mean = reference + LogisticMixture.MEAN_UNIT * params[:, m + 2 : 2 * m + 2].gather(1, component)[:, 0]
        scale = LogisticMixture.SMALLEST_SCALE * torch.exp(
            params[:, 2 * m + 2 :].clamp(0, LogisticMixture.LOG_SCALE_TOP).gather(1, component)[:, 0]
        )
        level = torch.round(mean + scale * torch.logit(noise, eps=1e-7)).clamp(0, 255)
        level = torch.where(picked[:, 0] == m, torch.zeros(()), level)
        return torch.where(picked[:, 0] == m + 1, torch.full((), 255.0), level)


LIKELIHOODS = {kind.name: kind for kind in (Bernoulli, DiscretisedLogistic, ChannelLogistic, LogisticMixture)}
"""By the name that each shares with its exact twin in `exact/registry.py`."""


def log_mass(level: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """The logarithm of a logistic's mass on each level 0..255, in nats; all of one shape.

    With b, a the standardised upper and lower edge of a level and S the logistic function,
    S(b) - S(a) = S(b) S(-a) (1 - exp(a - b)), which has no cancellation and a gradient everywhere.
    """
    inverse = torch.exp(-log_scale)
    centred = level - mean
    upper = F.softplus((-0.5 - centred) * inverse)  # -log S(b)
    lower = F.softplus((centred - 0.5) * inverse)  # -log S(-a)
    width = torch.log(-torch.expm1(-inverse))
    above, below = level > 0, level < 255
    nothing = torch.zeros((), dtype=mean.dtype, device=mean.device)
    log_p = torch.where(above & below, width, nothing)
    return log_p - torch.where(below, upper, nothing) - torch.where(above, lower, nothing)


def draw_levels(mean: Tensor, log_scale: Tensor, generator: torch.Generator) -> Tensor:
    """Levels 0..255, floating-point, with the masses of `log_mass`: a rounded logistic variable has them."""
    noise = torch.rand(mean.shape, generator=generator, device=mean.device)
    level = torch.logit(noise, eps=1e-7).mul_(torch.exp(log_scale)).add_(mean)
    return level.round_().clamp_(0, 255)
