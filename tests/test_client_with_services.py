"""Both kinds of client against both services, as they are."""

import asyncio

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.embedder.app import create_app as create_embedder
from services.embedder.settings import EmbedderSettings
from services.recommender.app import create_app as create_recommender
from services.recommender.settings import RecommenderSettings
from soundalike.client import (
    AsyncEmbedderClient,
    AsyncRecommenderClient,
    EmbedderClient,
    RecommenderClient,
)
from soundalike.errors import SoundalikeError, SpaceMismatch, UndecodableAudio
from soundalike.types import Item
from tests.sounds import encoded, noise, tone

SPACE = "fake/0123456789ab"


def through(service):
    """Let a client of either kind speak to a service in this process."""

    def forward(request):
        path, headers = request.url.raw_path.decode(), dict(request.headers)
        answer = service.request(request.method, path, content=request.content, headers=headers)
        return httpx.Response(
            answer.status_code, content=answer.content, headers={"x": "y"}, request=request
        )

    return httpx.MockTransport(forward)


@pytest.fixture
def recommenders(tmp_path):
    """A client of each kind, of one service that takes little at once."""
    settings = RecommenderSettings(data_dir=tmp_path, max_upload_mb=0.002, max_queries=3)
    with TestClient(create_recommender(settings)) as service:
        transport = through(service)
        yield RecommenderClient(transport=transport), AsyncRecommenderClient(transport=transport)


def items(count):
    vectors = np.random.default_rng(5).normal(size=(count, 4)).astype(np.float32)
    return [Item(f"{n:03}", vector, {"n": n}) for n, vector in enumerate(vectors)]


def test_both_kinds_tell_the_same(recommenders):
    plain, awaited = recommenders
    plain.create("c", space=SPACE, dim=4)
    assert plain.upsert("c", items(60), space=SPACE) == 60
    vectors = np.stack([item.vector for item in items(7)])
    calls = [
        ("collection", ("c",), {}),
        ("similarity", ("c", ["001", "002"]), {}),
        ("recommend", (), {"id": "003", "collection": "c", "filter": {"n": {"gte": 30}}}),
        ("recommend_many", (vectors,), {"collection": "c", "k": 2}),
        ("recommend_many", (["001", "050"],), {"collection": "c", "exclude": ["002"]}),
        ("path", ("c", "001", "009"), {"k": 5}),
        ("audit", ("c",), {"k": 3}),
    ]

    async def ask_all():
        listed = [item async for item in awaited.items("c")]
        return listed, [await getattr(awaited, name)(*args, **how) for name, args, how in calls]

    listed, answers = asyncio.run(ask_all())
    assert listed == list(plain.items("c"))
    for (name, args, how), answer in zip(calls, answers, strict=True):
        np.testing.assert_equal(answer, getattr(plain, name)(*args, **how))
    assert asyncio.run(awaited.upsert("c", items(60), space=SPACE)) == 60


def test_split_queries_find_what_single_ones_do(recommenders):
    plain, _ = recommenders
    plain.create("c", space=SPACE, dim=4)
    plain.upsert("c", items(20))
    vectors = [item.vector for item in items(8)]
    many = plain.recommend_many(vectors, collection="c", k=3)
    assert many == [plain.recommend(vector=vector, collection="c", k=3) for vector in vectors]


def test_a_collection_goes_out_and_comes_in_again(recommenders, tmp_path):
    plain, awaited = recommenders
    plain.create("c", space=SPACE, dim=4)
    plain.upsert("c", items(5))

    async def move():
        await awaited.snapshot("c", tmp_path / "c.zip")
        return await awaited.restore("d", tmp_path / "c.zip")

    assert asyncio.run(move())["items"] == 5
    assert list(plain.items("d", vectors=True)) == list(plain.items("c", vectors=True))


def test_faults_are_the_same(recommenders):
    plain, awaited = recommenders
    plain.create("c", space=SPACE, dim=4)
    for ask in (plain.upsert, lambda *a, **k: asyncio.run(awaited.upsert(*a, **k))):
        with pytest.raises(SpaceMismatch):
            ask("c", items(1), space="other/0")


def test_many_sounds_and_texts_are_embedded_in_order():
    sounds = [encoded(tone(hz=200 + 50 * n)) for n in range(3)] + [b"no sound", encoded(noise())]
    with TestClient(create_embedder(EmbedderSettings(model="fake", max_batch=2))) as service:
        plain = EmbedderClient(transport=through(service))
        awaited = AsyncEmbedderClient(transport=through(service))
        found = plain.embed_many(sounds)
        assert isinstance(found[3], UndecodableAudio)
        for sound, one in zip(sounds, found, strict=True):
            if not isinstance(one, SoundalikeError):
                np.testing.assert_array_equal(one.vector, plain.embed(sound).vector)
        again = asyncio.run(awaited.embed_many(sounds))
        np.testing.assert_array_equal(again[4].vector, found[4].vector)
        texts = [f"a bark {n}" for n in range(300)]  # more than a request may hold
        vectors = plain.embed_texts(texts).vectors
        np.testing.assert_array_equal(vectors[299], plain.embed_texts(texts[299:]).vectors[0])
