import shutil
from itertools import pairwise

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from soundalike.embedders import create, weights
from soundalike.embedders import descriptor_blocks as blocks
from soundalike.errors import Quarantined
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.sounds import encoded, noise, tone

RATE = 16_000
PACKAGED = weights.PACKAGED / "descriptors" / "descriptors.safetensors"
SIZES = {
    "modulation": 112, "mel_mean": 64, "contrast": 14, "tempo": 23, "changes": 40,
    "mel_deviation": 64, "mfcc_deviation": 104,
}  # fmt: skip
WEIGHTS = dict(zip(SIZES, (2, 2, 1, 1, 1, 0.5, 0.5), strict=True))


def block(name, samples):
    """One block of the bare numbers of a sound."""
    start = sum(size for other, size in SIZES.items() if list(SIZES).index(other) < at(name))
    return blocks.describe(samples)[start : start + SIZES[name]]


def at(name):
    return list(SIZES).index(name)


def trembling(hz, seconds=4.0):
    """Noise that comes and goes so many times a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (noise(seconds)[:, 0] * (1 + 0.9 * np.sin(2 * np.pi * hz * time))).astype(np.float32)


def clicks(every_s, seconds=6.0):
    samples = noise(seconds, amplitude=1e-3)[:, 0]
    for start in np.arange(0.1, seconds - 0.1, every_s):
        samples[round(start * RATE) :][:160] += noise(0.01, seed=1)[:, 0]
    return samples


@pytest.fixture(scope="module")
def extractor():
    embedder = create("descriptors")
    embedder.load()
    return Extractor(embedder)


def test_blocks_have_their_sizes_and_weights():
    assert {name: size for name, (size, _) in blocks.BLOCKS.items()} == SIZES
    assert {name: weight for name, (_, weight) in blocks.BLOCKS.items()} == WEIGHTS
    assert blocks.describe(noise(1.0)[:, 0]).shape == (421,)


@pytest.mark.parametrize(("hz", "band"), [(0.6, 0), (1.5, 1), (3.0, 2), (6.0, 3), (24.0, 5)])
def test_modulation_shows_how_often_a_sound_comes_and_goes(hz, band):
    strengths = block("modulation", trembling(hz)).reshape(16, 7)
    assert (strengths[4:].argmax(axis=1) == band).all()


def test_modulation_is_as_defined():
    level = np.random.default_rng(0).normal(size=(700, 16)).astype(np.float32)
    nepers = level.astype(np.float64) * np.log(10) / 10
    centred = nepers - nepers.mean(axis=0)
    turns = np.exp(-2j * np.pi * np.outer(np.arange(351), np.arange(700)) / 700)
    strength = np.abs(turns @ centred) / np.sqrt(700)
    rates = np.arange(351) * 125 / 700
    edges = (0.3, 1, 2, 4, 8, 16, 32, 62)
    expected = [
        [np.log(strength[(rates >= low) & (rates < high), b].mean() + 0.01)
         for low, high in pairwise(edges)]
        for b in range(16)
    ]  # fmt: skip
    np.testing.assert_allclose(blocks.modulation(level), np.ravel(expected), atol=1e-4)


@pytest.mark.parametrize("every_s", [0.1, 0.5, 1.0])
def test_tempo_shows_the_time_between_onsets(every_s):
    strengths = block("tempo", clicks(every_s))
    edges_s = 0.008 * np.round(np.geomspace(3, 500, 24))
    expected = np.searchsorted(edges_s, every_s + 1e-9, side="right") - 1
    assert strengths[expected] > 0.7
    below = strengths[: expected - 1]
    assert not len(below) or strengths[expected] > below.max() + 0.3


def test_tempo_is_the_autocorrelation_of_rises():
    level = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    rise = np.maximum(np.diff(level.astype(np.float64), axis=0), 0).mean(axis=1)
    onsets = rise - rise.mean()
    at_lag = [onsets[lag:] @ onsets[: len(onsets) - lag] if lag < 299 else 0 for lag in range(501)]
    edges = np.round(np.geomspace(3, 500, 24)).astype(int)
    bands = list(zip(edges, [*edges[1:-1], 501], strict=False))
    expected = [max(at_lag[low:high]) / at_lag[0] for low, high in bands]
    np.testing.assert_allclose(blocks.tempo(level), expected, atol=1e-5)


def test_contrast_is_as_defined():
    power = np.random.default_rng(0).exponential(size=(5, 1025)).astype(np.float32)
    level = 10 * np.log10(power.astype(np.float64))
    edges = (0, 16, 32, 64, 128, 256, 512, 1024)
    found = []
    for low, high in pairwise(edges):
        few = max(1, round(0.02 * (high - low)))
        rows = [sorted(row) for row in level[:, low:high]]
        found.append([np.mean(row[-few:]) - np.mean(row[:few]) for row in rows])
    expected = np.concatenate([np.mean(found, axis=1), np.std(found, axis=1)])
    np.testing.assert_allclose(blocks.contrast(power), expected, rtol=1e-4)


def test_peaks_stand_out_in_a_tone_and_not_in_noise():
    assert block("contrast", tone(2.0)[:, 0])[2] > block("contrast", noise(2.0)[:, 0])[2] + 20


def test_changes_are_as_defined():
    values = np.random.default_rng(0).normal(size=(9, 20)).astype(np.float32)
    steps = [values[n + 1] - values[n] for n in range(8)]
    expected = np.concatenate([np.mean(np.abs(steps), axis=0), np.std(steps, axis=0)])
    np.testing.assert_allclose(blocks.changes(values), expected, rtol=1e-5)
    assert not blocks.changes(values[:1]).any()


def test_loudness_does_not_matter():
    loud, soft = (blocks.describe(trembling(3.0) * gain) for gain in (1.0, 0.01))
    np.testing.assert_allclose(loud, soft, atol=0.02)


def test_the_vector_is_standardised_clipped_and_weighed(extractor):
    state = load_file(PACKAGED)
    samples = trembling(3.0, 2.0)
    standard = (blocks.describe(samples) - state["mean"]) / state["deviation"]
    scale = [weight / np.sqrt(SIZES[name]) for name, weight in WEIGHTS.items()]
    expected = np.clip(standard, -5, 5) * np.repeat(scale, list(SIZES.values()))
    content = encoded(samples, subtype="FLOAT")
    found = extractor.extract(content, normalize=False).vector
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_windows_count_by_their_seconds(extractor):
    samples = np.concatenate([trembling(3.0, 10.0), tone(5.0)[:, 0]])
    parts = [extractor.embedder.prepare(Window(one, 0, 1)) for one in np.split(samples, [160_000])]
    first, second = (frames[0] for frames in extractor.embedder.run(parts))
    found = extractor.extract(encoded(samples, subtype="FLOAT"), normalize=False).vector
    np.testing.assert_allclose(found, (2 * first + second) / 3, atol=1e-4)


def test_statistics_of_something_else_are_quarantined(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    (tmp_path / "descriptors").mkdir()
    copy = shutil.copy(PACKAGED, tmp_path / "descriptors")
    usual = create("descriptors").weights_digest()
    save_file({"mean": np.zeros(421), "deviation": np.ones(421)}, copy)
    assert create("descriptors").weights_digest() != usual
    save_file({"mean": np.zeros(421), "deviation": np.ones(420)}, copy)
    with pytest.raises(Quarantined, match="421 means"):
        create("descriptors").load()
