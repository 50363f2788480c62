"""`soundalike serve`: start the embedder, the recommender, or both."""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from soundalike.cli.common import (
    EMBEDDER_PORT,
    RECOMMENDER_PORT,
    data_dir,
    first_key,
    one_thread_a_sound,
)
from soundalike.cli.index import find_sounds
from soundalike.errors import BadRequest, SoundalikeError

SERVICES = {
    "embedder": ("services.embedder.app:create_app", EMBEDDER_PORT),
    "recommender": ("services.recommender.app:create_app", RECOMMENDER_PORT),
}
READY_WITHIN_S = 120
STOPPED_WITHIN_S = 15
POLL_S = 0.2
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # read by the library that counts
ANY_OR_LOOPBACK = ("127.0.0.1", "0.0.0.0", "::", "::1")  # noqa: S104  (compared, not bound)

TRY_NEXT = """
Ready. Try next:

  curl -F file=@{sound} {embedder}/embed
  curl -s -F file=@{sound} {embedder}/embed | curl -d @- {recommender}/recommend
  curl -F file=@{sound} {recommender}/recommend/audio

The embedder is at {embedder}, the recommender at {recommender}; Ctrl-C stops both.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("service", choices=[*SERVICES, "all"], help="which of them")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port",
        type=int,
        default=None,
        help="embedder 8001, recommender 8002; with 'all' the first of two that follow each other",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that serve the recommender, about one a core (%(default)s)",
    )
    parser.add_argument("--log-level", default="info", help="debug, info, warning (%(default)s)")
    parser.add_argument(
        "--fill",
        metavar="demo|FOLDER",
        default=None,
        help="with 'all': what to index once both are up",
    )
    parser.add_argument(
        "--fetch",
        action="store_true",
        help="with 'all': fetch the weights of the best embedder meanwhile",
    )


def run(args: argparse.Namespace) -> int:
    """Start what was asked for and stay until it is stopped."""
    if args.workers < 1 or (args.workers > 1 and args.service == "embedder"):
        raise BadRequest("--workers is at least 1, and for the recommender alone.")
    if args.service == "all":
        both = _Both(args.host, args.port or EMBEDDER_PORT, args.log_level, args.workers)
        return both.run(args.fill, fetch=args.fetch)
    if args.fill is not None or args.fetch:
        raise BadRequest("--fill and --fetch go with 'serve all' alone.")
    return _serve_one(args)


def _serve_one(args: argparse.Namespace) -> int:
    try:
        import uvicorn
    except ImportError:
        raise BadRequest(
            f"Serving needs an extra: pip install 'soundalike[{args.service}]'."
        ) from None
    if args.service == "embedder":
        one_thread_a_sound()
    application, usual_port = SERVICES[args.service]
    with _counting_together() if args.workers > 1 else nullcontext():
        uvicorn.run(
            application,
            factory=True,
            host=args.host,
            port=args.port or usual_port,
            log_level=args.log_level,
            access_log=False,  # the services write a line a request themselves, with its id
            workers=args.workers,
        )
    return 0


@contextmanager
def _counting_together() -> Iterator[None]:
    """Give worker processes a folder in which they add up what each has counted."""
    with tempfile.TemporaryDirectory(prefix="soundalike-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        yield


class _Both:
    """Both services as child processes, stopped together."""

    def __init__(self, host: str, port: int, log_level: str, workers: int) -> None:
        self.host, self.ports, self.log_level = host, (port, port + 1), log_level
        self.more = {"embedder": [], "recommender": ["--workers", str(workers)]}
        reached = "localhost" if host in ANY_OR_LOOPBACK else host
        self.embedder, self.recommender = (f"http://{reached}:{own}" for own in self.ports)
        # the fill and the note are asked for with a key, where keys are set
        self.api_key = os.environ.get("SOUNDALIKE_API_KEY") or first_key()
        self.environment = {
            **os.environ,
            **({"SOUNDALIKE_API_KEY": self.api_key} if self.api_key else {}),
            "SOUNDALIKE_EMBEDDER_URL": self.embedder,
            "SOUNDALIKE_RECOMMENDER_URL": self.recommender,
        }
        self.children: list[subprocess.Popen[bytes]] = []
        self.fetching: subprocess.Popen[bytes] | None = None

    def run(self, fill: str | None, *, fetch: bool) -> int:
        for port in self.ports:
            self._make_sure_it_is_free(port)
        try:
            for service, port in zip(SERVICES, self.ports, strict=True):
                where = ["--host", self.host, "--port", str(port), "--log-level", self.log_level]
                self.children.append(self._start("serve", service, *where, *self.more[service]))
            self._wait_until_ready()
            if fetch:
                self._fetch_the_best()
            sound = self._fill(fill)
            urls = {"embedder": self.embedder, "recommender": self.recommender}
            print(TRY_NEXT.format(sound=sound, **urls), flush=True)
            self._offer_the_best()
            return self._wait_until_one_ends()
        except KeyboardInterrupt:
            return 0
        finally:
            self._stop()

    def _make_sure_it_is_free(self, port: int) -> None:
        """Refuse a port that is taken: what listens there would pass for our own service."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, port))
            except OSError as error:
                raise SoundalikeError(
                    f"Port {port} cannot be used ({error.strerror}); stop what listens there, or "
                    "choose another with --port."
                ) from None

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  (this very program)
            [sys.executable, "-m", "soundalike", *arguments], env=self.environment
        )

    def _wait_until_ready(self) -> None:
        from soundalike.client import Client

        deadline = time.monotonic() + READY_WITHIN_S
        with Client(self.embedder, self.recommender) as services:
            while True:
                ended = [child for child in self.children if child.poll() is not None]
                if ended or time.monotonic() > deadline:
                    raise SoundalikeError(
                        f"A service did not start on port {self.ports[0]} or {self.ports[1]}; "
                        "what it said stands above."
                    )
                if services.embedder.ready() and services.recommender.ready():
                    return
                time.sleep(POLL_S)

    def _fetch_the_best(self) -> None:
        from soundalike.embedders.choice import PREFERENCE

        self.fetching = self._start("models", "pull", PREFERENCE[0], "--quiet")

    def _offer_the_best(self) -> None:
        """Say what would bring a better embedder, unless it is being fetched."""
        from soundalike.client import Client

        with Client(self.embedder, self.recommender, self.api_key) as services:
            note = services.embedder.request("GET", "/models").get("note")
        if note and self.fetching is None:
            print(note, flush=True)

    def _fill(self, fill: str | None) -> str:
        """Index what was asked for; give a sound to try, quoted for the shell."""
        if fill is None:
            return "some.wav"
        verb = ["demo"] if fill == "demo" else ["index", fill]
        self._start(*verb).wait()
        folder = data_dir() / "demo" if fill == "demo" else Path(fill).expanduser()
        try:
            return shlex.quote(os.path.relpath(find_sounds(folder)[0].path))
        except BadRequest:
            return "some.wav"

    def _wait_until_one_ends(self) -> int:
        while all(child.poll() is None for child in self.children):
            time.sleep(POLL_S)
        print("A service ended by itself; the other is stopped.", file=sys.stderr)
        return 1

    def _stop(self) -> None:
        children = [*self.children, *([self.fetching] if self.fetching else [])]
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
