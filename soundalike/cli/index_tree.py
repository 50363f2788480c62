"""What `soundalike extract` made, into a collection: what `soundalike index` does with a tree."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.destination import Destination, services
from soundalike.cli.index import Report, tell
from soundalike.cli.index_vectors import index_items, make_sure_of
from soundalike.errors import BadRequest

if TYPE_CHECKING:
    from soundalike.types import Item

SUFFIX = ".jsonl"  # of the manifest beside a model's folder


def find_manifest(source: Path, model: str | None) -> Path | None:
    """Find what tells of the vectors in a folder.

    Parameters
    ----------
    source : Path
        A folder that `soundalike extract` wrote, or that of one model in it.
    model : str, optional
        Which one is meant, where there are several.

    Returns
    -------
    Path or None
        A manifest; None where the folder is another one.

    Raises
    ------
    BadRequest
        It has several models and none of them is named, or another.
    """
    source = source.resolve()
    own = source.with_name(source.name + SUFFIX)
    if source.is_dir() and own.is_file():
        return own
    found = {
        one.stem: one for one in sorted(source.glob(f"*{SUFFIX}")) if one.with_suffix("").is_dir()
    }
    if model is not None and found:
        folder = _folder_of(model)
        found = {name: one for name, one in found.items() if name == folder}
        if not found:
            raise BadRequest(f"Nothing below '{source}' was made by '{model}'.")
    if len(found) > 1:
        raise BadRequest(
            f"'{source}' holds what {', '.join(found)} made, and a collection has one space; "
            "name the folder of one of them, or say --model."
        )
    return next(iter(found.values()), None)


def _folder_of(model: str) -> str:
    from soundalike import embedders
    from soundalike.extract.outputs import Model

    return Model(embedders.create(model).name, "").folder


def run(args: argparse.Namespace, manifest: Path) -> int:
    """Index the vectors that a manifest tells of, and say what became of them."""
    if args.pooling:
        raise BadRequest("These vectors are pooled already; --pooling is for a folder of sounds.")
    with services(args) as both:
        report = index_tree(both.recommender, manifest, args.collection, prefix=args.prefix)
    return tell(report, args.collection, as_json=args.json)


def index_tree(into: Destination, path: Path, collection: str, *, prefix: str = "") -> Report:
    """Put the clip vectors of a model into a collection, which is made where it does not exist.

    Parameters
    ----------
    into : Destination
        Where the collection is.
    path : Path
        The model's manifest, which holds the vectors.
    collection : str
        Its space must be that of the vectors.
    prefix : str
        Put before every id, which is the path of the sound below the folder that was extracted.

    Returns
    -------
    Report
        What the extraction failed at, and what is older and of another space, stands among the
        failed.

    Raises
    ------
    BadRequest
        There is no vector.
    CollectionExists
        The collection is of another space or dimension.
    """
    from soundalike.extract.manifest import Latest, decoded

    lines, report = Latest(path), Report()
    newest = lines.newest()  # what came before may be of another space
    if newest is None:
        raise BadRequest(f"'{path}' tells of no vector; extract something first.")
    dim, space = len(decoded(newest["vector"])), newest["space"]
    make_sure_of(into, collection, space, dim, model=newest["model"])
    items = _items(lines, space, prefix, report)
    index_items(into, collection, items, report, space=space, total=len(lines))
    return report


def _items(
    records: Iterable[dict[str, Any]], space: str, prefix: str, report: Report
) -> Iterator[Item]:
    from soundalike.extract.manifest import decoded
    from soundalike.extract.table import metadata
    from soundalike.types import Item

    for record in records:
        name = prefix + record["file"]
        if record["error"] is not None:
            report.failed.append((name, f"it was not extracted: {record['error']}"))
        elif record["space"] != space:
            reason = f"its vector is of {record['space']} and newer ones of {space}; extract again"
            report.failed.append((name, reason))
        else:
            yield Item(name, decoded(record["vector"]), metadata(record))
