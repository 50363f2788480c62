"""What a catalogue tells: of its collections, and in answer to a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from soundalike.types import Neighbour


@dataclass(frozen=True, slots=True)
class FittedOn:
    """What a collection's transform was fitted on.

    Attributes
    ----------
    items : int
        How many there were.
    sequence : int
        The last write before it was fitted.
    """

    items: int
    sequence: int


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection is and what it holds.

    Attributes
    ----------
    name : str
        Unique within the catalogue.
    space : str
        The embedding space of all its vectors.
    dim : int
        Length of each vector.
    engine : str
        What finds neighbours once there are enough items.
    model, pooling : str or None
        What to ask the embedder service for, to get vectors of this space.
    created : datetime
        In UTC.
    sequence : int
        Rises with every write; while it is the same, so is the content.
    count : int
        Items.
    indexed : int
        Items in the engine's index; all others are searched exactly.
    exact : bool
        True while all answers are right.
    recall : float
        Share of the true neighbours found, as measured; 1.0 where exact.
    aliases : tuple of str
        Other names that point at it.
    transform : str or None
        What is done to vectors before they are compared, see `transforms`.
    fitted : FittedOn or None
        None without a transform, and while there are too few items to fit it on:
        then results fall by the cosine.
    index : str
        "ready" where there is an index, "none" where none is needed, "missing"
        while it is made and every item is compared meanwhile.
    note : str or None
        What is wrong with the index, and what is done about it.
    """

    name: str
    space: str
    dim: int
    engine: str
    model: str | None
    pooling: str | None
    created: datetime
    sequence: int
    count: int
    indexed: int
    exact: bool
    recall: float
    aliases: tuple[str, ...]
    transform: str | None
    fitted: FittedOn | None
    index: str
    note: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The neighbours of one query.

    Attributes
    ----------
    space : str
        Of the collection that answered.
    neighbours : tuple of Neighbour
        By falling rank score where they have one, else by falling score; those
        that are equal by id.
    exact : bool
        True where every item was compared.
    recall : float
        Share of the true neighbours to be expected; 1.0 where exact.
    """

    space: str
    neighbours: tuple[Neighbour, ...]
    exact: bool
    recall: float
