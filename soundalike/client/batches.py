"""What is too much for one request, in parts."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from soundalike.types import FloatArray, Item

COMMA, END = b", ", b"]}"
NPY_HEADER_BYTES = 128  # numpy writes as much before a matrix

Thing = TypeVar("Thing")


def of_at_most(most: int, things: Sequence[Thing]) -> list[Sequence[Thing]]:
    """Cut a sequence into parts, in order."""
    return [things[start : start + most] for start in range(0, len(things), most)]


def bodies(
    name: str,
    things: Iterable[Any],
    beside: Mapping[str, Any],
    *,
    most: int | None = None,
    most_bytes: int,
) -> Iterator[bytes]:
    """Write things as JSON objects of `{name: [...]}` within limits.

    Parameters
    ----------
    name : str
        What the list is called.
    things : iterable
        JSON-serialisable; read as far as the objects are taken.
    beside : mapping
        What else each object holds.
    most : int, optional
        How many things an object may hold.
    most_bytes : int
        How large it may be; what is larger alone makes one of its own, for the service to refuse.

    Yields
    ------
    bytes
        At least one.
    """
    start = f"{_json(beside)[:-1]}{', ' if beside else ''}{_json(name)}: [".encode()
    frame_bytes = len(start) + len(END)
    part: list[bytes] = []
    size = frame_bytes
    for thing in things:
        coded = _json(thing).encode()
        if part and (len(part) == most or size + len(coded) > most_bytes):
            yield start + COMMA.join(part) + END
            part, size = [], frame_bytes
        part.append(coded)
        size += len(coded) + len(COMMA)
    yield start + COMMA.join(part) + END


def item_object(item: Item) -> dict[str, Any]:
    """Lay out an item as the service takes it."""
    return {"id": item.id, "vector": item.vector.tolist(), "metadata": item.metadata}


def matrices(vectors: npt.ArrayLike, most_rows: int, most_bytes: int) -> Iterator[bytes]:
    """Write the rows of a matrix as .npy files within limits of rows and of bytes."""
    rows = np.atleast_2d(np.asarray(vectors, np.float32))
    fitting = (most_bytes - NPY_HEADER_BYTES) // max(1, rows.shape[1] * rows.itemsize)
    step = max(1, min(most_rows, fitting))
    for start in range(0, max(1, len(rows)), step):
        yield _npy(rows[start : start + step])


def _npy(rows: FloatArray) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)
