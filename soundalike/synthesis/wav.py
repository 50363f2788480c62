"""Sounds as WAV files, with a comment where there is something to say."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np

from soundalike.types import FloatArray

_FULL_SCALE = 2**15 - 1


def wav(samples: FloatArray, sample_rate: int, comment: bytes = b"") -> bytes:
    """Encode a sound as a WAV file of one channel and 16 bits.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Within [-1, 1].
    sample_rate : int
        In Hz.
    comment : bytes
        A chunk as `comment_chunk` makes it; the file ends with it.

    Returns
    -------
    bytes
    """
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.round(samples * _FULL_SCALE).astype("<i2").tobytes())
    riff = bytearray(stream.getvalue() + comment)
    # `wave` does not know of the comment: the length it wrote is too small.
    riff[4:8] = struct.pack("<I", len(riff) - 8)
    return bytes(riff)


def comment_chunk(text: str) -> bytes:
    """Make the RIFF chunk that holds a comment, padded to an even length."""
    encoded = text.encode() + b"\0"
    padding = b"\0" * (len(encoded) % 2)
    entry = b"INFOICMT" + struct.pack("<I", len(encoded)) + encoded + padding
    return b"LIST" + struct.pack("<I", len(entry)) + entry
