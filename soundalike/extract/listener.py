"""One file heard by several embedders: decoded once, and resampled once for each rate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from soundalike.audio.decode import decode
from soundalike.audio.fingerprint import fingerprint
from soundalike.audio.gate import Meter
from soundalike.audio.resample import resample
from soundalike.embedders import Embedder
from soundalike.errors import EmbedderError, OutOfMemory, SoundalikeError
from soundalike.extract.extractor import Extractor
from soundalike.types import Clip, FloatArray

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one embedder says of one file.

    Attributes
    ----------
    frames : ndarray of float32, shape (T, D), or (T,) where D is 1
        One row a time step.
    vector : ndarray of float32, shape (D of its own,)
        Of the whole clip, pooled in the embedder's own way and of unit length.
    place : dict of str to str
        What computed it: `device`, `runtime` and `precision`.
    """

    frames: FloatArray
    vector: FloatArray
    place: dict[str, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an embedder says nothing of a file.

    Attributes
    ----------
    reason : str
        In a sentence for a person.
    of_model : bool
        Whether the embedder cannot be used at all, whatever the file.
    """

    reason: str
    of_model: bool = False


Answer: TypeAlias = Heard | Fault


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one file.

    Attributes
    ----------
    by_model : mapping of str to (Heard or Fault)
        One for each embedder that was asked, by name.
    seconds : float
        How long the sound lasts; 0 where it could not be decoded.
    facts : mapping
        What is known of the sound itself: its `format`, the share of it that is `silent`, and its
        `fingerprint` where it has one.
    spent_s : float
        How long it was worked on.
    """

    by_model: Mapping[str, Answer]
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    spent_s: float = 0.0


class Listener:
    """Hears files with several embedders.

    Parameters
    ----------
    get : callable
        Gives the extractor of a name, loaded once and kept; raises EmbedderError where it cannot.
    max_seconds : float, optional
        The longest sound that is taken; it is in memory whole.
    """

    def __init__(
        self, get: Callable[[str], Extractor], *, max_seconds: float | None = None
    ) -> None:
        self._get = get
        self.max_seconds = max_seconds

    def hear(self, source: Path | bytes | BinaryIO, models: Sequence[str]) -> Told:
        """Hear one file.

        Nothing is raised: what goes wrong with one embedder stands in its place, and of a file
        that cannot be decoded in the place of all.

        Parameters
        ----------
        source : path, bytes or binary file
            The encoded sound.
        models : sequence of str
            Names of embedders.

        Returns
        -------
        Told
        """
        loaded, lost = self._load(models)
        started = time.perf_counter()
        told = self._hear(source, loaded)
        by_model = {**lost, **told.by_model}
        return replace(told, by_model=by_model, spent_s=time.perf_counter() - started)

    def _load(self, models: Sequence[str]) -> tuple[dict[str, Extractor], dict[str, Answer]]:
        loaded: dict[str, Extractor] = {}
        lost: dict[str, Answer] = {}
        for name in models:
            try:
                loaded[name] = self._get(name)
            except EmbedderError as fault:
                lost[name] = Fault(fault.detail, of_model=True)
        return loaded, lost

    def _hear(self, source: Path | bytes | BinaryIO, extractors: Mapping[str, Extractor]) -> Told:
        try:
            clip = decode(source, max_seconds=self.max_seconds, mono=True)
            facts = _facts(clip)
        except Exception as error:  # whatever one file does, the others go on
            fault = Fault(reason_of(error))
            return Told(dict.fromkeys(extractors, fault))
        by_model: dict[str, Answer] = {}
        for at_rate, some in _by_rate(clip, extractors):
            by_model |= {name: _answer(one, at_rate) for name, one in some.items()}
        return Told(by_model, clip.seconds, facts)


def _by_rate(
    clip: Clip, extractors: Mapping[str, Extractor]
) -> Iterator[tuple[Clip, dict[str, Extractor]]]:
    """Resample a clip to each rate that is wanted, one after the other."""

    def rate(named: tuple[str, Extractor]) -> int:
        return named[1].embedder.card.sample_rate

    for rate_hz, some in groupby(sorted(extractors.items(), key=rate), rate):
        samples = resample(clip.samples[0], clip.sample_rate, rate_hz)
        # where nothing is left of it, the extractor is to see how short it was
        at_rate = (
            replace(clip, samples=samples[None], sample_rate=rate_hz) if len(samples) else clip
        )
        yield at_rate, dict(some)


def _answer(extractor: Extractor, clip: Clip) -> Answer:
    try:
        made = extractor.extract(clip, with_frames=True, run=_run_in_halves)
    except Exception as error:  # whatever one embedder does, the others go on
        return Fault(reason_of(error))
    assert made.vector is not None and made.frames is not None  # noqa: S101, PT018  (both were asked for)
    values = made.frames.values
    place = {"device": made.device, "runtime": made.runtime, "precision": made.dtype}
    return Heard(values[:, 0] if values.shape[1] == 1 else values, made.vector, place)


def _run_in_halves(embedder: Embedder, prepared: list[FloatArray]) -> list[FloatArray]:
    """Run windows, and where the device has no room for all of them, half of them at a time.

    Raises
    ------
    OutOfMemory
        There is no room for one.
    """
    try:
        return embedder.run(prepared)
    except OutOfMemory:
        middle = len(prepared) // 2
        if not middle:
            raise
    first, second = prepared[:middle], prepared[middle:]
    return _run_in_halves(embedder, first) + _run_in_halves(embedder, second)


def _facts(clip: Clip) -> dict[str, Any]:
    meter = Meter(clip.sample_rate)
    meter.feed(clip.samples[0])
    facts: dict[str, Any] = {"format": clip.format, "silent": meter.silent_share}
    made = fingerprint(clip)
    return facts if made is None else {**facts, "fingerprint": made}


def reason_of(error: Exception) -> str:
    """Say what went wrong in a sentence; what is not foreseen goes to the log too."""
    if isinstance(error, SoundalikeError):
        return error.detail
    if isinstance(error, MemoryError):
        return "There is not enough memory for it."
    if isinstance(error, OSError):
        return f"It cannot be read: {error.strerror or error}."
    log.exception("A file fails in a way that is not foreseen")
    return f"{type(error).__name__}: {error}"
