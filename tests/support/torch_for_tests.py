"""PyTorch where it is installed, so that tests which do without it run without it."""

from __future__ import annotations

import pytest

from bbcompress.exact.backend import Backend, NumpyBackend, TorchBackend

__all__ = ["BACKENDS", "TORCH_BACKENDS", "every_backend", "needs_torch", "torch", "torch_backends"]

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    torch = None  # type: ignore[assignment]

needs_torch = pytest.mark.skipif(torch is None, reason="needs PyTorch")

TORCH_BACKENDS: dict[str, Backend] = {}
if torch is not None:
    TORCH_BACKENDS = {name: TorchBackend(name) for name in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]}
BACKENDS: dict[str, Backend] = {"numpy": NumpyBackend(), **TORCH_BACKENDS}

every_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
torch_backends = pytest.mark.parametrize("backend", TORCH_BACKENDS.values(), ids=TORCH_BACKENDS)
