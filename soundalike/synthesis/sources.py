"""Where sound begins: oscillators, struck bodies, envelopes, chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import signal as dsp

from soundalike.synthesis.effects import HIGHEST_SHARE, Signal
from soundalike.synthesis.take import Take

CYCLE_SAMPLES = 4096
PARTIALS = 1024
CURVE_STEPS = 32


def tilted(tilt: float) -> Signal:
    """Give a harmonic series whose k-th partial has amplitude ``k ** -tilt``; 1 is a sawtooth."""
    amplitudes: Signal = np.power(np.arange(1.0, PARTIALS + 1), -tilt)
    return amplitudes


def oscillate(amplitudes: Signal, pitch_hz: float | Signal, take: Take) -> Signal:
    """Play a harmonic series, from a table of one cycle.

    Parameters
    ----------
    amplitudes : ndarray of float64, shape (partials,)
        Of the first, second, ... partial, as sines. Those beyond the rate are
        left out.
    pitch_hz : float or ndarray of float64, shape (samples,)
        Fixed, or moving.
    take : Take
        How long, and at which rate.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    spectrum = np.zeros(CYCLE_SAMPLES // 2 + 1, dtype=complex)
    audible = amplitudes[: int(HIGHEST_SHARE * take.sample_rate / np.max(pitch_hz))]
    spectrum[1 : len(audible) + 1] = -0.5j * CYCLE_SAMPLES * audible
    cycle = np.fft.irfft(spectrum)
    return wave_of(cycle, cycles(pitch_hz, take))


def wave_of(cycle: Signal, phase: Signal) -> Signal:
    """Read a table of one cycle, shape (CYCLE_SAMPLES,), at phases counted in cycles."""
    positions = phase * CYCLE_SAMPLES
    whole = np.floor(positions)
    left = whole.astype(np.int64) & (CYCLE_SAMPLES - 1)
    steps = np.roll(cycle, -1) - cycle
    played: Signal = cycle[left] + (positions - whole) * steps[left]
    return played


def cycles(rate_hz: float | Signal, take: Take) -> Signal:
    """Count the cycles gone by at each sample, from 0, for a fixed or moving frequency."""
    steps = np.broadcast_to(rate_hz, take.samples) / take.sample_rate
    counted: Signal = np.cumsum(steps) - steps[0]
    return counted


def strike(
    excitation: Signal,
    modes_hz: Sequence[float] | Signal,
    decays_s: Sequence[float] | Signal,
    gains: Sequence[float] | Signal,
    sample_rate: int,
) -> Signal:
    """Strike a body that rings in modes.

    Parameters
    ----------
    excitation : ndarray of float64, shape (samples,)
        The blow, or several.
    modes_hz, decays_s, gains : sequence of float
        For each mode its frequency, the seconds in which it falls by 60 dB, and
        its amplitude after a blow of one sample. Modes beyond the rate are left out.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    ringing = np.zeros_like(excitation)
    for mode_hz, decay_s, gain in zip(modes_hz, decays_s, gains, strict=True):
        angle = 2 * np.pi * mode_hz / sample_rate
        if angle < 2 * np.pi * HIGHEST_SHARE:
            radius = 10 ** (-3 / (decay_s * sample_rate))
            poles = [1.0, -2 * radius * np.cos(angle), radius**2]
            ringing += dsp.lfilter([gain * np.sin(angle)], poles, excitation)
    return ringing


def decay(samples: int, decay_s: float, sample_rate: int) -> Signal:
    """Give an envelope that begins at 1 and falls by 60 dB in `decay_s` seconds."""
    envelope: Signal = np.exp(np.log(1e-3) / (decay_s * sample_rate) * np.arange(samples))
    return envelope


def swell(samples: int, attack_s: float, release_s: float, sample_rate: int) -> Signal:
    """Give an envelope that rises from 0, stays at 1 and falls to 0 at the end."""
    position_s = (np.arange(samples) + 0.5) / sample_rate
    rise = position_s / attack_s
    fall = (samples / sample_rate - position_s) / release_s
    return np.sin(np.pi / 2 * np.clip(np.minimum(rise, fall), 0, 1)) ** 2


def drift(rate_hz: float, take: Take) -> Signal:
    """Wander smoothly in [-1, 1], with `rate_hz` new directions a second, sample by sample."""
    return wander(rate_hz, take.times_s, take.rng)


def wander(rate_hz: float, times_s: Signal, rng: np.random.Generator) -> Signal:
    """Wander smoothly in [-1, 1].

    Parameters
    ----------
    rate_hz : float
        New directions a second.
    times_s : ndarray of float64, shape (moments,)
        Rising moments at which to look, from 0.
    rng : numpy.random.Generator
        Leads the way.

    Returns
    -------
    ndarray of float64, shape (moments,)
    """
    knots = rng.uniform(-1, 1, int(times_s[-1] * rate_hz) + 4)
    # The curve between two knots is drawn in steps, which cost less than every sample would.
    blend = np.sin(np.pi / 2 * np.arange(CURVE_STEPS) / CURVE_STEPS) ** 2
    curve = (knots[:-1, None] + np.diff(knots)[:, None] * blend).ravel()
    wandering: Signal = np.interp(times_s * (rate_hz * CURVE_STEPS), np.arange(len(curve)), curve)
    return wandering


def vibrato(rate_hz: float, depth: float, take: Take) -> Signal:
    """Give factors that move a pitch up and down by the share `depth`."""
    return 1 + depth * np.sin(2 * np.pi * (rate_hz * take.times_s + take.rng.random()))


def showers(per_second: float, take: Take, spread: float = 0.5) -> Signal:
    """Scatter impulses at random moments.

    Parameters
    ----------
    per_second : float
        How many, on average; at least one falls.
    take : Take
        The stretch of time, and the chance.
    spread : float
        Deviation of the logarithm of their sizes; above 1 a few stand out.

    Returns
    -------
    ndarray of float64, shape (samples,)
        Zero but for the impulses, of either sign.
    """
    count = max(1, take.rng.poisson(per_second * take.seconds))
    moments = take.rng.integers(0, take.samples, count)
    sizes = take.rng.lognormal(0, spread, count) * take.rng.choice([-1.0, 1.0], count)
    impulses = np.zeros(take.samples)
    np.add.at(impulses, moments, sizes)
    return impulses


def place(sound: Signal, start_s: float, gain: float, onto: Signal, sample_rate: int) -> None:
    """Add a sound to a longer one, in place, from a moment on; what hangs over is cut."""
    start = round(start_s * sample_rate)
    stretch = onto[start : start + len(sound)]
    stretch += gain * sound[: len(stretch)]
