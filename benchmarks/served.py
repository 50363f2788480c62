"""The services as processes of their own, asked over HTTP."""

from __future__ import annotations

import io
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from load import NDJSON, NPY, Connection, Cost, connected, drive, memory_mb, request
from vectors import Data, K, Vectors

HERE = Path(__file__).parent
ITEMS_AT_ONCE, BATCH = 1000, 64
READY_WITHIN_S = 120
NEW_IDS = iter(range(1 << 40))


@dataclass
class Served:
    """A service that was started, and what each round of requests to it cost."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    batch_path: str = "/recommend"
    rounds: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        with connected(self.port) as connection:
            content = b"" if body is None else json.dumps(body).encode()
            return json.loads(connection.ask(request(method, path, content)) or b"null")

    def drive(self, requests: Sequence[bytes], connections: int = 1) -> Cost:
        return drive(self.port, self.process.pid, requests, connections)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def started(
    name: str, command: Callable[[int], list[str]], batch_path: str = "/recommend", **settings: Any
) -> Iterator[Served]:
    port = free_port()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{k: str(v) for k, v in settings.items()}}
    process = subprocess.Popen([sys.executable, "-m", *command(port)], env=environment)
    try:
        _wait_until_ready(port)
        yield Served(name, port, process, batch_path)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            with connected(port) as connection:
                connection.ask(request("GET", "/openapi.json"))
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def plain(folder: Path, dim: int, search_k: int) -> Any:
    """Start what plain_endpoint.py holds."""

    def command(port: int) -> list[str]:
        app = ["uvicorn", "plain_endpoint:app", "--app-dir", str(HERE)]
        return [*app, "--port", str(port), "--log-level", "warning"]

    facts = {"PLAIN_FOLDER": folder, "PLAIN_DIM": dim, "PLAIN_SEARCH_K": search_k}
    return started("plain FastAPI, pydantic, Annoy", command, "/recommend/batch", **facts)


def ours(folder: Path, engine: str, workers: int = 1) -> Any:
    def command(port: int) -> list[str]:
        serve = ["soundalike", "serve", "recommender", "--port", str(port)]
        return [*serve, "--workers", str(workers), "--log-level", "warning"]

    name = f"ours, {engine}" + (f", {workers} workers" if workers > 1 else "")
    return started(name, command, SOUNDALIKE_DATA_DIR=folder, SOUNDALIKE_ENGINE=engine)


def item(row: int, vector: Vectors) -> dict[str, Any]:
    return {"id": f"{row:08}", "vector": vector.tolist(), "metadata": {"row": row, "label": "x"}}


def fill(service: Served, data: Data) -> None:
    """Put everything into the default collection and index it; notes how long that took."""
    dim = data.vectors.shape[1]
    service.ask("PUT", "/collections/default", {"space": "benchmark/1", "dim": dim})
    began = time.perf_counter()
    with connected(service.port) as connection:
        for start in range(0, len(data.vectors), ITEMS_AT_ONCE):
            rows = range(start, min(start + ITEMS_AT_ONCE, len(data.vectors)))
            lines = "\n".join(json.dumps(item(row, data.vectors[row])) for row in rows)
            put = request("PUT", "/collections/default/items", lines.encode(), NDJSON)
            connection.ask(put)
    service.facts["fill_s"] = time.perf_counter() - began
    began = time.perf_counter()
    service.facts["index"] = service.ask("POST", "/collections/default/rebuild")
    service.facts["rebuild_s"] = time.perf_counter() - began


def recall(service: Served, data: Data) -> float:
    with connected(service.port) as connection:

        def search(query: Vectors) -> list[int]:
            told = json.loads(connection.ask(single(query)))
            return [int(one["id"]) for one in told["results"]]

        return data.recall(search)


def single(query: Vectors) -> bytes:
    return request("POST", "/recommend", json.dumps({"vector": query.tolist(), "k": K}).encode())


def batches(service: Served, data: Data, *, as_json: bool) -> list[bytes]:
    """Write requests of 64 queries each."""
    starts = range(0, len(data.queries) - BATCH + 1, BATCH)
    if as_json:
        bodies = [
            {"queries": [{"vector": row} for row in data.queries[s : s + BATCH].tolist()]}
            for s in starts
        ]
        return [request("POST", service.batch_path, json.dumps(body).encode()) for body in bodies]
    return [
        request("POST", f"/recommend?k={K}", _npy(data.queries[s : s + BATCH]), NPY) for s in starts
    ]


def _npy(array: Vectors) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def race(services: Sequence[Served], data: Data, rounds: int, requests: int) -> None:
    """Ask all in turn; notes queries per second of the processor for each kind of request."""
    singles = ([single(query) for query in data.queries] * (1 + requests // len(data.queries)))[
        :requests
    ]
    for _ in range(rounds):
        for one in services:
            kinds = {"single": (singles, 1), "json_64": (batches(one, data, as_json=True), BATCH)}
            if one.batch_path == "/recommend":
                kinds["npy_64"] = (batches(one, data, as_json=False), BATCH)
            for kind, (asked, at_once) in kinds.items():
                cost = one.drive(asked)
                one.rounds.setdefault(kind, []).append(len(asked) * at_once / cost.cpu_s)
                if kind == "single":
                    one.rounds.setdefault("p99_ms", []).append(cost.percentile_ms(0.99))


def measure_writes(service: Served, dim: int, count: int) -> None:
    """Note acknowledged writes a second, and milliseconds from there to an answer that shows it."""
    vectors = np.random.default_rng(1).normal(size=(count, dim)).astype(np.float32)

    def put(rows: Vectors) -> bytes:
        items = [item(10**7 + next(NEW_IDS), row) for row in rows]
        return request("PUT", "/collections/default/items", json.dumps({"items": items}).encode())

    for connections in (1, 8):
        cost = service.drive([put(row[np.newaxis]) for row in vectors], connections)
        service.facts[f"writes_per_s_{connections}"] = count / cost.wall_s
    hundreds = [put(vectors[:100]) for _ in range(5)]
    service.facts["items_per_s_by_100"] = 500 / service.drive(hundreds).wall_s
    service.facts["seen_after_ms"] = statistics.median(
        _seen_after_ms(service.port, vector) for vector in vectors[:100] + 1
    )


def _seen_after_ms(port: int, vector: Vectors) -> float:
    row = 10**7 + next(NEW_IDS)
    body = json.dumps({"items": [item(row, vector)]}).encode()
    with connected(port) as writing, connected(port) as reading:
        writing.ask(request("PUT", "/collections/default/items", body))
        began = time.perf_counter()
        found = json.loads(reading.ask(single(vector)))["results"]
        if found[0]["id"] != f"{row:08}":
            raise RuntimeError("an acknowledged write is not seen")
        return 1000 * (time.perf_counter() - began)


def measure_rebuild(service: Served, data: Data, quiet_s: float) -> None:
    """Note the 99th percentile of single queries without a rebuild and during one."""
    quiet = time.monotonic() + quiet_s
    service.facts["p99_ms_quiet"] = _p99_ms(service, data, lambda: time.monotonic() < quiet)
    rebuild = threading.Thread(target=service.ask, args=("POST", "/collections/default/rebuild"))
    began = time.perf_counter()
    rebuild.start()
    service.facts["p99_ms_rebuilding"] = _p99_ms(service, data, rebuild.is_alive)
    service.facts["rebuild_under_load_s"] = time.perf_counter() - began


def _p99_ms(service: Served, data: Data, go_on: Callable[[], bool]) -> float:
    latencies: list[float] = []
    requests = [single(query) for query in data.queries]
    connection = Connection(service.port)
    while go_on() or len(latencies) < 100:
        began = time.perf_counter()
        connection.ask(requests[len(latencies) % len(requests)])
        latencies.append(time.perf_counter() - began)
    connection.close()
    return Cost(0, 0, latencies).percentile_ms(0.99)


def measure_memory(service: Served) -> None:
    for field_name in ("Rss", "Pss"):
        service.facts[f"{field_name.lower()}_mb"] = memory_mb(service.process.pid, field_name)
