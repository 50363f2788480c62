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
OGG_HEAD_BYTES = 27  # the last of them counts the segments whose sizes follow
RIFF_HEAD_BYTES = 12
HEAD_BYTES = 28
MOST_CHUNKS = 5_000
LITTLE_CHUNK, BIG_CHUNK = struct.Struct("<4sI"), struct.Struct(">4sI")

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


def _riff_is_cut(file: BinaryIO, length: int, header: struct.Struct = LITTLE_CHUNK) -> bool:
    position = RIFF_HEAD_BYTES
    for _ in range(MOST_CHUNKS):
        if position + 8 > length:
            return True
        file.seek(position)
        name, size = header.unpack(file.read(8))
        if name == b"data":
            return size not in UNKNOWN_SIZES and position + 8 + size > length
        position += 8 + size + size % 2
    return False


def _rifx_is_cut(file: BinaryIO, length: int) -> bool:
    return _riff_is_cut(file, length, BIG_CHUNK)


def _ogg_is_cut(file: BinaryIO, length: int) -> bool:
    file.seek(max(0, length - 2 * OGG_LONGEST_PAGE))
    tail = file.read()
    page = tail.rfind(b"OggS")
    if page < 0 or page + OGG_HEAD_BYTES > len(tail):
        return True
    segments = tail[page + OGG_HEAD_BYTES :][: tail[page + OGG_HEAD_BYTES - 1]]
    end = page + OGG_HEAD_BYTES + tail[page + OGG_HEAD_BYTES - 1] + sum(segments)
    return end > len(tail) or not tail[page + 5] & OGG_LAST_PAGE_FLAG


def _declared(head: bytes) -> int | None:
    """Give the length of the whole file, where the container tells it at its beginning."""
    if head[:4] == b"FORM":
        (size,) = struct.unpack(">4xI", head[:8])
        return None if size in UNKNOWN_SIZES else 8 + size
    if head[:4] == b"RF64":  # its chunk ds64 comes first, with the sizes that RIFF has no room for
        (size,) = struct.unpack("<20xQ", head[:28])
        return 8 + int(size)
    if head[:4] == b"riff":  # Sony Wave64
        (size,) = struct.unpack("<16xQ", head[:24])
        return int(size)
    if head[:4] == b".snd":
        start, size = struct.unpack(">4xII", head[:12])
        return None if size in UNKNOWN_SIZES else int(start + size)
    return None


CHUNKED = {b"RIFF": _riff_is_cut, b"RIFX": _rifx_is_cut, b"OggS": _ogg_is_cut}


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
        if head[:4] in CHUNKED:
            return CHUNKED[head[:4]](file, length)
        declared = _declared(head) if len(head) == HEAD_BYTES else None
        return declared is not None and declared > length
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
