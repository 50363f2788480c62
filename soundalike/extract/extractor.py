"""From a file to its vector: decode, resample, cut, embed, pool."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from soundalike.audio import gate, resample, windows
from soundalike.audio.decode import decode
from soundalike.embedders import Embedder
from soundalike.errors import BadRequest, BadSamples, Silent, TooShort
from soundalike.extract.extraction import AudioReport, Extraction, WindowVector
from soundalike.pooling import NO_POOLING, POOLINGS, unit
from soundalike.types import Clip, FloatArray, Frames, Space, Window

RULES = {"mix": "mean", "resampler": resample.VERSION, "windows": windows.VERSION}
PHRASINGS = ("{}", "the sound of {}", "a recording of {}", "{} can be heard")


@dataclass(slots=True)
class _Stopwatch:
    ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.ms[name] = round((time.perf_counter() - started) * 1000, 3)


class Extractor:
    """Makes vectors of sounds with one embedder.

    Parameters
    ----------
    embedder : Embedder
        What hears the sound.
    max_seconds : float, optional
        The longest sound that is accepted.
    """

    def __init__(self, embedder: Embedder, *, max_seconds: float | None = None) -> None:
        self.embedder = embedder
        self.max_seconds = max_seconds

    @property
    def name(self) -> str:
        """The embedder's name, with the options that differ from the defaults."""
        return self.embedder.name

    def space(self, pooling: str | None = None, *, normalize: bool = True) -> Space:
        """Name the space of the vectors that `extract` makes with the same arguments."""
        return self.embedder.space(self._chosen(pooling), normalize=normalize, rules=RULES)

    def extract(
        self,
        source: BinaryIO | bytes | Path | Clip,
        pooling: str | None = None,
        *,
        normalize: bool = True,
        window_vectors: bool = False,
    ) -> Extraction:
        """Make the vector, or the frames, of one sound.

        The same bytes give the same vector every time.

        Parameters
        ----------
        source : binary file, bytes, path or Clip
            The encoded sound, or what `decode` made of one, mixed down.
        pooling : str, optional
            How frames become one vector; the embedder's own by default. ``"none"`` gives frames.
        normalize : bool
            Scale vectors to unit length.
        window_vectors : bool
            Give the vector of each window too.

        Returns
        -------
        Extraction

        Raises
        ------
        AudioError
            The sound cannot be used; see its subclasses.
        BadRequest
            There is no such pooling.
        """
        how = self._chosen(pooling)
        watch = _Stopwatch()
        with watch.stage("decode"):
            clip = self._clip(source)
        with watch.stage("resample"):
            pieces = self._windows(clip)
        with watch.stage("features"):
            prepared = [self.embedder.prepare(piece) for piece in pieces]
        with watch.stage("model"):
            parts = self.embedder.run(prepared)
            frames = self.embedder.join(parts, pieces)
        if not np.isfinite(frames.values).all():
            raise BadSamples(f"'{self.name}' answers this sound with what are no numbers.")
        vector = None if how == NO_POOLING else self._vector(frames, how, normalize)
        return Extraction(
            model=self.name,
            space=self.space(how, normalize=normalize),
            vector=vector,
            frames=frames if vector is None else None,
            audio=_report(clip, pieces),
            windows=len(pieces),
            window_vectors=(
                self._window_vectors(parts, pieces, how, normalize) if window_vectors else []
            ),
            device=self.embedder.device,
            runtime=self.embedder.runtime,
            dtype=self.embedder.dtype,
            ms=watch.ms,
        )

    def embed_texts(self, texts: Sequence[str], *, phrasings: bool = False) -> FloatArray:
        """Embed words into the space of the sounds' vectors.

        Parameters
        ----------
        texts : sequence of str
            At least one.
        phrasings : bool
            Take the mean over several phrasings of each text, which hangs less on one wording.

        Returns
        -------
        ndarray of float32, shape (len(texts), D)
            Rows of unit length, to be compared with vectors of `space()`.

        Raises
        ------
        BadRequest
            The embedder does not read text.
        """
        templates = PHRASINGS if phrasings else PHRASINGS[:1]
        worded = [template.format(text) for text in texts for template in templates]
        vectors = self.embedder.embed_texts(worded).reshape(len(texts), len(templates), -1)
        return np.stack([unit(each.mean(axis=0)) for each in vectors])

    @property
    def poolings(self) -> list[str]:
        """The poolings that may be asked for, the default first."""
        return list(dict.fromkeys([self.embedder.card.pooling, *POOLINGS, NO_POOLING]))

    def _chosen(self, pooling: str | None) -> str:
        chosen = pooling or self.poolings[0]
        if chosen not in self.poolings:
            raise BadRequest(
                f"'{self.name}' has no pooling '{chosen}'; it has {', '.join(self.poolings)}.",
                got=chosen,
            )
        return chosen

    def _clip(self, source: BinaryIO | bytes | Path | Clip) -> Clip:
        if isinstance(source, Clip):
            return source
        return decode(source, max_seconds=self.max_seconds, mono=True)

    def _windows(self, clip: Clip) -> list[Window]:
        card = self.embedder.card
        if clip.seconds < card.min_seconds:
            raise TooShort(
                f"The sound lasts {clip.seconds:.3f} s and '{card.key}' needs at least "
                f"{card.min_seconds:.3f} s.",
                limit=card.min_seconds,
                got=clip.seconds,
            )
        mono = clip.samples[0]
        if gate.is_silent(mono):
            raise Silent(
                "There is nothing but silence in the sound, of which "
                f"'{card.key}' cannot say anything."
            )
        samples = resample.resample(mono, clip.sample_rate, card.sample_rate)
        return windows.cut(samples, card.sample_rate, card.window_s)

    def _vector(self, frames: Frames, how: str, normalize: bool) -> FloatArray:
        vector = self.embedder.pool(frames, how)
        if not vector.any():
            raise Silent(f"'{self.embedder.card.key}' hears nothing in the sound.")
        return unit(vector) if normalize else vector

    def _window_vectors(
        self, parts: list[FloatArray], pieces: list[Window], how: str, normalize: bool
    ) -> list[WindowVector]:
        if how == NO_POOLING:
            raise BadRequest("Windows have vectors only where there is a pooling.")
        found = []
        for part, piece in zip(parts, pieces, strict=True):
            vector = self.embedder.pool(self.embedder.join([part], [piece]), how)
            scaled = unit(vector) if normalize else vector
            found.append(WindowVector(piece.start_s, piece.end_s, scaled))
        return found


def _report(clip: Clip, pieces: list[Window]) -> AudioReport:
    return AudioReport(
        format=clip.format,
        sample_rate=clip.sample_rate,
        channels=clip.source_channels,
        seconds=clip.seconds,
        # resampling rounds to a whole sample, which may end a hair behind the clip
        seconds_used=min(clip.seconds, sum(piece.seconds for piece in pieces)),
        truncated=clip.truncated,
        clipped=clip.clipped,
        silent=gate.silent_share(clip.samples[0], clip.sample_rate),
    )
