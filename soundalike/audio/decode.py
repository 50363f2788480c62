"""From the bytes of a file to a clip."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from soundalike.audio import containers, ffmpeg, gate
from soundalike.errors import TooLong, UndecodableAudio
from soundalike.types import Clip, FloatArray

BLOCK_VALUES = 1 << 14  # a block in which the data go bad is lost, so blocks are small
FULL_SCALE = 32767 / 32768  # the loudest sample of 16 bits
# above this rate the limit on seconds shrinks, so that the limit on memory holds
ORDINARY_RATE_HZ = 192_000


@dataclass(frozen=True, slots=True)
class _Wish:
    """How a sound is to be read; see `decode`."""

    max_seconds: float | None
    first_s: float | None
    mono: bool


def decode(
    source: BinaryIO | bytes | Path,
    *,
    max_seconds: float | None = None,
    first_s: float | None = None,
    mono: bool = False,
) -> Clip:
    """Decode a sound.

    WAV, FLAC, OGG, MP3, AIFF and what else libsndfile opens; M4A, AAC, WMA
    and their like through ffmpeg, where that is installed.

    Parameters
    ----------
    source : binary file, bytes or path
        What to decode. A file must be seekable; it is left open.
    max_seconds : float, optional
        The longest sound that is accepted. It holds while reading, whatever
        the file's header says.
    first_s : float, optional
        Read so many seconds from the beginning and no more.
    mono : bool
        Mix the channels down to their mean.

    Returns
    -------
    Clip
        Past the gate: float32, finite, not empty. `truncated` where the file
        was cut off but something was left.

    Raises
    ------
    UndecodableAudio, TooLong, BadRate, BadSamples
    OSError
        Where a path cannot be read.
    """
    if isinstance(source, Path):
        # opened by number, soundfile does not see the name and cannot guess from its ending
        with source.open("rb") as named, open(named.fileno(), "rb", closefd=False) as opened:
            return decode(opened, max_seconds=max_seconds, first_s=first_s, mono=mono)
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    clip = _decode_file(file, _Wish(max_seconds, first_s, mono))
    return gate.check(clip)


def _decode_file(file: BinaryIO, wish: _Wish) -> Clip:
    cut = containers.is_cut(file)
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        return _through_ffmpeg(file, wish, str(error))
    with sound:
        return _read(sound, _usual_name(sound.format), cut, wish)


def _through_ffmpeg(file: BinaryIO, wish: _Wish, complaint: str) -> Clip:
    recognised = containers.ffmpeg_demuxer(file)
    if recognised is None:
        raise UndecodableAudio(
            f"This is not audio that can be decoded ({complaint.rpartition(': ')[2].rstrip('.')}); "
            "send WAV, FLAC, OGG, MP3 or AIFF."
        )
    demuxer, name = recognised
    # one second more than is allowed, so that the limit below is seen to be passed
    limit_s = wish.first_s if wish.max_seconds is None else wish.max_seconds + 1
    with ffmpeg.as_wav(file, demuxer, name, limit_s) as wav, soundfile.SoundFile(wav) as sound:
        return _read(sound, name, False, wish)


def _usual_name(container: str) -> str:
    return "WAV" if container in ("WAVEX", "RF64") else container


def _read(sound: Any, container: str, cut: bool, wish: _Wish) -> Clip:
    """Read an open sound block by block, under the limit."""
    gate.check_rate(sound.samplerate)
    budget = _samples_allowed(sound.samplerate, wish.max_seconds)
    if budget is not None and 0 < sound.frames < np.iinfo(np.int64).max:
        _check_length(sound.frames, sound.samplerate, budget, wish.max_seconds)
    first = None if wish.first_s is None else math.ceil(wish.first_s * sound.samplerate)
    blocks: list[FloatArray] = []
    read = clipped = 0
    enough = False
    for block in _blocks(sound):
        read += len(block)
        _check_length(read, sound.samplerate, budget, wish.max_seconds)
        clipped += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
        blocks.append(_mean(block) if wish.mono else block)
        enough = first is not None and read >= first
        if enough:
            break
    channels = 1 if wish.mono else sound.channels
    samples = np.concatenate(blocks) if blocks else np.empty((0, channels), np.float32)
    return Clip(
        samples=np.ascontiguousarray(samples[:first].T),
        sample_rate=sound.samplerate,
        format=container,
        source_channels=sound.channels,
        truncated=cut or (read < sound.frames and not enough),
        clipped=clipped / max(1, read * sound.channels),
    )


def _samples_allowed(sample_rate: int, max_seconds: float | None) -> int | None:
    return None if max_seconds is None else int(max_seconds * min(sample_rate, ORDINARY_RATE_HZ))


def _check_length(
    samples: int, sample_rate: int, budget: int | None, max_seconds: float | None
) -> None:
    if budget is None or samples <= budget:
        return
    limit = budget / sample_rate
    raise TooLong(
        f"The sound lasts {samples / sample_rate:,.1f} seconds or more, and at most {limit:,.1f} "
        f"are taken at {sample_rate} Hz; cut it, or raise SOUNDALIKE_MAX_SECONDS "
        f"(now {max_seconds:g}).",
        limit=limit,
        got=samples / sample_rate,
    )


def _blocks(sound: Any) -> Iterator[FloatArray]:
    """Yield blocks of shape (samples, channels) until the sound ends or its data go bad."""
    size = max(1, BLOCK_VALUES // sound.channels)
    while True:
        try:
            block = sound.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            return  # what came before the damage is used; the clip says that it is truncated
        if not len(block):
            return
        yield block


def _mean(block: FloatArray) -> FloatArray:
    channels = block.shape[1]
    if channels == 1:
        return block
    # a product with a constant vector is several times quicker than a mean over a short axis
    weights = np.full((channels, 1), 1 / channels, np.float32)
    return block @ weights
