"""The service under what clients really do to it, as a process of its own."""

import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.embedder_service.serving import memory_mb, served
from tests.sounds import encoded, noise

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MINUTES = encoded(np.tile(noise(10.0, 44_100), (60, 1)), 44_100)
SHORT = encoded(noise(1.0, 8_000), 8_000)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with served(tmp_path_factory.mktemp("service"), max_upload_mb=150, threads=1) as service:
        yield service


def raw(service, head, body=b""):
    """Send bytes as they are and leave the connection open."""
    host, port = service.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(head + b"\r\n" + body)
    return connection


def gauge(service, name):
    text = httpx.get(f"{service.url}/metrics").text
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_clients_that_go_away_leave_nothing_behind(service):
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(MINUTES)
    gone = [raw(service, head, MINUTES) for _ in range(4)]
    wait_until(lambda: gauge(service, "soundalike_queue_sounds") >= 2)
    for connection in gone:
        connection.close()
    started = time.monotonic()
    assert httpx.post(f"{service.url}/embed", content=SHORT, timeout=20).status_code == 200
    assert time.monotonic() - started < 2, "it waits for none of those that went away"
    wait_until(lambda: gauge(service, "soundalike_queue_sounds") == 0)
    with ThreadPoolExecutor(1) as pool:
        heard = 'soundalike_audio_seconds_total{device="cpu",model="fake"}'
        assert pool.submit(gauge, service, re.escape(heard)).result() < 600


def test_a_slow_upload_stands_in_nobodys_way(service):
    connection = raw(
        service, b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n", SHORT[:1000]
    )
    for _ in range(5):
        connection.sendall(b"x")
        assert httpx.post(f"{service.url}/embed", content=SHORT).status_code == 200
    connection.close()


@pytest.mark.parametrize("declared", [True, False])
def test_two_hundred_megabytes_are_refused_and_not_kept(service, declared):
    before = memory_mb(service)
    megabyte = bytes(1_000_000)
    if declared:
        head = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n"
        pieces = [megabyte] * 200
    else:
        head = b"POST /embed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        pieces = [b"f4240\r\n" + megabyte + b"\r\n"] * 200
    connection = raw(service, head)
    answer = []
    reading = threading.Thread(target=lambda: answer.append(connection.recv(1000)))
    reading.start()
    for piece in pieces:
        if answer:
            break
        try:
            connection.sendall(piece)
        except OSError:
            break
    reading.join(10)
    assert answer[0].startswith(b"HTTP/1.1 413")
    connection.close()
    assert memory_mb(service) - before < 60


def test_ten_thousand_header_lines_are_answered_or_refused(service):
    before = memory_mb(service)
    lines = b"".join(b"X-Line-%d: %s\r\n" % (i, b"y" * 100) for i in range(10_000))
    connection = raw(service, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + lines)
    assert re.match(rb"HTTP/1.1 (200|4\d\d)", connection.recv(1000))
    connection.close()
    assert httpx.get(f"{service.url}/livez").status_code == 200
    assert memory_mb(service) - before < 60


def test_every_request_has_a_line_with_its_id(tmp_path):
    with served(tmp_path) as service:
        httpx.post(f"{service.url}/embed", content=SHORT, headers={"X-Request-ID": "mine-7"})
        # it is written once the answer was sent
        wait_until(lambda: "mine-7" in (tmp_path / "log").read_text())
    line = next(line for line in (tmp_path / "log").read_text().splitlines() if "mine-7" in line)
    assert re.search(r"INFO mine-7 POST '/embed' 200 \d+\.\d ms$", line)


def test_on_sigterm_what_was_begun_is_answered(tmp_path):
    with served(tmp_path, threads=1) as service, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"{service.url}/embed", content=MINUTES, timeout=30)
        wait_until(lambda: gauge(service, "soundalike_queue_sounds") == 1)
        service.send_signal(signal.SIGTERM)
        assert answer.result().status_code == 200
        assert service.wait(10) in (0, -signal.SIGTERM)


def overload(tmp_path, seconds, clients=20):
    """Ten times what can wait, all the time; gives statuses with times, and growth in megabytes."""
    minute = encoded(np.tile(noise(10.0, 44_100), (6, 1)), 44_100)
    with served(tmp_path, threads=1, queue_seconds=120) as service:
        httpx.post(f"{service.url}/embed", content=minute, timeout=30)
        before, ends = memory_mb(service), time.monotonic() + seconds

        def ask(_):
            told = []
            while time.monotonic() < ends:
                answer = httpx.post(f"{service.url}/embed", content=minute, timeout=30)
                told.append((answer.status_code, answer.json().get("ms")))
                if answer.status_code == 429:
                    assert int(answer.headers["retry-after"]) >= 1
            return told

        with ThreadPoolExecutor(clients) as pool:
            told = [one for some in pool.map(ask, range(clients)) for one in some]
        grown = memory_mb(service) - before
        wait_until(lambda: gauge(service, "soundalike_queue_sounds") == 0, 3)
        assert httpx.get(f"{service.url}/readyz").status_code == 200
    return told, grown


def check_overload(told, grown):
    assert {status for status, _ in told} == {200, 429}
    waited = sorted(ms.pop("queue") for status, ms in told if status == 200)
    longest_work = max(sum(ms.values()) for status, ms in told if status == 200)
    # there is room for two: one that is worked on, and one that waits for it
    assert waited[int(0.99 * (len(waited) - 1))] < 1.5 * longest_work + 100
    assert grown < 150


def test_overload_is_refused_and_leaves_nothing_behind(tmp_path):
    check_overload(*overload(tmp_path, 3))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_minute_of_overload_is_refused_and_leaves_nothing_behind(tmp_path):
    check_overload(*overload(tmp_path, 60))
