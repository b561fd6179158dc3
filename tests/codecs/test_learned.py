"""Images coded by a model that learns from them: round trips, that it learns, and that damage is never taken for
pixels."""

from __future__ import annotations

import threading
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models_for_tests import noise_strips, sampled_strips, tiny_local
from PIL import Image
from starts_for_tests import beginning

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader, Learning
from bbcompress.codecs import blocks, learned, mixed
from bbcompress.codecs.groups import encode_images
from bbcompress.codecs.learned import (
    LARGE_STRIDE,
    LEAST_START_PIXELS,
    RATE,
    UNIT,
    Start,
    decode_learned,
    encode_learned,
    expected_gain,
    learning_for,
)
from bbcompress.codecs.settings import CodingSettings
from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.errors import FormatError, ModelError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.blas import products
from bbcompress.exact.distributions import CoarseBins
from bbcompress.exact.lattices import EXCEPTION, Restriction
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import COLOUR
from bbcompress.models import learning_network
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.strips import Canvas, Strips
from bbcompress.system.team import NAME

PHOTO = Path(__file__).resolve().parents[1] / "data" / "photos" / "landscape.png"
MODELS = {
    "rgb": tiny_local(),
    "grey": tiny_local(channels=1),
    "binary": tiny_local(channels=1, binary=True),
    "float64": tiny_local(weight_bits=16),
}
VAES = {name: ExactLocalVAE(weights, NumpyBackend()) for name, weights in MODELS.items()}
LEARNING = Learning(2_000, 16)


def drawn(name: str, *sizes: tuple[int, int]) -> list[Any]:
    """An image of the model of each size (height, width), the last one noise where there are several."""
    images = [sampled_strips(MODELS[name], 1, *size, seed=n).canvas.images[0] for n, size in enumerate(sizes)]
    if len(sizes) > 1:
        images[-1] = noise_strips(MODELS[name], 1, *sizes[-1]).canvas.images[0]
    return images


def encoded(name: str, images: list[Any], learning: Learning = LEARNING, **settings: Any) -> Group:
    header = GroupHeader(count=len(images), model=MODELS[name].id[:4], learning=learning)
    return encode_learned(VAES[name], images, header, CodingSettings(**settings))


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("sizes", [[(1, 1)], [(40, 1)], [(9, 30)], [(20, 13), (20, 13)], [(8, 8), (3, 17), (25, 4)]])
def test_round_trip(name: str, sizes: list[tuple[int, int]]) -> None:
    images = drawn(name, *sizes)
    group = encoded(name, images)
    assert group.header.learning == LEARNING
    assert group.header.is_mixed == (len(set(sizes)) > 1)
    told: list[int] = []
    found = decode_learned(VAES[name], group, told.append)
    assert all(np.array_equal(a, b) for a, b in zip(found, images, strict=True))
    assert sum(told) == sum(height * width for height, width in sizes)


def test_progress_moves_within_a_block_and_is_told_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    (image,) = drawn("rgb", (40, 33))
    for side, threads in ((1024, 1), (16, 2)):
        monkeypatch.setattr(blocks, "BLOCK_SIDE", side)
        monkeypatch.setattr(blocks, "threads", lambda threads=threads: threads)
        told: list[tuple[int, int]] = []

        def tell(pixels: int, told: list[tuple[int, int]] = told) -> None:
            told.append((pixels, threading.get_ident()))

        header = GroupHeader(count=1, model=MODELS["rgb"].id[:4], learning=LEARNING)
        group = encode_learned(VAES["rgb"], [image], header, CodingSettings(), tell)
        written = len(told)
        decode_learned(VAES["rgb"], group, tell)
        for part in (told[:written], told[written:]):
            assert len(part) > 10
            assert sum(pixels for pixels, _ in part) == 40 * 33
        assert {thread for _, thread in told} == {threading.get_ident()}


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_blocks(monkeypatch: pytest.MonkeyPatch, stride: int, threads: int) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", 16)
    monkeypatch.setattr(blocks, "threads", lambda: threads)
    images = drawn("rgb", (35, 39), (8, 40))
    learning = replace(LEARNING, stride=stride)
    group = encoded("rgb", images, learning)
    found = decode_learned(VAES["rgb"], group)
    assert all(np.array_equal(a, b) for a, b in zip(found, images, strict=True))
    monkeypatch.setattr(blocks, "threads", lambda: 3 - threads)
    assert encoded("rgb", images, learning) == group


@pytest.mark.parametrize("batch", [1, 128])
@pytest.mark.parametrize(("encoder", "k"), [("rha", 0), ("baseline", 0), ("rha", 3)])
def test_how_z_is_found_is_the_affair_of_the_writer(encoder: str, k: int, batch: int) -> None:
    images = drawn("rgb", (24, 30))
    group = encoded("rgb", images, encoder=encoder, k=k, compute_batch=batch)
    assert (group.header.encoder, group.header.k) == ("rha", 0)
    assert np.array_equal(decode_learned(VAES["rgb"], group)[0], images[0])
    assert group == encoded("rgb", images, encoder=encoder, k=k)


@pytest.mark.parametrize("stride", [0, 1, 2])
@pytest.mark.parametrize("name", ["rgb", "grey", "binary"])
def test_a_coder_pops_what_it_pushed(name: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces as in one push; with a stride of 0 it leaves its parameters, which others share, as they are."""
    vae, x = VAES[name], Strips.all_of(Canvas.of(drawn(name, (24, 30))[0][None], MODELS[name].tile))
    features = vae.features(np.zeros((x.row_count, MODELS[name].latents), np.int64))
    messages = []
    for pushed in (1 << 16, 100):
        monkeypatch.setattr(learning_network, "PUSHED", pushed)
        messages.append(Message.empty(3))
        vae.learning_coder(vae.parameters(2_000), 16, stride).push(messages[-1], features, x)
    message = messages[0]
    assert message == messages[1]
    found = Strips.all_of(Canvas.of(np.zeros_like(x.canvas.images), MODELS[name].tile))
    left, parameters = message.copy(), vae.parameters(2_000)
    kept = parameters.copy()
    vae.learning_coder(parameters, 16, stride).pop(left, features, found)
    assert np.array_equal(found.canvas.images, x.canvas.images)
    assert left == Message.empty(3)
    learnt = not np.array_equal(parameters._master, kept._master)
    assert learnt == any(gradient.any() for gradient in parameters.gradients[0]) == (stride > 0)
    cut = Message(message.heads, message.words[3:])
    with pytest.raises(EmptyMessage):
        vae.learning_coder(vae.parameters(2_000), 16, stride).pop(cut, features, found)


@pytest.mark.parametrize("stride", [0, 1])
@pytest.mark.parametrize("name", ["rgb", "restricted", "grey", "binary", "float64"])
def test_neither_threads_nor_ways_to_products_change_a_bit(
    name: str, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiled loops, whose products are called by address, with one thread and with three, and the loops between
    numpy's products, with two."""
    kind = "rgb" if name == "restricted" else name
    vae, x = VAES[kind], Strips.all_of(Canvas.of(drawn(kind, (24, 30))[0][None], MODELS[kind].tile))
    features = vae.features(np.zeros((x.row_count, MODELS[kind].latents), np.int64))
    restriction = None
    if name == "restricted":  # half the pixels cannot have a level of blue that no pixel has
        allowed = np.full((EXCEPTION + 1, 32), 255, np.uint8)
        allowed[:-1] = np.packbits(np.isin(np.arange(256), x.canvas.images[..., 2]), bitorder="little")
        restriction = Restriction(allowed, np.random.default_rng(0).random(24 * 30) < 0.5)
    monkeypatch.setattr(learning_network, "LEAST_ROWS", 2)
    settings = [(1, products), (3, products), (2, lambda: None)]
    messages, found = [], []
    for count, of in settings:
        monkeypatch.setattr(learning_network, "threads", lambda count=count: count)
        monkeypatch.setattr(learning_network, "products", of)
        messages.append(Message.empty(3))
        parameters = vae.parameters(2_000)
        vae.learning_coder(parameters, 16, stride, restriction).push(messages[-1], features, x)
        found.append(parameters._master.tobytes())
    assert messages[1:] == messages[:1] * 2
    for count, of in settings[::-1]:
        monkeypatch.setattr(learning_network, "threads", lambda count=count: count)
        monkeypatch.setattr(learning_network, "products", of)
        again, left = Strips.all_of(Canvas.of(np.zeros_like(x.canvas.images), MODELS[kind].tile)), messages[0].copy()
        parameters = vae.parameters(2_000)
        vae.learning_coder(parameters, 16, stride, restriction).pop(left, features, again)
        assert np.array_equal(again.canvas.images, x.canvas.images)
        assert left == Message.empty(3)
        found.append(parameters._master.tobytes())
        cut = Message(left.heads, messages[0].words[len(messages[0].words) // 2 :])
        with pytest.raises(EmptyMessage):
            vae.learning_coder(vae.parameters(2_000), 16, stride, restriction).pop(cut, features, again)
        assert NAME not in [thread.name for thread in threading.enumerate()]
    assert found == found[:1] * len(found)


def test_learning_makes_images_of_another_origin_smaller() -> None:
    image = np.array(Image.open(PHOTO))[:120, :160]
    frozen = encoded("rgb", [image], Learning(1, 1 << 11))
    learned_group = encoded("rgb", [image], Learning(2_000, 128))
    assert len(learned_group.payload) < 0.9 * len(frozen.payload)


def test_the_weights_go_on_from_image_to_image() -> None:
    image = np.array(Image.open(PHOTO))[:60, :80]
    alone = encoded("rgb", [image], Learning(2_000, 64))
    twice = encoded("rgb", [image, image[:, ::-1]], Learning(2_000, 64))
    assert len(twice.payload) < 1.97 * len(alone.payload)


def begun(images: list[Any], starts: list[Start]) -> Group:
    """The group of images that begin so, whatever is best for them."""
    with beginning(starts):
        return encoded("rgb", images)


@pytest.mark.parametrize("side", [1024, 16])
def test_images_that_begin_in_all_ways(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", side)
    images = drawn("rgb", (20, 33), (17, 20), (9, 30), (8, 8), (20, 13))
    starts = [Start.HALFWAY, Start.LAST, Start.CHECKPOINT, Start.HALFWAY]
    group = begun(images, starts)
    assert group.header.learning == replace(LEARNING, starts=True)
    found = decode_learned(VAES["rgb"], group)
    assert all(np.array_equal(a, b) for a, b in zip(found, images, strict=True))


def test_an_image_that_begins_with_the_checkpoint_is_coded_as_if_it_were_alone() -> None:
    images = drawn("rgb", (30, 33), (30, 33))
    alone = len(encoded("rgb", images[1:]).payload)
    sizes = {start: len(begun(images, [start]).payload) for start in Start}
    first = len(encoded("rgb", images[:1]).payload)
    assert abs(sizes[Start.CHECKPOINT] - first - alone) <= 4
    assert len(set(sizes.values())) == len(sizes)  # they are three ways


def test_halfway_is_between() -> None:
    vae = VAES["rgb"]
    checkpoint, last = vae.parameters(2000), vae.parameters(2000)
    vae.learning_coder(last, 16).lengths(*features_of(drawn("rgb", (30, 33))[0]))
    between = Start.HALFWAY.of(last, checkpoint)
    for one, low, high in zip(between.exact, checkpoint.exact, last.exact, strict=True):
        assert (np.abs(2 * one - low - high) <= 2).all()
        assert (low != high).any()
    assert all((single == exact).all() for single, exact in zip(between.single, between.exact, strict=True))
    same = checkpoint.halfway_to(checkpoint)
    assert np.array_equal(same.is_single, checkpoint.is_single)
    assert all((a == b).all() for a, b in zip(same.exact, checkpoint.exact, strict=True))


def features_of(image: Any) -> tuple[Any, Strips]:
    x, features = learned.strips_and_features(VAES["rgb"], image)
    return features, x


def test_an_image_begins_where_that_is_best() -> None:
    """A photograph after noise begins with the checkpoint, and goes on after a piece of itself."""
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    found = []
    for images in ([noise, photo[:64, :64]], [photo[:64, 100:164], photo[64:128, 100:164]]):
        group = encoded("rgb", images, Learning(2_000, 64))
        assert all(map(np.array_equal, decode_learned(VAES["rgb"], group), images))
        found.append(len(group.payload))
        assert found[-1] <= len(encoded("rgb", images, Learning(2_000, 64), starts=False).payload) + 8
    with_tiny = [np.tile(noise, (2, 1, 1)), noise[:1, :1], noise[:1, :3]]
    group = encoded("rgb", with_tiny, Learning(2_000, 64))
    assert group.header.learning is not None
    assert group.header.learning.starts
    assert all(map(np.array_equal, decode_learned(VAES["rgb"], group), with_tiny))
    small = [noise[: LEAST_START_PIXELS // 64 - 1]] * 2
    learning = encoded("rgb", small).header.learning
    assert learning is not None
    assert not learning.starts


def test_starts_that_are_none_are_found() -> None:
    images = drawn("rgb", (20, 33), (17, 20))
    group = begun(images, [Start.CHECKPOINT])
    first = len(encoded("rgb", images[:1]).payload)
    place = group.payload.index(bytes([Start.CHECKPOINT]), first)
    for code in (Start.LAST, 3, 255):
        damaged = group.payload[:place] + bytes([code]) + group.payload[place + 1 :]
        with pytest.raises(FormatError):
            decode_learned(VAES["rgb"], replace(group, payload=damaged))
    one = encoded("rgb", images[:1])
    header = replace(one.header, learning=replace(LEARNING, starts=True))
    with pytest.raises(FormatError, match="it has one"):
        decode_learned(VAES["rgb"], replace(one, header=header))


@pytest.mark.parametrize("name", ["rgb", "grey", "binary"])
def test_lengths_are_those_of_the_message(name: str) -> None:
    image = drawn(name, (40, 45))[0]
    weights, vae = MODELS[name], VAES[name]
    x = Strips.all_of(Canvas.of(image[None], weights.tile))
    grid = CoarseBins(weights.direct_bits)
    z = grid.nearest(vae.encode(x, "rha")[0] * 2.0**VALUE_BITS)
    coder = vae.learning_coder(vae.parameters(2_000), 32)
    bits = int(coder.lengths(vae.features(grid.values(z)), x).sum()) / 2**30 + x.row_count * sum(weights.direct_bits)
    group = encoded(name, [image], Learning(2_000, 32))
    assert 8 * len(group.payload) == pytest.approx(bits + 40, abs=40)  # the head, in whole bytes


def test_frozen_networks_say_the_same() -> None:
    """A pixel network that learns codes as one that does not while it has learned nothing."""
    for name, vae in VAES.items():
        x = sampled_strips(MODELS[name], 1, 20, 22)
        z = np.zeros((x.row_count, MODELS[name].latents), np.int64)
        coder = vae.learning_coder(vae.parameters(1), 1 << 11)  # one unit
        assert coder.lengths(vae.features(z), x).sum() == vae.lengths(z, x).sum()


def test_other_models_do_not_learn() -> None:
    weights = tiny_local(image=(8, 8), tile=8)
    assert not ExactLocalVAE(weights, NumpyBackend()).learns
    large = replace(MODELS["rgb"].trunk[0], limit=1 << 11)
    vae = ExactLocalVAE(replace(MODELS["rgb"], trunk=(large, *MODELS["rgb"].trunk[1:])), NumpyBackend())
    assert not vae.learns
    with pytest.raises(ModelError, match="cannot learn"):
        vae.parameters(500)
    assert all(vae.learns for vae in VAES.values())


def test_damage_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", 16)
    group = encoded("rgb", drawn("rgb", (18, 18), (4, 5)))
    payload, found = group.payload, 0
    for place in range(0, len(payload), 9):
        for change in (1, 0x80):
            damaged = bytearray(payload)
            damaged[place] ^= change
            with pytest.raises(FormatError):
                decode_learned(VAES["rgb"], replace(group, payload=bytes(damaged)))
            found += 1
    assert found > 100
    for size in (0, 1, 5, len(payload) // 2, len(payload) - 1):
        with pytest.raises(FormatError):
            decode_learned(VAES["rgb"], replace(group, payload=payload[:size]))
    with pytest.raises(FormatError):
        decode_learned(VAES["rgb"], replace(group, payload=payload + bytes(4)))


def test_another_header_is_found() -> None:
    images = drawn("rgb", (20, 30))
    group = encoded("rgb", images)
    for other in (Learning(2_001, 16), Learning(2_000, 17), Learning(2_000, 16, 2)):
        with pytest.raises(FormatError):
            decode_learned(VAES["rgb"], replace(group, header=replace(group.header, learning=other)))


def test_limits_of_several_images(monkeypatch: pytest.MonkeyPatch) -> None:
    group = encoded("rgb", drawn("rgb", (20, 30), (8, 9)))
    same = encoded("rgb", drawn("rgb", (20, 30), (20, 30)))
    lone = encoded("rgb", drawn("rgb", (20, 30)))
    for module in (learned, mixed):
        monkeypatch.setattr(module, "MAX_LEARNED_PIXELS", 599)
    for one in (group, same):
        with pytest.raises(FormatError, match="limit of 599 pixels"):
            decode_learned(VAES["rgb"], one)
    decode_learned(VAES["rgb"], lone)


def test_how_the_writer_has_models_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.array(Image.open(PHOTO))[:130, :130]
    assert learning_for([photo], CodingSettings(learn=True)) == Learning(RATE, UNIT)
    assert learning_for([photo], CodingSettings(learn=True, learn_rate=7, learn_unit=9)) == Learning(7, 9)
    monkeypatch.setattr(learned, "BUDGET_PIXELS", 130**2 - 1)
    assert learning_for([photo[:9], photo], CodingSettings(learn=True)) == Learning(RATE, UNIT, LARGE_STRIDE)


def test_learning_from_unlike_images_is_expected_to_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the writer lets it: a photograph loses by what noise teaches at a high rate."""
    monkeypatch.setattr(learned, "SAMPLE_SIDE", 120)
    monkeypatch.setattr(learned, "LEAST_PIXELS", 100)
    monkeypatch.setattr(learned, "RATE", 100_000)
    photo = np.array(Image.open(PHOTO))[:110, :110]
    images = [np.random.default_rng(0).integers(0, 256, photo.shape, np.uint8), photo]
    gain = expected_gain(VAES["rgb"], images)
    monkeypatch.setattr(learned.Start, "of", lambda _, last, checkpoint: last)
    assert gain > 0.05 + expected_gain(VAES["rgb"], images)


def test_what_learning_is_expected_to_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample says it: a photograph of another origin is learned from."""
    vae, photo = VAES["rgb"], np.array(Image.open(PHOTO))[:130, :130]
    assert expected_gain(vae, [photo]) == inf  # all of it would be the sample
    monkeypatch.setattr(learned, "SAMPLE_SIDE", 90)
    gain = expected_gain(vae, [photo])
    image = PixelImage("RGB", photo)
    frozen, learning = (
        len(encode_images(vae, [image], COLOUR, CodingSettings(learn=learn)).payload) for learn in (False, True)
    )
    assert 0.05 < gain < 1 - learning / frozen  # it learns less from a sample than from all
    assert expected_gain(vae, [photo[:30, :40]] * 2) == -inf  # too small
    monkeypatch.setattr(learned, "RATE", 1_000_000)  # a rate at which it learns nothing of use
    assert expected_gain(vae, [photo]) < 0
