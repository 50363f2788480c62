"""Motors: pulses that come round, resonances, rasp, whine."""

from __future__ import annotations

import numpy as np

from soundalike.synthesis.composing import Score
from soundalike.synthesis.effects import Signal, lowpass, resonate, unit
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.sources import cycles, drift
from soundalike.synthesis.take import Take

RESONANCES = 3
PULSES = 6

TIMBRE = {
    "pulses_hz": Range(8, 260, "log"),
    "pattern": Range(1, PULSES, "whole"),
    **{f"pulse_{n}": Range(0.4, 1) for n in range(PULSES)},
    "sharpness": Range(1.5, 14, "log"),
    "unsteady": Range(0.002, 0.06, "log"),
    **{f"resonance_{n}_hz": Range(50 * 5**n, 300 * 5**n, "log") for n in range(RESONANCES)},
    **{f"resonance_{n}_width": Range(0.15, 1.2, "log") for n in range(RESONANCES)},
    **{f"resonance_{n}_gain": Range(0.1, 1, "log") for n in range(RESONANCES)},
    "rasp": Range(-0.4, 1),
    "rasp_hz": Range(300, 6_000, "log"),
    "rasp_width": Range(0.3, 2, "log"),
    "whine": Range(-1, 0.6),
    "whine_ratio": Range(6, 40, "log"),
    "hiss": Range(0.002, 0.3, "log"),
    "hiss_hz": Range(300, 6_000, "log"),
}

SCORE = {
    "rev_octaves": Range(-0.5, 0.9),
    "revs_per_s": Range(0.3, 3, "log"),
    "transpose": Range(-0.15, 0.15),
    "load": Range(-0.3, 0.7),
    "loads_per_s": Range(0.3, 5, "log"),
}


def motor(timbre: Bag, score: Score, take: Take) -> Signal:
    """Run a motor, steadily or revving."""
    course = Take(take.seconds, take.sample_rate, np.random.default_rng(score.seed))
    speed_hz = _speed_hz(timbre, score, course)
    turned = cycles(speed_hz * (1 + timbre["unsteady"] * drift(12, take)), take)
    pulses = _pulses(turned, timbre, take)
    heard = unit(_exhaust(pulses, timbre, take))
    if timbre["rasp"] > 0:
        heard += timbre["rasp"] ** 2 * _rasp(pulses, timbre, take)
    if timbre["whine"] > 0:
        heard += timbre["whine"] * np.sin(2 * np.pi * timbre["whine_ratio"] * turned)
    heard += timbre["hiss"] * lowpass(take.white(), timbre["hiss_hz"], take.sample_rate, order=1)
    working = 0.5 + 0.5 * drift(score.values["loads_per_s"], course)
    return heard * (1 - max(0.0, score.values["load"]) * working)


def _speed_hz(timbre: Bag, score: Score, course: Take) -> Signal:
    octaves = max(0.0, score.values["rev_octaves"]) * drift(score.values["revs_per_s"], course)
    speed_hz: Signal = timbre["pulses_hz"] * 2 ** (octaves + score.values["transpose"])
    return speed_hz


def _pulses(turned: Signal, timbre: Bag, take: Take) -> Signal:
    """Give a bang at each whole turn, in a pattern of unlike ones that comes round."""
    number = turned.astype(np.int64)
    forces = np.array([timbre[f"pulse_{n}"] for n in range(int(timbre["pattern"]))])
    chance = 1 + 0.1 * take.white(int(number[-1]) + 1)
    pulses: Signal = forces[number % len(forces)] * chance[number]
    return pulses * np.exp(-timbre["sharpness"] * (turned - number))


def _exhaust(pulses: Signal, timbre: Bag, take: Take) -> Signal:
    """Pass the bangs through the resonances of pipes and walls."""
    heard = np.zeros(take.samples)
    for number in range(RESONANCES):
        hz = timbre[f"resonance_{number}_hz"]
        width_hz = timbre[f"resonance_{number}_width"] * hz
        ringing = resonate(pulses, hz, width_hz, take.sample_rate)
        heard += timbre[f"resonance_{number}_gain"] * ringing
    return heard


def _rasp(pulses: Signal, timbre: Bag, take: Take) -> Signal:
    hz = timbre["rasp_hz"]
    noise = resonate(take.white(), hz, timbre["rasp_width"] * hz, take.sample_rate)
    return unit(noise * np.abs(pulses))
