"""Arrays in files, of which it is known what they must be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from soundalike.errors import DamagedIndex

Number = TypeVar("Number", bound=np.generic)


def header(dtype: type[np.generic], shape: tuple[int, ...]) -> bytes:
    """Give what an .npy file of an array in C order begins with."""
    described = np.lib.format.dtype_to_descr(np.dtype(dtype))
    begin = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        begin, {"descr": described, "fortran_order": False, "shape": shape}
    )
    return begin.getvalue()


def open_array(path: Path, dtype: type[Number], shape: tuple[int, ...]) -> npt.NDArray[Number]:
    """Map the array of an .npy file that `header` and the numbers were written to.

    numpy's own reader parses the header as Python, where two threads at once make CPython 3.11
    fail now and then. Here it is compared with what it has to be.

    Returns
    -------
    ndarray of `dtype`, shape `shape`
        A plain array over the mapping: numpy's own class makes every access dearer.

    Raises
    ------
    DamagedIndex
        The file is another, or cannot be read.
    """
    wanted = header(dtype, shape)
    try:
        with path.open("rb") as file:
            alike = file.read(len(wanted)) == wanted
            mapped = np.memmap(file, dtype, "r", len(wanted), shape) if alike else None
    except (OSError, ValueError) as error:
        raise DamagedIndex(f"{path} cannot be read: {error}.") from error
    if mapped is None:
        raise DamagedIndex(f"{path} is no array of {np.dtype(dtype)} of shape {shape}.")
    return mapped.view(np.ndarray)
