"""Voices: a glottis, a vocal tract that moves, hisses and bursts, words of syllables."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from soundalike.synthesis.composing import Score
from soundalike.synthesis.effects import HIGHEST_SHARE, Signal
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.sources import CYCLE_SAMPLES, cycles, wave_of
from soundalike.synthesis.spectral import (
    FRAMES_PER_S,
    Gains,
    analyse,
    frame_count,
    frame_times_s,
    peaks,
    synthesise,
    white_spectra,
)
from soundalike.synthesis.take import Take

MOST_SYLLABLES = 5
MOST_PARTIALS = 110

TIMBRE = {
    "pitch_hz": Range(70, 900, "log"),
    "tract_cm": Range(8, 19),
    "glottis_tilt": Range(0.7, 2.2),
    "breath": Range(-0.3, 1),
    "growl": Range(-1, 0.9),
    "growl_hz": Range(22, 110, "log"),
    "vibrato_cents": Range(-60, 60),
    "vibrato_hz": Range(3.5, 8),
    "unsteady_cents": Range(3, 80, "log"),
    "width": Range(0.6, 2.2, "log"),
    "first": Range(-0.12, 0.12),
    "second": Range(-0.12, 0.12),
    "third": Range(-0.12, 0.12),
    "upper_gain": Range(0.4, 2.5, "log"),
    "sibilant_hz": Range(2_800, 7_500, "log"),
    "sibilance": Range(0.1, 1, "log"),
    "pace": Range(0.75, 1.35, "log"),
    "tune": Range(0.5, 1.5),
}

SCORE = {
    "syllables": Range(1, MOST_SYLLABLES - 1, "whole"),
    "syllable_s": Range(0.09, 0.6, "log"),
    "drawl": Range(-2, 1),
    "fall": Range(-7, 5),
    "accent": Range(0, 6),
    "bend": Range(-8, 8),
    "pause_s": Range(0.1, 1.2),
    "lead_s": Range(0, 0.3),
    "transpose": Range(-2, 2),
}


Formants = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Phone:
    """A stretch of speech in which the mouth stands still.

    Attributes
    ----------
    seconds : float
    voice, hiss : float
        Levels of the glottis and of the noise.
    hiss_place : float
        Where the noise is made: 1 at the teeth, as for an s, lower further back.
    formants_hz : tuple of float
        The first three, for a vocal tract of 17 cm.
    semitones : float
        Of the pitch, relative to the speaker's own.
    """

    seconds: float
    voice: float
    hiss: float
    hiss_place: float
    formants_hz: Formants
    semitones: float = 0.0


# Vowels lie between these corners: open, front and close, back and close.
OPEN_HZ = np.array([780.0, 1_250, 2_550])
FRONT_HZ = np.array([290.0, 2_250, 3_000])
BACK_HZ = np.array([320.0, 800, 2_350])
NEUTRAL_HZ = (500.0, 1_500.0, 2_500.0)

# What a syllable can begin and end with; about which sounds of speech they are like.
CONSONANTS: tuple[tuple[Phone, ...], ...] = (
    (),
    # s, f, h, z
    (Phone(0.11, 0, 0.5, 1.0, NEUTRAL_HZ),),
    (Phone(0.09, 0, 0.22, 0.55, NEUTRAL_HZ),),
    (Phone(0.08, 0, 0.25, 0.25, NEUTRAL_HZ),),
    (Phone(0.08, 0.35, 0.25, 1.0, (300, 1_600, 2_500)),),
    # t, p, b: closed, then a burst
    (Phone(0.06, 0, 0, 1, NEUTRAL_HZ), Phone(0.02, 0, 1.0, 0.8, (350, 1_800, 2_600))),
    (Phone(0.06, 0, 0, 1, NEUTRAL_HZ), Phone(0.02, 0, 0.8, 0.35, (350, 1_100, 2_300))),
    (Phone(0.04, 0.15, 0, 1, (250, 900, 2_300)), Phone(0.015, 0.5, 0.4, 0.3, (300, 900, 2_300))),
    # n, l, w
    (Phone(0.08, 0.5, 0, 1, (260, 1_150, 2_300)),),
    (Phone(0.07, 0.6, 0, 1, (350, 1_250, 2_400)),),
    (Phone(0.06, 0.6, 0, 1, (300, 700, 2_200)),),
    # st, fr, tr
    (
        Phone(0.08, 0, 0.45, 1.0, NEUTRAL_HZ),
        Phone(0.04, 0, 0, 1, NEUTRAL_HZ),
        Phone(0.02, 0, 0.9, 0.8, (350, 1_800, 2_600)),
    ),
    (Phone(0.09, 0, 0.25, 0.5, NEUTRAL_HZ), Phone(0.06, 0.6, 0, 1, (350, 1_250, 1_700))),
    (
        Phone(0.05, 0, 0, 1, NEUTRAL_HZ),
        Phone(0.03, 0, 0.9, 0.6, NEUTRAL_HZ),
        Phone(0.05, 0.6, 0, 1, (350, 1_250, 1_700)),
    ),
)


def voice(timbre: Bag, score: Score, take: Take) -> Signal:
    """Say a word, time and again.

    The buzz of the glottis and the noise of the breath pass through gains that
    follow the mouth, frame by frame.
    """
    phones = _utterance(timbre, score, take)
    ends_s = np.cumsum([phone.seconds for phone in phones])
    spoken = np.minimum(np.searchsorted(ends_s, frame_times_s(take), "right"), len(phones) - 1)

    def track(values: list[float], smooth_s: float) -> Signal:
        return _smooth(np.array(values)[spoken], smooth_s)

    pitch_hz = _pitch_hz(track([phone.semitones for phone in phones], 0.08), timbre, score, take)
    formants_hz = np.stack(
        [track([phone.formants_hz[n] for phone in phones], 0.07) for n in range(3)], axis=1
    )
    voiced = track([phone.voice for phone in phones], 0.03)
    hissed = track([phone.hiss for phone in phones], 0.02)
    place = np.array([phone.hiss_place for phone in phones])[spoken]
    tract = tract_gains(formants_hz, timbre, take)
    air = timbre["sibilance"] * hissed[:, None] * hiss_gains(place, timbre, take)
    air += 0.5 * max(0.0, timbre["breath"]) ** 2 * voiced[:, None].astype(np.float32) * tract
    glottis = analyse(_glottis(pitch_hz, timbre, take), take)
    spectra = glottis * (tract * voiced[:, None].astype(np.float32))
    return synthesise(spectra + white_spectra(take) * air.astype(np.float32), take)


def _utterance(timbre: Bag, score: Score, take: Take) -> list[Phone]:
    """Repeat the word, with pauses, until the take is full."""
    word = _word(score)
    phones = [_silence(score.values["lead_s"])]
    while sum(phone.seconds for phone in phones) < take.seconds:
        # Nobody says a word twice in quite the same way.
        higher, louder, longer = take.rng.normal(0, (0.8, 0.15, 0.08))
        phones += [_said(phone, timbre, higher, louder, longer) for phone in word]
        phones.append(_silence(score.values["pause_s"] * take.rng.uniform(0.6, 1.2)))
    return phones


def _silence(seconds: float) -> Phone:
    return Phone(seconds, 0.0, 0.0, 1.0, NEUTRAL_HZ)


def _word(score: Score) -> list[Phone]:
    """Make the word of a score: consonants and vowels, as a speaker of middle pace says it."""
    values = score.values
    chance = score.chance(9)[:, :MOST_SYLLABLES]
    count = int(values["syllables"])
    phones: list[Phone] = []
    for number in range(count):
        onset, coda, glide, accent, length = chance[:5, number]
        begins_hz, ends_hz = _glide(chance[5:7, number], chance[7:, number], glide)
        along = (number + 0.5) / count
        semitones = values["fall"] * (along - 0.5) + values["accent"] * accent
        seconds = values["syllable_s"] * (0.7 + 0.8 * length) * np.exp(max(0.0, values["drawl"]))
        phones += _consonant(onset)
        phones += _vowel(begins_hz, ends_hz, seconds, (semitones, 0.5 * values["bend"] * seconds))
        # Most syllables end on their vowel.
        phones += _consonant(2.2 * coda - 1.2)
    return phones


def _consonant(chance: float) -> tuple[Phone, ...]:
    return CONSONANTS[max(0, int(chance * len(CONSONANTS)))]


def _vowel(
    begins_hz: Formants, ends_hz: Formants, seconds: float, semitones: tuple[float, float]
) -> list[Phone]:
    """Glide from one vowel to another, or stay; the pitch bends on the way."""
    middle, bend = semitones
    return [
        Phone(0.5 * seconds, 1.0, 0.0, 1.0, begins_hz, middle - bend),
        Phone(0.5 * seconds, 0.85, 0.0, 1.0, ends_hz, middle + bend),
    ]


def _glide(begin: Signal, end: Signal, share: float) -> tuple[Formants, Formants]:
    """Give the two ends of a vowel: half of the vowels stay what they are."""
    reached = begin + max(0.0, 2 * share - 1) * (end - begin)
    return _formants_hz(*begin), _formants_hz(*reached)


def _formants_hz(height: float, front: float) -> Formants:
    """Give the formants of a vowel between the open one, at height 0, and a close one, at 1."""
    close = front * FRONT_HZ + (1 - front) * BACK_HZ
    first, second, third = (1 - height) * OPEN_HZ + height * close
    return float(first), float(second), float(third)


def _said(phone: Phone, timbre: Bag, higher: float, louder: float, longer: float) -> Phone:
    """Say a stretch of a word as this speaker does, this time."""
    return replace(
        phone,
        seconds=phone.seconds / timbre["pace"] * (1 + longer),
        voice=phone.voice * (1 + louder),
        hiss=phone.hiss * (1 + louder),
        semitones=timbre["tune"] * phone.semitones + higher,
    )


def _smooth(track: Signal, seconds: float) -> Signal:
    window = np.hanning(round(seconds * FRAMES_PER_S) + 3)[1:-1]
    padded = np.pad(track, len(window) // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), "valid")[: len(track)]


def _pitch_hz(semitones: Signal, timbre: Bag, score: Score, take: Take) -> Signal:
    """Give the pitch of each frame."""
    times_s = frame_times_s(take)
    sway = max(0.0, timbre["vibrato_cents"]) * np.sin(2 * np.pi * timbre["vibrato_hz"] * times_s)
    unsteady = _smooth(take.rng.standard_normal(len(times_s)), 0.08) * 3 * timbre["unsteady_cents"]
    cents = 100 * (semitones + score.values["transpose"]) + sway + unsteady
    return np.clip(timbre["pitch_hz"] * 2 ** (cents / 1_200), 40, 1_600)


def _glottis(pitch_hz: Signal, timbre: Bag, take: Take) -> Signal:
    """Give the buzz of the glottis, rough where it growls."""
    frames = np.arange(take.samples) * (FRAMES_PER_S / take.sample_rate)
    moving_hz = np.interp(frames, np.arange(len(pitch_hz)), pitch_hz)
    most = int(HIGHEST_SHARE * take.sample_rate / moving_hz.max())
    number = np.arange(1, max(2, min(MOST_PARTIALS, most)) + 1)
    spectrum = np.zeros(CYCLE_SAMPLES // 2 + 1, dtype=complex)
    spectrum[1 : len(number) + 1] = -0.5j * CYCLE_SAMPLES * number ** -timbre["glottis_tilt"]
    buzz = wave_of(np.fft.irfft(spectrum), cycles(moving_hz, take))
    if timbre["growl"] > 0:
        wobble = np.sin(2 * np.pi * cycles(timbre["growl_hz"] * moving_hz / moving_hz.mean(), take))
        buzz *= 1 - timbre["growl"] * (0.5 + 0.5 * wobble)
    return buzz


def tract_gains(formants_hz: Signal, timbre: Bag, take: Take) -> Gains:
    """Give the gains of the vocal tract.

    Parameters
    ----------
    formants_hz : ndarray of float64, shape (frames, 3)
        For a tract of 17 cm; the fourth stands still.
    timbre : mapping of str to float
        The parameters of `TIMBRE`.
    take : Take
        Its length and rate.

    Returns
    -------
    ndarray of float32, shape (frames, bins)
    """
    shifts = 1 + np.array([timbre["first"], timbre["second"], timbre["third"]])
    fourth = np.full((frame_count(take), 1), 3_500.0)
    centres_hz = 17 / timbre["tract_cm"] * np.concatenate([formants_hz * shifts, fourth], axis=1)
    widths_hz = timbre["width"] * (60 + 0.045 * centres_hz)
    upper = timbre["upper_gain"]
    return peaks(centres_hz, widths_hz, np.array([1.0, 0.7, 0.45 * upper, 0.3 * upper]), take)


def hiss_gains(place: Signal, timbre: Bag, take: Take) -> Gains:
    """Give the gains of the noise between tongue and teeth.

    Parameters
    ----------
    place : ndarray of float64, shape (frames,)
        1 at the teeth, lower further back.
    timbre : mapping of str to float
        The parameters of `TIMBRE`.
    take : Take
        Its length and rate.

    Returns
    -------
    ndarray of float32, shape (frames, bins)
    """
    centres_hz = (timbre["sibilant_hz"] * place)[:, None]
    return peaks(centres_hz, 0.35 * centres_hz + 700, np.array([1.0]), take)
