"""Scores that are drawn: when something sounds, how high and how strongly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundalike.synthesis.effects import Signal
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.scores import Note, transposed

# In semitones above the root, an octave each.
SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 4, 7, 9),
    (0, 3, 5, 6, 7, 10),
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
)
FORMS = ("single", "irregular", "chords", "pattern")
# As many draws as the busiest score could need: no parameter moves one draw to another's place.
MOST_NOTES = 256

NOTES = {
    "form": Range(0, len(FORMS) - 1, "whole"),
    "transpose": Range(-14, 14),
    "scale": Range(0, len(SCALES) - 1, "whole"),
    "tempo_bpm": Range(60, 200, "log"),
    "leap": Range(1, 5),
    "held": Range(0.25, 1.1),
    "rests": Range(0, 0.4),
    "accents": Range(0, 0.7),
    "hold_s": Range(0.15, 3.5, "log"),
    "pause_s": Range(0.1, 1.2),
    "lead_s": Range(0, 0.3),
}


@dataclass(frozen=True, slots=True)
class Score:
    """What is to be played.

    Attributes
    ----------
    values : mapping of str to float
        Its parameters, in their own units.
    seed : int
        Of whatever the parameters leave to chance.
    """

    values: Bag
    seed: int

    def chance(self, many: int) -> Signal:
        """Give numbers in [0, 1), shape (`many`, MOST_NOTES), the same at every call."""
        return np.random.default_rng(self.seed).random((many, MOST_NOTES))


def compose(score: Score, seconds: float, register_hz: float) -> list[Note]:
    """Write the notes of a melody, of chords, or of one note that is repeated.

    Parameters
    ----------
    score : Score
        With the parameters of `NOTES`.
    seconds : float
        Notes begin before that.
    register_hz : float
        The pitch around which the instrument is at home.

    Returns
    -------
    list of Note
        At least one.
    """
    values = score.values
    root_hz = transposed(register_hz, round(values["transpose"]))
    form = FORMS[int(values["form"])]
    if form == "single":
        return _single(values, seconds, root_hz)
    starts, lengths = _rhythm(score, seconds, patterned=form != "irregular")
    degrees = _degrees(score, len(starts), patterned=form != "irregular")
    chord = (0, 2, 4) if form == "chords" else (0,)
    _, _, strengths, rests = score.chance(4)
    notes = []
    for number, (start_s, length_s) in enumerate(zip(starts, lengths, strict=True)):
        if number and rests[number] < values["rests"]:
            continue
        strength = 1 - values["accents"] * strengths[number]
        for third in chord:
            semitones = on_scale(int(degrees[number]) + third, int(values["scale"]))
            pitch_hz = transposed(root_hz, semitones)
            notes.append(Note(start_s, length_s, pitch_hz, strength))
    return notes


def _single(values: Bag, seconds: float, root_hz: float) -> list[Note]:
    step_s = values["hold_s"] + values["pause_s"]
    starts = np.arange(values["lead_s"], max(seconds, values["lead_s"] + 0.01), step_s)
    return [Note(float(start_s), values["hold_s"], root_hz, 1.0) for start_s in starts]


def _rhythm(score: Score, seconds: float, *, patterned: bool) -> tuple[Signal, Signal]:
    """Give starts and lengths in seconds; a pattern keeps to the beat and repeats itself."""
    values = score.values
    lengths, _, _, _ = score.chance(4)
    beat_s = 60 / values["tempo_bpm"]
    if patterned:
        bar = np.array([0.5, 0.5, 1.0, 1.0, 2.0])[(lengths[:4] * 5).astype(int)]
        steps_s = beat_s * np.resize(bar, MOST_NOTES)
    else:
        steps_s = beat_s * 0.35 * np.exp(1.6 * lengths)
    starts = values["lead_s"] + np.concatenate([[0.0], np.cumsum(steps_s[:-1])])
    count = max(1, int(np.searchsorted(starts, seconds)))
    held_s = np.maximum(0.05, values["held"] * steps_s[:count])
    return starts[:count], held_s


def _degrees(score: Score, count: int, *, patterned: bool) -> Signal:
    """Wander over the degrees of the scale, two octaves at most from where it began."""
    _, leaps, _, _ = score.chance(4)
    steps = np.round((2 * leaps - 1) * score.values["leap"])
    steps[0] = 0
    if patterned:
        steps = np.resize(steps[:4], MOST_NOTES)
        return np.resize(np.cumsum(steps[:4]), count)
    walk = np.cumsum(steps)
    folded: Signal = np.abs((walk + 7) % 28 - 14) - 7
    return folded[:count]


def on_scale(degree: int, scale: int) -> int:
    """Give the semitones above the root of a degree of a scale, 0 being the root itself."""
    octave, place = divmod(degree, len(SCALES[scale]))
    return 12 * octave + SCALES[scale][place]


EVENTS = {
    "rhythm": Range(0, 3, "whole"),
    "per_s": Range(0.9, 9, "log"),
    "unevenness": Range(0, 0.5),
    "accents": Range(0, 0.8),
    "lead_s": Range(0, 0.3),
    "pause_s": Range(0.2, 1.0),
    "in_a_row": Range(1, 6, "whole"),
}


def blows(score: Score, seconds: float) -> tuple[Signal, Signal]:
    """Say when something is struck, and how strongly.

    Parameters
    ----------
    score : Score
        With the parameters of `EVENTS`.
    seconds : float
        All fall before that.

    Returns
    -------
    starts, strengths : ndarray of float64, shape (events,)
        In seconds, and at most 1; at least one event.
    """
    values = score.values
    gaps, strengths = score.chance(2)
    steps_s = _gaps(int(values["rhythm"]), values, gaps) / values["per_s"]
    starts = values["lead_s"] + np.concatenate([[0.0], np.cumsum(steps_s[:-1])])
    count = max(1, int(np.searchsorted(starts, seconds)))
    return starts[:count], 1 - values["accents"] * strengths[:count]


def _gaps(rhythm: int, values: Bag, chance: Signal) -> Signal:
    """Give the gaps between events, in steps: steady, at random, in groups, or ever closer."""
    uneven = 1 + values["unevenness"] * (chance - 0.5)
    if rhythm == 1:
        return 0.3 + 1.4 * chance
    if rhythm == 2:
        last = np.arange(len(chance)) % int(values["in_a_row"]) == int(values["in_a_row"]) - 1
        return uneven * np.where(last, np.maximum(1.0, values["pause_s"] * values["per_s"]), 1.0)
    if rhythm == 3:
        place = np.arange(len(chance)) % 12
        return np.where(place == 11, np.maximum(2.0, values["per_s"]), 1.6 * 0.8**place)
    return uneven
