"""What every recommender of items to listeners is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.errors import BadRequest
from soundalike.evaluation.splits import Split
from soundalike.types import FloatArray

Numbers: TypeAlias = npt.NDArray[np.int64]

SOUND, PAPER = "sound", "paper"
PRESETS = (SOUND, PAPER)


@dataclass(frozen=True, slots=True)
class Task:
    """What a recommender learns from.

    Attributes
    ----------
    split : Split
        Of which it looks at the training period; at the validation users' test period alone
        where an option says so.
    vectors : ndarray of float32, shape (N, D), optional
        Of the split's items; None where the embedding is none.
    seed : int
        The same seed gives the same scores.
    device : str
        ``"cpu"``, ``"cuda"`` or another of torch's names.
    folder : Path, optional
        Where checkpoints are kept, from which a fit that was broken off goes on.
    """

    split: Split
    vectors: FloatArray | None = None
    seed: int = 0
    device: str = "cpu"
    folder: Path | None = None

    def needed_vectors(self, model: str) -> FloatArray:
        """Give the vectors, which a model cannot do without."""
        if self.vectors is None:
            raise BadRequest(f"'{model}' needs an embedding; name one with --embedding.")
        return self.vectors


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen of a recommender; each kind has its own."""

    def as_dict(self) -> dict[str, Any]:
        """Lay the options out as a JSON object."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def with_texts(self, texts: Mapping[str, str]) -> Options:
        """Change options that are given as text.

        Raises
        ------
        BadRequest
            There is no such option, or it has no such value.
        """
        known = {one.name: one for one in fields(self)}
        changes: dict[str, Any] = {}
        for name, text in texts.items():
            if name not in known:
                told = "; ".join(f"{one.name}: {one.metadata['help']}" for one in known.values())
                raise BadRequest(f"There is no option '{name}'. {told or 'There are none'}.")
            changes[name] = _value(known[name], text)
        return replace(self, **changes)


def choice(default: str, *others: str, help: str) -> Any:
    """Declare an option that is one of several words."""
    return field(default=default, metadata={"choices": (default, *others), "help": help})


def number(default: float, least: float, help: str, most: float = math.inf) -> Any:
    """Declare an option that is a number of the default's type, within bounds."""
    return field(default=default, metadata={"least": least, "most": most, "help": help})


def _value(option: Any, text: str) -> Any:
    choices = option.metadata.get("choices")
    if choices is not None:
        if text not in choices:
            raise BadRequest(f"'{option.name}' is one of {', '.join(choices)}, not '{text}'.")
        return text
    kind, least, most = type(option.default), option.metadata["least"], option.metadata["most"]
    try:
        value = kind(text)
    except ValueError:
        raise BadRequest(f"'{option.name}' is a number, not '{text}'.") from None
    if not least <= value <= most or math.isinf(value):
        raise BadRequest(f"'{option.name}' lies between {least} and {most}, not at '{text}'.")
    return value


class Recommender(ABC):
    """Scores items for users, the higher the better."""

    key: ClassVar[str]
    options_type: ClassVar[type[Options]] = Options
    paper: ClassVar[Mapping[str, Any]] = {}
    """What the paper's own code chose where our default is another."""
    uses_vectors: ClassVar[bool] = False
    """Whether an embedding makes a difference."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def fit(self, task: Task) -> dict[str, Any]:
        """Learn.

        Parameters
        ----------
        task : Task

        Returns
        -------
        dict
            What is to be told of it, such as how many epochs it took; JSON-serialisable.

        Raises
        ------
        BadRequest
            It cannot learn this task.
        """

    @abstractmethod
    def scores(self, users: Numbers) -> FloatArray:
        """Score every item for users.

        Parameters
        ----------
        users : ndarray of int64, shape (Q,)
            Places in the split's users.

        Returns
        -------
        ndarray of float32, shape (Q, N)
            By the order of the split's items.
        """


def refuse_unknown_items(split: Split, model: str, why: str) -> None:
    """Refuse a protocol with items that nobody played in the training period.

    Raises
    ------
    BadRequest
    """
    if len(split.item_ids) > split.warm:
        raise BadRequest(
            f"'{model}' cannot score the {len(split.item_ids) - split.warm} items of protocol "
            f"'{split.protocol}' that are not in its vocabulary: {why}."
        )
