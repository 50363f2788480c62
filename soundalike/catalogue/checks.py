"""What comes into a catalogue is checked here, before anything is written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.rows import UnitVectors
from soundalike.errors import BadRequest, BadVector, SpaceMismatch
from soundalike.types import FloatArray

COLLECTION_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
MAX_ID_LENGTH = 512
MAX_FACT_LENGTH = 200
MAX_DIM = 65_536
MAX_K = 1000
MAX_PAGE = 1000
MAX_COMPARED = 500
MAX_PATH = 100
MAX_NESTING = 200  # of metadata; of an answer, in which it stands, 254 levels are written
INTEGERS = range(-(1 << 63), 1 << 64)  # that an answer can tell


def collection_name(name: str) -> None:
    """Refuse what cannot name a collection with `BadRequest`."""
    if not COLLECTION_NAME.fullmatch(name):
        raise BadRequest(
            "A collection's name is 1 to 64 of A-Z a-z 0-9 . _ - and does not start with a dot; "
            f"{name[:80]!r} is not."
        )


def fact(label: str, text: str | None) -> None:
    """Refuse a space, model or pooling that is no short line of text with `BadRequest`."""
    if text is not None and (not 1 <= len(text) <= MAX_FACT_LENGTH or UNPRINTABLE.search(text)):
        raise BadRequest(
            f"The {label} must be 1 to {MAX_FACT_LENGTH} characters without control characters."
        )


def in_range(label: str, value: int, most: int) -> None:
    """Refuse a number outside 1 to `most` with `BadRequest`."""
    if not 1 <= value <= most:
        raise BadRequest(f"{label} must be from 1 to {most}, not {value}.", limit=most, got=value)


def item_id(text: str) -> None:
    """Refuse what cannot identify an item with `BadRequest`."""
    if not 1 <= len(text) <= MAX_ID_LENGTH or UNPRINTABLE.search(text):
        raise BadRequest(
            f"An item's id is 1 to {MAX_ID_LENGTH} characters without control characters; "
            f"{text[:80]!r} is not.",
            limit=MAX_ID_LENGTH,
            got=len(text),
        )


def same_space(collection: str, own: str, said: str | None) -> None:
    """Refuse vectors that are said to be of another space with `SpaceMismatch`."""
    if said is not None and said != own:
        raise SpaceMismatch(
            f"The collection {collection!r} holds vectors of {own}, these are of {said}; "
            "embed the sound with the collection's own embedder.",
            expected=own,
            got=said,
        )


def metadata_text(owner: str, metadata: Mapping[str, Any]) -> str:
    """Write metadata as JSON.

    Raises
    ------
    BadRequest
        It holds what JSON cannot say, such as NaN, or what an answer could not, such as
        integers beyond 64 bits or nesting without end.
    """
    _can_be_answered(owner, metadata)
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError) as error:
        raise BadRequest(f"The metadata of item {owner!r} is not JSON: {error}.") from error
    return text


def _can_be_answered(owner: str, metadata: Mapping[str, Any]) -> None:
    level: list[Any] = [metadata]
    for _ in range(MAX_NESTING):
        inner: list[Any] = []
        for one in level:
            values = one.values() if isinstance(one, Mapping) else one
            for value in values:
                if isinstance(value, Mapping | list | tuple):
                    inner.append(value)
                elif isinstance(value, int) and value not in INTEGERS:
                    raise BadRequest(
                        f"The metadata of item {owner!r} has an integer beyond 64 bits."
                    )
        if not inner:
            return
        level = inner
    raise BadRequest(
        f"The metadata of item {owner!r} is nested more than {MAX_NESTING} deep.", limit=MAX_NESTING
    )


def vector(label: str, values: npt.ArrayLike, dim: int) -> FloatArray:
    """Make sure that a vector can be compared.

    Parameters
    ----------
    label : str
        What to call it in a fault, such as ``"item 'a'"``.
    values : array_like of numbers, shape (dim,)
        As it came in.
    dim : int
        The length it must have.

    Returns
    -------
    ndarray of float32, shape (dim,)

    Raises
    ------
    BadVector
        Of another shape, with NaN or infinity (also once rounded to float32),
        or all zeros.
    """
    array = _shaped(label, values, dim)
    if not np.isfinite(array).all() or not array.any():
        raise _useless(label, array)
    return array


def _shaped(label: str, values: npt.ArrayLike, dim: int) -> FloatArray:
    array = np.asarray(values)
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    if array.shape != (dim,):
        got = array.size if array.ndim == 1 else list(array.shape)
        raise BadVector(
            f"The vector of {label} has {got} numbers; the collection's have {dim}.",
            expected=dim,
            got=got,
        )
    return array


def _useless(label: str, array: FloatArray) -> BadVector:
    if array.any():
        return BadVector(f"The vector of {label} holds NaN or infinity.")
    return BadVector(f"The vector of {label} is all zeros, which points nowhere.")


def unit(label: str, values: npt.ArrayLike, dim: int) -> UnitVectors:
    """Make sure that a vector can be compared, as `vector` does, and scale it to length one.

    Returns
    -------
    ndarray of float64, shape (dim,)
    """
    array = _shaped(label, values, dim)
    wide = array.astype(np.float64)
    length = math.sqrt(wide.dot(wide))
    if not 0 < length < math.inf:  # one number tells of NaN, infinity and zeros alike
        raise _useless(label, array)
    wide /= length
    return wide


def stack(vectors: Sequence[UnitVectors], dim: int) -> UnitVectors:
    """Stack vectors into a matrix; of shape (0, dim) where there are none."""
    if len(vectors) == 1:  # most often, and ten times as quick
        return vectors[0][np.newaxis]
    return np.stack(vectors) if vectors else np.empty((0, dim))
