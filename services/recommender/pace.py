"""Whether a search runs on the event loop or in a thread.

To hand a search over to a thread and get its answer back takes about as long as
a search by an index does. So searches that are quick run where the request was
read; those that would hold up others run in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

Found = TypeVar("Found")

QUICK_S = 0.004


class Pace:
    """Remembers of which collections the last search was quick.

    A search that catches up with much that was written, or compares many items,
    is slow once and then handed to threads until one is quick again.
    """

    def __init__(self) -> None:
        self._quick: set[str] = set()

    async def search(self, collection: str, search: Callable[[], Found], *, alone: bool) -> Found:
        """Run a search.

        Parameters
        ----------
        collection : str
            Where it looks.
        search : callable
            Raises a fault where there is no such collection.
        alone : bool
            Whether it is for a single query, by the index: no other is ever quick.
        """
        if not alone:
            return await run_in_threadpool(search)
        timed = self._timed(collection, search)
        return timed() if collection in self._quick else await run_in_threadpool(timed)

    def _timed(self, collection: str, search: Callable[[], Found]) -> Callable[[], Found]:
        def timed() -> Found:
            # of the processor, since by the clock any search is slow on a busy machine now and then
            began = time.thread_time()
            found = search()
            quick = time.thread_time() - began < QUICK_S
            remember = self._quick.add if quick else self._quick.discard
            remember(collection)
            return found

        return timed
