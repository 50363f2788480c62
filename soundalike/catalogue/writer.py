"""One thread that writes, and commits together whatever waits to be written."""

from __future__ import annotations

import errno
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from soundalike.errors import CatalogueError, Overloaded, StorageFull

Result = TypeVar("Result")
Change = Callable[[sqlite3.Connection], Result]

MOST_TOGETHER = 256
RETRY_AFTER_S = 1


@dataclass(slots=True)
class _Job:
    change: Change[Any]
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

    def write(self, change: Change[Result]) -> Result:
        """Make a change, and return when it is on disk.

        Parameters
        ----------
        change : callable
            Takes the connection, inside a transaction; may be called again
            where a commit failed. Where it raises a `CatalogueError`, nothing
            of it is written.

        Returns
        -------
        object
            What the change returned.

        Raises
        ------
        StorageFull
            The disk is full; nothing of the change was written.
        Overloaded
            Another process keeps the file to itself; nothing was written.
        CatalogueError
            As the change raised it, or the writer is closed.
        """
        job = _Job(change)
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
            if refusal is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(refusal)

    def _commit(self, group: list[_Job]) -> list[tuple[Any, CatalogueError | None]]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._outcome(job) for job in group]
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled back on its own
                self._connection.execute("ROLLBACK")
            raise
        return outcomes

    def _outcome(self, job: _Job) -> tuple[Any, CatalogueError | None]:
        """Make a change, or undo what it had written when it refused to go on."""
        self._connection.execute("SAVEPOINT change")
        try:
            result, refusal = job.change(self._connection), None
        except CatalogueError as error:
            result, refusal = None, error
            self._connection.execute("ROLLBACK TO change")
        self._connection.execute("RELEASE change")
        return result, refusal


def _fault(error: Exception) -> Exception:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_BUSY:
        return Overloaded(
            "Other processes are writing and left no room for this; send it again.",
            retry_after=RETRY_AFTER_S,
        )
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == errno.ENOSPC:
        return StorageFull(
            "The disk is full and nothing of this request was written; make room and send it "
            "again. What was acknowledged before is safe."
        )
    return error
