"""What every embedder must do, whatever it hears."""

import subprocess
import sys

import numpy as np
import pytest

from soundalike import embedders
from soundalike.errors import BadRequest, Silent, TooShort, UnknownModel
from soundalike.extract.extractor import Extractor
from soundalike.pooling import POOLINGS
from tests.sounds import encoded, noise, tone

ALL = sorted(embedders.cards(hidden=True))
POOLINGS_AND_NONE = [None, *POOLINGS, "none"]


@pytest.fixture(scope="module", params=ALL)
def extractor(request, small_models):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
        patch.setattr("soundalike.embedders.dino.LAYERS", 1)  # as in its small checkpoints
        embedder = embedders.create(request.param)
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
        seconds = found.audio.seconds_used
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
    windows = [
        window
        for seed in (1, 2, 3)
        for window in extractor._windows(extractor._clip(clip_of(extractor, seed=seed)))[:1]
    ]
    prepared = [embedder.prepare(window) for window in windows]
    together = embedder.run(prepared)
    for one, features in zip(together, prepared, strict=True):
        np.testing.assert_allclose(embedder.run([features])[0], one, atol=1e-6)


def test_any_rate_is_heard_alike(extractor):
    own = extractor.extract(clip_of(extractor)).vector
    other = extractor.extract(clip_of(extractor, rate=44_100)).vector
    assert own @ other > 0.98


def test_silence_is_refused_or_heard(extractor):
    rate = extractor.embedder.card.sample_rate
    with pytest.raises(Silent):
        extractor.extract(encoded(np.zeros((2 * rate, 1), np.float32), rate))


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


def test_options_move_the_space_and_the_name():
    plain, minus = embedders.create("fake"), embedders.create("fake:sign=minus")
    assert minus.name == "fake:sign=minus"
    assert Extractor(plain).space() != Extractor(minus).space()
    assert embedders.create("fake:sign=plus").name == "fake"


@pytest.mark.parametrize("name", ["nothing", "", "fake:sign=odd", "fake:colour=red", "mfcc:x"])
def test_unknown_names_and_options_say_what_there_is(name):
    with pytest.raises(UnknownModel, match=r"there are clap|it has (sign=plus\|minus|none)"):
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
