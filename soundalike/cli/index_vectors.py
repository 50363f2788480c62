"""Vectors that were made before into a collection: what `soundalike index FILE.parquet` does."""

from __future__ import annotations

import argparse
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.destination import Destination, services
from soundalike.cli.index import Report, tell, write_items
from soundalike.errors import UnknownCollection

if TYPE_CHECKING:
    from soundalike.types import Item

ITEMS_AT_ONCE = 500
CONTENT = "sha256"  # of the sound, in an item's metadata
DIGEST_BYTES = 8


def run(args: argparse.Namespace) -> int:
    """Index the rows of a file, and say what became of them."""
    with services(args) as both:
        report = index_file(
            both.recommender,
            args.source,
            args.collection,
            model=args.model,
            pooling=args.pooling,
            prefix=args.prefix,
        )
    return tell(report, args.collection, as_json=args.json)


def index_file(
    into: Destination,
    path: Path,
    collection: str,
    *,
    model: str | None = None,
    pooling: str | None = None,
    prefix: str = "",
) -> Report:
    """Put the rows of a Parquet file into a collection, which is made where it does not exist.

    Parameters
    ----------
    into : Destination
        Where the collection is.
    path : Path
        See `soundalike.datasets.clip_vectors`.
    collection : str
        Its space must be the file's.
    model, pooling : str, optional
        What to ask the embedder service for, to get vectors of the file's space.
    prefix : str
        Put before every id.

    Returns
    -------
    Report
        Rows that cannot be used stand among the failed.

    Raises
    ------
    BadRequest, SpaceMismatch
        The file as a whole cannot be used.
    CollectionExists
        The collection is of another space or dimension.
    """
    from soundalike.datasets.clip_vectors import ClipVectors

    file, report = ClipVectors(path), Report()
    make_sure_of(into, collection, file.space, file.dim, model=model, pooling=pooling)
    rows = file.items(lambda name, reason: report.failed.append((prefix + name, reason)))
    items = (replace(item, id=prefix + item.id) for item in rows)
    index_items(into, collection, items, report, space=file.space, total=file.count)
    return report


def make_sure_of(
    into: Destination, collection: str, space: str, dim: int, **ways: str | None
) -> None:
    """Make a collection; one that is there must be of the space, and keeps its own ways.

    Parameters
    ----------
    into : Destination
    collection : str
    space : str
    dim : int
    **ways
        `model` and `pooling`.

    Raises
    ------
    CollectionExists
        It is of another space or dimension.
    """
    try:
        into.collection(collection)
    except UnknownCollection:
        into.create(collection, space=space, dim=dim, **ways)
    else:
        into.create(collection, space=space, dim=dim)


def index_items(
    into: Destination,
    collection: str,
    items: Iterable[Item],
    report: Report,
    *,
    space: str,
    total: int,
) -> None:
    """Write items, some hundred at once, but for those that stand in the collection already.

    Parameters
    ----------
    into : Destination
        Where the collection is.
    collection : str
        Which is there.
    items : iterable of Item
        Read as they are written.
    report : Report
        Is told what became of them.
    space : str
        Of the vectors.
    total : int
        About how many there are.
    """
    from tqdm import tqdm

    held = Held(into, collection)
    left = iter(items)
    with tqdm(total=total, unit="vector", disable=None) as bar:
        while batch := list(islice(left, ITEMS_AT_ONCE)):
            fresh = [one for one in batch if one not in held]
            report.unchanged += len(batch) - len(fresh)
            write_items(into, collection, fresh, report, space=space)
            bar.update(len(batch))


class Held:
    """Which items stand in a collection, in eight bytes each.

    An item that tells the content hash of its sound, and otherwise what the
    collection tells of it, has the same vector: both are of one space. One that
    tells no hash is not known here; the catalogue writes it only if it differs.

    Parameters
    ----------
    into : Destination
    collection : str
    """

    def __init__(self, into: Destination, collection: str) -> None:
        import numpy as np

        found = array("Q", _digests(into.items(collection)))
        self._digests = array("Q", np.sort(np.frombuffer(found, np.uint64)).tobytes())

    def __contains__(self, item: Item) -> bool:
        if CONTENT not in item.metadata:
            return False
        digest = _digest(item.id, item.metadata)
        place = bisect_left(self._digests, digest)
        return place < len(self._digests) and self._digests[place] == digest


def _digests(items: Iterable[dict[str, Any]]) -> Iterator[int]:
    for one in items:
        if CONTENT in one["metadata"]:
            yield _digest(one["id"], one["metadata"])


def _digest(name: str, metadata: dict[str, Any]) -> int:
    text = json.dumps([name, metadata], sort_keys=True)
    return int.from_bytes(blake2b(text.encode(), digest_size=DIGEST_BYTES).digest())
