"""One recording to be made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundalike.errors import BadRate, BadRequest
from soundalike.synthesis.effects import Signal


@dataclass(frozen=True, slots=True)
class Take:
    """One recording to be made: its length, its rate and its chance.

    Attributes
    ----------
    seconds : float
        Its length.
    sample_rate : int
        In Hz.
    rng : numpy.random.Generator
        Whatever no parameter decides: noise, melodies, the moment of a drop.
    """

    seconds: float
    sample_rate: int
    rng: np.random.Generator

    @property
    def samples(self) -> int:
        """Length in samples."""
        return round(self.seconds * self.sample_rate)

    @property
    def times_s(self) -> Signal:
        """The moment of each sample, in seconds, shape (samples,)."""
        return np.arange(self.samples) / self.sample_rate

    def white(self, samples: int | None = None) -> Signal:
        """Give white noise of unit deviation.

        Parameters
        ----------
        samples : int, optional
            How much of it; the whole take where unnamed.

        Returns
        -------
        ndarray of float64, shape (samples,)
        """
        return self.rng.standard_normal(self.samples if samples is None else samples)


def gate(seconds: float, sample_rate: int, least_seconds: float, least_rate_hz: int) -> None:
    """Refuse what is too short, or too low a rate, to be made.

    Parameters
    ----------
    seconds, least_seconds : float
        Length asked for, and the shortest.
    sample_rate, least_rate_hz : int
        Rate asked for, and the lowest, in Hz.

    Raises
    ------
    BadRequest
        If the sound would be too short.
    BadRate
        If the rate is too low.
    """
    if not seconds >= least_seconds:
        raise BadRequest(
            f"A sound lasts at least {least_seconds} s, not {seconds} s; ask for more.",
            limit=least_seconds,
            got=seconds,
        )
    if sample_rate < least_rate_hz:
        raise BadRate(
            f"Sounds are made at {least_rate_hz} Hz or more, not at {sample_rate} Hz; "
            "ask for a higher rate.",
            limit=least_rate_hz,
            got=sample_rate,
        )
