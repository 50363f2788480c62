"""What a family of sounds is: a bag of parameters in, a recording out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from soundalike.errors import BadRate, BadRequest
from soundalike.synthesis.effects import Signal, add_hiss, finish, reverberate
from soundalike.types import FloatArray

Bag = Mapping[str, float]

# In a second even the slowest bell is struck.
LEAST_SECONDS = 1.0
LEAST_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Range:
    """Where a parameter may lie.

    Attributes
    ----------
    low, high : float
        Both may occur. The unit stands in the parameter's name.
    scale : {"linear", "log", "whole"}
        ``log`` gives each octave the same share, ``whole`` gives integers.
    """

    low: float
    high: float
    scale: Literal["linear", "log", "whole"] = "linear"

    def at(self, position: float) -> float:
        """Give the value at a position in [0, 1), to four significant digits.

        Parameters
        ----------
        position : float
            0 is the low end, 1 the high end.

        Returns
        -------
        float
            In the parameter's own unit.
        """
        if self.scale == "whole":
            return math.floor(self.low + position * (self.high - self.low + 1))
        if self.scale == "log":
            value = self.low * (self.high / self.low) ** position
        else:
            value = self.low + position * (self.high - self.low)
        # Rounded here, so that what is reported is exactly what is heard.
        return float(f"{value:.4g}")


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


# The room and the microphone, which every recording has.
RECORDING = {"reverb_s": Range(0.08, 0.6, "log"), "hiss_db": Range(-74, -64)}


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of sound.

    Attributes
    ----------
    name : str
        Its label, in lower case and hyphens.
    description : str
        What one hears, in a line.
    play : callable
        Makes the dry sound of a bag and a take, at any level.
    ranges : mapping of str to Range
        The parameters that `play` reads.
    """

    name: str
    description: str
    play: Callable[[Bag, Take], Signal]
    ranges: Mapping[str, Range]

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Draw a bag of parameters.

        Parameters
        ----------
        rng : numpy.random.Generator
            The chance to draw by.

        Returns
        -------
        dict of str to float
            A value for each of `ranges`, and for the recording ``reverb_s``, the
            reverberation time of the room in seconds, and ``hiss_db``, the
            level of the noise, in dB relative to the peak.
        """
        ranges = {**self.ranges, **RECORDING}
        return {name: values.at(rng.random()) for name, values in ranges.items()}

    def render(self, bag: Bag, take: Take) -> FloatArray:
        """Make the sound, as it would be recorded.

        Parameters
        ----------
        bag : mapping of str to float
            As `draw` gives it.
        take : Take
            At least a second, at 16,000 Hz or more. The same bag and a generator
            of the same state give the same samples.

        Returns
        -------
        ndarray of float32, shape (samples,)
            Mono, peak 0.9, mean 0, silent at both ends.

        Raises
        ------
        BadRequest
            If the take is too short.
        BadRate
            If the rate is too low for the sounds made here.
        """
        _gate(take)
        dry = self.play(bag, take)
        wet = reverberate(dry, bag["reverb_s"], take.sample_rate, take.rng)
        heard = add_hiss(wet, bag["hiss_db"], take.sample_rate, take.rng)
        return finish(heard, take.sample_rate)


def _gate(take: Take) -> None:
    if not take.seconds >= LEAST_SECONDS:
        raise BadRequest(
            f"A sound lasts at least {LEAST_SECONDS} s, not {take.seconds} s; ask for more.",
            limit=LEAST_SECONDS,
            got=take.seconds,
        )
    if take.sample_rate < LEAST_RATE_HZ:
        raise BadRate(
            f"Sounds are made at {LEAST_RATE_HZ} Hz or more, not at {take.sample_rate} Hz; "
            "ask for a higher rate.",
            limit=LEAST_RATE_HZ,
            got=take.sample_rate,
        )
