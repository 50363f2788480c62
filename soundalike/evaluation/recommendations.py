"""Recommenders tried out on a divided log: what their lists are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from soundalike.datasets.listening import Numbers
from soundalike.errors import BadRequest
from soundalike.evaluation import ranking
from soundalike.evaluation.metrics import Doubles
from soundalike.evaluation.ranking import KS, METRICS, NO_ITEM, Lists, Relevant
from soundalike.evaluation.recommenders import Recommender, Task
from soundalike.evaluation.splits import Pairs, Split

METRIC_KS = {
    "own": "a figure at k is that of the first k",
    "published": "a figure at any k is that of the first 50, as in the paper's own code",
}
OWN_K, PUBLISHED_K = METRIC_KS
PUBLISHED_PLACES = 50
MODES = {"test": "the half of the users that models are judged by", "val": "the other half"}
BLOCK_SCORES = 1 << 24


@dataclass(frozen=True, slots=True)
class Worth:
    """What the lists of one recommender are worth.

    Attributes
    ----------
    of_users : dict of str to dict of int to ndarray of float64, shape (U,)
        By metric and k, one figure a user.
    overall : dict of str to dict of int to float
        Coverage, popularity and novelty, by k.
    ties : dict of int to int
        By k, how many lists could as well have had another item in their last place.
    places : dict of int to int
        By k, of how many first places the figures are, as `places` says.
    """

    of_users: dict[str, dict[int, Doubles]]
    overall: dict[str, dict[int, float]]
    ties: dict[int, int]
    places: dict[int, int]


@dataclass(frozen=True, slots=True)
class Result:
    """One row of a table.

    Attributes
    ----------
    model, embedding : str
    options : dict
        All options of the model.
    notes : dict
        What it tells of its training.
    worth : Worth or None
        None where it could not be tried.
    reason : str
        Why it could not be.
    vectors : str or None
        The fingerprint of the items' vectors.
    """

    model: str
    embedding: str
    options: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    worth: Worth | None = None
    reason: str = ""
    vectors: str | None = None


def places(ks: Sequence[int], metric_k: str = OWN_K) -> dict[int, int]:
    """Tell of how many first places the figures at every k are.

    Raises
    ------
    BadRequest
        There is no such way, or a k is below 1.
    """
    if metric_k not in METRIC_KS:
        raise BadRequest(f"There is no way '{metric_k}' of k; there are {', '.join(METRIC_KS)}.")
    if not ks or min(ks) < 1:
        raise BadRequest("How long lists are (k) is 1 or more.")
    return {k: PUBLISHED_PLACES if metric_k == PUBLISHED_K else k for k in ks}


def users_of(split: Split, mode: str) -> Numbers:
    """Choose the users of a mode.

    Raises
    ------
    BadRequest
        There is no such mode, or nobody is left.
    """
    if mode not in MODES:
        raise BadRequest(f"There is no mode '{mode}'; there are {', '.join(MODES)}.")
    users = split.test if mode == "test" else split.validation
    if not len(users):
        raise BadRequest(f"There are no users for mode '{mode}'; the log is too small.")
    return users


def held_of(pairs: Pairs, users: Numbers) -> Relevant:
    """Lay out the items of users' pairs."""
    begins = np.searchsorted(pairs.users, users, side="left")
    ends = np.searchsorted(pairs.users, users, side="right")
    places = [np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)]
    starts = np.concatenate([[0], np.cumsum(ends - begins)])
    return Relevant(pairs.items[np.concatenate(places)], starts)


def recommend(model: Recommender, split: Split, users: Numbers, k: int) -> Lists:
    """Make the lists of users, a block of them at a time.

    Parameters
    ----------
    model : Recommender
        That has learned the split.
    split : Split
    users : ndarray of int64, shape (U,)
    k : int

    Returns
    -------
    Lists
        By the places of the split's items.
    """
    candidates = split.candidates
    begin = candidates.indices(len(split.item_ids))[0]
    rows = max(1, BLOCK_SCORES // len(split.item_ids))
    parts = []
    for block in np.array_split(users, -(-len(users) // rows)):
        scores = model.scores(block)
        if split.bars_seen:
            _bar(scores, held_of(split.train, block))
        parts.append(ranking.best(scores[:, candidates], k))
    items = np.concatenate([part.items for part in parts])
    shifted = np.where(items == NO_ITEM, NO_ITEM, items + begin)
    return Lists(shifted, np.concatenate([part.ties for part in parts]))


def _bar(scores: ranking.Scores, seen: Relevant) -> None:
    scores[np.repeat(np.arange(len(scores)), seen.counts), seen.items] = -np.inf


def measure(lists: Lists, split: Split, users: Numbers, of: Mapping[int, int]) -> Worth:
    """Measure lists.

    Parameters
    ----------
    lists : Lists
        Of these users, as long as the largest number of places.
    split : Split
    users : ndarray of int64, shape (U,)
    of : mapping of int to int
        By k, of how many first places its figures are.

    Returns
    -------
    Worth

    Raises
    ------
    BadRequest
        A list holds an item twice, or one that the user has played before.
    """
    if split.bars_seen and ranking.hits(lists.items, held_of(split.train, users)).any():
        raise BadRequest("A list recommends what the user has played before.")
    relevant = held_of(split.held, users)
    hit = ranking.hits(lists.items, relevant)
    counts = relevant.counts
    candidates = len(range(*split.candidates.indices(len(split.item_ids))))
    known = np.bincount(split.train.items, minlength=len(split.item_ids))
    well_known = {
        k: ranking.popularity(lists.items, known, len(split.user_ids), n) for k, n in of.items()
    }
    return Worth(
        of_users={
            name: {k: metric.of(hit, counts, n) for k, n in of.items()}
            for name, metric in METRICS.items()
        },
        overall={
            "coverage": {k: ranking.coverage(lists.items, candidates, n) for k, n in of.items()},
            "popularity": {k: of_k[0] for k, of_k in well_known.items()},
            "novelty": {k: of_k[1] for k, of_k in well_known.items()},
        },
        ties={k: int(np.count_nonzero(lists.ties[:, n - 1])) for k, n in of.items()},
        places=dict(of),
    )


def chance(split: Split, users: Numbers, of: Mapping[int, int]) -> dict[str, dict[int, Doubles]]:
    """Give what lists drawn by lot are worth on average, exactly, by metric and k."""
    everything = np.arange(len(split.item_ids))[split.candidates]
    candidates = np.full(len(users), len(everything))
    if split.bars_seen:
        seen = held_of(split.train, users)
        inside = np.isin(seen.items, everything)
        candidates -= np.add.reduceat(inside.astype(np.int64), seen.starts[:-1])
    counts = held_of(split.held, users).counts
    of_k = {k: ranking.chance(candidates, counts, n) for k, n in of.items()}
    return {name: {k: of_k[k][name] for k in of} for name in METRICS}


def try_out(
    model: Recommender,
    task: Task,
    mode: str = "test",
    ks: Sequence[int] = KS,
    metric_k: str = OWN_K,
) -> tuple[Worth, dict[str, Any]]:
    """Teach a recommender and measure it.

    Returns
    -------
    worth : Worth
    notes : dict
        What the recommender tells of its training.

    Raises
    ------
    BadRequest
        It cannot learn this task, or its lists are no lists.
    """
    of = places(ks, metric_k)
    users = users_of(task.split, mode)
    notes = model.fit(task)
    lists = recommend(model, task.split, users, max(of.values()))
    return measure(lists, task.split, users, of), notes
