"""All architectures by name. The names are known without PyTorch, which an architecture needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bbcompress.training.architectures.base import Architecture

_NAMES = "mlp", "resnet", "local"


class _Architectures(Mapping[str, "Architecture"]):
    """The `ARCHITECTURE` of the module `task` in the package of each name."""

    def __getitem__(self, name: str) -> Architecture:
        if name not in _NAMES:
            raise KeyError(name)
        found: Architecture = import_module(f"{__package__}.{name}.task").ARCHITECTURE
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


ARCHITECTURES: Mapping[str, Architecture] = _Architectures()
