"""Queries as the bytes of an .npy file."""

from __future__ import annotations

import math
import re
import struct

import numpy as np
import numpy.typing as npt

from soundalike.errors import BadRequest

NPY = "application/x-npy"
LENGTHS = {b"\x93NUMPY\x01\x00": struct.Struct("<H"), b"\x93NUMPY\x02\x00": struct.Struct("<I")}
# numpy's own reader parses the text as Python, and falls over some that is none
HEADER = re.compile(
    rb"\{'descr': '(?P<type>[<>]f[48])', 'fortran_order': (?P<order>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,18}(?:, ?\d{1,18}){0,31})?,?)\),? *\} *\n?"
)


def read_array(body: bytes) -> npt.NDArray[np.floating]:
    """Read one or two dimensions of floats; the header is checked before anything is made of it.

    Parameters
    ----------
    body : bytes
        What `numpy.save` writes of an array of float32 or float64.

    Returns
    -------
    ndarray of float32 or float64, shape (D,) or (Q, D)
        A view of the body.

    Raises
    ------
    BadRequest
        It is no such file, or there are bytes too few or too many.
    """
    shape, fortran_order, dtype, begin = _header(body)
    if len(shape) not in (1, 2) or min(shape) < 1:
        raise BadRequest(f"The array is of shape {list(shape)}; send one of (D,) or (Q, D).")
    expected = begin + math.prod(shape) * dtype.itemsize
    if len(body) != expected:
        raise BadRequest(
            f"The body has {len(body)} bytes; by its header it should have {expected}.",
            expected=expected,
            got=len(body),
        )
    numbers: npt.NDArray[np.floating] = np.frombuffer(body, dtype, offset=begin)
    return numbers.reshape(shape, order="F" if fortran_order else "C")


def _header(body: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    """Read shape, order, type, and where the numbers begin."""
    length = LENGTHS.get(body[:8])
    begin = 8 + (length.size if length else 0)
    if length and len(body) >= begin:
        end = begin + length.unpack(body[8:begin])[0]
        if found := HEADER.fullmatch(body[begin:end]):
            shape = tuple(int(one) for one in found["shape"].split(b",") if one)
            return shape, found["order"] == b"True", np.dtype(found["type"].decode()), end
    raise BadRequest("The body is no .npy file of float32 or float64, as numpy.save writes it.")
