"""All architectures by name."""

from __future__ import annotations

from bbcompress.training.architectures import local_task, mlp, resnet
from bbcompress.training.architectures.base import Architecture

ARCHITECTURES: dict[str, Architecture] = {
    module.ARCHITECTURE.name: module.ARCHITECTURE for module in (mlp, resnet, local_task)
}
"""A new one is a module beside these, an exact twin in `models`, and an export."""
