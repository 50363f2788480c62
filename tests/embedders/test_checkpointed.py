"""What a loaded embedder keeps of its files, and what of them names its space."""

import json
import shutil

import numpy as np
import pytest
import torch

from soundalike.embedders import create, vggish
from soundalike.embedders.checkpointed import Checkpointed
from soundalike.errors import WeightsMissing
from soundalike.extract.extractor import Extractor
from tests.embedders.checkpoints import TINY_CLAP, write_clap, write_lyrics, write_music2vec
from tests.embedders.ported_checkpoints import SMALL_HIDDEN, write_vggish
from tests.sounds import encoded, noise


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("SOUNDALIKE_RUNTIME", "torch")
    monkeypatch.setattr(vggish, "HIDDEN", SMALL_HIDDEN)
    return tmp_path


def loaded(key):
    embedder = create(key)
    embedder.load()
    return Extractor(embedder)


@pytest.mark.parametrize(
    ("key", "write"), [("vggish", write_vggish), ("lyrics", write_lyrics)], ids=["vggish", "lyrics"]
)
def test_the_space_is_that_of_what_was_loaded_whatever_lies_there_now(models, key, write):
    write(models / key)
    extractor = loaded(key)
    space = extractor.space()
    shutil.rmtree(models / key)
    write(models / key, seed=1)
    assert Extractor(create(key)).space() != space
    assert extractor.space() == space
    shutil.rmtree(models / key)
    assert extractor.space() == space


def test_an_embedder_asked_before_it_is_loaded_names_what_it_loads(models):
    write_vggish(models / "vggish")
    extractor = Extractor(create("vggish"))
    before = extractor.space()
    shutil.rmtree(models / "vggish")
    write_vggish(models / "vggish", seed=1)
    extractor.embedder.load()
    assert before != extractor.space() == Extractor(create("vggish")).space()


def test_sound_goes_on_where_the_files_are_gone(models):
    write_vggish(models / "vggish")
    extractor, content = loaded("vggish"), encoded(noise(1.0))
    before = extractor.extract(content)
    shutil.rmtree(models / "vggish")
    after = extractor.extract(content)
    assert after.space == before.space
    np.testing.assert_array_equal(after.vector, before.vector)


def test_words_never_go_through_other_weights_than_the_sounds(models):
    write_clap(models / "clap", TINY_CLAP)
    extractor = loaded("clap")
    shutil.rmtree(models / "clap")
    write_clap(models / "clap", TINY_CLAP, seed=1)
    with pytest.raises(WeightsMissing, match="start again"):
        extractor.embed_texts(["rain"])


@pytest.mark.parametrize(
    "changes", [{"num_attention_heads": 6}, {"hidden_act": "relu"}, {"layer_norm_eps": 0.1}]
)
@pytest.mark.parametrize("key", ["music2vec", "lyrics", "mert", "clap"])
def test_what_the_config_says_of_the_network_names_the_space(models, small_models, key, changes):
    shutil.copytree(small_models / key, models / key)
    before = Extractor(create(key)).space()
    path = models / key / "config.json"
    said = json.loads(path.read_text())
    network = said["audio_config"] if key == "clap" else said
    network.update(changes)
    path.write_text(json.dumps(said))
    assert Extractor(create(key)).space() != before


def test_what_the_config_says_of_its_file_does_not(models):
    path = write_music2vec(models / "music2vec") / "config.json"
    before = Extractor(create("music2vec")).space()
    said = json.loads(path.read_text())
    cosmetic = {"transformers_version": "9.0", "_name_or_path": "elsewhere", "use_cache": False}
    path.write_text(json.dumps(dict(reversed(said.items())) | cosmetic))
    assert Extractor(create("music2vec")).space() == before


class Listening(Checkpointed):
    """Keeps what it is given."""

    card = create("vggish").card

    def prepare(self, window):
        return window.samples

    def hear_all(self, samples):
        self.given = samples
        return torch.zeros(len(samples), 1, 128)


def test_a_clip_alone_is_not_copied_on_its_way_to_the_network():
    embedder, clip = Listening(), np.ones(1000, np.float32)
    embedder.run([clip])
    assert np.shares_memory(embedder.given.numpy(), clip)
