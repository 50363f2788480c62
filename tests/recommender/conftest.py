import pytest
from fastapi.testclient import TestClient

from tests.recommender.asking import ITEMS, SPACE, start


@pytest.fixture
def client(tmp_path):
    """A service with a collection of four points of the compass."""
    with start(tmp_path, max_upload_mb=0.1, max_queries=3) as client:
        client.put("/collections/default", json={"space": SPACE, "dim": 2, "engine": "exact"})
        client.put("/collections/default/items", json={"items": ITEMS})
        yield client


@pytest.fixture(scope="module")
def embedder():
    """An embedder service, for the tests that need one."""
    from services.embedder.app import create_app
    from services.embedder.settings import EmbedderSettings

    settings = EmbedderSettings(model="fake", max_seconds=60, api_keys="secret")
    with TestClient(create_app(settings), headers={"x-api-key": "secret"}) as client:
        yield client
