"""Where weights come from, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model.

    Attributes
    ----------
    name : str
        Its path in the model's repository.
    sha256 : str or None
        Its digest, where it is known.
    size_bytes : int or None
        Its size, where it is known.
    """

    name: str
    sha256: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights of an embedder come from.

    Attributes
    ----------
    repository : str
        Its name on the model hub.
    parts : tuple of Part
        The files that are needed. The weights themselves come first, in the
        forms they may have, the best one first.
    licence : str
        SPDX name of the weights' licence.
    commercial : bool
        Whether it allows commercial use.
    """

    repository: str
    parts: tuple[Part, ...]
    licence: str
    commercial: bool
