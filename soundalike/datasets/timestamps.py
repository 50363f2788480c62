"""Times as logs write them: dates, seconds or milliseconds, all to milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Numbers: TypeAlias = npt.NDArray[np.int64]

NONE = np.iinfo(np.int64).min
"""What stands for a time that is missing or cannot be read."""
# numbers below are no times at all, from 1e8 seconds, from 1e11 milliseconds: 1973 in either
SECONDS_FROM, MILLISECONDS_FROM, MILLISECONDS_TO = 1e8, 1e11, 1e14


def parse(column: pa.Array) -> Numbers:
    """Read a column of times.

    Parameters
    ----------
    column : pyarrow array
        Of timestamps, dates, numbers or text. Text is ISO 8601 or a number; without a zone it is
        UTC. Numbers are seconds or milliseconds since 1970, decided by their magnitude.

    Returns
    -------
    ndarray of int64, shape (N,)
        Milliseconds since 1970, UTC; `NONE` where there is no time.
    """
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _of_arrow(column)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _of_numbers(column.cast(pa.float64()).fill_null(np.nan).to_numpy())
    try:
        return _of_text(column.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.array([_of_any(value) for value in column.to_pylist()], dtype=np.int64)


def parse_one(text: str) -> int:
    """Read one time, as `parse` does."""
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return int(_of_numbers(np.array([number]))[0])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return int(NONE)
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(zoned.timestamp() * 1000)


def integers(column: pa.Array) -> Numbers:
    """Read a column of whole numbers, as text or not; 0 where there is none."""
    import pyarrow as pa

    try:
        whole = (column.cast(pa.string()) if pa.types.is_binary(column.type) else column).cast(
            pa.int64()
        )
    except pa.ArrowInvalid:
        return np.array([_integer(value) for value in column.to_pylist()], dtype=np.int64)
    found: Numbers = whole.fill_null(0).to_numpy()
    return found


def _integer(value: object) -> int:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return int(text) if text.strip().isascii() and text.strip().isdigit() else 0


def _of_arrow(column: pa.Array) -> Numbers:
    import pyarrow as pa

    moments = column.cast(pa.timestamp("ms", getattr(column.type, "tz", None)), safe=False)
    found: Numbers = moments.cast(pa.int64()).fill_null(NONE).to_numpy()
    return found


def _of_numbers(values: npt.NDArray[np.float64]) -> Numbers:
    seconds = (values >= SECONDS_FROM) & (values < MILLISECONDS_FROM)
    milliseconds = (values >= MILLISECONDS_FROM) & (values < MILLISECONDS_TO)
    scaled = np.where(seconds, values * 1000, np.where(milliseconds, values, 0))
    return np.where(seconds | milliseconds, np.round(scaled), NONE).astype(np.int64)


def _of_text(column: pa.Array) -> Numbers:
    """Read text that is all of one kind, which is quick; any other is refused."""
    import pyarrow as pa

    try:
        return _of_numbers(column.cast(pa.float64()).fill_null(np.nan).to_numpy())
    except pa.ArrowInvalid:
        # microseconds, since finer fractions than the unit are refused
        return _of_arrow(column.cast(pa.timestamp("us")))


def _of_any(value: object) -> int:
    if value is None:
        return int(NONE)
    return parse_one(value.decode(errors="replace") if isinstance(value, bytes) else str(value))
