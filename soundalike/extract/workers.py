"""Hands that hear files on this machine: processes on a processor, threads beside a device.

A file is heard by all models in one hand, and hands work side by side. In processes of their own
they do not wait for one another's interpreter, which the networks that go from moment to moment
keep busy. A device has room for the weights but once: there threads share them, and decode what is
heard next while it computes.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TypeAlias

from soundalike.embedders import runtime
from soundalike.extract.folder import Hear, Task
from soundalike.extract.listener import Fault, Listener, Told
from soundalike.extract.loading import Extractors
from soundalike.extract.outputs import Model

BYTES_BESIDE_WEIGHTS = 1 << 30
COPIES_OF_WEIGHTS = 2  # as they are read, and as the runtime lays them out
SHARE_OF_MEMORY = 0.5

Heard: TypeAlias = Generator[tuple[Task, Told], None, None]
Begin: TypeAlias = Callable[[Task], "Future[Told]"]


def hands(
    models: Sequence[Model], jobs: int | None = None, *, max_seconds: float | None = None
) -> Hear:
    """Make what hears files on this machine.

    Parameters
    ----------
    models : sequence of Model
        Those that will be asked for.
    jobs : int, optional
        How many files are heard at the same time; by default one a core, as far as half the
        machine's memory holds the models so many times.
    max_seconds : float, optional
        The longest sound that is taken.

    Returns
    -------
    callable
        See `Hear`. Models are loaded once the first file is there.

    Raises
    ------
    DeviceMissing
        The device that is set is not here.
    """
    names = [model.name for model in models]
    # what has no weights is computed on the processor
    if any(model.weights_bytes for model in models) and not runtime.chosen().is_processor:
        many = jobs or runtime.cores()
        return threads(Listener(Extractors(workers=many).get, max_seconds=max_seconds), many)
    return Processes(names, jobs or _as_many_as_fit(models), max_seconds)


def _as_many_as_fit(models: Sequence[Model]) -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    weights = sum(model.weights_bytes for model in models)
    fit = int(memory * SHARE_OF_MEMORY / (BYTES_BESIDE_WEIGHTS + COPIES_OF_WEIGHTS * weights))
    return max(1, min(runtime.cores(), fit))


def threads(listener: Listener, jobs: int) -> Hear:
    """Make what hears files in so many threads of this process; see `Hear`."""

    def hear(tasks: Iterable[Task]) -> Heard:
        with ThreadPoolExecutor(jobs) as pool:
            yield from _side_by_side(pool, listener.hear, tasks, {}, jobs)

    return hear


class Processes:
    """Hears files in processes, each of which loads the models; see `Hear`.

    A file that kills its process is a fault like any other.

    Parameters
    ----------
    names : sequence of str
        Of the models.
    jobs : int
        How many processes.
    max_seconds : float, optional
        The longest sound that is taken.
    """

    def __init__(self, names: Sequence[str], jobs: int, max_seconds: float | None = None) -> None:
        self.names = list(names)
        self.jobs = jobs
        self.max_seconds = max_seconds

    def __call__(self, tasks: Iterable[Task]) -> Heard:
        """Hear files."""
        left = iter(tasks)
        with _cores_shared_by(self.jobs):
            while suspects := (yield from self._until_one_dies(left)):
                for task in suspects:
                    yield task, self._alone(task)

    def _until_one_dies(
        self, tasks: Iterator[Task]
    ) -> Generator[tuple[Task, Told], None, list[Task]]:
        """Hear files until none is left or a process dies; give those that were at hand then."""
        at_hand: dict[Future[Told], Task] = {}
        pool = self._pool(self.jobs)
        try:
            yield from _side_by_side(pool, _hear, tasks, at_hand, self.jobs)
        except BrokenProcessPool:
            pass
        finally:
            pool.shutdown(cancel_futures=True)
        return list(at_hand.values())

    def _alone(self, task: Task) -> Told:
        """Hear a file in a process of its own, in which nothing else can be at fault."""
        with self._pool(1) as pool:
            try:
                return pool.submit(_hear, task.found.path, task.models).result()
            except BrokenProcessPool:
                fault = Fault("The process that heard it died, of it or for want of memory.")
                return Told(dict.fromkeys(task.models, fault))

    def _pool(self, jobs: int) -> ProcessPoolExecutor:
        told = (self.names, self.jobs, self.max_seconds)
        return ProcessPoolExecutor(jobs, get_context("spawn"), _begin, told)


def _side_by_side(
    pool: Executor,
    hear: Callable[[Path, Sequence[str]], Told],
    tasks: Iterable[Task],
    at_hand: dict[Future[Told], Task],
    jobs: int,
) -> Heard:
    """Hear files in a pool, with one more at hand than it has workers, lest one waits."""
    for task in tasks:
        try:
            future = pool.submit(hear, task.found.path, task.models)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        at_hand[future] = task
        if len(at_hand) > jobs:
            yield from _first_done(at_hand)
    while at_hand:
        yield from _first_done(at_hand)


def _first_done(at_hand: dict[Future[Told], Task]) -> Heard:
    done, _ = wait(at_hand, return_when=FIRST_COMPLETED)
    for future in done:
        told = future.result()  # where this raises, the task is still at hand
        yield at_hand.pop(future), told


@contextmanager
def _cores_shared_by(jobs: int) -> Iterator[None]:
    """Have each of the processes that are started meanwhile compute with its share of the cores."""
    name = "OMP_NUM_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(max(1, runtime.cores() // jobs))
    try:
        yield
    finally:
        del os.environ[name]


_listener: Listener  # of a process of `Processes`


def _begin(names: Sequence[str], jobs: int, max_seconds: float | None) -> None:
    """Begin to load the models, all at once."""
    global _listener  # noqa: PLW0603  (what a process keeps between two files)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets them end
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    atexit.register(os._exit, 0)  # to take networks apart piece by piece costs a second
    threading.Thread(target=_end_with_parent, daemon=True).start()
    extractors = Extractors(workers=jobs)
    for name in names:
        extractors.begin(name)
    _listener = Listener(extractors.get, max_seconds=max_seconds)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # noqa: S101  (this is a process that was started)
    parent.join()
    os._exit(1)


def _hear(path: Path, models: Sequence[str]) -> Told:
    return _listener.hear(path, models)
