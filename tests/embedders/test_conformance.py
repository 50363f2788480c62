"""What every embedder must do, whatever it hears."""

import subprocess
import sys

import numpy as np
import pytest

from soundalike import embedders
from soundalike.embedders import crepe
from soundalike.errors import BadRequest, Silent, TooShort, UnknownModel
from soundalike.extract.extractor import Extractor
from soundalike.pooling import POOLINGS
from tests.embedders.picture_checkpoints import SMALL_NETWORKS, make_small
from tests.embedders.ported_checkpoints import SMALL_HIDDEN, SMALL_WIDTHS
from tests.sounds import encoded, noise, tone

CARDS = embedders.cards(hidden=True)
ALL = sorted(key for key, card in CARDS.items() if card.hears)
READING = sorted(key for key, card in CARDS.items() if "text" in card.takes)
UNHEARD_END_S = {"openl3": 0.5}  # what comes after the middle of the last frame
POOLINGS_AND_NONE = [None, *POOLINGS, "none"]


@pytest.fixture(scope="module", params=ALL)
def extractor(request, small_models):
    yield from loaded(request.param, small_models)


@pytest.fixture(scope="module", params=READING)
def reader(request, small_models):
    yield from loaded(request.param, small_models)


def loaded(name, small_models):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
        # as in their small checkpoints
        patch.setattr("soundalike.embedders.dino.LAYERS", 1)
        patch.setattr("soundalike.embedders.openl3.WIDTHS", SMALL_WIDTHS)
        patch.setattr("soundalike.embedders.vggish.HIDDEN", SMALL_HIDDEN)
        patch.setitem(crepe.MULTIPLIERS, "full", 1)
        for module in SMALL_NETWORKS:
            make_small(patch, module)
        embedder = embedders.create(name)
        embedder.load()
        yield Extractor(embedder)


def clip_of(extractor, seconds=2.5, seed=None, rate=None):
    rate = rate or extractor.embedder.card.sample_rate
    samples = tone(seconds, rate=rate) if seed is None else noise(seconds, rate, seed)
    return encoded(samples, rate)


def test_key_and_facts_are_sound(extractor):
    card = extractor.embedder.card
    assert extractor.embedder.name == card.key
    assert card.dim > 0
    assert card.frame_dim > 0
    assert card.min_seconds > 0
    assert card.summary.endswith(".")
    assert card.proof


@pytest.mark.parametrize("pooling", POOLINGS_AND_NONE)
def test_declared_shapes(extractor, pooling):
    found = extractor.extract(clip_of(extractor), pooling)
    card = extractor.embedder.card
    assert found.values.dtype == np.float32
    assert np.isfinite(found.values).all()
    if pooling == "none":
        seconds = found.audio.seconds_used - UNHEARD_END_S.get(card.key, 0)
        assert found.values.shape[1] == card.frame_dim
        assert len(found.values) == pytest.approx(seconds * card.frame_rate_hz, abs=1.01)
        assert found.frames.rate_hz == card.frame_rate_hz
    else:
        expected = card.dim if pooling is None else POOLINGS[pooling][1] * card.frame_dim
        assert found.vector.shape == (expected,)
        assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-6)


def test_same_bytes_give_the_same_vector(extractor):
    content = clip_of(extractor)
    np.testing.assert_array_equal(
        extractor.extract(content).values, extractor.extract(content).values
    )


def test_different_sounds_give_different_vectors(extractor):
    one = extractor.extract(clip_of(extractor)).vector
    other = extractor.extract(clip_of(extractor, seed=3)).vector
    assert not np.allclose(one, other, atol=1e-3)


def test_a_batch_of_three_is_three_singles(extractor):
    embedder = extractor.embedder
    prepared = []

    def run(embedder, windows):
        prepared.extend(windows)
        return embedder.run(windows)

    for seed in (1, 2, 3):
        extractor.extract(clip_of(extractor, seed=seed), run=run)
    together = embedder.run(prepared)
    for one, features in zip(together, prepared, strict=True):
        np.testing.assert_allclose(embedder.run([features])[0], one, atol=1e-6)


def test_any_rate_is_heard_alike(extractor):
    own = extractor.extract(clip_of(extractor)).vector
    other = extractor.extract(clip_of(extractor, rate=44_100)).vector
    assert own @ other > 0.98


def test_silence_is_refused_or_heard(extractor):
    card = extractor.embedder.card
    silence = encoded(np.zeros((2 * card.sample_rate, 1), np.float32), card.sample_rate)
    if card.hears_silence:
        assert np.isfinite(extractor.extract(silence).vector).all()
        return
    with pytest.raises(Silent):
        extractor.extract(silence)


def test_too_short_is_refused_and_just_long_enough_is_heard(extractor):
    card = extractor.embedder.card
    least = round(card.min_seconds * card.sample_rate)
    sound = noise(1.0, card.sample_rate)
    with pytest.raises(TooShort) as caught:
        extractor.extract(encoded(sound[: least - 1], card.sample_rate))
    assert caught.value.facts["limit"] == card.min_seconds
    assert np.isfinite(extractor.extract(encoded(sound[:least], card.sample_rate)).vector).all()


def test_unknown_pooling_is_refused(extractor):
    with pytest.raises(BadRequest, match="mean, meanstd"):
        extractor.extract(clip_of(extractor), "median")


def test_whatever_moves_the_numbers_moves_the_space(extractor):
    spaces = [extractor.space(pooling) for pooling in POOLINGS_AND_NONE]
    spaces.append(extractor.space(normalize=False))
    assert all(space.embedder == extractor.embedder.card.key for space in spaces)
    distinct = len(set(spaces))
    default_is_named_twice = extractor.embedder.card.pooling in POOLINGS
    assert distinct == len(spaces) - default_is_named_twice


def test_texts_have_vectors_of_the_declared_length_each_by_itself(reader):
    texts = ["a dog barks", "rain on a roof, and wind", "été"]
    found = reader.embed_texts(texts)
    assert found.dtype == np.float32
    assert found.shape == (3, reader.embedder.card.dim)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert not np.allclose(found[0], found[1], atol=1e-3)
    for text, vector in zip(texts, found, strict=True):
        np.testing.assert_array_equal(reader.embed_texts([text])[0], vector)


@pytest.mark.parametrize("reader", sorted(CARDS.keys() - ALL), indirect=True)
def test_what_reads_alone_refuses_sound_and_has_one_pooling(reader):
    card = reader.embedder.card
    assert (card.sample_rate, card.min_seconds, card.frame_dim, card.frame_rate_hz) == (0, 0, 0, 0)
    assert reader.poolings == ["own"]
    assert reader.space().embedder == card.key
    with pytest.raises(BadRequest, match="reads text and hears no sound"):
        reader.extract(encoded(noise(1.0)), "mean")


def test_options_move_the_space_and_the_name():
    plain, minus = embedders.create("fake"), embedders.create("fake:sign=minus")
    assert minus.name == "fake:sign=minus"
    assert Extractor(plain).space() != Extractor(minus).space()
    assert embedders.create("fake:sign=plus").name == "fake"


@pytest.mark.parametrize("name", ["nothing", "", "fake:sign=odd", "fake:colour=red", "mfcc:x"])
def test_unknown_names_and_options_say_what_there_is(name):
    with pytest.raises(UnknownModel, match=r"there are audioclip|it has (sign=plus\|minus|none)"):
        embedders.create(name)


def test_the_fake_is_not_listed():
    assert "fake" not in embedders.cards()
    assert "mfcc" in embedders.cards()


def test_listing_imports_no_network_library():
    code = (
        "import sys; from soundalike import embedders; embedders.cards(hidden=True); "
        "heavy = {'torch', 'transformers', 'librosa', 'openvino', 'scipy'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
