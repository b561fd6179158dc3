"""The data of a run, read once for its training, its export and what is measured of it."""

from __future__ import annotations

from pathlib import Path

from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import Dataset, binarise, of_folder
from bbcompress.training.folder import Folder
from bbcompress.training.run import load_for


class RunData:
    """Gives the data of a run when it is called, the same each time."""

    def __init__(self, config: TrainingConfig, out: Path, quiet: bool, folder: Folder | None = None) -> None:
        """folder: the directory's images, if they are read already."""
        self._config, self._out, self._quiet, self._folder = config, out, quiet, folder
        self._data: Dataset | None = None

    def __call__(self) -> Dataset:
        """Raises DataError."""
        if self._data is None:
            config = self._config
            if self._folder is None:
                self._data = load_for(config, self._out, self._quiet)
            else:
                data = of_folder(self._folder, config.any_size)
                self._data = binarise(data) if config.binary else data
        return self._data
