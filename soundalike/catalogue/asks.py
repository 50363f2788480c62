"""What may be asked of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from soundalike.catalogue.choosing import Choice
from soundalike.catalogue.filters import Filter
from soundalike.types import FloatArray

Query = str | FloatArray  # the id of an item, or a vector


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Something liked or disliked.

    Attributes
    ----------
    of : str or ndarray
        The id of an item, which answers leave out, or a vector.
    weight : float
        Above zero.
    """

    of: Query
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A query with all that it may demand.

    Attributes
    ----------
    likes, dislikes : sequence of Example
        At least one of both.
    filter : Filter, optional
        What an item's metadata must be like.
    exclude : frozenset of str
        Ids of items that must not be in the answer.
    min_score : float, optional
        The least cosine.
    choice : Choice
        How the answer is chosen from what is left.
    """

    likes: Sequence[Example] = ()
    dislikes: Sequence[Example] = ()
    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()
    min_score: float | None = None
    choice: Choice = field(default_factory=Choice)

    @property
    def examples(self) -> list[Example]:
        """Likes, and then dislikes."""
        return [*self.likes, *self.dislikes]

    @property
    def without(self) -> frozenset[str]:
        """Ids of items that answers leave out."""
        return self.exclude | {one.of for one in self.examples if isinstance(one.of, str)}
