"""madmom's pickled networks, read without running anything of what they name.

A pickle names classes and functions, and whoever opens it trustingly runs
them. Here each name has to stand in a short list, and all but numpy's are
answered with a stand-in that does nothing and keeps what it is given.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from soundalike.types import FloatArray

if TYPE_CHECKING:
    import torch

SUFFIX = ".pkl"
STAND_INS = {
    ("madmom.ml.nn", "NeuralNetwork"),
    ("madmom.ml.nn.layers", "BidirectionalLayer"),
    ("madmom.ml.nn.layers", "LSTMLayer"),
    ("madmom.ml.nn.layers", "Gate"),
    ("madmom.ml.nn.layers", "Cell"),
    ("madmom.ml.nn.layers", "FeedForwardLayer"),
    ("madmom.ml.nn.activations", "sigmoid"),
    ("madmom.ml.nn.activations", "tanh"),
}
DIRECTIONS = ("fwd_layer", "bwd_layer")
GATES = ("input_gate", "forget_gate", "cell", "output_gate")
PEEPHOLES = ("input_gate", "forget_gate", "output_gate")
BROKEN = "is broken, or holds other networks than madmom's"


class StandIn:
    """What takes the place of a class or function of madmom's."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Answer a name of the list, and refuse any other.

        Raises
        ------
        UnpicklingError
        """
        if (module, name) in STAND_INS:
            return StandIn
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.ndarray.__reduce__(np.empty(0))[0]  # wherever this numpy keeps it
        raise pickle.UnpicklingError(f"names {module}.{name}, which is not madmom's")


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read the networks of a file.

    Parameters
    ----------
    path : Path
        Pickles of networks of one shape, one after the other.

    Returns
    -------
    dict of str to Tensor of float32
        Of each layer n of N networks, in D directions: ``layers.n.weights`` (N, D, inputs,
        4 units), ``layers.n.recurrent`` (N, D, units, 4 units) and ``layers.n.bias`` (N, D,
        4 units), the gates in the order of `GATES`; ``layers.n.peepholes`` (N, D, 3, units), in
        that of `PEEPHOLES`; and of the last one ``output.weights`` (N, inputs, 1) and
        ``output.bias`` (N, 1).

    Raises
    ------
    UnpicklingError
        The file names what is not in the list.
    ValueError
        It is broken, or holds something else.
    """
    import torch

    try:
        with path.open("rb") as file:
            arrays = [_arrays(network) for network in _networks(file)]
        stacked = {name: np.stack([one[name] for one in arrays]) for name in arrays[0]}
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # broken pickles raise whatever they like
        raise ValueError(BROKEN) from error
    return {name: torch.from_numpy(array) for name, array in stacked.items()}


def _networks(file: BinaryIO) -> list[Any]:
    networks = []
    size = file.seek(0, 2)
    file.seek(0)
    while file.tell() < size:
        # written by Python 2, whose strings of bytes are arrays' contents here
        networks.append(_Unpickler(file, encoding="latin-1").load())
    return networks


def _arrays(network: Any) -> dict[str, FloatArray]:
    """Name the arrays of a network; what was scratch space is left."""
    *layers, output = network.layers
    arrays = {
        "output.weights": np.asarray(output.weights, np.float32),
        "output.bias": np.asarray(output.bias, np.float32),
    }
    for number, layer in enumerate(layers):
        ways = [getattr(layer, direction) for direction in DIRECTIONS]
        prefix = f"layers.{number}"
        arrays[f"{prefix}.weights"] = np.stack([_joined(way, "weights") for way in ways])
        arrays[f"{prefix}.recurrent"] = np.stack(
            [_joined(way, "recurrent_weights") for way in ways]
        )
        arrays[f"{prefix}.bias"] = np.stack([_joined(way, "bias") for way in ways])
        arrays[f"{prefix}.peepholes"] = np.stack([_peepholes(way) for way in ways])
    return arrays


def _joined(layer: Any, name: str) -> FloatArray:
    parts = [np.asarray(getattr(getattr(layer, gate), name), np.float32) for gate in GATES]
    return np.concatenate(parts, axis=-1)


def _peepholes(layer: Any) -> FloatArray:
    parts = [getattr(layer, gate).peephole_weights for gate in PEEPHOLES]
    return np.stack([np.asarray(part, np.float32) for part in parts])
