"""Vectors of items put together from several embeddings, each a block beside the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.errors import BadRequest
from soundalike.types import FloatArray

Flags: TypeAlias = npt.NDArray[np.bool_]

FLAG_WEIGHT = 0.1
"""What the number that tells whether a block is there counts, in shares of its block."""


class Source(Protocol):
    """Where a block comes from."""

    @property
    def ids(self) -> Sequence[str]:
        """Items that have one."""

    @property
    def dropped(self) -> int:
        """How many more there are whose values say nothing."""

    def rows(self, item_ids: Sequence[str], fitted_on: int) -> tuple[FloatArray, Flags]:
        """Give values, shape (M, D), zeros where there are none; and where there are some."""


@dataclass(frozen=True, slots=True)
class Part:
    """A block of an embedding, and what it counts."""

    name: str
    weight: float = 1.0


def parse(name: str) -> list[Part]:
    """Read the name of an embedding, such as ``"mert_768+0.5*lyrics_384"``.

    Raises
    ------
    BadRequest
        A weight is no positive number, or a block is named twice.
    """
    parts = [_part(text.strip()) for text in name.split("+")]
    if len({part.name for part in parts}) < len(parts):
        raise BadRequest(f"'{name}' names a block twice; give it one weight.")
    return parts


def _part(text: str) -> Part:
    weight, star, own = text.rpartition("*")
    try:
        part = Part(own.strip(), float(weight) if star else 1.0)
    except ValueError:
        raise BadRequest(f"'{weight}' is no weight; write a block as 0.5*name.") from None
    if not part.name or not 0 < part.weight < float("inf"):
        raise BadRequest(f"'{text}' is no block; write it as name or 0.5*name.")
    return part


def common(sources: Sequence[Source]) -> set[str]:
    """Find the items that all sources have."""
    return set.intersection(*(set(source.ids) for source in sources))


def join(
    parts: Sequence[Part], sources: Mapping[str, Source], item_ids: Sequence[str], fitted_on: int
) -> FloatArray:
    """Put blocks side by side.

    One block alone is taken as it is. Of several each is scaled to unit length and multiplied
    with its weight, so that none outweighs another by its units. Where items lack a block it is
    zeros, and one more number tells for all items whether it is there.

    Parameters
    ----------
    parts : sequence of Part
    sources : mapping of str to Source
        By the names of the parts.
    item_ids : sequence of str, length M
    fitted_on : int
        From how many items, from the first, a source may learn how to scale its values.

    Returns
    -------
    ndarray of float32, shape (M, D)

    Raises
    ------
    BadRequest
        No item has any of the blocks.
    """
    found = [sources[part.name].rows(item_ids, fitted_on) for part in parts]
    if not any(there.any() for _, there in found):
        raise BadRequest("No item of the log has a vector; are the ids the same?")
    scaled = len(parts) > 1
    columns = []
    for part, (values, there) in zip(parts, found, strict=True):
        columns.append(part.weight * unit(values) if scaled else values)
        if not there.all():
            columns.append(FLAG_WEIGHT * part.weight * there[:, np.newaxis])
    return np.concatenate(columns, axis=1).astype(np.float32)


def unit(rows: FloatArray) -> FloatArray:
    """Scale rows to unit length; those of zeros stay as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def fingerprint(vectors: FloatArray | None) -> str | None:
    """Name the content of vectors; None where there are none."""
    if vectors is None:
        return None
    return hashlib.sha256(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).hexdigest()[:16]
