"""What is wrong in a collection: it is looked at, and nothing of it is changed.

That two items are one recording is told only where two things prove it. A
cosine is never one of them: in many spaces different sounds come nearer to one
another than copies of one sound do. It proposes, and the fingerprints and
lengths of the sounds decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundalike.catalogue import checks
from soundalike.catalogue.base import Catalogue
from soundalike.catalogue.nearness import Hubs, Nearness, others
from soundalike.catalogue.survey import Survey
from soundalike.catalogue.told import CollectionInfo
from soundalike.types import Item, Neighbour

DEFAULT_K = 10
MOST_K = 100
DEFAULT_LIMIT = 100
MOST_LIMIT = 10_000

RECALL_QUERIES = 100
BYTES_A_NUMBER = 4


@dataclass(frozen=True, slots=True)
class Findings:
    """Something that was found.

    Attributes
    ----------
    count : int
        How often.
    listed : list
        The first of them.
    """

    count: int
    listed: list[Any]

    @classmethod
    def of(cls, found: Sequence[Any], limit: int) -> Findings:
        """Count what was found, and list some of it."""
        return cls(len(found), list(found[:limit]))


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the true k neighbours that so many single queries found; none where all is exact."""

    value: float
    queries: int
    k: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found in a collection.

    Attributes
    ----------
    collection, space, engine : str
    items, indexed, dim : int
    vector_bytes, metadata_bytes : int
        What vectors and metadata take, as they are stored.
    seconds : float
        Of sound, in all items that tell their length.
    recall : Recall
    exact_duplicates : Findings of Group
    near_duplicates : Findings of Pair
        Whose fingerprints and lengths agree.
    alike : Findings of Pair
        Of which that cannot be told, for want of fingerprints, and which are near and as long.
    hubs : Hubs
    silent : Findings of str
    constant : Findings of Constant
    without_source : Findings of str
        Whose metadata name neither `path` nor `url`.
    without_fingerprint : Findings of str
    """

    collection: str
    space: str
    engine: str
    items: int
    indexed: int
    dim: int
    vector_bytes: int
    metadata_bytes: int
    seconds: float
    recall: Recall
    exact_duplicates: Findings
    near_duplicates: Findings
    alike: Findings
    hubs: Hubs
    silent: Findings
    constant: Findings
    without_source: Findings
    without_fingerprint: Findings


def audit(
    catalogue: Catalogue, name: str, *, k: int = DEFAULT_K, limit: int = DEFAULT_LIMIT
) -> Audit:
    """Look for what is wrong in a collection.

    Parameters
    ----------
    catalogue : Catalogue
        Where it is.
    name : str
        The collection. What is written to it meanwhile may be seen or not.
    k : int
        How many neighbours of each item count, 1 to 100.
    limit : int
        How many of each kind are listed, 1 to 10,000; all are counted.

    Returns
    -------
    Audit

    Raises
    ------
    UnknownCollection
    BadRequest
        A number out of range.
    """
    checks.in_range("k", k, MOST_K)
    checks.in_range("limit", limit, MOST_LIMIT)
    info = catalogue.describe(name)
    survey, nearness = Survey(), Nearness(k)
    every = max(1, -(-info.count // RECALL_QUERIES))
    for page in _pages(catalogue, info.name):
        survey.add(page, every)
        answers = catalogue.recommend(info.name, [item.vector for item in page], k + 1)
        for item, answer in zip(page, answers, strict=True):
            nearness.add(item, answer.neighbours)
    recall = _recall(catalogue, info, survey.sample, k)
    return _told(info, survey, nearness, recall, limit)


def _pages(catalogue: Catalogue, name: str) -> Iterator[list[Item]]:
    after = ""
    while page := catalogue.page(name, after=after, limit=checks.MAX_PAGE):
        yield page
        after = page[-1].id


def _told(
    info: CollectionInfo, survey: Survey, nearness: Nearness, recall: Recall, limit: int
) -> Audit:
    groups, constant = survey.groups()
    near, alike = nearness.pairs(group.ids for group in groups)
    return Audit(
        collection=info.name,
        space=info.space,
        engine=info.engine,
        items=survey.items,
        indexed=info.indexed,
        dim=info.dim,
        vector_bytes=survey.items * info.dim * BYTES_A_NUMBER,
        metadata_bytes=survey.metadata_bytes,
        seconds=round(survey.seconds, 3),
        recall=recall,
        exact_duplicates=Findings.of(groups, limit),
        near_duplicates=Findings.of(near, limit),
        alike=Findings.of(alike, limit),
        hubs=nearness.hubs(limit),
        silent=Findings.of(survey.silent, limit),
        constant=Findings.of(constant, limit),
        without_source=Findings.of(survey.without_source, limit),
        without_fingerprint=Findings.of(survey.without_fingerprint, limit),
    )


def _recall(catalogue: Catalogue, info: CollectionInfo, sample: Sequence[Item], k: int) -> Recall:
    """Ask again, exactly; one by one, for many at once may be compared with every item anyway."""
    if info.exact:
        return Recall(1.0, 0, k)
    right = catalogue.recommend(info.name, [item.vector for item in sample], k + 1, exact=True)
    shares = []
    for item, answer in zip(sample, right, strict=True):
        (found,) = catalogue.recommend(info.name, [item.vector], k + 1)
        expected = others(item.id, answer.neighbours, k)
        shares.append(_share(others(item.id, found.neighbours, k), expected))
    return Recall(round(float(np.mean(shares)), 4), len(sample), k)


def _share(found: Sequence[Neighbour], right: Sequence[Neighbour]) -> float:
    """Count by rank and not by id, for of equal ones any may be found."""
    least = min(map(_rank, right), default=0.0)
    return sum(_rank(one) >= least for one in found) / len(right) if right else 1.0


def _rank(one: Neighbour) -> float:
    return one.score if one.rank_score is None else one.rank_score
