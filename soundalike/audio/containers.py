"""What a file's container says about it, read from its bytes.

Decoders read what is there without a word when a file was cut off; the
container still says how much there should have been.
Layouts: the RIFF and AIFF chunk formats, RFC 3533 (Ogg), and the signatures
that the other containers begin with.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

# fmt: off
SUFFIXES = frozenset({
    ".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff",
    ".aifc", ".au", ".caf", ".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".wv", ".ape",
})
"""Endings of the names of files that are worth opening as sound."""
# fmt: on

UNKNOWN_SIZES = frozenset({0xFFFFFFFF, 0x7FFFFFFF, 0x80000000})
OGG_LAST_PAGE_FLAG = 0x04
OGG_LONGEST_PAGE = 65_307
HEAD_BYTES = 12

# what ffmpeg calls the demuxer of a container, by the bytes it begins with (offset, bytes)
FFMPEG_DEMUXERS: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"ftyp", "mov", "M4A"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf", "WMA"),
    (0, b"\x1a\x45\xdf\xa3", "matroska", "WEBM"),
    (0, b"\xff\xf1", "aac", "AAC"),
    (0, b"\xff\xf9", "aac", "AAC"),
    (0, b"\xff\xf0", "aac", "AAC"),
    (0, b"\xff\xf8", "aac", "AAC"),
    (0, b"MAC ", "ape", "APE"),
    (0, b"wvpk", "wv", "WAVPACK"),
)


def _length(file: BinaryIO) -> int:
    file.seek(0, os.SEEK_END)
    return file.tell()


def _riff_is_cut(file: BinaryIO, length: int) -> bool:
    position = HEAD_BYTES
    while position + 8 <= length:
        file.seek(position)
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"data":
            return size not in UNKNOWN_SIZES and position + 8 + size > length
        position += 8 + size + size % 2
    return True


def _aiff_is_cut(file: BinaryIO, length: int) -> bool:
    file.seek(4)
    (size,) = struct.unpack(">I", file.read(4))
    return size not in UNKNOWN_SIZES and 8 + size > length


def _ogg_is_cut(file: BinaryIO, length: int) -> bool:
    file.seek(max(0, length - 2 * OGG_LONGEST_PAGE))
    tail = file.read()
    page = tail.rfind(b"OggS")
    return page < 0 or page + 5 >= len(tail) or not tail[page + 5] & OGG_LAST_PAGE_FLAG


def is_cut(file: BinaryIO) -> bool:
    """Tell whether a container promises more than the file holds.

    Parameters
    ----------
    file : binary file
        Left at its beginning.

    Returns
    -------
    bool
        False where the container does not say: then only the decoder can tell.
    """
    length = _length(file)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    try:
        if head[:4] == b"RIFF":
            return _riff_is_cut(file, length)
        if head[:4] == b"FORM":
            return _aiff_is_cut(file, length)
        if head[:4] == b"OggS":
            return _ogg_is_cut(file, length)
        return False
    finally:
        file.seek(0)


def ffmpeg_demuxer(file: BinaryIO) -> tuple[str, str] | None:
    """Recognise a container that ffmpeg can read and libsndfile cannot.

    Parameters
    ----------
    file : binary file
        Left at its beginning.

    Returns
    -------
    tuple of (str, str), or None
        ffmpeg's name of the demuxer, and the container's usual name.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    for offset, magic, demuxer, name in FFMPEG_DEMUXERS:
        if head[offset : offset + len(magic)] == magic:
            return demuxer, name
    return None
