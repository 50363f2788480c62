"""Requests over bare sockets, and what they cost the server.

The requests are written before the clock runs and their answers are read by length alone, so that
what makes the load takes little of what is measured; and what is measured is the processor time of
the server's processes, which does not depend on how busy the machine is.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 3600  # an index of a million is long in the making
JSON, NPY, NDJSON = "application/json", "application/x-npy", "application/x-ndjson"
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Cost:
    """What requests cost: processor seconds of the server, by the clock, and by the clock each."""

    cpu_s: float
    wall_s: float
    latencies_s: list[float]

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request(method: str, path: str, body: bytes = b"", kind: str = JSON) -> bytes:
    """Write a request as it goes over the wire."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, raw: bytes) -> bytes:
        """Send a request and give the body of its answer, which must be a success."""
        self.socket.sendall(raw)
        received = b""
        while HEAD_END not in received:
            received += self._more()
        head, _, body = received.partition(HEAD_END)
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        parts, got = [body], len(body)
        while got < length:
            parts.append(self._more())
            got += len(parts[-1])
        if head.split(b" ", 2)[1][:1] != b"2":
            raise RuntimeError((head + b"".join(parts)).decode(errors="replace")[:1000])
        return b"".join(parts)

    def _more(self) -> bytes:
        some = self.socket.recv(1 << 18)
        if not some:
            raise ConnectionError("the server hung up")
        return some

    def close(self) -> None:
        self.socket.close()


@contextmanager
def connected(port: int) -> Iterator[Connection]:
    connection = Connection(port)
    try:
        yield connection
    finally:
        connection.close()


def family(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """Count the processor seconds of a process, its children, and those that ended."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # user and system, its own and of ended children
    return ticks / TICKS


def memory_mb(pid: int, field: str) -> float:
    """Add up a field of /proc/PID/smaps_rollup, Rss or Pss, in megabytes."""
    total = 0
    for one in family(pid):
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return total * 1024 / 1e6


def drive(port: int, pid: int, requests: Sequence[bytes], connections: int = 1) -> Cost:
    """Send requests over some connections, one after the other on each."""
    latencies: list[float] = []
    faults: list[Exception] = []

    def send(own: Iterator[bytes]) -> None:
        try:
            with connected(port) as connection:
                for raw in own:
                    began = time.perf_counter()
                    connection.ask(raw)
                    latencies.append(time.perf_counter() - began)
        except (OSError, RuntimeError) as fault:
            faults.append(fault)

    threads = [
        threading.Thread(target=send, args=(islice(requests, start, None, connections),))
        for start in range(connections)
    ]
    cpu_before, began = cpu_s(pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return Cost(cpu_s(pid) - cpu_before, time.perf_counter() - began, latencies)
