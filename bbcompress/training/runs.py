"""The runs in a directory, from the small files that each leaves; PyTorch is not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bbcompress.errors import DataError

CONFIG, METRICS, LOG, WORTH = "config.json", "metrics.json", "train.jsonl", "worth.json"
DEFAULT_FOLDER = "runs"
FINISHED, EXPORTED = "finished", "model.safetensors"
_TAIL = 1 << 16
"""Bytes of the end of a log that are read."""


@dataclass(frozen=True)
class Run:
    """What a run's directory says of it.

    Attributes:
        data, init: as they were given. images: of those held out.
        baseline, rha: bits per dimension of held-out images by both encoders, None before the end.
        test: the last such figure of a run that is not finished.
        minutes: spent on training.
        state: `finished`, `not exported`, or where it stopped, such as `vae, epoch 12`.
        gain: what the model takes less than the best other, as a share; None where that was not measured.
    """

    folder: str
    name: str
    architecture: str
    data: str
    init: str
    images: int | None
    baseline: float | None
    rha: float | None
    test: float | None
    minutes: float | None
    state: str
    gain: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def find_runs(folder: Path) -> list[Run]:
    """The runs of a directory, or the one that it is, the best of each kind of data first.

    Raises:
        DataError: there is no such directory.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such directory")
    found = [run for place in (folder, *_folders(folder)) if (run := _run(place)) is not None]
    return sorted(found, key=lambda run: (run.data, _figure(run), run.folder))


def _figure(run: Run) -> float:
    figures = [figure for figure in (run.baseline, run.rha, run.test) if figure is not None]
    return min(figures, default=float("inf"))


def _folders(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None


def _run(folder: Path) -> Run | None:
    config = _json(folder / CONFIG)
    if "architecture" not in config or "data" not in config:
        return None
    metrics, worth, last = _json(folder / METRICS), _json(folder / WORTH), _log_end(folder / LOG)
    seconds = metrics.get("seconds", {})
    tests = [line for line in last if "test_bpd" in line]
    test = tests[-1].get("test_bpd_averaged", tests[-1]["test_bpd"]) if tests else None
    if metrics:
        state = FINISHED if (folder / EXPORTED).exists() else "not exported"
    elif last:
        state = f"{last[-1].get('phase', '?')}, epoch {last[-1].get('epoch', '?')}"
    else:
        state = "begun"
    return Run(
        folder=str(folder),
        name=str(config.get("name") or folder.name),
        architecture=str(config["architecture"]),
        data=str(config["data"]) + (", binary" if config.get("binary") else ", grey" if config.get("grey") else ""),
        init=str(config.get("init") or ""),
        images=metrics.get("test_images"),
        baseline=_number(metrics.get("baseline_test_bpd")),
        rha=_number(metrics.get("rha_test_bpd")),
        test=_number(test),
        minutes=round(sum(seconds.values()) / 60, 2) if metrics else None,
        state=state,
        gain=_number(worth.get("gain")),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _json(path: Path) -> dict[str, Any]:
    """What a file of JSON holds; nothing where there is none, or where it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _log_end(path: Path) -> list[dict[str, Any]]:
    """The last lines of a log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:  # the first may be cut
            continue
        if isinstance(values, dict):
            found.append(values)
    return found
