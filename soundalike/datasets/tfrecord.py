"""TFRecord files: a run of lengths and bytes, with a checksum of each.

A record is its length as a 64-bit number, the masked CRC-32C of these 8 bytes,
the data, and the masked CRC-32C of the data; all numbers are little-endian.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from soundalike.errors import BadRecord, SoundalikeError

log = logging.getLogger(__name__)

HEADER, CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
LENGTH_BYTES = 8
MASK_DELTA = 0xA282EAD8
UINT32 = 0xFFFFFFFF
MAX_RECORD_BYTES = (1 << 20) - 1  # a record of AudioSet has some 1,500
LARGEST_LENGTH_BYTES = (MAX_RECORD_BYTES.bit_length() + 7) // 8
SEARCH_BLOCK_BYTES, SEARCH_BLOCKS = 1 << 16, 16
GZIP = b"\x1f\x8b"

OnDamage = Callable[["BadRecord"], None]


class Place(NamedTuple):
    """The number of a record, from 1, and the byte of the file at which it begins."""

    number: int
    offset: int

    def fault(self, what: str) -> BadRecord:
        """Say what is wrong with the record."""
        return BadRecord(
            f"Record {self.number:,} at byte {self.offset:,} {what}",
            record=self.number,
            offset=self.offset,
        )


class Payload(NamedTuple):
    """The data of one record and where it stands."""

    place: Place
    data: bytes


def warn(damage: BadRecord) -> None:
    """Log damage and go on."""
    log.warning("%s", damage.detail)


def read(file: BinaryIO, on_damage: OnDamage = warn) -> Iterator[Payload]:
    """Go through the records of a file, one in memory at a time.

    Both checksums of every record are checked. A record whose data are
    damaged is told of and passed over. Where a length is damaged, reading
    goes on at the next place at which both checksums of a record hold; what
    lies between counts as one record. A file that ends within a record is
    told of in the same way.

    Parameters
    ----------
    file : binary file
        Seekable; read from where it stands.
    on_damage : callable
        Called with the fault of each record that is passed over; logs it by default.

    Yields
    ------
    Payload

    Raises
    ------
    BadRecord
        The file is of another kind, or no record is found within a mebibyte
        after a damaged length.
    SoundalikeError
        google-crc32c is not installed.
    """
    return _Reading(file, on_damage).payloads()


def write(file: BinaryIO, records: Iterable[bytes]) -> int:
    """Write the data of records, with lengths and checksums; give how many they were."""
    checksum = masked_checksum()
    count = 0
    for data in records:
        count += 1
        length = struct.pack("<Q", len(data))
        file.write(length + CHECKSUM.pack(checksum(length)) + data + CHECKSUM.pack(checksum(data)))
    return count


def masked_checksum() -> Callable[[bytes], int]:
    """Give the function from bytes to their CRC-32C (Castagnoli), masked as TFRecord has it.

    Raises
    ------
    SoundalikeError
        google-crc32c is not installed.
    """
    try:
        from google_crc32c import value
    except ImportError:
        raise SoundalikeError(
            "The checksums of records need google-crc32c: pip install 'soundalike[audioset]'."
        ) from None
    crc32c = cast("Callable[[bytes], int]", value)

    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17) + MASK_DELTA) & UINT32

    return masked


class _Reading:
    """One walk through a file, which always stands where the next record is to be read."""

    def __init__(self, file: BinaryIO, on_damage: OnDamage) -> None:
        self.file = file
        self.on_damage = on_damage
        self.checksum = masked_checksum()

    def payloads(self) -> Iterator[Payload]:
        number = 0
        while True:
            place = Place(number := number + 1, self.file.tell())
            header = self.file.read(HEADER.size)
            if not header:
                return
            data = self._data(place, header)
            if data is not None:
                yield Payload(place, data)

    def _data(self, place: Place, header: bytes) -> bytes | None:
        """Read the data after a header; where they are damaged, tell of it and go on behind."""
        length = self._length(header)
        if length is None:
            self._skip(place, header)
            return None
        body = self.file.read(length + CHECKSUM.size)
        if self._is_whole(body, length):
            return body[:length]
        cut = len(body) < length + CHECKSUM.size
        what = "is cut off by the end of the file." if cut else "is damaged; it was passed over."
        self.on_damage(place.fault(what))
        return None

    def _length(self, header: bytes) -> int | None:
        """Read a length; None where it is damaged, or more than any record has."""
        if len(header) < HEADER.size:
            return None
        length, crc = HEADER.unpack(header)
        fits: bool = length <= MAX_RECORD_BYTES and crc == self.checksum(header[:LENGTH_BYTES])
        return length if fits else None

    def _is_whole(self, body: bytes, length: int) -> bool:
        if len(body) < length + CHECKSUM.size:
            return False
        whole: bool = CHECKSUM.unpack_from(body, length)[0] == self.checksum(body[:length])
        return whole

    def _skip(self, place: Place, header: bytes) -> None:
        """Tell of a damaged length and go to the next record, or to the end of the file."""
        following = self._find(place.offset + 1)
        end = self.file.seek(0, os.SEEK_END)
        if following is None and place.number == 1:
            raise _not_records(place, header)
        if following is None and end - place.offset > SEARCH_BLOCKS * SEARCH_BLOCK_BYTES:
            raise place.fault(
                "has a damaged length, and no record begins in the mebibyte after it; "
                "the rest of the file cannot be read."
            )
        if len(header) < HEADER.size:
            self.on_damage(place.fault("is cut off by the end of the file."))
        else:
            self.file.seek(end if following is None else following)
            until = self.file.tell()
            self.on_damage(
                place.fault(f"has a damaged length; what lies before byte {until:,} is lost.")
            )

    def _find(self, start: int) -> int | None:
        """Find the first place, within bounds, at which both checksums of a record hold."""
        for offset in range(start, start + SEARCH_BLOCKS * SEARCH_BLOCK_BYTES, SEARCH_BLOCK_BYTES):
            self.file.seek(offset)
            # a header may begin on the last byte of the block
            searched = self.file.read(SEARCH_BLOCK_BYTES + HEADER.size - 1)
            for at in _likely_headers(searched):
                length = self._length(searched[at : at + HEADER.size])
                if length is not None:
                    self.file.seek(offset + at + HEADER.size)
                    if self._is_whole(self.file.read(length + CHECKSUM.size), length):
                        return offset + at
        return None


def _likely_headers(searched: bytes) -> list[int]:
    """List where a length begins that no more bytes are used of than a record may need."""
    if len(searched) < HEADER.size:
        return []
    octets = np.frombuffer(searched, np.uint8)
    headers = np.lib.stride_tricks.sliding_window_view(octets, HEADER.size)
    likely: list[int] = np.flatnonzero(
        ~headers[:, LARGEST_LENGTH_BYTES:LENGTH_BYTES].any(axis=1)
    ).tolist()
    return likely


def _not_records(place: Place, header: bytes) -> BadRecord:
    if header.startswith(GZIP):
        return place.fault("begins a file that is compressed; unpack it first, with gunzip.")
    return place.fault("has no valid length: this is no TFRecord file, or its beginning is lost.")
