"""From the values of a picture to its pixels: with axes for people, or bare for models."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from soundalike.pictures import figures
from soundalike.pictures.spectrograms import Picture
from soundalike.types import FloatArray

if TYPE_CHECKING:
    from soundalike.audio.colours import Pixels

PNG_EFFORT = 3  # of 9: a tenth larger than with all of it, in a quarter of the time


def png(picture: Picture, *, bare: bool = False) -> bytes:
    """Draw a picture as a PNG.

    Parameters
    ----------
    picture : Picture
        Its settings say how many pixels it has.
    bare : bool
        The colours alone, without axes and margins.

    Returns
    -------
    bytes
        8 bits each of red, green and blue.

    Raises
    ------
    BadRequest
        There is no room for axes.
    SoundalikeError
        Axes are asked for and matplotlib is not installed.
    """
    if bare:
        return encode_png(pixels(picture, picture.settings.width, picture.settings.height))
    frame = figures.frame(picture)
    inner = frame[figures.inside(picture)]
    inner[:] = pixels(picture, inner.shape[1], inner.shape[0])
    return encode_png(frame)


def pixels(picture: Picture, width: int, height: int) -> Pixels:
    """Colour a picture.

    Parameters
    ----------
    picture : Picture
        What to colour.
    width, height : int
        Of the result. Values that share a pixel are averaged, pixels that
        share a value are equal. Of a waveform the peaks stay.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Red, green, blue; the picture's lowest row is at the bottom.
    """
    from soundalike.audio.colours import magma

    darkest, brightest = picture.limits
    # averaged over time, a waveform would lose its peaks
    over_time = np.maximum if picture.kind == "waveform" else np.add
    fitted = _fit(_fit(picture.values, width, 1, over_time), height, 0, np.add)
    # the small terms are those of the vision models' front end; a flat picture is bright
    shares = (fitted - darkest + 1e-6) / (brightest - darkest + 1e-6)
    return magma(shares[::-1])


def _fit(values: FloatArray, size: int, axis: int, together: np.ufunc) -> FloatArray:
    """Stretch an axis by repetition, or shrink it: to means where values are added together."""
    length = values.shape[axis]
    starts = np.arange(size) * length // size
    if length <= size:
        stretched: FloatArray = values.take(starts, axis)
        return stretched
    reduced: FloatArray = together.reduceat(values, starts, axis)
    if together is np.add:
        counts = np.diff(starts, append=length).astype(np.float32)
        reduced /= counts if axis else counts[:, None]
    return reduced


def encode_png(colours: Pixels) -> bytes:
    """Encode pixels after the PNG specification (ISO/IEC 15948), each row without a filter.

    Parameters
    ----------
    colours : ndarray of uint8, shape (height, width, 3)
        Red, green, blue.
    """
    height, width, _ = colours.shape
    rows = np.pad(colours.reshape(height, width * 3), ((0, 0), (1, 0)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), PNG_EFFORT)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
