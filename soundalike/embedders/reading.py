"""Files of weights, read so that nothing in them is ever run, and written as safetensors."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundalike.embedders import keras_h5, pickles
from soundalike.errors import Quarantined
from soundalike.types import FloatArray

if TYPE_CHECKING:
    import torch

SAFE_SUFFIX = ".safetensors"
NESTED = "state_dict"  # under which some files hold their table of weights
WOULD_RUN = "would run code when opened, or is broken"


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read a file of weights.

    Returns
    -------
    dict of str to Tensor
        On the CPU, by name.

    Raises
    ------
    Quarantined
        The file is broken, or holds a pickle that would run code.
    """
    if path.suffix == SAFE_SUFFIX:
        state = _read_safetensors(path)
    elif path.name.endswith(keras_h5.SUFFIXES):
        state = _read_keras(path)
    elif path.suffix == pickles.SUFFIX:
        state = _read_networks(path)
    else:
        state = _read_pickle(path)
    if not state:
        raise unusable(path, "holds no weights")
    return state


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise unusable(path, "is broken or was cut off") from error


def read_arrays(path: Path) -> dict[str, FloatArray]:
    """Read a file of safetensors without torch.

    Returns
    -------
    dict of str to ndarray of float32
        By name, whatever their precision in the file.

    Raises
    ------
    Quarantined
        The file is broken, or holds what numpy has no type for.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return {name: array.astype(np.float32) for name, array in load_file(path).items()}
    except (SafetensorError, AttributeError, KeyError) as error:  # numpy lacks some types
        raise unusable(path, "is broken or was cut off") from error


def _read_keras(path: Path) -> dict[str, torch.Tensor]:
    try:
        return keras_h5.read(path)
    except ValueError as error:
        raise unusable(path, str(error)) from error


def _read_networks(path: Path) -> dict[str, torch.Tensor]:
    try:
        return pickles.read(path)
    except pickle.UnpicklingError as error:
        raise unusable(path, WOULD_RUN) from error
    except ValueError as error:
        raise unusable(path, str(error)) from error


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise unusable(path, WOULD_RUN) from error
    except Exception as error:  # a spoilt pickle raises whatever its own bytes lead torch to
        raise unusable(path, "is broken or was cut off") from error
    if isinstance(content, dict) and isinstance(content.get(NESTED), dict):
        content = content[NESTED]  # what a training run left beside it is not looked at
    if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
        raise unusable(path, "is not a plain table of weights")
    return dict(content)


def unusable(path: Path, what: str) -> Quarantined:
    """Make the fault that says why a file of weights cannot be used."""
    return Quarantined(
        f"'{path}' {what}; remove it and bring the weights again from a source you trust.",
        file=path.name,
        why=what,
    )


def save(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write weights as safetensors.

    Raises
    ------
    OSError
        They cannot be written; its number tells a full disk from the rest.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # tensors that share memory are refused, so each gets its own
    own = {name: tensor.clone().contiguous() for name, tensor in state.items()}
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(own, path, metadata={"format": "pt"})
        path.chmod(mode)  # the library makes a file that its owner alone can read
    except SafetensorError as error:
        code = errno.ENOSPC if f"os error {errno.ENOSPC}" in str(error) else errno.EIO
        raise OSError(code, str(error), str(path)) from error
