"""A fingerprint stays what it is while a sound is encoded, cut a little or made louder."""

import base64

import numpy as np
import pytest

from soundalike.audio.decode import decode
from soundalike.audio.fingerprint import SECONDS, fingerprint
from soundalike.audio.resample import resample
from soundalike.catalogue.fingerprints import bit_error_rate, errors_of_copies, parse
from soundalike.types import Clip
from tests.sounds import encoded, noise, tone

RATE = 16_000


def bursts(seed=0, seconds=3.0, rate=RATE):
    """Filtered noise whose loudness and colour move, shape (samples, 1)."""
    rng = np.random.default_rng(seed)
    sound = noise(seconds, rate, seed)[:, 0]
    smooth = np.convolve(sound, np.ones(6) / 6, "same")
    time = np.arange(len(sound)) / rate
    mix = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1, 3) * time + rng.uniform(0, 6))
    shape = 0.3 + 0.7 * np.abs(np.sin(2 * np.pi * rng.uniform(0.5, 2) * time))
    return ((mix * sound + (1 - mix) * smooth) * shape)[:, np.newaxis].astype(np.float32)


def made(samples, rate=RATE):
    return fingerprint(Clip(samples.T, rate))


def errors(one, other):
    return bit_error_rate(parse(one), parse(other))


COPIES = {
    "OGG": lambda x: decode(encoded(x, RATE, "OGG", "VORBIS")),
    "MP3": lambda x: decode(encoded(x, RATE, "MP3")),
    "cut by 50 ms": lambda x: Clip(x[800:].T, RATE),
    "cut by 37 ms": lambda x: Clip(x[592:].T, RATE),
    "its end cut": lambda x: Clip(x[:-800].T, RATE),
    "3 dB louder": lambda x: Clip(np.clip(10 ** (3 / 20) * x, -0.3, 0.3).T, RATE),
    "of another rate": lambda x: decode(encoded(resample(x[:, 0], RATE, 11_025), 11_025)),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_is_recognised(copy, seed):
    sound = bursts(seed)
    one, other = parse(made(sound)), parse(fingerprint(COPIES[copy](sound)))
    assert bit_error_rate(one, other) <= errors_of_copies(one, other)


def test_different_sounds_have_nothing_in_common():
    prints = [made(bursts(seed)) for seed in range(12)]
    rates = [errors(a, b) for n, a in enumerate(prints) for b in prints[:n]]
    assert min(rates) > 0.35


@pytest.mark.parametrize("gain", [0.01, 0.5, 2.0])
def test_a_gain_moves_no_bit(gain):
    sound = bursts()
    assert errors(made(gain * sound), made(sound)) < 0.002


def test_channels_count_as_their_mean():
    sound = bursts()
    both = np.concatenate([1.5 * sound, 0.5 * sound], axis=1)
    assert errors(made(both), made(sound)) < 0.002


def test_it_is_of_the_beginning_and_no_longer():
    long, start = bursts(seconds=SECONDS + 2), round(SECONDS * RATE)
    assert made(long) == made(long[:start])
    assert len(base64.b64decode(made(long).partition(":")[2])) == 2 * (626 - 2)


def test_quiet_moments_have_no_bits():
    gap = np.concatenate([bursts(seconds=1.0), np.zeros((RATE, 1), np.float32), bursts(1, 1.0)])
    rows = np.frombuffer(base64.b64decode(made(gap).partition(":")[2]), "<u2")
    quiet = rows[75:110]  # well within the second second, of 62.5 rows each
    assert not quiet.any()
    assert rows[5:50].all()


@pytest.mark.parametrize(
    "sound", [np.zeros((RATE, 1), np.float32), 1e-6 * noise(), tone(seconds=0.1)]
)
def test_silence_and_hardly_any_sound_have_none(sound):
    assert made(sound) is None
