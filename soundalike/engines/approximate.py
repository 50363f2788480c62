"""What engines that do not read every row have in common.

Each indexes unique vectors alone, measures on them how much it has to look at,
and keeps its index in one file that processes share.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from soundalike.engines.base import NO_ROW, RECALL_TARGET, Engine, Rows
from soundalike.engines.calibration import RECALL_AT, Sample, calibrate
from soundalike.engines.groups import Groups
from soundalike.engines.locality import by_nearness
from soundalike.types import FloatArray


class ApproximateEngine(Engine):
    """Finds most of the neighbours without reading every row.

    A subclass says how an index is made, written, mapped and asked.
    """

    exact = False
    least_effort: ClassVar[int]
    samples_spared: ClassVar[int]
    """How many rows of the sample may turn up in the searches that calibrate; with none they are
    the last that the index takes in."""

    def __init__(self, index: Any, groups: Groups, effort: int, recall: float) -> None:
        self._index = index
        self._groups = groups
        self.effort = effort
        self.recall = recall

    @classmethod
    def build(
        cls, vectors: FloatArray, *, recall_target: float = RECALL_TARGET, threads: int = 1
    ) -> Self:
        """Index the unique vectors and measure the effort; see `Engine.build`."""
        groups = Groups.of(vectors)
        unique = groups.unique(vectors)
        sample = Sample(unique, cls.spare)
        order = by_nearness(unique)
        if not cls.samples_spared:
            order = np.concatenate([order[~np.isin(order, sample.rows)], sample.rows])
        index = cls._make(unique, order, len(sample.rows), threads)
        named = np.append(order, NO_ROW)

        def search(queries: FloatArray, effort: int) -> Rows:
            wanted = RECALL_AT + cls.spare + cls.samples_spared
            nearest, _ = cls._nearest(index, queries, wanted, effort)
            return named[nearest]

        most = cls._most_effort(groups.count)
        effort, recall = calibrate(
            search, sample, recall_target, least=min(cls.least_effort, most), most=most
        )
        cls._complete(index, unique, order)
        return cls(index, groups.numbered(order), effort, recall)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the index and the groups; see `Engine.save`."""
        self._write(self._index, folder)
        self._groups.save(folder)
        return {"effort": self.effort, "recall": self.recall, "unique": self._groups.count}

    @classmethod
    def open(cls, folder: Path, vectors: FloatArray, facts: dict[str, Any]) -> Self:
        """Map the index and the groups; see `Engine.open`."""
        index = cls._map(folder, facts["unique"], vectors.shape[1])
        groups = Groups.open(folder, len(vectors), facts["unique"])
        return cls(index, groups, facts["effort"], facts["recall"])

    def with_effort(self, effort: int) -> Self:
        """Give an engine over the same index; see `Engine.with_effort`."""
        return type(self)(self._index, self._groups, effort, self.recall)

    def search(self, queries: FloatArray, k: int) -> tuple[Rows, FloatArray]:
        """Find the nearest rows of each query; see `Engine.search`."""
        k = min(k, self._groups.rows)
        groups, scores = self._nearest(
            self._index, queries, min(k, self._groups.count), self._effort_for(k)
        )
        return self._groups.expand(groups, scores, k)

    def _effort_for(self, k: int) -> int:
        """Give the effort of a search: from ten rows on in proportion to what is wanted of them."""
        return self.effort * max(k - self.spare, RECALL_AT) // RECALL_AT

    @classmethod
    @abstractmethod
    def _make(cls, vectors: FloatArray, order: Rows, spared: int, threads: int) -> Any:
        """Make an index over unique vectors, which it numbers in the order given.

        The last `spared` it may leave out; then it is to be completed.
        """

    @classmethod
    @abstractmethod
    def _complete(cls, index: Any, vectors: FloatArray, order: Rows) -> None:
        """Take what is missing into an index; it is not searched meanwhile."""

    @classmethod
    @abstractmethod
    def _most_effort(cls, count: int) -> int:
        """Say from which effort on an index of so many vectors looks at all of them."""

    @classmethod
    @abstractmethod
    def _nearest(
        cls, index: Any, queries: FloatArray, k: int, effort: int
    ) -> tuple[Rows, FloatArray]:
        """Find the nearest vectors of each query; as `search`, but by the numbers of the index."""

    @classmethod
    @abstractmethod
    def _write(cls, index: Any, folder: Path) -> None:
        """Write an index, or raise an OSError that tells why not by its number."""

    @classmethod
    @abstractmethod
    def _map(cls, folder: Path, count: int, dim: int) -> Any:
        """Map an index of so many vectors, or raise `DamagedIndex`."""
