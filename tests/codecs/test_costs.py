"""The costs of pixels and z are those of what is written: with the checks and lanes they add up to the messages."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from models_for_tests import models_in

from bbcompress.codecs.costs import GroupCosts
from bbcompress.images.image import PixelImage
from bbcompress.limits import Limits
from bbcompress.pipeline.reader import Reader

STREAMS = Path(__file__).resolve().parents[1] / "golden" / "streams"


def costs_of(data: bytes) -> list[GroupCosts]:
    """Of the groups that a model coded; their images are those of the reader."""
    reader = Reader(io.BytesIO(data), models_in(), Limits(k=1000))
    found = []
    for number in range(len(reader.groups)):
        content, costs = reader.read_costs(number)
        images = [image for image in content if isinstance(image, PixelImage)]
        found += [part.costs for part in costs.parts if part.costs.images]
        if costs.images:
            assert images == reader.read_group(number)
            assert [image.pixels.shape for image in costs.images] == [image.pixels.shape[:2] for image in images]
            found.append(costs)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "binary-k0-baseline",
        "binary-k3-rate",
        "binary-learned",
        "grey-learned-k2",
        "grey-two-lanes",
        "local-learned",
        "local-learned-colours",
        "local-learned-one-size",
        "local-mixed",
        "local-several-sizes-k2",
        "lone-binary",
        "lone-local-blocks",
        "lone-local-learned",
        "lone-parts-colours",
        "lone-resnet-tiles",
        "parts-learned",
        "resnet-k2-rha",
        "resnet-learned",
        "resnet-several-sizes",
    ],
)
def test_pixels_and_z_take_what_the_messages_hold(name: str) -> None:
    """In every way to code a group: directly, by bits-back, with K steps, in blocks, of several sizes, learning from
    pixels, with colours, and between batches."""
    found = costs_of((STREAMS / f"{name}.bbc").read_bytes())
    assert found
    for costs in found:
        least, most = costs.stated_overhead
        assert least - 0.01 < costs.overhead_bits < most
        for image in costs.images:
            assert (image.pixels > 0).all() and np.isfinite(image.latents).all()


def test_a_z_that_is_drawn_gives_bits_back() -> None:
    """So it takes less than its prior says; one that is coded directly takes all of that."""
    (drawn,) = costs_of((STREAMS / "binary-k0-rha.bbc").read_bytes())
    (direct,) = costs_of((STREAMS / "lone-binary.bbc").read_bytes())
    models = models_in()
    weights = models.model(next(entry for entry in models.zoo.entries if entry.name == "tiny-binary")).weights
    assert direct.images[0].latent_bits == pytest.approx(sum(weights.direct_bits), abs=1e-3)
    least = min(image.latent_bits for image in drawn.images)
    assert least < weights.latents * weights.prior_bits / 2


def test_an_image_takes_fewer_bits_where_it_is_flat() -> None:
    (costs,) = costs_of((STREAMS / "lone-binary.bbc").read_bytes())
    image = Reader(io.BytesIO((STREAMS / "lone-binary.bbc").read_bytes()), models_in()).read(0).pixels
    flat = np.zeros(image.shape, bool)
    flat[1:-1, 1:-1] = True
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            flat &= np.roll(image, (dy, dx), (0, 1)) == image
    assert costs.images[0].pixels[flat].mean() < costs.images[0].pixels[~flat].mean() / 2
