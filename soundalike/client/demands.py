"""What neighbours are asked for, as it is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from soundalike.types import FloatArray

Example = str | Sequence[float] | FloatArray | Mapping[str, Any]
"""The id of an item, a vector, or `{"id" or "vector", "weight"}`."""


class Demands(TypedDict, total=False):
    """What else an answer is to be like; `docs/http.md` tells what each does.

    Attributes
    ----------
    positive, negative : sequence of Example
        What is liked beside the query, and what is disliked.
    filter : mapping
        What metadata must be like.
    exclude : sequence of str
        Ids to leave out.
    min_score : float
        The least cosine.
    diversity : float
        From 0, the nearest, to 1, variety.
    caps : mapping of str to int
        The most results with one value of a field of the metadata.
    collapse : float
        The cosine from which two results count as one.
    exact : bool
        Compare with every item.
    """

    positive: Sequence[Example]
    negative: Sequence[Example]
    filter: Mapping[str, Any]
    exclude: Sequence[str]
    min_score: float
    diversity: float
    caps: Mapping[str, int]
    collapse: float
    exact: bool


def plain(demands: Demands) -> dict[str, Any]:
    """Lay demands out for JSON."""
    laid_out: dict[str, Any] = {**demands}
    for name in ("positive", "negative"):
        if name in laid_out:
            laid_out[name] = [_plain_example(one) for one in laid_out[name]]
    return laid_out


def query(one: str | npt.ArrayLike) -> dict[str, Any]:
    """Lay out an id or a vector for JSON."""
    return {"id": one} if isinstance(one, str) else {"vector": _numbers(one)}


def _plain_example(one: Example) -> Any:
    if isinstance(one, Mapping):
        return {**one, **({"vector": _numbers(one["vector"])} if "vector" in one else {})}
    return one if isinstance(one, str) else _numbers(one)


def _numbers(vector: npt.ArrayLike) -> list[float]:
    listed: list[float] = np.asarray(vector, np.float32).tolist()
    return listed
