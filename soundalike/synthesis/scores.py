"""What is played: notes, chords, steady blows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from soundalike.synthesis.effects import Signal
from soundalike.synthesis.sources import place
from soundalike.synthesis.take import Take

# In semitones above the root.
PENTATONIC = (0, 2, 4, 7, 9, 12, 14, 16)
TRIADS = ((0, 7, 16), (5, 12, 21), (7, 14, 23), (-3, 12, 16), (2, 9, 17))


@dataclass(frozen=True, slots=True)
class Note:
    """One note.

    Attributes
    ----------
    start_s, seconds : float
        When it begins and how long it is held.
    pitch_hz : float
        Its fundamental.
    strength : float
        Amplitude, 1 being the loudest.
    """

    start_s: float
    seconds: float
    pitch_hz: float
    strength: float


def melody(root_hz: float, tempo_bpm: float, take: Take) -> list[Note]:
    """Wander through a pentatonic scale in quavers and crotchets, from its root.

    Parameters
    ----------
    root_hz : float
        The first note and the lowest.
    tempo_bpm : float
        Crotchets a minute.
    take : Take
        How long to play, and the chance that leads.

    Returns
    -------
    list of Note
    """
    notes, start_s, degree = [], 0.0, 0
    while start_s < take.seconds:
        seconds = 60 / tempo_bpm * take.rng.choice([0.5, 1.0], p=[0.6, 0.4])
        pitch_hz = transposed(root_hz, PENTATONIC[degree])
        notes.append(Note(start_s, seconds, pitch_hz, take.rng.uniform(0.6, 1.0)))
        start_s += seconds
        degree = int(np.clip(degree + take.rng.choice([-2, -1, 1, 2]), 0, len(PENTATONIC) - 1))
    return notes


def chords(root_hz: float, tempo_bpm: float, voices: int, take: Take) -> list[Note]:
    """Play a chord every two beats, the first on the root.

    Parameters
    ----------
    root_hz : float
        The lowest note of the first chord.
    tempo_bpm : float
        Beats a minute.
    voices : int
        Notes to a chord, 1 to 3, from the lowest up.
    take : Take
        How long to play, and the chance that chooses.

    Returns
    -------
    list of Note
    """
    seconds, notes = 120 / tempo_bpm, []
    for number in range(int(take.seconds / seconds) + 1):
        triad = TRIADS[take.rng.integers(len(TRIADS)) if number else 0]
        notes += [
            Note(number * seconds, seconds, transposed(root_hz, semitones), 1.0)
            for semitones in triad[:voices]
        ]
    return notes


def steady(per_second: float, unevenness: float, take: Take) -> Iterator[float]:
    """Give moments in seconds, `unevenness` being their deviation as a share of the step."""
    for number in range(int(take.seconds * per_second) + 1):
        yield max(0.0, (number + 0.1 + unevenness * take.rng.standard_normal()) / per_second)


def transposed(pitch_hz: float, semitones: float) -> float:
    """Move a pitch up by equally tempered semitones."""
    return float(pitch_hz * 2 ** (semitones / 12))


def perform(
    notes: list[Note], voice: Callable[[Note, Take], Signal], ring_s: float, take: Take
) -> Signal:
    """Play notes one over the other.

    Parameters
    ----------
    notes : list of Note
    voice : callable
        Makes one note; the take it is handed lasts as long as the note sounds.
    ring_s : float
        Seconds for which a note sounds on after it was let go.
    take : Take
        The whole of the recording.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    mixed = np.zeros(take.samples)
    for note in notes:
        own = Take(note.seconds + ring_s, take.sample_rate, take.rng)
        place(voice(note, own), note.start_s, note.strength, mixed, take.sample_rate)
    return mixed
