import io
import itertools
import json
import threading

import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.embedder import schemas
from services.embedder.app import create_app
from services.embedder.settings import EmbedderSettings
from soundalike.embedders.fake import Fake
from soundalike.errors import OutOfMemory
from tests.sounds import encoded, noise, tone

RATE = 8_000


def service(**settings):
    return TestClient(create_app(EmbedderSettings(**{"model": "fake", **settings})))


@pytest.fixture(scope="module")
def client():
    with service(max_seconds=60, max_upload_mb=2, max_batch=4, threads=3) as client:
        yield client


@pytest.fixture(scope="module")
def wav():
    return encoded(noise(2.5, RATE), RATE)


def embed(client, content, **params):
    return client.post("/embed", files={"file": ("some.wav", content)}, params=params)


def assert_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told["code"] == code
    assert {"type", "title", "detail"} <= told.keys()
    assert told["request_id"] == answer.headers["x-request-id"]
    return told


def test_embed_answers_everything_it_promises(client, wav):
    told = embed(client, wav).json()
    assert told["model"] == "fake"
    assert told["space"].startswith("fake/")
    assert told["dim"] == len(told["vector"]) == 8
    assert np.linalg.norm(told["vector"]) == pytest.approx(1, abs=1e-6)
    assert told["audio"] == {
        "format": "WAV", "sample_rate": RATE, "channels": 1, "seconds": 2.5, "seconds_used": 2.0,
        "truncated": False, "clipped": 0.0, "silent": 0.0,
    }  # fmt: skip
    assert told["windows"] == 2
    assert (told["device"], told["runtime"], told["dtype"]) == ("cpu", "numpy", "float32")
    assert set(told["ms"]) == {"queue", "decode", "resample", "features", "model"}
    assert schemas.Embedding.model_validate(told)


def test_every_way_of_sending_gives_the_same_vector(client, wav):
    expected = embed(client, wav).json()["vector"]
    assert client.post("/embed", files={"audio": wav}).json()["vector"] == expected
    assert client.post("/embed", content=wav).json()["vector"] == expected
    chunked = client.post("/embed", content=iter([wav[:1000], wav[1000:]]))
    assert chunked.json()["vector"] == expected


def test_query_options(client, wav):
    frames = embed(client, wav, pooling="none").json()
    assert np.array(frames["frames"]).shape == (2, 8)
    assert frames["frame_rate"] == 1.0
    assert "vector" not in frames
    assert embed(client, wav, pooling="meanstd").json()["dim"] == 16
    raw = np.array(embed(client, wav, normalize="false").json()["vector"])
    assert np.linalg.norm(raw) < 0.9
    pieces = embed(client, wav, window_vectors="true").json()["window_vectors"]
    assert [(one["start"], one["end"], len(one["vector"])) for one in pieces] == [
        (0, 1, 8),
        (1, 2, 8),
    ]
    assert embed(client, wav, model="mfcc").json()["dim"] == 206
    assert embed(client, wav, model="fake:sign=minus").json()["model"] == "fake:sign=minus"


def test_npy_on_request(client, wav):
    answer = client.post("/embed", content=wav, headers={"Accept": "application/x-npy"})
    assert answer.headers["content-type"] == "application/x-npy"
    vector = np.load(io.BytesIO(answer.content), allow_pickle=False)
    told = embed(client, wav).json()
    np.testing.assert_allclose(vector, told["vector"], atol=1e-7)
    assert answer.headers["x-soundalike-space"] == told["space"]


def test_more_than_a_million_numbers_need_npy(client, wav, monkeypatch):
    monkeypatch.setattr(schemas, "MOST_NUMBERS_IN_JSON", 15)
    assert_problem(embed(client, wav, pooling="none"), 406, "not_acceptable")
    answer = client.post(
        "/embed?pooling=none", content=wav, headers={"Accept": "application/x-npy"}
    )
    assert np.load(io.BytesIO(answer.content)).shape == (2, 8)
    assert answer.headers["x-soundalike-frame-rate"] == "1.0"


def test_a_batch_holds_no_more_numbers_than_one_answer_may(client, wav, monkeypatch):
    monkeypatch.setattr(schemas, "MOST_NUMBERS_IN_JSON", 20)
    files = [("files", ("a.wav", wav))] * 2
    assert client.post("/embed/batch", files=files).status_code == 200
    told = assert_problem(client.post("/embed/batch", files=files * 2), 406, "not_acceptable")
    assert "fewer files" in told["detail"]


def test_a_batch_answers_each_file_in_order(client, wav):
    files = [("files", ("a.wav", wav)), ("files", ("b.txt", b"text")), ("files", ("c.wav", wav))]
    results = client.post("/embed/batch", files=files).json()["results"]
    assert [one["file"] for one in results] == ["a.wav", "b.txt", "c.wav"]
    assert results[0]["vector"] == results[2]["vector"] == embed(client, wav).json()["vector"]
    assert results[1]["error"]["code"] == "undecodable_audio"
    assert results[1]["error"]["status"] == 422


def test_alone_and_in_a_batch_the_vector_is_the_same(client):
    sounds = [encoded(noise(1.0 + seed / 3, RATE, seed), RATE) for seed in range(4)]
    files = [("files", (str(i), sound)) for i, sound in enumerate(sounds)]
    for model in ("fake", "mfcc"):
        results = client.post(f"/embed/batch?model={model}", files=files).json()["results"]
        for sound, together in zip(sounds, results, strict=True):
            assert embed(client, sound, model=model).json()["vector"] == together["vector"]


@pytest.mark.parametrize("count", [0, 5])
def test_a_batch_has_limits(client, wav, count):
    files = [("files", ("a.wav", wav))] * count or [("other", ("a.wav", wav))]
    told = assert_problem(client.post("/embed/batch", files=files), 400, "bad_request")
    assert told["limit"] == 4


SAMPLES = noise(2.0, RATE)
NAN = SAMPLES.copy()
NAN[100] = np.nan
WHOLE = encoded(SAMPLES, RATE)
BAD = {
    "empty body": (b"", 422, "undecodable_audio"),
    "text as WAV": (b"this is not a sound, it is a text", 422, "undecodable_audio"),
    "zero samples": (encoded(SAMPLES[:0], RATE), 422, "undecodable_audio"),
    "a header alone": (WHOLE[:44], 422, "undecodable_audio"),
    "1 Hz": (encoded(SAMPLES, 1), 422, "bad_rate"),
    "800 kHz": (encoded(SAMPLES, 800_000), 422, "bad_rate"),
    "NaN samples": (encoded(NAN, RATE, subtype="FLOAT"), 422, "bad_samples"),
    "infinite samples": (encoded(NAN * 0 + np.inf, RATE, subtype="FLOAT"), 422, "bad_samples"),
    "louder than any sound": (encoded(SAMPLES * 1e25, RATE, subtype="FLOAT"), 422, "bad_samples"),
    "four bytes of AIFF": (b"FORM", 422, "undecodable_audio"),
    "silence": (encoded(SAMPLES * 0, RATE), 422, "silent"),
    "too short": (encoded(SAMPLES[:5], RATE), 422, "too_short"),
    "too long": (encoded(np.tile(SAMPLES, (31, 1)), RATE), 413, "too_long"),
    "too many bytes": (bytes(2_000_001), 413, "too_large"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("model", ["fake", "mfcc"])
def test_bad_sounds_have_their_status_and_code(client, name, model):
    content, status, code = BAD[name]
    assert_problem(client.post(f"/embed?model={model}", content=content), status, code)
    if content and code != "too_large":
        assert_problem(embed(client, content, model=model), status, code)


def test_a_wav_cut_in_half_is_used_and_said_to_be_truncated(client):
    answer = client.post("/embed", content=WHOLE[: len(WHOLE) // 2])
    assert answer.status_code == 200
    assert answer.json()["audio"]["truncated"] is True


@pytest.mark.parametrize(("channels", "rate"), [(8, RATE), (1, 384_000), (2, 11_025)])
def test_unusual_channels_and_rates_are_taken(client, channels, rate):
    answer = embed(client, encoded(tone(0.2, rate=rate, channels=channels), rate))
    assert answer.status_code == 200
    assert answer.json()["audio"]["channels"] == channels


def test_a_body_of_unknown_length_is_limited_while_it_comes(client):
    sent = itertools.count()
    endless = (bytes(100_000) for _ in itertools.takewhile(lambda _: next(sent) < 1000, [0] * 1000))
    assert_problem(client.post("/embed", content=endless), 413, "too_large")


def test_a_form_without_the_file_says_what_to_send(client):
    told = assert_problem(client.post("/embed", files={"sound": b"x"}), 400, "bad_request")
    assert told["fields"] == ["sound"]
    assert "file=@" in told["detail"]


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"model": "nothing"}, 404, "unknown_model"),
        ({"model": "fake:sign=odd"}, 404, "unknown_model"),
        ({"pooling": "median"}, 400, "bad_request"),
        ({"normalize": "perhaps"}, 400, "bad_request"),
    ],
)
def test_bad_parameters(client, wav, params, status, code):
    assert_problem(embed(client, wav, **params), status, code)


def test_unknown_routes_and_methods_are_problems_too(client):
    assert_problem(client.get("/nothing"), 404, "not_found")
    assert_problem(client.get("/embed"), 405, "method_not_allowed")


def test_what_nobody_expected_is_a_problem_without_its_secrets(monkeypatch, wav):
    with TestClient(
        create_app(EmbedderSettings(model="fake")), raise_server_exceptions=False
    ) as client:
        monkeypatch.setattr(schemas, "answer", lambda *a: 1 / 0)
        told = assert_problem(embed(client, wav), 500, "internal")
    assert "ZeroDivision" not in json.dumps(told)


def test_models_tell_the_space_that_embed_answers(client, wav):
    told = client.get("/models").json()
    assert told["default"] == "fake"
    for model in told["models"]:
        if model["state"] != "ready":
            continue
        answer = embed(client, encoded(noise(2.0)), model=model["key"]).json()
        assert answer["space"] == model["space"]
        assert answer["dim"] == model["dim"]
    assert "mfcc" in [model["key"] for model in told["models"] if model["state"] == "ready"]


def test_probes_limits_and_metrics(client, wav):
    assert client.get("/livez").json() == {"status": "ok"}
    for path in ("/readyz", "/health"):
        assert client.get(path).json() == {"status": "ok", "model": "fake"}
    assert client.get("/limits").json() == {
        "max_upload_bytes": 2_000_000,
        "max_seconds": 60.0,
        "max_batch": 4,
        "max_texts": 256,
        "max_text_characters": 10_000,
        "max_numbers_in_json": 1_000_000,
        "queue_seconds": 3600.0,
        "threads": 3,
    }
    embed(client, wav)
    text = client.get("/metrics").text
    assert 'soundalike_requests_total{method="POST",route="/embed",status="200"}' in text
    heard = text.partition('soundalike_audio_seconds_total{device="cpu",model="fake"} ')[2]
    assert float(heard.partition("\n")[0]) >= 2.0
    for line in ('soundalike_stage_seconds_count{stage="decode"}', "soundalike_queue_seconds 0.0"):
        assert line in text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/embed", "/embed/batch", "/models"} <= paths.keys()
    assert client.get("/docs").status_code == 200


def test_the_page_tells_what_it_is_and_what_to_try(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "curl -F file=@some.wav http://testserver/embed" in page.text
    assert "mfcc" in page.text


def test_request_ids_are_kept_or_made(client):
    assert client.get("/livez", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == (
        "mine-1"
    )
    made = client.get("/livez", headers={"X-Request-ID": "not\tgood" * 40}).headers["x-request-id"]
    assert len(made) == 16


def test_keys_are_asked_for_where_they_are_set(wav):
    with service(api_keys="one, two") as client:
        told = assert_problem(embed(client, wav), 401, "unauthorized")
        assert "Bearer" in told["detail"]
        for headers in ({"Authorization": "Bearer two"}, {"X-API-Key": "one"}):
            assert client.post("/embed", content=wav, headers=headers).status_code == 200
        for headers in ({"Authorization": "Bearer three"}, {"X-API-Key": "one, two"}):
            refused = client.post("/embed", content=wav, headers=headers)
            assert_problem(refused, 401, "unauthorized")
        assert client.get("/readyz").status_code == 200


def test_the_default_embedder_must_exist():
    with pytest.raises(Exception, match="no embedder 'nothing'"):
        service(model="nothing")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("DEVICE", "cuda:77", "CUDA"), ("RUNTIME", "none", "openvino"), ("PRECISION", "int4", "16")],
)  # fmt: skip
def test_a_device_that_is_not_here_stops_the_start(monkeypatch, name, value, told):
    monkeypatch.setenv(f"SOUNDALIKE_{name}", value)
    with pytest.raises(SystemExit, match=told):
        service()


def test_pages_of_other_origins_may_ask_only_where_that_is_set(client, wav):
    asked = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/livez", headers=asked).headers
    with service(cors_origins="https://example.org, https://example.com", api_keys="one") as open_:
        answer = open_.get("/livez", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        preflight = asked | {"Access-Control-Request-Method": "POST"}
        assert open_.options("/embed", headers=preflight).status_code == 200
        other = open_.get("/livez", headers={"Origin": "https://example.net"})
        assert "access-control-allow-origin" not in other.headers


def test_readiness_fails_while_passes_fail_and_recovers(wav, monkeypatch):
    memory = []

    def run(self, batch):
        if not memory:
            raise OutOfMemory("The device has no memory left.")
        return [np.ones((1, 8), np.float32) for _ in batch]

    monkeypatch.setattr(Fake, "run", run)
    with service() as client:
        for _ in range(3):
            assert client.get("/readyz").status_code == 200
            assert_problem(embed(client, wav), 503, "out_of_memory")
        assert "fail" in client.get("/readyz").json()["reason"]
        assert client.get("/readyz").status_code == 503
        memory.append("free again")
        assert embed(client, wav).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_a_full_queue_says_when_to_come_back(wav, monkeypatch):
    begun, free, real = threading.Event(), threading.Event(), Fake.run

    def run(self, batch):
        begun.set()
        assert free.wait(10)
        return real(self, batch)

    monkeypatch.setattr(Fake, "run", run)
    with service(queue_seconds=3, threads=1) as client:
        first = threading.Thread(target=embed, args=(client, wav))
        first.start()
        assert begun.wait(10)
        refused = embed(client, wav)
        free.set()
        first.join()
    assert_problem(refused, 429, "overloaded")
    assert 1 <= int(refused.headers["retry-after"]) <= 600


def test_a_request_does_not_overload_the_queue_by_itself(wav):
    with service(queue_seconds=3, threads=1) as client:
        files = [("files", (str(i), wav)) for i in range(4)]
        results = client.post("/embed/batch", files=files).json()["results"]
    assert len({tuple(one["vector"]) for one in results}) == 1


def test_a_setting_that_is_neither_yes_nor_no_stops_the_start(monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_COMMERCIAL_ONLY", "maybe")
    with pytest.raises(SystemExit, match="1 or 0"):
        service()


def test_the_kind_of_body_is_told_in_any_case(client, wav):
    form = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    headers = {"Content-Type": "Multipart/Form-Data; boundary=X"}
    answer = client.post("/embed", content=form + wav + b"\r\n--X--\r\n", headers=headers)
    assert answer.json()["vector"] == embed(client, wav).json()["vector"]
