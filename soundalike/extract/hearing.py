"""One sound on its way through one embedder, window by window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np

from soundalike.audio import resample, windows
from soundalike.audio.decode import Sound
from soundalike.audio.gate import Meter
from soundalike.embedders import Embedder
from soundalike.errors import BadSamples, Silent, TooShort
from soundalike.extract.extraction import AudioReport
from soundalike.types import FloatArray, Frames, Window

Run = Callable[[Embedder, list[FloatArray]], list[FloatArray]]
"""Has an embedder run prepared windows, and gives their frames in order."""

Thing = TypeVar("Thing")
_END = object()


def run_here(embedder: Embedder, prepared: list[FloatArray]) -> list[FloatArray]:
    """Run prepared windows in the calling thread."""
    return embedder.run(prepared)


class Stopwatch:
    """Adds up the time of stages, each without that of the stages within it."""

    def __init__(self) -> None:
        self._ms: dict[str, float] = {}
        self._within = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens in this context for a stage."""
        outer, self._within = self._within, 0.0
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - started) * 1000
            self._ms[name] = self._ms.get(name, 0.0) + spent - self._within
            self._within = outer + spent

    def each(self, name: str, things: Iterable[Thing]) -> Iterator[Thing]:
        """Pass things on, counting for a stage what it takes to get each."""
        left = iter(things)
        while True:
            with self.stage(name):
                thing = next(left, _END)
            if thing is _END:
                return
            yield thing  # type: ignore[misc]  # what is not the end is one of them

    def rounded(self) -> dict[str, float]:
        """Give the milliseconds of each stage, in the order in which they first ended."""
        return {name: round(spent, 3) for name, spent in self._ms.items()}


class Hearing:
    """Has an embedder hear one sound.

    No more of the sound is in memory than the windows that are heard
    together; what is kept is what the embedder says of them.

    Parameters
    ----------
    embedder : Embedder
        What hears it.
    run : callable
        Has it run prepared windows.

    Attributes
    ----------
    pieces : list of Window
        The windows that were heard, without their samples.
    watch : Stopwatch
        What took how long.
    """

    def __init__(self, embedder: Embedder, run: Run) -> None:
        self.embedder = embedder
        self.pieces: list[Window] = []
        self.watch = Stopwatch()
        self._run = run
        self._parts: list[FloatArray] = []

    def hear(self, sound: Sound) -> AudioReport:
        """Hear all of it, and tell what it was like.

        Raises
        ------
        AudioError
            It cannot be used; see its subclasses.
        """
        meter = Meter(sound.sample_rate)
        pieces = self._pieces(sound, meter)
        while together := list(islice(pieces, self.embedder.largest_batch)):
            with self.watch.stage("features"):
                prepared = [self.embedder.prepare(piece) for piece in together]
            self.pieces += [replace(piece, samples=piece.samples[:0].copy()) for piece in together]
            del together
            with self.watch.stage("model"):
                self._parts += self._run(self.embedder, prepared)
        if not all(np.isfinite(part).all() for part in self._parts):
            raise BadSamples(f"'{self.embedder.name}' answers this sound with what are no numbers.")
        return _report(sound, meter, self.pieces)

    def _pieces(self, sound: Sound, meter: Meter) -> Iterator[Window]:
        card = self.embedder.card
        samples = resample.stream(self._mono(sound, meter), sound.sample_rate, card.sample_rate)
        return windows.cut(self.watch.each("resample", samples), card.sample_rate, card.window_s)

    def _mono(self, sound: Sound, meter: Meter) -> Iterator[FloatArray]:
        for block in self.watch.each("decode", sound.blocks()):
            mono = block[:, 0]
            meter.feed(mono)
            yield mono
        card = self.embedder.card
        if sound.seconds < card.min_seconds:
            raise TooShort(
                f"The sound lasts {sound.seconds:.3f} s and '{card.key}' needs at least "
                f"{card.min_seconds:.3f} s.",
                limit=card.min_seconds,
                got=sound.seconds,
            )
        if meter.is_silent and not card.hears_silence:
            raise Silent(
                "There is nothing but silence in the sound, of which "
                f"'{card.key}' cannot say anything."
            )

    def vectors(self, how: str) -> Iterator[tuple[Window, FloatArray]]:
        """Pool what was said of each window; yields the two together."""
        for part, piece in zip(self._parts, self.pieces, strict=True):
            yield piece, self.embedder.pool(self.embedder.join([part], [piece]), how)

    def frames(self) -> Frames:
        """Join what was said of all windows."""
        return self.embedder.join(self._parts, self.pieces)


def _report(sound: Sound, meter: Meter, pieces: list[Window]) -> AudioReport:
    return AudioReport(
        format=sound.format,
        sample_rate=sound.sample_rate,
        channels=sound.source_channels,
        seconds=sound.seconds,
        # resampling rounds to a whole sample, which may end a hair behind the clip
        seconds_used=min(sound.seconds, sum(piece.seconds for piece in pieces)),
        truncated=sound.truncated,
        clipped=sound.clipped_share,
        silent=meter.silent_share,
    )
