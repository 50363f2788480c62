"""The pooling that a folder is indexed with."""

from types import SimpleNamespace

import httpx
import pytest
from fastapi.testclient import TestClient

from services.embedder.app import create_app as create_embedder
from services.embedder.settings import EmbedderSettings
from services.recommender.app import create_app as create_recommender
from services.recommender.settings import RecommenderSettings
from soundalike.catalogue.intake import Intake
from soundalike.cli import main
from soundalike.cli.index import find_sounds, index_sounds
from soundalike.client import Client, EmbedderClient, RecommenderClient
from tests.sounds import encoded, noise


def through(service):
    """Let a client speak to a service in this process."""

    def forward(request):
        path = request.url.raw_path.decode()
        kind = {"content-type": request.headers.get("content-type", "")}
        answer = service.request(request.method, path, content=request.read(), headers=kind)
        return httpx.Response(answer.status_code, content=answer.content)

    return httpx.MockTransport(forward)


@pytest.fixture
def services(tmp_path):
    settings = RecommenderSettings(data_dir=tmp_path / "data")
    with (
        TestClient(create_embedder(EmbedderSettings(model="mfcc", data_dir=tmp_path))) as embedder,
        TestClient(create_recommender(settings)) as recommender,
        Client() as client,
    ):
        client.embedder = EmbedderClient(transport=through(embedder))
        client.recommender = RecommenderClient(transport=through(recommender))
        yield client


def test_a_collection_keeps_its_own_pooling(services, tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "one.wav").write_bytes(encoded(noise()))
    assert index_sounds(services, find_sounds(folder), "c", pooling="mean").indexed == 1
    told = services.recommender.collection("c")
    assert (told["pooling"], told["dim"]) == ("mean", 104)
    (folder / "two.wav").write_bytes(encoded(noise(seed=1)))
    assert index_sounds(services, find_sounds(folder), "c").indexed == 1
    (folder / "three.wav").write_bytes(encoded(noise(seed=2)))
    assert index_sounds(services, find_sounds(folder), "c", pooling="meanstd").indexed == 1
    assert services.recommender.collection("c")["items"] == 3


def test_sounds_go_into_the_folder_of_a_recommender_too(services, tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "one.wav").write_bytes(encoded(noise()))
    with Intake(tmp_path / "data") as intake:
        straight = SimpleNamespace(embedder=services.embedder, recommender=intake)
        assert index_sounds(straight, find_sounds(folder), "c", pooling="mean").indexed == 1
        (folder / "two.wav").write_bytes(encoded(noise(seed=1)))
        again = index_sounds(straight, find_sounds(folder), "c")
        assert (again.indexed, again.unchanged) == (1, 1)
    told = services.recommender.collection("c")
    assert (told["pooling"], told["dim"], told["items"]) == ("mean", 104, 2)


def test_another_embedder_takes_its_own_pooling(capsys):
    assert main(["index", "--reembed", "--pooling", "mean"]) == 2
    assert "--pooling" in capsys.readouterr().err
