"""The interface of every embedder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from soundalike import pooling
from soundalike.embedders.weights import Source
from soundalike.errors import BadRequest, UnknownModel
from soundalike.types import FloatArray, Frames, Space, Window


@dataclass(frozen=True, slots=True)
class Card:
    """The facts of an embedder, readable without loading anything.

    Attributes
    ----------
    key : str
        The name by which it is asked for.
    summary : str
        What it hears, in one sentence.
    sample_rate : int
        In Hz; every clip is resampled to it. Like `min_seconds`, `frame_dim` and `frame_rate_hz`
        it is 0 where no sound is taken.
    window_s : float or None
        Length of the windows a clip is cut into, in seconds; None takes it whole.
    min_seconds : float
        The shortest clip it can hear.
    frame_dim : int
        Columns of its frames.
    frame_rate_hz : float
        Rows of its frames a second.
    pooling : str
        How its clip vector is made where the user does not say: one of `pooling.POOLINGS`, or
        ``own`` where the embedder has a way of its own.
    dim : int
        Length of that clip vector.
    front_end : mapping
        Every constant between samples and network that moves the numbers.
    weights : Source or None
        Where its weights come from and under which licence; None where it has none.
    takes : tuple of str
        What it can embed: ``"audio"``, ``"text"``, or both into one space.
    proof : str
        What its output was checked against.
    options : mapping of str to tuple of str
        The values each option may take, the default first.
    hidden : bool
        True for an embedder that serves tests and is not listed.
    aliases : tuple of str
        Other names by which it may be asked for; whoever does gets `key`.
    hears_silence : bool
        Whether it has something to say of a clip that holds nothing but silence.
    """

    key: str
    summary: str
    sample_rate: int
    window_s: float | None
    min_seconds: float
    frame_dim: int
    frame_rate_hz: float
    pooling: str
    dim: int
    front_end: Mapping[str, Any]
    weights: Source | None
    proof: str
    takes: tuple[str, ...] = ("audio",)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hidden: bool = False
    aliases: tuple[str, ...] = ()
    hears_silence: bool = False

    @property
    def hears(self) -> bool:
        """Whether it takes sound."""
        return "audio" in self.takes


class Embedder(ABC):
    """Turns windows of sound into frames, in two steps.

    `prepare` runs on processor threads, one window at a time; `run` runs on
    the device, many windows at a time. What is done to one window never
    depends on the others of its batch.

    Parameters
    ----------
    options : mapping of str to str
        Options that differ from the defaults, as checked by `parse`.

    Attributes
    ----------
    device, runtime, dtype : str
        What computes; known once it is loaded.
    workers : int
        Threads that call `run` at the same time; to be set before `load`.
    largest_batch : int
        Windows of one shape that the device takes at once; 1 where more gain nothing.
    quarantined : dict of str to str
        What `load` found unfit for use, of what the card says it takes, and why.
    """

    card: ClassVar[Card]
    device = "cpu"
    runtime = "numpy"
    dtype = "float32"
    workers = 1
    largest_batch = 1

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        self.options = dict(options or {})
        self.quarantined: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The key, with the options that differ from the defaults."""
        chosen = ",".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        return f"{self.card.key}:{chosen}" if chosen else self.card.key

    @property
    def source(self) -> Source | None:
        """Where its weights come from; None where it has none."""
        return self.card.weights

    def load(self) -> None:  # noqa: B027  (an embedder without weights has nothing to do)
        """Bring the weights into memory; what has none has nothing to do.

        Called once, before any sound or text is embedded.

        Raises
        ------
        WeightsMissing, LicenceRefused, Quarantined
        """

    @abstractmethod
    def prepare(self, window: Window) -> FloatArray:
        """Compute what the network takes of one window."""

    @abstractmethod
    def run(self, batch: Sequence[FloatArray]) -> list[FloatArray]:
        """Compute the frames of prepared windows.

        Returns
        -------
        list of ndarray of float32, each of shape (T, frame_dim)
            One for each window, in order.
        """

    def deaf(self) -> BadRequest:
        """Make the fault that says that it takes no sound."""
        return BadRequest(
            f"'{self.card.key}' reads text and hears no sound; send it texts (POST /embed/text, "
            "soundalike embed --text)."
        )

    def join(self, parts: list[FloatArray], windows: Sequence[Window]) -> Frames:
        """Make the frames of a clip from those of its windows, one after the other.

        Parameters
        ----------
        parts : list of ndarray of float32, each of shape (T, frame_dim)
            Taken over: it may be empty afterwards, so that minutes of frames are not kept twice.
        windows : sequence of Window
            Where each lies in the clip, without its samples.
        """
        values = np.empty((sum(map(len, parts)), self.card.frame_dim), np.float32)
        end = len(values)
        while parts:
            part = parts.pop()
            values[end - len(part) : end] = part
            end -= len(part)
        return Frames(values, self.card.frame_rate_hz)

    def pool(self, frames: Frames, how: str) -> FloatArray:
        """Make one vector of frames; see `soundalike.pooling.pool`."""
        return pooling.pool(frames, how)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts into the space of the clip vectors.

        Returns
        -------
        ndarray of float32, shape (len(texts), dim)

        Raises
        ------
        BadRequest
            It does not take text.
        Quarantined
            It does, but `load` found that side of it unfit for use.
        """
        raise BadRequest(f"'{self.card.key}' hears sound and does not read text.")

    def dim(self, how: str) -> int:
        """Tell how long the vector of a pooling is."""
        if how == self.card.pooling:
            return self.card.dim
        return pooling.pooled_dim(how, self.card.frame_dim)

    def space(self, how: str, *, normalize: bool, rules: Mapping[str, Any]) -> Space:
        """Name the space of the vectors made this way.

        Parameters
        ----------
        how : str
            The pooling.
        normalize : bool
            Whether vectors are scaled to unit length.
        rules : mapping
            What happens to the sound before it gets here: mixing, resampling, windows.

        Returns
        -------
        Space

        Raises
        ------
        WeightsMissing, LicenceRefused, Quarantined
            Where the weights and what comes with them are part of it.
        """
        recipe = {
            "options": {name: values[0] for name, values in self.card.options.items()}
            | self.options,
            "front_end": dict(self.front_end()),
            "sample_rate": self.card.sample_rate,
            "window_s": self.card.window_s,
            "weights": self.weights_digest(),
            "pooling": how,
            "dim": self.dim(how),
            "normalize": normalize,
            "rules": dict(rules),
        }
        return Space.of(self.card.key, recipe)

    def front_end(self) -> Mapping[str, Any]:
        """Tell what lies between samples and network: the card's facts, and the checkpoint's."""
        return self.card.front_end

    def weights_digest(self) -> str | None:
        """Tell the SHA-256 of the weights; None where there are none."""
        return None


class WindowVectors(Embedder):
    """An embedder whose frames are the vectors of whole windows, one of each."""

    def join(self, parts: list[FloatArray], windows: Sequence[Window]) -> Frames:
        """Make the frames of a clip: its windows' vectors, which count by their seconds."""
        seconds = np.array([window.seconds for window in windows])
        return Frames(np.concatenate(parts), self.card.frame_rate_hz, seconds)


def parse_options(card: Card, text: str) -> dict[str, str]:
    """Read options as they stand behind the colon of an embedder's name.

    Parameters
    ----------
    card : Card
        The embedder's facts.
    text : str
        For example ``"capacity=tiny"``; several are separated by commas.

    Returns
    -------
    dict of str to str
        Those that differ from the defaults.

    Raises
    ------
    UnknownModel
        An option or value that the embedder does not know.
    """
    chosen: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        allowed = card.options.get(name.strip(), ())
        if value.strip() not in allowed:
            known = "; ".join(f"{key}={'|'.join(values)}" for key, values in card.options.items())
            raise UnknownModel(
                f"'{card.key}' has no option '{part}'; it has {known or 'none'}.", got=part
            )
        if value.strip() != allowed[0]:
            chosen[name.strip()] = value.strip()
    return chosen
