import json

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from soundalike.embedders import create
from soundalike.embedders.mert import Mert95M, hidden_states
from soundalike.embedders.weights import read_state
from soundalike.errors import Quarantined, UnknownModel
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.embedders.checkpoints import MERT_SIZES, write_mert
from tests.sounds import encoded, noise, tone

RATE = 24_000
KEYS = list(MERT_SIZES)


def sound(seconds=1.0, seed=0):
    return (tone(seconds, rate=RATE) + noise(seconds, RATE, seed))[:, 0]


def loaded(name):
    embedder = create(name)
    embedder.load()
    return embedder


def network(embedder):
    return embedder.network(read_state(embedder.folder, embedder.source))


def heard(embedder, samples):
    """The frames of a window."""
    window = Window(samples, 0.0, len(samples) / RATE)
    return embedder.run([embedder.prepare(window)])[0]


@pytest.fixture
def models(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    return small_models


def reference(folder, samples):
    """All hidden states by the library alone, the last one after the last norm."""
    settings = json.loads((folder / "config.json").read_text())
    names = HubertConfig().to_dict().keys() - {"model_type", "dtype"}
    config = HubertConfig(**{name: settings[name] for name in names & settings.keys()})
    model = HubertModel(config).eval()
    model.load_state_dict(torch.load(folder / "pytorch_model.bin", weights_only=True), strict=True)
    front_end = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    prepared = front_end(samples, sampling_rate=RATE, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        found = model(prepared, output_hidden_states=True)
    return [state[0].numpy() for state in (*found.hidden_states[:-1], found.last_hidden_state)]


def agree(embedder, expected, samples):
    prepared = torch.from_numpy(embedder.prepare(Window(samples, 0.0, len(samples) / RATE)))
    with torch.inference_mode():
        states = hidden_states(network(embedder), prepared[None])
        found = [state[0] for state in states]
    assert len(found) == len(expected) == embedder.layers + 1
    for ours, theirs in zip(found, expected, strict=True):
        # without norms between its layers the larger one's values grow from layer to layer
        close_to = 1e-5 * max(1, np.abs(theirs).max())
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=close_to)
    np.testing.assert_allclose(heard(embedder, samples), found[-1].numpy(), rtol=0, atol=close_to)


@pytest.mark.parametrize("key", KEYS)
def test_hidden_states_are_the_librarys(models, key):
    agree(loaded(key), reference(models / key, sound()), sound())


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_hidden_states_are_the_librarys_at_full_size(tmp_path, monkeypatch, key):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    wide = {"intermediate_size": 4 * MERT_SIZES[key]["hidden_size"], "conv_dim": [512] * 7}
    folder = write_mert(tmp_path / key, key, settings=wide)
    agree(loaded(key), reference(folder, sound(5.0)), sound(5.0))


def test_the_larger_ones_last_state_is_after_the_final_norm(models):
    built = network(create("mert-330m"))
    with torch.inference_mode():
        found = built(torch.from_numpy(sound())[None], output_hidden_states=True)
        normed = built.encoder.layer_norm(found.hidden_states[-1])
    assert not torch.allclose(found.hidden_states[-1], found.last_hidden_state, atol=1e-2)
    torch.testing.assert_close(normed, found.last_hidden_state, rtol=0, atol=1e-6)


def test_layers_are_told_apart(models):
    states = reference(models / "mert", sound())
    for name, expected in [
        ("mert:layer=0", states[0]),
        ("mert:layer=7", states[7]),
        ("mert:layer=12", states[12]),
        ("mert:layer=all-mean", np.mean(states, axis=0)),
    ]:
        np.testing.assert_allclose(heard(loaded(name), sound()), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(UnknownModel, match="all-mean"):
        create("mert:layer=13")


def test_a_layer_is_part_of_the_space_and_the_default_goes_unsaid(models):
    assert create("mert:layer=12").name == "mert"
    spaces = {Extractor(create(f"mert:layer={layer}")).space() for layer in ("7", "12", "all-mean")}
    assert len(spaces) == 3


def test_both_names_of_the_smaller_one_are_one(models):
    one, other = create("mert"), create("mert-95m:layer=3")
    assert other.name == "mert:layer=3"
    assert Extractor(create("mert-95m")).space() == Extractor(one).space()


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"feature_extractor_cqt": True}, "feature_extractor_cqt = True"),
        ({"deepnorm": True}, "deepnorm = True"),
        ({"num_hidden_layers": 11}, "num_hidden_layers = 11"),
        ({"hidden_size": "wide"}, "hidden_size = 'wide'"),
        ({"conv_dim": "deep"}, "describes no network"),
    ],
)
def test_a_config_of_another_network_is_refused(tmp_path, monkeypatch, extra, why):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    write_mert(tmp_path / "mert", extra=extra)
    with pytest.raises(Quarantined, match=why):
        create("mert").load()


@pytest.mark.parametrize(
    ("preprocessor", "why"),
    [({"sampling_rate": 16_000}, "sampling_rate = 16000"), ({"do_normalize": None}, "do_normal")],
)
def test_another_models_front_end_is_refused(tmp_path, monkeypatch, preprocessor, why):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    write_mert(tmp_path / "mert", preprocessor=preprocessor)
    with pytest.raises(Quarantined, match=why):
        create("mert").load()


def test_a_missing_tensor_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    path = write_mert(tmp_path / "mert") / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    del state["encoder.pos_conv_embed.conv.weight_g"]
    torch.save(state, path)
    with pytest.raises(Quarantined, match=r"lacks encoder\.pos_conv_embed\.conv"):
        create("mert").load()


@pytest.mark.parametrize("normalize", [True, False])
def test_windows_are_normalised_where_the_checkpoint_says_so(tmp_path, monkeypatch, normalize):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    folder = write_mert(tmp_path / "mert", preprocessor={"do_normalize": normalize})
    samples = 0.01 * sound() + 0.2
    expected = Wav2Vec2FeatureExtractor.from_pretrained(folder)(samples, sampling_rate=RATE)
    found = create("mert").prepare(Window(samples, 0.0, 1.0))
    np.testing.assert_allclose(found, expected["input_values"][0], rtol=0, atol=1e-5)


def test_normalisation_is_part_of_the_space(tmp_path, monkeypatch):
    spaces = set()
    for normalize in (True, False):
        home = tmp_path / str(normalize)
        monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(home))
        write_mert(home / "mert", preprocessor={"do_normalize": normalize})
        spaces.add(Extractor(create("mert")).space())
    assert len(spaces) == 2


def test_windows_of_different_length_never_share_a_padded_batch(models):
    embedder = loaded("mert")
    shapes = []
    placed = embedder._network
    embedder._network = lambda given: shapes.append(given.shape) or placed(given)
    windows = [sound(seconds, seed) for seed, seconds in enumerate((1.0, 0.4, 1.7))]
    together = embedder.run(windows)
    assert shapes == [(1, len(window)) for window in windows]
    for window, frames in zip(windows, together, strict=True):
        np.testing.assert_array_equal(embedder.run([window])[0], frames)


def test_a_long_clip_is_the_mean_over_the_frames_of_all_windows(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(Mert95M, "layers", 1)
    write_mert(tmp_path / "mert", settings={"num_hidden_layers": 1})
    extractor = Extractor(loaded("mert"))
    content = encoded(sound(32.0)[:, None], RATE, subtype="FLOAT")
    frames = extractor.extract(content, "none").values
    assert frames.shape == (2249 + 149, 768)
    found = extractor.extract(content, normalize=False)
    assert found.windows == 2
    expected = frames.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found.vector, expected, rtol=0, atol=1e-6)
