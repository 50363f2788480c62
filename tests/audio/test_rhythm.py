import librosa
import numpy as np
import pytest

from soundalike.audio import rhythm, spectra
from tests.sounds import noise

RATE, FFT = 22_050, 2048


def level(hop):
    loudness = np.resize(np.repeat(np.float32([1.0, 0.01]), RATE // 4), 4 * RATE)
    sound = noise(4.0, RATE)[:, 0] * loudness
    return spectra.mel_decibels(
        sound, RATE, bands=128, fft_size=FFT, hop_samples=hop, range_db=80.0
    )


@pytest.mark.parametrize("hop", [128, 512])
def test_onset_strength_equals_librosa(hop):
    expected = librosa.onset.onset_strength(S=level(hop).T, sr=RATE, n_fft=FFT, hop_length=hop)
    found = rhythm.onset_strength(level(hop), FFT, hop)
    assert found.max() > 5
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("window", [384, 100])
def test_tempogram_equals_librosa(window):
    strength = rhythm.onset_strength(level(128), FFT, 128)
    expected = librosa.feature.tempogram(onset_envelope=strength, win_length=window)
    np.testing.assert_allclose(rhythm.tempogram(strength, window).T, expected, atol=1e-5)
    np.testing.assert_allclose(rhythm.tempogram(strength, window, 7).T, expected[:, ::7], atol=1e-5)


def test_without_onsets_the_tempogram_is_zero():
    assert not rhythm.tempogram(np.zeros(500, np.float32), 100).any()
