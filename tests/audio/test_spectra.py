import librosa
import numpy as np
import pytest

from soundalike.audio import gate, spectra
from tests.sounds import noise, tone

RATE, FFT, HOP, BANDS = 16_000, 2048, 512, 128


@pytest.fixture(scope="module")
def filters():
    return spectra.mel_filters(RATE, FFT, BANDS, 0, RATE / 2)


def test_filters_equal_librosa(filters):
    expected = librosa.filters.mel(sr=RATE, n_fft=FFT, n_mels=BANDS, htk=True, norm=None)
    np.testing.assert_allclose(filters, expected, atol=1e-5)


@pytest.mark.parametrize("samples", [1025, 2048, 16_000, 600_001])
def test_mel_power_equals_librosa(filters, samples):
    sound = noise(samples / RATE)[:, 0]
    power = spectra.mel_power(sound, filters, FFT, HOP)
    expected = librosa.feature.melspectrogram(
        y=sound, sr=RATE, n_fft=FFT, hop_length=HOP, n_mels=BANDS, htk=True, norm=None,
        pad_mode="reflect",
    )  # fmt: skip
    assert power.shape == (1 + samples // HOP, BANDS)
    assert power.dtype == np.float32
    np.testing.assert_allclose(power.T, expected, rtol=1e-3, atol=1e-5)


def test_power_equals_librosa():
    sound = noise(2.0)[:, 0]
    expected = np.abs(librosa.stft(sound, n_fft=FFT, hop_length=100, pad_mode="reflect")) ** 2
    power = spectra.power_spectrogram(sound, FFT, 100)
    np.testing.assert_allclose(power.T, expected, rtol=1e-3, atol=1e-4)


def test_mel_decibels_at_the_settings_of_vision_models_equal_librosa():
    bands = 224
    sound = tone(1.5)[:, 0] + noise(1.5, amplitude=1e-3)[:, 0]
    sound[:8000] = 0  # so that the floor is reached
    level = spectra.mel_decibels(sound, RATE, bands=bands, fft_size=FFT, hop_samples=HOP)
    power = librosa.feature.melspectrogram(
        y=sound.astype(np.float64), sr=RATE, n_fft=FFT, hop_length=HOP, n_mels=bands, htk=True,
        norm=None, pad_mode="reflect",
    )  # fmt: skip
    assert level.dtype == np.float32
    assert level.min() == pytest.approx(-100)
    np.testing.assert_allclose(level.T, librosa.power_to_db(power, top_db=None), atol=0.05)
    limited = spectra.mel_decibels(
        sound, RATE, bands=bands, fft_size=FFT, hop_samples=HOP, range_db=30.0
    )
    np.testing.assert_array_equal(limited, np.maximum(level, level.max() - 30))


def test_mel_edges_are_even_on_the_mel_scale():
    expected = librosa.mel_frequencies(BANDS + 2, fmin=50, fmax=7000, htk=True)
    np.testing.assert_allclose(spectra.mel_edges(BANDS, 50, 7000), expected)


def test_decibels_have_a_floor_below_the_loudest():
    power = np.array([[1.0, 1e-3], [1e-20, 100.0]], np.float32)
    np.testing.assert_allclose(spectra.decibels(power, 60.0), [[0, -30], [-40, 20]], atol=1e-5)
    np.testing.assert_allclose(spectra.decibels(power, 500.0), [[0, -30], [-100, 20]], atol=1e-5)


def test_silent_share_is_measured_in_blocks():
    sound = np.concatenate([tone(3.0)[:, 0], np.zeros(RATE, np.float32)])
    meter = gate.Meter(RATE)
    for block in np.array_split(sound, 77):
        meter.feed(block)
    assert meter.silent_share == pytest.approx(0.25, abs=0.01)
    assert not meter.is_silent
    short = gate.Meter(RATE)
    short.feed(np.zeros(5, np.float32))
    assert (short.silent_share, short.is_silent) == (1.0, True)


def test_the_smallest_step_of_sixteen_bits_is_not_silence():
    assert gate.is_silent(np.zeros(10, np.float32))
    assert not gate.is_silent(np.array([0, 1 / 32768], np.float32))
