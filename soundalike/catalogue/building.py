"""Index folders are made, and looked into, by processes of their own.

Building takes a core for minutes, and looking into a damaged index can crash
the process that does it, or hold it for ever. Neither may happen to one that
serves. What the child does stands in `builder`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from soundalike.catalogue import files
from soundalike.catalogue import manifest as manifests
from soundalike.catalogue.manifest import Manifest
from soundalike.engines.base import RECALL_TARGET
from soundalike.errors import CatalogueError, DamagedIndex, StorageFull, UnknownCollection

UNFINISHED = ".unfinished"
CHECK_LEAST_S = 30
CHECK_BYTES_A_SECOND = 50_000_000  # on a slow processor
LOOK_EVERY_S = 0.1
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FAULTS = {fault.code: fault for fault in (DamagedIndex, StorageFull, UnknownCollection)}


def build(
    database: Path,
    collection: int,
    folder: Path,
    *,
    engine: str,
    transform: str | None = None,
    refit: bool = True,
    recall_target: float = RECALL_TARGET,
    threads: int = 1,
    stop: threading.Event | None = None,
) -> Manifest:
    """Make an index folder of a collection as it is now; returns when it has been checked.

    Parameters
    ----------
    database : Path
        The catalogue's SQLite file.
    collection : int
        Which collection, by its number there. It must not be empty.
    folder : Path
        Gets its name last, when all of it is on disk and answers rightly;
        must not be there yet. Until then, and for ever where this process is
        killed, its name ends with `UNFINISHED`.
    engine : str
        What is to search.
    transform : str or None
        What is to be done to vectors before they are compared.
    refit : bool
        Fit the transform anew, even where the tables hold it fitted.
    recall_target : float
        See `Engine.build`.
    threads : int
        How many may work at it.
    stop : threading.Event, optional
        Once it is set, the work is given up.

    Returns
    -------
    Manifest
        What was made.

    Raises
    ------
    UnknownCollection
        It was dropped, or holds nothing.
    StorageFull
        The disk is full.
    DamagedIndex
        What was made does not answer rightly.
    CatalogueError
        The process was killed, or failed in another way.
    """
    if folder.exists():
        raise CatalogueError(f"{folder} is there already, and an index folder never changes.")
    unfinished = folder.with_name(folder.name + UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    job = {
        "database": str(database),
        "collection": collection,
        "folder": str(unfinished),
        "engine": engine,
        "transform": transform,
        "refit": refit,
        "recall_target": recall_target,
        "threads": threads,
    }
    try:
        _run({"build": job}, threads=threads, stop=stop)
        check(unfinished, stop=stop)
        files.publish(unfinished, folder)
    except _Ended as ended:
        raise CatalogueError(
            f"The process that made an index {ended}; what there was goes on serving."
        ) from ended
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # once published it is not there
    return manifests.read(folder)


def check(folder: Path, *, limit_s: int | None = None, stop: threading.Event | None = None) -> None:
    """Make sure that a folder is what was written, and that it answers rightly.

    Parameters
    ----------
    folder : Path
        An index folder.
    limit_s : int, optional
        How many seconds of a processor that may take; by default half a
        minute, and more for a large folder.
    stop : threading.Event, optional
        Once it is set, the work is given up.

    Raises
    ------
    DamagedIndex
        It is not, or does not; it crashes whoever opens it, or answers never.
    """
    job = {"check": {"folder": str(folder), "limit_s": limit_s or _limit_s(folder)}}
    try:
        _run(job, threads=1, stop=stop)
    except _Ended as ended:
        raise DamagedIndex(f"The process that looked into the index {folder} {ended}.") from ended


class _Ended(Exception):
    """A child ended without a word; the message is how."""


def _limit_s(folder: Path) -> int:
    size = sum(path.stat().st_size for path in folder.glob("*"))
    return CHECK_LEAST_S + size // CHECK_BYTES_A_SECOND


def _run(job: dict[str, Any], *, threads: int, stop: threading.Event | None) -> None:
    """Do a job in a child; raises what it raised."""
    child = subprocess.Popen(
        [sys.executable, "-m", "soundalike.catalogue.builder"],
        stdin=subprocess.PIPE,  # stays open: when it closes the child knows that we are gone
        stdout=subprocess.PIPE,
        bufsize=0,
        env=os.environ | dict.fromkeys(THREAD_SETTINGS, str(threads)),
    )
    with child:
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018
        try:
            with suppress(BrokenPipeError):  # it has ended already, which is seen below
                child.stdin.write(json.dumps(job).encode() + b"\n")
            _wait(child, stop)
            said = child.stdout.read()
        finally:
            child.kill()
    _understand(child.returncode, said)


def _wait(child: subprocess.Popen[bytes], stop: threading.Event | None) -> None:
    while True:
        try:
            child.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                raise CatalogueError("The work on an index was given up.") from None
        else:
            return


def _understand(status: int, said: bytes) -> None:
    if status < 0:
        raise _Ended(f"was ended by {signal.Signals(-status).name}")
    try:
        told = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        raise _Ended(f"failed with status {status}") from None
    if told is not None:
        raise FAULTS.get(told["code"], CatalogueError)(told["detail"])
