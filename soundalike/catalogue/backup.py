"""A collection as one file, to be put away and taken in again here or elsewhere.

The file is a zip archive whose members are stored as they are::

    vectors.f32     float32, little-endian, shape (items, dim), as they were given
    items.jsonl     {"id": ..., "metadata": {...}}, a line an item, by rising id
    transform.npz   what the collection's transform learned, where it has
    manifest.json   format and version, what the collection is, the number of
                    items, and for each other member its bytes and SHA-256

The archive's comment is the SHA-256 of all that comes before it, so that no
byte can change unnoticed. An index is not in it: it is built from the vectors.
`restore` reads such files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

from soundalike.catalogue.reader import Collection, Reader, to_bytes
from soundalike.catalogue.statements import Learned
from soundalike.errors import StorageFull, UnknownCollection

FORMAT, VERSION = "soundalike-collection", 1
VECTORS, ITEMS, TRANSFORM, MANIFEST = "vectors.f32", "items.jsonl", "transform.npz", "manifest.json"
FACTS = ("name", "space", "dim", "engine", "model", "pooling", "created", "transform")
SEAL, DIGEST_LENGTH = b"sha256:", 64
CHUNK_BYTES = 1 << 20

Members = dict[str, dict[str, Any]]


def write(file: IO[bytes], reader: Reader, collection: int) -> None:
    """Write a collection as it is at one moment.

    Parameters
    ----------
    file : binary file
        Empty, readable, writable and seekable.
    reader : Reader
        With what it is read, in one transaction, some thousand items at once.
    collection : int
        Its number in the tables.

    Raises
    ------
    UnknownCollection
        It was dropped meanwhile.
    StorageFull
        There is no room for the file.
    """
    try:
        _write(file, reader, collection)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise StorageFull("The disk has no room for the snapshot; make room.") from error


def _write(file: IO[bytes], reader: Reader, collection: int) -> None:
    with reader.moment():
        found, progress = reader.collection(collection), reader.progress(collection)
        if found is None or progress is None:
            raise UnknownCollection("The collection was dropped meanwhile.")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _write_members(archive, reader, found, sequence=progress[0])
            archive.comment = SEAL + b"0" * DIGEST_LENGTH
    digest = digest_before_seal(file)
    file.seek(-DIGEST_LENGTH, 2)
    file.write(digest)
    file.flush()


def digest_before_seal(file: IO[bytes]) -> bytes:
    """Compute what the last bytes of a file must be, from all before them."""
    left = file.seek(0, 2) - DIGEST_LENGTH
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode()


def _write_members(
    archive: zipfile.ZipFile, reader: Reader, found: Collection, *, sequence: int
) -> None:
    record, learned, count = found.record, reader.learned(found.record.id), 0

    def vectors() -> Iterator[bytes]:
        nonlocal count
        for block in reader.items(record.id, record.dim):
            count += len(block.keys)
            yield to_bytes(block.vectors)

    def items() -> Iterator[bytes]:
        for block in reader.items(record.id, record.dim):
            for key, metadata in zip(block.keys, block.metadata, strict=True):
                yield f'{{"id":{json.dumps(key)},"metadata":{metadata}}}\n'.encode()

    members = {VECTORS: _add(archive, VECTORS, vectors()), ITEMS: _add(archive, ITEMS, items())}
    if learned is not None:
        members[TRANSFORM] = _add(archive, TRANSFORM, [learned.parameters])
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "collection": {name: getattr(record, name) for name in FACTS},
        "sequence": sequence,
        "items": count,
        "fitted_at": _fitted_at(learned),
        "members": members,
    }
    _add(archive, MANIFEST, [json.dumps(manifest, indent=1).encode()])


def _fitted_at(learned: Learned | None) -> int | None:
    return None if learned is None else learned.sequence


def _add(archive: zipfile.ZipFile, name: str, chunks: Iterable[bytes]) -> dict[str, Any]:
    """Write a member; give its size and digest."""
    digest, size = hashlib.sha256(), 0
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
        for chunk in chunks:
            member.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}
