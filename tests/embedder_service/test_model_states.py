import json
import logging
import time
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import save

import soundalike
from services.embedder.app import create_app
from services.embedder.settings import EmbedderSettings
from soundalike import embedders
from soundalike.embedders import choice, weights
from soundalike.embedders.fake import Fake
from soundalike.embedders.mfcc import Mfcc
from soundalike.extract.loading import Extractors
from tests.embedders.weighed import Unfree, Weighed
from tests.sounds import encoded, noise

GOOD = save({"gain": torch.full((1,), 3.0)})
NAN = save({"gain": torch.full((1,), torch.nan)})
WAV = encoded(noise(1.0))
COMMAND = "soundalike models pull weighed"


class SilentOnWords(Weighed):
    """Its text side was found dead when it was loaded."""

    def load(self):
        super().load()
        self.quarantined["text"] = "every text is alike"


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path / "models"))
    registry = {one.card.key: one for one in (Fake, Mfcc, Weighed, Unfree)}
    monkeypatch.setattr(embedders, "_registry", lambda: registry)
    monkeypatch.setattr(choice, "PREFERENCE", ("weighed", "mfcc"))
    monkeypatch.setattr(Weighed, "loads", 0)
    yield tmp_path / "models"
    Weighed.may_load.set()


def put(models, key="weighed", content=GOOD):
    (models / key).mkdir(parents=True, exist_ok=True)
    (models / key / "model.safetensors").write_bytes(content)
    (models / key / "config.json").write_text("{}")


def service(tmp_path, **settings):
    return TestClient(create_app(EmbedderSettings(data_dir=tmp_path / "data", **settings)))


def until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def embed(client, **params):
    return client.post("/embed", content=WAV, params=params)


def described(client, key):
    return next(one for one in client.get("/models").json()["models"] if one["key"] == key)


def test_auto_without_weights_answers_and_says_how_to_get_the_best(tmp_path, caplog):
    with service(tmp_path) as client:
        until(lambda: client.get("/readyz").json() == {"status": "ok", "model": "mfcc"})
        told = client.get("/models").json()
        assert told["default"] == "mfcc"
        answer = embed(client)
        assert answer.json()["model"] == "mfcc"
        batch = client.post("/embed/batch", files=[("files", WAV)]).json()
        npy = client.post("/embed", content=WAV, headers={"Accept": "application/x-npy"})
        notes = [told["note"], answer.json()["note"], batch["note"]]
        notes += [npy.headers["x-soundalike-note"], client.get("/").text.replace("&#x27;", "'")]
        assert all(COMMAND in note for note in notes)
        assert "note" not in embed(client, model="mfcc").json()
    assert COMMAND in caplog.text


def test_auto_with_weights_answers_with_the_best_and_is_ready_once_it_is_loaded(models, tmp_path):
    put(models)
    Weighed.may_load.clear()
    with service(tmp_path) as client:
        unready = client.get("/readyz")
        assert (unready.status_code, unready.json()["reason"]) == (503, "It is being loaded.")
        assert embed(client, model="mfcc").status_code == 200, "others answer meanwhile"
        Weighed.may_load.set()
        assert embed(client).json()["model"] == "weighed"
        assert client.get("/readyz").json() == {"status": "ok", "model": "weighed"}
        told = client.get("/models").json()
        assert told["default"] == "weighed"
        assert "note" not in told
        assert "note" not in embed(client).json()
        assert [one["key"] for one in told["models"] if one["default"]] == ["weighed"]


def test_auto_passes_over_a_best_that_is_quarantined(models, tmp_path):
    put(models, content=NAN)
    with service(tmp_path) as client:
        answer = embed(client).json()
        assert answer["model"] == "mfcc"
        assert "'weighed' answers NaN." in answer["note"]
        until(lambda: client.get("/readyz").status_code == 200)


def test_states_and_faults(models, tmp_path, monkeypatch):
    put(models, "unfree")
    with service(tmp_path, model="mfcc") as client:
        assert described(client, "mfcc")["state"] == "ready"
        found = described(client, "weighed")
        assert (found["state"], found["code"], found["space"]) == (
            "unavailable", "weights_missing", None,
        )  # fmt: skip
        assert COMMAND in found["reason"]
        refused = embed(client, model="weighed")
        assert (refused.status_code, refused.json()["code"]) == (503, "weights_missing")

        put(models)
        found = described(client, "weighed")
        assert found["state"] == "available"
        assert "reason" not in found
        assert embed(client, model="weighed").json()["space"] == found["space"]
        assert described(client, "weighed")["state"] == "ready"

        monkeypatch.setenv("SOUNDALIKE_COMMERCIAL_ONLY", "1")
        found = described(client, "unfree")
        assert (found["state"], found["code"]) == ("unavailable", "licence_refused")
        refused = embed(client, model="unfree")
        assert (refused.status_code, refused.json()["code"]) == (403, "licence_refused")


@pytest.mark.parametrize("content", [NAN, b"no weights", save({"other": torch.ones(1)})])
def test_what_cannot_be_used_is_quarantined_and_the_service_goes_on(models, tmp_path, content):
    put(models, content=content)
    with service(tmp_path, model="mfcc") as client:
        for _ in range(2):
            refused = embed(client, model="weighed")
            assert (refused.status_code, refused.json()["code"]) == (503, "quarantined")
        assert Weighed.loads == 1, "it is not tried over and over"
        found = described(client, "weighed")
        assert (found["state"], found["code"]) == ("unavailable", "quarantined")
        assert found["reason"] == refused.json()["detail"]
        assert embed(client).status_code == 200


def test_a_side_that_is_quarantined_is_named(models, tmp_path, monkeypatch):
    put(models)
    monkeypatch.setitem(embedders._registry(), "weighed", SilentOnWords)
    with service(tmp_path, model="weighed") as client:
        assert embed(client).status_code == 200
        found = described(client, "weighed")
        assert found["quarantined"] == {"text": "every text is alike"}
        assert found["takes"] == ["audio"]


def test_a_default_without_weights_is_unready_until_they_come(models, tmp_path):
    with service(tmp_path, model="weighed") as client:
        unready = client.get("/readyz")
        assert (unready.status_code, unready.json()["code"]) == (503, "weights_missing")
        assert embed(client, model="mfcc").status_code == 200
        put(models)
        assert embed(client).json()["model"] == "weighed"
        assert client.get("/readyz").status_code == 200


def test_many_at_once_load_it_once(models):
    put(models)
    Weighed.may_load.clear()
    extractors = Extractors()
    begun = [extractors.begin("weighed") for _ in range(8)]
    Weighed.may_load.set()
    assert len({id(future.result()) for future in begun}) == 1
    assert Weighed.loads == 1


def test_what_was_chosen_is_recorded_and_a_change_is_logged(models, tmp_path, caplog):
    record = tmp_path / "data" / "embedder.json"
    with service(tmp_path) as client:
        space = embed(client).json()["space"]
        until(record.exists)
    first = json.loads(record.read_text())
    assert (first["model"], first["space"]) == ("mfcc", space)
    with service(tmp_path) as client:
        until(lambda: client.get("/readyz").status_code == 200)
    assert json.loads(record.read_text()) == first
    assert "was 'mfcc'" not in caplog.text
    put(models)
    with service(tmp_path), caplog.at_level(logging.WARNING):
        until(lambda: json.loads(record.read_text())["model"] == "weighed")
    assert f"was 'mfcc' in space {space} and is now 'weighed'" in caplog.text


def test_in_python_the_choice_is_made_once(models, monkeypatch):
    kept = Extractors()
    monkeypatch.setattr(soundalike, "_extractors", lambda: kept)
    before = soundalike.embed(WAV)
    put(models)
    np.testing.assert_array_equal(soundalike.embed(WAV), before)
    assert soundalike.embed(WAV, model="weighed").shape == (8,)


@pytest.mark.parametrize(
    ("fault", "code"),
    [(OSError(24, "Too many open files"), "weights_missing"), (MemoryError(), "out_of_memory")],
)
def test_what_is_no_fault_of_the_weights_is_tried_again(tmp_path, models, monkeypatch, fault, code):
    put(models)
    with service(tmp_path, model="mfcc") as client, monkeypatch.context() as patch:
        patch.setattr(weights, "read_state", Mock(side_effect=fault))
        refused = embed(client, model="weighed")
        assert (refused.status_code, refused.json()["code"]) == (503, code)
        patch.undo()
        assert embed(client, model="weighed").status_code == 200
