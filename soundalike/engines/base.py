"""The interface of every engine: neighbours among arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from soundalike.types import FloatArray

Rows = npt.NDArray[np.int64]
NO_ROW = -1


class Engine(ABC):
    """Finds the rows of a matrix that lie nearest to queries.

    An engine is immutable: it is built once from its vectors and then only
    searched, by as many threads as like to.

    Attributes
    ----------
    name : str
        How a collection asks for it.
    exact : bool
        True where the answer is always right.
    recall : float
        Share of the true neighbours that it finds, as measured when it was built.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    recall: float

    @classmethod
    @abstractmethod
    def build(cls, vectors: FloatArray) -> Engine:
        """Make an engine over vectors.

        Parameters
        ----------
        vectors : ndarray of float32, shape (N, D)
            Rows of unit length, N at least 1. The engine may keep a
            reference; they must not change afterwards.

        Returns
        -------
        Engine
        """

    @abstractmethod
    def search(self, queries: FloatArray, k: int) -> tuple[Rows, FloatArray]:
        """Find the nearest rows of each query.

        Parameters
        ----------
        queries : ndarray of float32, shape (Q, D)
            Rows of unit length.
        k : int
            How many rows to find for each, at least 1.

        Returns
        -------
        rows : ndarray of int64, shape (Q, min(k, N))
            Row numbers, nearest first; -1 where the engine found fewer.
            Of identical vectors the lower row numbers come first.
        scores : ndarray of float32, shape (Q, min(k, N))
            Cosines, falling along each row; -inf beside a row number of -1.
        """
