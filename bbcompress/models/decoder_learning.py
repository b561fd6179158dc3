"""A model whose decoder learns between batches of images: from their pixels, and the means of their posteriors."""

from __future__ import annotations

from bbcompress.exact.batch_learning import Integers, NetworkParameters
from bbcompress.models.base import Z_BITS, Z_LIMIT, LearningModel
from bbcompress.models.strips import Strips


class DecoderLearning:
    """A model of its own that goes on from batch to batch.

    A step of Adam is taken for each `unit` rows of z of a batch in their order, and for those that are left at its end.
    The gradient is that of -ln p(x|z) at the mean of q(z|x), which the frozen encoder gives: both sides know it, once
    they know the pixels.

    model: with the weights of now.
    """

    def __init__(self, model: LearningModel, rate: int, unit: int) -> None:
        """rate: in units of 1e-6.

        Raises:
            ModelError: the model cannot learn. ValueError: the unit is larger than its `largest_unit`.
        """
        if not 1 <= unit <= max(model.largest_unit, 1):
            raise ValueError(f"a unit of {unit} rows is too large for exact sums")
        self._unit = unit
        self.model = model.with_own_decoder()
        self._parameters = NetworkParameters(model.decoder_layers, Z_LIMIT, rate)

    def learn(self, x: Strips, encoder: str) -> None:
        """Move on by a batch."""
        model, backend = self.model, self.model.backend
        prepared = model.prepare(x)
        mean, _ = model.encode(prepared, encoder)
        grid = backend.clip_(mean * float(1 << Z_BITS), -Z_LIMIT, Z_LIMIT)
        for start in range(0, len(grid), self._unit):
            rows = slice(start, min(start + self._unit, len(grid)))
            self._parameters.step(model.weight_gradients(grid, prepared, rows), rows.stop - rows.start)
            model.load_decoder(self._parameters.integers)

    @property
    def integers(self) -> Integers:
        """The decoder's weights of now."""
        return self._parameters.integers
