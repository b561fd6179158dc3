"""Objectives of `local` models: the ELBO on random pixels of random tiles, and reverse half-asleep inference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bbcompress.training.architectures.local.network import Array, Images, LocalVAE, crops
from bbcompress.training.distributed import ALONE, Share
from bbcompress.training.objectives import bits_per_dimension, gaussian_kl

WARM_UP = 0.3
"""Share of the training in which the KL's weight rises to 1 and context dropout falls to 0."""
FIRST_KL_WEIGHT = 0.02
FIRST_DROPOUT = 0.6
"""At the start so many of the tiles have no neighbourhood, so that z learns to say what it can."""


class TileELBO:
    """The mean negative ELBO of tiles in nats, the likelihood estimated on `samples` random pixels of each.

    Called with rows of `images.tiles`, (B, 3), of which a process does its share: the mean of what all give is the
    loss. While warm (see `WARM_UP`) the terms are weighted so that z does not
    collapse: a decoder that sees the neighbourhood learns to do without z before the encoder has learnt anything.
    """

    def __init__(self, model: LocalVAE, images: Images, samples: int, share: Share = ALONE) -> None:
        self.model = model
        self.images = images
        self.samples = samples
        self.share = share
        self.warmth = 1.0

    def set_progress(self, progress: float) -> None:
        """Take note of how much of the training is done, 0 to 1."""
        self.warmth = min(progress / WARM_UP, 1.0)

    def __call__(self, batch: Tensor, *, generator: torch.Generator) -> Tensor:
        nll, kl = self.terms(batch, generator, dropout=FIRST_DROPOUT * (1 - self.warmth))
        weight = FIRST_KL_WEIGHT + (1 - FIRST_KL_WEIGHT) * self.warmth
        return self.share.mean(nll + weight * kl, len(batch))

    def terms(
        self, rows: Tensor, generator: torch.Generator, dropout: float = 0.0, move: bool = True
    ) -> tuple[Tensor, Tensor]:
        """-log p(x|z) and KL(q || p) in nats, (B_own,) both, of this process's share of rows (B, 3); random numbers are
        drawn for all of them, so that they depend on a row's place alone.

        Args:
            move: shift the tiles of large images at random.
        """
        shape, tile = self.model.shape, self.model.shape.tile
        own, total = self.share.of, len(rows)
        number, y, x = map(own, self.images.locate(rows, tile, generator if move and shape.image is None else None))
        mu, sigma = self.model.encode(crops(self.images, number, y, x, tile))
        z = mu + sigma * own(torch.randn(total, shape.latents, generator=generator))
        pixel = own(torch.randint(tile * tile, (total, self.samples), generator=generator))
        dy, dx = pixel // tile, pixel % tile
        features = self.model.features(z)
        cell = (dy // shape.cell) * shape.cells + dx // shape.cell
        features = torch.gather(features, 1, cell[:, :, None].expand(-1, -1, shape.features)).flatten(0, 1)
        context, references, levels = self.model.gather(
            self.images,
            number[:, None].expand_as(pixel).flatten(),
            (y[:, None] + dy).flatten(),
            (x[:, None] + dx).flatten(),
            shape,
        )
        if dropout:
            kept = own(torch.rand(total, 1, generator=generator)) >= dropout
            context = context * kept.expand_as(pixel).reshape(-1, 1)
        log_p = self.model.log_likelihood(context, references, levels, features).view(pixel.shape)
        return -log_p.mean(1) * (tile * tile), gaussian_kl(mu, sigma)


class TileHalfAsleep:
    """The loss of the encoder with a frozen decoder: mean KL(q(z|x) || p(z|x)) over a mixture (paper Eq. 17), in nats.

    Of B rows of data tiles round(alpha B) are replaced by dreams: tiles of a pool that the model has drawn. The value
    is the mean negative ELBO, as in `reverse_half_asleep`; a process does its share of the data and of the dreams.
    """

    def __init__(
        self,
        model: LocalVAE,
        images: Images,
        dreams: Sequence[Array],
        samples: int,
        alpha: float,
        share: Share = ALONE,
    ) -> None:
        self.alpha = alpha
        self.data = TileELBO(model, images, samples, share)
        self.dreams = TileELBO(model, Images(dreams, model.shape.tile), samples, share) if dreams else None

    def __call__(self, batch: Tensor, *, generator: torch.Generator) -> Tensor:
        dreamed = round(self.alpha * len(batch)) if self.dreams is not None else 0
        loss = torch.zeros(())
        if dreamed < len(batch):
            loss = loss + self.data(batch[dreamed:], generator=generator) * (1 - dreamed / len(batch))
        if dreamed and self.dreams is not None:
            tiles = self.dreams.images.tiles
            rows = tiles[torch.randint(len(tiles), (dreamed,), generator=generator)]
            loss = loss + self.dreams(rows, generator=generator) * (dreamed / len(batch))
        return loss


@torch.no_grad()
def evaluate_tiles(
    model: LocalVAE, images: Images, samples: int, generator: torch.Generator, batch: int = 50
) -> tuple[float, float]:
    """Mean negative ELBO of all tiles and the KL in it, in bits per sub-pixel; estimated on `samples` pixels a tile."""
    compute_dtype, model.compute_dtype = model.compute_dtype, torch.float32
    objective = TileELBO(model, images, samples)
    total, kl_total = 0.0, 0.0
    try:
        for start in range(0, len(images.tiles), batch):
            nll, kl = objective.terms(images.tiles[start : start + batch], generator, move=False)
            total += (nll + kl).double().sum().item()
            kl_total += kl.double().sum().item()
    finally:
        model.compute_dtype = compute_dtype
    unit = bits_per_dimension(model.shape.tile**2 * model.shape.channels) / len(images.tiles)
    return total * unit, kl_total * unit
