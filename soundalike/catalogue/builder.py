"""The process that makes an index folder, or looks into one; `building` starts it.

It reads a job from its standard input, writes what came of it to its standard
output, and ends at once when the input closes: then whoever wanted the work is
gone. (Linux can send a signal instead, but sends it when the thread ends that
started the process.)
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundalike import engines
from soundalike.catalogue import files, transforms
from soundalike.catalogue.manifest import Manifest
from soundalike.catalogue.mapped import TableWriter
from soundalike.catalogue.rows import unit
from soundalike.catalogue.schema import connect
from soundalike.catalogue.snapshot import LEAST_TO_FIT
from soundalike.catalogue.transforms import Fitted
from soundalike.engines.base import NO_ROW
from soundalike.engines.exact import ExactEngine
from soundalike.errors import CatalogueError, DamagedIndex, StorageFull, UnknownCollection
from soundalike.types import FloatArray

NICENESS = 10
ROWS_AT_ONCE = 4096
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

SMOKE_QUERIES = 64
SMOKE_K = 10
SMOKE_NOISE = 0.3
SMOKE_SLACK = 0.1  # what the recall of so few queries may fall short by chance, with room
SCORE_ERROR = 1e-5


def main() -> None:
    """Do the job that the standard input names."""
    os.nice(NICENESS)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(json.dumps(outcome(job)), flush=True)


def outcome(job: dict[str, dict[str, Any]]) -> dict[str, str] | None:
    """Do a job: a key of `JOBS` with its arguments.

    Returns
    -------
    dict or None
        The `code` and `detail` of the fault it ended in.
    """
    try:
        for verb, arguments in job.items():
            JOBS[verb](**arguments)
    except CatalogueError as refusal:
        return {"code": refusal.code, "detail": refusal.detail}
    except (OSError, sqlite3.Error) as error:
        fault = _fault(error)
        return {"code": fault.code, "detail": fault.detail}
    return None


def build(
    *,
    database: str,
    collection: int,
    folder: str,
    engine: str,
    transform: str | None,
    refit: bool,
    recall_target: float,
    threads: int,
) -> None:
    """Make an index folder; see `building.build`."""
    into = Path(folder)
    into.mkdir(parents=True)
    source = _copy(Path(database), collection, into)
    vectors = files.open_matrix(into / files.VECTORS, (source.items, source.dim))
    fitted, fitted_at = source.fitted, source.fitted_at
    if refit or transform != source.transform:
        fitted = _fit(transform, vectors)
        fitted_at = source.sequence if fitted is not None else 0
    places = _place(vectors, fitted, into)
    made = engines.load(engine).build(places, recall_target=recall_target, threads=threads)
    manifest = Manifest(
        collection=collection,
        space=source.space,
        dim=source.dim,
        width=places.shape[1],
        items=source.items,
        sequence=source.sequence,
        engine=engine,
        index=made.save(into),
        recall_target=recall_target,
        transform=transform,
        fitted_at=fitted_at,
    )
    files.seal(into, manifest)


def check(*, folder: str, limit_s: int) -> None:
    """Verify an index folder, open it as whoever serves it will, and try it."""
    _end_after(limit_s)
    files.verify(Path(folder))
    _smoke(files.open_folder(Path(folder)), folder)


@dataclass(frozen=True, slots=True)
class _Source:
    """What the tables say of a collection, all at one moment."""

    space: str
    dim: int
    sequence: int
    items: int
    transform: str | None
    fitted: Fitted | None
    fitted_at: int


def _copy(database: Path, collection: int, folder: Path) -> _Source:
    """Write keys, metadata and unit vectors to a folder, by rising key."""
    with closing(connect(database)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")  # all that is read until the end is of one write
        source = _describe(connection, collection)
        blocks = _rows(connection, collection, source.dim, folder)
        files.write_matrix(folder / files.VECTORS, (source.items, source.dim), blocks)
    return source


def _describe(connection: sqlite3.Connection, collection: int) -> _Source:
    row = connection.execute(
        "SELECT space, dim, collections.sequence, transform, parameters, fitted.sequence, "
        "(SELECT count(*) FROM items WHERE items.collection = collections.id) "
        "FROM collections LEFT JOIN fitted ON fitted.collection = collections.id "
        "WHERE collections.id = ?",
        (collection,),
    ).fetchone()
    if row is None or not row[-1]:
        raise UnknownCollection("The collection was dropped or emptied meanwhile.")
    space, dim, sequence, transform, parameters, fitted_at, items = row
    fitted = None if parameters is None else Fitted.from_bytes(parameters)
    return _Source(space, dim, sequence, items, transform, fitted, fitted_at or 0)


def _rows(
    connection: sqlite3.Connection, collection: int, dim: int, folder: Path
) -> Iterator[FloatArray]:
    """Give the vectors of some thousand items at once, and write the rest of them meanwhile."""
    cursor = connection.execute(
        "SELECT key, metadata, vector FROM items WHERE collection = ? ORDER BY key", (collection,)
    )
    with TableWriter(folder, files.ITEMS) as items:
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            items.extend((key, metadata) for key, metadata, _ in rows)
            vectors = np.frombuffer(b"".join(blob for _, _, blob in rows), dtype="<f4").reshape(
                len(rows), dim
            )
            yield unit(vectors).astype(np.float32)


def _fit(transform: str | None, vectors: FloatArray) -> Fitted | None:
    if transform is None or len(vectors) < LEAST_TO_FIT:
        return None
    return transforms.fit(transform, vectors)


def _place(vectors: FloatArray, fitted: Fitted | None, folder: Path) -> FloatArray:
    """Move vectors to where they are looked for, and keep what moves them."""
    if fitted is None:
        return vectors
    (folder / files.TRANSFORM).write_bytes(fitted.to_bytes())
    width = fitted.items(vectors[:1]).shape[1]
    blocks = (
        fitted.items(vectors[start : start + ROWS_AT_ONCE])
        for start in range(0, len(vectors), ROWS_AT_ONCE)
    )
    shape = len(vectors), width
    files.write_matrix(folder / files.PLACES, shape, blocks)
    return files.open_matrix(folder / files.PLACES, shape)


def _smoke(stored: files.Stored, folder: str) -> None:
    """Compare some answers with the right ones."""
    if not stored.keys.rising():
        raise DamagedIndex(f"The keys in {folder} are not in order.")
    queries = _near(stored.places)
    _, right = ExactEngine.build(stored.places).search(queries, SMOKE_K)
    rows, scores = stored.engine.search(queries, SMOKE_K)
    if ((rows < NO_ROW) | (rows >= len(stored.places))).any():
        raise DamagedIndex(f"The index in {folder} finds rows that are not there.")
    there = rows != NO_ROW
    cosines = np.einsum("qd,qkd->qk", queries, stored.places[rows])
    if not (np.abs(cosines - scores)[there] <= SCORE_ERROR).all():
        raise DamagedIndex(f"The index in {folder} is not of the vectors beside it.")
    # by score and not by row, for of identical vectors any may be found
    nearest = np.sort(np.where(there, cosines, -np.inf))[:, -SMOKE_K:]
    found = (nearest >= right[:, -1:] - SCORE_ERROR).mean()
    if found < stored.engine.recall - SMOKE_SLACK:
        raise DamagedIndex(
            f"The index in {folder} finds {found:.0%} of the neighbours, and claims "
            f"{stored.engine.recall:.0%}."
        )


def _near(places: FloatArray) -> FloatArray:
    """Draw queries near to places."""
    rng = np.random.default_rng(len(places))
    drawn = places[np.sort(rng.permutation(len(places))[:SMOKE_QUERIES])]
    noise = rng.standard_normal(drawn.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return unit(drawn + SMOKE_NOISE * noise).astype(np.float32)


def _fault(error: OSError | sqlite3.Error) -> CatalogueError:
    full_file = isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL
    full_disk = isinstance(error, OSError) and error.errno in FULL
    if full_file or full_disk:
        return StorageFull(
            "The disk has no room for a new index; make room. What there was goes on serving."
        )
    return CatalogueError(f"An index could not be made: {error}.")


def _end_after(limit_s: int) -> None:
    """Be killed after so much time of a processor: a cyclic index is searched for ever.

    Time by the clock would tell on a busy machine of damage that is none.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    allowed = limit_s if most == resource.RLIM_INFINITY else min(limit_s, most)
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, most))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


JOBS: dict[str, Any] = {"build": build, "check": check}

if __name__ == "__main__":
    main()
