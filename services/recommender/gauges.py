"""What collections are like, as `/metrics` tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from services.common.metrics import Reading
from soundalike.catalogue import CollectionInfo

GAUGES: dict[str, tuple[str, Callable[[CollectionInfo], float]]] = {
    "items": ("Items held.", lambda one: one.count),
    "indexed_items": ("Items in the index.", lambda one: one.indexed),
    "tail_items": ("Items that are not in the index.", lambda one: one.count - one.indexed),
    "sequence": ("The number of the last write.", lambda one: one.sequence),
    "recall": ("Share of the true neighbours found, as measured.", lambda one: one.recall),
    "exact": ("1 while every item is compared.", lambda one: one.exact),
    "index_missing": ("1 while an index is being made anew.", lambda one: one.index == "missing"),
}


def readings(collections: Iterable[CollectionInfo]) -> Iterator[Reading]:
    """Read every gauge of every collection, labelled with its name and engine."""
    held = list(collections)
    for name, (told, read) in GAUGES.items():
        for one in held:
            labels = {"collection": one.name, "engine": one.engine}
            yield Reading(f"soundalike_collection_{name}", told, labels, float(read(one)))
