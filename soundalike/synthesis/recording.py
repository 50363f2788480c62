"""What a recording adds: room, equaliser, band limits, drive, noise, fades, level."""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy import signal as dsp

from soundalike.synthesis.effects import Signal, echoes, finish, unit
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.take import Take
from soundalike.types import FloatArray

BANDS_HZ = (80, 250, 800, 2_500, 7_000)

EFFECTS = {
    **{f"eq_{hz}_db": Range(-8, 8) for hz in BANDS_HZ},
    "eq": Range(-0.5, 1),
    "lowpass_octaves": Range(-2.5, 2.2),
    "lowpass_order": Range(2, 40, "log"),
    "highpass_octaves": Range(-5, 2.5),
    "room": Range(-0.6, 1),
    "room_s": Range(0.1, 1.8, "log"),
    "room_dull_hz": Range(1_000, 7_000, "log"),
    "drive": Range(-1.2, 0.8),
    "noise": Range(0, 1),
    "noise_hz": Range(60, 8_000, "log"),
    "hum": Range(-1.5, 0.5),
    "fade_in": Range(-1, 0.5),
    "fade_out": Range(-1, 0.5),
    "gain_db": Range(-24, -1),
}

LOWPASS_FROM_HZ = 8_000.0
HIGHPASS_FROM_HZ = 40.0
STRONGEST_DRIVE = 12.0
# Of the mains, rectified.
HUM_HZ = 100.0


def record(dry: Signal, effects: Bag, take: Take) -> FloatArray:
    """Record a sound.

    Parameters
    ----------
    dry : ndarray of float64, shape (samples,)
        At any level.
    effects : mapping of str to float
        The parameters of `EFFECTS`.
    take : Take
        Its length and rate, and the chance for echoes and noise.

    Returns
    -------
    ndarray of float32, shape (samples,)
        Within [-1, 1], without offset, silent at both ends.
    """
    driven = _drive(dry / max(float(np.abs(dry).max()), 1e-9), effects)
    # What limits the band of a recording limits that of its noise.
    heard = _filter(driven + _noise(effects, take), effects, take)
    peak = 10 ** (effects["gain_db"] / 20)
    return finish(_fade(heard, effects), take.sample_rate, peak)


def _drive(sound: Signal, effects: Bag) -> Signal:
    if effects["drive"] <= 0:
        return sound
    driven: Signal = np.tanh(STRONGEST_DRIVE ** effects["drive"] * sound)
    return driven


def _filter(sound: Signal, effects: Bag, take: Take) -> Signal:
    """Pass a sound through the room and all filters at once, in the frequency domain."""
    answer = _echoes(effects, take)
    length = fft.next_fast_len(len(sound) + len(answer), real=True)
    # Single precision is quiet enough here, and twice as fast.
    spectrum = fft.rfft(sound.astype(np.float32), length)
    spectrum *= _response(len(spectrum), effects, take)
    if len(answer):
        spectrum *= 1 + fft.rfft(answer, length)
    filtered: Signal = fft.irfft(spectrum, length)[: len(sound)].astype(np.float64)
    return filtered


def _response(bins: int, effects: Bag, take: Take) -> FloatArray:
    """Give the gains of the equaliser and of the band limits; none for an offset."""
    # The curve is worked out at a few points, and drawn through them.
    hz = np.concatenate([[0.0], np.geomspace(5, take.sample_rate / 2, 240)])
    highpass_hz = HIGHPASS_FROM_HZ * 2 ** max(0.0, effects["highpass_octaves"])
    gains = hz**2 / (hz**2 + highpass_hz**2)
    if effects["lowpass_octaves"] > 0:
        cutoff_hz = LOWPASS_FROM_HZ * 2 ** -effects["lowpass_octaves"]
        gains /= np.sqrt(1 + (hz / cutoff_hz) ** (2 * effects["lowpass_order"]))
    if effects["eq"] > 0:
        bands_db = [effects["eq"] * effects[f"eq_{band}_db"] for band in BANDS_HZ]
        gains *= 10 ** (np.interp(np.log(hz + 1), np.log(BANDS_HZ), bands_db) / 20)
    drawn: FloatArray = np.interp(np.linspace(0, take.sample_rate / 2, bins), hz, gains).astype(
        np.float32
    )
    return drawn


def _echoes(effects: Bag, take: Take) -> FloatArray:
    """Give the echoes of the room, where there is one."""
    if effects["room"] <= 0:
        return np.zeros(0, dtype=np.float32)
    answer = echoes(effects["room_s"], effects["room_dull_hz"], take.sample_rate, take.rng)
    single: FloatArray = (effects["room"] ** 2 * answer).astype(np.float32)
    return single


def _fade(sound: Signal, effects: Bag) -> Signal:
    """Fade slowly in and out, each over a share of the whole."""
    for share, direction in ((effects["fade_in"], 1), (effects["fade_out"], -1)):
        length = int(max(0.0, share) * len(sound))
        sound[::direction][:length] *= np.arange(length) / max(1, length)
    return sound


def _noise(effects: Bag, take: Take) -> Signal:
    """Give the noise of the recording, 84 to 30 dB below the peak: duller than white."""
    white = take.white()
    kept = np.exp(-2 * np.pi * effects["noise_hz"] / take.sample_rate)
    noise: Signal = 0.1 * white + dsp.lfilter([1 - kept], [1.0, -kept], white)
    if effects["hum"] > 0:
        noise += 2 * effects["hum"] * np.sin(2 * np.pi * HUM_HZ * take.times_s)
    level = 10 ** ((-84 + 54 * effects["noise"] ** 2) / 20)
    return level * unit(noise)
