"""Walks from one item of a collection to another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundalike.catalogue import paths, query
from soundalike.catalogue.choosing import kinds_of
from soundalike.catalogue.rows import UnitVectors, unit
from soundalike.catalogue.snapshot import Snapshot
from soundalike.engines.base import Rows

OFFERS = 50  # items that offer themselves near a point


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Where a walk begins and ends.

    Attributes
    ----------
    ids : tuple of two str
    vectors : ndarray of float64, shape (2, D)
        Of unit length.
    metadata : tuple of two dict
    """

    ids: tuple[str, str]
    vectors: UnitVectors
    metadata: tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One item of a walk: its id, its cosine with the item before, and its metadata."""

    id: str
    cosine: float
    metadata: dict[str, Any]


def between(snapshot: Snapshot, ends: Ends, k: int, caps: Mapping[str, int]) -> list[Step]:
    """Walk from one item to another.

    Parameters
    ----------
    snapshot : Snapshot
        Where to look for what lies between them.
    ends : Ends
    k : int
        How many items the walk has, both ends counted; it has fewer where there are no more.
    caps : mapping of str to int
        The most items with one value of a field.

    Returns
    -------
    list of Step
        None of them twice; the first has a cosine of 1.
    """
    offers = _offers(snapshot, ends, k - 2)
    rows = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *offers]))
    metadata = [*ends.metadata, *map(json.loads, snapshot.metadata(rows.tolist()))]
    vectors = np.concatenate([ends.vectors, unit(snapshot.vectors(rows))])
    places = paths.connect(
        [(len(ends.ids) + np.searchsorted(rows, offered)).tolist() for offered in offers],
        vectors,
        [kinds_of(one, caps) for one in metadata],
        caps,
    )
    ids = [*ends.ids, *snapshot.keys(rows.tolist())]
    before = vectors[[places[0], *places[:-1]]]
    cosines = np.einsum("ij,ij->i", vectors[places], before).clip(-1, 1).round(query.SCORE_DIGITS)
    return [
        Step(ids[place], cosine, metadata[place])
        for place, cosine in zip(places, cosines.tolist(), strict=True)
    ]


def _offers(snapshot: Snapshot, ends: Ends, stops: int) -> list[Rows]:
    """Find the items near each of the points on the way."""
    without = [frozenset(ends.ids)] * stops
    start, end = ends.vectors
    points = paths.points(start, end, stops)
    places = query.places(snapshot, points, without=without, exact=False)
    return [found.rows for found in query.nearest(snapshot, places, OFFERS, without=without)]
