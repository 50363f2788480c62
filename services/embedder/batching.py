"""Work that must not stand in the way of the event loop.

A sound is decoded, prepared and heard on one thread of a pool, one a core.
Only the passes of a device beside the processor are apart: the windows of all
sounds meet there, and a thread that waits for them gives its room to another.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import BinaryIO, TypeVar

from starlette.concurrency import run_in_threadpool

from services.embedder.backlog import Backlog
from services.embedder.counters import Counters
from services.embedder.passes import Gone, Health, Passes
from soundalike.audio.decode import expected_seconds
from soundalike.embedders import Embedder
from soundalike.errors import Overloaded, SoundalikeError
from soundalike.extract.cache import VectorCache, key_of
from soundalike.extract.extraction import Extraction
from soundalike.extract.extractor import Extractor
from soundalike.extract.hearing import Run
from soundalike.types import FloatArray

Done = TypeVar("Done")

FRAMES = "none"  # the pooling that leaves frames as they are
FEEDERS = 64  # twice the largest batch: one fills while the other runs


@dataclass(frozen=True, slots=True)
class Wish:
    """How a sound is to be embedded; see `Extractor.extract`."""

    pooling: str | None = None
    normalize: bool = True
    window_vectors: bool = False

    @property
    def is_one_vector(self) -> bool:
        """Whether a vector alone is asked for, and neither frames nor those of windows."""
        return self.pooling != FRAMES and not self.window_vectors


@dataclass(slots=True)
class _Job:
    """One sound that is to be embedded, on the thread that does it."""

    extractor: Extractor
    file: BinaryIO
    wish: Wish
    cache: VectorCache | None
    gone: threading.Event = field(default_factory=threading.Event)
    asked: float = field(default_factory=time.perf_counter)

    def do(self, run: Run) -> Extraction:
        """Embed it, unless nobody waits for it any more or the cache knows it."""
        queue = _ms_since(self.asked)
        self.stay()
        extraction = self._extract(run) if self.cache is None else self._known(self.cache, run)
        return replace(extraction, ms={"queue": queue, **extraction.ms})

    def _known(self, cache: VectorCache, run: Run) -> Extraction:
        """Give the vector that the cache has, or make it and keep it there."""
        wish = self.wish
        if not wish.is_one_vector:
            return self._extract(run)
        space = self.extractor.space(wish.pooling, normalize=wish.normalize)
        key = key_of(self.file, space, self.extractor.place)
        found = cache.get(key)
        if found is None:
            found = self._extract(run)
            cache.put(key, found)
        return found

    def stay(self) -> None:
        """Stop here where nobody waits for it any more."""
        if self.gone.is_set():
            raise Gone

    def _extract(self, run: Run) -> Extraction:
        wish = self.wish
        return self.extractor.extract(
            self.file,
            wish.pooling,
            normalize=wish.normalize,
            window_vectors=wish.window_vectors,
            run=run,
        )


_Working = asyncio.Future[Extraction]


class Batching:
    """Embeds sounds on a fixed number of threads, and no more than can wait.

    Parameters
    ----------
    threads : int
        Sounds that are worked on at the same time; the others wait.
    queue_seconds : float
        How many seconds of sound may wait or be worked on.
    counters : Counters
        What was done is counted there.
    cache : VectorCache, optional
        Where vectors are kept.
    """

    def __init__(
        self,
        threads: int,
        queue_seconds: float,
        counters: Counters,
        cache: VectorCache | None = None,
    ) -> None:
        self.backlog = Backlog(queue_seconds)
        self.health = Health()
        self._counters = counters
        self._cache = cache
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._feeders = ThreadPoolExecutor(threads + FEEDERS, thread_name_prefix="feed")
        self._room = threading.Semaphore(threads)
        self._passes = Passes(self.health, counters.batch_sizes.observe)

    async def embed(self, extractor: Extractor, file: BinaryIO, wish: Wish) -> Extraction:
        """Embed one sound.

        Where the caller is cancelled, what has not begun never does, and what has stops before
        its next window; until then it counts as worked on.

        Raises
        ------
        SoundalikeError
            As `Extractor.extract` does.
        Overloaded
            Too much waits already.
        """
        job = _Job(extractor, file, wish, self._cache)
        seconds = await run_in_threadpool(expected_seconds, file, extractor.max_seconds)
        return await self._finish(job, self._begin(job, seconds))

    async def embed_all(
        self, extractor: Extractor, files: list[BinaryIO], wish: Wish
    ) -> list[Extraction | SoundalikeError]:
        """Embed many sounds; one that cannot be used leaves its fault in its place.

        Those that have no room beside others of the same call wait for these.
        """
        begun: set[_Working] = set()

        async def one(file: BinaryIO) -> Extraction | SoundalikeError:
            job = _Job(extractor, file, wish, self._cache)
            try:
                seconds = await run_in_threadpool(expected_seconds, file, extractor.max_seconds)
                return await self._finish(job, await self._begin_among(begun, job, seconds))
            except SoundalikeError as fault:
                return fault

        return list(await asyncio.gather(*(one(file) for file in files)))

    async def _begin_among(self, begun: set[_Working], job: _Job, seconds: float) -> _Working:
        """Begin a job once there is room beside those of its request that are begun."""
        while True:
            try:
                working = self._begin(job, seconds)
            except Overloaded:
                if not begun:
                    raise
                await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
            else:
                begun.add(working)
                working.add_done_callback(begun.discard)
                return working

    def _begin(self, job: _Job, seconds: float) -> _Working:
        """Put a job into the queue, which it leaves when its thread does with it."""
        beside = job.extractor.largest_batch > 1
        pool, work = (self._feeders, self._feed) if beside else (self._workers, self._work)

        def leave(done: Future[Extraction]) -> None:
            self.backlog.leave(seconds, done=not (done.cancelled() or job.gone.is_set()))

        self.backlog.enter(seconds)
        working = pool.submit(work, job)
        working.add_done_callback(leave)
        return asyncio.wrap_future(working)

    async def _finish(self, job: _Job, working: _Working) -> Extraction:
        try:
            extraction = await working
        except asyncio.CancelledError:
            job.gone.set()
            raise
        self._counters.count(extraction)
        return extraction

    async def do(self, seconds: float, work: Callable[[], Done]) -> Done:
        """Do other work in turn with the sounds, on a thread that they would have.

        Parameters
        ----------
        seconds : float
            As how many seconds of sound it counts.
        work : callable
            Where the caller is cancelled before it begins, it never does.

        Raises
        ------
        Overloaded
            Too much waits already.
        """
        self.backlog.enter(seconds)
        working = self._workers.submit(work)
        working.add_done_callback(
            lambda done: self.backlog.leave(seconds, done=not done.cancelled())
        )
        return await asyncio.wrap_future(working)

    def close(self) -> None:
        """Let what runs finish, and drop what waits."""
        self._workers.shutdown(cancel_futures=True)
        self._passes.close()
        self._feeders.shutdown(cancel_futures=True)

    def _work(self, job: _Job) -> Extraction:
        """Do all of a job in this thread, as on a processor."""

        def run(embedder: Embedder, prepared: list[FloatArray]) -> list[FloatArray]:
            job.stay()
            with self.health.judged():
                return embedder.run(prepared)

        return job.do(run)

    def _feed(self, job: _Job) -> Extraction:
        """Do a job in this thread but for the passes, for which it makes room for others."""

        def run(embedder: Embedder, prepared: list[FloatArray]) -> list[FloatArray]:
            self._room.release()
            try:
                return self._passes.run(embedder, prepared, job.gone)
            finally:
                self._room.acquire()

        with self._room:
            return job.do(run)


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
