import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike import embedders
from soundalike.embedders import madmom, reading, weights
from soundalike.errors import LicenceRefused, Quarantined
from soundalike.extract.extractor import Extractor
from soundalike.types import Clip
from tests.embedders.packaged_weights import (
    pickled,
    random_networks,
    write_madmom,
)

pytestmark = pytest.mark.timeout(300)  # the first test may have to fetch the packages

RATE_HZ = 44_100
BANDS = {1024: 39, 2048: 45, 4096: 49}


def loaded(folder, patch):
    patch.setenv("SOUNDALIKE_MODELS_DIR", str(folder))
    embedder = embedders.create("madmom")
    embedder.load()
    return embedder


@pytest.fixture
def real(real_models, monkeypatch):
    return loaded(real_models, monkeypatch)


def activations(embedder, samples):
    return Extractor(embedder).extract(Clip(samples[None], RATE_HZ), "none").values[:, 0]


def clicks(bpm, seconds, first_s=0.5):
    """Short bursts of noise, one a beat."""
    samples = np.zeros(round(seconds * RATE_HZ), np.float32)
    burst = np.random.default_rng(0).uniform(-1, 1, 882) * np.exp(-np.arange(882) / 150)
    beats_s = np.arange(first_s, seconds - 0.1, 60 / bpm)
    for beat_s in beats_s:
        start = round(beat_s * RATE_HZ)
        samples[start : start + len(burst)] += burst
    return 0.8 * samples, beats_s


def peaks(values, least=0.1):
    inner = values[1:-1]
    return 1 + np.flatnonzero((inner > least) & (inner >= values[:-2]) & (inner > values[2:]))


def plain_features(samples, size, reach):
    """Levels and rises of one length of the transform, a frame and a filter at a time."""
    wanted = [440 * 2 ** (k / 6) for k in range(-24, 32)]
    wanted = [hz for hz in wanted if 30 <= hz <= 17_000]
    distances = np.abs(np.array(wanted)[:, None] - np.arange(size // 2) * RATE_HZ / size)
    bins = sorted({int(np.flatnonzero(row == row.min())[-1]) for row in distances})
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - 1))
    padded = np.pad(samples.astype(np.float64), 3 * size)
    levels = []
    for t in range(-(-len(samples) // 441)):
        start = 3 * size + 441 * t - size // 2
        spectrum = np.abs(np.fft.fft(padded[start : start + size] * window))
        level = []
        for low, centre, high in zip(bins, bins[1:], bins[2:], strict=False):
            rising = {b: (b - low) / (centre - low) for b in range(low, centre)}
            falling = {b: (high - b) / (high - centre) for b in range(centre, high)}
            shares = rising | falling if high - low >= 2 else {low: 1.0}
            total = sum(share * spectrum[b] for b, share in shares.items())
            level.append(np.log10(1 + total / sum(shares.values())))
        levels.append(level)
    levels = np.array(levels)
    rises = np.zeros_like(levels)
    rises[reach:] = np.maximum(0, levels[reach:] - levels[:-reach])
    return np.hstack([levels, rises])


def plain_answer(network, heard):
    """One network, one moment after the other, in double precision."""

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    def run(way, heard):
        output = cell = np.zeros(25)
        outputs = []
        for moment in heard:
            into = {
                name: moment @ gate["weights"] + gate["bias"] + output @ gate["recurrent_weights"]
                for name, gate in way.items()
            }
            peephole = {name: gate.get("peephole_weights") for name, gate in way.items()}
            take = sigmoid(into["input_gate"] + peephole["input_gate"] * cell)
            keep = sigmoid(into["forget_gate"] + peephole["forget_gate"] * cell)
            cell = take * np.tanh(into["cell"]) + keep * cell
            show = sigmoid(into["output_gate"] + peephole["output_gate"] * cell)
            output = show * np.tanh(cell)
            outputs.append(output)
        return np.array(outputs)

    layers, last = network
    for forward, backward in layers:
        heard = np.hstack([run(forward, heard), run(backward, heard[::-1])[::-1]])
    return sigmoid(heard @ last["weights"] + last["bias"])


def test_published_weights_give_the_reference_activations(real, shared):
    reference = shared / "reference" / "madmom"
    samples, rate_hz = soundfile.read(reference / "sample.wav", dtype="float32")
    assert rate_hz == RATE_HZ
    expected = np.load(reference / "sample.beats_blstm.npz")["activations"]
    np.testing.assert_allclose(activations(real, samples), expected, atol=1e-5)


def test_beats_of_a_click_track_are_found_where_they_are(real):
    samples, beats_s = clicks(120, 12)
    found_s = peaks(activations(real, samples)) / 100
    for beat_s in beats_s[1:-1]:
        assert np.abs(found_s - beat_s).min() <= 0.02, beat_s


def test_tracks_of_one_tempo_are_nearer_than_those_of_two(real):
    extractor = Extractor(real)
    one, other, faster = (
        extractor.extract(Clip(clicks(bpm, 10, first_s)[0][None], RATE_HZ)).vector
        for bpm, first_s in ((120, 0.5), (120, 0.3), (150, 0.5))
    )
    assert one @ other > 0.95 > one @ faster


def test_features_are_those_of_a_plain_formula():
    samples = np.random.default_rng(0).normal(0, 0.2, 5000).astype(np.float32)
    expected = [
        plain_features(samples, size, reach) for size, reach in ((1024, 1), (2048, 1), (4096, 2))
    ]
    assert [part.shape for part in expected] == [(12, 2 * bands) for bands in BANDS.values()]
    np.testing.assert_allclose(madmom.features(samples), np.hstack(expected), atol=1e-5)


@pytest.mark.parametrize("samples", [1, 441, 442, 512 * 441 + 1])
def test_there_is_a_frame_for_every_hundredth_of_a_second_begun(samples):
    assert madmom.features(np.ones(samples, np.float32)).shape == (-(-samples // 441), 266)


@pytest.mark.parametrize("at_once", [7, 1000])
def test_eight_networks_at_once_are_eight_plain_ones(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr("soundalike.embedders.peepholes.MOMENTS_AT_ONCE", at_once)
    networks = random_networks()
    write_madmom(tmp_path / "madmom", networks)
    embedder = loaded(tmp_path, monkeypatch)
    heard = np.random.default_rng(1).normal(0, 1, (40, 266)).astype(np.float32)
    expected = np.mean([plain_answer(one, heard.astype(np.float64)) for one in networks], axis=0)
    assert expected.std() > 0.01
    np.testing.assert_allclose(embedder.run([heard])[0], expected, atol=1e-5)


def test_the_vector_is_the_autocorrelation_of_the_beats():
    values = np.random.default_rng(0).uniform(0, 1, 500)
    vector = madmom.repetition(values.astype(np.float32))
    for lag, found in zip(20 * 10 ** (np.arange(64) / 63), vector, strict=True):
        near = [np.mean(values[whole:] * values[: 500 - whole]) for whole in range(202)]
        low = int(lag)
        expected = near[low] + (lag - low) * (near[low + 1] - near[low])
        assert found == pytest.approx(expected / near[0], abs=1e-5)
    assert not madmom.repetition(np.ones(50, np.float32))[-1]


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("trapped"),)


class Ordered:
    def __reduce__(self):
        return sorted, ([1],)


def in_place(tmp_path, content):
    path = tmp_path / "beats_blstm.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("trap", [Trap(), Ordered(), np.ma.array([1.0]), {"layers": Trap()}])
def test_a_pickle_that_names_anything_else_is_not_opened(tmp_path, monkeypatch, trap):
    monkeypatch.chdir(tmp_path)
    for content in (pickle.dumps(trap, protocol=2), pickle.dumps(trap)):
        with pytest.raises(Quarantined, match=r"would run code.*from a source you trust"):
            reading.read(in_place(tmp_path, content))
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    "name", [b"madmom.ml.nn.layers\nGRULayer", b"numpy\nload", b"numpy\nndarray.tofile"]
)
def test_names_beside_the_list_are_refused_though_their_modules_are_known(tmp_path, name):
    content = b"\x80\x02c" + name + b"\n."
    with pytest.raises(Quarantined, match="would run code"):
        reading.read(in_place(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        pickled(random_networks(1)[0])[:-1000],
        pickle.dumps({"layers": [1]}, protocol=2),
        pickled(random_networks(1)[0]) + pickle.dumps([], protocol=2),
    ],
    ids=["empty", "page", "cut-off", "a-table", "followed-by-a-list"],
)
def test_a_pickle_that_is_broken_or_something_else_is_refused(tmp_path, content):
    with pytest.raises(Quarantined, match="remove it and bring the weights again"):
        reading.read(in_place(tmp_path, content))


def test_seven_networks_are_not_madmoms(tmp_path, monkeypatch):
    write_madmom(tmp_path / "madmom", random_networks(7))
    with pytest.raises(Quarantined, match=r"is \(7, .* and not \(8, "):
        loaded(tmp_path, monkeypatch)


def test_the_licence_is_kept_to(real_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(real_models))
    monkeypatch.setenv("SOUNDALIKE_COMMERCIAL_ONLY", "1")
    with pytest.raises(LicenceRefused, match=r"CC-BY-NC-SA-4\.0"):
        weights.folder("madmom", madmom.Madmom.card.weights)


def test_a_long_clips_features_are_in_memory_once(monkeypatch):
    monkeypatch.setattr(madmom, "FRAMES_AT_ONCE", 16)
    samples = np.ones(120 * madmom.SAMPLE_RATE_HZ, np.float32)
    madmom.features(samples[:44_100])  # what is made once and kept
    tracemalloc.start()
    try:
        found = madmom.features(samples)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * found.nbytes
