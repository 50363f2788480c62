"""The embedder service as a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time

import httpx


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(tmp_path, model="fake", **settings):
    """Start it; gives its process, with its address as `url`, and stops it."""
    port = free_port()
    environment = {f"SOUNDALIKE_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "SOUNDALIKE_MODEL": model, **environment}
    environment["SOUNDALIKE_DATA_DIR"] = str(tmp_path)
    command = [sys.executable, "-m", "soundalike", "serve", "embedder", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
    process.url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(process)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process):
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{process.url}/readyz").status_code == 200:
                return
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def memory_mb(process):
    """How much of the machine's memory a process takes now."""
    with open(f"/proc/{process.pid}/statm") as told:  # noqa: PTH123  (no file of ours)
        return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
