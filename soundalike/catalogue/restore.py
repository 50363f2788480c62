"""Reading what `backup` wrote: nothing of it is believed before all of it was found right."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from soundalike import engines
from soundalike.catalogue import backup, checks, statements, transforms
from soundalike.catalogue.reader import VECTOR_TYPE, from_bytes, to_bytes
from soundalike.catalogue.statements import Learned, Record, Row
from soundalike.catalogue.transforms import Fitted
from soundalike.errors import BadBackup, BadRequest
from soundalike.types import FloatArray

READABLE = (1,)  # versions of the format
BLOCK_BYTES = 1 << 24  # of vectors in memory at once
MOST_LINE_BYTES = 1 << 28
MOST_MANIFEST_BYTES = 1 << 20
# what zipfile raises: the second for a compression that it does not know, and the last two for a
# member that is encrypted and a name that is no UTF-8
UNREADABLE = (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, UnicodeDecodeError)
REQUIRED = {backup.VECTORS, backup.ITEMS, backup.MANIFEST}


@dataclass(frozen=True, slots=True)
class Backup:
    """A collection in a file, all of which was found right.

    Attributes
    ----------
    record : Record
        What the collection was; its number means nothing here.
    sequence : int
        Its last write.
    count : int
        Items.
    learned : Learned or None
        What its transform learned.
    archive : ZipFile
    """

    record: Record
    sequence: int
    count: int
    learned: Learned | None
    archive: zipfile.ZipFile

    def rows(self) -> Iterator[Row]:
        """Read the items, by rising id; as often as it is asked for.

        Raises
        ------
        BadBackup, BadRequest
            One cannot be kept.
        """
        with (
            self.archive.open(backup.VECTORS) as vectors,
            self.archive.open(backup.ITEMS) as lines,
        ):
            last = ""
            for vector in self._vectors(vectors):
                key, metadata = _item(lines.readline(MOST_LINE_BYTES))
                if key <= last:
                    raise BadBackup(f"The id {key[:80]!r} comes twice, or too late.")
                last = key
                yield Row(key, to_bytes(vector), metadata)
            if lines.read(1):
                raise BadBackup("There are more items than vectors.")

    def _vectors(self, file: IO[bytes]) -> Iterator[FloatArray]:
        width = VECTOR_TYPE.itemsize * self.record.dim
        at_once = width * max(1, BLOCK_BYTES // width)
        while block := file.read(at_once):
            matrix = from_bytes(block).reshape(-1, self.record.dim)
            if not np.isfinite(matrix).all() or not matrix.any(axis=1).all():
                raise BadBackup("A vector holds NaN or infinity, or zeros alone.")
            yield from matrix


def read(file: IO[bytes]) -> Backup:
    """Find out whether a file can be taken in, reading all of it.

    Parameters
    ----------
    file : binary file
        Readable and seekable; it must not change afterwards.

    Returns
    -------
    Backup

    Raises
    ------
    BadBackup
        It is damaged, no such file, of a version that is not known here, or of a
        collection that cannot be kept here, as where its engine is not installed.
    """
    try:
        if file.seek(0, 2) < backup.DIGEST_LENGTH:
            raise BadBackup("The file is too short to be a snapshot.")
        digest = backup.digest_before_seal(file)
        archive = zipfile.ZipFile(file)
        if archive.comment != backup.SEAL + digest:
            raise BadBackup("The file was changed or cut since it was written.")
        return _verified(archive)
    except UNREADABLE as error:
        raise BadBackup("The file is no snapshot of a collection, or is damaged.") from error
    except BadRequest as error:
        raise BadBackup(error.detail, **error.facts) from error


def insert(connection: sqlite3.Connection, name: str, read_from: Backup) -> Record:
    """Write a collection of a name and all its items, inside a transaction.

    Raises
    ------
    CollectionExists
        The name is taken; nothing was written.
    """
    made = statements.insert_collection(connection, replace(read_from.record, name=name))
    statements.upsert(connection, made.id, read_from.rows())
    if read_from.learned is not None:
        statements.publish(connection, made.id, made.transform, read_from.learned, None)
    connection.execute(
        "UPDATE collections SET sequence = ?1, pruned = ?1 WHERE id = ?2",
        (read_from.sequence, made.id),
    )
    return made


def _verified(archive: zipfile.ZipFile) -> Backup:
    stored = {one.filename: one for one in archive.infolist()}
    if not REQUIRED <= stored.keys() <= REQUIRED | {backup.TRANSFORM}:
        raise BadBackup("The archive does not hold what a snapshot holds.")
    if any(one.compress_type != zipfile.ZIP_STORED for one in stored.values()):
        raise BadBackup("The members of a snapshot are stored, not compressed.")
    if stored[backup.MANIFEST].file_size > MOST_MANIFEST_BYTES:
        raise BadBackup("The manifest is too large.")
    manifest = _manifest(archive.read(backup.MANIFEST))
    record, count = _record(manifest.get("collection")), manifest["items"]
    if manifest["members"].keys() != stored.keys() - {backup.MANIFEST}:
        raise BadBackup("The manifest tells of other members than there are.")
    for name, told in manifest["members"].items():
        _check_member(archive, name, told)
    if stored[backup.VECTORS].file_size != VECTOR_TYPE.itemsize * record.dim * count:
        raise BadBackup(f"There are not {count} vectors of {record.dim} numbers.")
    sequence, learned = manifest["sequence"], None
    if backup.TRANSFORM in stored:
        learned = _learned(archive.read(backup.TRANSFORM), record, manifest.get("fitted_at"))
    if sequence < (learned.sequence if learned else min(count, 1)):
        raise BadBackup("The manifest tells of fewer writes than there were.")
    found = Backup(record, sequence, count, learned, archive)
    for _ in found.rows():
        pass
    return found


def _manifest(text: bytes) -> dict[str, Any]:
    """Read the manifest: its version first, for in another all else may mean something else."""
    try:
        manifest: dict[str, Any] = json.loads(text)
        told, version = manifest["format"], manifest["version"]
        if told != backup.FORMAT or version not in READABLE:
            raise BadBackup(
                f"This is {told} of version {version}; here versions "
                f"{', '.join(map(str, READABLE))} of {backup.FORMAT} can be read.",
            )
        for name in ("items", "sequence"):
            _number(manifest[name])
        if not isinstance(manifest["members"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadBackup("The manifest cannot be understood.") from error
    return manifest


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise BadBackup(f"The manifest says {value!r} where a count belongs.")
    return value


def _record(told: Any) -> Record:
    """Check what a collection was as `create` does what a new one is to be."""
    try:
        record = Record(id=0, **{name: told[name] for name in backup.FACTS})
        texts = {name: getattr(record, name) for name in ("space", "model", "pooling")}
        for label, text in texts.items():
            checks.fact(label, text)
        if record.space is None:
            raise TypeError
        checks.in_range("dim", _number(record.dim), checks.MAX_DIM)
        if type(record.created) not in (int, float):
            raise TypeError
        datetime.fromtimestamp(record.created, UTC)  # as it is described
        engines.load(record.engine)
        if record.transform is not None:
            transforms.parse(record.transform)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise BadBackup("The manifest does not tell what the collection is.") from error
    return record


def _check_member(archive: zipfile.ZipFile, name: str, told: Any) -> None:
    digest, size = hashlib.sha256(), 0
    with archive.open(name) as member:
        while chunk := member.read(backup.CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    if told != {"bytes": size, "sha256": digest.hexdigest()}:
        raise BadBackup(f"{name} is not what the manifest says.")


def _item(line: bytes) -> tuple[str, str]:
    """Read a line of items: the id, and the metadata as JSON."""
    try:
        item = json.loads(line)
        key, metadata = item["id"], item["metadata"]
        if type(key) is not str or type(metadata) is not dict or len(item) != 2:
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadBackup("A line of the items cannot be understood, or is missing.") from error
    checks.item_id(key)
    return key, checks.metadata_text(key, metadata)


def _learned(blob: bytes, record: Record, fitted_at: Any) -> Learned:
    """Make sure that what a transform learned can move vectors of the collection."""
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as arrays:
            if any(one.compress_type != zipfile.ZIP_STORED for one in arrays.infolist()):
                raise ValueError
        fitted = Fitted.from_bytes(blob)
        right = (
            fitted.name == record.transform
            and fitted.count > 0
            and _fits(fitted, record.dim)
            and _moves(fitted, record.dim)
        )
    # zipfile and numpy raise some dozen others at odd bytes, a few of which no manual names
    except Exception as error:
        raise BadBackup("What the transform learned cannot be understood.") from error
    if not right:
        raise BadBackup("What the transform learned cannot be used.")
    return Learned(blob, _number(fitted_at))


def _fits(fitted: Fitted, dim: int) -> bool:
    """Tell whether the arrays are of the shapes that `Fitted` says, and of finite numbers."""
    parts: list[npt.NDArray[Any]] = [fitted.shift, fitted.references]
    parts += [] if fitted.matrix is None else [fitted.matrix]
    if not all(part.dtype.kind == "f" and np.isfinite(part).all() for part in parts):
        return False
    width = dim if fitted.matrix is None else fitted.shift.size
    return (
        fitted.shift.shape == (width,)
        and fitted.references.shape == (len(fitted.references), width)
        and (fitted.matrix is None or fitted.matrix.shape == (dim, width))
        and (len(fitted.references) > 0 or not fitted.steps.csls)
    )


def _moves(fitted: Fitted, dim: int) -> bool:
    moved = fitted.items(np.eye(1, dim))
    beside = 2 if fitted.steps.csls else 0
    return moved.shape == (1, fitted.shift.size + beside) and bool(np.isfinite(moved).all())
