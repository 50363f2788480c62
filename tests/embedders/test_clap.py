import gc
import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    ClapFeatureExtractor,
    ClapModel,
    ClapTextModelWithProjection,
    RobertaTokenizer,
)

from soundalike.audio.windows import cut
from soundalike.embedders import create
from soundalike.errors import Quarantined
from soundalike.extract.extractor import Extractor
from tests.embedders.checkpoints import TINY_CLAP, write_clap, write_json
from tests.sounds import encoded, noise, tone

RATE = 48_000
TEXTS = ["a dog barks", "rain", "somebody plays a slow waltz on a violin, far away"]


def sound(seconds, rate=RATE, seed=0):
    """A tone that is gone after three seconds, over noise."""
    held = tone(seconds, rate=rate)
    held[3 * rate :] = 0
    return held + noise(seconds, rate, seed, amplitude=0.05)


def bytes_of(samples, rate=RATE):
    return encoded(samples, rate, subtype="FLOAT")


@pytest.fixture(scope="module")
def full_folder(tmp_path_factory):
    """A checkpoint of the published size."""
    return write_clap(tmp_path_factory.mktemp("models") / "clap")


@pytest.fixture(scope="module")
def full(full_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_MODELS_DIR", str(full_folder.parent))
        embedder = create("clap")
        embedder.load()
        yield Extractor(embedder)


@pytest.fixture(scope="module")
def library(full_folder):
    """The transformers library's own model and front end."""
    model = ClapModel.from_pretrained(full_folder, local_files_only=True)
    return model, ClapFeatureExtractor.from_pretrained(full_folder, local_files_only=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small checkpoint, to be spoilt."""
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    return write_clap(tmp_path / "clap", TINY_CLAP)


def loaded():
    embedder = create("clap")
    embedder.load()
    return Extractor(embedder)


def change_json(path, **changes):
    write_json(path, json.loads(path.read_text()) | changes)


def change_state(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize("seconds", [10.0, 3.7, 0.05])
def test_vector_is_the_librarys(full, library, seconds):
    model, front_end = library
    samples = sound(seconds)
    prepared = front_end(samples[:, 0], sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        expected = model.get_audio_features(**prepared).pooler_output[0].numpy()
    found = full.extract(bytes_of(samples))
    assert (found.windows, found.runtime) == (1, "torch")
    np.testing.assert_allclose(found.vector, expected, rtol=0, atol=1e-5)


def test_text_vectors_are_the_librarys(full, full_folder, library):
    tokens = RobertaTokenizer.from_pretrained(full_folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = library[0].get_text_features(**tokens).pooler_output.numpy()
    found = full.embedder.embed_texts(TEXTS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(full.embedder.embed_texts(TEXTS[1:2])[0], found[1])


def test_long_texts_are_cut_to_what_the_network_holds(folder):
    vectors = loaded().embedder.embed_texts(["la " * 1000, "la " * 2000])
    assert np.isfinite(vectors).all()
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_a_long_clip_is_the_same_twice_and_within_a_batch(full):
    content = bytes_of(sound(27.0))
    first, second = full.extract(content, window_vectors=True), full.extract(content)
    assert first.windows == 3
    np.testing.assert_allclose(first.vector, second.vector, rtol=0, atol=1e-6)
    embedder = full.embedder
    before, long, after = sound(2.0, seed=1), sound(27.0), sound(2.0, seed=2)
    windows = [one for clip in (before, long, after) for one in cut([clip[:, 0]], RATE, 10)]
    batch = embedder.run([embedder.prepare(window) for window in windows])
    assert len(batch) == 5
    for alone, together in zip(first.window_vectors, batch[1:4], strict=True):
        np.testing.assert_allclose(together[0], alone.vector, rtol=0, atol=1e-6)


def test_ten_seconds_at_44100_hz_are_one_window(full):
    assert full.extract(bytes_of(sound(10.0, 44_100), 44_100)).windows == 1


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_rest_of_a_twentieth_of_a_second_changes_nothing(full, rate):
    samples = sound(10.05, rate)
    longer = full.extract(bytes_of(samples, rate)).vector
    exact = full.extract(bytes_of(samples[: 10 * rate], rate)).vector
    np.testing.assert_allclose(longer, exact, rtol=0, atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:audioread")
def test_the_seeds_own_function_gives_the_same_vector(full, full_folder, shared, tmp_path):
    text = next((shared / "seeds").glob("000*.txt")).read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    for old, new in [
        ("processor(audios=audio", "processor(audio=audio"),
        ("get_audio_features(**inputs)", "get_audio_features(**inputs).pooler_output"),
        ('"laion/clap-htsat-unfused"', repr(str(full_folder))),
        ('"cuda" if torch.cuda.is_available() else "cpu"', '"cpu"'),
    ]:
        assert old in code
        code = code.replace(old, new)
    seed = {}
    exec(code, seed)
    path = tmp_path / "ten.wav"
    path.write_bytes(bytes_of(sound(10.0)))
    expected = seed["generateEmbeddings"](str(path)).numpy()
    np.testing.assert_allclose(full.extract(path).vector, expected, rtol=0, atol=1e-4)


def test_windows_count_by_their_seconds(folder):
    found = loaded().extract(bytes_of(sound(24.0)), normalize=False, window_vectors=True)
    vectors = np.array([one.vector for one in found.window_vectors], np.float64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    expected = (10 * vectors[0] + 10 * vectors[1] + 4 * vectors[2]) / 24
    np.testing.assert_allclose(found.vector, expected, rtol=0, atol=1e-6)


def test_old_checkpoints_give_the_same_vectors(folder, tmp_path, monkeypatch):
    new = loaded()
    write_clap(tmp_path / "old" / "clap", TINY_CLAP, old=True)
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path / "old"))
    old = loaded()
    content = bytes_of(sound(4.0))
    np.testing.assert_allclose(old.extract(content).vector, new.extract(content).vector, atol=1e-6)
    np.testing.assert_allclose(
        old.embedder.embed_texts(TEXTS), new.embedder.embed_texts(TEXTS), atol=1e-6
    )


def test_a_tokenizer_of_another_network_is_refused(folder):
    change_json(
        folder / "tokenizer_config.json", extra_special_tokens=[f"<{i}>" for i in range(50)]
    )
    assert "text side 300" in loaded().embedder.quarantined["text"]


def test_text_tower_is_in_memory_from_the_first_text_on(folder):
    def towers():
        gc.collect()
        return sum(type(one) is ClapTextModelWithProjection for one in gc.get_objects())

    before = towers()
    extractor = loaded()
    assert towers() == before
    extractor.embedder.embed_texts(["a"])
    extractor.embedder.embed_texts(["b"])
    assert towers() == before + 1


def test_lower_edge_is_the_checkpoints_own(folder):
    content = bytes_of(noise(2.0, RATE))
    at_50 = loaded()
    change_json(folder / "preprocessor_config.json", frequency_min=0)
    at_0 = loaded()
    assert at_0.space() != at_50.space()
    assert not np.allclose(at_0.extract(content).vector, at_50.extract(content).vector, atol=1e-4)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("truncation", "fusion"), ("sampling_rate", 44_100), ("padding", "pad"), ("max_length_s", 5)],
)
def test_another_models_front_end_is_refused(folder, setting, value):
    change_json(folder / "preprocessor_config.json", **{setting: value})
    with pytest.raises(Quarantined, match=f"{setting} = "):
        create("clap").load()


def test_a_front_end_that_says_too_little_is_refused(folder):
    write_json(folder / "preprocessor_config.json", {"sampling_rate": RATE})
    with pytest.raises(Quarantined, match="lacks a number that is needed: 'fft_window_size'"):
        create("clap").load()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"audio_config": 3}', "describes no network"),
        ('{"audio_config": {"enable_fusion": true}}', "enable_fusion = True"),
        ('{"projection_dim": 64}', "projection_dim = 64"),
    ],
)
def test_a_config_that_is_not_the_models_is_refused(folder, content, why):
    (folder / "config.json").write_text(content)
    with pytest.raises(Quarantined, match=why):
        create("clap").load()


def drop(name):
    return lambda state: state.pop(name)


def put(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop("audio_projection.linear1.weight"), "lacks audio_projection.linear1.weight"),
        (drop("audio_model.audio_encoder.batch_norm.running_mean"), "batch_norm.running_mean"),
        (put("audio_projection.linear2.bias", torch.zeros(7)), r"is \(7,\) and not \(512,\)"),
        (put("audio_model.more", torch.zeros(7)), "has no use for audio_model.more"),
        (put("audio_projection.linear2.bias", torch.full((512,), torch.nan)), "NaN"),
    ],
)
def test_a_faulty_audio_side_is_refused_and_named(folder, change, why):
    change_state(folder, change)
    with pytest.raises(Quarantined, match=why) as caught:
        create("clap").load()
    assert "soundalike models pull clap" in caught.value.detail


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda state: state["text_projection.linear2.weight"].zero_(), "every text alike"),
        (put("text_projection.linear2.bias", torch.full((512,), torch.nan)), "NaN"),
        (drop("text_model.pooler.dense.weight"), "lacks text_model.pooler.dense.weight"),
    ],
)
def test_a_faulty_text_side_leaves_the_sound_alone(folder, change, why):
    content = bytes_of(sound(2.0))
    expected = loaded().extract(content).vector
    change_state(folder, change)
    extractor = loaded()
    assert extractor.embedder.quarantined.keys() == {"text"}
    with pytest.raises(Quarantined, match=why):
        extractor.embedder.embed_texts(["a"])
    np.testing.assert_array_equal(extractor.extract(content).vector, expected)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "lacks a tokenizer"),
        ("{", "cannot be read"),
        ('{"model": 3}', "cannot be read"),
    ],
)
def test_without_a_tokenizer_the_text_side_alone_is_refused(folder, content, why):
    path = folder / "tokenizer.json"
    path.write_text(content) if content else path.unlink()
    extractor = loaded()
    assert why in extractor.embedder.quarantined["text"]
    assert extractor.extract(bytes_of(sound(2.0))).vector.shape == (512,)
