"""Sweeps: whistles, sirens, chirps and calls, whose pitch moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from soundalike.synthesis.composing import EVENTS, Score, blows
from soundalike.synthesis.effects import Signal, resonate
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.sources import oscillate, tilted
from soundalike.synthesis.take import Take

# Courses of the pitch over a call, within [-0.5, 0.5]: of the place in it, and of the turns taken.
SHAPES: tuple[Callable[[Signal, Signal], Signal], ...] = (
    lambda place, turns: place - 0.5,
    lambda place, turns: 0.5 - place,
    lambda place, turns: -0.5 * np.cos(2 * np.pi * turns),
    lambda place, turns: 0.5 * np.tanh(8 * np.sin(2 * np.pi * turns)),
    lambda place, turns: turns % 1.0 - 0.5,
    lambda place, turns: np.abs(2 * place - 1) ** 1.5 - 0.5,
    lambda place, turns: 0.5 - np.abs(2 * place - 1) ** 1.5,
)

TIMBRE = {
    "pitch_hz": Range(180, 4_500, "log"),
    "octaves": Range(0.1, 1.6),
    "shape": Range(0, len(SHAPES) - 1, "whole"),
    "sweeps": Range(0.5, 6, "log"),
    "tilt": Range(0.8, 4),
    "trill_hz": Range(8, 60, "log"),
    "trill_octaves": Range(-0.2, 0.15),
    "noise": Range(-0.3, 0.6),
    "flutter": Range(-1, 0.9),
    "flutter_hz": Range(8, 45, "log"),
    "horn_hz": Range(400, 5_000, "log"),
    "horn_width": Range(0.2, 2, "log"),
    "horn": Range(-0.5, 2),
    "duty": Range(0.2, 1.3),
    "attack": Range(0.02, 0.5),
}

SCORE = {**EVENTS, "per_s": Range(0.35, 9, "log"), "transpose": Range(-0.3, 0.3)}


def sweep(timbre: Bag, score: Score, take: Take) -> Signal:
    """Call, chirp or wail, each call at a moment of the score."""
    starts_s, strengths = blows(score, take.seconds)
    place, call_s, number = _within_calls(starts_s, timbre, score, take)
    course = SHAPES[int(timbre["shape"])](place, timbre["sweeps"] * place)
    octaves = timbre["octaves"] * course + score.values["transpose"]
    if timbre["trill_octaves"] > 0:
        trill = np.sin(2 * np.pi * timbre["trill_hz"] * place * call_s)
        octaves = octaves + timbre["trill_octaves"] * trill
    # A call may leap from one pitch to the next, but not within a sample.
    pitch_hz = np.minimum(timbre["pitch_hz"] * 2**octaves, 0.42 * take.sample_rate)
    tone = oscillate(tilted(timbre["tilt"]), pitch_hz, take)
    if timbre["noise"] > 0:
        tone += timbre["noise"] ** 2 * take.white()
    levels: Signal = _level(place, timbre, call_s) * strengths[number]
    return levels * _horn(tone, timbre, take)


def _within_calls(
    starts_s: Signal, timbre: Bag, score: Score, take: Take
) -> tuple[Signal, float, Signal]:
    """Give for each sample its place in its call, from 0 to 1, a call's seconds, and its number."""
    call_s = max(0.05, timbre["duty"] / score.values["per_s"])
    times_s = take.times_s
    number = np.maximum(np.searchsorted(starts_s, times_s, "right") - 1, 0)
    following = np.append(starts_s[1:], np.inf)
    since_s = np.maximum(times_s - starts_s[number], 0)
    # A call that another cuts short is squeezed, that none may click.
    own_s = np.minimum(call_s, following[number] - starts_s[number])
    return np.clip(since_s / own_s, 0, 1), call_s, number


def _level(place: Signal, timbre: Bag, call_s: float) -> Signal:
    attack = max(timbre["attack"], 0.004 / call_s)
    rise = np.clip(place / attack, 0, 1)
    fall = np.clip((1 - place) / (0.6 * (1 - attack)), 0, 1)
    level: Signal = np.sin(np.pi / 2 * rise * fall)
    if timbre["flutter"] > 0:
        level *= 1 - timbre["flutter"] * (
            0.5 - 0.5 * np.cos(2 * np.pi * timbre["flutter_hz"] * place * call_s)
        )
    return level


def _horn(tone: Signal, timbre: Bag, take: Take) -> Signal:
    if timbre["horn"] <= 0:
        return tone
    hz = timbre["horn_hz"]
    ringing = resonate(tone, hz, timbre["horn_width"] * hz, take.sample_rate)
    return tone + 2 * timbre["horn"] * ringing
