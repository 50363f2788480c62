"""Which embedder answers where nobody names one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from soundalike.errors import EmbedderError

AUTO = "auto"
PREFERENCE = ("clap", "mini")
"""What `auto` stands for, the best first; the weights of the last one are always here."""

Loaded = TypeVar("Loaded")


def first_that_loads(load: Callable[[str], Loaded]) -> tuple[Loaded, str | None]:
    """Load the best embedder that can be loaded here.

    Parameters
    ----------
    load : callable
        Loads the embedder of a key, or raises an EmbedderError.

    Returns
    -------
    loaded : object
        What `load` gave.
    note : str or None
        Where it is not the best one: why, and what to do about it.

    Raises
    ------
    EmbedderError
        Not even the last one can be loaded.
    """
    missed: EmbedderError | None = None
    for key in PREFERENCE[:-1]:
        try:
            return load(key), _note(missed, key)
        except EmbedderError as fault:
            missed = missed or fault
    return load(PREFERENCE[-1]), _note(missed, PREFERENCE[-1])


def _note(missed: EmbedderError | None, key: str) -> str | None:
    if missed is None:
        return None
    return f"{missed.detail} Until then, and until the next start, '{key}' answers."
