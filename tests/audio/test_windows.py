import numpy as np
import pytest

from soundalike.audio.resample import resample
from soundalike.audio.windows import cut

RATE = 100


def starts_and_ends(seconds, window_s):
    pieces = cut(np.zeros(round(seconds * RATE), np.float32), RATE, window_s)
    return [(piece.start_s, piece.end_s) for piece in pieces]


def test_windows_follow_each_other_without_overlap():
    assert starts_and_ends(25, 10) == [(0, 10), (10, 20), (20, 25)]


def test_a_last_window_under_a_second_is_dropped():
    assert starts_and_ends(20.99, 10) == [(0, 10), (10, 20)]
    assert starts_and_ends(21, 10) == [(0, 10), (10, 20), (20, 21)]


def test_the_only_window_stays_however_short():
    assert starts_and_ends(0.3, 10) == [(0, 0.3)]


def test_without_a_length_the_clip_is_one_window():
    assert starts_and_ends(1234, None) == [(0, 1234)]


def test_windows_hold_the_samples_between_their_ends():
    samples = np.arange(250, dtype=np.float32)
    for piece in cut(samples, RATE, 1.0):
        expected = samples[round(piece.start_s * RATE) : round(piece.end_s * RATE)]
        np.testing.assert_array_equal(piece.samples, expected)


def test_ten_seconds_stay_ten_seconds():
    assert len(resample(np.zeros(441_000, np.float32), 44_100, 48_000)) == 480_000


def test_equal_rates_change_nothing():
    samples = np.ones(10, np.float32)
    assert resample(samples, 8_000, 8_000) is samples


@pytest.mark.parametrize(("rate", "target"), [(100, 16_000), (44_100, 16_000), (768_000, 16_000)])
def test_a_tone_keeps_its_pitch(rate, target):
    hz = rate / 10
    time = np.arange(rate * 2) / rate
    resampled = resample(np.sin(2 * np.pi * hz * time).astype(np.float32), rate, target)
    spectrum = np.abs(np.fft.rfft(resampled))
    if hz < target / 2:
        assert spectrum.argmax() / 2 == pytest.approx(hz, abs=1)
    else:
        inner = resampled[100:-100]
        assert np.abs(inner).max() < 0.01, "what the target cannot hold must be gone"
    assert resampled.dtype == np.float32
