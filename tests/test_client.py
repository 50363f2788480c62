import asyncio
import io
import json
from itertools import pairwise

import httpx
import numpy as np
import pytest

import soundalike
from soundalike.client import (
    AsyncEmbedderClient,
    AsyncRecommenderClient,
    Client,
    EmbedderClient,
    Patience,
    RecommenderClient,
)
from soundalike.errors import (
    EmbedderUnavailable,
    Overloaded,
    RecommenderUnavailable,
    SoundalikeError,
    TooLong,
    UnknownCollection,
    WeightsMissing,
)
from soundalike.types import Item


def answering(status, content, **how):
    """A client whose service answers always the same."""
    seen = []

    def answer(request):
        request.read()
        seen.append(request)
        return httpx.Response(status, **{"json": content} if content is not None else {}, **how)

    return {"transport": httpx.MockTransport(answer)}, seen


def test_a_problem_becomes_the_fault_it_was():
    problem = {
        "type": "urn:soundalike:problem:too_long", "title": "Too many seconds", "status": 413,
        "detail": "Too long.", "code": "too_long", "request_id": "r", "limit": 5, "got": 7,
    }  # fmt: skip
    how, _ = answering(413, problem)
    with pytest.raises(TooLong, match="Too long") as caught:
        EmbedderClient(**how).embed(b"sound")
    assert caught.value.facts == {"limit": 5, "got": 7}


@pytest.mark.parametrize("content", [None, ["x"], {"error": "x"}, "x"])
def test_what_is_not_a_problem_means_that_it_is_not_our_service(content):
    how, _ = answering(502, content)
    with pytest.raises(EmbedderUnavailable, match="answered 502"):
        EmbedderClient(**how, patience=Patience(attempts=1)).models()


@pytest.mark.parametrize(
    "how", [{"html": "<p>hello</p>"}, {"status_code": 302, "headers": {"location": "http://x/"}}]
)
def test_another_server_at_the_address_is_not_our_service(how):
    answer = httpx.Response(**{"status_code": 200} | how)
    transport = httpx.MockTransport(lambda request: answer)
    with pytest.raises(EmbedderUnavailable):
        EmbedderClient(transport=transport).models()


def test_nobody_there():
    with Client("http://127.0.0.1:9", "http://127.0.0.1:9") as client:
        with pytest.raises(EmbedderUnavailable, match="is it running"):
            client.embedder.embed(b"sound")
        with pytest.raises(RecommenderUnavailable):
            client.recommender.collections()
        assert not client.embedder.ready()


def test_names_are_quoted_into_paths():
    how, seen = answering(404, {"code": "unknown_collection", "detail": "none"})
    with pytest.raises(UnknownCollection):
        RecommenderClient(**how).collection("a/b ?")
    assert seen[0].url.raw_path == b"/collections/a%2Fb%20%3F"


def test_the_key_is_sent():
    how, seen = answering(200, {"models": []})
    EmbedderClient(api_key="secret", **how).models()
    assert seen[0].headers["authorization"] == "Bearer secret"


def test_pages_are_followed_to_the_end():
    pages = {
        None: {"items": [{"id": "a"}, {"id": "b"}], "next": "b"},
        "b": {"items": [{"id": "c"}], "next": None},
    }
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, json=pages[request.url.params.get("after")])
    )
    listed = RecommenderClient(transport=transport).items("default")
    assert [item["id"] for item in listed] == ["a", "b", "c"]


def test_recommend_sends_only_what_is_given():
    how, seen = answering(
        200, {"collection": "default", "space": "fake/0", "results": [], "exact": True}
    )
    client = RecommenderClient(**how)
    found = client.recommend(vector=np.array([1, 0.5]), k=3)
    assert found.recall is None
    assert httpx.Response(200, content=seen[0].content).json() == {
        "vector": [1.0, 0.5],
        "k": 3,
        "collection": "default",
    }


KINDS = {
    "sync": (EmbedderClient, RecommenderClient),
    "async": (AsyncEmbedderClient, AsyncRecommenderClient),
}
OVERLOADED = {"code": "overloaded", "detail": "no room"}
FAKE = {"model": "fake", "space": "fake/0", "vector": [1.0], "audio": {}}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def make(kind, number, handler, clock=None, **how):
    """An embedder client (0) or a recommender client (1) whose pauses go to a list."""
    waited = [] if clock is None else clock

    async def sleep(seconds):
        waited.append(seconds)

    sleeps = {"sync": waited.append, "async": sleep}
    transport = httpx.MockTransport(handler)
    return KINDS[kind][number](transport=transport, sleep=sleeps[kind], **how)


def ask(client, method, *args, **how):
    """Call a method of either kind of client and give what it answers."""
    answer = getattr(client, method)(*args, **how)
    return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


def script(*answers):
    """A service that answers one thing after the other, and what it was sent."""
    left, bodies = list(answers), []

    def answer(request):
        bodies.append(request.content)
        status, content, headers = left.pop(0)
        return httpx.Response(status, json=content, headers=headers)

    return answer, bodies


def told(seconds):
    return (429, OVERLOADED, {"Retry-After": str(seconds)})


def test_a_service_without_room_is_asked_again_when_it_said(kind):
    waited = []
    handler, bodies = script(told(7), told(2), (200, FAKE, {}))
    client = make(kind, 0, handler, waited)
    assert ask(client, "embed", io.BytesIO(b"a sound")).space == "fake/0"
    assert waited == [7, 2]
    assert all(b"a sound" in body for body in bodies)
    assert len(bodies) == 3


def test_patience_ends(kind):
    waited = []
    handler, _ = script(*[told(1)] * 3)
    client = make(kind, 0, handler, waited, patience=Patience(attempts=3))
    with pytest.raises(Overloaded):
        ask(client, "models")
    assert waited == [1, 1]


def test_a_pause_longer_than_patience_is_not_begun(kind):
    waited = []
    handler, _ = script(told(40), told(40))
    with pytest.raises(Overloaded):
        ask(make(kind, 0, handler, waited, patience=Patience(seconds=60)), "models")
    assert waited == [40]


@pytest.mark.parametrize("status", [502, 503])
def test_what_passes_is_tried_again_with_growing_pauses(kind, status):
    waited = []
    handler, _ = script(*[(status, OVERLOADED, {})] * 2, (200, {"models": []}, {}))
    assert ask(make(kind, 0, handler, waited), "models") == []
    assert waited == [0.25, 0.5]


@pytest.mark.parametrize(
    ("method", "args"), [("point", ("a", "b")), ("drop", ("a",)), ("delete", ("a", ["b"]))]
)
def test_what_may_have_been_done_is_not_done_twice(kind, method, args):
    handler, bodies = script((200, {"max_upload_bytes": 99}, {}), (502, OVERLOADED, {}))
    client = make(kind, 1, handler)
    ask(client, "limits")
    with pytest.raises(SoundalikeError, match="no room"):
        ask(client, method, *args)
    assert len(bodies) == 2


def test_no_waiting_brings_weights(kind):
    waited = []
    handler, _ = script((503, {"code": "weights_missing", "detail": "pull them"}, {}))
    with pytest.raises(WeightsMissing):
        ask(make(kind, 0, handler, waited), "embed", b"sound")
    assert waited == []


def test_nobody_there_is_told_at_once(kind):
    def refuse(request):
        raise httpx.ConnectError("refused")

    waited = []
    with pytest.raises(RecommenderUnavailable, match="is it running"):
        ask(make(kind, 1, refuse, waited), "collections")
    assert waited == []


def keeping(most_bytes, most_queries=3, most_items=None):
    """A recommender that takes so much at once, and what it was sent."""
    bodies = []

    def answer(request):
        if request.url.path == "/limits":
            limits = {"max_upload_bytes": most_bytes, "max_queries": most_queries}
            limits |= {} if most_items is None else {"max_items": most_items}
            return httpx.Response(200, json=limits)
        body = request.read()
        assert len(body) <= most_bytes
        bodies.append(body)
        if request.headers["content-type"] == "application/x-npy":
            names = [str(row[0]) for row in np.load(io.BytesIO(body))]
        else:
            sent = json.loads(body)
            names = [
                one if isinstance(one, str) else one.get("id", str(one.get("vector", [0])[0]))
                for one in sent.get("items") or sent.get("ids") or sent.get("queries")
            ]
        answers = [
            {"results": [{"id": name, "score": 1.0, "metadata": {}}], "exact": True}
            for name in names
        ]
        facts = {"collection": "c", "space": "s/0", "answers": answers}
        return httpx.Response(200, json=facts | {"upserted": len(names), "deleted": len(names)})

    return answer, bodies


def test_no_more_items_and_ids_are_sent_at_once_than_the_service_takes(kind):
    answer, bodies = keeping(10_000, most_items=2)
    client = make(kind, 1, answer)
    vector = np.ones(2, np.float32)
    assert ask(client, "upsert", "c", [Item(one, vector) for one in "abcde"]) == 5
    assert ask(client, "delete", "c", list("abc")) == 3
    assert [len(json.loads(one).popitem()[1]) for one in bodies] == [2, 2, 1, 2, 1]


def test_many_items_are_sent_in_parts_that_the_service_takes(kind):
    handler, bodies = keeping(300)
    names = [f"item {number} \u00e4" for number in range(25)]
    items = (Item(name, np.array([0.5, 1]), {"n": name}) for name in names)
    assert ask(make(kind, 1, handler), "upsert", "c", items, space="s/0") == 25
    sent = [json.loads(body) for body in bodies]
    assert [one["id"] for body in sent for one in body["items"]] == names
    assert {body["space"] for body in sent} == {"s/0"}
    assert all(len(one) + len(following) > 300 for one, following in pairwise(bodies))
    assert ask(make(kind, 1, handler), "delete", "c", names) == 25


def test_many_queries_are_sent_in_parts_and_answered_in_order(kind):
    vectors = [[float(number), 1.0] for number in range(8)]
    expected = [str(vector[0]) for vector in vectors]
    handler, bodies = keeping(10_000)
    client = make(kind, 1, handler)
    for how in ({}, {"diversity": 0.5}):
        found = ask(client, "recommend_many", vectors, **how)
        assert [one.results[0].id for one in found] == expected
    assert len(bodies) == 6
    assert json.loads(bodies[-1])["diversity"] == 0.5
    found = ask(client, "recommend_many", ["a", "b", "c", "d"])
    assert [one.results[0].id for one in found] == ["a", "b", "c", "d"]


def test_vectors_are_cut_by_bytes_too(kind):
    handler, bodies = keeping(128 + 5 * 8, most_queries=1000)
    assert len(ask(make(kind, 1, handler), "recommend_many", np.ones((12, 2)))) == 12
    assert len(bodies) == 3


def test_demands_are_laid_out_as_the_service_takes_them(kind):
    handler, bodies = keeping(1000)
    negative = ["a", np.array([1, 0.5]), {"vector": np.ones(2), "weight": 2.0}]
    ask(make(kind, 1, handler), "recommend_many", ["q"], negative=negative, caps={"artist": 2})
    sent = json.loads(bodies[0])
    assert sent["negative"] == ["a", [1.0, 0.5], {"vector": [1.0, 1.0], "weight": 2.0}]
    assert sent["caps"] == {"artist": 2}


def test_a_stream_that_cannot_be_rewound_is_sent_once(kind):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    handler, bodies = script((502, OVERLOADED, {}))
    with pytest.raises(SoundalikeError, match="no room"):
        ask(make(kind, 0, handler), "embed", Pipe(b"sound"))
    assert len(bodies) == 1


def test_both_services_are_asked_within_a_coroutine():
    async def nobody_there():
        async with soundalike.AsyncClient("http://127.0.0.1:9", "http://127.0.0.1:9") as client:
            with pytest.raises(EmbedderUnavailable):
                await client.embedder.embed(b"sound")
            return await client.recommender.ready()

    assert asyncio.run(nobody_there()) is False
