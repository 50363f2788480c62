"""The interface of every engine: neighbours among arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from soundalike.types import FloatArray

Rows = npt.NDArray[np.int64]
NO_ROW = -1
RECALL_TARGET = 0.95


class Engine(ABC):
    """Finds the rows of a matrix that lie nearest to queries.

    An engine is immutable: it is built once from its vectors, or opened from
    a folder that one was saved to, and then only searched, by as many threads
    as like to.

    Attributes
    ----------
    name : str
        How a collection asks for it.
    exact : bool
        True where the answer is always right.
    recall : float
        Share of the ten nearest neighbours that it finds, as measured when it was built.
    effort : int
        How much it looks at in a search for up to ten rows, in its own unit:
        the higher, the slower and the surer. 0 where it is exact.
    rows_per_effort : float
        How many rows a scan for one query compares in the time that one unit of
        effort takes, as measured; it tells where a scan would be quicker.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    rows_per_effort: ClassVar[float] = 0.0
    recall: float
    effort: int

    @classmethod
    @abstractmethod
    def build(
        cls, vectors: FloatArray, *, recall_target: float = RECALL_TARGET, threads: int = 1
    ) -> Self:
        """Make an engine over vectors.

        Parameters
        ----------
        vectors : ndarray of float32, shape (N, D)
            Rows of unit length, N at least 1. The engine may keep a
            reference; they must not change afterwards.
        recall_target : float
            Share of the ten nearest neighbours to find, in (0, 1]; the least
            effort that finds it is measured.
        threads : int
            How many may build. With one the same vectors make the same
            engine, every time.

        Returns
        -------
        Engine
        """

    @abstractmethod
    def save(self, folder: Path) -> dict[str, Any]:
        """Write what is needed to open it again, but for the vectors.

        Parameters
        ----------
        folder : Path
            Gets the engine's own files.

        Returns
        -------
        dict
            JSON-serialisable facts that `open` wants back, among them
            `effort` and `recall`.

        Raises
        ------
        OSError
            The disk is full, or failed.
        """

    @classmethod
    @abstractmethod
    def open(cls, folder: Path, vectors: FloatArray, facts: dict[str, Any]) -> Self:
        """Map a saved engine into memory, which processes that do so share.

        Parameters
        ----------
        folder : Path
            What it was saved to. Its files must not change afterwards.
        vectors : ndarray of float32, shape (N, D)
            Those it was built over.
        facts : dict
            As `save` gave them.

        Raises
        ------
        DamagedIndex
            The files are not of this engine, these vectors and these facts,
            as far as can be seen from outside: damage within a file may crash
            the process, or show in wrong answers only.
        """

    @abstractmethod
    def with_effort(self, effort: int) -> Self:
        """Give an engine over the same index that looks at more, or at less."""

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
            Row numbers, by falling score; -1 where the engine found fewer.
            Of identical vectors the lower row numbers come first.
        scores : ndarray of float32, shape (Q, min(k, N))
            Cosines; -inf beside a row number of -1.
        """
