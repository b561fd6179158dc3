"""Which colours an image can have, as files say it and as a model that learns uses it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_for_tests import sampled_strips, tiny_local
from PIL import Image
from starts_for_tests import by_planes

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader, Learning
from bbcompress.codecs import blocks, learned
from bbcompress.codecs.colours import Colours, colours_of, encode_colours, read_colours
from bbcompress.codecs.learned import decode_learned, encode_learned, expected_gain
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import FormatError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.lattice_kernels import pop_restricted
from bbcompress.exact.lattices import LATTICES, Lattice
from bbcompress.images.region import Decoded, Region, Wanted
from bbcompress.models.local import ExactLocalVAE
from bbcompress.wire import ByteReader

WEIGHTS = tiny_local()
VAE = ExactLocalVAE(WEIGHTS, NumpyBackend())
GREY = ExactLocalVAE(tiny_local(channels=1), NumpyBackend())


def decoded(height: int, width: int, seed: int = 0) -> Any:
    """An image that comes out of a JPEG."""
    pixels = sampled_strips(WEIGHTS, 1, height, width, seed=seed).canvas.images[0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return np.array(Image.open(file).convert("RGB"))


def encoded(images: list[Any], **settings: Any) -> Group:
    header = GroupHeader(count=len(images), model=WEIGHTS.id[:4], learning=Learning(2_000, 16))
    return encode_learned(VAE, images, header, CodingSettings(**settings))


def with_exceptions() -> Any:
    """Three, of one colour, in both blocks."""
    image = decoded(40, 150)
    assert len(list(blocks.blocks_of(40, 150, WEIGHTS.tile))) == 2
    image[39, 149] = image[0, 0] = image[17, 85] = 1, 2, 3
    return image


@pytest.fixture(params=[True, False], ids=["planes", "restricted"])
def planes(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether images are coded by the planes of their lattices, or blue is restricted."""
    with by_planes(request.param):
        yield request.param


@pytest.mark.parametrize("alone", [True, False])
def test_round_trip(alone: bool, planes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", 128)
    images = [with_exceptions()]
    if not alone:
        noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
        images = [noise, *images, decoded(20, 33)]
    group = encoded(images)
    assert group.header.learning is not None and group.header.learning.lattices
    assert group.header.learning.starts == (not alone)
    for image, read in zip(images, decode_learned(VAE, group), strict=True):
        assert np.array_equal(image, read)
    number = len(images) // 2
    region = Region(images[number].shape[1] - 7, 3, 7, images[number].shape[0] - 3)
    (part,) = decode_learned(VAE, group, wanted=Wanted(number, region, Decoded()))
    assert np.array_equal(part, images[number][3:, -7:])


def test_the_better_of_planes_and_restricted_blue_is_taken() -> None:
    image = decoded(128, 128)
    group, sizes = encoded([image]), []
    for planes in (True, False):
        with by_planes(planes):
            sizes.append(len(encoded([image]).payload))
    assert len(group.payload) == min(sizes) < max(sizes)


def test_trials_compute_in_exact_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a writer's choice is the same whatever the program around has set."""
    seen, quickly = [], learned.strips_and_features

    def noted(*arguments: Any) -> Any:
        seen.append(np.geterr()["invalid"])
        return quickly(*arguments)

    monkeypatch.setattr(learned, "strips_and_features", noted)
    with np.errstate(invalid="raise"):
        encoded([decoded(64, 96), decoded(64, 96, 1)])
        expected_gain(VAE, [decoded(280, 280)])
    assert len(seen) == 2 * 2 + 1 + 2
    assert set(seen) == {"ignore"}


def test_images_on_a_lattice_become_smaller(planes: bool) -> None:
    image = decoded(64, 96)
    with_lattice, without = encoded([image]), encoded([image], lattices=False)
    assert without.header.learning is not None and not without.header.learning.lattices
    share = 0.98 if planes else 0.97  # this model does not know what planes are
    assert len(with_lattice.payload) < share * len(without.payload)
    assert np.array_equal(decode_learned(VAE, without)[0], image)


def test_the_trial_tells_of_colours_where_the_settings_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.codecs.learned.RATE", 500)  # at which the tiny model learns enough from so few
    image = decoded(280, 280)
    assert expected_gain(VAE, [image]) > 0.01 + expected_gain(VAE, [image], lattices=False)


def test_other_images_say_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert colours_of(noise) is None
    assert colours_of(noise[..., 0]) is None and colours_of(noise[..., :1]) is None
    assert encoded([noise]).payload == encoded([noise], lattices=False).payload


def test_images_that_are_plainly_on_no_lattice_need_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def outside(*_: Any) -> None:
        raise AssertionError("a table of all colours is made")

    monkeypatch.setattr(Lattice, "outside", outside)
    noise = np.random.default_rng(0).integers(0, 256, (16, 300, 3), np.uint8)
    for image in (noise, noise[:16, :16], noise[:, ::2]):
        assert colours_of(image) is None
    found = []
    monkeypatch.setattr(Lattice, "outside", lambda lattice, *_: found.append(lattice.code))
    colours_of(decoded(40, 60))
    assert found == [1]


def test_a_frame_of_other_colours_may_be_all_of_the_sample_that_is_in_one_column() -> None:
    image = decoded(256, 300)
    image[:, 0] = 1, 2, 3
    found = colours_of(image)
    assert found is not None and len(found.exceptions) == 256


def test_restricted_pops_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter takes milliseconds for each symbol."""
    compiled = []

    def for_symbols(n: int) -> Any:
        compiled.append(pop_restricted.pays_for(n))
        return pop_restricted

    with by_planes(False):
        group = encoded([decoded(20, 30)])
    monkeypatch.setattr(pop_restricted, "_compiled", None)
    monkeypatch.setattr(pop_restricted, "_interpreted", 0)
    monkeypatch.setattr(pop_restricted, "for_symbols", for_symbols)
    decode_learned(VAE, group)
    assert compiled and all(compiled)


def test_few_exceptions_are_listed_and_many_are_not() -> None:
    image = decoded(40, 60)
    image[3, :9] = 1, 2, 3
    found = colours_of(image)
    assert found is not None and found.lattice.code == 1
    assert found.exceptions.tolist() == list(range(180, 189))
    image[3, 9] = 1, 2, 3  # 2400 pixels may have 9
    assert colours_of(image) is None


def test_the_lattice_with_the_fewest_colours_is_taken() -> None:
    black = np.zeros((30, 30, 3), np.uint8)
    found = colours_of(black)
    assert found is not None and found.lattice.size == min(lattice.size for lattice in LATTICES.values())


SIZES = [(16, 32), (32, 32)]
LISTED = b"\x00" + b"\x01\x02\x05\x00"  # 1024 pixels may have 4 exceptions


def read(data: bytes, sizes: list[tuple[int, int]] = SIZES) -> list[Colours | None]:
    reader = ByteReader(data, "a group")
    colours = read_colours(reader, sizes)
    assert not reader.remaining
    return colours


def test_what_is_written_is_read() -> None:
    nothing, colours = read(LISTED)
    assert nothing is None and colours is not None
    assert colours.exceptions.tolist() == [5, 6]
    assert encode_colours([nothing, colours]) == LISTED
    assert colours.restricts
    listed = b"\x00" + b"\x18\x02\x05\x00" + bytes([1, 2, 3, 4, 5, 6])
    nothing, colours = read(listed)
    assert colours is not None and colours.true is not None and not colours.restricts
    assert (colours.lattice.code, colours.true.tolist()) == (8, [[1, 2, 3], [4, 5, 6]])
    assert encode_colours([nothing, colours]) == listed
    assert [part.tolist() for part in colours.exceptions_in(0, 6, 32, 26)] == [[0], [0]]


def test_images_without_exceptions_share_their_list() -> None:
    first, second = read(b"\x01\x00\x02\x00")  # of as many as there may be each would take a hundred bytes
    assert first is not None and second is not None
    assert first.exceptions is second.exceptions


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00",  # of no image
        b"\x09\x00\x00",  # a reserved lattice
        b"\x10\x00\x00",  # the planes of none
        b"\x21\x00\x00",  # another number that is reserved
        b"\x00\x11\x01\x05\x01\x02",  # a colour that is cut
        b"\x00\x01\x05\x00\x00\x00\x00\x00",  # more than a 256th of the pixels
        b"\x00\x01\x01\x80\x08",  # an exception behind the last pixel
        b"\x00\x01\x02\xff\x07\x00",  # the same of the second one
        b"\x00\x01\x02\x05",  # cut
    ],
)
def test_what_breaks_a_rule_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read(data)


def test_exceptions_that_are_none_are_refused(planes: bool) -> None:
    image = decoded(20, 30)
    group = encoded([image])
    assert group.payload.startswith(b"\x11\x00" if planes else b"\x01\x00")
    its, none = (image[0, 17][None], np.zeros((0, 3), np.uint8)) if planes else (None, None)
    for colours in (
        Colours(LATTICES[1], np.array([17]), 30, its),
        Colours(LATTICES[2], np.zeros(0, np.int64), 30, none),
    ):
        forged = Group(group.header, encode_colours([colours]) + group.payload[2:])
        with pytest.raises(FormatError):
            decode_learned(VAE, forged)


def test_a_writer_that_lists_too_much_is_refused(planes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    image = decoded(20, 30)
    monkeypatch.setattr("bbcompress.codecs.learned.colours_of", lambda _: Colours(LATTICES[1], np.array([17]), 30))
    with pytest.raises(FormatError, match="exceptions"):
        decode_learned(VAE, encoded([image]))


def test_colours_of_a_grey_model_are_refused() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    header = GroupHeader(model=GREY.weights.id[:4], learning=Learning(2_000, 16))
    group = encode_learned(GREY, [grey], header, CodingSettings())
    assert group.header.learning is not None
    learning = replace(group.header.learning, lattices=True)
    with pytest.raises(FormatError, match="has none"):
        decode_learned(GREY, Group(replace(group.header, learning=learning), b"\x01\x00" + group.payload))
