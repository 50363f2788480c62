"""TensorFlow's SequenceExample in protocol buffers' wire format, read and written.

::

    SequenceExample   1 context: Features, 2 feature_lists: FeatureLists
    Features          1 map of name to Feature
    FeatureLists      1 map of name to FeatureList
    FeatureList       1 repeated Feature
    Feature           one of 1 bytes_list, 2 float_list, 3 int64_list
    each list         1 repeated value; numbers packed into one field, or a field each

An entry of a map is a message of 1 key and 2 value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

Feature: TypeAlias = list[bytes] | list[float] | list[int]
"""The values of one feature; which of the three follows from the message."""

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
CONTEXT, FEATURE_LISTS = 1, 2
KEY, VALUE = 1, 2
ONLY_FIELD = 1
LONGEST_VARINT = 10
SIGN, UNSIGNED = 1 << 63, 1 << 64


class Malformed(ValueError):
    """The bytes are not the message they should be."""


def parse(data: bytes) -> tuple[dict[str, Feature], dict[str, list[Feature]]]:
    """Read a SequenceExample.

    Fields that are not known are passed over; of a name that occurs twice the
    last one counts.

    Parameters
    ----------
    data : bytes
        The message.

    Returns
    -------
    context : dict of str to Feature
    feature_lists : dict of str to list of Feature

    Raises
    ------
    Malformed
    """
    context: dict[str, Feature] = {}
    lists: dict[str, list[Feature]] = {}
    for number, value in _fields(data):
        if number == CONTEXT:
            context |= {name: _feature(one) for name, one in _map(_message(value))}
        elif number == FEATURE_LISTS:
            lists |= {name: _feature_list(one) for name, one in _map(_message(value))}
    return context, lists


def encode(context: Mapping[str, Feature], feature_lists: Mapping[str, Sequence[Feature]]) -> bytes:
    """Write a SequenceExample; names stay in their order, so equal messages are equal bytes."""
    features = b"".join(_entry(name, _encode_feature(one)) for name, one in context.items())
    lists = b"".join(
        _entry(name, b"".join(_field(ONLY_FIELD, _encode_feature(one)) for one in listed))
        for name, listed in feature_lists.items()
    )
    return _field(CONTEXT, features) + _field(FEATURE_LISTS, lists)


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Go through the fields of a message: numbers of varints, bytes of all others."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind == LENGTH_DELIMITED:
            size, at = _varint(data, at)
        elif kind in FIXED_BYTES:
            size = FIXED_BYTES[kind]
        else:
            raise Malformed(f"a field is of wire type {kind}")
        if size > end - at:
            raise Malformed("a field reaches beyond its message")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, lowest first; give it and where it ends."""
    value = shift = 0
    for octet in data[at : at + LONGEST_VARINT]:
        value |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return value, at + shift // 7
    raise Malformed("a number has no end")


def _message(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise Malformed("there is a number in place of a message")
    return value


def _map(data: bytes) -> Iterator[tuple[str, bytes]]:
    for number, entry in _fields(data):
        if number == ONLY_FIELD:
            parts = dict(_fields(_message(entry)))
            name = _message(parts.get(KEY, b"")).decode(errors="replace")
            yield name, _message(parts.get(VALUE, b""))


def _feature_list(data: bytes) -> list[Feature]:
    return [_feature(_message(one)) for number, one in _fields(data) if number == ONLY_FIELD]


def _feature(data: bytes) -> Feature:
    feature: Feature = []
    for number, value in _fields(data):
        values = [one for field, one in _fields(_message(value)) if field == ONLY_FIELD]
        if number == BYTES_LIST:
            feature = [_message(one) for one in values]
        elif number == FLOAT_LIST:
            feature = [number for one in values for number in _floats(_message(one))]
        elif number == INT64_LIST:
            feature = [number for one in values for number in _integers(one)]
    return feature


def _floats(packed: bytes) -> tuple[float, ...]:
    if len(packed) % 4:
        raise Malformed("a list of floats has a length that is no multiple of 4")
    return struct.unpack(f"<{len(packed) // 4}f", packed)


def _integers(value: bytes | int) -> list[int]:
    """Read one integer, or a packed run of them."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_signed(number))
    return found


def _signed(number: int) -> int:
    number %= UNSIGNED
    return number - UNSIGNED if number >= SIGN else number


def _entry(name: str, value: bytes) -> bytes:
    return _field(ONLY_FIELD, _field(KEY, name.encode()) + _field(VALUE, value))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | LENGTH_DELIMITED]) + _encode_varint(len(data)) + data


def _encode_feature(feature: Feature) -> bytes:
    """Write the list that the first value is of; one without values as one of integers."""
    first = feature[0] if feature else 0
    if isinstance(first, bytes):
        each = (_field(ONLY_FIELD, one) for one in cast("list[bytes]", feature))
        return _field(BYTES_LIST, b"".join(each))
    if isinstance(first, float):
        packed = struct.pack(f"<{len(feature)}f", *feature)
        return _field(FLOAT_LIST, _field(ONLY_FIELD, packed))
    packed = b"".join(_encode_varint(one % UNSIGNED) for one in cast("list[int]", feature))
    return _field(INT64_LIST, _field(ONLY_FIELD, packed))


def _encode_varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])
