"""The pixel network of a `local` model while it learns: units of pixels forwards, their gradients backwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.coder.ans import Message
from bbcompress.exact.distributions import PRECISION
from bbcompress.exact.learning import LearningLayer, Parameters
from bbcompress.exact.tables import IntArray, code_length
from bbcompress.models import learning_kernels as kernels
from bbcompress.models.neighbourhood import LEFT, UPPER
from bbcompress.models.pixel_network import BINARY_GAIN, MIDDLE, PixelNetworkWeights
from bbcompress.models.strips import Canvas, Pixels, Strips

NumpyArray = np.ndarray[Any, Any]


def learning_layers(weights: PixelNetworkWeights) -> list[LearningLayer]:
    """The layers of a pixel network that learn: trunk, heads, and each channel's outputs. Raises ModelError."""
    limits, layers = weights.input_limit, []
    for layer in weights.trunk:
        layers.append(LearningLayer(layer, limits))
        limits = np.full(len(layer.weight), layer.limit, np.int64)
    earlier = np.full(weights.channels - 1, weights.pixel_limit, np.int64)
    layers.append(LearningLayer(weights.heads, np.append(limits, earlier)))
    width = len(weights.heads.weight) // weights.channels
    for channel, layer in enumerate(weights.outputs):
        limits = np.append(np.full(width, weights.heads.limit, np.int64), earlier[:channel])
        layers.append(LearningLayer(layer, limits))
    return layers


class UnitNetwork:
    """Room for one unit of pixels on its way through the network and back, and the loops over it.

    Rows are pixels of the unit. Parts of it go forwards one after the other, as a wavefront decodes them, and the whole
    goes backwards.
    """

    def __init__(self, weights: PixelNetworkWeights, rows: int) -> None:
        """rows: most pixels of a unit."""
        self.channels = channels = weights.channels
        self.rows = rows
        self.observation = weights.observation
        self.gain = BINARY_GAIN if weights.binary else 1
        self._settings = np.array([int(weights.centred), self.gain, LEFT, UPPER, MIDDLE], np.int64)
        self._trunk = len(weights.trunk)
        self._width = width = len(weights.heads.weight) // channels
        sizes = [layer.weight.shape[1] for layer in (*weights.trunk, weights.heads)]
        self._single: list[NumpyArray] = [np.ones((rows, size + 1), np.float32) for size in sizes]
        self._exact: list[NumpyArray] = [np.ones((rows, size + 1)) for size in sizes]
        self._hidden = [np.ones((rows, width + channel + 1)) for channel in range(channels)]
        outputs = [len(layer.weight) for layer in weights.outputs]
        self.parameters = [np.empty((rows, size)) for size in outputs]
        self.references = np.empty((channels, rows), np.int64)
        self.levels = np.empty((channels, rows), np.int64)
        shapes = [len(layer.weight) for layer in (*weights.trunk, weights.heads)]
        self._totals: list[NumpyArray] = [np.empty((rows, size)) for size in shapes]
        self._single_totals: list[NumpyArray] = [np.empty((rows, size), np.float32) for size in shapes]
        self._scales = [2.0 ** -float(_shift(layer)) for layer in (*weights.trunk, weights.heads)]
        self._limits = [float(layer.limit) for layer in (*weights.trunk, weights.heads)]
        self._output_scales = [
            np.ldexp(1.0, -(layer.in_bits + layer.weight_bits - layer.out_bits)) for layer in weights.outputs
        ]
        self._output_limits = [float(layer.limit) for layer in weights.outputs]
        self._backward_scales = [2.0**-layer.weight_bits for layer in (*weights.trunk, weights.heads)]
        self._output_backward_scales = [2.0**-layer.weight_bits for layer in weights.outputs]
        self._head_total: NumpyArray = self._totals[-1]

    # Forwards

    def gather(self, canvas: Canvas, wave: Pixels, begin: int, end: int, row: int, features: NumpyArray) -> None:
        """Inputs and references of the pixels `begin` to `end` of a wavefront, in the rows from `row` on."""
        kernels.gather_inputs(
            canvas.flat,
            wave.indices,
            wave.cells,
            begin,
            end,
            row,
            canvas.offsets,
            self._settings,
            features,
            self._single[0],
            self._exact[0],
            self.references,
        )

    def trunk(self, parameters: Parameters, row: int, count: int) -> None:
        """From inputs to the heads' sums of rows; what heads see of earlier channels is set to nothing."""
        rows = slice(row, row + count)
        split = self._exact[self._trunk].shape[1] - self.channels
        self._single[self._trunk][rows, split:-1] = 0
        self._exact[self._trunk][rows, split:-1] = 0
        for number in range(self._trunk):
            total = self._product(parameters, number, rows)
            relu, kind = (
                (kernels.relu_single, np.float32) if total.dtype == np.float32 else (kernels.relu_double, np.float64)
            )
            scale, limit = kind(self._scales[number]), kind(self._limits[number])
            width = total.shape[1]
            relu(total, self._single[number + 1], self._exact[number + 1], row, count, width, scale, limit)
        self._head_total = self._product(parameters, self._trunk, rows)

    def _product(self, parameters: Parameters, number: int, rows: slice) -> NumpyArray:
        """A layer's sums of rows, in float32 where they are exact there."""
        if parameters.is_single[number]:
            weight, inputs, totals = parameters.single, self._single, self._single_totals
        else:
            weight, inputs, totals = parameters.exact, self._exact, self._totals
        total = totals[number][: rows.stop - rows.start]
        np.matmul(inputs[number][rows], weight[number].T, out=total)
        return total

    def channel(self, parameters: Parameters, channel: int, row: int, count: int) -> NumpyArray:
        """The parameters of a channel of rows, (count, outputs); the channels before are known."""
        number = self._trunk
        kernels.head_layer(
            self._head_total,
            parameters.exact[number],
            self._exact[number],
            self._hidden[channel],
            row,
            count,
            channel,
            self._width,
            self._scales[number],
            self._limits[number],
        )
        out = self.parameters[channel]
        rows = slice(row, row + count)
        np.matmul(self._hidden[channel][rows], parameters.exact[number + 1 + channel].T, out=out[rows])
        kernels.output_layer(out, row, count, self._output_scales[channel], self._output_limits[channel])
        return out[rows]

    def know(self, canvas: Canvas, wave: Pixels, begin: int, count: int, row: int) -> None:
        """Take the levels of pixels that the canvas holds."""
        column = self._exact[self._trunk].shape[1] - self.channels
        kernels.know_levels(
            canvas.flat,
            wave.indices,
            begin,
            count,
            row,
            self.gain,
            self.references,
            self.levels,
            column,
            self._single[self._trunk],
            self._exact[self._trunk],
        )

    def decoded(self, canvas: Canvas, wave: Pixels, begin: int, channel: int, row: int, levels: IntArray) -> None:
        """Take the levels of one channel of pixels from `begin` on, which the canvas gets."""
        column = self._exact[self._trunk].shape[1] - self.channels + channel
        kernels.set_channel(
            canvas.flat,
            wave.indices,
            begin,
            row,
            channel,
            self.gain,
            levels,
            self.references,
            self.levels,
            column if channel < self.channels - 1 else -1,
            self._single[self._trunk],
            self._exact[self._trunk],
        )

    # Backwards

    def backward(self, parameters: Parameters, count: int) -> None:
        """The gradients of all weights, of -ln p of the first `count` rows, whose levels are known."""
        heads = self._trunk
        width = self._width
        total = self._totals[heads][:count]
        for channel in range(self.channels):
            gradient = self.observation.gradient(
                self.parameters[channel][:count], self.references[channel, :count], self.levels[channel, :count]
            )
            number = heads + 1 + channel
            hidden = self._hidden[channel]
            np.matmul(gradient.T, hidden[:count], out=parameters.gradient[number])
            part = np.matmul(gradient, parameters.exact[number][:, :width])
            first = channel * width
            total[:, first : first + width] = part
            kernels.backward_layer(
                self._totals[heads], hidden, first, count, width, self._output_backward_scales[channel]
            )
        np.matmul(total.T, self._exact[heads][:count], out=parameters.gradient[heads])
        split = self._exact[heads].shape[1] - self.channels
        for channel in range(self.channels - 1):  # a head does not see its own channel or a later one
            parameters.gradient[heads][channel * width : (channel + 1) * width, split + channel : -1] = 0
        for number in range(heads - 1, -1, -1):
            below = self._totals[number][:count]
            inputs = below.shape[1]
            np.matmul(total, parameters.exact[number + 1][:, :inputs], out=below)
            kernels.backward_layer(
                self._totals[number], self._exact[number + 1], 0, count, inputs, self._backward_scales[number + 1]
            )
            np.matmul(below.T, self._exact[number][:count], out=parameters.gradient[number])
            total = below


def _shift(layer: Any) -> int:
    return int(layer.in_bits + layer.weight_bits - layer.out_bits[0])


def units_of(bounds: IntArray, least: int) -> IntArray:
    """Where the units of a wavefront begin, and their end: as few of its steps as have `least` pixels together."""
    ends = [0]
    for bound in bounds[1:].tolist():
        if bound - ends[-1] >= least:
            ends.append(bound)
    if ends[-1] != int(bounds[-1]):
        ends.append(int(bounds[-1]))
    return np.array(ends, np.int64)


class LearningCoder:
    """The pixels of strips under a pixel network that learns from each unit of them.

    A unit is as few steps of the wavefront as have `unit` pixels together; where the wavefront ends it is what is left.
    From unit 0, `stride`, 2 `stride`, ... the network learns, once its pixels are known: `parameters` move on. With a
    stride of 0 it does not learn.
    """

    def __init__(
        self, weights: PixelNetworkWeights, cell: int, parameters: Parameters, unit: int, stride: int = 1
    ) -> None:
        self.parameters = parameters
        self._weights = weights
        self._cell = cell
        self._unit = unit
        self._stride = stride

    def _network(self, ends: IntArray) -> UnitNetwork:
        return UnitNetwork(self._weights, int(np.diff(ends).max()))

    def _learn(self, network: UnitNetwork, number: int, pixels: int) -> None:
        if self._stride and number % self._stride == 0:
            network.backward(self.parameters, pixels)
            self.parameters.step(pixels)

    def _known(self, features: NumpyArray, x: Strips) -> Any:
        """For each unit of known pixels: its first pixel in the wavefront, and start and frequency of all its
        sub-pixels, channel after channel. The network learns from it afterwards."""
        wave, channels = x.wavefront(self._cell), self._weights.channels
        ends = units_of(wave.bounds, self._unit)
        network = self._network(ends)
        for number, begin in enumerate(ends[:-1].tolist()):
            end = int(ends[number + 1])
            count = end - begin
            network.gather(x.canvas, wave, begin, end, 0, features)
            network.trunk(self.parameters, 0, count)
            network.know(x.canvas, wave, begin, count, 0)
            parts = []
            for channel in range(channels):
                params = network.channel(self.parameters, channel, 0, count)
                references, levels = network.references[channel, :count], network.levels[channel, :count]
                parts.append(network.observation.intervals(params, references, levels))
            yield begin, parts
            self._learn(network, number, count)

    def push(self, message: Message, features: NumpyArray, x: Strips) -> None:
        """Push all pixels of x in one push, in the order of the wavefront. features: float32, of x's cells."""
        wave, channels = x.wavefront(self._cell), self._weights.channels
        total = len(wave.indices)
        starts, frequencies = np.empty(total * channels, np.int64), np.empty(total * channels, np.int64)
        popped = wave.popped(channels)
        for begin, parts in self._known(features, x):
            for channel, (begun, wide) in enumerate(parts):
                order = popped[channel, begin : begin + len(wide)]
                starts[order] = begun
                frequencies[order] = wide
        message.push(starts, frequencies, PRECISION)

    def lengths(self, features: NumpyArray, x: Strips) -> IntArray:
        """-log2 p of the pixels of each unit of x, (units,), in units of 2^-30 bits."""
        lengths = [
            sum(int(code_length(frequencies, PRECISION).sum()) for _, frequencies in parts)
            for _, parts in self._known(features, x)
        ]
        return np.array(lengths, np.int64)

    def pop(self, message: Message, features: NumpyArray, x: Strips) -> None:
        """Pop the pixels of x into its canvas. Raises EmptyMessage."""
        wave, channels, canvas = x.wavefront(self._cell), self._weights.channels, x.canvas
        ends = units_of(wave.bounds, self._unit)
        network, parameters = self._network(ends), self.parameters
        number, first, lane = 0, 0, 0
        for begin, end in zip(wave.bounds[:-1].tolist(), wave.bounds[1:].tolist(), strict=True):
            row, count = begin - first, end - begin
            network.gather(canvas, wave, begin, end, row, features)
            network.trunk(parameters, row, count)
            for channel in range(channels):
                params = network.channel(parameters, channel, row, count)
                levels = network.observation.pop(message, lane, params, network.references[channel, row : row + count])
                lane = (lane + count) % message.lanes
                network.decoded(canvas, wave, begin, channel, row, levels)
            if end == int(ends[number + 1]):
                self._learn(network, number, end - first)
                number, first = number + 1, end
