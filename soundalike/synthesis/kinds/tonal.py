"""Instruments that hold a pitch, and the voice."""

from __future__ import annotations

import numpy as np

from soundalike.synthesis.effects import Signal, highpass, lowpass, resonate
from soundalike.synthesis.kinds.kind import Kind
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.scores import Note, chords, melody, perform
from soundalike.synthesis.sources import decay, drift, oscillate, swell, tilted, vibrato
from soundalike.synthesis.take import Take


def plucked_string(bag: Bag, take: Take) -> Signal:
    """Play a melody on a plucked string, after Karplus and Strong (1983)."""
    notes = melody(bag["pitch_hz"], bag["tempo_bpm"], take)
    strings = perform(notes, lambda note, own: _pluck(note, bag, own), 0.3, take)
    body = sum(resonate(strings, hz, hz / 6, take.sample_rate) for hz in (110, 220, 420))
    return strings + 0.6 * body


def _pluck(note: Note, bag: Bag, take: Take) -> Signal:
    period = take.sample_rate / note.pitch_hz
    burst = np.zeros(take.samples)
    length = min(round(period), take.samples)
    burst[:length] = lowpass(take.white(length), 800 + 9_000 * bag["brightness"], take.sample_rate)
    # Partials that stand still where the string is plucked are missing.
    plucked_at = max(1, round(bag["pluck_point"] * period))
    burst[plucked_at:] -= burst[:-plucked_at].copy()
    string = _let_ring(burst, period, 10 ** (-3 / (bag["decay_s"] * note.pitch_hz)), bag)
    return string * swell(take.samples, 0.001, 0.05, take.sample_rate)


def _let_ring(burst: Signal, period: float, gain: float, bag: Bag) -> Signal:
    """Feed a burst back to itself, a period later, duller and fainter each time.

    The smoothing delays by one sample and the interpolation by a share of one,
    so that the loop is as long as the period, which need not be whole.
    """
    delay = int(period - 1)
    share = period - 1 - delay
    dulling = 0.05 + 0.15 * (1 - bag["brightness"])
    taps = gain * np.convolve([dulling, 1 - 2 * dulling, dulling], [1 - share, share])
    reach = delay + len(taps) - 1
    string = np.concatenate([np.zeros(reach), burst])
    # What returns is at least `delay` samples old: that many are made at once.
    for start in range(reach, len(string), delay):
        returning = string[start - reach : min(start, len(string) - delay)]
        string[start : start + delay] += np.convolve(returning, taps, "valid")
    return string[reach:]


def bowed_string(bag: Bag, take: Take) -> Signal:
    """Play a slow melody on a bowed string with vibrato."""
    notes = melody(bag["pitch_hz"], bag["tempo_bpm"], take)
    bowed = perform(notes, lambda note, own: _bow(note, bag, own), 0.08, take)
    body = sum(
        gain * resonate(bowed, hz, hz / 4, take.sample_rate)
        for hz, gain in ((280, 1.0), (460, 0.8), (1_100, 0.6), (2_800, 0.9))
    )
    return 0.3 * bowed + body


def _bow(note: Note, bag: Bag, take: Take) -> Signal:
    sway = vibrato(bag["vibrato_hz"], 0.007, take) * (1 + 0.002 * drift(8, take))
    string = oscillate(tilted(bag["tilt"]), note.pitch_hz * sway, take)
    hair = bag["bow_noise"] * highpass(take.white(), 1_500, take.sample_rate)
    pressure = 1 + 0.15 * drift(5, take)
    return (string + hair) * pressure * swell(take.samples, 0.09, 0.1, take.sample_rate)


def flute(bag: Bag, take: Take) -> Signal:
    """Play a melody on a flute: few partials, a breath around them."""
    notes = melody(bag["pitch_hz"], bag["tempo_bpm"], take)
    return perform(notes, lambda note, own: _blow(note, bag, own), 0.05, take)


def _blow(note: Note, bag: Bag, take: Take) -> Signal:
    partials = np.array([1.0, bag["overtones"], 0.5 * bag["overtones"], 0.08, 0.03])
    tremor = vibrato(bag["vibrato_hz"], 1.0, take) - 1
    tone = oscillate(partials, note.pitch_hz * (1 + 0.004 * tremor), take) * (1 + 0.15 * tremor)
    air = take.white()
    hiss = 8 * resonate(air, 2 * note.pitch_hz, note.pitch_hz, take.sample_rate) + air
    return (tone + bag["breath"] * hiss) * swell(take.samples, 0.05, 0.06, take.sample_rate)


# Which drawbars are out, from 16' to 1': what follows counts in halves of the pitch.
DRAWBAR_HALVES = (1, 3, 2, 4, 6, 8, 10, 12, 16)
REGISTRATIONS = (
    (8, 6, 8, 4, 2, 2, 0, 0, 1),
    (8, 3, 8, 6, 4, 2, 0, 0, 2),
    (0, 0, 8, 8, 4, 4, 2, 2, 4),
    (8, 8, 8, 8, 6, 6, 5, 5, 6),
    (2, 0, 8, 4, 6, 2, 4, 3, 2),
    (8, 2, 6, 3, 2, 6, 2, 2, 6),
)


def organ(bag: Bag, take: Take) -> Signal:
    """Play chords on a drawbar organ through a turning loudspeaker."""
    drawbars = np.zeros(max(DRAWBAR_HALVES))
    drawbars[np.array(DRAWBAR_HALVES) - 1] = REGISTRATIONS[int(bag["registration"])]
    notes = chords(bag["pitch_hz"], bag["tempo_bpm"], int(bag["voices"]), take)

    def press(note: Note, own: Take) -> Signal:
        tone = oscillate(drawbars, note.pitch_hz / 2, own)
        click = bag["key_click"] * own.white() * decay(own.samples, 0.03, own.sample_rate)
        return (tone + click) * swell(own.samples, 0.004, 0.03, own.sample_rate)

    return perform(notes, press, 0.02, take) * vibrato(bag["tremolo_hz"], 0.2, take)


# The first four formants of five vowels, in Hz, for a vocal tract of 17 cm.
VOWELS_HZ = (
    (730, 1_090, 2_440, 3_400),
    (530, 1_840, 2_480, 3_500),
    (280, 2_250, 2_900, 3_600),
    (500, 860, 2_410, 3_300),
    (310, 870, 2_240, 3_200),
)
FORMANT_GAINS = (1.0, 0.6, 0.3, 0.15)
FORMANT_WIDTHS_HZ = (70, 90, 130, 180)


def voice(bag: Bag, take: Take) -> Signal:
    """Sing vowels that glide one into the other: a glottis and a vocal tract."""
    pitch_hz = bag["pitch_hz"] * vibrato(5.2, 0.012, take) * (1 + 0.06 * drift(2.5, take))
    glottis = oscillate(tilted(1.4), pitch_hz, take)
    glottis += bag["breath"] * take.white()
    syllables = bag["syllables_per_s"] * take.times_s
    sung = np.zeros(take.samples)
    for turn, vowel in enumerate(take.rng.permutation(len(VOWELS_HZ))[:3]):
        # Each vowel has its turn in a round of three, and fades into the next.
        nearness = np.cos(2 * np.pi * (syllables - turn) / 3)
        mouth = np.clip(nearness + 0.5, 0, 1)
        sung += mouth * _vowel(glottis, VOWELS_HZ[vowel], 17 / bag["vocal_tract_cm"], take)
    stress = 0.55 + 0.45 * np.cos(2 * np.pi * syllables)
    return sung * np.clip(stress, 0.1, 1)


def _vowel(glottis: Signal, formants_hz: tuple[int, ...], scale: float, take: Take) -> Signal:
    formed = np.zeros_like(glottis)
    for hz, gain, width_hz in zip(formants_hz, FORMANT_GAINS, FORMANT_WIDTHS_HZ, strict=True):
        formed += gain * resonate(glottis, scale * hz, width_hz, take.sample_rate)
    return formed


TONAL = (
    Kind(
        "plucked-string",
        "A melody on a plucked string, as of a guitar or a harp.",
        plucked_string,
        {
            "pitch_hz": Range(110, 300, "log"),
            "tempo_bpm": Range(80, 150),
            "decay_s": Range(0.7, 2.5, "log"),
            "brightness": Range(0.1, 0.9),
            "pluck_point": Range(0.08, 0.4),
        },
    ),
    Kind(
        "bowed-string",
        "A slow melody on a bowed string, as of a violin or a cello.",
        bowed_string,
        {
            "pitch_hz": Range(190, 310, "log"),
            "tempo_bpm": Range(50, 90),
            "vibrato_hz": Range(4.5, 6.5),
            "tilt": Range(0.8, 1.1),
            "bow_noise": Range(0.03, 0.08, "log"),
        },
    ),
    Kind(
        "flute",
        "A melody on a flute, with the breath of the player.",
        flute,
        {
            "pitch_hz": Range(300, 700, "log"),
            "tempo_bpm": Range(60, 120),
            "vibrato_hz": Range(4, 6),
            "overtones": Range(0.15, 0.6),
            "breath": Range(0.01, 0.05, "log"),
        },
    ),
    Kind(
        "organ",
        "Chords on a drawbar organ.",
        organ,
        {
            "pitch_hz": Range(130, 210, "log"),
            "tempo_bpm": Range(90, 150),
            "voices": Range(2, 3, "whole"),
            "registration": Range(0, len(REGISTRATIONS) - 1, "whole"),
            "tremolo_hz": Range(4, 7, "log"),
            "key_click": Range(1, 4, "log"),
        },
    ),
    Kind(
        "voice",
        "A voice that sings vowels.",
        voice,
        {
            "pitch_hz": Range(110, 240, "log"),
            "syllables_per_s": Range(1.5, 3.5),
            "vocal_tract_cm": Range(13.5, 18),
            "breath": Range(0.01, 0.08, "log"),
        },
    ),
)
