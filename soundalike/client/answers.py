"""What the services answer, as the client gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundalike.types import FloatArray, Neighbour


@dataclass(frozen=True, slots=True)
class Embedding:
    """A vector and what it may be compared with.

    Attributes
    ----------
    model : str
        The embedder, with options that differ from its defaults.
    space : str
        Vectors may be compared where this is equal.
    vector : ndarray of float32, shape (D,)
    audio : dict
        What the sound was like: format, sample_rate, channels, seconds, and so on.
    """

    model: str
    space: str
    vector: FloatArray
    audio: dict[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Embedding:
        """Read the embedder's answer."""
        vector = np.asarray(told["vector"], np.float32)
        return cls(told["model"], told["space"], vector, told["audio"])


@dataclass(frozen=True, slots=True)
class TextEmbeddings:
    """The vectors of texts, one a row, and what they may be compared with."""

    model: str
    space: str
    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class Recommendation:
    """An answer of the recommender.

    Attributes
    ----------
    collection, space : str
        Where the neighbours were found.
    results : list of Neighbour
        Best first.
    exact : bool
        True where every vector was compared.
    recall : float or None
        The share of true neighbours that such answers hold, as last measured.
    """

    collection: str
    space: str
    results: list[Neighbour]
    exact: bool
    recall: float | None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Recommendation:
        """Read the recommender's answer to one query."""
        results = [_neighbour(one) for one in told["results"]]
        return cls(told["collection"], told["space"], results, told["exact"], told.get("recall"))


def _neighbour(told: Mapping[str, Any]) -> Neighbour:
    same = told.get("same")
    return Neighbour(
        told["id"],
        told["score"],
        told["metadata"],
        told.get("rank_score"),
        None if same is None else tuple((one["id"], one["score"]) for one in same),
    )
