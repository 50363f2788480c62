"""Pictures of many sounds: in several processes, and nothing twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from soundalike.errors import SoundalikeError
from soundalike.pictures.settings import USUAL_KINDS, Kind, Settings


@dataclass(frozen=True, slots=True)
class Job:
    """Which pictures of a sound go where.

    Attributes
    ----------
    source : Path
        The sound.
    target : Path
        Where its pictures belong below the folder of their kind, without ``.png``.
    """

    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sound.

    Attributes
    ----------
    job : Job
        Which sound.
    drawn, there : int
        How many pictures were drawn, and how many stood there before.
    fault : str or None
        Why it failed, where it did.
    """

    job: Job
    drawn: int = 0
    there: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What is drawn of each sound.

    Attributes
    ----------
    out : Path
        Each picture is written to ``out/<kind>/<target>.png``.
    kinds : sequence of str
        Which pictures.
    settings : Settings
        How they are drawn.
    bare : bool
        Without axes.
    force : bool
        Draw again what is there.
    """

    out: Path
    kinds: Sequence[Kind] = USUAL_KINDS
    settings: Settings = Settings()  # noqa: RUF009  (frozen)
    bare: bool = False
    force: bool = False

    def path(self, job: Job, kind: Kind) -> Path:
        """Give the file that a picture is written to."""
        return self.out / kind / job.target.parent / f"{job.target.name}.png"


def draw(job: Job, order: Order) -> Outcome:
    """Draw the pictures of one sound that are not there yet.

    A file appears under its name only once it is whole.

    Returns
    -------
    Outcome
        A fault of the sound or of its files stands in it and is not raised.
    """
    kinds = [kind for kind in order.kinds if order.force or not order.path(job, kind).exists()]
    there = len(order.kinds) - len(kinds)
    if not kinds:
        return Outcome(job, there=there)
    try:
        _draw(job, order, kinds)
    except SoundalikeError as fault:
        return Outcome(job, there=there, fault=fault.detail)
    except (OSError, MemoryError) as fault:
        return Outcome(job, there=there, fault=str(fault) or "There is not enough memory for it.")
    return Outcome(job, drawn=len(kinds), there=there)


def _draw(job: Job, order: Order, kinds: Sequence[Kind]) -> None:
    from soundalike.pictures.drawing import png
    from soundalike.pictures.spectrograms import compute

    for kind, picture in compute(job.source, kinds, order.settings).items():
        path = order.path(job, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            partial.write_bytes(png(picture, bare=order.bare))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def draw_all(
    jobs: Iterable[Job], order: Order, processes: int | None = None
) -> Generator[Outcome, None, None]:
    """Draw pictures of many sounds.

    Parameters
    ----------
    jobs : iterable of Job
        The sounds.
    order : Order
        What is drawn of each.
    processes : int, optional
        How many work at the same time; one a core by default.

    Yields
    ------
    Outcome
        One for each job, in order. A sound that kills its process is named
        like any other that fails.
    """
    waiting, most = list(jobs), processes or os.cpu_count() or 1
    at_once = most
    while waiting:
        done = yield from _draw_until_one_dies(waiting, order, at_once)
        waiting = waiting[done:]
        if waiting and at_once == 1:
            yield Outcome(waiting.pop(0), fault="The process that drew it died.")
            at_once = most
        else:
            at_once = 1  # alone in its process, the next that dies is known


def _draw_until_one_dies(
    jobs: Sequence[Job], order: Order, processes: int
) -> Generator[Outcome, None, int]:
    """Draw until all is done or a process dies; give the number that was done."""
    done = 0
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_leave_interrupts)
    try:
        for future in [pool.submit(draw, job, order) for job in jobs]:
            yield future.result()
            done += 1
    except BrokenProcessPool:
        return done
    finally:
        pool.shutdown(cancel_futures=True)
    return done


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the parent, which then stops handing out work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
