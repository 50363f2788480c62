import librosa
import numpy as np
import pytest
import torch
from transformers import ClapFeatureExtractor

from soundalike.embedders.features import MelSettings, log_mel, mel_filters
from tests.sounds import noise, tone

RATE = 48_000
CLAP = MelSettings(RATE, fft_size=1024, hop_samples=480, bands=64, low_hz=50, high_hz=14_000)
OTHER = MelSettings(22_050, fft_size=512, hop_samples=200, bands=40, low_hz=0, high_hz=11_025)


def sound(seconds=10.0, rate=RATE):
    """A tone over faint noise: loud bands beside quiet ones."""
    return (tone(seconds, rate=rate) + noise(seconds, rate, amplitude=1e-4))[:, 0]


@pytest.mark.parametrize("samples", [sound(), noise(10.0, RATE)[:, 0], np.zeros(480_000)])
def test_log_mel_is_the_librarys_in_float64(samples):
    library = ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
    expected = library(samples.astype(np.float64), sampling_rate=RATE)["input_features"][0][0]
    found = log_mel(torch.from_numpy(samples).double()[None], CLAP)[0].numpy()
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", [CLAP, OTHER])
def test_filters_are_librosas(settings):
    expected = librosa.filters.mel(
        sr=settings.rate_hz, n_fft=settings.fft_size, n_mels=settings.bands,
        fmin=settings.low_hz, fmax=settings.high_hz, dtype=np.float64,
    )  # fmt: skip
    np.testing.assert_allclose(mel_filters(settings), expected, rtol=0, atol=1e-15)


def test_log_mel_is_librosas_at_other_settings():
    samples = sound(1.0, OTHER.rate_hz).astype(np.float64)
    power = librosa.feature.melspectrogram(
        y=samples, sr=OTHER.rate_hz, n_fft=512, hop_length=200, n_mels=40, pad_mode="reflect",
        dtype=np.float64,
    )  # fmt: skip
    found = log_mel(torch.from_numpy(samples)[None], OTHER)[0].numpy().T
    np.testing.assert_allclose(found, 10 * np.log10(np.maximum(power, 1e-10)), atol=1e-9)


def test_windows_of_a_batch_do_not_touch():
    batch = torch.from_numpy(np.stack([sound(1.0), noise(1.0, RATE)[:, 0]])).double()
    together = log_mel(batch, CLAP)
    assert together.shape == (2, 101, 64)
    alone = torch.cat([log_mel(one[None], CLAP) for one in batch])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_float32_stays_float32_and_close():
    samples = torch.from_numpy(noise(1.0, RATE)[:, 0])[None]
    single = log_mel(samples, CLAP)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), log_mel(samples.double(), CLAP), rtol=0, atol=0.01)
