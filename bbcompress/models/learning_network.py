"""The pixel network of a `local` model while it learns: units of pixels forwards, their gradients backwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ldexp
from typing import Any

import numpy as np

from bbcompress.coder.ans import Message
from bbcompress.coder.ans_kernels import Words
from bbcompress.exact.distributions import PRECISION
from bbcompress.exact.lattice_kernels import pop_restricted
from bbcompress.exact.lattices import Restriction
from bbcompress.exact.learning import LearningLayer, Parameters
from bbcompress.exact.mixture import LogisticMixture, mixture_tables
from bbcompress.exact.mixture_kernels import mixture_gradient
from bbcompress.exact.tables import IntArray, code_length
from bbcompress.models import learning_kernels as kernels
from bbcompress.models.neighbourhood import LEFT, UPPER
from bbcompress.models.pixel_network import BINARY_GAIN, MIDDLE, PixelNetworkWeights
from bbcompress.models.strips import Canvas, Pixels, Strips

NumpyArray = np.ndarray[Any, Any]

PUSHED = 1 << 16
"""About so many symbols are pushed at a time: what is wider for a push than it need be for keeping."""


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
    goes backwards. Between two matrix products there is one call of a compiled loop.
    """

    def __init__(self, weights: PixelNetworkWeights, rows: int) -> None:
        """rows: most pixels of a unit."""
        self.channels = channels = weights.channels
        self.observation = weights.observation
        self._gain = BINARY_GAIN if weights.binary else 1
        self._settings = np.array([int(weights.centred), self._gain, LEFT, UPPER, MIDDLE], np.int64)
        self._trunk = len(weights.trunk)
        self._width = width = len(weights.heads.weight) // channels
        layers = (*weights.trunk, weights.heads)
        self._widths = [weights.trunk[0].weight.shape[1], *(len(layer.weight) for layer in weights.trunk)]
        """Inputs of each layer of the trunk, and of the heads without the earlier channels."""
        self._inputs: list[NumpyArray] = [np.ones((rows, size + 1), np.float32) for size in self._widths]
        """The same, each with the input of the biases."""
        self._single_sums = np.empty((rows, channels * width), np.float32)
        self._double_sums = np.empty((rows, channels * width))
        self._hidden = np.empty((channels, rows, width + channels))
        """What each channel's own layer takes: hidden outputs, earlier channels, 1."""
        self._seen = np.zeros((rows, channels))
        """Known channels less their references; heads and outputs see the earlier ones."""
        outputs = len(weights.outputs[0].weight)
        self._parameters = np.empty((channels, rows, outputs))
        self.references = np.empty((channels, rows), np.int64)
        self.levels = np.empty((channels, rows), np.int64)
        self._scales = [ldexp(1.0, -_shift(layer)) for layer in layers]
        self._limits = [float(layer.limit) for layer in layers]
        self._output_scales = [
            np.ldexp(1.0, -(layer.in_bits + layer.weight_bits - layer.out_bits)) for layer in weights.outputs
        ]
        self._output_limits = [float(layer.limit) for layer in weights.outputs]
        self._backward_scales = [ldexp(1.0, -layer.weight_bits) for layer in layers]
        self._output_backward_scales = np.array([ldexp(1.0, -layer.weight_bits) for layer in weights.outputs])
        self._by_hidden = np.empty((channels, rows, width))
        """Room for gradients: by hidden outputs, by the heads' sums, by those of the layers of the trunk."""
        self._by_sums = [np.empty((rows, size)) for size in (*self._widths[1:], channels * width)]
        self._doubles = np.empty((rows, max(self._widths) + channels))

    # Forwards

    def gather(self, canvas: Canvas, wave: Pixels, begin: int, end: int, row: int, features: NumpyArray) -> None:
        """Inputs and references of the pixels `begin` to `end` of a wavefront, in the rows from `row` on."""
        kernels.gather_inputs(
            canvas.flat,
            wave.indices,
            wave.cells,
            begin,
            end,
            canvas.offsets,
            self._settings,
            features,
            self._inputs[0],
            self.references,
            row,
        )

    def know(self, canvas: Canvas, wave: Pixels, begin: int, count: int) -> None:
        """Take the levels of pixels from `begin` on that the canvas holds, in the first rows."""
        kernels.know_levels(
            canvas.flat, wave.indices, begin, count, self._gain, self.references, self.levels, self._seen
        )

    def trunk(self, parameters: Parameters, row: int, count: int) -> None:
        """From inputs to the heads' sums of rows, without earlier channels and biases."""
        rows = slice(row, row + count)
        for number in range(self._trunk):
            x, out = self._inputs[number][rows], self._inputs[number + 1]
            scale, limit, outputs = self._scales[number], self._limits[number], self._widths[number + 1]
            if parameters.is_single[number]:
                np.matmul(x, parameters.single[number].T, out=out[rows, :outputs])
                kernels.relu_single(out, row, count, outputs, np.float32(scale), np.float32(limit))
            else:
                total = x.astype(np.float64) @ parameters.exact[number].T
                kernels.relu_double(total, row, scale, limit, out)
        inputs = self._widths[-1]
        x = self._inputs[-1][rows, :inputs]
        if parameters.is_single[self._trunk]:
            np.matmul(x, parameters.single[self._trunk].T[:inputs], out=self._single_sums[rows])
        else:
            weight = parameters.exact[self._trunk].T[:inputs]
            np.matmul(x.astype(np.float64), weight, out=self._double_sums[rows])

    def hide(self, parameters: Parameters, begin: int, end: int, row: int, count: int) -> None:
        """What the layers of the channels `begin` to `end` take, from the heads' sums of rows."""
        number = self._trunk
        single = parameters.is_single[number]
        kernels.hidden_layer(
            self._single_sums if single else self._double_sums,
            (parameters.single if single else parameters.exact)[number].T,
            self._seen,
            row,
            count,
            begin,
            end,
            self._scales[number],
            self._limits[number],
            self._hidden,
        )

    def _sum(self, parameters: Parameters, channel: int, row: int, count: int) -> NumpyArray:
        """A channel's room for outputs, which holds the sums of its layer in rows."""
        weight, rows = parameters.exact[self._trunk + 1 + channel].T, slice(row, row + count)
        np.matmul(self._hidden[channel, rows, : len(weight)], weight, out=self._parameters[channel, rows])
        out: NumpyArray = self._parameters[channel]
        return out

    def _outputs(self, parameters: Parameters, channel: int, row: int, count: int) -> NumpyArray:
        """A channel's parameters of rows, (count, outputs)."""
        out = self._sum(parameters, channel, row, count)
        kernels.output_layer(out, row, count, self._output_scales[channel], self._output_limits[channel])
        return out[row : row + count]

    def intervals(
        self,
        parameters: Parameters,
        count: int,
        starts: Words,
        frequencies: Words,
        order: IntArray,
        restriction: Restriction | None,
        begin: int,
    ) -> None:
        """Start and frequency of all sub-pixels of the first rows, whose inputs and levels are there, to where `order`
        (C, count) says. restriction: of the wavefront's pixels, of which the rows are those from `begin` on."""
        self.trunk(parameters, 0, count)
        self.hide(parameters, 0, self.channels, 0, count)
        for channel in range(self.channels):
            places = order[channel]
            if restriction is not None and channel == self.channels - 1:
                params, levels = self._outputs(parameters, channel, 0, count), self.levels[:, :count]
                colours = restriction.rows(levels[0], levels[1], begin)
                starts[places], frequencies[places] = self._mixture.intervals_within(
                    params, self.references[channel, :count], levels[channel], colours, restriction.allowed
                )
            elif isinstance(self.observation, LogisticMixture):
                kernels.mixture_unit(
                    self._sum(parameters, channel, 0, count),
                    count,
                    channel,
                    self._output_scales[channel],
                    self._output_limits[channel],
                    self.references,
                    self.levels,
                    *mixture_tables(),
                    starts,
                    frequencies,
                    places,
                )
            else:
                params = self._outputs(parameters, channel, 0, count)
                references, levels = self.references[channel, :count], self.levels[channel, :count]
                starts[places], frequencies[places] = self.observation.intervals(params, references, levels)

    def pop(
        self,
        parameters: Parameters,
        message: Message,
        lane: int,
        canvas: Canvas,
        wave: Pixels,
        begin: int,
        end: int,
        row: int,
        restriction: Restriction | None,
    ) -> int:
        """Pop the pixels of a step of a wavefront, whose inputs are there, into the canvas: the next lane.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        count = end - begin
        self.trunk(parameters, row, count)
        for channel in range(self.channels):
            self.hide(parameters, channel, channel + 1, row, count)
            restricted = restriction is not None and channel == self.channels - 1
            if isinstance(self.observation, LogisticMixture) and not restricted:
                message.pop_with(
                    kernels.pop_step,
                    count,
                    lane,
                    self._sum(parameters, channel, row, count),
                    self._seen,
                    row,
                    channel,
                    self._output_scales[channel],
                    self._output_limits[channel],
                    self.references,
                    self.levels,
                    self._gain,
                    canvas.flat,
                    wave.indices,
                    begin,
                    *mixture_tables(),
                )
            else:
                params = self._outputs(parameters, channel, row, count)
                references = self.references[channel, row : row + count]
                if restriction is None or not restricted:
                    symbols = self.observation.pop(message, lane, params, references)
                else:
                    rows = restriction.rows(self.levels[0, row : row + count], self.levels[1, row : row + count], begin)
                    symbols = self._mixture.pop_within(message, lane, params, references, rows, restriction.allowed)
                kernels.set_channel(
                    canvas.flat,
                    wave.indices,
                    begin,
                    row,
                    channel,
                    self._gain,
                    symbols,
                    self.references,
                    self.levels,
                    self._seen,
                )
            lane = (lane + count) % message.lanes
        return lane

    @property
    def _mixture(self) -> LogisticMixture:
        assert isinstance(self.observation, LogisticMixture)
        return self.observation

    # Backwards

    def backward(self, parameters: Parameters, count: int) -> None:
        """The gradients of all weights, of -ln p of the first `count` rows, whose levels are known."""
        heads, width, channels, gradients = self._trunk, self._width, self.channels, parameters.gradient
        for channel in range(channels):
            by_params = self.observation.gradient(
                self._parameters[channel, :count], self.references[channel, :count], self.levels[channel, :count]
            )
            number = heads + 1 + channel
            weight = parameters.exact[number].T
            np.matmul(self._hidden[channel, :count, : len(weight)].T, by_params, out=gradients[number].T)
            np.matmul(by_params, weight[:width].T, out=self._by_hidden[channel, :count])
        kernels.backward_heads(
            self._by_hidden, self._hidden, self._output_backward_scales, self._by_sums[heads][:count]
        )
        for number in range(heads, -1, -1):
            inputs, total = self._widths[number], self._by_sums[number][:count]
            x = self._doubles[:count, : parameters.exact[number].shape[1]]
            x[:, :inputs] = self._inputs[number][:count, :inputs]
            x[:, inputs:-1] = self._seen[:count, : x.shape[1] - inputs - 1]  # by the heads
            x[:, -1] = 1.0
            np.matmul(x.T, total, out=gradients[number].T)
            if number:
                by_inputs = self._by_sums[number - 1][:count]
                np.matmul(total, parameters.exact[number].T[:inputs].T, out=by_inputs)
                kernels.backward_layer(by_inputs, self._inputs[number], self._backward_scales[number])
        by_seen = gradients[heads].T[self._widths[-1] : -1]
        for channel in range(channels - 1):  # a head does not see its own channel or a later one
            by_seen[channel, : (channel + 1) * width] = 0


def _shift(layer: Any) -> int:
    return int(layer.in_bits + layer.weight_bits - layer.out_bits[0])


def pays_for(pixels: int) -> bool:
    """Whether so many pixels more are worth loading the compiled loops; from then on all are."""
    return kernels.gather_inputs.pays_for(pixels)


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
        self,
        weights: PixelNetworkWeights,
        cell: int,
        parameters: Parameters,
        unit: int,
        stride: int = 1,
        restriction: Restriction | None = None,
    ) -> None:
        """restriction: of the colours of the wavefront's pixels, which then are those of one block."""
        self.parameters = parameters
        self._restriction = restriction
        self._weights = weights
        self._cell = cell
        self._unit = unit
        self._stride = stride

    def _network(self, ends: IntArray) -> UnitNetwork:
        for loop in (kernels.pop_step, mixture_gradient):
            loop.expect(int(ends[-1]))
        if self._restriction is not None:
            pop_restricted.expect(256 * int(ends[-1]))  # each symbol goes through all levels
        return UnitNetwork(self._weights, int(np.diff(ends).max()))

    def _learn(self, network: UnitNetwork, number: int, pixels: int) -> None:
        """Learn from a unit if it is one to learn from. Where the network does not learn, several coders may share
        their parameters."""
        if self._stride and number % self._stride == 0:
            network.backward(self.parameters, pixels)
            self.parameters.step(pixels)

    def _run(
        self,
        features: NumpyArray,
        x: Strips,
        starts: Words,
        frequencies: Words,
        order: Callable[[slice], IntArray],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Fill in start and frequency of all sub-pixels of known pixels, to where `order` says, (C, pixels) of steps of
        the wavefront, and learn from them."""
        wave = x.wavefront(self._cell)
        ends = units_of(wave.bounds, self._unit)
        steps = np.searchsorted(wave.bounds, ends).tolist()
        network = self._network(ends)
        for number, begin in enumerate(ends[:-1].tolist()):
            end = int(ends[number + 1])
            network.gather(x.canvas, wave, begin, end, 0, features)
            network.know(x.canvas, wave, begin, end - begin)
            of_unit = order(slice(steps[number], steps[number + 1]))
            network.intervals(self.parameters, end - begin, starts, frequencies, of_unit, self._restriction, begin)
            self._learn(network, number, end - begin)
            if progress is not None:
                progress(end - begin)

    def push(
        self, message: Message, features: NumpyArray, x: Strips, progress: Callable[[int], None] | None = None
    ) -> None:
        """Push all pixels of x, in the order of the wavefront.

        features: float32, of x's cells. progress: called with the number of pixels newly done.
        """
        wave, channels = x.wavefront(self._cell), self._weights.channels
        starts, frequencies = np.empty((2, len(wave.indices) * channels), np.uint32)
        self._run(features, x, starts, frequencies, partial(wave.popped, channels), progress)
        piece = message.lanes * (PUSHED // message.lanes)  # whole turns of the lanes: it is as one push
        for begin in reversed(range(0, len(starts), piece)):
            message.push(starts[begin : begin + piece], frequencies[begin : begin + piece], PRECISION)

    def lengths(self, features: NumpyArray, x: Strips) -> IntArray:
        """-log2 p of the pixels of each unit of x, (units,), in units of 2^-30 bits."""
        ends = units_of(x.wavefront(self._cell).bounds, self._unit)
        lengths: IntArray = np.add.reduceat(self.pixel_lengths(features, x), ends[:-1])
        return lengths

    def pixel_lengths(self, features: NumpyArray, x: Strips) -> IntArray:
        """-log2 p of each pixel of x in the order of the wavefront, (pixels,), in units of 2^-30 bits."""
        bounds, channels = x.wavefront(self._cell).bounds, self._weights.channels
        count = int(bounds[-1])
        starts, frequencies = np.empty((2, count * channels), np.uint32)

        def by_channel(steps: slice) -> IntArray:
            pixels: IntArray = np.arange(bounds[steps.start], bounds[steps.stop])
            return np.arange(channels)[:, None] * count + pixels

        self._run(features, x, starts, frequencies, by_channel)
        lengths: IntArray = code_length(frequencies.astype(np.int64), PRECISION).reshape(channels, count).sum(axis=0)
        return lengths

    def pop(
        self, message: Message, features: NumpyArray, x: Strips, progress: Callable[[int], None] | None = None
    ) -> None:
        """Pop the pixels of x into its canvas. progress: called with the number of pixels newly done. Raises
        EmptyMessage."""
        wave, parameters = x.wavefront(self._cell), self.parameters
        ends = units_of(wave.bounds, self._unit)
        network = self._network(ends)
        number, first, lane = 0, 0, 0
        for begin, end in zip(wave.bounds[:-1].tolist(), wave.bounds[1:].tolist(), strict=True):
            network.gather(x.canvas, wave, begin, end, begin - first, features)
            lane = network.pop(parameters, message, lane, x.canvas, wave, begin, end, begin - first, self._restriction)
            if end == int(ends[number + 1]):
                self._learn(network, number, end - first)
                if progress is not None:
                    progress(end - first)
                number, first = number + 1, end
