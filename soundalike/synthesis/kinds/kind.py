"""What a kind of sound is: a bag of parameters in, a recording out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from soundalike.synthesis.effects import Signal, add_hiss, finish, reverberate
from soundalike.synthesis.ranges import Bag, Range, Ranges
from soundalike.synthesis.take import Take, gate
from soundalike.types import FloatArray

# In a second even the slowest bell is struck.
LEAST_SECONDS = 1.0
LEAST_RATE_HZ = 16_000

# The room and the microphone, which every recording has.
RECORDING = {"reverb_s": Range(0.08, 0.6, "log"), "hiss_db": Range(-74, -64)}


@dataclass(frozen=True, slots=True)
class Kind:
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
    ranges: Ranges

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
        gate(take.seconds, take.sample_rate, LEAST_SECONDS, LEAST_RATE_HZ)
        dry = self.play(bag, take)
        wet = reverberate(dry, bag["reverb_s"], take.sample_rate, take.rng)
        heard = add_hiss(wet, bag["hiss_db"], take.sample_rate, take.rng)
        return finish(heard, take.sample_rate)
