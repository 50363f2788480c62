import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

import soundalike
from soundalike.audio.resample import resample
from soundalike.errors import BadRequest, TooLong, UndecodableAudio
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import Extractors
from soundalike.pooling import pool, unit
from soundalike.types import Frames, Space
from tests.sounds import encoded, noise, tone

RATE = 8_000


@pytest.fixture(scope="module")
def fake():
    return Extractors(max_seconds=60).get("fake")


def fake_frames(samples):
    """What the fake is defined to answer, worked out apart from it."""
    seconds = [samples[i : i + RATE] for i in range(0, len(samples), RATE)]
    return np.array([np.abs(one).reshape(8, -1).mean(axis=1) for one in seconds])


def test_the_fakes_frames_are_what_its_definition_says(fake):
    samples = noise(3.0, RATE)[:, 0]
    found = fake.extract(encoded(samples, RATE, subtype="FLOAT"), "none")
    np.testing.assert_allclose(found.values, fake_frames(samples), atol=1e-6)
    assert found.windows == 3
    assert found.frames.rate_hz == 1.0


def test_the_vector_is_the_pooled_frames_at_unit_length(fake):
    samples = noise(3.0, RATE)[:, 0]
    content = encoded(samples, RATE, subtype="FLOAT")
    mean = fake_frames(samples).mean(axis=0)
    np.testing.assert_allclose(fake.extract(content).vector, mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(fake.extract(content, normalize=False).vector, mean, atol=1e-6)


def test_each_window_has_its_vector(fake):
    samples = noise(3.5, RATE)[:, 0]
    found = fake.extract(encoded(samples, RATE, subtype="FLOAT"), window_vectors=True)
    assert [(one.start, one.end) for one in found.window_vectors] == [(0, 1), (1, 2), (2, 3)]
    for one, frame in zip(found.window_vectors, fake_frames(samples[: 3 * RATE]), strict=True):
        np.testing.assert_allclose(one.vector, frame / np.linalg.norm(frame), atol=1e-6)


def test_window_vectors_need_a_pooling(fake):
    with pytest.raises(BadRequest):
        fake.extract(encoded(noise(1.0, RATE), RATE), "none", window_vectors=True)


def test_the_report_tells_what_the_sound_was_like(fake):
    samples = np.concatenate([tone(2.0, rate=RATE, channels=2), np.zeros((2 * RATE, 2), "f4")])
    samples[:320] = 1.0
    content = encoded(samples[: int(3.6 * RATE)], RATE)
    audio = fake.extract(content).audio
    assert (audio.format, audio.sample_rate, audio.channels) == ("WAV", RATE, 2)
    assert audio.seconds == pytest.approx(3.6)
    assert audio.seconds_used == pytest.approx(3.0)  # the last 0.6 s are dropped
    assert audio.clipped == pytest.approx(320 / len(samples) / 0.9)
    assert audio.silent == pytest.approx(1.6 / 3.6, abs=0.01)
    assert not audio.truncated


def test_a_stage_each_is_timed(fake):
    found = fake.extract(encoded(noise(1.0, RATE), RATE))
    assert list(found.ms) == ["decode", "resample", "features", "model"]
    assert all(value >= 0 for value in found.ms.values())


def test_the_limit_on_seconds_holds(fake):
    with pytest.raises(TooLong):
        fake.extract(encoded(noise(61.0, RATE), RATE))


def test_extractors_are_made_once():
    extractors = Extractors()
    assert extractors.get("fake") is extractors.get("fake:sign=plus")
    assert extractors.get("fake") is not extractors.get("fake:sign=minus")


def test_minutes_of_sound_do_not_need_a_spectrogram_of_them():
    extractor = Extractors().get("mfcc")
    content = encoded(noise(600.0, 16_000), 16_000)
    extractor.extract(encoded(noise(1.0), 16_000))
    tracemalloc.start()
    extractor.extract(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    samples = 600 * 16_000 * 4
    assert peak < 6 * samples, f"{peak / samples:.1f} times the samples themselves"


MEASURE = """
import resource, sys
from pathlib import Path
from soundalike.extract.loading import Extractors
extractor = Extractors().get(sys.argv[1])
peaks = []
for path in sys.argv[2:]:
    extractor.extract(Path(path))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print((peaks[1] - peaks[0]) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize(("key", "most_mb"), [("fake", 40), ("mfcc", 500)])
def test_twenty_minutes_take_little_more_memory_than_ten_seconds(tmp_path, key, most_mb, root):
    minute = noise(60.0, 44_100)
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 44_100, 2) as long:
        for _ in range(20):
            long.write(np.repeat(minute, 2, axis=1))
    (tmp_path / "short.wav").write_bytes(encoded(noise(10.0, 44_100), 44_100))
    command = [sys.executable, "-c", MEASURE, key, tmp_path / "short.wav", tmp_path / "long.wav"]
    grown = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert float(grown.stdout) < most_mb


def test_a_long_sound_has_the_vectors_of_its_windows(fake):
    samples = noise(61.5, 44_100)
    whole = resample(samples[:, 0], 44_100, RATE)
    found = Extractor(fake.embedder).extract(encoded(samples, 44_100, subtype="FLOAT"), "none")
    np.testing.assert_allclose(found.values, fake_frames(whole[: 61 * RATE]), atol=1e-7)
    assert found.windows == 61


def test_frames_pool_to_the_same_vector_however_many_columns_there_are():
    values = np.random.default_rng(0).normal(size=(31, 200)).astype(np.float32)
    weights = np.linspace(1, 2, 31)
    wide = values.astype(np.float64)
    expected = np.average(wide, axis=0, weights=weights)
    found = pool(Frames(values, 1.0, weights), "mean")
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    np.testing.assert_array_equal(pool(Frames(values, 1.0), "max"), values.max(axis=0))


def test_embed_in_python(tmp_path):
    path = tmp_path / "some.wav"
    path.write_bytes(encoded(noise(1.0)))
    vector = soundalike.embed(path)
    assert vector.shape == (256,)
    np.testing.assert_array_equal(soundalike.embed(str(path), model="mini"), vector)
    np.testing.assert_array_equal(soundalike.embed(path.read_bytes()), vector)
    assert soundalike.embed(path, pooling="none").shape[1] == 512
    with pytest.raises(UndecodableAudio):
        soundalike.embed(b"nothing of the kind")


def test_spaces_are_twelve_hex_digits_of_a_canonical_recipe():
    one, other = Space.of("x", {"a": 1, "b": [2]}), Space.of("x", {"b": [2], "a": 1})
    assert one == other
    assert str(one).startswith("x/")
    assert len(str(one)) == 2 + 12
    assert Space.of("x", {"a": 2, "b": [2]}) != one
    assert Space.of("y", {"a": 1, "b": [2]}) != one


def test_poolings_by_hand():
    frames = Frames(np.array([[1, 10], [3, 20]], np.float32), 1.0)
    np.testing.assert_allclose(pool(frames, "mean"), [2, 15])
    np.testing.assert_allclose(pool(frames, "meanstd"), [2, 15, 1, 5])
    np.testing.assert_allclose(pool(frames, "max"), [3, 20])
    np.testing.assert_allclose(pool(frames, "flatten10"), [1, 10, 3, 20] + 16 * [0])
    weighted = Frames(frames.values, 1.0, np.array([3.0, 1.0]))
    np.testing.assert_allclose(pool(weighted, "mean"), [1.5, 12.5])
    with pytest.raises(BadRequest):
        pool(frames, "none")


def test_percentiles_are_numpys_level_by_level():
    values = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    rows = [np.percentile(values.astype(float), level, axis=0) for level in (10, 25, 50, 75, 90)]
    found = pool(Frames(values, 1.0), "percentiles")
    np.testing.assert_allclose(found, np.concatenate(rows), atol=1e-6)


def test_flatten10_takes_the_first_ten_rows():
    frames = Frames(np.arange(26, dtype=np.float32).reshape(13, 2), 1.0)
    np.testing.assert_array_equal(pool(frames, "flatten10"), np.arange(20))


def test_unit_length():
    np.testing.assert_allclose(unit([3, 4]), [0.6, 0.8])
    np.testing.assert_array_equal(unit([0, 0]), [0, 0])
