"""Small random models, made from integers without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.convolution import ConvolutionWeights
from bbcompress.exact.distributions import LIKELIHOODS, ExactChannelLogistic
from bbcompress.exact.layers import ACTIVATION_BITS, LinearWeights
from bbcompress.exact.mixture import LocalBernoulli, LocalLikelihood, LogisticMixture
from bbcompress.limits import ENCODERS
from bbcompress.models.base import RHO_BITS, Z_BITS, Layers, ModelWeights
from bbcompress.models.cache import Models
from bbcompress.models.local import LocalWeights
from bbcompress.models.mlp import MLPWeights
from bbcompress.models.pixel_network import PIXEL_BITS, input_count
from bbcompress.models.resnet import PIXEL_BITS as RESNET_PIXEL_BITS
from bbcompress.models.resnet import Convolutions, ResNetWeights
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import Zoo

WEIGHT_BITS = 14
FEATURE_LIMIT = 8 << PIXEL_BITS
PIXEL_LIMIT = (16 << PIXEL_BITS) - 1


MODELS = Path(__file__).resolve().parents[1] / "data" / "models"


@cache
def models_in(folder: Path = MODELS) -> Models:
    """The models of a folder, and those that are installed, on the CPU, each loaded once for all tests of a process."""
    return Models(Zoo(folder), NumpyBackend())


def random_linear(
    random: np.random.Generator,
    inputs: int,
    in_bits: int,
    out_bits: Any,
    relu: bool,
    largest: float,
    weight_bits: int = WEIGHT_BITS,
) -> LinearWeights:
    """A layer of uniform weights of magnitude up to `largest`, and biases of up to a tenth of a unit."""
    limit = round(largest * (1 << weight_bits))
    shift = in_bits + weight_bits
    return LinearWeights(
        weight=random.integers(-limit, limit + 1, (len(out_bits), inputs)),
        bias=random.integers(-(1 << shift) // 10, (1 << shift) // 10 + 1, len(out_bits)),
        weight_bits=weight_bits,
        in_bits=in_bits,
        out_bits=np.asarray(out_bits, np.int64),
        relu=relu,
    )


def random_layers(
    random: np.random.Generator, inputs: int, hidden: Sequence[int], in_bits: int, out_bits: Any, first: float
) -> Layers:
    """A ReLU network that keeps the variance of its activations; `first` scales its first weights."""
    layers = []
    for index, bits in enumerate([*(np.full(width, ACTIVATION_BITS) for width in hidden), out_bits]):
        largest = (first if index == 0 else 2.0) / inputs**0.5
        layers.append(random_linear(random, inputs, in_bits, bits, index < len(hidden), largest))
        inputs, in_bits = len(bits), ACTIVATION_BITS
    return tuple(layers)


def tiny_vae(
    likelihood: str = "bernoulli",
    shape: tuple[int, int] = (6, 5),
    latents: int = 4,
    hidden: int = 8,
    seed: int = 0,
    prior_bits: int = 8,
    direct_bits: int = 3,
) -> MLPWeights:
    """A random VAE whose latents matter: logits of about +-4, or means all over the levels at scales of e^3."""
    random = np.random.default_rng(seed)
    dimensions, levels = shape[0] * shape[1], LIKELIHOODS[likelihood].levels
    posterior_bits = np.repeat([Z_BITS, RHO_BITS], latents)
    out_bits = LIKELIHOODS[likelihood].out_bits(dimensions)
    encoders = {}
    for name in ENCODERS:
        layers = random_layers(random, dimensions, [hidden, hidden], 0, posterior_bits, 3 / (levels - 1))
        layers[-1].bias[latents:] -= 1 << (ACTIVATION_BITS + WEIGHT_BITS)  # softplus(-1) = 0.3
        encoders[name] = layers
    decoder = random_layers(random, latents, [hidden, hidden], Z_BITS, out_bits, 2.0)
    if likelihood == "bernoulli":
        decoder[-1].weight[:] *= 3
    else:  # means around 0.5 (of 256 levels), log-scales around 3
        decoder[-1].weight[:dimensions] >>= 2
        decoder[-1].bias[:dimensions] += 1 << (ACTIVATION_BITS + WEIGHT_BITS - 1)
        decoder[-1].bias[dimensions:] += 3 << (ACTIVATION_BITS + WEIGHT_BITS)
        decoder[-1].weight[dimensions:] >>= 2
    return MLPWeights(
        shape=shape,
        likelihood=likelihood,
        prior_bits=prior_bits,
        direct_bits=(direct_bits,) * latents,
        learning_rate=5000,
        decoder=decoder,
        encoders=encoders,
        card={"name": "tiny"},
    )


def random_images(weights: ModelWeights, n: int, seed: int = 0) -> Strips:
    """Noise as n images of an MLP's size."""
    assert weights.shape is not None
    return noise_strips(weights, n, *weights.shape, seed)


def sampled_images(weights: ModelWeights, n: int, seed: int = 0) -> Strips:
    """n images of an MLP's size that it has drawn, z ~ p(z), x ~ p(x|z)."""
    assert weights.shape is not None
    return sampled_strips(weights, n, *weights.shape, seed)


def empty_images(weights: ModelWeights, n: int) -> Strips:
    """Room for n images of the model's size."""
    assert weights.shape is not None
    return Strips.all_of(Canvas(n, *weights.shape, weights.channels, weights.tile))


def coding(codec: Any, x: Strips, message: Any = None, words: int = 9000) -> tuple[Any, Any, Any, Any]:
    """A message, and what pushes and pops the images of strips x, for `check_round_trip`."""
    from roundtrip import random_message

    def push(message: Any, images: Any) -> None:
        canvas = Canvas.of(images, x.canvas.tile)
        codec.push(message, Strips(canvas, x.first, x.last))

    def pop(message: Any) -> Any:
        room = Canvas.of(np.zeros_like(x.canvas.images), x.canvas.tile)
        codec.pop(message, Strips(room, x.first, x.last))
        return room.images

    return random_message(words=words) if message is None else message, push, pop, x.canvas.images


def singles(x: Strips) -> list[Strips]:
    """Each strip alone."""
    return [x[i : i + 1] for i in range(len(x))]


def rows_of(x: Strips) -> np.ndarray[Any, Any]:
    """The images of a canvas as rows of pixels, uint8 (N, D)."""
    return x.canvas.images[x.first : x.last].reshape(len(x), -1)


def tiny_local(
    channels: int = 3,
    binary: bool = False,
    image: tuple[int, int] | None = None,
    tile: int = 8,
    *,
    cell: int = 4,
    features: int = 3,
    latents: int = 3,
    trunk: Sequence[int] = (7, 6),
    head: int = 5,
    mixtures: int = 2,
    pool: int = 1,
    centred: bool | None = None,
    stride: int = 2,
    weight_bits: int = 9,
    prior_bits: int = 8,
    direct_bits: int = 3,
    seed: int = 0,
) -> LocalWeights:
    """A random local model whose z and neighbours both matter: scales of some ten levels, or logits of a few units.

    centred: None for what kinds of pixels usually have. weight_bits: of the pixel network; 16 need float64.
    """
    random = np.random.default_rng(seed)
    centred = not binary if centred is None else centred
    likelihood: LocalLikelihood = LocalBernoulli() if binary else LogisticMixture(mixtures)
    cells = (tile // cell) ** 2
    decoder = random_layers(random, latents, [8], Z_BITS, np.full(cells * features, PIXEL_BITS), 3.0)
    decoder = (*decoder[:-1], replace(decoder[-1], limit=FEATURE_LIMIT))

    def pixel_linear(inputs: int, outputs: int, largest: float, relu: bool = True) -> LinearWeights:
        bits = np.full(outputs, PIXEL_BITS) if relu else likelihood.out_bits()
        layer = random_linear(random, inputs, PIXEL_BITS, bits, relu, largest, weight_bits)
        return replace(layer, limit=PIXEL_LIMIT) if relu else layer

    pixels = input_count(channels, centred)
    layers = [pixel_linear(pixels + features, trunk[0], 3 / pixels**0.5)]
    layers[0].weight[:, pixels:] *= 3
    for inputs, outputs in pairwise(trunk):
        layers.append(pixel_linear(inputs, outputs, 2.5 / inputs**0.5))
    heads = pixel_linear(trunk[-1] + channels - 1, channels * head, 2.5 / trunk[-1] ** 0.5)
    for channel in range(channels):
        heads.weight[channel * head : (channel + 1) * head, trunk[-1] + channel :] = 0
    last = []
    for channel in range(channels):
        layer = pixel_linear(head + channel, likelihood.outputs, 0.8 if binary else 0.5, relu=False)
        if not binary:
            one = 1 << (PIXEL_BITS + weight_bits)  # of the parameters
            layer.bias[mixtures : mixtures + 2] -= 5 * one  # the point masses
            layer.bias[mixtures + 2 : 2 * mixtures + 2] += np.linspace(-0.5, 0.5, mixtures).astype(np.int64) * one
            layer.bias[2 * mixtures + 2 :] += 5 * one  # exp(5) / 32 levels
            if not centred:
                layer.bias[mixtures + 2 : 2 * mixtures + 2] += 2 * one
        last.append(layer)
    levels = likelihood.levels
    patch = tile // pool if image is not None else 4
    encoders = {}
    for name in ENCODERS:
        posterior_bits = np.repeat([Z_BITS, RHO_BITS], latents)
        inputs = channels * patch**2
        patches = random_linear(random, inputs, 0, np.full(6, ACTIVATION_BITS), True, 6 / (levels - 1) / inputs**0.5)
        behind = random_linear(random, 6 * pool**2, ACTIVATION_BITS, posterior_bits, False, 2 / (6 * pool**2) ** 0.5)
        behind.bias[latents:] -= 1 << (ACTIVATION_BITS + WEIGHT_BITS)  # softplus(-1) = 0.3
        encoders[name] = (patches,), (behind,)
    return LocalWeights(
        channels=channels,
        mixtures=0 if binary else mixtures,
        tile=tile,
        image=image,
        cell=cell,
        features=features,
        patch=patch,
        pool=pool,
        centred=centred,
        stride=stride,
        prior_bits=prior_bits,
        direct_bits=(direct_bits,) * latents,
        learning_rate=20_000,
        decoder=decoder,
        trunk=tuple(layers),
        heads=heads,
        outputs=tuple(last),
        encoders=encoders,
        card={"name": "tiny-local"},
    )


def random_convolution(
    random: np.random.Generator, inputs: int, k: int, in_bits: int, out_bits: Any, largest: float, **more: Any
) -> ConvolutionWeights:
    """A convolution of uniform weights of magnitude up to `largest`, and biases of up to a tenth of a unit."""
    layer = random_linear(random, inputs * k * k, in_bits, out_bits, more.pop("relu", False), largest)
    fields = {name: getattr(layer, name) for name in ("bias", "weight_bits", "in_bits", "out_bits", "relu")}
    return ConvolutionWeights(weight=layer.weight.reshape(-1, inputs, k, k), **fields, **more)


def tiny_resnet(
    tile: int = 8,
    *,
    width: int = 6,
    channels: int = 2,
    blocks: int = 2,
    prior_bits: int = 8,
    direct_bits: int = 3,
    seed: int = 0,
) -> ResNetWeights:
    """A random residual VAE whose z matters: means all over the levels at scales of about ten."""
    random = np.random.default_rng(seed)
    hidden = np.full(width, ACTIVATION_BITS)
    half = {"stride": 2, "padding": 1}

    def residual() -> Convolutions:
        layers = []
        for _ in range(blocks):
            wide = 2.5 / (9 * width) ** 0.5
            layers.append(random_convolution(random, width, 3, ACTIVATION_BITS, hidden, wide, relu=True, padding=1))
            layers.append(random_convolution(random, width, 1, ACTIVATION_BITS, hidden, 1.5 / width**0.5))
        return tuple(layers)

    def encoder() -> Convolutions:
        bits = np.repeat([Z_BITS, RHO_BITS], channels)
        last = random_convolution(random, width, 1, ACTIVATION_BITS, bits, 2 / width**0.5)
        last.bias[channels:] -= 1 << (ACTIVATION_BITS + WEIGHT_BITS)  # softplus(-1) = 0.3
        return (
            random_convolution(random, 3, 4, RESNET_PIXEL_BITS, hidden, 2 / 48**0.5, relu=True, **half),
            random_convolution(random, width, 4, ACTIVATION_BITS, hidden, 2 / (16 * width) ** 0.5, **half),
            *residual(),
            last,
        )

    out_bits = ExactChannelLogistic().out_bits()
    last = random_convolution(
        random, width, 4, ACTIVATION_BITS, out_bits, 1 / (4 * width) ** 0.5, transposed=True, **half
    )
    one = 1 << (ACTIVATION_BITS + WEIGHT_BITS)
    last.bias[:3] += one // 2  # the middle of the levels
    last.bias[3:6] += 9 * one // 4  # exp(9 / 4) levels
    last.weight[:3] >>= 1
    last.weight[3:] >>= 2
    decoder = (
        random_convolution(random, channels, 1, Z_BITS, hidden, 2 / channels**0.5),
        *residual(),
        random_convolution(
            random, width, 4, ACTIVATION_BITS, hidden, 2 / (4 * width) ** 0.5, relu=True, transposed=True, **half
        ),
        last,
    )
    return ResNetWeights(
        tile=tile,
        blocks=blocks,
        prior_bits=prior_bits,
        direct_bits=(direct_bits,) * (channels * (tile // 4) ** 2),
        learning_rate=20_000,
        decoder=decoder,
        encoders={name: encoder() for name in ENCODERS},
        card={"name": "tiny-resnet"},
    )


def strips_of(weights: ModelWeights, images: np.ndarray[Any, Any]) -> Strips:
    """All strips of images (N, H, W, C) of levels."""
    return Strips.all_of(Canvas.of(images, weights.tile))


def noise_strips(weights: ModelWeights, n: int, height: int, width: int, seed: int = 0) -> Strips:
    """Noise, n images of any size."""
    shape = (n, height, width, weights.channels)
    return strips_of(weights, np.random.default_rng(seed).integers(0, weights.levels, shape).astype(np.uint8))


def sampled_strips(weights: ModelWeights, n: int, height: int, width: int, seed: int = 0) -> Strips:
    """Images that the model itself has drawn, z ~ p(z), x ~ p(x|z)."""
    from roundtrip import random_message

    from bbcompress.exact.backend import NumpyBackend
    from bbcompress.models.registry import model_of

    vae = model_of(weights, NumpyBackend())
    strips = Strips.all_of(Canvas(n, height, width, weights.channels, weights.tile))
    rows = strips.row_count
    words = rows * weights.latents + n * height * width * weights.channels + 10
    message = random_message(words=words, seed=seed)
    z = vae.prior.values(vae.prior.pop(message, rows))
    vae.pop_pixels(message, z, strips)
    return strips


def with_layers(weights: LocalWeights, network: str, index: int, **change: Any) -> LocalWeights:
    """The model with one layer of a network, named as in `LocalWeights.networks`, changed."""
    layers = list(dict(weights.networks())[network])
    layers[index] = replace(layers[index], **change)
    if network == "heads":
        return replace(weights, heads=layers[0])
    if not network.startswith("encoder."):
        parts: dict[str, Any] = {network: tuple(layers)}
        return replace(weights, **parts)
    _, name, part = network.split(".")
    patch, head = weights.encoders[name]
    encoder = (tuple(layers), head) if part == "patch" else (patch, tuple(layers))
    return replace(weights, encoders={**weights.encoders, name: encoder})
