"""Windows of many sounds go through a device together."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from soundalike.embedders import Embedder
from soundalike.errors import OutOfMemory, SoundalikeError
from soundalike.types import FloatArray

log = logging.getLogger(__name__)

FAILURES = 3
FORGIVEN_AFTER_S = 30.0


class Gone(Exception):
    """The client that asked is not there any more."""


class Health:
    """Tells whether passes through a network still come to something.

    After some failures in a row they count as broken, until one succeeds or
    some time has passed: a service that gets no requests cannot show that it
    has recovered.

    Parameters
    ----------
    clock : callable
        Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._failed_at = 0.0

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Note how the pass in this context ends; a fault of the sound's says nothing of it."""
        try:
            yield
        except SoundalikeError as fault:
            if isinstance(fault, OutOfMemory):
                self._fail()
            raise
        except Exception:
            self._fail()
            raise
        self.succeed()

    def succeed(self) -> None:
        """Note that a pass came to something."""
        self._failures = 0

    def _fail(self) -> None:
        self._failures += 1
        self._failed_at = self._clock()

    @property
    def is_good(self) -> bool:
        """Whether there is reason to expect that the next one comes to something."""
        forgiven = self._clock() - self._failed_at > FORGIVEN_AFTER_S
        return self._failures < FAILURES or forgiven


@dataclass(slots=True)
class _Waiting:
    embedder: Embedder
    window: FloatArray
    gone: threading.Event
    frames: Future[FloatArray] = field(default_factory=Future)

    def fits(self, other: _Waiting) -> bool:
        return self.embedder is other.embedder and self.window.shape == other.window.shape


class Passes:
    """Runs windows on devices, those of one shape together; batches form while the last one runs.

    Parameters
    ----------
    health : Health
        Is told how passes end.
    seen : callable
        Is told the size of every batch.
    """

    def __init__(self, health: Health, seen: Callable[[int], None]) -> None:
        self._health = health
        self._seen = seen
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)

    def run(
        self, embedder: Embedder, windows: Sequence[FloatArray], gone: threading.Event
    ) -> list[FloatArray]:
        """Run windows of a sound, together with those of others; the calling thread waits.

        Raises
        ------
        OutOfMemory
            One of them alone is too much for the device.
        Gone
            The client went away before all had their turn.
        """
        entries = [_Waiting(embedder, window, gone) for window in windows]
        with self._changed:
            if self._closed:
                raise Gone
            if self._thread.ident is None:
                self._thread.start()
            self._waiting.extend(entries)
            self._changed.notify()
        return [entry.frames.result() for entry in entries]

    def close(self) -> None:
        """Let the batch that runs finish, and drop what waits."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._next():
            self._seen(len(batch))
            self._settle(batch)

    def _next(self) -> list[_Waiting]:
        """Wait for windows and take those that go together; none once this is closed."""
        with self._changed:
            while True:
                self._drop(lambda entry: self._closed or entry.gone.is_set())
                if self._waiting or self._closed:
                    break
                self._changed.wait()
            if not self._waiting:
                return []
            first = self._waiting[0]
            alike = [entry for entry in self._waiting if entry.fits(first)]
            batch = alike[: first.embedder.largest_batch]
            taken = set(map(id, batch))
            self._waiting = deque(entry for entry in self._waiting if id(entry) not in taken)
            return batch

    def _drop(self, unwanted: Callable[[_Waiting], bool]) -> None:
        kept: deque[_Waiting] = deque()
        for entry in self._waiting:
            if unwanted(entry):
                entry.frames.set_exception(Gone())
            else:
                kept.append(entry)
        self._waiting = kept

    def _settle(self, batch: list[_Waiting]) -> None:
        """Run a batch; where that fails, each half by itself, down to the window at fault."""
        try:
            answered = self._compute(batch)
        except Exception as fault:  # whatever it is, it belongs to who waits for it
            middle = len(batch) // 2
            if not middle:
                batch[0].frames.set_exception(fault)
                return
            log.warning("A pass of %d windows failed; they are halved: %s", len(batch), fault)
            self._settle(batch[:middle])
            self._settle(batch[middle:])
        else:
            for entry, frames in answered:
                entry.frames.set_result(frames)

    def _compute(self, batch: list[_Waiting]) -> list[tuple[_Waiting, FloatArray]]:
        if len(batch) == 1:
            with self._health.judged():
                return _answered(batch)
        answered = _answered(batch)  # what fails together may still come to something alone
        self._health.succeed()
        return answered


def _answered(batch: list[_Waiting]) -> list[tuple[_Waiting, FloatArray]]:
    found = batch[0].embedder.run([entry.window for entry in batch])
    return list(zip(batch, found, strict=True))
