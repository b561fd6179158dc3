"""Other shapes of the pixel network: what is trained codes what the exact codec would, and a run can be broken off."""

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
def shapes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, with torch's threads as they were afterwards."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    threads = torch.get_num_threads()
    yield importlib.import_module("shapes")
    torch.set_num_threads(threads)


def test_quick_run(shapes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(10):
        Image.fromarray(picture(number, 96, 128)).save(photos / f"{number}.png")
    names = ["photo's shape", "8 components", "heads of rank 32", "order G, B, R"]
    arguments = ["--photos", str(photos), "--quick", "--out", str(out), "--variants", *names]
    monkeypatch.setattr("sys.argv", ["shapes.py", *arguments])
    shapes.main()
    found = json.loads((out / "shapes.json").read_text())
    assert found["measured"] == ["9.png"] and found["trained on"] == 9
    assert list(found["shapes"]) == names
    for row in found["shapes"].values():
        assert 0 < row["learned"][0] < row["frozen"][0] < 8
    assert found["shapes"]["photo's shape"]["multiply-adds"] == 76947  # as results/local-inputs.json has it


@pytest.mark.parametrize("name", ["photo's shape", "3 components", "trunk 160-64"])
def test_a_shape_codes_what_the_exact_codec_codes(shapes: Any, name: str) -> None:
    variant, image = shapes.VARIANTS[name], picture(0)
    vae = shapes.LocalVAE(variant.shape, torch.Generator().manual_seed(0))
    with torch.no_grad():  # features of 0 are none
        for value in vae.decoder.parameters():
            value.zero_()
    model, network = shapes.exact_model(variant, vae), shapes.Shaped(variant)
    for stride, learns in enumerate((False, True)):
        _, exact = shapes.exactly(model, image, stride)
        assert shapes.coded(network, shapes.PlainCrops([image], shapes.PHOTO), learns) == pytest.approx(
            [exact], rel=1e-3
        )


def test_the_order_of_channels(shapes: Any) -> None:
    variant, image = shapes.VARIANTS["order G, B, R"], picture(0)
    moved = np.ascontiguousarray(image[..., [1, 2, 0]])
    as_red_first = shapes.Shaped(shapes.replace(variant, order="RGB"))
    crops, moved_crops = (shapes.PlainCrops([pixels], shapes.PHOTO) for pixels in (image, moved))
    found = shapes.coded(shapes.Shaped(variant), crops, False)
    assert found == pytest.approx(shapes.coded(as_red_first, moved_crops, False), rel=1e-6)
    assert found != pytest.approx(shapes.coded(as_red_first, crops, False), rel=1e-5)


def test_the_layer_of_low_rank_is_linear(shapes: Any) -> None:
    low, crops = shapes.Shaped(shapes.VARIANTS["heads of rank 48"]), shapes.PlainCrops([picture(0)], shapes.PHOTO)
    whole = shapes.Shaped(shapes.VARIANTS["photo's shape"])
    for name in low.weights.keys() & whole.weights.keys() - {"w2", "b2"}:
        whole.weights[name] = low.weights[name]
    whole.weights["w2"] = low.weights["w3"] @ low.weights["w2"]
    whole.weights["b2"] = low.weights["w3"] @ low.weights["b2"] + low.weights["b3"]
    assert shapes.coded(low, crops, False) == pytest.approx(shapes.coded(whole, crops, False), rel=1e-5)


def test_a_run_goes_on_where_it_was_broken_off(shapes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(shapes, "KEEP_EVERY", 2)
    monkeypatch.setattr(shapes, "BATCH", 64)
    Image.fromarray(picture(0)).save(tmp_path / "0.png")
    variants = {name: shapes.VARIANTS[name] for name in ("photo's shape", "heads of rank 32")}
    kept = tmp_path / "kept" / "shapes.pt"
    whole = shapes.trained(variants, [tmp_path / "0.png"], 5, 1e-3, kept)
    on = shapes.trained(variants, [tmp_path / "0.png"], 5, 1e-3, kept)  # from step 4
    for name, network in whole.items():
        for was, value in zip(network.learned, on[name].learned, strict=True):
            assert torch.equal(was, value)
    with pytest.raises(SystemExit, match="another run"):
        shapes.trained(variants, [tmp_path / "0.png"], 6, 1e-3, kept)
