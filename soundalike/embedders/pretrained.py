"""Embedders whose network is a class of the transformers library, filled from a checkpoint.

Nothing of a checkpoint is taken on trust: a setting that is not the model's,
a tensor that is missing, misshapen or left over, and an answer that is not a
number each quarantine it.
"""

from __future__ import annotations

import functools
import json
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from soundalike.embedders import weights
from soundalike.embedders.base import Embedder
from soundalike.embedders.weights import Source
from soundalike.errors import Quarantined
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
PROBE_HZ = 440.0

_library_lock = threading.Lock()  # what the library does while it loads changes its own settings

Configuration = TypeVar("Configuration")


class Pretrained(Embedder):
    """An embedder with a checkpoint, one window at a time.

    On a processor a batch of windows takes longer than its windows one by
    one, and one by one the same window gives the same numbers to the last bit.
    """

    runtime = "torch"

    @property
    def source(self) -> Source:
        """Where the weights come from."""
        return cast(Source, self.card.weights)

    @functools.cached_property
    def folder(self) -> Path:
        """The folder with the checkpoint; raises WeightsMissing or LicenceRefused."""
        return weights.folder(self.card.key, self.source)

    def weights_digest(self) -> str:
        """Tell the SHA-256 of the weights."""
        return weights.digest(self.folder, self.source)

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

    def configure(
        self, make: Callable[[dict[str, Any]], Configuration], settings: dict[str, Any]
    ) -> Configuration:
        """Make the library's configuration of settings.

        Raises
        ------
        Quarantined
            They are not what the library's network can be made with.
        """
        from huggingface_hub.errors import StrictDataclassError

        try:
            return make(settings)
        except (StrictDataclassError, TypeError, ValueError) as error:
            raise self.unfit(f"'{CONFIG}' describes no network: {error}") from error

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

    def build(
        self, network: Any, config: Any, state: Mapping[str, torch.Tensor], **how: Any
    ) -> torch.nn.Module:
        """Make a network and fill it with weights.

        Parameters
        ----------
        network : class
            One of the transformers library's models.
        config : PretrainedConfig
            Its configuration.
        state : mapping of str to Tensor
            All of its weights and nothing else.
        **how
            What else the class takes, such as `attn_implementation`.

        Returns
        -------
        Module
            In float32 and evaluation mode.

        Raises
        ------
        Quarantined
            A tensor is missing, has the wrong shape, or belongs nowhere.
        """
        import torch

        with _library_lock, _quiet():
            filled, report = network.from_pretrained(
                None,
                config=config,
                state_dict=dict(state),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # so that the report names them
                output_loading_info=True,
                **how,
            )
        self._check_names(report, filled.state_dict(), state)
        return cast("torch.nn.Module", filled.eval())

    def _check_names(
        self,
        report: Mapping[str, Any],
        wanted: Mapping[str, torch.Tensor],
        found: Mapping[str, torch.Tensor],
    ) -> None:
        """Refuse what the library only reports, but for positions and counters.

        Those are computed, and some releases of the library store them.
        """
        missing = [name for name in report["missing_keys"] if wanted[name].is_floating_point()]
        extra = [name for name in report["unexpected_keys"] if found[name].is_floating_point()]
        misshapen = [
            f"{name} is {tuple(stored)} and not {tuple(needed)}"
            for name, stored, needed in report["mismatched_keys"]
        ]
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

    def run(self, batch: Sequence[FloatArray]) -> list[FloatArray]:
        """Compute the frames of prepared windows, each of shape (T, frame_dim)."""
        import torch

        with torch.inference_mode():
            return [self.hear(torch.from_numpy(samples)).numpy() for samples in batch]

    @abstractmethod
    def hear(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the frames, shape (T, frame_dim), of one prepared window."""

    def unfit(self, why: str) -> Quarantined:
        """Make the fault that says why the checkpoint cannot be used."""
        return Quarantined(
            f"The checkpoint of '{self.card.key}' is unfit: {why}. Remove '{self.folder}' and "
            f"bring it again with '{weights.pull_command(self.card.key, self.source)}'.",
            model=self.card.key,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library from drawing progress bars and reporting what is checked here."""
    from transformers.utils import logging

    log: Any = logging  # half of it has no types
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
