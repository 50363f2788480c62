"""The names of transforms, and what they ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from soundalike.catalogue.maps import MAPS
from soundalike.errors import BadRequest

NAMES = (*MAPS, "csls", "expand")
ENDINGS = ((), ("csls",), ("expand",), ("csls", "expand"))
DEFAULTS = {"centre": 0, "within": 0, "whiten": 0, "csls": 10}
MOST = {"pca": 65_536, "csls": 1000, "expand": 100}
WHOLE_NUMBER = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class Steps:
    """A transform's name, understood.

    Attributes
    ----------
    maps : tuple of (str, int)
        Keys of `MAPS` with their numbers, in the order in which they are applied.
    csls, expand : int
        How many neighbours each takes; 0 where it is not a step.
    """

    maps: tuple[tuple[str, int], ...]
    csls: int
    expand: int


def parse(name: str) -> Steps:
    """Understand a transform's name.

    Raises
    ------
    BadRequest
        A step is unknown, has no number or one that makes no sense, or stands
        in the wrong place.
    """
    steps = [_step(part) for part in name.split("+")]
    maps = tuple(step for step in steps if step[0] in MAPS)
    ending = steps[len(maps) :]
    if tuple(key for key, _ in ending) not in ENDINGS:
        raise BadRequest(
            f"In {name[:80]!r} csls and expand may come once each, in this order, at the end."
        )
    numbers = dict(ending)
    return Steps(maps, numbers.get("csls", 0), numbers.get("expand", 0))


def _step(part: str) -> tuple[str, int]:
    key, _, number = part.partition(":")
    if key not in NAMES:
        raise BadRequest(
            f"There is no transform {part[:80]!r}; there are {', '.join(NAMES)}, joined by +."
        )
    if not number and key in DEFAULTS:
        return key, DEFAULTS[key]
    most = MOST.get(key)
    if most is None:
        raise BadRequest(f"{key} takes no number, as in {part[:80]!r}.")
    if not WHOLE_NUMBER.fullmatch(number) or int(number) > most:
        raise BadRequest(
            f"{key} takes a number from 1 to {most}, as in {key}:{min(most, 10)}; "
            f"{part[:80]!r} does not say one.",
            limit=most,
        )
    return key, int(number)
