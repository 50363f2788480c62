import json

import numpy as np
import pytest
import torch
from transformers import Data2VecAudioConfig, Data2VecAudioModel, Wav2Vec2FeatureExtractor

from soundalike.embedders import create, music2vec, weights
from soundalike.embedders.pretrained import NOT_OF_THE_NETWORK
from soundalike.errors import Quarantined
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.embedders.checkpoints import write_music2vec
from tests.sounds import encoded, noise, tone

RATE = 16_000
BOTH = pytest.mark.parametrize("name", ["music2vec", "music2vec:input=standardized"])


def sound(seconds=1.0, seed=0):
    return (tone(seconds) + noise(seconds, seed=seed))[:, 0]


@pytest.fixture
def models(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    return small_models


def loaded(name="music2vec"):
    embedder = create(name)
    embedder.load()
    return embedder


def heard(embedder, samples):
    return embedder.run([embedder.prepare(Window(samples, 0.0, len(samples) / RATE))])[0]


def reference(folder, samples):
    """The last hidden state by the library alone."""
    settings = json.loads((folder / "config.json").read_text())
    known = Data2VecAudioConfig().to_dict().keys() - NOT_OF_THE_NETWORK - {"vocab_size"}
    model = Data2VecAudioModel(Data2VecAudioConfig(**{name: settings[name] for name in known}))
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    model.load_state_dict(state, strict=True)
    with torch.inference_mode():
        return model.eval()(torch.from_numpy(samples)[None]).last_hidden_state[0].numpy()


def as_given(name, samples):
    """What goes into the network, by the library alone."""
    if name == "music2vec":
        return samples
    front_end = Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True)
    return front_end(samples, sampling_rate=RATE)["input_values"][0]


@BOTH
def test_frames_are_the_librarys(models, name):
    samples = 0.3 * sound() + 0.1
    expected = reference(models / "music2vec", as_given(name, samples))
    assert expected.shape == (49, 768)
    np.testing.assert_allclose(heard(loaded(name), samples), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_at_full_size_frames_are_the_librarys_and_weights_as_many_as_published(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    full = {"intermediate_size": 3072, "conv_dim": [512] * 7}
    folder = write_music2vec(tmp_path / "music2vec", settings=full)
    embedder = create("music2vec")
    network = embedder.network(weights.read_state(folder, embedder.source))
    assert sum(one.numel() for one in network.parameters()) == 93_164_288
    expected = reference(folder, sound(5.0))
    np.testing.assert_allclose(heard(loaded(), sound(5.0)), expected, rtol=0, atol=1e-5)


def test_the_input_is_part_of_the_space(models):
    assert create("music2vec:input=raw").name == "music2vec"
    spaces = {
        Extractor(create(name)).space() for name in ("music2vec", "music2vec:input=standardized")
    }
    assert len(spaces) == 2


def test_a_long_clip_is_the_mean_over_the_frames_of_all_windows(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(music2vec, "LAYERS", 1)
    write_music2vec(tmp_path / "music2vec", settings={"num_hidden_layers": 1})
    extractor = Extractor(loaded())
    content = encoded(sound(32.0)[:, None], RATE, subtype="FLOAT")
    frames = extractor.extract(content, "none").values
    assert frames.shape == (1499 + 99, 768)
    found = extractor.extract(content, normalize=False)
    assert found.windows == 2
    expected = frames.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found.vector, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"num_hidden_layers": 24}, "num_hidden_layers = 24"),
        ({"hidden_size": "/a/path"}, "hidden_size = '/a/path'"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 4]}, "conv_stride"),
        ({"conv_dim": "deep"}, "describes no network"),
        ({"conv_pos_kernel_size": 21}, r"is \(768, 48, 19\) and not \(768, 48, 21\)"),
        ({"num_conv_pos_embeddings": 6}, r"lacks encoder\.pos_conv_embed\.layers\.5"),
        ({"num_conv_pos_embeddings": 4}, r"has no use for encoder\.pos_conv_embed\.layers\.4"),
    ],
)
def test_a_config_of_another_network_is_refused(tmp_path, monkeypatch, extra, why):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    write_music2vec(tmp_path / "music2vec", extra=extra)
    with pytest.raises(Quarantined, match=why):
        create("music2vec").load()


def test_weights_that_answer_nan_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    path = write_music2vec(tmp_path / "music2vec") / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    state["feature_projection.projection.bias"][:] = torch.nan
    torch.save(state, path)
    with pytest.raises(Quarantined, match="NaN"):
        create("music2vec").load()
