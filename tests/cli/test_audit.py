"""`soundalike audit`, over a folder that was indexed."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.embedder.app import create_app as create_embedder
from services.embedder.settings import EmbedderSettings
from services.recommender.app import create_app as create_recommender
from services.recommender.settings import RecommenderSettings
from soundalike.cli import audit, main
from soundalike.cli.index import find_sounds, index_sounds
from soundalike.client import Client, EmbedderClient, RecommenderClient
from tests.audio.test_fingerprint import bursts
from tests.cli.test_index import through
from tests.sounds import encoded

RATE = 16_000


@pytest.fixture
def services(tmp_path, monkeypatch):
    settings = RecommenderSettings(data_dir=tmp_path / "data")
    with (
        TestClient(create_embedder(EmbedderSettings(model="mfcc", data_dir=tmp_path))) as embedder,
        TestClient(create_recommender(settings)) as recommender,
        Client() as client,
    ):
        client.embedder = EmbedderClient(transport=through(embedder))
        client.recommender = RecommenderClient(transport=through(recommender))
        monkeypatch.setattr(audit, "client", lambda args: nullcontext(client))
        yield client


@pytest.fixture
def folder(services, tmp_path):
    """An indexed folder: a sound, its copies, another sound and silence."""
    sound, folder = bursts(), tmp_path / "sounds"
    folder.mkdir()
    files = {
        "one.wav": encoded(sound, RATE),
        "same.wav": encoded(sound, RATE),
        "copy.ogg": encoded(sound, RATE, "OGG", "VORBIS"),
        "other.wav": encoded(bursts(seed=1), RATE),
        "quiet.wav": encoded(np.full((RATE, 1), 1e-4, np.float32), RATE),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert index_sounds(services, find_sounds(folder), "c").indexed == len(files)
    return folder


def told(capsys, *arguments):
    assert main(["audit", *arguments]) == 0
    return capsys.readouterr().out


def test_what_is_indexed_can_be_told_apart(services, folder):
    metadata = {one["id"]: one["metadata"] for one in services.recommender.items("c")}
    assert metadata["one.wav"]["fingerprint"] == metadata["same.wav"]["fingerprint"]
    assert metadata["one.wav"]["silent"] < 0.1
    assert metadata["quiet.wav"]["silent"] == 1.0


def test_the_report_names_what_is_wrong(folder, capsys):
    found = json.loads(told(capsys, "c", "--json"))
    assert found["exact_duplicates"]["listed"] == [
        {"ids": ["one.wav", "same.wav"], "proof": "content"}
    ]
    pairs = {tuple(one["ids"]) for one in found["near_duplicates"]["listed"]}
    assert pairs == {("copy.ogg", "one.wav"), ("copy.ogg", "same.wav")}
    assert found["silent"]["listed"] == ["quiet.wav"]
    text = told(capsys, "c")
    assert "one.wav = same.wav (content)" in text
    assert "copy.ogg ~ one.wav (cosine" in text
    assert "silent items: 1" in text
    assert "5 items of mfcc/" in text


def test_files_that_are_gone_are_named_on_request(folder, capsys):
    (folder / "other.wav").unlink()
    assert "lost_files" not in json.loads(told(capsys, "c", "--json"))
    found = json.loads(told(capsys, "c", "--json", "--files"))
    assert found["lost_files"] == {"count": 1, "listed": ["other.wav"]}


def test_some_are_listed_and_all_are_counted(folder, capsys):
    found = json.loads(told(capsys, "c", "--json", "--limit", "1", "-k", "2"))
    assert found["near_duplicates"]["count"] == 2
    assert len(found["near_duplicates"]["listed"]) == 1
    assert found["hubs"]["k"] == 2


def test_an_unknown_collection_is_an_error(services, capsys):
    assert main(["audit", "none"]) == 1
    assert "none" in capsys.readouterr().err
