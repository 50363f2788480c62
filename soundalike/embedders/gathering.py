"""Where the files of a model are gathered and checked before they are put in their place."""

from __future__ import annotations

import errno
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soundalike.embedders import weights
from soundalike.embedders.notes import file_digest
from soundalike.embedders.reading import SAFE_SUFFIX
from soundalike.embedders.weights import Source, models_dir
from soundalike.errors import Quarantined, StorageFull, WeightsMissing

FULL = (errno.ENOSPC, errno.EDQUOT)
GATHERING = ".gathering"


@contextmanager
def gathering(key: str) -> Iterator[Path]:
    """Give the folder in which the files of a model are gathered, to one process at a time."""
    folder = models_dir() / GATHERING / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            _lock(lock.fileno(), key)
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if error.errno in FULL:
            raise _full(key) from error
        raise WeightsMissing(
            f"'{error.filename or folder}' cannot be used ({error.strerror}); set "
            "SOUNDALIKE_MODELS_DIR to a folder that can be written."
        ) from error


def _lock(descriptor: int, key: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WeightsMissing(f"'{key}' is being fetched by another process.") from None


@contextmanager
def emptied(place: Path) -> Iterator[Path]:
    """Give an empty folder, and take it away after use."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def convert(key: str, source: Source, place: Path) -> None:
    """Read weights that were gathered, and convert them where they are not safetensors.

    Raises
    ------
    Quarantined
        They cannot be read safely; what was gathered is thrown away.
    """
    path = weights.weights_file(place, source)
    if path is not None and path.suffix != SAFE_SUFFIX:
        make_sure_it_fits(key, path.stat().st_size)
    try:
        weights.make_safe(place, source)
    except Quarantined as fault:
        shutil.rmtree(place)
        raise Quarantined(
            f"What came for '{key}' {fault.facts['why']}. It was thrown away, and what was here "
            "before stays; get it again from a source you trust.",
            **fault.facts,
        ) from fault


def check_size(name: str, path: Path, expected: int | None) -> None:
    """Refuse a file of another size than is expected, where one is.

    Raises
    ------
    Quarantined
    """
    got = path.stat().st_size
    if expected is not None and got != expected:
        raise Quarantined(
            f"{name} has {got:,} bytes and should have {expected:,}; it was thrown away. Run the "
            "same command again.",
            got=got,
            expected=expected,
        )


def check_digest(name: str, path: Path, expected: str | None) -> None:
    """Refuse a file whose SHA-256 does not begin as is expected, where that is known.

    Raises
    ------
    Quarantined
    """
    if expected is None:
        return
    got = file_digest(path)
    if not got.startswith(expected):
        raise Quarantined(
            f"{name} is not the file that was released: its SHA-256 is {got} and should be "
            f"{expected}. It was thrown away; run the same command again, and where it stays so, "
            "look for what changes it on its way.",
            got=got,
            expected=expected,
        )


def make_sure_it_fits(key: str, needed_bytes: int) -> None:
    """Find out beforehand that the disk is too full.

    Raises
    ------
    StorageFull
    """
    free = shutil.disk_usage(models_dir()).free
    if needed_bytes > free:
        raise _full(key, f" ({needed_bytes:,} bytes are needed and {free:,} are free)")


def _full(key: str, numbers: str = "") -> StorageFull:
    return StorageFull(
        f"The disk of '{models_dir()}' has no room for '{key}'{numbers}; make room, or set "
        "SOUNDALIKE_MODELS_DIR to a folder on another disk, and run the same command again."
    )
