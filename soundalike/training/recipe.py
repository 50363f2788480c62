"""What a training run is made of, read from a TOML file and checked at the door."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from soundalike.errors import BadRequest

RELEASED = Path(__file__).with_name("mini.toml")
LEAST_BATCH = 2
# A 32nd of a second is the hop of nothing here; shorter clips hold less than one crop.
LEAST_SECONDS = 2.0

Table = TypeVar("Table")


@dataclass(frozen=True, slots=True)
class Pairs:
    """How pairs of clips are made; the file says what each number means."""

    count: int
    seconds: float
    same_score: float
    new_speaker: float
    new_word: float
    new_effects: float
    timbre: tuple[float, ...]
    score: float
    effects: float


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to the spectrogram of a clip each time it is seen."""

    one_clip: float
    stretch: float
    shift: float
    shift_bands: float
    equaliser: float
    equaliser_nepers: float
    fade: float
    fade_nepers: float
    mixed: float
    mixed_db: tuple[float, ...]
    mask: float
    mask_bands: int
    mask_frames: int
    floor_nepers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """How the network learns."""

    seed: int
    steps: int
    batch: int
    temperature: float
    rate: float
    decay: float
    warm_up: int
    fall: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of a training run; the same recipe gives the same network on the same machine."""

    pairs: Pairs
    augmentation: Augmentation
    fit: Fit

    def as_dict(self) -> dict[str, Any]:
        """Lay it out as JSON has it."""
        return asdict(self)

    def but(self, *, seed: int | None, steps: int | None, pairs: int | None) -> Recipe:
        """Give the same recipe with some numbers changed; None leaves one as it is.

        Raises
        ------
        BadRequest
            One of them makes no sense.
        """
        fit = {"seed": seed, "steps": steps}
        changed = Recipe(
            replace(self.pairs, **_said({"count": pairs})),
            self.augmentation,
            replace(self.fit, **_said(fit)),
        )
        _check(changed)
        return changed


def _said(changes: Mapping[str, int | None]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if value is not None}


def read(path: Path = RELEASED) -> Recipe:
    """Read a recipe.

    Raises
    ------
    BadRequest
        It is no TOML, lacks something, or holds what makes no sense.
    OSError
        It cannot be read.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"'{path}' is no recipe: {error}") from error
    if content.keys() != {"pairs", "augmentation", "fit"}:
        raise BadRequest(f"'{path}' is no recipe; it has [pairs], [augmentation] and [fit].")
    recipe = Recipe(
        _table(Pairs, content["pairs"]),
        _table(Augmentation, content["augmentation"]),
        _table(Fit, content["fit"]),
    )
    _check(recipe)
    return recipe


def _table(kind: type[Table], found: Any) -> Table:
    """Make a table of the recipe of what TOML holds, with the types that it declares."""
    wanted = {one.name: one.type for one in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        raise BadRequest(f"A recipe's [{kind.__name__.lower()}] has {', '.join(wanted)}.")
    return kind(**{name: _value(name, found[name], str(wanted[name])) for name in wanted})


def _value(name: str, value: Any, kind: str) -> Any:
    several = kind.startswith("tuple")
    numbers = value if several and isinstance(value, list) else [value]
    allowed = int if kind == "int" else (int, float)
    if several != isinstance(value, list) or not numbers:
        raise BadRequest(f"'{name}' in the recipe is {'a list' if several else 'one number'}.")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, allowed) or not number >= 0:
            raise BadRequest(f"'{name}' in the recipe is no number of at least 0: {number!r}.")
    return tuple(map(float, numbers)) if several else value


def _check(recipe: Recipe) -> None:
    pairs, augmentation, fit = recipe.pairs, recipe.augmentation, recipe.fit
    shares = {
        "same_score": pairs.same_score,
        "new_speaker + new_word": pairs.new_speaker + pairs.new_word,
        "new_effects": pairs.new_effects,
        "fall": fit.fall,
        **{
            name: getattr(augmentation, name)
            for name in ("one_clip", "shift", "equaliser", "fade", "mixed", "mask")
        },
    }
    for name, share in shares.items():
        if not share <= 1:
            raise BadRequest(f"'{name}' in the recipe is a share, at most 1, not {share}.")
    for name in ("mixed_db", "floor_nepers"):
        if len(getattr(augmentation, name)) != 2:
            raise BadRequest(f"'{name}' in the recipe is a list of two numbers.")
    if not pairs.seconds >= LEAST_SECONDS:
        raise BadRequest(f"Clips last at least {LEAST_SECONDS:g} s, not {pairs.seconds}.")
    if not LEAST_BATCH <= fit.batch <= pairs.count:
        raise BadRequest(
            f"A batch holds from {LEAST_BATCH} pairs to all {pairs.count} of them, not {fit.batch}."
        )
    if not fit.steps >= 1 or not fit.temperature > 0:
        raise BadRequest("A recipe has at least 1 step, and a temperature above 0.")
