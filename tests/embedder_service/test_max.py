"""The dialect of IBM's MAX Audio Embedding Generator."""

import asyncio
import json
import time

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.embedder import dialects
from services.embedder.app import create_app
from services.embedder.settings import EmbedderSettings
from soundalike.embedders import vggish
from soundalike.embedders.fake import Fake
from tests.embedders.ported_checkpoints import SMALL_HIDDEN, write_vggish
from tests.sounds import encoded, noise

RATE = 16_000
WAV = encoded(noise(2.0, RATE), RATE)
INVALID = b'{"status": "error", "message": "Invalid file type/extension"}\n'
NO_FILE = (
    b'{"errors": {"audio": "signed 16-bit PCM WAV audio file Missing required parameter in an '
    b'uploaded file"}, "message": "Input payload validation failed"}\n'
)


def service(tmp_path, **settings):
    return TestClient(create_app(EmbedderSettings(model="mfcc", data_dir=tmp_path, **settings)))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    write_vggish(models / "vggish")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_MODELS_DIR", str(models))
        patch.setattr(vggish, "HIDDEN", SMALL_HIDDEN)
        with service(tmp_path_factory.mktemp("data"), max_seconds=60) as client:
            yield client


def predict(client, content=WAV, kind="audio/wav", field="audio"):
    return client.post("/model/predict", files={field: ("some.wav", content, kind)})


def assert_answer(answer, status, body):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == body


# what was sent to the original, by the names of its captured answers
SENT = {
    "badmime": lambda client: predict(client, kind="text/x-python"),
    "mp3": lambda client: predict(client, kind="audio/mpeg"),
    "jsonbody": lambda client: client.post("/model/predict", json={}),
    "missing": lambda client: client.post("/model/predict"),
    "wrongfield": lambda client: predict(client, field="file"),
    "options": lambda client: client.options("/model/predict"),
    "meta": lambda client: client.get("/model/metadata"),
    "xml": lambda client: client.get("/model/metadata", headers={"Accept": "text/html"}),
    "swagger": lambda client: client.get("/swagger.json"),
}
DELIBERATELY_OTHER = {"empty", "garbage", "octet", "predict"}
OF_A_STUB = {"xwav", "vndwave"}
OF_OTHER_ROUTES = {"get", "notfound", "nsroot", "root", "slash"}


@pytest.mark.parametrize("name", SENT)
def test_answers_are_those_that_were_captured(client, shared, name):
    contract = json.loads((shared / "reference" / "max" / "contract.json").read_text())
    captured = contract["captures"][name]
    answer = SENT[name](client)
    assert answer.status_code == captured["status"]
    assert answer.headers["content-type"] == captured["content_type"]
    assert answer.text == captured["body"]
    assert len(answer.content) == captured["bytes"]


def test_every_captured_answer_is_accounted_for(shared):
    contract = json.loads((shared / "reference" / "max" / "contract.json").read_text())
    known = SENT.keys() | DELIBERATELY_OTHER | OF_A_STUB | OF_OTHER_ROUTES | {"head"}
    assert contract["captures"].keys() == known


def test_head_tells_the_length_of_what_get_answers(client):
    told = client.head("/model/metadata")
    assert (told.status_code, told.headers["content-type"]) == (200, "application/json")
    assert told.headers["content-length"] == "292" == str(len(SENT["meta"](client).content))


@pytest.mark.parametrize("kind", ["audio/wav", "audio/x-wav", "audio/vnd.wave", "Audio/WAV"])
def test_a_row_of_whole_floats_comes_for_each_patch(client, kind):
    answer = predict(client, kind=kind)
    rows = json.loads(answer.content)["embedding"]
    assert np.array(rows).shape == (2, 128)
    assert all(value == int(value) and 0 <= value <= 255 for row in rows for value in row)
    assert_answer(answer, 200, json.dumps({"status": "ok", "embedding": rows}).encode() + b"\n")
    assert answer.content.startswith(b'{"status": "ok", "embedding": [[')
    assert b".0, " in answer.content


def test_the_rows_are_the_frames_that_the_service_gives_elsewhere(client):
    frames = client.post("/embed?model=vggish&pooling=none", content=WAV).json()["frames"]
    assert predict(client).json()["embedding"] == frames


def test_a_stereo_file_of_190612_frames_at_44100_hz_has_four_rows(client):
    file = encoded(np.tile(noise(190_612 / 44_100, 44_100), 2), 44_100)
    assert np.array(predict(client, file).json()["embedding"]).shape == (4, 128)


@pytest.mark.parametrize(("samples", "rows"), [(100, 0), (15_599, 0), (15_600, 1), (30_960, 2)])
def test_rows_begin_with_15600_samples(client, samples, rows):
    answer = predict(client, encoded(noise(samples / RATE, RATE), RATE))
    assert answer.status_code == 200
    assert len(answer.json()["embedding"]) == rows


def test_silence_has_rows(client):
    answer = predict(client, encoded(np.zeros((2 * RATE, 1), np.float32), RATE))
    assert len(answer.json()["embedding"]) == 2


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32"])
def test_wavs_of_other_depths_work(client, subtype):
    answer = predict(client, encoded(noise(1.0, RATE), RATE, subtype=subtype))
    assert len(answer.json()["embedding"]) == 1


def test_a_wav_that_is_not_typed_is_taken_and_anything_else_is_not(client):
    assert predict(client, kind="application/octet-stream").json() == predict(client).json()
    assert_answer(predict(client, b"print()", "application/octet-stream"), 400, INVALID)
    assert_answer(predict(client, b"", "application/octet-stream"), 400, INVALID)


@pytest.mark.parametrize("content", [b"", b"no sound at all", WAV[:44]])
def test_what_cannot_be_decoded_is_a_bad_request(client, content):
    answer = predict(client, content)
    assert answer.status_code == 400
    told = answer.json()
    assert told.keys() == {"status", "message"}
    assert told["status"] == "error"
    assert_answer(answer, 400, json.dumps(told).encode() + b"\n")


def test_a_text_field_or_a_broken_form_is_no_file(client):
    assert_answer(client.post("/model/predict", data={"audio": "text"}), 400, NO_FILE)
    headers = {"Content-Type": "multipart/form-data"}
    assert_answer(client.post("/model/predict", content=b"x", headers=headers), 400, NO_FILE)


def test_limits_hold_and_are_told_in_the_same_shape(client, tmp_path):
    long = predict(client, encoded(noise(61.0, 8_000), 8_000))
    assert (long.status_code, long.json()["status"]) == (413, "error")
    with service(tmp_path, max_upload_mb=1) as small:
        large = predict(small, bytes(2_000_000))
        assert (large.status_code, large.json().keys()) == (413, {"status", "message"})


def test_missing_weights_are_told_in_the_same_shape(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path / "none"))
    with service(tmp_path) as bare:
        answer = predict(bare)
        told = answer.json()
        assert "soundalike models pull" in told["message"]
        body = json.dumps({"status": "error", "message": told["message"]}).encode() + b"\n"
        assert_answer(answer, 503, body)
        assert_answer(predict(bare, kind="audio/mpeg"), 400, INVALID)


def test_keys_hold_here_too(tmp_path):
    with service(tmp_path, api_keys="secret") as locked:
        refused = predict(locked)
        assert (refused.status_code, refused.json()["status"]) == (401, "error")
        allowed = locked.get("/model/metadata", headers={"Authorization": "Bearer secret"})
        assert allowed.status_code == 200


def test_a_client_that_went_away_is_worked_for_no_more(tmp_path, monkeypatch):
    windows, real = [], Fake.run

    def run(self, batch):
        windows.extend(batch)
        time.sleep(0.05)
        return real(self, batch)

    monkeypatch.setattr(Fake, "run", run)
    monkeypatch.setattr(dialects, "MODEL", "fake")
    sent = httpx.Request("POST", "/", files={"audio": ("a.wav", encoded(noise(60.0)), "audio/wav")})
    app = create_app(EmbedderSettings(model="fake", data_dir=tmp_path))
    headers = [(b"content-type", sent.headers["content-type"].encode())]
    scope = {"type": "http", "method": "POST", "path": "/model/predict", "headers": headers,
             "query_string": b"", "http_version": "1.1", "scheme": "http"}  # fmt: skip
    messages = [{"type": "http.request", "body": sent.read()}]

    async def receive():
        if messages:
            return messages.pop()
        while not windows:
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    asyncio.run(app(scope, receive, send))
    time.sleep(0.3)
    assert len(windows) < 6, "of sixty"
