"""Embedders with a checkpoint, whoever wrote their network.

Nothing of a checkpoint is taken on trust: a setting that is not the model's,
a tensor that is missing, misshapen or left over, and an answer that is not a
number each quarantine it.
"""

from __future__ import annotations

import functools
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from soundalike.embedders import runtime, weights
from soundalike.embedders.base import Embedder
from soundalike.embedders.weights import Source
from soundalike.errors import Quarantined
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

PROBE_HZ = 440.0
LARGEST_BATCH = 32


class Checkpointed(Embedder):
    """An embedder with a checkpoint.

    Its `load` begins with `read_weights` and ends with `place`, which brings
    the network to where it runs, and `probe`. On a processor windows go one
    by one: a batch of them takes longer, and one by one the same window gives
    the same numbers to the last bit. On a device beside it those of one shape
    go together.
    """

    @property
    def source(self) -> Source:
        """Where the weights come from."""
        return cast(Source, self.card.weights)

    @functools.cached_property
    def folder(self) -> Path:
        """The folder with the checkpoint; raises WeightsMissing or LicenceRefused."""
        return weights.folder(self.card.key, self.source)

    @functools.cached_property
    def _released(self) -> tuple[str, dict[str, Any]]:
        """The digest and the facts of the files, kept: they may change below a loaded network."""
        return weights.digest(self.folder, self.source), self.file_facts()

    def weights_digest(self) -> str:
        """Tell the SHA-256 of the weights, of those in memory once it is loaded."""
        return self._released[0]

    def front_end(self) -> Mapping[str, Any]:
        """Tell the card's facts and those of the files, as they were when it was loaded."""
        return {**self.card.front_end, **self._released[1]}

    def file_facts(self) -> dict[str, Any]:
        """Tell what the files beside the weights do to the numbers; here nothing."""
        return {}

    def read_weights(self) -> dict[str, torch.Tensor]:
        """Read the weights, and keep what names them.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The file is broken, or holds a pickle that would run code.
        """
        self.__dict__.pop("_released", None)  # of what was there before, where anybody asked
        state = weights.read_state(self.folder, self.source)
        _ = self._released
        return state

    def read_settings(self, name: str) -> dict[str, Any]:
        """Read one of the checkpoint's files of settings.

        Raises
        ------
        Quarantined
            It is not a JSON object.
        """
        try:
            found = json.loads((self.folder / name).read_bytes())
        except ValueError as error:
            raise self.unfit(f"'{name}' is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise self.unfit(f"'{name}' is not a JSON object")
        return found

    def require(self, name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Refuse settings that are not the model's; what is not said is taken as it should be.

        Raises
        ------
        Quarantined
        """
        for setting, value in wanted.items():
            if found.get(setting, value) != value:
                raise self.unfit(
                    f"'{name}' says {setting} = {found[setting]!r} where {self.card.key} has "
                    f"{value!r}"
                )

    def refuse_names(
        self, missing: Sequence[str], extra: Sequence[str], misshapen: Sequence[str]
    ) -> None:
        """Refuse a checkpoint whose tensors are not the network's.

        Parameters
        ----------
        missing, extra : sequence of str
            Names that only the network has, and only the checkpoint.
        misshapen : sequence of str
            Names that both have, each with the two shapes.

        Raises
        ------
        Quarantined
            Any of them holds a name.
        """
        for what, names in (("lacks", missing), ("has no use for", extra), ("holds", misshapen)):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise self.unfit(f"it {what} {min(names)}{more}")

    def probe(self) -> None:
        """Hear a tone, and refuse a network that says nothing of it.

        Raises
        ------
        Quarantined
            The answer holds NaN or infinity, or zeros alone.
        """
        time = np.arange(round(self.card.min_seconds * self.card.sample_rate))
        tone = np.sin(2 * np.pi * PROBE_HZ / self.card.sample_rate * time).astype(np.float32)
        window = Window(tone, 0.0, self.card.min_seconds)
        (answer,) = self.run([self.prepare(window)])
        if not np.isfinite(answer).all():
            raise self.unfit("it answers a tone with NaN or infinity")
        if not answer.any():
            raise self.unfit("it answers a tone with zeros")

    def place(
        self,
        network: torch.nn.Module,
        example: torch.Tensor,
        *,
        how: runtime.How | None = None,
        varying: Sequence[int] = (),
    ) -> runtime.Placed:
        """Bring a network to where it runs, and note where that is.

        Parameters
        ----------
        network : Module
            Filled, on the processor; it belongs to the result from then on.
        example, how, varying
            What it takes, how it is called, and which axes vary; see `runtime.place`.

        Returns
        -------
        Placed
            To be called with what lies on `device`.

        Raises
        ------
        DeviceMissing, OutOfMemory
        """
        placed = runtime.place(network, example, how=how, varying=varying, workers=self.workers)
        where = placed.place
        self.device, self.runtime, self.dtype = where.device, where.runtime, where.precision
        self.largest_batch = 1 if where.is_processor else LARGEST_BATCH
        return placed

    def run(self, batch: Sequence[FloatArray]) -> list[FloatArray]:
        """Compute the frames of prepared windows, each of shape (T, frame_dim).

        Raises
        ------
        OutOfMemory
            The device has no room for them.
        """
        import torch

        heard: dict[int, FloatArray] = {}
        with torch.inference_mode(), runtime.memory_faults():
            for rows in _alike(batch, self.largest_batch):
                stacked = torch.from_numpy(_stacked([batch[row] for row in rows]))
                frames = self.hear_all(stacked.to(self.device))
                heard.update(zip(rows, frames.cpu().numpy(), strict=True))
        return [heard[row] for row in range(len(batch))]

    @abstractmethod
    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the frames, shape (N, T, frame_dim), of N prepared windows of one shape."""

    def unfit(self, why: str) -> Quarantined:
        """Make the fault that says why the checkpoint cannot be used."""
        return Quarantined(
            f"The checkpoint of '{self.card.key}' is unfit: {why}. Remove '{self.folder}' and "
            f"bring it again with '{weights.pull_command(self.card.key, self.source)}'.",
            model=self.card.key,
        )


class OneByOne(Checkpointed):
    """An embedder that hears one window after the other, each in pieces that go together."""

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the frames, shape (N, T, frame_dim), of N prepared windows of one shape."""
        import torch

        return torch.stack([self.hear(one) for one in samples])

    @abstractmethod
    def hear(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the frames, shape (T, frame_dim), of one prepared window."""


def _stacked(windows: Sequence[FloatArray]) -> FloatArray:
    """Stack windows of one shape; one alone, which may be a whole clip, is not copied."""
    return windows[0][None] if len(windows) == 1 else np.stack(windows)


def _alike(batch: Sequence[FloatArray], most: int) -> Iterator[list[int]]:
    """Yield the places of windows of one shape, up to so many at once."""
    places: dict[tuple[int, ...], list[int]] = {}
    for row, window in enumerate(batch):
        places.setdefault(window.shape, []).append(row)
    for rows in places.values():
        for start in range(0, len(rows), most):
            yield rows[start : start + most]
