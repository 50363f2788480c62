import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.embedder.app import create_app
from services.embedder.settings import EmbedderSettings
from soundalike.errors import BadRequest, Silent, UnknownModel, WeightsMissing
from soundalike.extract import fusion
from soundalike.extract.loading import Extractors
from soundalike.pooling import fuse
from tests.sounds import encoded, noise, tone

SOUNDS = [encoded(noise(2.0)), encoded(tone(2.0)), encoded(tone(2.0, 1234.0))]


@pytest.fixture(scope="module")
def extractors():
    return Extractors()


def cosines(extractor):
    vectors = np.array([extractor.extract(sound).vector for sound in SOUNDS], np.float64)
    return vectors @ vectors.T


def test_cosines_are_the_weighted_mean_of_the_parts(extractors):
    expected = 0.75 * cosines(extractors.get("mfcc")) + 0.25 * cosines(extractors.get("fake"))
    found = cosines(extractors.get("3*mfcc+fake"))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_fused_rows_by_hand():
    joined = fuse([np.array([[2.0, 0.0]], np.float32), np.array([[0.0, 5.0]], np.float32)], [3, 1])
    np.testing.assert_allclose(joined, [[np.sqrt(0.75), 0, 0, 0.5]], atol=1e-7)


def test_the_answer_tells_of_all_parts(extractors):
    found = extractors.get("mfcc+0.5*fake:sign=minus").extract(SOUNDS[0])
    assert found.model == "mfcc+0.5*fake:sign=minus"
    assert found.space.embedder == "fusion"
    assert found.vector.shape == (206 + 8,)
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-6)
    assert found.windows == 1 + 2
    assert found.device == "cpu"
    assert {"model mfcc", "model fake:sign=minus"} <= found.ms.keys()


def test_spaces_hang_on_parts_order_and_shares_of_weight(extractors):
    names = ["mfcc+fake", "fake+mfcc", "mfcc+2*fake", "mfcc+fake:sign=minus"]
    assert len({extractors.get(name).space() for name in names}) == len(names)
    assert extractors.get("2*mfcc+2*fake").space() == extractors.get("mfcc+fake").space()


def test_parts_are_loaded_once_and_fusions_not_kept():
    extractors = Extractors()
    one, other = extractors.get("mfcc+fake"), extractors.get("0.123*mfcc fake:sign=plus")
    assert one.extractors == other.extractors == [extractors.get("mfcc"), extractors.get("fake")]
    assert extractors._begun.keys() == {"mfcc", "fake"}


@pytest.mark.parametrize(
    "name",
    [
        "mfcc+nothing",
        "0*mfcc+fake",
        "x*mfcc+fake",
        "inf*mfcc+fake",
        "1e308*mfcc+fake",
        "nan*mfcc+fake",
        "2*mfcc",
        "mfcc+",
        "+",
        "mfcc+2*mfcc",
        "+".join(["mfcc"] * 9),
    ],
)
def test_what_is_no_fusion_says_so(extractors, name):
    with pytest.raises(UnknownModel):
        extractors.get(name)


@pytest.mark.parametrize("weight", ["0.1234567", "1000", "0.001", "33.333333333333336"])
def test_the_name_that_is_answered_is_read_back_as_the_same(extractors, weight):
    one = extractors.get(f"{weight}*mfcc+fake")
    assert extractors.get(one.name).space() == one.space()
    assert one.name == f"{weight}*mfcc+fake"


def test_a_part_without_weights_is_missed(extractors):
    with pytest.raises(WeightsMissing, match="clap"):
        extractors.get("mfcc+clap")


def test_there_are_no_frames_windows_or_other_poolings(extractors):
    fused = extractors.get("mfcc+fake")
    for asked in ({"pooling": "none"}, {"pooling": "mean"}, {"window_vectors": True},
                  {"normalize": False}):  # fmt: skip
        with pytest.raises(BadRequest):
            fused.extract(SOUNDS[0], **asked)
    with pytest.raises(Silent):
        fused.extract(encoded(np.zeros((8000, 1), np.float32), 8000))


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_fusion_does_not_give_is_refused_whether_it_is_kept_or_not(tmp_path, kept):
    settings = EmbedderSettings(model="mfcc+fake", data_dir=tmp_path, cache_mb=1)
    with TestClient(create_app(settings)) as client:
        if kept:
            assert client.post("/embed", content=SOUNDS[0]).status_code == 200
        assert client.post("/embed?normalize=false", content=SOUNDS[0]).status_code == 400


def test_weights_make_no_metrics_of_their_own():
    with TestClient(create_app(EmbedderSettings(model="mfcc"))) as client:
        for weight in (0.25, 0.5, 0.75):
            client.post(f"/embed?model={weight}*mfcc+fake", content=SOUNDS[0])
        lines = client.get("/metrics").text.splitlines()
    [counted] = [line for line in lines if line.startswith("soundalike_audio_seconds_total")]
    assert 'model="fusion"' in counted


def test_words_are_read_where_every_part_reads_them(extractors):
    words = extractors.get("fake+2*fake:sign=minus").embed_texts(["rain"])
    assert words.shape == (1, 16)
    with pytest.raises(BadRequest, match="'mfcc' hears sound"):
        extractors.get("mfcc+fake").embed_texts(["rain"])


def test_plain_names_are_not_fused():
    assert not fusion.is_fused("mfcc")
    assert not fusion.is_fused("fake:sign=minus")


def test_over_http_a_plus_sign_may_stand_as_it_is():
    with TestClient(create_app(EmbedderSettings(model="mfcc+fake"))) as client:
        default = client.post("/embed", content=SOUNDS[0]).json()
        plain = client.post("/embed?model=mfcc+fake", content=SOUNDS[0]).json()
        quoted = client.post("/embed?model=mfcc%2Bfake", content=SOUNDS[0]).json()
    assert default["vector"] == plain["vector"] == quoted["vector"]
    assert default["model"] == plain["model"] == "mfcc+fake"
