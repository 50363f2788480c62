import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from soundalike import embedders, pooling
from soundalike.datasets.demo import write_demo
from soundalike.embedders import create, mini_front_end, weights
from soundalike.embedders.mini_network import MEAN, PROJECTION, NumpyNetwork, shapes
from soundalike.errors import Quarantined
from soundalike.evaluation.retrieval import Labelled, evaluate
from soundalike.extract.extractor import Extractor
from soundalike.synthesis import FAMILIES, draw, render
from soundalike.types import Window
from tests.embedders.plain_networks import Plain, relu
from tests.sounds import encoded, noise, tone

RATE = 16_000
PACKAGED = weights.PACKAGED / "mini" / "mini.safetensors"
SOUNDS = {
    "tone": tone(2.3)[:, 0],
    "noise": noise(1.9)[:, 0],
    "both": (tone(3.1) + noise(3.1, amplitude=0.01))[:, 0],
    "short": tone(0.2)[:, 0],
}


def loaded():
    embedder = create("mini")
    embedder.load()
    return embedder


@pytest.fixture(scope="module")
def mini():
    return loaded()


@pytest.fixture
def own_weights(tmp_path, monkeypatch):
    """A copy of the weights in a models folder, to be changed."""
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    (tmp_path / "mini").mkdir()
    return Path(shutil.copy(PACKAGED, tmp_path / "mini"))


def frames_of(embedder, samples):
    window = Window(samples, 0.0, len(samples) / RATE)
    return embedder.run([embedder.prepare(window)])[0]


def slaney(hz):
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


def log_mel_by_hand(samples):
    """The spectrogram from its definition, in double precision, frame by frame."""
    time = np.arange(640)
    window = np.sin(np.pi * time / 640) ** 2
    turns = np.exp(-2j * np.pi * np.outer(np.arange(513), time) / 1024)
    wide = samples.astype(np.float64)
    mirrored = np.concatenate([wide[320:0:-1], wide, wide[-2:-322:-1]])
    frames = [mirrored[256 * n : 256 * n + 640] for n in range(1 + len(wide) // 256)]
    power = np.abs(turns @ (np.array(frames) * window).T).T ** 2
    grid = np.linspace(0, 8000, 80_001)
    scale = np.array([slaney(hz) for hz in grid])
    edges = np.interp(np.linspace(slaney(40), slaney(8000), 66), scale, grid)
    bins = np.arange(513) * RATE / 1024
    bands = [
        power @ np.interp(bins, edges[b : b + 3], [0, 2 / (edges[b + 2] - edges[b]), 0])
        for b in range(64)
    ]
    return np.log(np.array(bands).T + 1e-6)


def prepared_by_hand(samples):
    levels = log_mel_by_hand(samples)
    floored = np.maximum(levels - levels.max() + 3, -16)
    padded = np.vstack([floored, np.full((max(0, 96 - len(floored)), 64), floored.min())])
    return padded / 4 + 1.5


def network_by_hand(state, picture):
    """The frames of a picture of shape (T, 64), in double precision."""
    plain = Plain(state)
    x = picture[None]
    for number in range(4):
        x = relu(plain.convolve(f"conv{number}", x, 2, (1, 1)) if number < 3 else last(plain, x))
    x = x + relu(plain.convolve("residual", x, 1, (1, 1)))
    rows = x.transpose(1, 2, 0).reshape(x.shape[1], -1)
    return relu(rows @ plain.weights["frame.weight"].T + plain.weights["frame.bias"])


def last(plain, x):
    """The fourth convolution, which halves frequency alone."""
    return plain.convolve("conv3", x, 1, (1, 1))[:, :, ::2]


def vector_by_hand(state, frames):
    seen = np.concatenate([frames.mean(0), frames.max(0), frames.std(0)])
    return (seen - state[MEAN].astype(float)) @ state[PROJECTION].astype(float)


@pytest.mark.parametrize("name", SOUNDS)
def test_what_the_network_sees_is_as_defined(mini, name):
    found = mini.prepare(Window(SOUNDS[name], 0.0, 1.0))
    np.testing.assert_allclose(found, prepared_by_hand(SOUNDS[name]), atol=1e-4)


def test_without_scipy_it_sees_the_same(mini, monkeypatch):
    with_it = mini_front_end.log_mel(SOUNDS["both"])
    monkeypatch.setattr(mini_front_end, "find_spec", lambda name: None)
    mini_front_end._transform.cache_clear()
    np.testing.assert_allclose(mini_front_end.log_mel(SOUNDS["both"]), with_it, atol=1e-4)
    mini_front_end._transform.cache_clear()


@pytest.mark.parametrize("frames", [96, 97, 103, 200])
def test_torch_numpy_and_a_formula_compute_one_network(mini, frames):
    state = weights.read_state_arrays(PACKAGED.parent, mini.source)
    picture = np.random.default_rng(frames).normal(size=(frames, 64)).astype(np.float32)
    expected = network_by_hand(state, picture.astype(np.float64))
    assert expected.shape == (-(-frames // 8), 512)
    scale = expected.max()
    np.testing.assert_allclose(NumpyNetwork(state)(picture), expected, atol=1e-5 * scale)
    np.testing.assert_allclose(mini.run([picture])[0], expected, atol=1e-5 * scale)


@pytest.mark.parametrize("name", SOUNDS)
def test_the_vector_is_as_defined(mini, name):
    state = load_file(PACKAGED)
    expected = vector_by_hand(state, network_by_hand(state, prepared_by_hand(SOUNDS[name])))
    found = Extractor(mini).extract(encoded(SOUNDS[name], subtype="FLOAT")).vector
    assert found @ pooling.unit(expected) > 0.999999


@pytest.fixture(scope="module")
def both_ways():
    """The embedder in torch and in numpy alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_RUNTIME", "torch")
        in_torch = loaded()
        patch.setattr(embedders.mini, "find_spec", lambda name: None)
        in_numpy = loaded()
    assert (in_torch.runtime, in_numpy.runtime) == ("torch", "numpy")
    return in_torch, in_numpy


def synthesised(family):
    patch = draw(np.random.default_rng(len(family)), family)
    return encoded(render(patch, 2.0 + len(family) / 10, RATE), subtype="FLOAT")


def heard_alike(both_ways, sounds):
    for sound in sounds:
        one, other = (
            Extractor(embedder).extract(sound, with_frames=True) for embedder in both_ways
        )
        assert one.space == other.space
        assert one.vector @ other.vector > 0.999999
        rows = [pooling.unit(each.frames.values.ravel()) for each in (one, other)]
        assert rows[0] @ rows[1] > 0.999999


def test_torch_and_numpy_hear_synthesised_sounds_alike(both_ways):
    heard_alike(both_ways, map(synthesised, FAMILIES))


def test_torch_and_numpy_hear_real_sounds_alike(both_ways, shared):
    heard_alike(both_ways, sorted((shared / "audio" / "dev").rglob("*.*"))[::24])


IN_NUMPY = """
import json, sys
for name in ("torch", "transformers", "librosa", "h5py", "huggingface_hub", "matplotlib"):
    sys.modules[name] = None
from soundalike import cli
from soundalike.extract.loading import Extractors

for model in ("auto", "descriptors", "mfcc", "mini:with=descriptors"):
    assert cli.main(["embed", sys.argv[1], "--model", model, "--json"]) == 0
from fastapi.testclient import TestClient
from services.embedder.app import create_app
from services.embedder.settings import EmbedderSettings

with TestClient(create_app(EmbedderSettings(data_dir=sys.argv[2]))) as client:
    content = open(sys.argv[1], "rb").read()
    print(client.post("/embed?model=mini", content=content).text)
"""


def test_the_light_install_embeds_as_the_whole_one_does(mini, tmp_path):
    path = tmp_path / "sound.wav"
    path.write_bytes(encoded(SOUNDS["both"]))
    command = [sys.executable, "-c", IN_NUMPY, str(path), str(tmp_path)]
    told = subprocess.check_output(command, text=True).splitlines()
    answers = [json.loads(line) for line in told]
    assert [one["model"] for one in answers] == [
        "mini", "descriptors", "mfcc", "0.49*mini+descriptors", "mini",
    ]  # fmt: skip
    expected = Extractor(mini).extract(path)
    for one in (answers[0], answers[-1]):
        assert (one["runtime"], one["space"]) == ("numpy", str(expected.space))
        assert np.array(one["vector"]) @ expected.vector > 0.999999


LIGHT = """
import re, sys
for name in ("torch", "transformers", "librosa"):
    sys.modules[name] = None
import soundalike
soundalike.embed(sys.argv[1], model="mini")
with open("/proc/self/status") as status:
    print(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc elsewhere")
def test_the_first_vector_of_the_light_install_takes_little_memory(tmp_path):
    path = tmp_path / "sound.wav"
    path.write_bytes(encoded(noise(10.0)))
    told = subprocess.check_output([sys.executable, "-c", LIGHT, str(path)], text=True)
    assert int(told) < 100_000


def test_the_packaged_file_is_small_and_whole():
    assert PACKAGED.stat().st_size < 4_000_000
    state = load_file(PACKAGED)
    assert {name: array.shape for name, array in state.items()} == shapes()
    assert {array.dtype for array in state.values() if array.ndim > 1} == {np.dtype(np.float16)}


def test_nothing_is_written_beside_the_packaged_file(mini):
    mini.weights_digest()
    assert not list(PACKAGED.parent.glob("*.note.json"))


def test_weights_in_the_models_folder_come_first(mini, own_weights):
    assert loaded().weights_digest() == mini.weights_digest()
    state = load_file(own_weights)
    save_file(state | {MEAN: state[MEAN] + 1}, own_weights)
    other = loaded()
    assert Extractor(other).space() != Extractor(mini).space()
    found, usual = (Extractor(one).extract(encoded(SOUNDS["tone"])) for one in (other, mini))
    assert found.vector @ usual.vector < 0.9999


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda state: state.pop("conv1.bias"), "lacks conv1.bias"),
        (lambda state: state.update(more=np.zeros(1)), "has no use for more"),
        (lambda state: state.update({MEAN: np.zeros(3)}), r"holds .* is \(3,\)"),
        (lambda state: state[MEAN].fill(0) or state["frame.bias"].fill(np.nan), "NaN"),
    ],
)
def test_a_file_of_another_network_is_quarantined(own_weights, change, why):
    state = load_file(own_weights)
    change(state)
    save_file(state, own_weights)
    with pytest.raises(Quarantined, match=why):
        loaded()


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
def test_a_broken_file_is_quarantined(own_weights, content):
    own_weights.write_bytes(content)
    with pytest.raises(Quarantined, match="broken"):
        loaded()


def test_a_type_that_numpy_lacks_is_quarantined(own_weights):
    from safetensors.torch import save_file as save_torch

    save_torch({MEAN: torch.zeros(1536, dtype=torch.float8_e4m3fn)}, own_weights)
    with pytest.raises(Quarantined, match=r"broken|lacks"):
        loaded()


def test_what_is_louder_is_heard_alike(mini):
    extract = Extractor(mini).extract
    loud = extract(encoded(tone(2.0, amplitude=0.8), subtype="FLOAT")).vector
    soft = extract(encoded(tone(2.0, amplitude=0.08), subtype="FLOAT")).vector
    assert loud @ soft > 0.9


def precision_at_1(clips, label, apart=None):
    labels = [[row[label]] for row in clips]
    groups = [row[apart] for row in clips] if apart else None
    vectors = np.stack([row["vector"] for row in clips])
    found = evaluate(Labelled("mini", "own", vectors, labels, groups), ks=(1,))
    return found.figures.precision[1].mean


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_neighbours_among_the_demo_sounds_are_of_their_kind(mini, tmp_path):
    clips = [
        {"label": one.metadata["label"], "vector": Extractor(mini).extract(one.path).vector}
        for one in write_demo(tmp_path)
    ]
    assert precision_at_1(clips, "label") >= 0.95


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_hears_as_well_as_its_page_says(mini, shared):
    with (shared / "audio" / "dev.csv").open(newline="") as file:
        clips = [row for row in csv.DictReader(file) if row["set"] in ("esc10", "fsdd")]
    for row in clips:
        row["vector"] = Extractor(mini).extract(shared / "audio" / row["path"]).vector
    noises, digits = ([row for row in clips if row["set"] == name] for name in ("esc10", "fsdd"))
    assert precision_at_1(noises, "label") >= 0.90
    assert precision_at_1(noises, "label", "group") >= 0.85
    assert precision_at_1(digits, "label", "group") >= 0.65
