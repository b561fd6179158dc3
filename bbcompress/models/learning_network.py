"""The pixel network of a `local` model while it learns: units of pixels forwards, their gradients backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from bbcompress.coder.ans import Message
from bbcompress.coder.ans_kernels import Words
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.blas import products
from bbcompress.exact.distributions import PRECISION
from bbcompress.exact.lattice_kernels import pop_restricted
from bbcompress.exact.lattices import Restriction
from bbcompress.exact.learning import LearningLayer, Parameters
from bbcompress.exact.mixture import LogisticMixture, mixture_tables
from bbcompress.exact.mixture_kernels import mixture_gradient, mixture_intervals, pop_mixture
from bbcompress.exact.tables import IntArray, code_length
from bbcompress.models import learning_kernels as kernels
from bbcompress.models.neighbourhood import LEFT, UPPER
from bbcompress.models.pixel_network import BINARY_GAIN, MIDDLE, PixelNetworkWeights
from bbcompress.models.strips import Canvas, Pixels, Strips
from bbcompress.models.unit_kernels import backward_rows, forward_rows, interval_rows, pop_rows
from bbcompress.system.team import Team
from bbcompress.system.threads import threads

NumpyArray = np.ndarray[Any, Any]

LEAST_ROWS = 32
"""Fewest pixels of a unit, or of a step, that a thread of several works on."""

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
        self._blas = products() if isinstance(weights.observation, LogisticMixture) else None
        """Where the compiled loops find products; None where numpy's `matmul` stands between others."""
        self._trunk = len(weights.trunk)
        self._width = width = len(weights.heads.weight) // channels
        layers = (*weights.trunk, weights.heads)
        self._widths = [weights.trunk[0].weight.shape[1], *(len(layer.weight) for layer in weights.trunk)]
        """Inputs of each layer of the trunk, and of the heads without the earlier channels."""
        self._flat_inputs, self._inputs = _matrices(rows, [size + 1 for size in self._widths], np.float32)
        """The same, each with the input of the biases."""
        self._single_sums = np.empty((rows, channels * width), np.float32)
        self._heads_sums = np.empty((rows, channels * width))
        """The heads' sums, without earlier channels."""
        self._hidden = np.empty((channels, rows, width + channels))
        """What each channel's own layer takes: hidden outputs, earlier channels, 1."""
        self._seen = np.zeros((rows, channels))
        """Known channels less their references; heads and outputs see the earlier ones."""
        outputs = len(weights.outputs[0].weight)
        self._parameters = np.empty((channels, rows, outputs))
        self.references = np.empty((channels, rows), np.int64)
        self.levels = np.empty((channels, rows), np.int64)
        self._scales = np.ldexp(1.0, [-_shift(layer) for layer in layers])
        self._limits = np.array([float(layer.limit) for layer in layers])
        self._output_scales = np.array(
            [np.ldexp(1.0, -(layer.in_bits + layer.weight_bits - layer.out_bits)) for layer in weights.outputs]
        )
        self._output_limits = np.array([float(layer.limit) for layer in weights.outputs])
        self._backward_scales = np.ldexp(1.0, [-layer.weight_bits for layer in layers])
        self._output_backward_scales = np.ldexp(1.0, [-layer.weight_bits for layer in weights.outputs])
        self._by_parameters = np.empty((rows, outputs))
        self._by_hidden = np.empty((channels, rows, width))
        """Room for gradients: by outputs, by hidden outputs, and by the sums of trunk and heads."""
        self._flat_sums, self._by_sums = _matrices(rows, [*self._widths[1:], channels * width], np.float64)
        self._doubles = np.empty((rows, max(self._widths) + channels))
        outputs_of = [total.shape[1] for total in self._by_sums]
        places = zip(self._widths, outputs_of, _begins(self._inputs), _begins(self._by_sums), strict=True)
        self._layers = np.array(list(places), np.int64)
        """Of each of these layers inputs and outputs, and where its arrays begin."""

    # Forwards

    def forward(
        self,
        parameters: Parameters,
        canvas: Canvas,
        wave: Pixels,
        begin: int,
        end: int,
        row: int,
        features: NumpyArray,
    ) -> None:
        """From the canvas to the heads' sums of the pixels `begin` to `end` of a wavefront, from `row` on."""
        places = (begin, end, canvas.offsets, self._settings, features)
        if self._blas is None:
            kernels.gather_inputs(canvas.flat, wave.indices, wave.cells, *places, self._inputs[0], self.references, row)
            self._trunk_of(parameters, row, end - begin)
            return
        forward_rows(
            canvas.flat,
            wave.indices,
            wave.cells,
            *places,
            row,
            self.references,
            self._blas,
            self._layers,
            parameters.begins,
            parameters.is_single,
            parameters.largest,
            self._scales,
            self._limits,
            parameters.flat_exact,
            parameters.flat_single,
            self._flat_inputs,
            self._flat_sums,
            self._doubles,
            self._single_sums,
            self._heads_sums,
        )

    def know(self, canvas: Canvas, wave: Pixels, begin: int, row: int, count: int) -> None:
        """Take the levels of pixels from `begin` on that the canvas holds, in the rows from `row` on."""
        kernels.know_levels(
            canvas.flat, wave.indices, begin, row, count, self._gain, self.references, self.levels, self._seen
        )

    def _trunk_of(self, parameters: Parameters, row: int, count: int) -> None:
        """From inputs to the heads' sums of rows."""
        rows = slice(row, row + count)
        for number in range(self._trunk):
            x, out = self._inputs[number][rows], self._inputs[number + 1]
            scale, limit, outputs = float(self._scales[number]), float(self._limits[number]), self._widths[number + 1]
            if parameters.is_single[number]:
                np.matmul(x, parameters.single[number].T, out=out[rows, :outputs])
                kernels.relu_single(out, row, count, outputs, np.float32(scale), np.float32(limit))
            else:
                total = x.astype(np.float64) @ parameters.exact[number].T
                kernels.relu_double(total, row, scale, limit, out)
        heads, inputs = self._trunk, self._widths[-1]
        x, weight = self._inputs[-1][rows, :inputs], parameters.exact[heads].T
        if parameters.is_single[heads]:
            np.matmul(x, parameters.single[heads].T[:inputs], out=self._single_sums[rows])
            self._heads_sums[rows] = self._single_sums[rows]
        else:
            np.matmul(x.astype(np.float64), weight[:inputs], out=self._heads_sums[rows])
        self._heads_sums[rows] += weight[-1]

    def _hide(self, parameters: Parameters, begin: int, end: int, row: int, count: int) -> None:
        """What the layers of the channels `begin` to `end` take, from the heads' sums of rows."""
        heads = self._trunk
        kernels.hidden_layer(
            self._heads_sums,
            parameters.exact[heads].T[self._widths[-1] : -1],
            self._seen,
            row,
            count,
            begin,
            end,
            float(self._scales[heads]),
            float(self._limits[heads]),
            self._hidden,
        )

    def _of_channels(self, parameters: Parameters, blas: IntArray, row: int, count: int) -> tuple[Any, ...]:
        """What the compiled loops over channels take first."""
        return (
            blas,
            self._layers,
            parameters.begins,
            parameters.flat_exact,
            self._heads_sums,
            self._seen,
            row,
            count,
            float(self._scales[-1]),
            float(self._limits[-1]),
            self._hidden,
            self._parameters,
            self._output_scales,
            self._output_limits,
            self.references,
            self.levels,
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
        kernels.output_layer(out, row, count, self._output_scales[channel], float(self._output_limits[channel]))
        return out[row : row + count]

    def intervals(
        self,
        parameters: Parameters,
        row: int,
        count: int,
        starts: Words,
        frequencies: Words,
        order: IntArray,
        restriction: Restriction | None,
        begin: int,
    ) -> None:
        """Start and frequency of all sub-pixels of rows, whose inputs and levels are there, to where `order`
        (C, all rows) says. restriction: of the wavefront's pixels, of which row 0 has the one at `begin`."""
        rows, first = slice(row, row + count), 0
        if self._blas is not None:
            first = self.channels - (restriction is not None)
            loops = self._of_channels(parameters, self._blas, row, count)
            interval_rows(*loops, first, *mixture_tables(), starts, frequencies, order)
        self._hide(parameters, first, self.channels, row, count)
        for channel in range(first, self.channels):
            references, levels = self.references[channel, rows], self.levels[channel, rows]
            params, places = self._outputs(parameters, channel, row, count), order[channel, rows]
            if restriction is not None and channel == self.channels - 1:
                colours = restriction.rows(self.levels[0, rows], self.levels[1, rows], begin + row)
                found = self._mixture.intervals_within(params, references, levels, colours, restriction.allowed)
            else:
                found = self.observation.intervals(params, references, levels)
            starts[places], frequencies[places] = found

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
        """Pop the pixels of a step of a wavefront, whose heads' sums are there, into the canvas: the next lane.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        count, first = end - begin, 0
        if self._blas is not None:
            first = self.channels - (restriction is not None)
            loops = self._of_channels(parameters, self._blas, row, count)
            canvas_places = (self._gain, canvas.flat, wave.indices, begin)
            message.pop_with(pop_rows, first * count, lane, *loops, *canvas_places, *mixture_tables())
            lane = (lane + first * count) % message.lanes
        for channel in range(first, self.channels):
            self._hide(parameters, channel, channel + 1, row, count)
            params = self._outputs(parameters, channel, row, count)
            references = self.references[channel, row : row + count]
            if restriction is not None and channel == self.channels - 1:
                rows = restriction.rows(self.levels[0, row : row + count], self.levels[1, row : row + count], begin)
                symbols = self._mixture.pop_within(message, lane, params, references, rows, restriction.allowed)
            else:
                symbols = self.observation.pop(message, lane, params, references)
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

    def backward(self, parameters: Parameters, row: int, count: int, part: int) -> None:
        """The gradients of all weights, of -ln p of rows, whose levels are known, as those of a part of the unit."""
        if self._blas is not None:
            backward_rows(
                self._blas,
                self._layers,
                parameters.begins,
                parameters.flat_exact,
                row,
                count,
                self._parameters,
                self.references,
                self.levels,
                *mixture_tables(),
                self._seen,
                self._hidden,
                self._by_parameters,
                self._by_hidden,
                self._flat_inputs,
                self._flat_sums,
                self._doubles,
                self._backward_scales,
                self._output_backward_scales,
                parameters.flat_gradients[part],
            )
            return
        gradients = parameters.gradients[part]
        heads, width, channels, rows = self._trunk, self._width, self.channels, slice(row, row + count)
        for channel in range(channels):
            by_params = self.observation.gradient(
                self._parameters[channel, rows], self.references[channel, rows], self.levels[channel, rows]
            )
            number = heads + 1 + channel
            weight = parameters.exact[number].T
            np.matmul(self._hidden[channel, rows, : len(weight)].T, by_params, out=gradients[number].T)
            np.matmul(by_params, weight[:width].T, out=self._by_hidden[channel, rows])
        kernels.backward_heads(
            self._by_hidden, self._hidden, row, count, self._output_backward_scales, self._by_sums[heads]
        )
        for number in range(heads, -1, -1):
            inputs, total = self._widths[number], self._by_sums[number][rows]
            x = self._doubles[rows, : parameters.exact[number].shape[1]]
            x[:, :inputs] = self._inputs[number][rows, :inputs]
            x[:, inputs:-1] = self._seen[rows, : x.shape[1] - inputs - 1]  # by the heads
            x[:, -1] = 1.0
            np.matmul(x.T, total, out=gradients[number].T)
            if number:
                by_inputs = self._by_sums[number - 1]
                np.matmul(total, parameters.exact[number].T[:inputs].T, out=by_inputs[rows])
                kernels.backward_layer(
                    by_inputs, self._inputs[number], row, count, float(self._backward_scales[number])
                )
        by_seen = gradients[heads].T[self._widths[-1] : -1]
        for channel in range(channels - 1):  # a head does not see its own channel or a later one
            by_seen[channel, : (channel + 1) * width] = 0


def _matrices(rows: int, columns: Sequence[int], dtype: type[np.floating[Any]]) -> tuple[NumpyArray, list[NumpyArray]]:
    """A flat array of ones, and matrices in it, one after the other."""
    flat, ends = np.ones(rows * sum(columns), dtype), np.cumsum([0, *columns]) * rows
    return flat, [flat[begin:end].reshape(rows, -1) for begin, end in pairwise(ends)]


def _begins(matrices: Sequence[NumpyArray]) -> list[int]:
    """Where such matrices begin in their flat array."""
    return [0, *accumulate(matrix.size for matrix in matrices)][:-1]


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
        for loop in (mixture_gradient, mixture_intervals, pop_mixture):
            loop.expect(int(ends[-1]))
        if self._restriction is not None:
            pop_restricted.expect(256 * int(ends[-1]))  # each symbol goes through all levels
        return UnitNetwork(self._weights, int(np.diff(ends).max()))

    @contextmanager
    def _team(self, size: int) -> Iterator[Team]:
        """So many threads, or fewer, that share the rows of each unit, and of each of its steps."""
        with Team(size, exact_arithmetic) as team:
            if self._stride:
                self.parameters.expect_parts(team.size)
            yield team

    def _learns_from(self, number: int) -> bool:
        """Whether a unit is one to learn from. Where the network does not learn, several coders may share their
        parameters."""
        return self._stride > 0 and number % self._stride == 0

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
        wave, parameters, restriction = x.wavefront(self._cell), self.parameters, self._restriction
        ends = units_of(wave.bounds, self._unit)
        steps = np.searchsorted(wave.bounds, ends).tolist()
        network = self._network(ends)

        def work(begin: int, places: IntArray, learns: bool, part: int, first: int, last: int) -> None:
            """On a part of the unit from `begin` on: its rows from `first` to `last`."""
            network.forward(parameters, x.canvas, wave, begin + first, begin + last, first, features)
            network.know(x.canvas, wave, begin + first, first, last - first)
            network.intervals(parameters, first, last - first, starts, frequencies, places, restriction, begin)
            if learns:
                network.backward(parameters, first, last - first, part)

        with self._team(threads()) as team:
            for number, begin in enumerate(ends[:-1].tolist()):
                pixels, learns = int(ends[number + 1]) - begin, self._learns_from(number)
                places, shares = order(slice(steps[number], steps[number + 1])), team.shares(pixels, LEAST_ROWS)
                team.run([partial(work, begin, places, learns, part, *rows) for part, rows in enumerate(shares)])
                if learns:
                    parameters.step(pixels, len(shares), team)
                if progress is not None:
                    progress(pixels)

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
        number, unit, lane = 0, 0, 0

        def prepare(begin: int, first: int, last: int) -> None:
            """A part of the step from `begin` on: its pixels from `first` to `last`."""
            row = begin - unit + first
            network.forward(parameters, x.canvas, wave, begin + first, begin + last, row, features)

        def learn(part: int, first: int, last: int) -> None:
            """From a part of a unit."""
            network.backward(parameters, first, last - first, part)

        # without learning there is too little between two hand-overs
        with self._team(threads() if self._stride else 1) as team:
            for begin, end in zip(wave.bounds[:-1].tolist(), wave.bounds[1:].tolist(), strict=True):
                team.run([partial(prepare, begin, *rows) for rows in team.shares(end - begin, LEAST_ROWS)])
                lane = network.pop(
                    parameters, message, lane, x.canvas, wave, begin, end, begin - unit, self._restriction
                )
                if end == int(ends[number + 1]):
                    if self._learns_from(number):
                        shares = team.shares(end - unit, LEAST_ROWS)
                        team.run([partial(learn, part, *rows) for part, rows in enumerate(shares)])
                        parameters.step(end - unit, len(shares), team)
                    if progress is not None:
                        progress(end - unit)
                    number, unit = number + 1, end
