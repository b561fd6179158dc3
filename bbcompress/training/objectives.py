"""Training objectives of a VAE: the ELBO, sleep and reverse half-asleep inference, denoising and wake-sleep.

Each is a loss in nats, the mean over a batch: a scalar for levels x (B, D), of which a process does its share. Those of
an encoder alone leave it to the caller to freeze the decoder (requires_grad_(False)): gradients pass through it to z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from bbcompress.training.distributed import ALONE, Share
from bbcompress.training.likelihoods import Likelihood
from bbcompress.training.trainer import Loss

ELBO = "elbo"
SLEEP = "sleep"
REVERSE_SLEEP = "reverse-sleep"
REVERSE_HALF_ASLEEP = "reverse-half-asleep"
DENOISING = "denoising"
WAKE_SLEEP = "wake-sleep"
TINY = torch.finfo(torch.float32).tiny


class ImageVAE(Protocol):
    """A VAE of whole images, x being rows of D levels: `MLPVAE`, `ResNetVAE`."""

    latents: int
    dimensions: int
    compute_dtype: torch.dtype
    training: bool

    @property
    def likelihood(self) -> Likelihood: ...
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]: ...
    def decode(self, z: Tensor) -> Tensor: ...
    def train(self, mode: bool = True) -> object: ...


def gaussian_kl(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) in nats, (B,), summed over the latents of (B, Z)."""
    return (0.5 * (mu.square() + sigma.square() - 1) - torch.log(sigma.clamp_min(TINY))).sum(1)


def normal_log_prob(z: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """log N(z; mu, sigma^2) in nats, (B,), summed over the latents of (B, Z)."""
    sigma = sigma.clamp_min(TINY)
    return -(0.5 * ((z - mu) / sigma).square() + torch.log(sigma) + 0.5 * math.log(2 * math.pi)).sum(1)


def elbo_per_image(model: ImageVAE, x: Tensor, noise: Tensor, seen: Tensor | None = None) -> Tensor:
    """The evidence lower bound (paper Eq. 1) of each image in nats, (B,), for levels x (B, D).

    Analytic KL, one reparameterised sample of z by standard normal noise (B, Z). seen: what the encoder is given
    instead of x, (B, D).
    """
    mu, sigma = model.encode(x if seen is None else seen)
    log_likelihood = model.likelihood.log_prob(model.decode(mu + sigma * noise), x)
    return log_likelihood - gaussian_kl(mu, sigma)


def elbo(model: ImageVAE, x: Tensor, generator: torch.Generator) -> Tensor:
    """The mean ELBO (paper Eqs. 1 and 10) in nats, a scalar, for levels x (B, D)."""
    return -negative_elbo(model, x, generator)


def negative_elbo(model: ImageVAE, x: Tensor, generator: torch.Generator, share: Share = ALONE) -> Tensor:
    """The loss of VAE training: the mean negative ELBO in nats, a scalar, for levels x (B, D).

    share: what this process does of x, of which all processes have the whole; the mean of their values is the loss.
    """
    noise = standard_normal(len(x), model, generator, x.device)
    return -share.mean(elbo_per_image(model, share.of(x), share.of(noise)), len(x))


def reverse_half_asleep(
    model: ImageVAE,
    x: Tensor,
    alpha: float,
    generator: torch.Generator,
    aggregate: bool = False,
    share: Share = ALONE,
) -> Tensor:
    """The loss of the encoder with a frozen decoder: mean KL(q(z|x) || p(z|x)) over a mixture (paper Eq. 17).

    m(x) = alpha p(x) + (1 - alpha) p_d(x). Of the B data rows x (B, D), round(alpha B) are replaced by fresh samples
    of the model: z' ~ N(0, I), x' ~ p(x|z'). aggregate: z' is drawn from the aggregate posterior q(z) instead, here
    that of the replaced rows, for data where the prior differs so much from q(z) that its samples are of no use. The
    value is the mean negative ELBO in nats, which is the KL up to a constant in the encoder's parameters. alpha = 0 is
    plain encoder training, alpha = 1 reverse sleep (Eq. 15). The caller freezes the decoder (requires_grad_(False));
    gradients pass through it to z. share: as in `negative_elbo`; a process has its share of the data and of the dreams.
    """
    dreamed = round(alpha * len(x))
    if not dreamed:
        return negative_elbo(model, x, generator, share)
    replaced, kept = x[:dreamed], x[dreamed:]
    if aggregate:
        dreams = resample(model, replaced, generator, share)
    else:
        dreams = sample_model(model, dreamed, generator, x.device, share)
    mixture = torch.cat([share.of(kept), dreams.to(x.dtype)])
    noise = standard_normal(len(x), model, generator, x.device)
    own_noise = share.of(noise[: len(kept)], noise[len(kept) :])
    return -share.mean(elbo_per_image(model, mixture, own_noise), len(x))


def reverse_sleep(
    model: ImageVAE, x: Tensor, generator: torch.Generator, aggregate: bool = False, share: Share = ALONE
) -> Tensor:
    """The loss of reverse sleep inference: mean KL(q(z|x') || p(z|x')) over x' ~ p(x) (paper Eq. 15), as a mean
    negative ELBO in nats.

    `reverse_half_asleep` with alpha = 1: of x (B, D) only the number of rows counts, with aggregate also their q(z|x).
    """
    return reverse_half_asleep(model, x, 1.0, generator, aggregate, share)


def sleep(
    model: ImageVAE, x: Tensor, generator: torch.Generator, aggregate: bool = False, share: Share = ALONE
) -> Tensor:
    """The loss of (forward) sleep inference: mean -log q(z'|x') in nats over z', x' ~ p(z) p(x|z) (paper Eq. 13).

    That is the mean KL(p(z|x') || q(z|x')) up to a constant in the encoder's parameters; a density, so it can be
    negative. There are as many samples as rows of x (B, D). aggregate: z' is drawn from the aggregate posterior q(z),
    that of these rows, instead of the prior. Neither z' nor the decoder has a gradient.
    """
    with torch.no_grad():
        if aggregate:
            z = _posterior_samples(model, x, generator, share)
        else:
            z = _prior_samples(model, len(x), generator, x.device, share)
        dreams = _draw(model, z, len(x), generator, share)
    mu, sigma = model.encode(dreams)
    return -share.mean(normal_log_prob(z, mu, sigma), len(x))


def denoising(
    model: ImageVAE, x: Tensor, alpha: float, sigma: float | Tensor, generator: torch.Generator, share: Share = ALONE
) -> Tensor:
    """The loss with the denoising regulariser: mean alpha KL(q(z|x + eps) || p(z|x)) + (1 - alpha) KL(q(z|x) || p(z|x))
    over data x (B, D) (paper Eq. 18), as a mean negative ELBO in nats: they differ by a constant in the encoder.

    eps ~ N(0, sigma^2) for each sub-pixel; sigma is in units of the range of levels, pixels being scaled to [0, 1]. The
    paper does not say its unit. The encoder alone sees eps. Both terms are taken of every row, so a step encodes and
    decodes twice; they have the noise of z in common. sigma = 0 is `negative_elbo`, with other random numbers. Of one
    process sigma may be a tensor (B, 1).
    """
    noise = share.of(standard_normal(len(x), model, generator, x.device))
    eps = share.of(torch.randn(x.shape, generator=generator, device=x.device))
    clean = share.of(x)
    noisy = clean + sigma * model.likelihood.max_level * eps
    elbos = alpha * elbo_per_image(model, clean, noise, noisy) + (1 - alpha) * elbo_per_image(model, clean, noise)
    return -share.mean(elbos, len(x))


def wake(model: ImageVAE, x: Tensor, generator: torch.Generator, share: Share = ALONE) -> Tensor:
    """The loss of the decoder in the wake phase: the mean negative ELBO of data x (B, D) (paper Eq. 12), without a
    gradient in the encoder."""
    noise = share.of(standard_normal(len(x), model, generator, x.device))
    data = share.of(x)
    with torch.no_grad():
        mu, sigma = model.encode(data)
    log_likelihood = model.likelihood.log_prob(model.decode(mu + sigma * noise), data)
    return -share.mean(log_likelihood - gaussian_kl(mu, sigma), len(x))


def wake_sleep(
    model: ImageVAE, x: Tensor, generator: torch.Generator, aggregate: bool = False, share: Share = ALONE
) -> Tensor:
    """The loss of wake-sleep training: `wake`, which moves the decoder alone (paper Eq. 12), plus `sleep`, which moves
    the encoder alone (Eq. 13). Adam's steps by the sum are those of an Adam for each network.

    Batch norm takes its statistics from the data: dreams are drawn and encoded with the running ones.
    """
    of_decoder = wake(model, x, generator, share)
    training = model.training
    model.train(False)
    try:
        return of_decoder + sleep(model, x, generator, aggregate, share)
    finally:
        model.train(training)


def standard_normal(n: int, model: ImageVAE, generator: torch.Generator, device: torch.device) -> Tensor:
    """Noise for the latents of n images, (n, Z)."""
    return torch.randn(n, model.latents, generator=generator, device=device)


@torch.no_grad()
def sample_model(
    model: ImageVAE, n: int, generator: torch.Generator, device: torch.device, share: Share = ALONE
) -> Tensor:
    """n images drawn from the model by ancestral sampling, uint8 (n, D); of these the process's share."""
    return _draw(model, _prior_samples(model, n, generator, device, share), n, generator, share)


@torch.no_grad()
def resample(model: ImageVAE, x: Tensor, generator: torch.Generator, share: Share = ALONE) -> Tensor:
    """Images drawn from the model with z ~ q(z|x) for each of x (B, D): uint8 (B, D); of these the process's share."""
    return _draw(model, _posterior_samples(model, x, generator, share), len(x), generator, share)


def _prior_samples(model: ImageVAE, n: int, generator: torch.Generator, device: torch.device, share: Share) -> Tensor:
    """The share of n draws of z ~ p(z)."""
    return share.of(standard_normal(n, model, generator, device))


def _posterior_samples(model: ImageVAE, x: Tensor, generator: torch.Generator, share: Share) -> Tensor:
    """z ~ q(z|x) for the share of x (B, D)."""
    mu, sigma = model.encode(share.of(x))
    return mu + sigma * share.of(standard_normal(len(x), model, generator, x.device))


def _draw(model: ImageVAE, z: Tensor, n: int, generator: torch.Generator, share: Share) -> Tensor:
    """x ~ p(x|z) for the share z of n latents; the noise is drawn for all n, so that it depends on the place alone."""
    params = share.spread(model.decode(z), n)
    return share.of(model.likelihood.sample(params, generator))


@torch.no_grad()
def evaluate(model: ImageVAE, data: Tensor, samples: int, generator: torch.Generator, batch: int = 500) -> float:
    """Mean negative ELBO in bits per dimension over all of data (N, D), always in float32 and with the running
    statistics of batch norm.

    samples: draws of z an image.
    """
    compute_dtype, model.compute_dtype = model.compute_dtype, torch.float32
    training = model.training
    model.train(False)
    total = torch.zeros((), dtype=torch.float64, device=data.device)
    try:
        for _ in range(samples):
            for start in range(0, len(data), batch):
                x = data[start : start + batch]
                noise = standard_normal(len(x), model, generator, x.device)
                total -= elbo_per_image(model, x, noise).double().sum()
    finally:
        model.compute_dtype = compute_dtype
        model.train(training)
    return total.item() / (samples * len(data)) * bits_per_dimension(model.dimensions)


def bits_per_dimension(dimensions: int) -> float:
    """The factor from nats an image to bits a dimension."""
    return 1 / (dimensions * math.log(2))


# --- The registry --------------------------------------------------------------------------------


class ObjectiveOptions(Protocol):
    """The options of a run that objectives read; `alpha` and `sigma` are None where the objective has none."""

    @property
    def alpha(self) -> float | None: ...
    @property
    def sigma(self) -> float | None: ...
    @property
    def samples(self) -> str: ...


@dataclass(frozen=True)
class Objective:
    """An objective as a run knows it.

    name: that on the command line.
    loss: the loss of an image VAE by the run's options; all processes have the whole batch and do their share of it.
    options: the options that the objective has, `alpha` and `sigma`, each with its usual value.
    dreams: the objective draws images from the model, so that `samples` counts.
    of_both: the objective trains both networks; the others train an encoder whose decoder is frozen.
    is_elbo: the loss is a mean negative ELBO, which is reported in bits per dimension.
    share: for reverse half-asleep inference and its special cases, the share of dreams in a batch; else None.
    """

    name: str
    loss: Callable[[ImageVAE, ObjectiveOptions, Share], Loss]
    options: Mapping[str, float] = field(default_factory=dict)
    dreams: bool = True
    of_both: bool = False
    is_elbo: bool = True
    share: Callable[[ObjectiveOptions], float] | None = None


def half_asleep_loss(model: ImageVAE, alpha: float, options: ObjectiveOptions, share: Share) -> Loss:
    """`reverse_half_asleep` with a share of dreams that is given."""
    return partial(reverse_half_asleep, model, alpha=alpha, aggregate=_aggregate(options), share=share)


def _aggregate(options: ObjectiveOptions) -> bool:
    return options.samples == "aggregate"


def _given(value: float | None) -> float:
    """An option that the objective has: a configuration has filled it in."""
    if value is None:
        raise ValueError("an objective lacks one of its options")
    return value


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            ELBO,
            lambda model, options, share: partial(negative_elbo, model, share=share),
            dreams=False,
            share=lambda options: 0.0,
        ),
        Objective(
            SLEEP,
            lambda model, options, share: partial(sleep, model, aggregate=_aggregate(options), share=share),
            is_elbo=False,
        ),
        Objective(
            REVERSE_SLEEP,
            lambda model, options, share: half_asleep_loss(model, 1.0, options, share),
            share=lambda options: 1.0,
        ),
        Objective(
            REVERSE_HALF_ASLEEP,
            lambda model, options, share: half_asleep_loss(model, _given(options.alpha), options, share),
            options={"alpha": 0.5},
            share=lambda options: _given(options.alpha),
        ),
        Objective(
            DENOISING,
            lambda model, options, share: partial(
                denoising, model, alpha=_given(options.alpha), sigma=_given(options.sigma), share=share
            ),
            options={"alpha": 0.5, "sigma": 0.1},
            dreams=False,
        ),
        Objective(
            WAKE_SLEEP,
            lambda model, options, share: partial(wake_sleep, model, aggregate=_aggregate(options), share=share),
            options={"alpha": 0.5},  # of the encoder that is trained afterwards
            of_both=True,
            is_elbo=False,
        ),
    )
}
"""All objectives by name. A new one is a loss and an entry here, and its name in the choices of `bbc train`."""
