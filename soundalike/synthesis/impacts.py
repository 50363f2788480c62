"""Impacts: bodies that are struck, dropped, knocked on, and that tick."""

from __future__ import annotations

import numpy as np
from scipy import signal as dsp

from soundalike.synthesis.composing import EVENTS, Score, blows
from soundalike.synthesis.effects import Signal, resonate, unit
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.sources import strike
from soundalike.synthesis.take import Take

MODES = 6

TIMBRE = {
    "body_hz": Range(80, 3_500, "log"),
    "spread": Range(1.1, 2.4),
    **{f"mode_{n}": Range(-0.3, 0.3) for n in range(1, MODES)},
    **{f"gain_{n}": Range(-1.5, 1.5) for n in range(MODES)},
    "ring_s": Range(0.02, 1.8, "log"),
    "damping": Range(0, 1.2),
    "ring": Range(0, 1),
    "burst": Range(0, 1),
    "burst_s": Range(0.006, 0.35, "log"),
    "burst_hz": Range(200, 6_500, "log"),
    "burst_width": Range(0.15, 2, "log"),
    "burst_attack_s": Range(0.0005, 0.04, "log"),
    "echo": Range(-1, 0.8),
    "echo_s": Range(0.008, 0.09, "log"),
}

SCORE = EVENTS


def impact(timbre: Bag, score: Score, take: Take) -> Signal:
    """Strike a body at the moments of a score."""
    struck = _impulses(*blows(score, take.seconds), timbre, take)
    return timbre["ring"] * _ringing(struck, timbre, take) + _bursts(struck, timbre, take)


def _impulses(starts_s: Signal, strengths: Signal, timbre: Bag, take: Take) -> Signal:
    impulses = np.zeros(take.samples)
    for delay_s, gain in ((0.0, 1.0), (timbre["echo_s"], max(0.0, timbre["echo"]))):
        places = np.round((starts_s + delay_s) * take.sample_rate).astype(int)
        inside = places < take.samples
        impulses[places[inside]] += gain * strengths[inside]
    return impulses


def _ringing(impulses: Signal, timbre: Bag, take: Take) -> Signal:
    numbers = np.arange(MODES)
    offsets = np.array([0.0, *(timbre[f"mode_{n}"] for n in range(1, MODES))])
    ratios = (numbers + 1.0) ** timbre["spread"] * (1 + offsets)
    decays_s = timbre["ring_s"] * ratios ** -timbre["damping"]
    gains = np.exp([timbre[f"gain_{n}"] for n in numbers]) / MODES
    return strike(impulses, timbre["body_hz"] * ratios, decays_s, gains, take.sample_rate)


def _bursts(impulses: Signal, timbre: Bag, take: Take) -> Signal:
    """Let a burst of noise follow each blow."""
    levels = _falling(impulses, timbre["burst_s"], take) - 0.999 * _falling(
        impulses, min(timbre["burst_attack_s"], 0.3 * timbre["burst_s"]), take
    )
    hz = timbre["burst_hz"]
    noise = resonate(take.white(), hz, timbre["burst_width"] * hz, take.sample_rate)
    return timbre["burst"] * levels * unit(noise)


def _falling(impulses: Signal, decay_s: float, take: Take) -> Signal:
    """Let each impulse fall by 60 dB in `decay_s`."""
    kept = 10 ** (-3 / (decay_s * take.sample_rate))
    fallen: Signal = dsp.lfilter([1.0], [1.0, -kept], impulses)
    return fallen
