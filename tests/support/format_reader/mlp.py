"""Section "MLP models" of docs/format.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .checkpoint import Checkpoint
from .coder import Message
from .distributions import Bernoulli, DiscretisedLogistic
from .message import Images, Tile
from .networks import GRADIENT_LIMIT, backward, clamp, combined, forward, layer_backward, parts

Array = npt.NDArray[Any]


class MLP:
    """MLP models: the one tile is the whole image."""

    def __init__(self, checkpoint: Checkpoint, encoder: str) -> None:
        self.decoder = checkpoint.networks["decoder"]
        self.encoder = checkpoint.networks[f"encoder.{encoder}"]
        kinds = {"bernoulli": Bernoulli, "discretised_logistic": DiscretisedLogistic}
        self.likelihood: Any = kinds[checkpoint.settings["likelihood"]]()

    def pop_pixels(self, message: Message, x: Images, tiles: list[Tile], z: Array) -> None:
        """MLP models: pop the pixels of the images from p(x|z), one call of the coder."""
        parameters, number = forward(self.decoder, z)[-1], 0
        for tile, of_image in zip(tiles, parameters, strict=True):
            pixels = x[tile.image].reshape(-1)
            for index, edges in enumerate(self.likelihood.edges(of_image)):
                pixels[index] = message.pop(number % len(message.heads), edges)
                number += 1

    def encode(self, x: Images, tiles: list[Tile]) -> tuple[Array, Array]:
        """MLP models: what the encoder gives, mu and rho."""
        mu, rho = np.split(forward(self.encoder, images_of(x, tiles))[-1], 2, axis=1)
        return mu, rho

    def gradient(self, x: Images, tiles: list[Tile], z: Array, step: int) -> Array:
        """MLP models: the gradient of -ln p(x|z) by z."""
        values = forward(self.decoder, z)
        return backward(self.decoder, values, self.likelihood.gradient(values[-1], images_of(x, tiles)))

    def weight_gradients(self, x: Images, tiles: list[Tile], z: Array) -> list[tuple[Array, Array]]:
        """Learning between batches: gradients, of each layer the sums of h x and of l x."""
        values = forward(self.decoder, z)
        gradient = self.likelihood.gradient(values[-1], images_of(x, tiles))
        found = []
        for layer, its_x, y in list(zip(self.decoder, values, values[1:], strict=False))[::-1]:
            clamped = np.where(y > layer.low, clamp(gradient, GRADIENT_LIMIT), 0)
            high, low = parts(clamped)
            found.append((combined(high.T @ its_x, low.T @ its_x), clamped.sum(axis=0)))
            gradient = layer_backward(layer, y, gradient)
        return found[::-1]


def images_of(x: Images, tiles: list[Tile]) -> Array:
    """MLP models: the encoder's inputs, (tiles, pixels)."""
    return np.stack([x[tile.image].reshape(-1) for tile in tiles])
