"""Where the index folders of a catalogue lie, and who may make one."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FOLDER = "indexes"
LOCK = "building.lock"


class Shelf:
    """The index folders, one for each collection and in it one for each index.

    Parameters
    ----------
    directory : Path
        The catalogue's.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / FOLDER
        self._folder.mkdir(exist_ok=True)

    def path(self, collection: int, name: str) -> Path:
        """Say where an index of a collection lies."""
        return self._folder / str(collection) / name

    @contextmanager
    def building(self, *, wait: bool) -> Iterator[bool]:
        """Be the only one, in all processes, who makes or deletes folders.

        Parameters
        ----------
        wait : bool
            Until the others are done; else give False where there is another.
        """
        # the system lets go of the lock when the process ends, however that happens
        with (self._folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True

    def clear(self, published: Mapping[int, str]) -> None:
        """Delete all folders but those of the published indexes; only while `building`.

        Whoever has one open can go on reading it.
        """
        kept = {self.path(collection, name) for collection, name in published.items()}
        for path in self._folder.glob("*/*"):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)
