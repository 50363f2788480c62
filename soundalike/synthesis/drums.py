"""Drum kits, and the patterns played on them."""

from __future__ import annotations

import numpy as np

from soundalike.synthesis.composing import Score
from soundalike.synthesis.effects import Signal, highpass, resonate
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.sources import cycles, place
from soundalike.synthesis.take import Take

STEPS = 16

TIMBRE = {
    "kick_hz": Range(38, 90, "log"),
    "kick_drop": Range(0.5, 6, "log"),
    "kick_drop_s": Range(0.02, 0.2, "log"),
    "kick_s": Range(0.1, 0.8, "log"),
    "kick_click": Range(0, 0.8),
    "snare_hz": Range(130, 330, "log"),
    "snare_skin": Range(0.05, 1),
    "snare_s": Range(0.06, 0.5, "log"),
    "wires_hz": Range(900, 5_000, "log"),
    "wires_width": Range(0.4, 2, "log"),
    "hat_hz": Range(3_000, 7_200),
    "hat_s": Range(0.03, 0.5, "log"),
    "hat_metal": Range(0, 1),
    "tom_hz": Range(70, 420, "log"),
    "tom_s": Range(0.1, 0.7, "log"),
    "tom_noise": Range(0, 0.5),
    **{f"{drum}_gain": Range(0.15, 1) for drum in ("kick", "snare", "hat", "tom")},
}

SCORE = {
    "tempo_bpm": Range(70, 180, "log"),
    "kick_busy": Range(0.1, 0.6),
    "snare_busy": Range(0, 0.5),
    "hat_busy": Range(0, 1),
    "tom_busy": Range(-0.3, 0.5),
    "backbeat": Range(0, 1),
    "swing": Range(-0.2, 0.3),
    "accents": Range(0, 0.7),
    "lead_s": Range(0, 0.2),
}


def drums(timbre: Bag, score: Score, take: Take) -> Signal:
    """Play a bar on a drum kit, over and over."""
    played = np.zeros(take.samples)
    for number, (name, drum) in enumerate(DRUMS.items()):
        hits = _hits(name, number, score, take.seconds)
        if hits:
            sound = timbre[f"{name}_gain"] * drum(timbre, Take(0.6, take.sample_rate, take.rng))
        for start_s, strength in hits:
            place(sound, start_s, strength, played, take.sample_rate)
    return played


def _hits(name: str, number: int, score: Score, seconds: float) -> list[tuple[float, float]]:
    """Say when a drum is hit in each bar, and how strongly."""
    values = score.values
    step_s = 15 / values["tempo_bpm"]
    wishes, strengths = score.chance(8)[2 * number : 2 * number + 2, :STEPS]
    # Strong places of the bar are hit sooner than weak ones.
    weight = np.tile([1.6, 0.4, 0.8, 0.4], STEPS // 4)
    hit = wishes < np.maximum(0.0, values[f"{name}_busy"]) * weight
    if values["backbeat"] > 0.4 and name in BACKBEAT:
        hit[list(BACKBEAT[name])] = True
    levels = np.where(hit, 1 - values["accents"] * strengths, 0.0)
    late_s = max(0.0, values["swing"]) * step_s
    moments = [
        (values["lead_s"] + step * step_s + late_s * (step % 2), float(levels[step % STEPS]))
        for step in range(int(seconds / step_s) + 1)
    ]
    return [(start_s, level) for start_s, level in moments if level > 0]


BACKBEAT = {"kick": (0, 8), "snare": (4, 12)}


def _fall(take: Take, seconds: float) -> Signal:
    # Nothing is left of it at the take's end.
    end = np.clip((take.seconds - take.times_s) / 0.05, 0, 1)
    fall: Signal = end * np.exp(-6.9 / seconds * take.times_s)
    return fall


def _kick(timbre: Bag, take: Take) -> Signal:
    drop = timbre["kick_drop"] * _fall(take, 3 * timbre["kick_drop_s"])
    skin = np.sin(2 * np.pi * cycles(timbre["kick_hz"] * (1 + drop), take))
    click = timbre["kick_click"] * take.white() * _fall(take, 0.012)
    return skin * _fall(take, timbre["kick_s"]) + click


def _snare(timbre: Bag, take: Take) -> Signal:
    skin = np.sin(2 * np.pi * cycles(timbre["snare_hz"] * (1 + 0.4 * _fall(take, 0.05)), take))
    hz = timbre["wires_hz"]
    wires = resonate(take.white(), hz, timbre["wires_width"] * hz, take.sample_rate)
    wires += 0.15 * take.white()
    return timbre["snare_skin"] * skin * _fall(take, 0.15) + wires * _fall(take, timbre["snare_s"])


def _hat(timbre: Bag, take: Take) -> Signal:
    ratios = np.array([1.0, 1.34, 1.52, 1.81, 2.17, 2.46])
    # Six square waves that do not go together, as in the drum machines of the eighties.
    halves = np.outer(2 * 310 * ratios, take.times_s).astype(np.int64) & 1
    metal = len(ratios) - 2.0 * halves.sum(axis=0)
    blend = timbre["hat_metal"] * metal + (1 - timbre["hat_metal"]) * 2 * take.white()
    hat = highpass(blend, timbre["hat_hz"], take.sample_rate, order=4)
    return 0.4 * hat * _fall(take, timbre["hat_s"])


def _tom(timbre: Bag, take: Take) -> Signal:
    skin = np.sin(2 * np.pi * cycles(timbre["tom_hz"] * (1 + 0.3 * _fall(take, 0.1)), take))
    return (skin + timbre["tom_noise"] * take.white() * _fall(take, 0.1)) * _fall(
        take, timbre["tom_s"]
    )


DRUMS = {"kick": _kick, "snare": _snare, "hat": _hat, "tom": _tom}
