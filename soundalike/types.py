"""What is passed from room to room: numpy and the standard library alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

SPACE_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Clip:
    """Decoded audio.

    Attributes
    ----------
    samples : ndarray of float32, shape (channels, samples)
        Amplitudes, full scale being [-1, 1].
    sample_rate : int
        In Hz.
    format : str
        The container as it was found, for example ``"WAV"``.
    source_channels : int
        How many channels the source had, before any mixing down.
    truncated : bool
        True where the source promised more than it held.
    clipped : float
        Share of the source's samples at or beyond full scale, in [0, 1].
    """

    samples: FloatArray
    sample_rate: int
    format: str = "RAW"
    source_channels: int = 1
    truncated: bool = False
    clipped: float = 0.0

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return float(self.samples.shape[1] / self.sample_rate)


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of a clip that goes through a model in one piece.

    Attributes
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes at the embedder's rate.
    start_s, end_s : float
        Where it lies in the clip, in seconds.
    """

    samples: FloatArray
    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Frames:
    """An embedding per time step.

    Attributes
    ----------
    values : ndarray of float32, shape (T, D)
        One row a time step.
    rate_hz : float
        Rows a second.
    weights : ndarray of float64, shape (T,), optional
        Seconds of sound behind each row, where rows are not worth the same.
    """

    values: FloatArray
    rate_hz: float
    weights: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """The identity of an embedding space.

    Two vectors may be compared if and only if their spaces are equal.

    Attributes
    ----------
    embedder : str
        Key of the embedder.
    digest : str
        The first 12 hexadecimal digits of the SHA-256 of the recipe.
    """

    embedder: str
    digest: str

    def __str__(self) -> str:
        return f"{self.embedder}/{self.digest}"

    @classmethod
    def of(cls, embedder: str, recipe: Mapping[str, Any]) -> Space:
        """Name the space that a recipe makes.

        Parameters
        ----------
        embedder : str
            Key of the embedder.
        recipe : mapping
            Everything that moves the numbers, JSON-serialisable.

        Returns
        -------
        Space
        """
        text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(f"{embedder}\n{text}".encode()).hexdigest()
        return cls(embedder, digest[:SPACE_DIGITS])


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be recommended.

    Attributes
    ----------
    id : str
        Unique within its collection.
    vector : ndarray of float32, shape (D,)
        As it was given, not normalised.
    metadata : dict
        A JSON object.
    """

    id: str
    vector: FloatArray
    metadata: dict[str, Any] = field(default_factory=dict)


class Neighbour(NamedTuple):
    """One item of an answer.

    Attributes
    ----------
    id : str
        The item.
    score : float
        Cosine of the item's vector and the query's, in [-1, 1].
    metadata : dict
        The item's metadata.
    rank_score : float, optional
        What results fall by, where that is not the score.
    same : tuple of (str, float), optional
        Where near duplicates count as one, the ids and scores of this one's.
    """

    id: str
    score: float
    metadata: dict[str, Any]
    rank_score: float | None = None
    same: tuple[tuple[str, float], ...] | None = None
