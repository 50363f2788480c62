"""Textures: noise whose peaks wander, that swells, and grains that fall."""

from __future__ import annotations

import numpy as np

from soundalike.synthesis.composing import Score
from soundalike.synthesis.effects import Signal, resonate, unit
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.sources import showers, wander
from soundalike.synthesis.spectral import (
    FRAMES_PER_S,
    frame_times_s,
    frequencies_hz,
    peaks,
    synthesise,
    white_spectra,
)
from soundalike.synthesis.take import Take

PEAKS = 3
GRAINS = 3

TIMBRE = {
    "hiss": Range(-0.5, 1),
    "tilt_db": Range(-12, 4),
    "corner_hz": Range(80, 2_000, "log"),
    "floor": Range(0.003, 1, "log"),
    **{f"peak_{n}_hz": Range(90, 7_000, "log") for n in range(PEAKS)},
    **{f"peak_{n}_width": Range(0.05, 1.5, "log") for n in range(PEAKS)},
    **{f"peak_{n}_gain": Range(-1, 1) for n in range(PEAKS)},
    "wander_octaves": Range(-0.6, 1.2),
    "wanders_per_s": Range(0.4, 6, "log"),
    "swell": Range(-0.8, 1),
    "swells_per_s": Range(0.2, 12, "log"),
    "swell_shape": Range(0.3, 5, "log"),
    "swell_random": Range(0, 1),
    "grains": Range(-1, 1),
    "grains_per_s": Range(3, 1_500, "log"),
    "grain_hz": Range(250, 6_500, "log"),
    "grain_spread": Range(0, 1),
    "grain_width": Range(0.04, 1.2, "log"),
    "grain_sizes": Range(0.2, 1.4),
}

SCORE = {"pace": Range(0.8, 1.25, "log"), "strength": Range(0.8, 1.2)}


def texture(timbre: Bag, score: Score, take: Take) -> Signal:
    """Let it rain, roar, blow or crackle."""
    motion = Take(take.seconds, take.sample_rate, np.random.default_rng(score.seed))
    swell = _swell(timbre, score, motion)
    heard = np.zeros(take.samples)
    if timbre["hiss"] > 0 or timbre["grains"] <= 0:
        heard += max(0.15, timbre["hiss"]) ** 2 * _hiss(timbre, score, swell, motion, take)
    if timbre["grains"] > 0:
        moments = np.arange(take.samples) * (FRAMES_PER_S / take.sample_rate)
        loudness = np.interp(moments, np.arange(len(swell)), swell)
        heard += timbre["grains"] ** 2 * loudness * _grains(timbre, score, take)
    return heard


def _swell(timbre: Bag, score: Score, motion: Take) -> Signal:
    """Give the level of each frame: one wave after the other, more or less alike."""
    rate_hz = timbre["swells_per_s"] * score.values["pace"]
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * (rate_hz * frame_times_s(motion) + motion.rng.random()))
    random = 0.5 + 0.5 * wander(2 * rate_hz, frame_times_s(motion), motion.rng)
    blended = (1 - timbre["swell_random"]) * wave + timbre["swell_random"] * random
    depth = max(0.0, timbre["swell"]) * min(1.0, score.values["strength"])
    return 1 - depth * (1 - np.clip(blended, 0, 1) ** timbre["swell_shape"])


def _hiss(timbre: Bag, score: Score, swell: Signal, motion: Take, take: Take) -> Signal:
    octaves = max(0.0, timbre["wander_octaves"]) * score.values["strength"]
    rate_hz = timbre["wanders_per_s"] * score.values["pace"]
    times_s = frame_times_s(motion)
    ways = np.stack([wander(rate_hz, times_s, motion.rng) for _ in range(PEAKS)], axis=1)
    centres_hz = _per_peak("hz", timbre) * 2 ** (octaves * ways)
    widths_hz = _per_peak("width", timbre) * centres_hz
    heights = np.maximum(0.0, _per_peak("gain", timbre)) ** 2
    # A narrow peak lets little noise through, and is as loud as a broad one only if higher.
    shape = peaks(centres_hz, widths_hz, heights * np.sqrt(1_000 / widths_hz), take)
    bins_hz = frequencies_hz(take)
    slope = (1 + (bins_hz / timbre["corner_hz"]) ** 2) ** (timbre["tilt_db"] / 12.04)
    gains = (shape + timbre["floor"] * slope) * swell[:, None].astype(np.float32)
    return unit(synthesise(white_spectra(take) * gains.astype(np.float32), take))


def _per_peak(what: str, timbre: Bag) -> Signal:
    return np.array([timbre[f"peak_{number}_{what}"] for number in range(PEAKS)])


def _grains(timbre: Bag, score: Score, take: Take) -> Signal:
    """Let grains fall: impulses at random moments, each a short ring."""
    falling = np.zeros(take.samples)
    rate = timbre["grains_per_s"] * score.values["pace"] / GRAINS
    for place in np.linspace(-1, 1, GRAINS):
        hz = timbre["grain_hz"] * 2 ** (place * timbre["grain_spread"])
        sparks = showers(rate, take, spread=timbre["grain_sizes"])
        falling += resonate(sparks, hz, timbre["grain_width"] * hz, take.sample_rate)
    return unit(falling)
