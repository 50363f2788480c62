"""What the users of one item played too: the collaborative baseline, which hears nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from soundalike.evaluation.recommenders.base import Numbers, Recommender, Task, refuse_unknown_items
from soundalike.types import FloatArray


class ItemItem(Recommender):
    """An item's score is the sum of its cosines with what the user played.

    The cosine of two items is that of their columns in the table of who played
    what. Scores are made user by user from that table: with X the table and Y the
    same with its columns scaled to unit length, those of user u are ``(Y[u] X^T) Y``,
    so that no table of items by items is needed.
    """

    key = "item-item"

    def fit(self, task: Task) -> dict[str, Any]:
        """Lay out who played what."""
        from scipy.sparse import csr_array

        split = task.split
        refuse_unknown_items(split, self.key, "nobody played them, so nobody's taste tells of them")
        train = split.train
        users = np.bincount(train.items, minlength=len(split.item_ids))
        values = (1 / np.sqrt(users[train.items])).astype(np.float32)
        places, shape = (train.users, train.items), (len(split.user_ids), len(split.item_ids))
        self._scaled = csr_array((values, places), shape=shape)
        self._played = csr_array((np.ones_like(values), places), shape=shape)
        return {}

    def scores(self, users: Numbers) -> FloatArray:
        """Sum the cosines."""
        by_users = (self._scaled[users] @ self._played.T).toarray()
        return np.ascontiguousarray((self._scaled.T @ by_users.T).T, dtype=np.float32)


RECOMMENDER = ItemItem
