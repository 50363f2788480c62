import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from unittest.mock import Mock

import numpy as np
import openai
import pytest
import uvicorn
from fastapi.testclient import TestClient

from services.embedder.app import create_app
from services.embedder.backlog import Backlog
from services.embedder.settings import EmbedderSettings
from soundalike.errors import Overloaded
from tests.sounds import encoded, noise

WAV = encoded(noise(2.5, 8_000), 8_000)
OTHER = encoded(noise(1.0, 44_100, seed=1), 44_100)


def uri(content, kind="audio/wav"):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(EmbedderSettings(model="fake", max_batch=4))) as client:
        yield client


@pytest.fixture(scope="module")
def address():
    """The service on a port of this machine."""
    app = create_app(EmbedderSettings(model="fake", api_keys="secret", max_batch=4))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def official(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="secret", max_retries=0) as client:
        yield client


def own_vector(client, content):
    return np.array(client.post("/embed", content=content).json()["vector"])


def refused(client, status, code, **body):
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == code
    return error


@pytest.mark.parametrize("encoding", [openai.omit, "float", "base64"])
def test_the_official_client_gets_the_vectors_of_sounds(official, client, encoding):
    answer = official.embeddings.create(
        model="fake", input=[uri(WAV), uri(OTHER)], encoding_format=encoding
    )
    assert (answer.object, answer.model) == ("list", "fake")
    assert [one.index for one in answer.data] == [0, 1]
    for one, content in zip(answer.data, (WAV, OTHER), strict=True):
        vector = one.embedding
        if encoding == "base64":
            vector = np.frombuffer(base64.b64decode(vector), "<f4")
        np.testing.assert_allclose(vector, own_vector(client, content), atol=1e-7)


def test_the_official_client_gets_the_vectors_of_texts(official, client):
    found = official.embeddings.create(model="fake", input="rain").data[0].embedding
    (expected,) = client.post("/embed/text", json={"texts": ["rain"]}).json()["vectors"]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_the_official_client_knows_what_went_wrong(official, address):
    with pytest.raises(openai.NotFoundError) as missing:
        official.embeddings.create(model="text-embedding-3-small", input="rain")
    assert missing.value.code == "unknown_model"
    with pytest.raises(openai.UnprocessableEntityError) as bad:
        official.embeddings.create(model="fake", input=[uri(WAV), uri(b"no sound")])
    assert (bad.value.code, bad.value.param) == ("undecodable_audio", "input[1]")
    stranger = openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as shut, stranger:
        stranger.embeddings.create(model="fake", input="rain")
    assert shut.value.type == "authentication_error"


def test_curl_as_infinity_is_asked(address, client, tmp_path):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    asked = {"model": "fake", "modality": "audio", "input": [uri(WAV)], "encoding_format": "float"}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    command = [curl, "-sS", f"{address}/embeddings", "-H", "Content-Type: application/json"]
    command += ["-H", "Authorization: Bearer secret", "-d", f"@{tmp_path / 'asked.json'}"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert told["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    np.testing.assert_allclose(told["data"][0]["embedding"], own_vector(client, WAV), atol=1e-7)


def test_sounds_and_texts_keep_their_order(client):
    told = client.post("/embeddings", json={"input": ["rain", uri(WAV), "a dog"]}).json()
    texts = client.post("/embed/text", json={"texts": ["rain", "a dog"]}).json()["vectors"]
    expected = [texts[0], own_vector(client, WAV), texts[1]]
    found = [one["embedding"] for one in told["data"]]
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [uri(WAV)] * 5}, "input"),
        ({"input": "https://example.org/some.wav", "modality": "audio"}, "input[0]"),
        ({"input": ["rain"], "modality": "audio"}, "input[0]"),
        ({"input": ["data:audio/wav,plain"]}, "input[0]"),
        ({"input": ["rain", "data:audio/wav;base64,@@@"]}, "input[1]"),
        ({"input": "data:audio/wav;base64,AAAA\u00e9"}, "input[0]"),
        ({"input": uri(WAV), "dimensions": 7}, "dimensions"),
        ({"input": "x" * 10_001}, "input[0]"),
    ],
)
def test_what_cannot_be_embedded_is_refused_in_openais_shape(client, body, param):
    error = refused(client, 400, "bad_request", **body)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def test_tokens_unknown_fields_and_deaf_models_are_refused(client):
    refused(client, 400, "bad_request", input=[1, 2])
    refused(client, 400, "bad_request", input="rain", colour="red")
    refused(client, 400, "bad_request", input="rain", model="mfcc")


def test_a_full_queue_is_a_rate_limit(monkeypatch):
    refused = Overloaded("There is no room.", retry_after=7)
    monkeypatch.setattr(Backlog, "enter", Mock(side_effect=refused))
    with TestClient(create_app(EmbedderSettings(model="fake"))) as client:
        answers = client.post("/v1/embeddings", json={"input": [uri(WAV)] * 4})
    assert answers.status_code == 429
    assert answers.json()["error"]["type"] == "rate_limit_error"
    assert int(answers.headers["retry-after"]) >= 1
