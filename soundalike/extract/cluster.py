"""Hands that hear files on the machines of a Ray cluster.

::

    driver: task -> desk -> Ray Data: actors that hold the models -> what they tell -> driver

The driver lays a task on the desk only once there are hands free for it, so
that neither it nor the cluster holds more than what is at hand. What is to be
heard, what is there already and what is written is decided by the driver, as
on one machine.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from soundalike.errors import BadRequest, SoundalikeError
from soundalike.extract import ears
from soundalike.extract.folder import Hear, Task
from soundalike.extract.listener import Told
from soundalike.extract.outputs import Model
from soundalike.extract.parcel import unpacked
from soundalike.extract.workers import BYTES_BESIDE_WEIGHTS, COPIES_OF_WEIGHTS

LOCAL, AUTO = "local", "auto"
ANSWERS_WITHIN_S = 10.0
AT_HAND = 2  # files for each actor: one that it hears, one that it hears next
ONE_BLOCK_A_FILE = 1  # bytes: whatever is larger makes a block, and is handed on at once
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to whoever makes Ray
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # it warns of actors that Ray Data itself makes
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # it prints what goes wrong among JSON
}


def hands(
    models: Sequence[Model],
    address: str,
    jobs: int | None = None,
    *,
    send_files: bool = False,
    max_seconds: float | None = None,
) -> Hear:
    """Make what hears files on a cluster.

    An actor holds all models and hears one file at a time. It has a GPU where the cluster has any
    and a model has weights, else a core. What a machine was at when it went is heard again on
    another.

    Parameters
    ----------
    models : sequence of Model
        Those that will be asked for.
    address : str
        Of the cluster, such as ``10.0.0.1:6379``; ``"auto"`` is the one this machine belongs to,
        ``"local"`` one that is made of this machine for as long as it is needed.
    jobs : int, optional
        How many actors; by default as many as there are GPUs, which more of them share, or cores
        as far as the machines' memory holds the models so many times.
    send_files : bool
        Read the files here and send them; otherwise each machine reads them under the same path.
    max_seconds : float, optional
        The longest sound that is taken.

    Returns
    -------
    callable
        See `Hear`. It connects to the cluster once the first file is there.

    Raises
    ------
    BadRequest
        Ray is not installed, or the address is none.
    """
    _check(address)
    for name, value in QUIET.items():  # read as it is imported
        os.environ.setdefault(name, value)
    try:
        import ray.data  # noqa: F401
    except ImportError:
        raise BadRequest("A cluster needs Ray: pip install 'soundalike[cluster]'.") from None
    job = _Job(tuple(models), jobs, send_files, max_seconds)

    def hear(tasks: Iterable[Task]) -> Generator[tuple[Task, Told], None, None]:
        left = iter(tasks)
        for first in left:  # where there is none, no cluster is needed
            with _connected(address):
                yield from job.hear(chain([first], left))

    return hear


@dataclass(frozen=True, slots=True)
class _Job:
    models: tuple[Model, ...]
    jobs: int | None
    send_files: bool
    max_seconds: float | None

    def hear(self, tasks: Iterator[Task]) -> Generator[tuple[Task, Told], None, None]:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actors, needs = self._actors(ray.cluster_resources())
        here = ray.get_runtime_context().get_node_id()
        # what is laid down beside the driver is not lost with any other machine
        beside = NodeAffinitySchedulingStrategy(here, soft=False)
        desk = ray.remote(ears.Desk).options(num_cpus=0, scheduling_strategy=beside).remote()
        at_hand: dict[int, Task] = {}
        numbered = enumerate(chain(tasks, [None]))

        def lay_down() -> None:
            while len(at_hand) < AT_HAND * actors and (one := next(numbered, None)):
                number, task = one
                ray.get(desk.lay.remote(number, task and self._row(task)))
                if task:
                    at_hand[number] = task

        lay_down()
        for number, content in _told(self._pipeline(desk, here, actors, needs)):
            if number in at_hand:  # and was not told of before its machine went
                ray.get(desk.clear.remote(number))
                yield at_hand.pop(number), unpacked(content)
                lay_down()

    def _actors(self, there: Mapping[str, float]) -> tuple[int, dict[str, float]]:
        """Say how many actors there are to be, and what each needs."""
        weights = sum(model.weights_bytes for model in self.models)
        gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
        if gpus and weights:
            actors = self.jobs or gpus
            return actors, {"num_cpus": 1, "num_gpus": 1 / math.ceil(actors / gpus)}
        memory = BYTES_BESIDE_WEIGHTS + COPIES_OF_WEIGHTS * weights
        fitting = int(there.get("memory", memory) / memory)
        return self.jobs or max(1, min(cpus, fitting)), {"num_cpus": 1, "memory": memory}

    def _row(self, task: Task) -> dict[str, Any]:
        path = task.found.path.absolute()
        return {
            "path": os.fspath(path),
            "sha256": task.content.sha256,
            "models": list(task.models),
            "content": _bytes(path) if self.send_files else None,
        }

    def _pipeline(self, desk: Any, here: str, actors: int, needs: Mapping[str, float]) -> Any:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.target_max_block_size = ONE_BLOCK_A_FILE
        spaces = {model.name: model.space for model in self.models}
        taken = ray.data.from_items([None], override_num_blocks=1).map_batches(
            ears.taken,
            fn_args=[desk],
            batch_format="pyarrow",
            num_cpus=0,
            label_selector={"ray.io/node-id": here},
        )
        return taken.map_batches(
            ears.Ears,
            fn_constructor_args=[desk, spaces, self.max_seconds],
            batch_size=1,
            batch_format="pyarrow",
            # where it may shrink, the actors of a machine that went find room in the end
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=actors,
                initial_size=actors,
                max_tasks_in_flight_per_actor=AT_HAND,
            ),
            **needs,
        )


def _told(dataset: Any) -> Iterator[tuple[int, bytes]]:
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from zip(block["number"].to_pylist(), block["told"].to_pylist(), strict=True)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # it went just now; whoever is to hear it will not find it either
        return None


def _check(address: str) -> None:
    host, _, port = address.rpartition(":")
    if address not in (LOCAL, AUTO) and not (host and port.isdecimal() and "/" not in host):
        raise BadRequest(
            f"'{address}' is no address of a Ray cluster; it is host:port, '{AUTO}' or '{LOCAL}'. "
            "With ray:// this machine would not be one of the cluster's, as it has to be."
        )


def _reach(address: str) -> None:
    """Raise OSError where nobody answers at once: Ray goes on for minutes before it gives up."""
    if address not in (LOCAL, AUTO):
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN_S).close()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep SIGTERM for this process, and keep what it does here.

    Where it is sent to all of a group, what Ray has started is to go on until the files at hand are
    done, and inherits that it is deaf to it. What it does here, Ray sets anew in the main thread.
    """
    before = signal.getsignal(signal.SIGTERM)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Belong to a cluster, and turn what Ray says of it into a fault of ours."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    alone = {"include_dashboard": False} if address == LOCAL else {}
    try:
        _reach(address)
        with _own_sigterm():
            ray.init(address, logging_level="ERROR", log_to_driver=False, **alone)
    except Exception as error:  # Ray has nothing narrower for a start that takes it too long
        raise BadRequest(
            f"There is no Ray cluster at '{address}' ({str(error).partition(chr(10))[0]}); start "
            "one with ray start --head, or say --ray local."
        ) from error
    try:
        yield
    except ray.exceptions.RayError as error:
        raise SoundalikeError(
            f"The cluster gave up: {str(error).strip().rpartition(chr(10))[2]} What was written is "
            "whole; go on with --skip_existing."
        ) from error
    finally:
        ray.shutdown()
