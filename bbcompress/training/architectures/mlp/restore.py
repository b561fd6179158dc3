"""Exact models of the mlp as networks of torch, which training goes on from: the inverse of `export.quantise`."""

from __future__ import annotations

from bbcompress.errors import TrainingError
from bbcompress.models.base import ModelWeights
from bbcompress.models.mlp import MLPWeights
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.quantisation.quantise import floats_of, from_exact, load_linears


def restore_mlp(weights: ModelWeights, models: tuple[MLPVAE, MLPVAE]) -> None:
    """Give networks the numbers of an exact model: its decoder to both, and its encoders `baseline` and `rha`.

    Raises:
        TrainingError: the model is of another architecture or of other sizes.
    """
    if not isinstance(weights, MLPWeights):
        raise TrainingError("not an mlp")
    model = models[0]
    sizes = {
        "size of images": (weights.shape, model.shape),
        "binary pixels": (weights.levels == 2, model.binary),
        "latents": (weights.latents, model.latents),
        "width of hidden layers": ([len(layer.bias) for layer in weights.decoder[:-1]], [model.hidden] * 2),
    }
    for name, (own, wanted) in sizes.items():
        if own != wanted:
            raise TrainingError(f"{name}: {own} in the model, {wanted} in this run")
    for model, encoder in zip(models, ("baseline", "rha"), strict=True):
        decoder = [floats_of(layer) for layer in weights.decoder]
        from_exact(*decoder[-1], model.likelihood)
        load_linears(model.decoder, decoder)
        linears = [floats_of(layer) for layer in weights.encoders[encoder]]
        linears[0][0][:] *= weights.levels - 1  # pixels come in [0, 1]
        load_linears(model.encoder, linears)
