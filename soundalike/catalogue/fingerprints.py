"""Whether two fingerprints are of one recording; how they are made is told in `audio.fingerprint`.

Of 291 real clips, spoken digits of 0.2 s among them, copies that were encoded anew, cut by 50 ms or
made louder by 3 dB differ in 16 % of their bits at most; other clips of about the same length in
18 % at least, and where there are 32 rows in 32 %. The bounds lie in between, that of short sounds
nearer to the copies: better a copy that is overlooked than two sounds that are taken for one.
"""

from __future__ import annotations

import base64
import binascii

import numpy as np
import numpy.typing as npt

VERSION = "1"
ROW_TYPE = np.dtype("<u2")
ROW_BITS = 16
MOST_OFFSET = 8  # rows, of 16 ms each
LEAST_ROWS = 10
MOST_ROWS = 1000  # what is longer was not made by us
LEAST_SHARED = 0.6  # of the rows where the one that has more of them is not quiet
LONG_ROWS = 32
MOST_ERRORS, MOST_ERRORS_SHORT = 0.25, 0.16

Fingerprint = npt.NDArray[np.uint16]


def parse(text: object) -> Fingerprint | None:
    """Read a fingerprint of an item's metadata.

    Returns
    -------
    ndarray of uint16, shape (rows,), or None
        None of what is no fingerprint of this version, or is of too little sound.
    """
    version, _, coded = text.partition(":") if isinstance(text, str) else ("", "", "")
    if version != VERSION:
        return None
    try:
        content = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(content) % ROW_TYPE.itemsize or len(content) > MOST_ROWS * ROW_TYPE.itemsize:
        return None
    rows = np.frombuffer(content, ROW_TYPE)
    return rows if np.count_nonzero(rows) >= LEAST_ROWS else None


def bit_error_rate(one: Fingerprint, other: Fingerprint) -> float:
    """Compare two fingerprints.

    Parameters
    ----------
    one, other : ndarray of uint16, shape (rows,)
        As `parse` gives them.

    Returns
    -------
    float
        The least share of differing bits over small offsets, where neither is quiet; about 0.5
        for sounds that have nothing in common, 1.0 where too little can be compared.
    """
    shifted = np.zeros(len(one) + 2 * MOST_OFFSET, ROW_TYPE)
    reached = other[: len(one) + MOST_OFFSET]
    shifted[MOST_OFFSET : MOST_OFFSET + len(reached)] = reached
    at_offsets = np.lib.stride_tricks.sliding_window_view(shifted, len(one))
    heard = (one != 0) & (at_offsets != 0)
    rows = heard.sum(axis=1)
    wrong = (np.bitwise_count(one ^ at_offsets) * heard).sum(axis=1)
    most = max(np.count_nonzero(one), np.count_nonzero(other))
    enough = rows >= max(LEAST_SHARED * most, LEAST_ROWS)
    return float((wrong[enough] / (rows[enough] * ROW_BITS)).min(initial=1.0))


def errors_of_copies(one: Fingerprint, other: Fingerprint) -> float:
    """Tell up to what bit error rate two fingerprints are of one recording."""
    least = min(np.count_nonzero(one), np.count_nonzero(other))
    return MOST_ERRORS if least >= LONG_ROWS else MOST_ERRORS_SHORT
