"""The model that a run begins with (`--init`): found among those that are installed, and what is said of it later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bbcompress.errors import ModelError, TrainingError
from bbcompress.models import local, mlp
from bbcompress.models.base import ModelWeights
from bbcompress.models.resnet import ResNetWeights
from bbcompress.models.zoo import Zoo
from bbcompress.training.architectures.resnet.restore import channels_of, norm_of

NO_MODEL = "none"
"""What `--init` says where a run is to begin with random weights."""
SAID = ("settings", "data", "data_licence", "data_credits", "licence", "init")
"""What of its card the card of the new model repeats."""


@dataclass(frozen=True)
class Origin:
    """An exact model that training goes on from.

    Attributes:
        name: as the user gave it.
        weights: its integers.
        fast: whether it is a quick one.
    """

    name: str
    weights: ModelWeights
    fast: bool

    @property
    def facts(self) -> dict[str, Any]:
        """Which model it is, and what its card says of data and licences, for the card of what is made of it."""
        card: Mapping[str, Any] = self.weights.card
        return {
            "name": str(card.get("name") or self.name),
            "id": self.weights.id.hex(),
            **{name: card[name] for name in SAID if name in card},
        }

    @property
    def options(self) -> dict[str, Any]:
        """The options of a run that a model of its kind and sizes comes from, as far as it says them.

        Raises:
            TrainingError: there is no such run.
        """
        weights = self.weights
        architecture = weights.settings().get("architecture", mlp.ARCHITECTURE)
        networks = dict(weights.networks())
        options = {
            "architecture": architecture,
            "any_size": architecture == local.ARCHITECTURE and weights.shape is None,
            "binary": weights.levels == 2,
            "latents": weights.latents,
            "hidden": len(networks.get("trunk", networks["decoder"])[0].bias),
            **({"fast": True} if self.fast else {}),
        }
        if isinstance(weights, ResNetWeights):
            options |= {"latents": channels_of(weights), "blocks": weights.blocks, "norm": norm_of(weights)}
        return options


def origin_of(model: str) -> Origin:
    """The model of a name or a folder.

    Raises:
        TrainingError: there is none, or it is damaged.
    """
    try:
        chosen = Zoo(model).chosen
        if len(chosen) != 1:
            raise TrainingError(f"--init {model}: a folder of {len(chosen)} models; name one of them")
        return Origin(model, chosen[0].weights, chosen[0].is_fast)
    except ModelError as error:
        raise TrainingError(f"--init {model}: {error}") from None
