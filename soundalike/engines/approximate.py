"""What engines that do not read every row have in common.

Each indexes unique vectors alone, as narrow as they may be, measures on them how
much it has to look at, and keeps its index in one file that processes share.
What its index finds by rough scores is scored anew by the vectors themselves.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from soundalike.engines.base import NO_ROW, RECALL_TARGET, Engine, Rows
from soundalike.engines.calibration import RECALL_AT, Sample, calibrate
from soundalike.engines.groups import Groups
from soundalike.engines.locality import by_nearness
from soundalike.engines.narrowing import Narrowing
from soundalike.types import FloatArray


class ApproximateEngine(Engine):
    """Finds most of the neighbours without reading every row.

    A subclass says how an index is made, written, mapped and asked.
    """

    exact = False
    least_effort: ClassVar[int]
    rough: ClassVar[int]
    """How many rows more than are wanted to look at, where the index rounds."""
    samples_spared: ClassVar[int]
    """How many rows of the sample may turn up in the searches that calibrate; with none they are
    the last that the index takes in."""

    def __init__(
        self,
        index: Any,
        vectors: FloatArray,
        groups: Groups,
        narrowing: Narrowing,
        *,
        effort: int,
        recall: float,
    ) -> None:
        self._index = index
        self._vectors = vectors
        self._groups = groups
        self._narrowing = narrowing
        self.effort = effort
        self.recall = recall

    @classmethod
    def build(
        cls, vectors: FloatArray, *, recall_target: float = RECALL_TARGET, threads: int = 1
    ) -> Self:
        """Index the unique vectors and measure the effort; see `Engine.build`."""
        groups = Groups.of(vectors)
        unique = groups.unique(vectors)
        sample = Sample(unique)
        narrowing = Narrowing.of(unique, sample)
        narrow = narrowing.rows(unique)
        order = by_nearness(narrow)
        if not cls.samples_spared:
            order = np.concatenate([order[~np.isin(order, sample.rows)], sample.rows])
        index = cls._make(narrow, order, len(sample.rows), threads)
        named = np.append(order, NO_ROW)
        looked_at = RECALL_AT + cls._spare(narrowing, RECALL_AT)

        def recalls(effort: int) -> npt.NDArray[np.float64]:
            def search(queries: FloatArray) -> Rows:
                wanted = looked_at + cls.samples_spared
                return named[cls._nearest(index, narrowing.queries(queries), wanted, effort)[0]]

            return sample.recalls(search, looked_at)

        effort, recall = cls._most_effort(groups.count), 1.0
        if len(sample.rows):
            least = min(cls.least_effort, effort)
            effort, recall = calibrate(recalls, recall_target, least=least, most=effort)
        cls._complete(index, narrow, order)
        numbered = groups.numbered(order)
        return cls(index, vectors, numbered, narrowing, effort=effort, recall=recall)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write index, groups and narrowing; see `Engine.save`."""
        self._write(self._index, folder)
        self._groups.save(folder)
        self._narrowing.save(folder)
        return {
            "effort": self.effort,
            "recall": self.recall,
            "unique": self._groups.count,
            "width": self._narrowing.width,
        }

    @classmethod
    def open(cls, folder: Path, vectors: FloatArray, facts: dict[str, Any]) -> Self:
        """Map the index and the groups; see `Engine.open`."""
        dim = vectors.shape[1]
        narrowing = Narrowing.open(folder, dim, facts.get("width"))
        index = cls._map(folder, facts["unique"], narrowing.width or dim)
        groups = Groups.open(folder, len(vectors), facts["unique"])
        measured = {name: facts[name] for name in ("effort", "recall")}
        return cls(index, vectors, groups, narrowing, **measured)

    def with_effort(self, effort: int) -> Self:
        """Give an engine over the same index; see `Engine.with_effort`."""
        parts = self._index, self._vectors, self._groups, self._narrowing
        return type(self)(*parts, effort=effort, recall=self.recall)

    def search(self, queries: FloatArray, k: int) -> tuple[Rows, FloatArray]:
        """Find the nearest rows of each query; see `Engine.search`."""
        k = min(k, self._groups.rows)
        wanted, spare = min(k, self._groups.count), self._spare(self._narrowing, k)
        looked_at = min(k + spare, self._groups.count)
        effort = self.effort * max(k, RECALL_AT) // RECALL_AT
        asked = self._narrowing.queries(queries)
        groups, scores = self._nearest(self._index, asked, looked_at, effort)
        if spare:
            groups, scores = self._scored_anew(queries, groups, wanted)
        return self._groups.expand(groups, scores, k)

    @classmethod
    def _spare(cls, narrowing: Narrowing, k: int) -> int:
        """Tell how many more than `k` the index is to find, lest rough scores hide any of those."""
        return max(cls.rough, narrowing.spare(k))

    def _scored_anew(
        self, queries: FloatArray, groups: Rows, wanted: int
    ) -> tuple[Rows, FloatArray]:
        """Keep the nearest of each query by the vectors themselves."""
        kept = np.empty((len(queries), wanted), dtype=np.int64)
        scores = np.empty((len(queries), wanted), dtype=np.float32)
        for place, (query, found) in enumerate(zip(queries, groups, strict=True)):
            cosines = self._vectors.take(self._groups.first(found), axis=0) @ query
            if found[-1] == NO_ROW:
                cosines[found == NO_ROW] = -np.inf
            nearest = (-cosines).argsort(kind="stable")[:wanted]
            kept[place], scores[place] = found[nearest], cosines[nearest]
        return kept, scores

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
