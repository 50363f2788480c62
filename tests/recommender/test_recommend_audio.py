"""A sound in, neighbours out: the recommender in front of a real embedder service."""

from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from soundalike.client import EmbedderClient
from tests.recommender.asking import SPACE, assert_problem, result_ids
from tests.sounds import encoded, tone


@contextmanager
def hearing_through(client, handler):
    """Let the service's embedder client speak to a function."""
    own = client.app.state.embedder
    client.app.state.embedder = EmbedderClient(
        "http://embedder", transport=httpx.MockTransport(handler)
    )
    yield
    client.app.state.embedder = own


class TestRecommendAudio:
    SOUNDS = {hz: encoded(tone(2, hz, 8000), 8000) for hz in (220, 880)}

    @pytest.fixture
    def heard(self, client, embedder):
        """The service in front of a real embedder service, with two sounds in its collection."""
        asked = []

        def forward(request):
            asked.append(request)
            answer = embedder.post(
                request.url.raw_path.decode(),
                content=request.read(),
                headers={"content-type": request.headers["content-type"]},
            )
            return httpx.Response(answer.status_code, content=answer.content)

        vectors = {
            hz: embedder.post("/embed?pooling=max", files={"file": ("a.wav", sound)}).json()
            for hz, sound in self.SOUNDS.items()
        }
        facts = {name: vectors[220][name] for name in ("space", "dim", "model")}
        client.put("/collections/tones", json=facts | {"pooling": "max"})
        items = [{"id": f"{hz} Hz", "vector": told["vector"]} for hz, told in vectors.items()]
        client.put("/collections/tones/items", json={"items": items, "space": facts["space"]})
        client.asked = asked
        with hearing_through(client, forward):
            yield client

    def ask(self, client, content=None, **params):
        files = {"file": ("some.wav", content or self.SOUNDS[880])}
        return client.post("/recommend/audio", params={"collection": "tones"} | params, files=files)

    def test_a_sound_finds_itself_through_the_collections_own_embedder(self, heard):
        told = self.ask(heard, k=1).json()
        assert result_ids(told) == ["880 Hz"]
        assert told["results"][0]["score"] == pytest.approx(1, abs=1e-6)
        assert told["audio"]["sample_rate"] == 8000
        assert told["ms"].keys() == {"embed", "search"}
        assert dict(heard.asked[-1].url.params) == {"model": "fake", "pooling": "max"}

    def test_bare_bytes_will_do(self, heard):
        path = "/recommend/audio?collection=tones"
        assert result_ids(heard.post(path, content=self.SOUNDS[220]).json())[0] == "220 Hz"

    def test_the_embedder_is_named_by_the_space_where_no_model_is(self, heard):
        heard.put("/collections/plain", json={"space": SPACE, "dim": 2})
        self.ask(heard, collection="plain")
        assert dict(heard.asked[-1].url.params) == {"model": "fake"}

    @pytest.mark.parametrize(
        ("content", "status", "code"),
        [
            (b"this is no sound, only text", 422, "undecodable_audio"),
            (encoded(np.zeros((0, 1), np.float32), 8000), 422, "undecodable_audio"),
            (
                encoded(np.full((9000, 1), np.nan, np.float32), 8000, subtype="FLOAT"),
                422,
                "bad_samples",
            ),
        ],
    )
    def test_what_the_embedder_says_of_the_sound_is_passed_on(self, heard, content, status, code):
        told = assert_problem(self.ask(heard, content), status, code)
        assert told["detail"]

    def test_a_collection_of_another_space_of_the_same_embedder_is_a_conflict(self, heard):
        heard.put("/collections/old", json={"space": SPACE, "dim": 8, "model": "fake"})
        told = assert_problem(self.ask(heard, collection="old"), 409, "space_mismatch")
        assert told["expected"] == SPACE

    def test_an_unknown_collection_is_told_before_anything_is_embedded(self, heard):
        assert_problem(self.ask(heard, collection="none"), 404, "unknown_collection")
        assert heard.asked == []

    @pytest.mark.parametrize(("k", "status"), [("0", 400), ("many", 400), ("1001", 400)])
    def test_an_impossible_k_is_refused(self, heard, k, status):
        assert_problem(self.ask(heard, k=k), status, "bad_request")

    def test_what_is_demanded_of_the_answer_is_met(self, heard):
        told = self.ask(heard, demands='{"exclude": ["880 Hz"], "min_score": -1}').json()
        assert result_ids(told) == ["220 Hz"]

    @pytest.mark.parametrize("demands", ["no JSON", "[]", '{"colour": "red"}', '{"filter": 5}'])
    def test_demands_that_make_no_sense_are_refused_unheard(self, heard, demands):
        assert_problem(self.ask(heard, demands=demands), 400, "bad_request")
        assert heard.asked == []

    def test_an_empty_body_is_no_audio(self, heard):
        answer = heard.post("/recommend/audio?collection=tones", content=b"")
        assert_problem(answer, 422, "undecodable_audio")

    def test_an_unreachable_embedder_is_a_bad_gateway(self, client):
        def refuse(_):
            raise httpx.ConnectError("refused")

        with hearing_through(client, refuse):
            answer = self.ask(client, collection="default")
        told = assert_problem(answer, 502, "embedder_unavailable")
        assert "http://embedder" in told["detail"]

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(500, json={"code": "internal", "detail": "x", "status": 500}),
            httpx.Response(503, text="<html>proxy</html>"),
        ],
    )
    def test_an_embedder_that_fails_is_a_bad_gateway(self, client, answer):
        with hearing_through(client, lambda _: answer):
            told = self.ask(client, collection="default")
        assert_problem(told, 502, "embedder_unavailable")

    def test_a_key_that_the_embedder_refuses_is_not_the_users_fault(self, client, embedder):
        def unauthorized(_):
            answer = embedder.get("/models", headers={"x-api-key": "wrong"})
            return httpx.Response(answer.status_code, content=answer.content)

        with hearing_through(client, unauthorized):
            told = self.ask(client, collection="default")
        assert "KEY" in assert_problem(told, 502, "embedder_unavailable")["detail"]
