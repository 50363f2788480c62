"""From a file to its vector: decode, resample, cut, embed, pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from soundalike.audio import resample, windows
from soundalike.audio.decode import Sound, opened
from soundalike.embedders import Embedder
from soundalike.errors import BadRequest, Silent
from soundalike.extract.extraction import Extraction, WindowVector
from soundalike.extract.hearing import Hearing, Run, run_here
from soundalike.pooling import NO_POOLING, POOLINGS, unit
from soundalike.types import Clip, FloatArray, Frames, Space

RULES = {"mix": "mean", "resampler": resample.VERSION, "windows": windows.VERSION}
PHRASINGS = ("{}", "the sound of {}", "a recording of {}", "{} can be heard")


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

    @property
    def largest_batch(self) -> int:
        """Windows that its embedder's device takes at once; 1 on a processor."""
        return self.embedder.largest_batch

    @property
    def devices(self) -> set[str]:
        """The devices on which it computes."""
        return {self.embedder.device}

    @property
    def place(self) -> str:
        """What computes: device, runtime and precision."""
        return f"{self.embedder.device} {self.embedder.runtime} {self.embedder.dtype}"

    def space(self, pooling: str | None = None, *, normalize: bool = True) -> Space:
        """Name the space of the vectors that `extract` makes with the same arguments."""
        rules = RULES if self.embedder.card.hears else {}
        return self.embedder.space(self._chosen(pooling), normalize=normalize, rules=rules)

    def extract(
        self,
        source: BinaryIO | bytes | Path | Clip,
        pooling: str | None = None,
        *,
        normalize: bool = True,
        window_vectors: bool = False,
        with_frames: bool = False,
        run: Run = run_here,
    ) -> Extraction:
        """Make the vector, or the frames, of one sound.

        The same bytes give the same vector every time. A sound is decoded while
        its windows are heard, so that a long one takes no more memory than what
        is made of it.

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
        with_frames : bool
            Give the frames beside the vector.
        run : callable
            Has the embedder run prepared windows, here by default.

        Returns
        -------
        Extraction

        Raises
        ------
        AudioError
            The sound cannot be used; see its subclasses.
        BadRequest
            There is no such pooling, or the embedder takes no sound.
        """
        if not self.embedder.card.hears:
            raise self.embedder.deaf()
        how = self._chosen(pooling)
        if window_vectors and how == NO_POOLING:
            raise BadRequest("Windows have vectors only where there is a pooling.")
        hearing = Hearing(self.embedder, run)
        with self._sound(source) as sound:
            audio = hearing.hear(sound)
        of_windows = [
            WindowVector(piece.start_s, piece.end_s, unit(vector) if normalize else vector)
            for piece, vector in (hearing.vectors(how) if window_vectors else [])
        ]
        frames = hearing.frames()
        vector = None if how == NO_POOLING else self._vector(frames, how, normalize)
        return Extraction(
            model=self.name,
            space=self.space(how, normalize=normalize),
            vector=vector,
            frames=frames if vector is None or with_frames else None,
            audio=audio,
            windows=len(hearing.pieces),
            window_vectors=of_windows,
            device=self.embedder.device,
            runtime=self.embedder.runtime,
            dtype=self.embedder.dtype,
            ms=hearing.watch.rounded(),
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
        card = self.embedder.card
        of_frames = [*POOLINGS, NO_POOLING] if card.hears else []
        return list(dict.fromkeys([card.pooling, *of_frames]))

    def _chosen(self, pooling: str | None) -> str:
        chosen = pooling or self.poolings[0]
        if chosen not in self.poolings:
            raise BadRequest(
                f"'{self.name}' has no pooling '{chosen}'; it has {', '.join(self.poolings)}.",
                got=chosen,
            )
        return chosen

    @contextmanager
    def _sound(self, source: BinaryIO | bytes | Path | Clip) -> Iterator[Sound]:
        if isinstance(source, Clip):
            yield Sound.of(source)
            return
        with opened(source, max_seconds=self.max_seconds, mono=True) as sound:
            yield sound

    def _vector(self, frames: Frames, how: str, normalize: bool) -> FloatArray:
        vector = self.embedder.pool(frames, how)
        if not vector.any():
            raise Silent(f"'{self.embedder.card.key}' hears nothing in the sound.")
        return unit(vector) if normalize else vector
