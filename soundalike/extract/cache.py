"""Vectors that were made before, kept on disk.

An entry is named by what was heard and what heard it, and begins with the
SHA-256 of the rest: one that was damaged is as good as none. Several processes
may share a folder; entries are put in place whole, and nobody minds when one
is gone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from soundalike.extract.extraction import AudioReport, Extraction
from soundalike.types import Space

log = logging.getLogger(__name__)

SUFFIX = ".vector"
DIGEST_BYTES = 32
BLOCK_BYTES = 1 << 20
FILLED_TO = 0.9  # after making room, so that not every vector has to make its own


def key_of(file: BinaryIO, space: Space, place: str) -> str:
    """Name what comes of a sound.

    Parameters
    ----------
    file : binary file
        The encoded sound; left at its beginning.
    space : Space
        Of the vector.
    place : str
        What computes it: devices, libraries and precisions round differently.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    file.seek(0)
    digest = hashlib.sha256(f"{space} {place}\n".encode())
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


class VectorCache:
    """Keeps vectors in a folder, the latest used ones as far as there is room.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    most_bytes : int
        How much all entries may take together; a tenth more for each further process.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._written = most_bytes  # by this process since it last looked; at first it must look

    def get(self, key: str) -> Extraction | None:
        """Give what is kept under a key; None where there is nothing, or nothing sound."""
        started = time.perf_counter()
        path = self._path(key)
        try:
            content = path.read_bytes()
            found = _parsed(content)
            os.utime(path)  # the latest used are kept the longest
        except OSError:
            return None
        except (ValueError, KeyError, TypeError):
            log.warning("'%s' is damaged and was thrown away.", path)
            with suppress(OSError):
                path.unlink()
            return None
        found.ms["cache"] = round((time.perf_counter() - started) * 1000, 3)
        return found

    def put(self, key: str, extraction: Extraction) -> None:
        """Keep a vector, and throw away the longest unused where there is no room for it.

        Where it cannot be written it is not kept.
        """
        content = _laid_out(extraction)
        try:
            self._write(self._path(key), content)
        except OSError as error:
            log.warning("A vector cannot be kept in '%s': %s", self.folder, error)
            return
        with self._lock:
            self._written += len(content)
            if self._written > self.most_bytes * (1 - FILLED_TO):
                self._written = 0
                self._make_room()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / (key + SUFFIX)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(unfinished).replace(path)
        except OSError:
            Path(unfinished).unlink(missing_ok=True)
            raise

    def _make_room(self) -> None:
        """Throw away the longest unused entries until there is some room again."""
        entries = sorted(self._entries())
        taken = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if taken <= self.most_bytes * FILLED_TO:
                return
            with suppress(OSError):  # it stays, and counts again when there is next no room
                path.unlink(missing_ok=True)
                taken -= size

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """List when each file was last used, its size, and where it lies."""
        for path in self.folder.glob("??/*"):
            with suppress(OSError):  # another process may have thrown it away
                known = path.stat()
                yield known.st_mtime, known.st_size, path


def _laid_out(extraction: Extraction) -> bytes:
    told = {
        "model": extraction.model,
        "space": [extraction.space.embedder, extraction.space.digest],
        "audio": asdict(extraction.audio),
        "windows": extraction.windows,
        "device": extraction.device,
        "runtime": extraction.runtime,
        "dtype": extraction.dtype,
    }
    content = json.dumps(told).encode() + b"\n" + extraction.values.astype("<f4").tobytes()
    return hashlib.sha256(content).digest() + content


def _parsed(stored: bytes) -> Extraction:
    """Read an entry; raises ValueError, KeyError or TypeError where it is damaged."""
    digest, content = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError
    head, _, values = content.partition(b"\n")
    told = json.loads(head)
    return Extraction(
        model=told["model"],
        space=Space(*told["space"]),
        vector=np.frombuffer(values, "<f4").astype(np.float32),
        frames=None,
        audio=AudioReport(**told["audio"]),
        windows=told["windows"],
        window_vectors=[],
        device=told["device"],
        runtime=told["runtime"],
        dtype=told["dtype"],
        ms={},
    )
