"""From a sound to the values of its pictures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from soundalike.errors import BadRequest, Silent, TooShort
from soundalike.pictures.settings import KINDS, USUAL_KINDS, Kind, Settings
from soundalike.types import FloatArray

SLOWEST_BPM, FASTEST_BPM = 30.0, 300.0
TEMPO_ROWS = 200
TEMPO_WINDOW_S = 8.0  # four beats of the slowest tempo
ONSET_FLOOR_DB = -80.0
WAVEFORM_ROWS = 1001


@dataclass(frozen=True, slots=True)
class Picture:
    """The values of a picture, before they become colours.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    values : ndarray of float32, shape (rows, columns)
        The lowest row first. Decibels below the loudest for ``mel`` and
        ``spectrum``; for ``chroma`` the strength relative to the moment's
        strongest class; for ``tempogram`` the autocorrelation of onsets; for
        ``waveform`` 1 where the sound passes and 0 elsewhere.
    seconds : float
        How much sound the columns cover.
    settings : Settings
        What it was made with.
    """

    kind: Kind
    values: FloatArray
    seconds: float
    settings: Settings

    @property
    def rows(self) -> npt.NDArray[np.float64]:
        """What each row stands for; see `rows_of`."""
        return rows_of(self.kind, self.settings)

    @property
    def limits(self) -> tuple[float, float]:
        """The values that are drawn darkest and brightest."""
        if self.kind not in ("mel", "spectrum"):
            return 0.0, 1.0
        lowest = -self.settings.range_db
        return (lowest if np.isfinite(lowest) else float(self.values.min())), 0.0


def rows_of(kind: Kind, settings: Settings) -> npt.NDArray[np.float64]:
    """Tell what the rows of a picture stand for.

    Returns
    -------
    ndarray of float64, shape (rows,)
        Rising: Hz for ``mel`` and ``spectrum``, pitch classes from 0 (C) to 11 (B) for
        ``chroma``, beats a minute for ``tempogram``, amplitudes for ``waveform``.
    """
    from soundalike.audio import harmony, spectra

    if kind == "mel":
        return spectra.mel_edges(settings.mel_bands, 0.0, settings.rate_hz / 2)[1:-1]
    if kind == "spectrum":
        return np.linspace(0.0, settings.rate_hz / 2, settings.fft_size // 2 + 1)
    if kind == "tempogram":
        return np.geomspace(SLOWEST_BPM, FASTEST_BPM, TEMPO_ROWS)
    if kind == "chroma":
        return np.arange(harmony.PITCH_CLASSES, dtype=np.float64)
    return np.linspace(-1.0, 1.0, WAVEFORM_ROWS)


def compute(
    source: BinaryIO | bytes | Path,
    kinds: Sequence[Kind] = USUAL_KINDS,
    settings: Settings | None = None,
    *,
    max_seconds: float | None = None,
) -> dict[Kind, Picture]:
    """Compute pictures of a sound.

    Parameters
    ----------
    source : binary file, bytes or path
        The encoded sound.
    kinds : sequence of str
        Which pictures; see `KINDS`.
    settings : Settings, optional
        Those of SONIC by default.
    max_seconds : float, optional
        The longest sound that is accepted, whatever part of it is drawn.

    Returns
    -------
    dict of str to Picture
        In the order of `kinds`.

    Raises
    ------
    AudioError
        The sound cannot be used; see its subclasses.
    BadRequest
        There is no such kind.
    """
    from soundalike.audio import gate
    from soundalike.audio.decode import decode
    from soundalike.audio.resample import resample

    settings = settings or Settings()
    for kind in kinds:
        if kind not in KINDS:
            raise BadRequest(f"There is no picture '{kind}'; there is {', '.join(KINDS)}.")
    clip = decode(source, max_seconds=max_seconds, first_s=settings.seconds, mono=True)
    if gate.is_silent(clip.samples[0]):
        raise Silent("There is nothing but silence in what would be drawn of the sound.")
    samples = resample(clip.samples[0], clip.sample_rate, settings.rate_hz)
    if not len(samples):
        raise TooShort(f"The sound lasts {clip.seconds:.6f} s; there is nothing to draw of it.")
    sound = _Sound(samples, settings)
    return {kind: Picture(kind, _VALUES[kind](sound), clip.seconds, settings) for kind in kinds}


class _Sound:
    """A sound at the rate of the pictures, and what several of them need of it."""

    def __init__(self, samples: FloatArray, settings: Settings) -> None:
        self.samples = samples
        self.settings = settings

    @functools.cached_property
    def mel(self) -> FloatArray:
        """The mel spectrogram in decibels below the loudest, shape (frames, bands)."""
        from soundalike.audio import spectra

        level = spectra.mel_decibels(
            self.samples,
            self.settings.rate_hz,
            bands=self.settings.mel_bands,
            fft_size=self.settings.fft_size,
            hop_samples=self.settings.hop_samples,
            range_db=self.settings.range_db,
        )
        below: FloatArray = level - level.max()
        return below


def _mel(sound: _Sound) -> FloatArray:
    return sound.mel.T


def _spectrum(sound: _Sound) -> FloatArray:
    from soundalike.audio import spectra

    settings = sound.settings
    power = spectra.power_spectrogram(sound.samples, settings.fft_size, settings.hop_samples)
    level = spectra.decibels(power, settings.range_db)
    below: FloatArray = level - level.max()
    return below.T


def _chroma(sound: _Sound) -> FloatArray:
    from soundalike.audio import harmony

    return harmony.chroma(sound.samples, sound.settings.rate_hz, sound.settings.hop_samples).T


def _tempogram(sound: _Sound) -> FloatArray:
    from soundalike.audio import rhythm

    settings = sound.settings
    level = np.maximum(sound.mel, ONSET_FLOOR_DB)
    strength = rhythm.onset_strength(level, settings.fft_size, settings.hop_samples)
    frames_per_s = settings.rate_hz / settings.hop_samples
    window = 2 * round(TEMPO_WINDOW_S * frames_per_s / 2)
    # a picture shows no more moments than it has columns, and each costs a transform
    step = max(1, len(strength) // settings.width)
    lags = rhythm.tempogram(strength, window, step).T
    wanted = 60 * frames_per_s / rows_of("tempogram", settings)
    below = wanted.astype(np.intp)
    share = (wanted - below).astype(np.float32)[:, None]
    return lags[below] * (1 - share) + lags[below + 1] * share


def _waveform(sound: _Sound) -> FloatArray:
    samples = np.clip(sound.samples, -1.0, 1.0)
    columns = min(sound.settings.width, len(samples))
    starts = np.arange(columns) * len(samples) // columns
    lowest, highest = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    # up to where the next column begins, so that the line has no gaps
    lowest[:-1] = np.minimum(lowest[:-1], samples[starts[1:]])
    highest[:-1] = np.maximum(highest[:-1], samples[starts[1:]])
    half_row = 1 / WAVEFORM_ROWS
    rows = rows_of("waveform", sound.settings)[:, None]
    passed = (lowest <= rows + half_row) & (highest >= rows - half_row)
    return passed.astype(np.float32)


_VALUES: dict[Kind, Callable[[_Sound], FloatArray]] = {
    "mel": _mel,
    "chroma": _chroma,
    "spectrum": _spectrum,
    "tempogram": _tempogram,
    "waveform": _waveform,
}
