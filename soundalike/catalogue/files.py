"""Index folders: all that a collection is searched in, as it was after one write.

::

    items.utf8, items.offsets.npy  id and metadata (JSON) of each item, by rising id
    vectors.npy                    float32, of unit length
    places.npy                     where a transform moves them; else the vectors serve
    transform.npz                  the fitted transform; not without one
    annoy.index, faiss.index       what the engine wrote
    groups.npy                     the rows of each vector, which may be several
    narrowing.npy                  what leads from a vector to fewer numbers, where any does
    manifest.json                  what all this is, with size and SHA-256 of each file

A folder is written once, under another name, and gets its own when all of it is
on disk. It never changes after that, so that any number of processes can map
it. It can be made again from the catalogue's tables at any time: where there is
any doubt it is thrown away.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soundalike import engines
from soundalike.catalogue import manifest as manifests
from soundalike.catalogue.manifest import Manifest
from soundalike.catalogue.mapped import Strings, Table
from soundalike.catalogue.transforms import Fitted
from soundalike.engines.arrays import header, open_array
from soundalike.engines.base import Engine
from soundalike.errors import DamagedIndex
from soundalike.types import FloatArray

ITEMS = "items"
COLUMNS = KEY, METADATA = range(2)
VECTORS = "vectors.npy"
PLACES = "places.npy"
TRANSFORM = "transform.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """An index folder, mapped into memory.

    Attributes
    ----------
    manifest : Manifest
        What it says of itself.
    keys : Strings
        The ids of the items, rising by their bytes.
    metadata : Strings
        Of each item, as JSON.
    vectors : ndarray of float32, shape (N, D)
        Of unit length.
    places : ndarray of float32, shape (N, S)
        Where they are looked for; the vectors themselves without a transform.
    engine : Engine
        Over the places.
    fitted : Fitted or None
        The transform; None also where there were too few items to fit it on.
    """

    manifest: Manifest
    keys: Strings
    metadata: Strings
    vectors: FloatArray
    places: FloatArray
    engine: Engine
    fitted: Fitted | None

    @property
    def sequence(self) -> int:
        """The write this shows."""
        return self.manifest.sequence

    @property
    def transform(self) -> str | None:
        """The name of the transform that is wanted."""
        return self.manifest.transform

    @property
    def fitted_at(self) -> int:
        """The write after which it was fitted."""
        return self.manifest.fitted_at


def seal(folder: Path, manifest: Manifest) -> None:
    """Bring all files of a folder to the disk, and then the manifest, which names them."""
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        _sync(folder / name)
    facts = {name: _facts(folder / name) for name in names}
    with (folder / manifests.NAME).open("w", encoding="utf-8") as file:
        file.write(replace(manifest, files=facts).to_json())
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)


def publish(written: Path, folder: Path) -> None:
    """Give a sealed folder its name."""
    written.rename(folder)
    _sync(folder.parent)


def verify(folder: Path) -> Manifest:
    """Make sure that a folder is what was written; reads every byte of it, and maps nothing.

    Raises
    ------
    DamagedIndex
        A file is missing, of another size or with another digest, or the
        manifest was changed or makes no sense.
    """
    manifest = _with_sizes(folder)
    for name, facts in manifest.files.items():
        if _facts(folder / name) != facts:
            raise DamagedIndex(f"{folder / name} is not what was written.")
    return manifest


def open_folder(folder: Path) -> Stored:
    """Map a folder into memory.

    Parameters
    ----------
    folder : Path
        One that passed `building.check`: damage within an engine's file may
        crash the process that maps it.

    Raises
    ------
    DamagedIndex
        The files do not fit each other or the manifest.
    """
    manifest = _with_sizes(folder)
    fitted = _fitted(folder, manifest)
    vectors = open_matrix(folder / VECTORS, (manifest.items, manifest.dim))
    places = vectors
    if fitted is not None:
        places = open_matrix(folder / PLACES, (manifest.items, manifest.width))
    elif manifest.width != manifest.dim:
        raise DamagedIndex(f"{folder} has no transform that changes the length of vectors.")
    keys, metadata = map(Table(folder, ITEMS, manifest.items, len(COLUMNS)).column, COLUMNS)
    engine = engines.load(manifest.engine).open(folder, places, manifest.index)
    return Stored(manifest, keys, metadata, vectors, places, engine, fitted)


def write_matrix(path: Path, shape: tuple[int, int], blocks: Iterator[FloatArray]) -> None:
    """Write the blocks of a matrix as they come, as an .npy file.

    It is written and not mapped: on a full disk a write fails, and a mapping kills.
    """
    with path.open("wb") as file:
        file.write(header(np.float32, shape))
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype="<f4").data)


def open_matrix(path: Path, shape: tuple[int, int]) -> FloatArray:
    """Map what `write_matrix` wrote; DamagedIndex where that is not of this shape."""
    return open_array(path, np.float32, shape)


def _with_sizes(folder: Path) -> Manifest:
    """Read the manifest and make sure of the files' names and sizes."""
    manifest = manifests.read(folder)
    try:
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    except OSError as error:
        raise DamagedIndex(f"{folder} cannot be read: {error}.") from error
    sizes.pop(manifests.NAME, None)  # gone where the folder is being deleted
    if sizes != {name: facts["size"] for name, facts in manifest.files.items()}:
        raise DamagedIndex(f"The files in {folder} are not those that were written.")
    return manifest


def _fitted(folder: Path, manifest: Manifest) -> Fitted | None:
    if TRANSFORM not in manifest.files:
        return None
    try:
        fitted = Fitted.from_bytes((folder / TRANSFORM).read_bytes())
    except Exception as error:  # numpy and zipfile raise all sorts
        raise DamagedIndex(f"{folder / TRANSFORM} cannot be read: {error}.") from error
    if fitted.name != manifest.transform:
        raise DamagedIndex(f"{folder / TRANSFORM} is not {manifest.transform}.")
    return fitted


def _facts(path: Path) -> dict[str, int | str]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"size": os.fstat(file.fileno()).st_size, "sha256": digest}
    except OSError as error:
        raise DamagedIndex(f"{path} cannot be read: {error}.") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
