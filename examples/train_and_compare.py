"""A model of one's own, and what it saves: train on a folder of images, compress another by it and without it.

    python examples/train_and_compare.py SHOTS NEW_SHOTS RUN [EPOCHS]

SHOTS: grey images of one size, ten at least; some thousands for a model that is worth it. RUN: the new folder of the
model. PyTorch is needed: pip install 'bbcompress[train]'.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bbcompress as bbc
from bbcompress.training.config import TrainingConfig
from bbcompress.training.export import export_run
from bbcompress.training.run import train


def main(shots: str, new_shots: str, run: str, epochs: str = "50") -> None:
    """Train, export, compress."""
    config = TrainingConfig(data=shots, epochs=int(epochs), encoder_epochs=int(epochs), name=Path(run).name)
    figures = train(config, run)  # phase 1: decoder and encoder by the ELBO; phase 2: the encoder, reverse half-asleep
    for encoder in ("baseline", "rha"):
        print(f"{encoder}: {figures[f'{encoder}_test_bpd']:.4f} bits per dimension on held-out images")
    export_run(Path(run), config.data_dir)  # integers, which every machine computes alike

    for title, model in {"shipped models": None, "own model": run}.items():
        summary = bbc.pack(new_shots, f"{run}/new.bbc", overwrite=True, model=model)
        print(f"{title}: {summary.bits_per_dimension:.4f} bits per sub-pixel, {summary.size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
