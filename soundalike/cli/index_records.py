"""AudioSet's records into a collection: what `soundalike index FILE.tfrecord` does."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from soundalike.cli.destination import Destination, services
from soundalike.cli.index import Report, tell, write_items
from soundalike.errors import BadRecord, BadRequest

if TYPE_CHECKING:
    from soundalike.datasets.audioset import Record

ITEMS_AT_ONCE = 500


def run(args: argparse.Namespace) -> int:
    """Index the records of a file, and say what became of them and how quickly."""
    from soundalike.datasets import audioset

    names = audioset.read_labels(args.labels.expanduser()) if args.labels else {}
    pooling = args.pooling or audioset.DEFAULT_POOLING
    started = time.monotonic()
    with _open(args.source) as file, services(args) as both:
        report = index_records(
            both.recommender,
            file,
            args.collection,
            pooling=pooling,
            names=names,
            only_label=args.only_label,
        )
    seconds = time.monotonic() - started
    if not (report.indexed or report.failed):
        raise BadRequest(f"'{args.source}' holds no record that is asked for.")
    code = tell(report, args.collection, as_json=args.json)
    print(f"{report.indexed / seconds:,.0f} records a second", file=sys.stderr)
    return code


def index_records(
    recommender: Destination,
    file: BinaryIO,
    collection: str,
    *,
    pooling: str,
    names: Mapping[int, str],
    only_label: int | None = None,
) -> Report:
    """Put the records of a file into a collection, which is made where it does not exist.

    Parameters
    ----------
    recommender : Destination
        Where the collection is.
    file : binary file
        A .tfrecord file, seekable.
    collection : str
        Its space must be that of the pooling.
    pooling : str
        How the rows of a record become one vector.
    names : mapping of int to str
        What labels are called.
    only_label : int, optional
        Pass over the records that do not bear this label.

    Returns
    -------
    Report
        Damaged records stand among the failed.
    """
    from tqdm import tqdm

    from soundalike.datasets import audioset

    report = Report()
    records = _labelled(_readable(file, report), only_label)
    items = audioset.items(records, pooling, names)
    space = str(audioset.space(pooling))
    size = os.fstat(file.fileno()).st_size
    with tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:
        while batch := list(islice(items, ITEMS_AT_ONCE)):
            if not report.indexed:
                dim = len(batch[0].vector)
                recommender.create(collection, space=space, dim=dim, pooling=pooling)
            write_items(recommender, collection, batch, report, space=space)
            bar.update(file.tell() - bar.n)
            bar.set_postfix(records=report.indexed)
    return report


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadRequest(f"'{path}' cannot be read: {error.strerror}.") from error


def _readable(file: BinaryIO, report: Report) -> Iterator[Record]:
    """Go through what can be read of a file; what cannot is reported as failed."""
    from soundalike.datasets import audioset

    def note(damage: BadRecord) -> None:
        report.failed.append((f"record {damage.facts['record']}", damage.detail))

    try:
        yield from audioset.read(file, note)
    except BadRecord as fault:  # what was read before it is indexed all the same
        note(fault)


def _labelled(records: Iterator[Record], label: int | None) -> Iterator[Record]:
    return (record for record in records if label is None or label in record.labels)
