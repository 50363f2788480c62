"""The same list for everybody: what most users played."""

from __future__ import annotations

from typing import Any

import numpy as np

from soundalike.evaluation.recommenders.base import Numbers, Recommender, Task
from soundalike.types import FloatArray


class Popularity(Recommender):
    """An item's score is how many users played it in the training period."""

    key = "popularity"

    def fit(self, task: Task) -> dict[str, Any]:
        """Count users."""
        counts = np.bincount(task.split.train.items, minlength=len(task.split.item_ids))
        self._counts = counts.astype(np.float32)
        return {}

    def scores(self, users: Numbers) -> FloatArray:
        """Give every user the same scores."""
        return np.tile(self._counts, (len(users), 1))


RECOMMENDER = Popularity
