"""The models that there are, on a backend: what readers and writers are handed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bbcompress.exact.backend import Backend
from bbcompress.models.base import Model
from bbcompress.models.registry import model_of
from bbcompress.models.zoo import CarriedModel, ModelEntry, Zoo
from bbcompress.system.threads import ThreadLock

_building = ThreadLock()


class Models:
    """The models of a zoo on a backend, each built once, also where several threads ask for it. It can be pickled,
    without what was built."""

    def __init__(self, zoo: Zoo, backend: Backend) -> None:
        self.zoo = zoo
        self.backend = backend
        self._built: dict[bytes, Model] = {}

    def model(self, entry: ModelEntry) -> Model:
        """Raises ModelError if the model is damaged."""
        if entry.id not in self._built:
            with _building:
                if entry.id not in self._built:
                    self._built[entry.id] = model_of(entry.weights, self.backend)
        return self._built[entry.id]

    def carrying(self, models: Sequence[CarriedModel]) -> Models:
        """The same with the models of a file, which are used to read it where they are not installed. Nothing that is
        built of these stays here."""
        if not models:
            return self
        one = Models(self.zoo.carrying(models), self.backend)
        one._built.update(self._built)
        return one

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": {}}
