"""Messages of models that learn between batches: round trips, that they learn, that damage is never taken for pixels,
and when the writer chooses it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_for_tests import sampled_strips, tiny_local, tiny_resnet, tiny_vae
from torch_for_tests import TORCH_BACKENDS

from bbcompress.archive.group import Group
from bbcompress.archive.header import Learning
from bbcompress.codecs import between, blocks
from bbcompress.codecs.between import can_learn_between, chosen_rate
from bbcompress.codecs.blocks import strips_of
from bbcompress.codecs.groups import _decode_with, encode_images
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import FormatError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.kinds import Kind
from bbcompress.limits import DEFAULT_LIMITS
from bbcompress.models.base import LearningModel
from bbcompress.models.mlp import ExactMLPVAE
from bbcompress.models.registry import model_of

WEIGHTS: dict[str, Any] = {
    "binary": tiny_vae(direct_bits=2),
    "grey": tiny_vae("discretised_logistic", direct_bits=2),
    "resnet": tiny_resnet(direct_bits=1),
}
MODELS: dict[str, Any] = {name: model_of(weights, NumpyBackend()) for name, weights in WEIGHTS.items()}


def drawn(name: str, count: int, *size: int, seed: int = 0) -> list[PixelImage]:
    """Images that a model has drawn; size: height and width, where it takes any."""
    weights = WEIGHTS[name]
    height, width = size or weights.shape
    images = sampled_strips(weights, count, height, width, seed=seed).canvas.images
    return [
        from_array((255 if name == "binary" else 1) * image.squeeze(2) if name != "resnet" else image)
        for image in images
    ]


def kind_of(name: str) -> Kind:
    return Kind.default(WEIGHTS[name].channels, WEIGHTS[name].levels)


def encoded(name: str, images: list[PixelImage], model: Any = None, **settings: Any) -> Group:
    return encode_images(
        model or MODELS[name], images, kind_of(name), CodingSettings(**{"learn_between": True, **settings})
    )


def decoded(name: str, group: Group, model: Any = None) -> list[PixelImage]:
    return _decode_with(model or MODELS[name], group, DEFAULT_LIMITS, None, 128)


CASES: dict[str, tuple[str, list[PixelImage]]] = {
    "binary": ("binary", drawn("binary", 90)),
    "grey": ("grey", drawn("grey", 40)),
    "resnet, one size": ("resnet", drawn("resnet", 12, 13, 21)),
    "resnet, one image of many strips": ("resnet", drawn("resnet", 1, 90, 25)),
    "resnet, several sizes": ("resnet", drawn("resnet", 5, 20, 17) + drawn("resnet", 4, 9, 33)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("encoder", "k"), [("rha", 0), ("baseline", 2)])
def test_round_trip(case: str, encoder: str, k: int) -> None:
    name, images = CASES[case]
    group = encoded(name, images, encoder=encoder, k=k)
    learning = group.header.learning
    assert learning is not None
    assert learning.batches
    assert (group.header.encoder, group.header.k) == (encoder, k)
    assert decoded(name, group) == images
    for other in (replace(learning, rate=learning.rate + 1), replace(learning, unit=learning.unit - 1)):
        with pytest.raises(FormatError):
            decoded(name, replace(group, header=replace(group.header, learning=other)))
    with pytest.raises(FormatError):
        decoded(name, replace(group, header=replace(group.header, learning=None)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("device", TORCH_BACKENDS)
def test_same_bytes_on_torch(case: str, device: str) -> None:
    name, images = CASES[case]
    model = model_of(WEIGHTS[name], TORCH_BACKENDS[device])
    group = encoded(name, images, k=1)
    assert encoded(name, images, model, k=1) == group
    assert decoded(name, group, model) == images


@pytest.mark.parametrize("batch", [1, 7])
def test_compute_batches_change_nothing(batch: int) -> None:
    name, images = CASES["resnet, one size"]
    assert encoded(name, images, k=1, compute_batch=batch) == encoded(name, images, k=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_each_block_begins_with_the_checkpoint(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", 32)
    monkeypatch.setattr(blocks, "threads", lambda: threads)
    images = drawn("resnet", 3, 50, 70)
    group = encoded("resnet", images)
    assert decoded("resnet", group) == images
    monkeypatch.setattr(blocks, "threads", lambda: 3 - threads)
    assert encoded("resnet", images) == group


def test_the_model_that_is_asked_does_not_change() -> None:
    name, images = CASES["grey"]
    before = encoded(name, images, learn_between=False)
    encoded(name, images)
    assert encoded(name, images, learn_between=False) == before


def inverted(images: list[PixelImage]) -> list[PixelImage]:
    """Images of another origin."""
    return [from_array(255 - image.pixels) for image in images]


def test_learning_makes_images_of_another_origin_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a trial says so, and where it gains too little images stay frozen."""
    monkeypatch.setattr(ExactMLPVAE, "learning_rates", (20, 5_000))  # so small a model has to go far
    images = inverted(drawn("binary", 600))
    frozen, default = encoded("binary", images, learn_between=False), encoded("binary", images, learn_between=None)
    assert default.header.learning == Learning(5_000, between.UNIT, batches=True)
    assert len(default.payload) < 0.97 * len(frozen.payload)
    assert decoded("binary", default) == images
    monkeypatch.setattr(ExactMLPVAE, "learning_rates", (1, 2))
    assert encoded("binary", images, learn_between=None) == frozen


def test_by_default_what_turns_out_larger_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    images = drawn("binary", 300)
    monkeypatch.setattr(between, "chosen_rate", lambda *_: (1_000_000, 1e9))  # a trial that is wrong
    frozen = encoded("binary", images, learn_between=False)
    assert encoded("binary", images, learn_between=None) == frozen
    assert len(encoded("binary", images).payload) > len(frozen.payload)


def test_a_trial_changes_no_model_and_sees_what_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last strips are popped first."""
    monkeypatch.setattr(ExactMLPVAE, "learning_rates", (20, 5_000))
    model = MODELS["binary"]
    images = np.stack([image.pixels // 255 for image in inverted(drawn("binary", 400))])
    rate, gain = chosen_rate(model, strips_of(list(images), model.weights.tile), "rha")
    assert rate == 5_000
    assert gain > 1000
    assert chosen_rate(model, strips_of(list(images), model.weights.tile), "rha") == (rate, gain)


@pytest.mark.parametrize("case", CASES)
def test_a_message_that_does_not_hold_a_batch(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Weights that make images shorter leave fewer bits for the next z: then batches are halved, or more is coded
    directly. Here everything without learning seems to be one batch behind the first strip."""
    name, images = CASES[case]
    plain = between.encode_between

    def greedy(model: Any, header: Any, compute_batch: int, x: Any, layout: Any, context: bytes) -> Any:
        layout = replace(layout, direct=1, batches=(len(x) - 1,))
        found, message = plain(model, header, compute_batch, x, layout, context)
        layouts.append(found)
        return found, message

    layouts: list[Any] = []
    for module in ("groups", "blocks", "mixed"):
        monkeypatch.setattr(f"bbcompress.codecs.{module}.encode_between", greedy)
    assert decoded(name, encoded(name, images)) == images
    assert layouts[0].direct > 1 or len(layouts[0].batches) > 1 or len(images) == 1


def test_damage_is_found() -> None:
    name, images = "resnet", drawn("resnet", 12, 9, 10)
    group = encoded(name, images)
    assert group.header.learning is not None
    found = 0
    for place in range(0, len(group.payload), 23):
        damaged = bytearray(group.payload)
        damaged[place] ^= 0x10
        with pytest.raises(FormatError):
            decoded(name, replace(group, payload=bytes(damaged)))
        found += 1
    assert found > 30
    for size in (0, 1, 5, len(group.payload) // 2, len(group.payload) - 1):
        with pytest.raises(FormatError):
            decoded(name, replace(group, payload=group.payload[:size]))


def test_units_too_large_for_exact_sums_are_refused() -> None:
    name, images = CASES["resnet, one size"]
    group, model = encoded(name, images), MODELS[name]
    assert model.largest_unit == (1 << 13) // (model.weights.tile // 2) ** 2
    learning = Learning(20, model.largest_unit + 1, batches=True)
    with pytest.raises(FormatError, match="does not learn so"):
        decoded(name, replace(group, header=replace(group.header, learning=learning)))


def test_models_that_do_not_learn_so() -> None:
    local = model_of(tiny_local(), NumpyBackend())
    assert not can_learn_between(local)
    first = WEIGHTS["grey"].decoder[0]
    heavy = replace(first, bias=first.bias + (1 << 53) - (1 << 40))
    weights = replace(WEIGHTS["grey"], decoder=(heavy, *WEIGHTS["grey"].decoder[1:]))
    model = model_of(weights, NumpyBackend())
    assert isinstance(model, LearningModel)
    assert not can_learn_between(model)
    name, images = CASES["grey"]
    group = encoded(name, images)
    with pytest.raises(FormatError, match="does not learn so"):
        decoded(name, group, model)
    assert encoded(name, images, model).header.learning is None


def test_a_lone_image_has_nothing_to_learn_from() -> None:
    images = drawn("grey", 1)
    assert encoded("grey", images) == encoded("grey", images, learn_between=False)
