"""Instruments: a table of waves, frequency modulation, strings, struck modes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

from soundalike.synthesis.composing import Score, compose
from soundalike.synthesis.effects import HIGHEST_SHARE, Signal, resonate, unit
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.scores import Note, perform
from soundalike.synthesis.sources import CYCLE_SAMPLES, cycles, strike, wave_of
from soundalike.synthesis.take import Take

MODULATOR_RATIOS = (0.5, 1.0, 1.0, 1.41, 2.0, 3.0, 3.5, 4.0, 5.0, 7.0)
MODES = 7
JAGS = 8

TIMBRE = {
    "method": Range(0, 4, "whole"),
    "register_hz": Range(60, 1_300, "log"),
    "tilt": Range(0.4, 2.6),
    "odd": Range(-0.2, 1),
    "jagged": Range(0, 1),
    **{f"jag_{number}": Range(-1, 1) for number in range(JAGS)},
    "detune_cents": Range(-12, 18),
    "breath": Range(-0.6, 1),
    "vibrato_hz": Range(4, 7.5),
    "vibrato_cents": Range(-50, 50),
    "tremolo": Range(-0.6, 0.5),
    "attack_s": Range(0.002, 0.3, "log"),
    "decay_s": Range(0.08, 4, "log"),
    "sustain": Range(-0.4, 1),
    "release_s": Range(0.02, 0.5, "log"),
    "brightening": Range(0, 1),
    "body_hz": Range(150, 900, "log"),
    "body_width": Range(0.1, 1),
    "body": Range(-0.5, 2),
    "nose_hz": Range(900, 4_500, "log"),
    "nose_width": Range(0.1, 1),
    "nose": Range(-0.5, 2),
    "modulator": Range(0, len(MODULATOR_RATIOS) - 1, "whole"),
    "index": Range(0.3, 8, "log"),
    "index_decay_s": Range(0.05, 3, "log"),
    "ring_s": Range(0.15, 5, "log"),
    "dulling": Range(0.02, 1, "log"),
    "pluck_point": Range(0.05, 0.5),
    "hardness": Range(0, 1),
    "stretch": Range(0.8, 2.1),
    **{f"mode_{number}": Range(-0.25, 0.25) for number in range(1, MODES)},
    **{f"gain_{number}": Range(-1, 1) for number in range(1, MODES)},
    "mode_damping": Range(0.1, 1.3),
}


def instrument(timbre: Bag, score: Score, take: Take) -> Signal:
    """Play a score on one instrument."""
    return play_notes(compose(score, take.seconds, timbre["register_hz"]), timbre, take)


def play_notes(notes: list[Note], timbre: Bag, take: Take) -> Signal:
    """Play notes on an instrument.

    Parameters
    ----------
    notes : list of Note
    timbre : mapping of str to float
        The parameters of `TIMBRE`.
    take : Take
        The whole of the recording.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    voice = _remembering(VOICES[int(timbre["method"])](timbre, take))
    audible = [note for note in notes if note.pitch_hz < 0.3 * take.sample_rate]
    played = perform(audible, voice, timbre["release_s"], take)
    return _body(played, timbre, take)


def _body(dry: Signal, timbre: Bag, take: Take) -> Signal:
    """Let two resonances of the instrument's body be heard, where it has them."""
    heard = dry
    for name in ("body", "nose"):
        if timbre[name] > 0:
            hz = timbre[f"{name}_hz"]
            width_hz = timbre[f"{name}_width"] * hz
            heard = heard + timbre[name] * resonate(dry, hz, width_hz, take.sample_rate)
    return heard


Voice = Callable[[Note, Take], Signal]


def _remembering(voice: Voice) -> Voice:
    """Play a note of the same pitch and length as it was played the first time, as samplers do."""
    played: dict[tuple[float, float], Signal] = {}

    def again(note: Note, own: Take) -> Signal:
        key = note.pitch_hz, note.seconds
        if key not in played:
            played[key] = voice(note, own)
        return played[key]

    return again


def _wavetable(timbre: Bag, take: Take) -> Voice:
    def voice(note: Note, own: Take) -> Signal:
        phase = cycles(_pitch_hz(note, timbre, own), own)
        dull, bright = (_table(timbre, tilt, note.pitch_hz, take) for tilt in (0.8, 0.0))
        tone = _fading(dull, bright, phase, timbre, own)
        if timbre["detune_cents"] > 0:
            second = phase * 2 ** (timbre["detune_cents"] / 1_200) + 0.37
            tone = tone + wave_of(bright, second)
        return (tone + _breath(note, timbre, own)) * _envelope(note, timbre, own)

    return voice


def _fading(dull: Signal, bright: Signal, phase: Signal, timbre: Bag, own: Take) -> Signal:
    """Fade from a bright table of waves to a dull one while the note lasts."""
    if timbre["brightening"] < 0.3:
        return wave_of(bright, phase)
    share = timbre["brightening"] * (1 - np.exp(-own.times_s / timbre["index_decay_s"]))
    return wave_of(bright, phase) * (1 - share) + share * wave_of(dull, phase)


def _table(timbre: Bag, further_tilt: float, pitch_hz: float, take: Take) -> Signal:
    """Make one cycle of a wave of unit deviation, with no partial beyond the rate."""
    count = max(1, min(120, int(HIGHEST_SHARE * take.sample_rate / (1.05 * pitch_hz))))
    number = np.arange(1, count + 1)
    amplitudes = number ** -(timbre["tilt"] + further_tilt)
    amplitudes[1::2] *= 1 - max(0.0, timbre["odd"])
    jags = np.array([timbre[f"jag_{place}"] for place in range(JAGS)])
    amplitudes[:JAGS] *= np.exp(2.5 * timbre["jagged"] * jags[:count])
    spectrum = np.zeros(CYCLE_SAMPLES // 2 + 1, dtype=complex)
    # Phases by Schroeder's rule keep the wave from gathering into a pulse.
    spectrum[1 : count + 1] = amplitudes * np.exp(1j * np.pi * number * number / count)
    table: Signal = fft.irfft(spectrum)
    return unit(table)


def _modulated(timbre: Bag, take: Take) -> Voice:
    ratio = MODULATOR_RATIOS[int(timbre["modulator"])]

    def voice(note: Note, own: Take) -> Signal:
        phase = 2 * np.pi * cycles(_pitch_hz(note, timbre, own), own)
        # Sidebands reach about (index + 1) modulators up: no further than the rate allows.
        reach = HIGHEST_SHARE * take.sample_rate / note.pitch_hz
        most = max(0.0, (reach - 1) / ratio - 1)
        fall = np.exp(-own.times_s / timbre["index_decay_s"])
        left = max(0.0, timbre["sustain"])
        index = min(timbre["index"], most) * (left + (1 - left) * fall)
        tone = 1.4 * np.sin(phase + index * np.sin(ratio * phase))
        return (tone + _breath(note, timbre, own)) * _envelope(note, timbre, own)

    return voice


def _string(timbre: Bag, take: Take) -> Voice:
    def voice(note: Note, own: Take) -> Signal:
        return pluck(note.pitch_hz, timbre, own) * _let_go(note, timbre, own)

    return voice


def pluck(pitch_hz: float, timbre: Bag, take: Take) -> Signal:
    """Pluck a string, after Karplus and Strong (1983).

    The loop is solved in the frequency domain, along a circle wide enough that
    what rings longer than the take does not come round again.

    Parameters
    ----------
    pitch_hz : float
    timbre : mapping of str to float
        `ring_s`, `dulling`, `pluck_point`, `hardness`.
    take : Take
        As long as the string sounds.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    length = fft.next_fast_len(take.samples + 1, real=True)
    outwards = np.exp(-7.0 / length)
    angle = 2 * np.pi * np.arange(length // 2 + 1) / length
    back = outwards * np.exp(-1j * angle)
    period = take.sample_rate / pitch_hz
    gain = np.exp(-6.9 / (timbre["ring_s"] * pitch_hz))
    # The loop's filter takes away more of the high partials, at each turn, the duller the string.
    loss = 1 - 0.5 * timbre["dulling"] * (1 - np.cos(angle)) * min(1.0, 8 / period)
    turn = gain * loss * outwards**period * np.exp(-1j * angle * period)
    burst = np.zeros(length)
    burst[: max(2, round(period))] = take.white(max(2, round(period)))
    softness = (0.9 * (1 - timbre["hardness"])) ** 0.5
    blow = fft.rfft(burst * outwards ** np.arange(length)) * (1 - softness) / (1 - softness * back)
    # Partials that stand still where the string is plucked are missing.
    there = timbre["pluck_point"] * period
    plucked = 1 - outwards**there * np.exp(-1j * angle * there)
    ringing = fft.irfft(blow * plucked / (1 - turn), length)
    string: Signal = ringing[: take.samples] * np.exp(7.0 / length * np.arange(take.samples))
    return string / max(float(np.std(string[: round(4 * period)])), 1e-9)


def _modal(timbre: Bag, take: Take) -> Voice:
    numbers = np.arange(1, MODES)
    offsets = np.array([timbre[f"mode_{number}"] for number in numbers])
    gains = np.exp(1.5 * np.array([timbre[f"gain_{number}"] for number in numbers]))
    ratios = np.concatenate([[1.0], (numbers + 1.0) ** timbre["stretch"] * (1 + offsets)])
    gains = np.concatenate([[1.0], gains * ratios[1:] ** -(2.0 - 1.8 * timbre["hardness"])])

    def voice(note: Note, own: Take) -> Signal:
        blow = np.zeros(own.samples)
        blow[0] = 1.0
        decays_s = timbre["ring_s"] * ratios ** -timbre["mode_damping"]
        rung = strike(blow, note.pitch_hz * ratios, decays_s, gains, take.sample_rate)
        knock = 0.3 * timbre["hardness"] * own.white() * np.exp(-own.times_s / 0.008)
        return (2 * rung + knock) * _let_go(note, timbre, own)

    return voice


# A wave table stands for most of what blows, bows and sings: it is chosen twice as often.
VOICES = (_wavetable, _modulated, _string, _modal, _wavetable)


def _pitch_hz(note: Note, timbre: Bag, own: Take) -> Signal:
    """Give the pitch from moment to moment, as far as the rate allows it to be drawn at all."""
    cents = max(0.0, timbre["vibrato_cents"]) * np.minimum(1.0, own.times_s / 0.4)
    sway = np.sin(2 * np.pi * timbre["vibrato_hz"] * own.times_s + own.rng.uniform(0, 6))
    swayed: Signal = note.pitch_hz * (1 + (np.log(2) / 1_200) * cents * sway)
    return swayed


def _breath(note: Note, timbre: Bag, own: Take) -> Signal | float:
    if timbre["breath"] <= 0:
        return 0.0
    hz = 2.5 * note.pitch_hz + 800
    air = resonate(own.white(), hz, 1.2 * hz, own.sample_rate)
    return timbre["breath"] ** 2 * air


def _envelope(note: Note, timbre: Bag, own: Take) -> Signal:
    """Give the level of a note: attack, decay, sustain, release."""
    left = max(0.0, timbre["sustain"])
    level = left + (1 - left) * np.exp(-own.times_s / timbre["decay_s"])
    attack = np.clip(own.times_s / timbre["attack_s"], 0, 1)
    if timbre["tremolo"] > 0:
        level *= 1 - timbre["tremolo"] * (0.5 + 0.5 * np.sin(2 * np.pi * 5.5 * own.times_s))
    return level * attack * _let_go(note, timbre, own)


def _let_go(note: Note, timbre: Bag, own: Take) -> Signal:
    """Give the level after a note is let go: down to nothing at the take's end."""
    after = np.clip((own.seconds - own.times_s) / timbre["release_s"], 0, 1)
    let_go: Signal = after * after
    return let_go
