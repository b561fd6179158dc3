"""The colours of known decoders, and mixtures of logistics restricted to them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from format_reader import lattices as of_the_page
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from bbcompress.coder.ans import Message
from bbcompress.exact.distributions import PRECISION
from bbcompress.exact.lattice_kernels import find_outside
from bbcompress.exact.lattices import EXCEPTION, LATTICES, Restriction
from bbcompress.exact.mixture import LogisticMixture

DATA = Path(__file__).parents[1] / "data"


def smooth(seed: int) -> np.ndarray:
    """A colourful image (96, 120, 3)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (7, 9, 3), np.uint8)
    image = np.asarray(Image.fromarray(small).resize((120, 96), Image.Resampling.BICUBIC)).astype(np.int64)
    return (image + rng.integers(-20, 21, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("code", "kind", "options"),
    [
        (1, "JPEG", {"quality": 90}),
        (1, "JPEG", {"quality": 60, "subsampling": 0}),
        (2, "WEBP", {"quality": 80}),
        (3, "AVIF", {"quality": 80}),
        (3, "AVIF", {"quality": 95, "subsampling": "4:4:4"}),
    ],
)
def test_what_decoders_give_is_on_their_lattices(code: int, kind: str, options: dict[str, object]) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    file = io.BytesIO()
    Image.fromarray(smooth(code)).save(file, kind, **options)
    pixels = np.asarray(Image.open(file).convert("RGB"))
    outside = LATTICES[code].outside(pixels, 0)
    assert outside is not None and not len(outside)
    for other in set(LATTICES) - {code}:
        assert LATTICES[other].outside(pixels, pixels.size // 3 // 10) is None


@pytest.mark.parametrize(("code", "frame"), [(5, "bt601"), (6, "bt709"), (7, "bt601-full"), (8, "bt709-full")])
def test_frames_of_videos_are_on_their_lattices(code: int, frame: str) -> None:
    pixels = np.asarray(Image.open(DATA / "video" / f"{frame}.png"))
    for other, lattice in LATTICES.items():
        outside = lattice.outside(pixels, pixels.size // 3 // 10)
        assert (outside is not None and not len(outside)) == (other == code)


def test_the_colours_of_photo_cds_are_by_the_constants_that_kodak_published() -> None:
    """But for those whose value is so near an integer that arithmetic in floats may tell it either way."""
    n = np.arange(256.0)
    red, blue = (1.8215 * (n - 137))[None, :, None], (2.2179 * (n - 156))[None, None]
    luma = (1.3584 * n)[::5, None, None]
    green = luma - 0.194 * np.floor(blue) - 0.509 * np.floor(red)
    exact = np.stack(np.broadcast_arrays(luma + red, green, luma + blue), axis=-1)
    clear = (np.abs(exact - np.rint(exact)) > 1e-3).all(axis=-1)
    assert clear.mean() > 0.99
    colours = np.floor(exact[clear]).clip(0, 255).astype(np.uint8)
    outside = LATTICES[4].outside(colours, 0)
    assert outside is not None and not len(outside)


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(LATTICES)), st.booleans())
def test_planes_give_the_colours_back(seed: int, code: int, saturated: bool) -> None:
    """All but those of exceptions, which are any."""
    rng, lattice = np.random.default_rng(seed), LATTICES[code]
    any_planes = rng.integers(0, 256, (6, 7, 3)).astype(np.uint8)
    if saturated:
        any_planes[..., 0] = rng.choice([0, 255], any_planes.shape[:2])
    image = lattice.colours(any_planes)
    assert lattice.outside(image, 0) is not None
    image[2, 3] = 1, 2, 3
    planes = lattice.planes(image, np.array([17]))
    if planes is not None:
        again = lattice.colours(planes)
        again[2, 3] = image[2, 3]
        assert np.array_equal(again, image)


def test_planes_of_what_decoders_give_resemble_the_colours() -> None:
    """They leave no level of 0 .. 255 by a step, and greys are equal in all three."""
    grey = np.repeat(np.arange(16, 236, dtype=np.uint8).reshape(11, 20, 1), 3, axis=2)
    planes = LATTICES[1].planes(grey, np.zeros(0, np.int64))
    assert planes is not None and np.array_equal(planes, grey)
    for frame, code in (("bt601", 5), ("bt709-full", 8)):
        pixels = np.asarray(Image.open(DATA / "video" / f"{frame}.png"))
        planes = LATTICES[code].planes(pixels, np.zeros(0, np.int64))
        assert planes is not None
        assert np.abs(planes.astype(np.int64) - pixels).max() < 100


def test_planes_that_would_take_long_to_find_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = LATTICES[1].colours(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8))
    image[(image > 0) & (image < 255)] = 0
    outside = LATTICES[1].outside(image, 1024)
    assert outside is not None
    assert LATTICES[1].planes(image, outside) is None
    monkeypatch.setattr("bbcompress.exact.lattices.TRIES", 1 << 16)
    assert LATTICES[1].planes(image, outside) is not None


def test_the_lattices_are_those_of_the_page() -> None:
    for code, lattice in LATTICES.items():
        rows = np.unpackbits(lattice.allowed[:EXCEPTION], axis=1, bitorder="little")
        assert np.array_equal(rows.reshape(256, 256, 256), of_the_page.lattice(code)), lattice.name
        assert lattice.size == of_the_page.lattice(code).sum()
        assert lattice.allowed[EXCEPTION].tolist() == [255] * 32
        assert lattice.allowed.any(axis=1).all()  # so what is not listed cannot be off the lattice


def test_what_is_excluded_without_a_table_is_what_is_outside() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4000, 3), np.uint8)
    pixels[:400] = rng.choice([0, 1, 254, 255], (400, 3))
    free = ((pixels[:, [0, 2]] > 0) & (pixels[:, [0, 2]] < 255)).all(axis=1)
    for lattice in LATTICES.values():
        outside = np.zeros(4000, np.bool_)
        outside[lattice.outside(pixels, 4000)] = True
        assert np.array_equal(lattice.excludes(pixels), outside & free), lattice.name


def test_the_interpreter_finds_what_the_compiled_loop_finds() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    for lattice in LATTICES.values():
        found = np.empty(500, np.int64)
        count = find_outside._function(pixels, lattice.allowed, found)
        outside = lattice.outside(pixels, 500)
        assert outside is not None and outside.tolist() == found[:count].tolist()


def test_what_is_outside_is_found_in_order() -> None:
    lattice = LATTICES[1]
    pixels = np.full((40, 30, 3), 90, np.uint8)
    pixels[3, 4] = pixels[39, 29] = pixels[20, 0] = 1, 2, 3
    found = lattice.outside(pixels, 3)
    assert found is not None and found.tolist() == [94, 600, 1199]
    assert lattice.outside(pixels, 2) is None


def drawn(rng: np.random.Generator, count: int, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Parameters of so many mixtures, wide and narrow ones, and references."""
    m = components
    params = np.empty((count, 3 * m + 2))
    params[:, : m + 2] = rng.integers(-8000, 8001, (count, m + 2))
    params[:, m + 2 : 2 * m + 2] = rng.integers(-(1 << 14), (1 << 14) + 1, (count, m))
    params[:, 2 * m + 2 :] = rng.integers(-2000, 12001, (count, m))
    params[0] = rng.choice([-(1 << 24), 1 << 24], 3 * m + 2)
    return params, rng.integers(0, 256, count)


@given(st.integers(0, 2**32 - 1))
def test_restricted_intervals_are_those_of_the_page_and_come_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mixture = LogisticMixture(int(rng.integers(1, 4)))
    count, lanes = 12, int(rng.integers(1, 5))
    params, references = drawn(rng, count, mixture.components)
    allowed = rng.integers(0, 256, (8, 32)).astype(np.uint8) & rng.integers(0, 256, (8, 32)).astype(np.uint8)
    allowed[:2] = 0
    allowed[0, 0], allowed[1, 31] = 1, 128  # a level alone
    allowed[2:, 7] |= 1  # each row allows one
    allowed[-1] = 255
    rows = rng.integers(0, 8, count)
    possible = np.unpackbits(allowed, axis=1, bitorder="little").astype(bool)
    x = np.array([rng.choice(np.flatnonzero(possible[row])) for row in rows])
    starts, frequencies = mixture.intervals_within(params, references, x, rows, allowed)
    for i in range(count):
        same = np.full(256, i)
        _, free = mixture.intervals(params[same], references[same], np.arange(256))
        sums = np.concatenate([[0], np.cumsum(np.where(possible[rows[i]], free, 0))])
        edges = sums * 2**24 // sums[-1]
        assert (starts[i], frequencies[i]) == (edges[x[i]], edges[x[i] + 1] - edges[x[i]])
    message = Message.empty(lanes, rng.integers(0, 1 << 31, lanes))
    before = message.to_bytes()
    message.push(starts, frequencies, PRECISION)
    popped = mixture.pop_within(message, 0, params, references, rows, allowed)
    assert popped.tolist() == x.tolist()
    assert message.to_bytes() == before


def test_exceptions_may_have_any_level() -> None:
    restriction = Restriction(LATTICES[1].allowed, np.array([False, True, False]))
    assert restriction.rows(np.array([2, 3]), np.array([5, 7]), 1).tolist() == [EXCEPTION, 3 * 256 + 7]
