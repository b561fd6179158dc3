"""The prototype of more inputs of the pixel network: it codes what the codec codes, and sees no pixel too early."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures_for_tests import picture
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts by name, with torch's threads as they were afterwards."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    threads = torch.get_num_threads()
    yield lambda name: importlib.import_module(name)
    torch.set_num_threads(threads)


def test_quick_run(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(10):
        Image.fromarray(picture(number, 128, 128)).save(photos / f"{number}.png")
    arguments = ["--photos", str(photos), "--foreign", str(photos), "--count", "1", "--quick"]
    arguments += ["--runs", str(tmp_path / "runs"), "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["local_inputs.py", *arguments])
    scripts("local_inputs").main()
    found = json.loads((out / "local-inputs.json").read_text())
    with monkeypatch.context() as changed:  # what is there is kept
        changed.setattr(scripts("local_inputs"), "exactly", None)
        changed.setattr(scripts("local_inputs"), "coded", None)
        scripts("local_inputs").main()
    assert json.loads((out / "local-inputs.json").read_text())["rows"] == found["rows"]
    assert [row["origin"] for row in found["rows"]] == ["held out", "elsewhere"]
    for row in found["rows"]:
        for way in ("frozen", "learned"):
            assert row[way]["shipped"] == pytest.approx(row[way]["exact"], rel=0.01)


def test_new_inputs_change_nothing_at_first_and_keep_the_order(scripts: Any) -> None:
    inputs = scripts("local_inputs")
    model = inputs.Model.shipped()
    whole = inputs.Crops([picture(0)], model)
    (plain,) = inputs.coded(inputs.Network.of(model, ""), whole, False)
    both = inputs.Network.of(model, "el")
    assert inputs.coded(both, whole, False) == pytest.approx([plain], rel=1e-5)
    both.weights["w0"][:, -42:] = 0.1 * torch.randn(160, 42, generator=torch.Generator().manual_seed(0))
    assert inputs.coded(both, whole, False) != pytest.approx([plain], rel=1e-3)


def test_each_tile_has_its_own_z(scripts: Any) -> None:
    inputs = scripts("local_inputs")
    model, unlike = inputs.Model.shipped(), picture(0, 192, 128)
    unlike[64:] = 128 + np.random.default_rng(0).integers(-60, 61, unlike[64:].shape)
    (bits,) = inputs.coded(inputs.Network.of(model, ""), inputs.Crops([unlike], model), False)
    assert bits / unlike.size == pytest.approx(inputs.exactly(model, unlike)["frozen"]["exact"], rel=1e-3)


def test_images_learn_by_themselves(scripts: Any) -> None:
    inputs = scripts("local_inputs")
    model, images = inputs.Model.shipped(), [picture(0), picture(1)]
    network = inputs.Network.of(model, "el")
    network.weights["w0"][:, -42:] = 0.01
    together = inputs.coded(network, inputs.Crops(images, model), True)
    alone = [bits for image in images for bits in inputs.coded(network, inputs.Crops([image], model), True)]
    assert together == pytest.approx(alone, rel=1e-4)


def test_a_prediction_rests_on_what_the_wavefront_has_decoded(scripts: Any) -> None:
    predictions, pixels = scripts("least_squares").predictions, picture(1, 24, 40)
    before, after, _ = predictions(pixels)
    y, x = 12, 20
    later = 4 * np.arange(24)[:, None] + np.arange(40) >= 4 * y + x
    for channel in range(3):
        changed = pixels.copy()
        changed[later] = 255 - changed[later]
        changed[y, x, :channel] = pixels[y, x, :channel]
        found = predictions(changed)
        assert found[0][y, x] == pytest.approx(before[y, x], abs=1e-3)
        assert found[1][y, x, channel] == pytest.approx(after[y, x, channel], abs=1e-3)


def test_least_squares_find_a_linear_rule(scripts: Any) -> None:
    random = np.random.default_rng(0)
    red = np.cumsum(random.integers(-3, 4, (32, 32)), axis=1) + 128
    pixels = np.stack([red, red + 5, red - 7], axis=2).astype(np.uint8)
    _, _, errors = scripts("least_squares").predictions(pixels)
    assert np.abs(errors[8:, 8:, 1:]).mean() < 0.1 < np.abs(errors[8:, 8:, 0]).mean()
