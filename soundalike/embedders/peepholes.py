"""Bidirectional LSTM networks with peepholes, several of one shape at a time, in numpy.

Gates that look at the cell, as madmom's do, are not in torch's own LSTM. All
networks and both directions go through a moment together, in one product of
matrices; what is computed there is so small that each call counts, and numpy's
calls take a fifth of the time of torch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.types import FloatArray

if TYPE_CHECKING:
    import torch

LAYERS = 3
UNITS = 25
GATES = 4  # of input and forgetting, the candidate, and the gate of output
DIRECTIONS = 2
MOMENTS_AT_ONCE = 1000
HALF = np.float32(0.5)


def make_layers(networks: int, inputs: int) -> torch.nn.Module:
    """Make what holds the weights, under the names that `pickles.read` gives them.

    Parameters
    ----------
    networks : int
        How many there are of one shape.
    inputs : int
        How many numbers they take of each moment.
    """
    from torch import empty
    from torch.nn import Module, ModuleList, Parameter

    def hold(**shapes: tuple[int, ...]) -> Module:
        holder = Module()
        for name, shape in shapes.items():
            holder.register_parameter(name, Parameter(empty(networks, *shape)))
        return holder

    whole = Module()
    both = DIRECTIONS * UNITS
    whole.layers = ModuleList(
        hold(
            weights=(DIRECTIONS, both if number else inputs, GATES * UNITS),
            recurrent=(DIRECTIONS, UNITS, GATES * UNITS),
            bias=(DIRECTIONS, GATES * UNITS),
            peepholes=(DIRECTIONS, 3, UNITS),
        )
        for number in range(LAYERS)
    )
    whole.output = hold(weights=(both, 1), bias=(1,))
    return whole


class Networks:
    """Networks of one shape, each with three layers that run both ways, and one answer.

    Parameters
    ----------
    filled : Module
        See `make_layers`.
    """

    def __init__(self, filled: Any) -> None:
        self._layers = [_Layer(layer) for layer in filled.layers]
        self._weights: FloatArray = filled.output.weights.numpy()
        self._bias: FloatArray = filled.output.bias.numpy()

    def hear(self, features: FloatArray) -> FloatArray:
        """Compute the mean of what the networks say.

        Parameters
        ----------
        features : ndarray of float32, shape (T, inputs)

        Returns
        -------
        ndarray of float32, shape (T, 1)
            In [0, 1].
        """
        heard = features[None]  # the same for all of them
        for layer in self._layers:
            heard = layer.hear(heard)
        answers = _sigmoid(heard @ self._weights + self._bias[:, None])
        mean: FloatArray = answers.mean(axis=0)
        return mean


class _Layer:
    """A layer of all networks; M stands for networks times directions.

    A sigmoid is half a tanh of half, so the three gates are halved in the weights already.
    """

    def __init__(self, layer: Any) -> None:
        halves = np.repeat(np.array([HALF, HALF, 1, HALF], np.float32), UNITS)
        self.weights: FloatArray = layer.weights.numpy() * halves
        self.bias: FloatArray = layer.bias.numpy() * halves
        self.recurrent: FloatArray = (layer.recurrent.numpy() * halves).reshape(
            -1, UNITS, 4 * UNITS
        )
        peepholes = layer.peepholes.numpy().reshape(-1, 3, UNITS) * HALF
        self.into_input_and_forgetting = np.ascontiguousarray(peepholes[:, :2].transpose(1, 0, 2))
        self.into_output = np.ascontiguousarray(peepholes[:, 2])

    def hear(self, heard: FloatArray) -> FloatArray:
        """Run from end to end both ways: (N or 1, T, inputs) in, (N, T, 50) out.

        What goes into the gates is computed for some moments at a time, since for all of them it
        would be four times what comes out.
        """
        networks, length = len(self.weights), heard.shape[1]
        answer = np.empty((networks, length, DIRECTIONS, UNITS), np.float32)
        cells = _Cells(self)
        for start in range(0, length, MOMENTS_AT_ONCE):
            end = min(length, start + MOMENTS_AT_ONCE)
            drives = self._drives(heard[:, start:end], heard[:, length - end : length - start])
            for moment, drive in enumerate(drives, start):
                both = cells.step(drive).reshape(networks, DIRECTIONS, UNITS)
                answer[:, moment, 0] = both[:, 0]
                answer[:, length - 1 - moment, 1] = both[:, 1]
        return answer.reshape(networks, length, DIRECTIONS * UNITS)

    def _drives(self, forward: FloatArray, backward: FloatArray) -> FloatArray:
        """Compute what moments themselves put into the gates, shape (moments, 4, M, units)."""
        ways = (forward, backward[:, ::-1])
        drives = [
            heard @ self.weights[:, way] + self.bias[:, way, None] for way, heard in enumerate(ways)
        ]
        gates = np.stack(drives, axis=1).reshape(-1, forward.shape[1], GATES, UNITS)
        return np.ascontiguousarray(gates.transpose(1, 2, 0, 3))


class _Cells:
    """What a layer remembers from one moment to the next.

    Its arrays are used over and over: a moment is computed in less time than new ones take.
    """

    def __init__(self, layer: _Layer) -> None:
        self._layer = layer
        many = len(layer.recurrent)
        self._output = np.zeros((many, 1, UNITS), np.float32)
        self._cell = np.zeros((many, UNITS), np.float32)
        self._recalled = np.empty((many, 1, GATES * UNITS), np.float32)
        # by gates first, without moving anything
        self._recalled_gates = self._recalled.reshape(many, GATES, UNITS).transpose(1, 0, 2)
        self._gates = np.empty((GATES, many, UNITS), np.float32)
        self._two = np.empty((2, many, UNITS), np.float32)

    def step(self, drive: FloatArray) -> FloatArray:
        """Go on by one moment.

        Parameters
        ----------
        drive : ndarray of float32, shape (4, M, units)
            What the moment itself puts into the gates.

        Returns
        -------
        ndarray of float32, shape (M, 1, units)
            The output, which the next step overwrites.
        """
        layer, cell, gates = self._layer, self._cell, self._gates
        np.matmul(self._output, layer.recurrent, out=self._recalled)
        np.add(self._recalled_gates, drive, out=gates)
        gates[:2] += np.multiply(layer.into_input_and_forgetting, cell, out=self._two)
        np.tanh(gates[:3], out=gates[:3])
        take, keep, candidate, show = gates
        gates[:2] *= HALF
        gates[:2] += HALF
        cell *= keep
        cell += np.multiply(take, candidate, out=candidate)
        show += np.multiply(layer.into_output, cell, out=candidate)
        np.tanh(show, out=show)
        show *= HALF
        show += HALF
        np.multiply(np.tanh(cell, out=candidate), show, out=self._output[:, 0])
        return self._output


def _sigmoid(values: FloatArray) -> FloatArray:
    answer: FloatArray = HALF + HALF * np.tanh(HALF * values)
    return answer
