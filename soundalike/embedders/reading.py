"""Files of weights, read so that nothing in them is ever run, and written as safetensors."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.errors import Quarantined

if TYPE_CHECKING:
    import torch

SAFE_SUFFIX = ".safetensors"


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
    state = _read_safetensors(path) if path.suffix == SAFE_SUFFIX else _read_pickle(path)
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


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise unusable(path, "would run code when opened, or is broken") from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise unusable(path, "is broken or was cut off") from error
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
    try:
        save_file(own, path, metadata={"format": "pt"})
    except SafetensorError as error:
        code = errno.ENOSPC if f"os error {errno.ENOSPC}" in str(error) else errno.EIO
        raise OSError(code, str(error), str(path)) from error
