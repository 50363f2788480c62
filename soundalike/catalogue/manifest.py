"""What an index folder says of itself, and that it is believed only where it makes sense."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from soundalike import engines
from soundalike.catalogue import checks, steps
from soundalike.errors import BadRequest, DamagedIndex

NAME = "manifest.json"
VERSION = 3
METRIC = "cosine"
MAX_BYTES = 1 << 20
MAX_ITEMS = 1 << 31  # Annoy counts in 32 bits
MAX_SEQUENCE = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an index folder holds.

    Attributes
    ----------
    collection : int
        The collection's number in the catalogue's own tables.
    space : str
        Its embedding space.
    dim : int
        Length of its vectors.
    width : int
        Length of the places where they are looked for.
    items : int
        How many there are.
    sequence : int
        The write this shows.
    engine : str
        What searches.
    index : dict
        What the engine said when it was saved: `effort`, `recall`, `unique`
        (how many different places there are) and its own.
    recall_target : float
        What the effort was measured for.
    transform : str or None
        The name of the transform that is wanted.
    fitted_at : int
        The write after which it was fitted; 0 where it is not.
    files : dict
        Of each file the `size` in bytes and the `sha256`.
    version : int
        Of the format.
    metric : str
        What neighbours are near by.
    """

    collection: int
    space: str
    dim: int
    width: int
    items: int
    sequence: int
    engine: str
    index: dict[str, Any]
    recall_target: float
    transform: str | None
    fitted_at: int
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = VERSION
    metric: str = METRIC

    def to_json(self) -> str:
        """Write it, with a digest of itself."""
        facts = asdict(self)
        return json.dumps(facts | {"digest": _digest(facts)}, indent=1)


def read(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises
    ------
    DamagedIndex
        There is none, it was changed, is of another version of the format, or
        says what cannot be.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            facts = json.loads(file.read(MAX_BYTES))
        said = facts.pop("digest")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedIndex(f"{path} cannot be read: {error!r}.") from error
    if facts.get("version") != VERSION:
        raise DamagedIndex(f"{path} is of another version of the format than {VERSION}.")
    if said != _digest(facts):
        raise DamagedIndex(f"{path} was changed after it was written.")
    try:
        manifest = Manifest(**facts)
        doubts = list(_doubts(manifest))
    except (LookupError, TypeError, AttributeError) as error:
        raise DamagedIndex(f"{path} lacks what belongs in it: {error}.") from error
    if doubts:
        raise DamagedIndex(f"{path} cannot be right about {', '.join(doubts)}.")
    return manifest


def _digest(facts: dict[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _doubts(manifest: Manifest) -> list[str]:
    """Name what in a manifest cannot be right."""
    index = manifest.index
    sound = {
        "metric": manifest.metric == METRIC,
        "collection": _whole(manifest.collection, 0, MAX_SEQUENCE),
        "space": isinstance(manifest.space, str),
        "dim": _whole(manifest.dim, 1, checks.MAX_DIM),
        "width": _whole(manifest.width, 1, checks.MAX_DIM + 2),
        "items": _whole(manifest.items, 1, MAX_ITEMS),
        "sequence": _whole(manifest.sequence, 0, MAX_SEQUENCE),
        "engine": manifest.engine in engines.NAMES,
        "effort": _whole(index["effort"], 0, MAX_SEQUENCE),
        "recall": _share(index["recall"]),
        "unique": _whole(index["unique"], 1, manifest.items),
        "recall_target": _share(manifest.recall_target),
        "transform": _transform(manifest.transform),
        "fitted_at": _whole(manifest.fitted_at, 0, manifest.sequence),
        "files": all(
            _whole(facts["size"], 0, MAX_SEQUENCE) and isinstance(facts["sha256"], str)
            for facts in manifest.files.values()
        ),
    }
    return [name for name, is_sound in sound.items() if not is_sound]


def _whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _transform(name: Any) -> bool:
    try:
        return name is None or bool(steps.parse(name))
    except BadRequest:
        return False
