"""One thread that writes, and commits together whatever waits to be written."""

from __future__ import annotations

import errno
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from soundalike.errors import CatalogueError, StorageFull

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Change = Callable[[sqlite3.Connection], Result]

MOST_TOGETHER = 256


@dataclass(slots=True)
class _Job:
    change: Change[Any]
    publish: Callable[[Any], None]
    done: Future[Any] = field(default_factory=Future)


class Writer:
    """Runs changes one after the other on a connection of its own.

    While a commit waits for the disk, the changes that come in meanwhile
    gather, and share the next commit. A change alone does not wait for
    company.

    Parameters
    ----------
    connection : sqlite3.Connection
        In autocommit mode; the writer closes it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._entry = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="catalogue-writer", daemon=True)
        self._thread.start()

    def write(self, change: Change[Result], publish: Callable[[Result], None]) -> Result:
        """Make a change, and return when it is on disk.

        Parameters
        ----------
        change : callable
            Takes the connection, inside a transaction; may be called again
            where a commit failed. Raises a `CatalogueError` before it writes
            anything, or not at all.
        publish : callable
            Takes the result. Called after the commit, in the order of the
            changes, before this returns; what it makes visible is on disk.

        Returns
        -------
        object
            What the change returned.

        Raises
        ------
        StorageFull
            The disk is full; nothing of the change was written.
        CatalogueError
            As the change raised it, or the writer is closed.
        """
        job = _Job(change, publish)
        with self._entry:
            if self._closed:
                raise CatalogueError("The catalogue is closed.")
            self._jobs.put(job)
        result: Result = job.done.result()
        return result

    def close(self) -> None:
        """Write what was accepted, then stop."""
        with self._entry:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            group, last = self._gather(job)
            self._settle(group)
            if last:
                break
        self._connection.close()

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        """Take what waits; true where the end was met."""
        group = [first]
        while len(group) < MOST_TOGETHER:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _settle(self, group: list[_Job]) -> None:
        """Commit a group; where that fails, each of it alone, so that one cannot spoil another."""
        try:
            outcomes = self._commit(group)
        except Exception as error:
            if len(group) == 1:
                group[0].done.set_exception(_fault(error))
                return
            for job in group:
                self._settle([job])
            return
        for job, (result, refusal) in zip(group, outcomes, strict=True):
            self._finish(job, result, refusal)

    def _commit(self, group: list[_Job]) -> list[tuple[Any, CatalogueError | None]]:
        outcomes: list[tuple[Any, CatalogueError | None]] = []
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for job in group:
                try:
                    outcomes.append((job.change(self._connection), None))
                except CatalogueError as refusal:
                    outcomes.append((None, refusal))
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled back on its own
                self._connection.execute("ROLLBACK")
            raise
        return outcomes

    def _finish(self, job: _Job, result: Any, refusal: CatalogueError | None) -> None:
        if refusal is not None:
            job.done.set_exception(refusal)
            return
        try:
            job.publish(result)
        except Exception as error:
            log.exception("a committed change could not be made visible")
            job.done.set_exception(error)
            return
        job.done.set_result(result)


def _fault(error: Exception) -> Exception:
    full_file = isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL
    full_disk = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full_file or full_disk:
        return StorageFull(
            "The disk is full and nothing of this request was written; make room and send it "
            "again. What was acknowledged before is safe."
        )
    return error
