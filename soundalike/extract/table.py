"""The clip vectors of a folder as one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from soundalike.errors import BadRequest
from soundalike.extract.manifest import decoded

ROWS_AT_ONCE = 1000
OF_THE_SOUND = ("path", "seconds", "format", "silent", "sha256", "fingerprint")


def check() -> None:
    """Find out beforehand that a table cannot be written.

    Raises
    ------
    BadRequest
        pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise BadRequest(
            "Parquet needs pyarrow: pip install 'soundalike[evaluation]'; or do without --vectors, "
            "the manifests hold them too."
        ) from None


def write(file: BinaryIO, records: Iterable[Mapping[str, Any]]) -> None:
    """Write a table of vectors, some rows at a time.

    Parameters
    ----------
    file : binary file
        To be written to.
    records : iterable of mapping
        Lines of a manifest that hold a vector. A row has `id` (the file), `space`, `vector` (a
        list of float32) and `metadata` (JSON, as items of collections have it).
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        {
            "id": pa.string(),
            "space": pa.string(),
            "vector": pa.list_(pa.float32()),
            "metadata": pa.string(),
        }
    )
    left = iter(records)
    with parquet.ParquetWriter(file, schema) as writer:
        while some := list(islice(left, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist([_row(one) for one in some], schema))


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": record["file"],
        "space": record["space"],
        "vector": decoded(record["vector"]),
        "metadata": json.dumps(metadata(record)),
    }


def metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    """Tell of a line of a manifest what an item of a collection keeps of its sound."""
    file = PurePosixPath(record["file"])
    told: dict[str, Any] = {"title": file.stem}
    if len(file.parts) > 1:
        told["label"] = file.parts[-2]
    return told | {name: record[name] for name in OF_THE_SOUND if name in record}
