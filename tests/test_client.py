import httpx
import numpy as np
import pytest

from soundalike.client import Client, EmbedderClient, RecommenderClient
from soundalike.errors import (
    EmbedderUnavailable,
    RecommenderUnavailable,
    TooLong,
    UnknownCollection,
)


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
        EmbedderClient(**how).models()


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
