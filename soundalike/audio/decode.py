"""From the bytes of a file to a clip."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
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
USUAL_BYTES_A_SECOND = 16_000


@dataclass(frozen=True, slots=True)
class _Wish:
    """How a sound is to be read; see `decode`."""

    max_seconds: float | None
    first_s: float | None
    mono: bool


class Sound:
    """A sound that is being decoded, or was.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    format : str
        The container as it was found, for example ``"WAV"``.
    source_channels : int
        How many channels the source has, before any mixing down.
    read : int
        Samples of each channel that were read so far.
    clipped : int
        How many of all channels' are at or beyond full scale.
    truncated : bool
        True where the source promised more than it held; known at its end.
    """

    def __init__(
        self,
        sample_rate: int,
        container: str,
        source_channels: int,
        blocks: Iterator[FloatArray],
    ) -> None:
        self.sample_rate = sample_rate
        self.format = container
        self.source_channels = source_channels
        self.read = self.clipped = 0
        self.truncated = False
        self._blocks = blocks

    @classmethod
    def of(cls, clip: Clip) -> Sound:
        """Make the sound that a clip was decoded from."""
        sound = cls(clip.sample_rate, clip.format, clip.source_channels, _slices(clip.samples.T))
        sound.truncated = clip.truncated
        sound.clipped = round(clip.clipped * clip.samples.shape[1] * clip.source_channels)
        return sound

    def blocks(self) -> Iterator[FloatArray]:
        """Read it, once.

        Yields
        ------
        ndarray of float32, shape (samples, channels)
            Past the gate: finite, and no louder than sound can be.

        Raises
        ------
        UndecodableAudio, TooLong, BadSamples
        """
        for block in self._blocks:
            self.read += len(block)
            yield gate.check(block)
        if not self.read:
            raise UndecodableAudio("The file holds no samples; was the recording cut off at once?")

    @property
    def seconds(self) -> float:
        """Duration of what was read."""
        return self.read / self.sample_rate

    @property
    def clipped_share(self) -> float:
        """Share of the samples that are at or beyond full scale, in [0, 1]."""
        return self.clipped / max(1, self.read * self.source_channels)


def decode(
    source: BinaryIO | bytes | Path,
    *,
    max_seconds: float | None = None,
    first_s: float | None = None,
    mono: bool = False,
) -> Clip:
    """Decode a sound whole; see `opened` for what is taken.

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
    with opened(source, max_seconds=max_seconds, first_s=first_s, mono=mono) as sound:
        samples = np.concatenate(list(sound.blocks()))
        return Clip(
            samples=np.ascontiguousarray(samples.T),
            sample_rate=sound.sample_rate,
            format=sound.format,
            source_channels=sound.source_channels,
            truncated=sound.truncated,
            clipped=sound.clipped_share,
        )


@contextmanager
def opened(
    source: BinaryIO | bytes | Path,
    *,
    max_seconds: float | None = None,
    first_s: float | None = None,
    mono: bool = False,
) -> Iterator[Sound]:
    """Open a sound, to be decoded block by block.

    WAV, FLAC, OGG, MP3, AIFF and what else libsndfile opens; M4A, AAC, WMA
    and their like through ffmpeg, where that is installed.

    Parameters
    ----------
    source, max_seconds, first_s, mono
        See `decode`.

    Yields
    ------
    Sound

    Raises
    ------
    UndecodableAudio, TooLong, BadRate
    OSError
        Where a path cannot be read.
    """
    wish = _Wish(max_seconds, first_s, mono)
    with _file(source) as file, _opened_file(file, wish) as sound:
        yield sound


def expected_seconds(file: BinaryIO, most_seconds: float | None = None) -> float:
    """Guess how long a sound lasts, without decoding it.

    Parameters
    ----------
    file : binary file
        Left at its beginning.
    most_seconds : float, optional
        What is longer is not decoded.

    Returns
    -------
    float
        What its header says; where libsndfile cannot tell, what its size allows at a usual bit
        rate. Never more than `most_seconds`.
    """
    try:
        with soundfile.SoundFile(file) as sound:
            seconds = float(sound.frames / sound.samplerate)
    except soundfile.LibsndfileError:
        known = containers.ffmpeg_demuxer(file) is not None
        seconds = file.seek(0, io.SEEK_END) / USUAL_BYTES_A_SECOND if known else 0.0
    file.seek(0)
    return seconds if most_seconds is None else min(seconds, most_seconds)


@contextmanager
def _file(source: BinaryIO | bytes | Path) -> Iterator[BinaryIO]:
    if isinstance(source, Path):
        # opened by number, soundfile does not see the name and cannot guess from its ending
        with source.open("rb") as named, open(named.fileno(), "rb", closefd=False) as file:
            yield file
    else:
        yield io.BytesIO(source) if isinstance(source, bytes) else source


@contextmanager
def _opened_file(file: BinaryIO, wish: _Wish) -> Iterator[Sound]:
    cut = containers.is_cut(file)
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        with _through_ffmpeg(file, wish, str(error)) as decoded:
            yield decoded
        return
    with sound:
        yield _sound(sound, _usual_name(sound.format), cut, wish)


@contextmanager
def _through_ffmpeg(file: BinaryIO, wish: _Wish, complaint: str) -> Iterator[Sound]:
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
        yield _sound(sound, name, False, wish)


def _usual_name(container: str) -> str:
    return "WAV" if container in ("WAVEX", "RF64") else container


def _sound(source: Any, container: str, cut: bool, wish: _Wish) -> Sound:
    """Make the sound of an open source, under the limit."""
    gate.check_rate(source.samplerate)
    budget = _samples_allowed(source.samplerate, wish.max_seconds)
    if budget is not None and 0 < source.frames < np.iinfo(np.int64).max:
        _check_length(source.frames, source.samplerate, budget, wish.max_seconds)

    def read() -> Iterator[FloatArray]:
        first = None if wish.first_s is None else math.ceil(wish.first_s * source.samplerate)
        done = 0
        for block in _blocks(source):
            done += len(block)
            _check_length(done, source.samplerate, budget, wish.max_seconds)
            wanted = block if first is None else block[: first - done + len(block)]
            sound.clipped += int(np.count_nonzero(np.abs(wanted) >= FULL_SCALE))
            yield _mean(wanted) if wish.mono else wanted
            if first is not None and done >= first:
                sound.truncated = cut
                return
        sound.truncated = cut or done < source.frames

    sound = Sound(source.samplerate, container, source.channels, read())
    return sound


def _slices(samples: FloatArray) -> Iterator[FloatArray]:
    for start in range(0, len(samples), BLOCK_VALUES):
        yield samples[start : start + BLOCK_VALUES]


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
