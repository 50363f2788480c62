"""Items nearest to what a user played on average. There is nothing to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from soundalike.evaluation.blocks import unit
from soundalike.evaluation.recommenders.base import (
    Numbers,
    Options,
    Recommender,
    Task,
    choice,
    number,
)
from soundalike.evaluation.splits import Pairs
from soundalike.types import FloatArray

HALF_LIFE_ITEMS = 10


@dataclass(frozen=True, slots=True)
class KnnOptions(Options):
    """How a user's vector is made."""

    weight: str = choice(
        "none", "count", "log-count", "recency",
        help="what an item counts: the same, by its plays, by 1 + ln(plays), half for every ten "
        "items first played after it",
    )  # fmt: skip
    last: int = number(0, 0, "how many items count, the last first; 0 for all")
    normalise: str = choice("no", "yes", help="items of unit length before the mean")
    centre: str = choice("no", "yes", help="without the mean of the training period's items")


class Knn(Recommender):
    """An item's score is the cosine of its vector and the mean of the user's.

    The mean is over the distinct items of the training period, as the paper has it.
    """

    key = "knn"
    options_type = KnnOptions
    uses_vectors = True

    def fit(self, task: Task) -> dict[str, Any]:
        """Make the users' vectors."""
        options = cast(KnnOptions, self.options)
        items = task.needed_vectors(self.key).astype(np.float32)
        if options.centre == "yes":
            items = items - items[: task.split.warm].mean(axis=0)
        if options.normalise == "yes":
            items = unit(items)
        profiles = means(task.split.train, _weights(task.split.train, options), items)
        self._users = unit(profiles[: len(task.split.user_ids)])
        self._items = unit(items)
        return {}

    def scores(self, users: Numbers) -> FloatArray:
        """Give the cosines."""
        return self._users[users] @ self._items.T


def means(pairs: Pairs, weights: FloatArray, items: FloatArray) -> FloatArray:
    """Average the vectors of each user's items.

    Parameters
    ----------
    pairs : Pairs
        Of users from 0 on, each at least once.
    weights : ndarray of float32, shape (N,)
        What each pair counts.
    items : ndarray of float32, shape (I, D)

    Returns
    -------
    ndarray of float32, shape (U, D)
    """
    from scipy.sparse import csr_array

    shape = (int(pairs.users.max()) + 1, len(items))
    sums = csr_array((weights, (pairs.users, pairs.items)), shape=shape) @ items
    totals = np.bincount(pairs.users, weights)
    return np.asarray(sums / totals[:, np.newaxis], dtype=np.float32)


def _weights(pairs: Pairs, options: KnnOptions) -> FloatArray:
    """Tell what each pair counts."""
    starts = pairs.starts(int(pairs.users.max()) + 1)
    later = starts[pairs.users + 1] - 1 - np.arange(len(pairs.users))
    weights = {
        "none": np.ones(len(later)),
        "count": pairs.plays.astype(np.float64),
        "log-count": 1 + np.log(pairs.plays),
        "recency": 0.5 ** (later / HALF_LIFE_ITEMS),
    }[options.weight]
    if options.last:
        weights = np.where(later < options.last, weights, 0.0)
    return weights.astype(np.float32)


RECOMMENDER = Knn
