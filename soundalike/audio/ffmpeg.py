"""Containers that libsndfile does not open, through the ffmpeg program."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from soundalike.errors import UndecodableAudio

TIMEOUT_S = 300


@contextmanager
def as_wav(file: BinaryIO, demuxer: str, name: str, limit_s: float | None) -> Iterator[BinaryIO]:
    """Decode a file to a WAV of 32-bit floats.

    ffmpeg is told the container by name and may read nothing but the file it
    is given: a playlist sent as music cannot make it open anything else.

    Parameters
    ----------
    file : binary file
        What to decode, read from its beginning.
    demuxer : str
        ffmpeg's name of the container.
    name : str
        The container's usual name, for messages.
    limit_s : float, optional
        How many seconds to decode at the most.

    Yields
    ------
    binary file
        The WAV, on disk while the context lasts.

    Raises
    ------
    UndecodableAudio
        Where ffmpeg is not installed, or finds no sound in the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise UndecodableAudio(
            f"{name} is decoded by ffmpeg, which is not installed here; "
            "install it, or send WAV, FLAC, OGG, MP3 or AIFF."
        )
    with (
        tempfile.NamedTemporaryFile() as encoded,
        tempfile.NamedTemporaryFile(suffix=".wav") as decoded,
    ):
        file.seek(0)
        shutil.copyfileobj(file, encoded)
        encoded.flush()
        command = [program, "-nostdin", "-v", "error", "-y"]
        command += ["-protocol_whitelist", "file", "-f", demuxer, "-i", encoded.name]
        command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav"]
        command += [] if limit_s is None else ["-t", str(limit_s)]
        _run([*command, decoded.name], name)
        decoded.seek(0)
        yield decoded.file  # type: ignore[misc]  # a BinaryIO in all but its declared type


def _run(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603  (no shell; every argument is ours)
            command, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UndecodableAudio(f"ffmpeg did not decode this {name} in {TIMEOUT_S} s.") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UndecodableAudio(f"ffmpeg cannot decode this {name}: {last}")
