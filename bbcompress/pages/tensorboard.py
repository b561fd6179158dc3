"""The figures of a training run for TensorBoard, for those who have it open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bbcompress.errors import NEEDS_TENSORBOARD, BBCError
from bbcompress.pages.report import reconstruction_rows, sample_rows, sheet_of
from bbcompress.pages.run_figures import ModelFigures, Run

NOT_SCALARS = ("phase", "objective", "epoch")
"""What a line of the log has beside numbers to draw."""


def writer_class() -> Any:
    """TensorBoard's writer.

    Raises:
        BBCError: it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BBCError(f"--tensorboard {NEEDS_TENSORBOARD}") from None
    return SummaryWriter


def write_events(run: Run, found: ModelFigures | None, folder: Path) -> int:
    """Write the run's scalars by epoch, and the pictures of its model; the number of scalars.

    Raises:
        BBCError: the writer is not installed, or cannot write there.
    """
    make = writer_class()
    count = 0
    try:
        writer = make(log_dir=str(folder))
        for line in run.log:
            for name, value in line.items():
                if name not in NOT_SCALARS:
                    writer.add_scalar(f"{line['phase']}/{name}", value, line["epoch"])
                    count += 1
        if found is not None:
            for (encoder, part), rate in found.rates.items():
                writer.add_scalar(f"model/{encoder}_{part}_net_bpd", rate, 0)
            for latent, bits in enumerate(found.kl.tolist()):
                writer.add_scalar("model/kl_bits_by_latent", bits, latent)
            for row in found.rate.rows:
                writer.add_scalar(f"rate/{row.encoder}_bpd_by_k", row.bpd, row.k)
            sheets = {
                "samples": sample_rows(found),
                "reconstructions": reconstruction_rows(found),
                "traversals": [images for _, images in found.traversals],
            }
            for name, rows in sheets.items():
                writer.add_image(name, sheet_of(rows), 0, dataformats="HWC")
        writer.close()
    except OSError as error:
        raise BBCError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return count
