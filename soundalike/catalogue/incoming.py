"""What is given to a catalogue in a folder: checked, and brought into the form of its tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from soundalike import engines
from soundalike.catalogue import checks, transforms
from soundalike.catalogue.reader import to_bytes
from soundalike.catalogue.statements import Record, Row
from soundalike.errors import CollectionExists
from soundalike.types import Item


def record(name: str, facts: Mapping[str, Any], default_engine: str) -> Record:
    """Make the record of a new collection; the store gives it an id.

    Parameters
    ----------
    name : str
    facts : mapping
        As `Catalogue.create` takes them, the optional ones None where they are not given.
    default_engine : str
        Where they name none.

    Raises
    ------
    BadRequest
        The name or a fact makes no sense.
    """
    checks.collection_name(name)
    for label in ("space", "model", "pooling"):
        checks.fact(label, facts[label])
    checks.in_range("dim", facts["dim"], checks.MAX_DIM)
    engine = facts["engine"] or default_engine
    engines.load(engine)
    if facts["transform"] is not None:
        transforms.parse(facts["transform"])
    return Record(id=0, name=name, created=time.time(), **{**facts, "engine": engine})


def agree(there: Record, facts: Mapping[str, Any]) -> None:
    """Refuse facts, where they are given, that are not those of the collection."""
    for label, said in facts.items():
        own = getattr(there, label)
        if said is not None and own != said:
            raise CollectionExists(
                f"The collection {there.name!r} is there already, with {label} {own!r} and not "
                f"{said!r}; choose another name, or drop it first.",
                fact=label,
                expected=own,
                got=said,
            )


def rows(items: Sequence[Item], dim: int) -> list[Row]:
    """Lay out items as they are written; of several with the same id the last one stays.

    Raises
    ------
    BadVector
        A vector of the wrong length, not finite, or all zeros.
    BadRequest
        An id or metadata that cannot be kept.
    """
    return list({item.id: _row(item, dim) for item in items}.values())


def _row(item: Item, dim: int) -> Row:
    checks.item_id(item.id)
    vector = checks.vector(f"item {item.id!r}", item.vector, dim)
    return Row(item.id, to_bytes(vector), checks.metadata_text(item.id, item.metadata))
