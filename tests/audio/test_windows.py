import tracemalloc
import weakref

import numpy as np
import pytest

from soundalike.audio.resample import resample, stream
from soundalike.audio.windows import cut

RATE = 100


def in_blocks(samples, size=37):
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def starts_and_ends(seconds, window_s):
    pieces = cut(in_blocks(np.zeros(round(seconds * RATE), np.float32)), RATE, window_s)
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
    for piece in cut(in_blocks(samples), RATE, 1.0):
        expected = samples[round(piece.start_s * RATE) : round(piece.end_s * RATE)]
        np.testing.assert_array_equal(piece.samples, expected)


def test_a_clip_taken_whole_is_in_memory_once():
    block, count = np.ones(10_000, np.float32), 400
    tracemalloc.start()
    try:
        (whole,) = cut((block.copy() for _ in range(count)), RATE, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(whole.samples) == count * len(block)
    assert peak < 1.4 * whole.samples.nbytes


def test_a_window_that_is_done_with_is_not_kept_until_the_next():
    pieces = cut(in_blocks(np.ones(250, np.float32)), RATE, 1.0)
    samples = weakref.ref(next(pieces).samples)
    assert samples() is None


def test_ten_seconds_stay_ten_seconds():
    assert len(resample(np.zeros(441_000, np.float32), 44_100, 48_000)) == 480_000


@pytest.mark.parametrize(("rate", "target"), [(44_100, 48_000), (48_000, 24_000), (8_000, 48_000)])
def test_block_by_block_gives_the_samples_that_the_whole_gives(rate, target):
    samples = np.random.default_rng(0).uniform(-1, 1, 3 * rate + 11).astype(np.float32)
    found = np.concatenate(list(stream(in_blocks(samples, 1017), rate, target)))
    np.testing.assert_array_equal(found, resample(samples, rate, target))


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
