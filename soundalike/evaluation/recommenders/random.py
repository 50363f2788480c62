"""Lists drawn by lot: what any other recommender must beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from soundalike.evaluation.recommenders.base import Numbers, Recommender, Task
from soundalike.types import FloatArray


class Random(Recommender):
    """Scores drawn by the seed and the user, each independent of all others."""

    key = "random"

    def fit(self, task: Task) -> dict[str, Any]:
        """Learn nothing."""
        self._seed, self._items = task.seed, len(task.split.item_ids)
        return {}

    def scores(self, users: Numbers) -> FloatArray:
        """Draw scores, the same ones for a user each time."""
        return np.stack([self._of(int(user)) for user in users])

    def _of(self, user: int) -> FloatArray:
        return np.random.default_rng([self._seed, user]).random(self._items, dtype=np.float32)


RECOMMENDER = Random
