import librosa
import numpy as np
import pytest
import soundfile

from soundalike.embedders import create
from soundalike.extract.extractor import Extractor
from tests.sounds import encoded, noise, tone

RATE = 16_000


def frames_in_float64(samples):
    """MFCCs from the definition, sample by sample, in double precision."""
    padded = np.pad(samples.astype(np.float64), 1024, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    mel = 2595 * np.log10(1 + np.fft.rfftfreq(2048, 1 / RATE) / 700)
    edges = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 130)
    hz = 700 * (10 ** (edges / 2595) - 1)
    bins = 700 * (10 ** (mel / 2595) - 1)
    rows = []
    for start in range(0, len(padded) - 2047, 512):
        power = np.abs(np.fft.rfft(padded[start : start + 2048] * window)) ** 2
        bands = [
            np.interp(bins, hz[band : band + 3], [0, 1, 0], left=0, right=0) @ power
            for band in range(128)
        ]
        rows.append(10 * np.log10(np.maximum(bands, 1e-10)))
    level = np.maximum(rows, np.max(rows) - 80)
    n = np.arange(128)
    cosines = np.cos(np.pi * (n[:, None] + 0.5) * n[None, :104] / 128) * np.sqrt(2 / 128)
    cosines[:, 0] /= np.sqrt(2)
    return level @ cosines


@pytest.fixture(scope="module")
def extractor():
    return Extractor(create("mfcc"))


@pytest.mark.parametrize("sound", [tone(1.3)[:, 0], noise(1.3)[:, 0], noise(0.2)[:, 0]])
def test_frames_equal_a_formula_in_float64(extractor, sound):
    found = extractor.extract(encoded(sound, RATE, subtype="FLOAT"), "none").values
    np.testing.assert_allclose(found, frames_in_float64(sound), atol=2e-3)


def test_frames_equal_librosa_on_real_sound(extractor, shared):
    path = next((shared / "audio" / "dev" / "esc10").rglob("*.ogg"))
    sound, rate = soundfile.read(path, dtype="float32")
    sound = librosa.resample(sound, orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
    mel = librosa.feature.melspectrogram(
        y=sound, sr=RATE, n_fft=2048, hop_length=512, n_mels=128, htk=True, norm=None,
        pad_mode="reflect",
    )  # fmt: skip
    level = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=80)
    expected = librosa.feature.mfcc(S=level, n_mfcc=104).T
    found = extractor.extract(path, "none").values
    np.testing.assert_allclose(found[: len(expected) - 2], expected[: len(found)][:-2], atol=2e-3)


def test_own_vector_is_mean_and_deviation_without_loudness(extractor):
    content = encoded(noise(1.0))
    frames = extractor.extract(content, "none").values.astype(np.float64)[:, 1:]
    expected = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
    found = extractor.extract(content)
    np.testing.assert_allclose(found.vector, expected / np.linalg.norm(expected), atol=1e-6)
    raw = extractor.extract(content, normalize=False).vector
    np.testing.assert_allclose(raw, expected, rtol=1e-4, atol=1e-4)


def test_mean_is_the_mean_of_all_coefficients(extractor):
    content = encoded(noise(1.0))
    frames = extractor.extract(content, "none").values.astype(np.float64)
    found = extractor.extract(content, "mean", normalize=False).vector
    np.testing.assert_allclose(found, frames.mean(axis=0), rtol=1e-4, atol=1e-4)


def test_loudness_hardly_moves_the_vector(extractor):
    loud = extractor.extract(encoded(noise(2.0, amplitude=0.8), subtype="FLOAT")).vector
    soft = extractor.extract(encoded(noise(2.0, amplitude=0.08), subtype="FLOAT")).vector
    assert loud @ soft > 0.9999
