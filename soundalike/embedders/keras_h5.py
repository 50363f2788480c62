"""Weights as Keras keeps them in HDF5, read without Keras and without following any link.

A file may be as it is, or compressed as a whole with gzip or bzip2.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

SUFFIXES = (".h5", ".h5.gz", ".h5.bz2")
OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
MOST_BYTES = 1 << 30  # several times the largest model there is in this form
# what the libraries raise of a file that is not what it seems
FAULTS = (
    AttributeError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    UnicodeError,
    zlib.error,
)
BROKEN = "is broken or was cut off"


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of every layer, in the order that the file gives the layers.

    Parameters
    ----------
    path : Path
        A file that ends in one of `SUFFIXES`.

    Returns
    -------
    dict of str to Tensor of float32
        As they were written, under ``<number>.<layer>.<weight>``: ``"001.conv2d_1.kernel"``.
        The number, which counts layers with weights from 0, keeps their order in any
        container.

    Raises
    ------
    ValueError
        The file is broken, holds no layers, or would lead to other files; the text goes on
        from its name.
    """
    import h5py
    import torch

    try:
        with h5py.File(io.BytesIO(_content(path)), "r") as file:
            found = {name: torch.from_numpy(values) for name, values in _arrays(file)}
    except FAULTS as error:
        raise ValueError(BROKEN) from error
    return found


def _content(path: Path) -> bytes:
    opener = OPENERS.get(path.suffix, open)
    with opener(path, "rb") as stream:
        content: bytes = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError("holds more than any model of this kind")
    return content


def _arrays(file: Any) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]:
    left_bytes = MOST_BYTES
    layers = (_own(file, name) for name in _names(file, "layer_names"))
    weighted = (layer for layer in layers if _names(layer, "weight_names"))
    for number, layer in enumerate(weighted):
        for name in _names(layer, "weight_names"):
            dataset = _own(layer, name)
            # before anything of it is read: a few bytes can promise any number of zeros
            left_bytes -= dataset.nbytes
            if dataset.dtype.kind != "f" or left_bytes < 0:
                raise ValueError("holds what are no weights")
            kind = name.rpartition("/")[2].partition(":")[0]
            title = layer.name.strip("/").replace(".", "_")
            yield f"{number:03}.{title}.{kind}", dataset[()].astype(np.float32)


def _names(group: Any, attribute: str) -> list[str]:
    if attribute not in group.attrs:
        raise ValueError("is not a file of weights as Keras writes them")
    return [
        name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[attribute]
    ]


def _own(group: Any, path: str) -> Any:
    """Go down a path of names that are this file's own, and no links to anywhere else."""
    import h5py

    for name in path.strip("/").split("/"):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError("leads to other files, or lacks what it lists")
        group = group[name]
    if isinstance(group, h5py.Dataset) and (group.is_virtual or group.external):
        raise ValueError("leads to other files, or lacks what it lists")
    return group
