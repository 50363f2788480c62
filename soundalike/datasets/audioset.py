"""AudioSet's released VGGish features: a second of sound in 128 bytes, ten seconds a record."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from soundalike.datasets import sequence_example, tfrecord
from soundalike.datasets.sequence_example import Feature, Malformed
from soundalike.errors import BadRequest
from soundalike.pooling import pool
from soundalike.types import FloatArray, Frames, Item, Space

EMBEDDER = "audioset-vggish"
DEFAULT_POOLING = "meanstd"  # finds more right neighbours than the others; docs/audioset.md
ROW_BYTES = 128
ROWS_HZ = 1.0
FEATURES = "audio_embedding"
VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
LABEL_COLUMNS = {"index", "display_name"}

Rows = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Record:
    """A stretch of a YouTube video: what is heard in it, and its features.

    Attributes
    ----------
    video_id : str
        YouTube's, 11 characters.
    start_s, end_s : float
        Where the stretch lies in the video, in seconds.
    labels : tuple of int
        Numbers of AudioSet's labels.
    rows : ndarray of uint8, shape (T, 128)
        A row a second, T at least 1, mostly 10.
    """

    video_id: str
    start_s: float
    end_s: float
    labels: tuple[int, ...]
    rows: Rows

    @property
    def url(self) -> str:
        """Where the stretch can be heard."""
        return f"https://www.youtube.com/watch?v={self.video_id}&t={int(self.start_s)}s"


def read(file: BinaryIO, on_damage: tfrecord.OnDamage = tfrecord.warn) -> Iterator[Record]:
    """Go through the records of a .tfrecord file, one in memory at a time.

    Parameters
    ----------
    file : binary file
        Seekable; read from where it stands.
    on_damage : callable
        Called with the fault of each record that is passed over, because its
        checksum is wrong, it is cut off, or it is no record of AudioSet. Logs
        it by default.

    Yields
    ------
    Record

    Raises
    ------
    BadRecord
        The file is of another kind, or too much of it is damaged; see `tfrecord.read`.
    """
    for place, data in tfrecord.read(file, on_damage):
        try:
            record = parse(data)
        except Malformed as fault:
            on_damage(place.fault(f"is no record of AudioSet: {fault}. It was passed over."))
        else:
            yield record


def write(file: BinaryIO, records: Iterable[Record]) -> int:
    """Write records as `read` reads them, the same bytes for the same records; count them."""
    return tfrecord.write(file, map(encode, records))


def parse(data: bytes) -> Record:
    """Read one record from the bytes of its SequenceExample.

    Raises
    ------
    Malformed
        It is no such message, or lacks what a record has.
    """
    context, lists = sequence_example.parse(data)
    start_s = float(_only(context, "start_time_seconds", float))
    end_s = float(_only(context, "end_time_seconds", float))
    if not 0 <= start_s <= end_s < math.inf:
        raise Malformed(f"it lasts from {start_s} to {end_s} s")
    labels = context.get("labels", [])
    if not all(isinstance(label, int) and label >= 0 for label in labels):
        raise Malformed("its labels are not the numbers of labels")
    return Record(
        _video_id(_only(context, "video_id", bytes)),
        start_s,
        end_s,
        tuple(int(label) for label in labels),
        _rows(lists.get(FEATURES, [])),
    )


def encode(record: Record) -> bytes:
    """Write one record as a SequenceExample."""
    return sequence_example.encode(
        {
            "video_id": [record.video_id.encode()],
            "start_time_seconds": [float(record.start_s)],
            "end_time_seconds": [float(record.end_s)],
            "labels": list(record.labels),
        },
        {FEATURES: [[row.tobytes()] for row in record.rows]},
    )


def _only(context: Mapping[str, Feature], name: str, kind: type) -> Any:
    values = context.get(name, [])
    if len(values) != 1 or not isinstance(values[0], kind):
        raise Malformed(f"it has no {name}")
    return values[0]


def _video_id(octets: bytes) -> str:
    name = octets.decode(errors="replace")
    if not VIDEO_ID.fullmatch(name):
        raise Malformed(f"{name[:20]!r} is not the id of a YouTube video")
    return name


def _rows(seconds: list[Feature]) -> Rows:
    rows = [one[0] for one in seconds if len(one) == 1]
    octets = b"".join(row for row in rows if isinstance(row, bytes) and len(row) == ROW_BYTES)
    if not seconds or len(octets) != len(seconds) * ROW_BYTES:
        raise Malformed(f"it has not one row or more of {ROW_BYTES} bytes each")
    return np.frombuffer(octets, np.uint8).reshape(-1, ROW_BYTES)


def read_labels(path: Path) -> dict[int, str]:
    """Read what AudioSet's labels are called, from its ``class_labels_indices.csv``.

    Returns
    -------
    dict of int to str

    Raises
    ------
    BadRequest
        It cannot be read, or is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if not LABEL_COLUMNS.issubset(table.fieldnames or ()):
                raise BadRequest(f"'{path}' has no columns 'index' and 'display_name'.")
            return {int(row["index"]): row["display_name"] for row in table}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise BadRequest(f"'{path}' cannot be read as a table of labels: {error}.") from error


def space(pooling: str) -> Space:
    """Name the space of the vectors that `vector` makes with the same pooling."""
    return Space.of(EMBEDDER, {"values": "bytes", "pooling": pooling, "normalize": False})


def vector(record: Record, pooling: str = DEFAULT_POOLING) -> FloatArray:
    """Make one vector of a record's rows, whose bytes count as numbers from 0 to 255.

    Parameters
    ----------
    record : Record
    pooling : str
        See `pooling.pool`; of ``flatten10`` rows that are missing are zeros.

    Returns
    -------
    ndarray of float32, shape (pooled_dim(pooling, 128),)
        Not scaled to unit length.
    """
    return pool(Frames(record.rows.astype(np.float32), ROWS_HZ), pooling)


def items(
    records: Iterable[Record],
    pooling: str = DEFAULT_POOLING,
    names: Mapping[int, str] | None = None,
) -> Iterator[Item]:
    """Make items of records, to be kept in a collection of `space(pooling)`.

    The id is the video's; of a video that occurs again, ``<video>@<start>``.

    Parameters
    ----------
    records : iterable of Record
    pooling : str
        See `vector`.
    names : mapping of int to str, optional
        What labels are called; a label without a name is told by its number.

    Yields
    ------
    Item
        With ``youtube_id``, ``url``, ``start_seconds``, ``end_seconds`` and ``labels`` as its
        metadata.
    """
    seen: set[str] = set()
    for record in records:
        again = record.video_id in seen
        seen.add(record.video_id)
        one = f"{record.video_id}@{record.start_s:g}" if again else record.video_id
        yield Item(one, vector(record, pooling), metadata(record, names or {}))


def metadata(record: Record, names: Mapping[int, str]) -> dict[str, Any]:
    """Lay out what is known of a record as a JSON object."""
    return {
        "youtube_id": record.video_id,
        "url": record.url,
        "start_seconds": record.start_s,
        "end_seconds": record.end_s,
        "labels": [names.get(label, str(label)) for label in record.labels],
    }
