"""Engines, signals and clockwork."""

from __future__ import annotations

import numpy as np

from soundalike.synthesis.effects import Signal, highpass, lowpass, resonate
from soundalike.synthesis.kinds.kind import Kind
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.scores import steady
from soundalike.synthesis.sources import (
    cycles,
    drift,
    oscillate,
    place,
    strike,
    swell,
    tilted,
)
from soundalike.synthesis.take import Take


def engine(bag: Bag, take: Take) -> Signal:
    """Run a four-stroke engine: a bang from each cylinder every second turn."""
    turns = cycles(bag["rpm"] / 60 * (1 + 0.01 * drift(3, take)), take)
    bangs = _bangs(turns, int(bag["cylinders"]), take)
    exhaust = sum(
        resonate(bangs, hz, hz / 2, take.sample_rate)
        for hz in (bag["exhaust_hz"], 2.3 * bag["exhaust_hz"], 5.1 * bag["exhaust_hz"])
    )
    rasp = bag["load"] * lowpass(np.abs(exhaust) * take.white(), 3_500, take.sample_rate, order=1)
    rattle = 0.02 * highpass(take.white(), 800, take.sample_rate) * np.sqrt(np.abs(bangs))
    return highpass(exhaust + rasp, 30, take.sample_rate) + rattle


def _bangs(turns: Signal, cylinders: int, take: Take) -> Signal:
    strokes = turns / 2 * cylinders
    number = strokes.astype(int)
    # No two cylinders are alike, and no two bangs of one.
    force = (1 + 0.2 * take.white(cylinders))[number % cylinders]
    force *= (1 + 0.08 * take.white(number[-1] + 1))[number]
    bangs: Signal = force * np.exp(-7 * (strokes - number))
    return bangs


SIREN_MOTIONS = ("wail", "yelp", "two-tone")
TWO_TONE_OCTAVES = 5 / 12


def siren(bag: Bag, take: Take) -> Signal:
    """Sound a siren, which wails, yelps or alternates between two tones."""
    position = cycles(bag["sweeps_per_s"], take) % 1.0
    motion = SIREN_MOTIONS[int(bag["motion"])]
    if motion == "two-tone":
        height = np.where(position < 0.5, 0.0, TWO_TONE_OCTAVES)
    elif motion == "yelp":
        height = position
    else:
        height = 0.5 - 0.5 * np.cos(2 * np.pi * position)
    horn = oscillate(tilted(bag["tilt"]), bag["pitch_hz"] * 2**height, take)
    return resonate(horn, 1_400, 1_800, take.sample_rate) + 0.2 * horn


# The keys of a telephone, row by row: each is a low and a high tone (ITU-T Q.23).
LOW_TONES_HZ = (697, 770, 852, 941)
HIGH_TONES_HZ = (1_209, 1_336, 1_477)
DIAL_TONE_HZ = (350, 440)


def telephone(bag: Bag, take: Take) -> Signal:
    """Lift a receiver and dial a number on a keypad."""
    dialled = np.zeros(take.samples)
    tone = _tones(DIAL_TONE_HZ, bag["dial_tone_s"], take)
    place(tone, 0.0, 0.7, dialled, take.sample_rate)
    step_s = 1 / bag["digits_per_s"]
    for start_s in np.arange(bag["dial_tone_s"] + 0.1, take.seconds, step_s):
        pair = (take.rng.choice(LOW_TONES_HZ), take.rng.choice(HIGH_TONES_HZ))
        place(_tones(pair, 0.6 * step_s, take), start_s, 1.0, dialled, take.sample_rate)
    line = dialled + bag["line_noise"] * take.white()
    return lowpass(highpass(line, 300, take.sample_rate), 3_400, take.sample_rate, order=4)


def _tones(pitches_hz: tuple[float, ...], seconds: float, take: Take) -> Signal:
    own = Take(seconds, take.sample_rate, take.rng)
    tones = sum(np.sin(2 * np.pi * cycles(hz, own)) for hz in pitches_hz)
    return tones * swell(own.samples, 0.004, 0.004, take.sample_rate)


def clock(bag: Bag, take: Take) -> Signal:
    """Tick and tock: an escapement that clicks twice, in a case that rings."""
    clicks = np.zeros(take.samples)
    for number, start_s in enumerate(steady(bag["ticks_per_s"], 0.004, take)):
        loudness = 1.0 if number % 2 else bag["tock"]
        place(np.ones(1), start_s, loudness, clicks, take.sample_rate)
        place(np.ones(1), start_s + 0.012, 0.4, clicks, take.sample_rate)
    ratios = np.array([0.12, 0.31, 1.0, 1.37, 1.83, 2.61])
    decays_s = np.array([0.12, 0.08, 0.05, 0.04, 0.03, 0.02]) * bag["case"]
    gains = (0.5, 0.5, 1.0, 0.8, 0.6, 0.5)
    return strike(clicks, bag["tick_hz"] * ratios, decays_s, gains, take.sample_rate)


MACHINES = (
    Kind(
        "engine",
        "A petrol engine, from a lawn mower to a lorry.",
        engine,
        {
            "rpm": Range(700, 2_600, "log"),
            "cylinders": Range(1, 8, "whole"),
            "exhaust_hz": Range(70, 160, "log"),
            "load": Range(0.2, 1.5, "log"),
        },
    ),
    Kind(
        "siren",
        "The siren of an ambulance, a fire engine or a police car.",
        siren,
        {
            "pitch_hz": Range(520, 700, "log"),
            "sweeps_per_s": Range(0.4, 3.5, "log"),
            "motion": Range(0, len(SIREN_MOTIONS) - 1, "whole"),
            "tilt": Range(0.7, 1.0),
        },
    ),
    Kind(
        "telephone",
        "A dial tone, then a number dialled on a keypad.",
        telephone,
        {
            "digits_per_s": Range(2.5, 6),
            "dial_tone_s": Range(0.3, 1.2),
            "line_noise": Range(0.003, 0.05, "log"),
        },
    ),
    Kind(
        "clock",
        "A clock that ticks.",
        clock,
        {
            "ticks_per_s": Range(1, 5, "log"),
            "tick_hz": Range(1_800, 4_500, "log"),
            "tock": Range(0.4, 0.9),
            "case": Range(0.6, 2, "log"),
        },
    ),
)
