"""What is struck: bells, bars, drums, the ground, the hands."""

from __future__ import annotations

import numpy as np

from soundalike.synthesis.effects import Signal, highpass, lowpass, resonate
from soundalike.synthesis.kinds.kind import Kind
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.scores import Note, melody, perform, steady
from soundalike.synthesis.sources import cycles, decay, place, showers, strike, swell
from soundalike.synthesis.take import Take

# Partials of a minor-third bell, as multiples of the strike note, and their amplitudes.
BELL_RATIOS = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.54, 2.67, 3.03, 4.18, 5.44, 6.8, 8.22])
BELL_GAINS = np.array([0.6, 0.8, 1.0, 0.4, 0.9, 0.4, 0.35, 0.4, 0.3, 0.2, 0.15, 0.1])


def bell(bag: Bag, take: Take) -> Signal:
    """Toll a bell, whose partials are not harmonic and beat a little."""
    blows = np.zeros(take.samples)
    for start_s in steady(bag["strikes_per_s"], 0.04, take):
        place(np.ones(1), start_s, take.rng.uniform(0.7, 1.0), blows, take.sample_rate)
    blows = lowpass(blows, 2_000 + 10_000 * bag["hardness"], take.sample_rate, order=1)
    modes_hz = bag["pitch_hz"] * BELL_RATIOS
    decays_s = bag["decay_s"] * np.power(BELL_RATIOS, -0.8)
    # No bell is quite round: its low partials, which are heard longest, are pairs.
    modes_hz = np.concatenate([modes_hz, modes_hz[:5] + bag["beating_hz"]])
    decays_s = np.concatenate([decays_s, decays_s[:5]])
    gains = np.concatenate([BELL_GAINS, 0.5 * BELL_GAINS[:5]])
    return strike(blows, modes_hz, decays_s, gains, take.sample_rate)


# A bar cut to a double octave and a major third above, and its twist.
BAR_RATIOS = np.array([1.0, 3.93, 9.6, 6.2])
BAR_GAINS = np.array([1.0, 0.35, 0.12, 0.06])


def marimba(bag: Bag, take: Take) -> Signal:
    """Play a melody on wooden bars."""
    notes = melody(bag["pitch_hz"], bag["tempo_bpm"], take)
    return perform(notes, lambda note, own: _mallet(note, bag, own), 0.3, take)


def _mallet(note: Note, bag: Bag, take: Take) -> Signal:
    # A soft mallet stays on the bar for longer.
    contact = round(take.sample_rate * (0.0035 - 0.003 * bag["hardness"]))
    blow = np.zeros(take.samples)
    blow[:contact] = np.hanning(contact + 2)[1:-1]
    blow /= blow.sum()
    decays_s = bag["decay_s"] / np.power(BAR_RATIOS, 0.75)
    bar = strike(blow, note.pitch_hz * BAR_RATIOS, decays_s, BAR_GAINS, take.sample_rate)
    knock = lowpass(take.white(), 1_200, take.sample_rate) * decay(
        take.samples, 0.03, take.sample_rate
    )
    return (bar + 0.15 * knock) * swell(take.samples, 0.0005, 0.03, take.sample_rate)


# Bass drum, snare and hi-hat in sixteenths: X loud, x soft.
GROOVES = (
    ("X.......X.......", "....X.......X...", "X.x.X.x.X.x.X.x."),
    ("X...X...X...X...", "....X.......X...", "..X...X...X...X."),
    ("X.....X.X.......", "....X.......X..x", "XxXxXxXxXxXxXxXx"),
    ("X..X..X...X.X...", "....X..x....X...", "X.X.X.X.X.X.X.X."),
    ("X.........X.....", "....X..x.x..X..x", "X.XxX.X.X.XxX.X."),
    ("X...x...X...x.x.", "....X.......X.x.", "X...X...X...X..."),
)
STRENGTHS = {"X": 1.0, "x": 0.45}


def drum_loop(bag: Bag, take: Take) -> Signal:
    """Loop a bar of drums."""
    half = Take(0.5, take.sample_rate, take.rng)
    drums = (_bass_drum(bag, half), _snare(bag, half), _hi_hat(bag, half))
    step_s = 15 / bag["tempo_bpm"]
    mixed = np.zeros(take.samples)
    for drum, steps in zip(drums, GROOVES[int(bag["groove"])], strict=True):
        for number in range(int(take.seconds / step_s) + 1):
            gain = STRENGTHS.get(steps[number % len(steps)], 0.0)
            place(drum, number * step_s, gain, mixed, take.sample_rate)
    return mixed


def _bass_drum(bag: Bag, take: Take) -> Signal:
    sweep_hz = bag["bass_drum_hz"] * (1 + 4 * decay(take.samples, 0.12, take.sample_rate))
    skin = np.sin(2 * np.pi * cycles(sweep_hz, take)) * decay(take.samples, 0.4, take.sample_rate)
    click = take.white() * decay(take.samples, 0.01, take.sample_rate)
    return skin + 0.1 * click


def _snare(bag: Bag, take: Take) -> Signal:
    skin = np.sin(2 * np.pi * cycles(bag["snare_hz"], take)) * decay(
        take.samples, 0.15, take.sample_rate
    )
    wires = highpass(take.white(), 1_800, take.sample_rate) * decay(
        take.samples, bag["snare_decay_s"], take.sample_rate
    )
    return 0.5 * skin + 0.3 * wires


def _hi_hat(bag: Bag, take: Take) -> Signal:
    metal = highpass(take.white(), 7_000, take.sample_rate, order=4)
    return bag["hi_hat"] * metal * decay(take.samples, 0.09, take.sample_rate)


def footsteps(bag: Bag, take: Take) -> Signal:
    """Walk: a heel and then a sole, on a floor or on gravel."""
    walked = np.zeros(take.samples)
    foot = Take(0.35, take.sample_rate, take.rng)
    for start_s in steady(bag["steps_per_minute"] / 60, 0.03, take):
        loudness = take.rng.uniform(0.7, 1.0)
        place(_heel(bag, foot), start_s, loudness, walked, take.sample_rate)
        place(_sole(bag, foot), start_s + 0.06, loudness, walked, take.sample_rate)
    return walked


def _heel(bag: Bag, take: Take) -> Signal:
    blow = take.white() * decay(take.samples, 0.02, take.sample_rate)
    thump = resonate(blow, bag["floor_hz"], bag["floor_hz"] / 3, take.sample_rate)
    knock = resonate(blow, 9 * bag["floor_hz"], 3 * bag["floor_hz"], take.sample_rate)
    return 3 * thump + knock


def _sole(bag: Bag, take: Take) -> Signal:
    crunch = highpass(showers(900, take), 1_200, take.sample_rate)
    scrape = 0.3 * highpass(take.white(), 2_500, take.sample_rate)
    envelope = swell(take.samples, 0.02, 0.3, take.sample_rate)
    return bag["gravel"] * (crunch + scrape) * envelope


def applause(bag: Bag, take: Take) -> Signal:
    """Clap in a crowd: each pair of hands has its own hollow and its own pace."""
    clapped = np.zeros(take.samples)
    hand = Take(0.1, take.sample_rate, take.rng)
    for _ in range(int(bag["people"])):
        clap, pace = _clap(bag, hand), take.rng.uniform(2.8, 4.5)
        delay_s, loudness = take.rng.uniform(0, 0.3), take.rng.lognormal(0, 0.6)
        for start_s in steady(pace, 0.08, take):
            if start_s >= delay_s:
                place(clap, start_s - delay_s, loudness, clapped, take.sample_rate)
    return clapped


def _clap(bag: Bag, take: Take) -> Signal:
    hollow_hz = bag["hollow_hz"] * take.rng.uniform(0.7, 1.4)
    burst = take.white() * decay(take.samples, 0.025, take.sample_rate)
    return resonate(burst, hollow_hz, 0.6 * hollow_hz, take.sample_rate) + 0.1 * burst


PERCUSSIVE = (
    Kind(
        "bell",
        "A bell that is tolled.",
        bell,
        {
            "pitch_hz": Range(280, 680, "log"),
            "strikes_per_s": Range(0.4, 1.6, "log"),
            "decay_s": Range(2.5, 8, "log"),
            "hardness": Range(0.3, 0.9),
            "beating_hz": Range(0.3, 3, "log"),
        },
    ),
    Kind(
        "marimba",
        "A melody on wooden bars.",
        marimba,
        {
            "pitch_hz": Range(130, 400, "log"),
            "tempo_bpm": Range(90, 170),
            "decay_s": Range(0.3, 1.1, "log"),
            "hardness": Range(0.1, 0.9),
        },
    ),
    Kind(
        "drum-loop",
        "Bass drum, snare and hi-hat in a loop.",
        drum_loop,
        {
            "tempo_bpm": Range(80, 150),
            "groove": Range(0, len(GROOVES) - 1, "whole"),
            "bass_drum_hz": Range(42, 65),
            "snare_hz": Range(150, 240),
            "snare_decay_s": Range(0.12, 0.35, "log"),
            "hi_hat": Range(0.15, 0.5),
        },
    ),
    Kind(
        "footsteps",
        "Somebody walks, on a floor or on gravel.",
        footsteps,
        {
            "steps_per_minute": Range(80, 170),
            "floor_hz": Range(70, 180, "log"),
            "gravel": Range(0.01, 0.15, "log"),
        },
    ),
    Kind(
        "applause",
        "A crowd claps its hands.",
        applause,
        {
            "people": Range(12, 60, "whole"),
            "hollow_hz": Range(900, 1_800, "log"),
        },
    ),
)
