"""Export of runs of the mlp, and the command lines in a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from bbcompress.cli import main
from bbcompress.models.checkpoint import load
from bbcompress.models.vae import VAEWeights


def test_colour_images_made_grey(tmp_path: Path) -> None:
    folder = tmp_path / "colours"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    out = tmp_path / "run"
    words = ["train", "--architecture", "mlp", "--data", folder, "--grey", "--latents", "2", "--hidden", "8"]
    words += ["--epochs", "1", "--encoder-epochs", "1", "--batch", "6", "--threads", "1", "-o", out, "-q"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert (result.exit_code, result.output) == (0, "")
    weights = load(out)
    assert isinstance(weights, VAEWeights)
    assert weights.shape == (6, 5)
    assert weights.card["data"].endswith("colours, as grey")
