"""Embedders whose network is a class of the transformers library, filled from a checkpoint."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from soundalike.embedders.checkpointed import Checkpointed
from soundalike.types import FloatArray

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
SMALLEST_VARIANCE = 1e-7
PROBE_TEXTS = ("a dog barks", "heavy rain on a roof", "somebody plays a slow waltz on a violin")
LEAST_DIFFERENCE = 1e-4

# of what a config.json says, what is of the file and not of the network
NOT_OF_THE_NETWORK = {
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "model_type",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}

_library_lock = threading.Lock()  # what the library does while it loads changes its own settings

Configuration = TypeVar("Configuration")


class Pretrained(Checkpointed):
    """An embedder with a network of the transformers library."""

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """What the checkpoint's config.json says, read once: it is part of the space."""
        return self.read_settings(CONFIG)

    def config_digest(self) -> str:
        """Tell the SHA-256 of what config.json says of the network.

        Without the library, so that the space hangs neither on it nor on its release: two
        files that say the same in different detail have different digests.
        """
        said = json.dumps(_of_the_network(self.settings), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

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
        self.refuse_names(missing, extra, misshapen)

    def read_tokenizer(self, read: Callable[[], Any], vocab_size: int) -> Any:
        """Read the checkpoint's tokenizer.

        Parameters
        ----------
        read : callable
            Reads it with the library.
        vocab_size : int
            How many tokens the network knows.

        Raises
        ------
        Quarantined
            It cannot be read, or makes tokens that the network does not know.
        """
        try:
            tokenizer = read()
        except Exception as error:  # nothing narrower comes of a broken tokenizer.json
            raise self.unfit(f"its tokenizer cannot be read: {error}") from error
        if len(tokenizer) > vocab_size:
            raise self.unfit(
                f"its tokenizer has {len(tokenizer)} tokens, its text side {vocab_size}"
            )
        return tokenizer

    def probe_texts(self, read: Callable[[Sequence[str]], FloatArray]) -> None:
        """Have some texts read, and refuse a network that says nothing of them.

        Raises
        ------
        Quarantined
            The vectors hold NaN or infinity, or are all alike.
        """
        vectors = read(PROBE_TEXTS)
        if not np.isfinite(vectors).all():
            raise self.unfit("its text side answers NaN or infinity")
        if np.ptp(vectors, axis=0).max() < LEAST_DIFFERENCE:
            raise self.unfit("its text side is dead: it answers every text alike")


def known_settings(config: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """Take of a config.json what makes the network.

    Parameters
    ----------
    config : PretrainedConfig
        The library's configuration of such a network.
    found : mapping
        What the file says, which may be more.
    """
    known = config.to_dict().keys() - NOT_OF_THE_NETWORK
    return {name: value for name, value in found.items() if name in known}


def _of_the_network(said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    kept = said.keys() - NOT_OF_THE_NETWORK
    return {name: _of_the_network(said[name]) for name in kept}


def standardized(samples: FloatArray) -> FloatArray:
    """Bring samples to zero mean and unit variance, as the library does with waveforms."""
    wide = samples.astype(np.float64)
    scaled = (wide - wide.mean()) / np.sqrt(wide.var() + SMALLEST_VARIANCE)
    return np.asarray(scaled, np.float32)


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
