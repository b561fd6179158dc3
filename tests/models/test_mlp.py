"""What a model's weights have to be, its id, and its networks on a backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import random_images, random_layers, tiny_vae

from bbcompress.errors import ModelError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS
from bbcompress.exact.layers import LinearWeights
from bbcompress.models.base import Z_BITS, Z_LIMIT
from bbcompress.models.mlp import ExactMLPVAE, MLPWeights

WEIGHTS = tiny_vae()


def with_layer(weights: MLPWeights, network: str, index: int, **change: Any) -> MLPWeights:
    """The model with one layer changed."""
    layers = list(dict(weights.networks())[network])
    layers[index] = replace(layers[index], **change)
    if network == "decoder":
        return replace(weights, decoder=tuple(layers))
    name = network.removeprefix("encoder.")
    return replace(weights, encoders={**weights.encoders, name: tuple(layers)})


def nudged(array: Any) -> Any:
    array = array.copy()
    array.flat[-1] += 1
    return array


NETWORKS = [name for name, _ in WEIGHTS.networks()]
LAYERS = [(name, index) for name, layers in WEIGHTS.networks() for index in range(len(layers))]


def layer(network: str, index: int) -> LinearWeights:
    return dict(WEIGHTS.networks())[network][index]


CHANGES: dict[str, Callable[[], MLPWeights]] = {
    "prior bits": lambda: replace(WEIGHTS, prior_bits=9),
    "direct bits": lambda: replace(WEIGHTS, direct_bits=(3, 3, 3, 2)),
    "learning rate": lambda: replace(WEIGHTS, learning_rate=5001),
    "shape": lambda: replace(WEIGHTS, shape=(5, 6)),
    "encoders swapped": lambda: replace(
        WEIGHTS, encoders={"rha": WEIGHTS.encoders["baseline"], "baseline": WEIGHTS.encoders["rha"]}
    ),
    "hidden grid": lambda: replace(
        WEIGHTS,
        decoder=(
            replace(WEIGHTS.decoder[0], out_bits=np.full(8, 11)),
            replace(WEIGHTS.decoder[1], in_bits=11),
            WEIGHTS.decoder[2],
        ),
    ),
    "relu": lambda: with_layer(WEIGHTS, "decoder", 0, relu=False),
}
for _name, _index in LAYERS:
    for _field in ("weight", "bias"):
        CHANGES[f"{_name}.{_index}.{_field}"] = lambda n=_name, i=_index, f=_field: with_layer(  # type: ignore[misc]
            WEIGHTS, n, i, **{f: nudged(getattr(layer(n, i), f))}
        )
    CHANGES[f"{_name}.{_index}.weight_bits"] = lambda n=_name, i=_index: with_layer(  # type: ignore[misc]
        WEIGHTS, n, i, weight_bits=15
    )


def test_id_changes_with_every_integer() -> None:
    ids = {name: make().id for name, make in CHANGES.items()}
    assert [name for name, own in ids.items() if own == WEIGHTS.id] == []
    assert len(set(ids.values())) == len(CHANGES)
    assert len(WEIGHTS.id) == 32


def test_id_is_fixed() -> None:
    # files name models by it: no release may come to another one for the same integers
    layers = tuple(
        LinearWeights(np.array([[i + 1], [-2]]), np.array([3, -4 - i]), 2, bits, np.array(out), False)
        for i, (bits, out) in enumerate([(Z_BITS, [10, 10]), (0, [16, 10])])
    )
    encoder = replace(layers[1], weight=np.array([[1, 2], [3, 4]]), weight_bits=20)
    weights = MLPWeights((1, 2), "bernoulli", 4, (2,), 7, layers[:1], {"rha": (encoder,), "baseline": (encoder,)})
    assert weights.id.hex() == FIXED_ID


FIXED_ID = "85f9f1e29aa90ec4376138f1d8ada2bdcdca42d65fa37cc32a3fadfdcff44a1b"


def test_id_does_not_change_with_the_card() -> None:
    assert replace(WEIGHTS, card={"name": "other", "data": [1]}).id == WEIGHTS.id
    assert replace(WEIGHTS, card={}).name == WEIGHTS.id.hex()[:8]
    assert WEIGHTS.name == "tiny"


def test_sizes() -> None:
    assert (WEIGHTS.latents, WEIGHTS.dimensions) == (4, 30)
    assert NETWORKS == ["decoder", "encoder.rha", "encoder.baseline"]


@one_test_of(
    ("change", "reason"),
    [
        ({"likelihood": "normal"}, "likelihood"),
        ({"likelihood": "discretised_logistic"}, "grid"),
        ({"shape": (0, 30)}, "size"),
        ({"shape": (1, 5000)}, "size"),
        ({"shape": (6, 6)}, "grid|fit"),
        ({"prior_bits": 0}, "prior"),
        ({"prior_bits": 15}, "prior"),
        ({"prior_bits": 2}, "direct"),
        ({"learning_rate": 0}, "learning rate"),
        ({"learning_rate": 1_000_001}, "learning rate"),
        ({"direct_bits": ()}, "direct"),
        ({"direct_bits": (3, 3, 3, 9)}, "direct"),
        ({"direct_bits": (3, 3, 3, -1)}, "direct"),
        ({"direct_bits": (3, 3, 3)}, "fit"),
        ({"decoder": ()}, "no layers"),
        ({"decoder": WEIGHTS.encoders["rha"]}, "fit"),
        ({"encoders": {"rha": WEIGHTS.encoders["rha"]}}, "encoders"),
        ({"encoders": {**WEIGHTS.encoders, "other": WEIGHTS.encoders["rha"]}}, "encoders"),
        ({"encoders": {**WEIGHTS.encoders, "rha": WEIGHTS.decoder}}, "fit"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        replace(WEIGHTS, **change)


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_on_other_grids_are_refused(network: str) -> None:
    first, last = dict(WEIGHTS.networks())[network][0], dict(WEIGHTS.networks())[network][-1]
    with pytest.raises(ModelError, match="grid"):
        with_layer(WEIGHTS, network, 0, in_bits=first.in_bits + 1)
    with pytest.raises(ModelError, match="grid"):
        with_layer(WEIGHTS, network, 2, out_bits=last.out_bits - 1)
    with pytest.raises(ModelError, match="grid"):
        with_layer(WEIGHTS, network, 2, relu=True)


@one_test_of(("network", "index"), LAYERS)
def test_broken_bounds_are_refused(network: str, index: int) -> None:
    weight = layer(network, index).weight
    with pytest.raises(ModelError, match="sums"):
        with_layer(WEIGHTS, network, index, weight=np.full_like(weight, (1 << 31) - 1))
    with pytest.raises(ModelError, match="sums"):
        with_layer(WEIGHTS, network, index, bias=np.full(len(weight), -(1 << 53)))


def test_pixels_of_many_levels_need_a_tighter_bound() -> None:
    """What an encoder of bits may do, one of levels to 255 may not."""
    for levels, sound in ((1, True), (255, False)):
        likelihood = "bernoulli" if sound else "discretised_logistic"
        weights = tiny_vae(likelihood)
        first = weights.encoders["rha"][0]
        big = np.full_like(first.weight, 1 << 20)  # 30 inputs, 8 outputs: 2^23 down a column is too much
        big[1:] = 0
        bias = np.full(8, (1 << 53) - 30 * (1 << 20) * levels - 1)
        with_layer(weights, "encoder.rha", 0, weight=big, bias=bias)
        with pytest.raises(ModelError, match="sums"):
            with_layer(weights, "encoder.rha", 0, weight=big, bias=bias + 1)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_networks_on_a_backend(likelihood: str) -> None:
    weights = tiny_vae(likelihood)
    vae = ExactMLPVAE(weights, NumpyBackend())
    x = random_images(weights, 9)
    mu, rho = vae.encode(vae.prepare(x), "rha")
    assert mu.shape == rho.shape == (9, 4)
    raw = vae.encode(vae.prepare(x), "baseline")[0] * (1 << Z_BITS)
    assert np.array_equal(raw, np.floor(raw))
    assert not np.array_equal(raw, mu * (1 << Z_BITS))  # the encoders are two
    z = vae.prior.values(np.random.default_rng(0).integers(0, 256, (9, 4)))
    params = vae.decode(z)
    assert params.shape == (9, 30 * vae.distribution.parameters_per_pixel)
    assert np.array_equal(params, vae.decoder.forward(np.floor(z * 2.0**-8 + 0.5)))
    assert np.array_equal(vae.decode(z[3:4]), params[3:4])


def test_every_bin_lies_inside_the_decoders_bound() -> None:
    from bbcompress.exact.tables import MAX_PRIOR_BITS, bin_medians

    assert np.abs(bin_medians(MAX_PRIOR_BITS)).max() >> (24 - Z_BITS) < Z_LIMIT


def test_random_networks_differ_by_seed() -> None:
    one, other = (random_layers(np.random.default_rng(s), 3, [2], 0, [1, 2], 1.0) for s in (0, 1))
    assert not np.array_equal(one[0].weight, other[0].weight)
