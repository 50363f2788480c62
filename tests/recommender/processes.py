"""The recommender as its users start it: a process of its own, with workers or without."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

STARTS_WITHIN_S = 60
POLL_S = 0.05


def wait_until(true, within_s=STARTS_WITHIN_S):
    """Wait for a condition; give what it gave."""
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"waited {within_s} s in vain"
        time.sleep(POLL_S)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid):
    """The processes that a process started, by their numbers."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_worker(pid):
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Service:
    """A started service."""

    def __init__(self, folder, *arguments, port=None, **settings):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        names = {f"SOUNDALIKE_{name.upper()}": str(said) for name, said in settings.items()}
        environment = {
            **os.environ, "SOUNDALIKE_DATA_DIR": str(folder), "OMP_NUM_THREADS": "1", **names,
        }  # fmt: skip
        command = [sys.executable, "-m", "soundalike", "serve", "recommender"]
        command += ["--port", str(self.port), "--log-level", "warning", *arguments]
        self.process = subprocess.Popen(command, env=environment)

    def wait_until_ready(self):
        wait_until(self.ready)

    def ready(self):
        assert self.process.poll() is None, "the service ended by itself"
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def workers(self):
        """The processes that answer, where there are several."""
        return [pid for pid in children(self.process.pid) if is_worker(pid)]

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(STARTS_WITHIN_S)

    def client(self):
        """A client of one connection, kept alive: all it asks is answered by one worker."""
        return httpx.Client(base_url=self.url, timeout=60, limits=httpx.Limits(max_connections=1))

    def answering(self, client):
        """Which worker is at the other end of a client's connection."""
        stream = client.get("/livez").extensions["network_stream"]
        end = f"0100007F:{stream.get_extra_info('client_addr')[1]:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        inode = next(row[9] for row in rows if row[2] == end)
        for pid in self.workers():
            for file in Path(f"/proc/{pid}/fd").iterdir():
                if str(file.readlink()) == f"socket:[{inode}]":
                    return pid
        raise AssertionError("no worker holds the connection")

    @contextmanager
    def a_client_each(self):
        """A client for each worker."""
        found, others = {}, []

        def all_met():
            client = self.client()
            met = found.setdefault(self.answering(client), client)
            others.extend([client] if met is not client else [])
            return len(found) == len(self.workers())

        try:
            wait_until(all_met)
            yield list(found.values())
        finally:
            for client in [*found.values(), *others]:
                client.close()


@contextmanager
def running(folder, *arguments, **settings):
    """Run a service until the block ends; it is killed where it did not stop by itself."""
    service = Service(folder, *arguments, **settings)
    try:
        service.wait_until_ready()
        yield service
    finally:
        for pid in [*service.workers(), service.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        service.process.wait()
