"""MERT: the music models of 95 and 330 million parameters.

Both are HuBERT networks, which the transformers library has; the code that
comes with the published checkpoints is not run.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from soundalike.embedders.base import Card
from soundalike.embedders.pretrained import (
    CONFIG,
    PREPROCESSOR,
    Pretrained,
    known_settings,
    standardized,
)
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 24_000
HOP_SAMPLES = 320
ALL_MEAN = "all-mean"

# switches of the published code that HuBERT does not have
FOREIGN = {"feature_extractor_cqt": False, "deepnorm": False}


def _source(repository: str) -> Source:
    parts = ("model.safetensors", "pytorch_model.bin", CONFIG, PREPROCESSOR)
    return Source(repository, tuple(map(Part, parts)), licence="CC-BY-NC-4.0", commercial=False)


def _card(key: str, size: str, *, dim: int, layers: int, aliases: tuple[str, ...] = ()) -> Card:
    return Card(
        key=key,
        summary=f"Music: melody, harmony, rhythm and timbre, by a network of {size} parameters.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=30.0,  # attention takes the square of the length
        min_seconds=0.1,
        frame_dim=dim,
        frame_rate_hz=SAMPLE_RATE_HZ / HOP_SAMPLES,
        pooling="mean",
        dim=dim,
        front_end={"version": 1},
        weights=_source(f"m-a-p/MERT-v1-{size}"),
        proof="the transformers library's HubertModel with random weights",
        options={"layer": (str(layers), *map(str, range(layers)), ALL_MEAN)},
        aliases=aliases,
    )


class _Mert(Pretrained):
    """What the two sizes have in common."""

    layers: ClassVar[int]

    @functools.cached_property
    def normalizes(self) -> bool:
        """Whether each window is brought to zero mean and unit variance."""
        found = self.read_settings(PREPROCESSOR)
        self.require(PREPROCESSOR, found, {"sampling_rate": SAMPLE_RATE_HZ})
        said = found.get("do_normalize")
        if not isinstance(said, bool):
            raise self.unfit(f"'{PREPROCESSOR}' does not say do_normalize, true or false")
        return said

    def file_facts(self) -> dict[str, Any]:
        """Tell what the checkpoint says of its network and of what goes into it."""
        return {"config": self.config_digest(), "normalizes": self.normalizes}

    def load(self) -> None:
        """Bring the network into memory.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The checkpoint is of another network, or cannot be used.
        """
        # before the libraries: that there are no weights is to be found out at once
        state = self.read_weights()

        import torch

        second = torch.zeros(1, SAMPLE_RATE_HZ)
        self._network = self.place(self.network(state), second, how=self._layer, varying=[1])
        self.probe()

    def network(self, state: Mapping[str, torch.Tensor]) -> Any:
        """Make the library's network of a checkpoint's weights.

        Raises
        ------
        Quarantined
        """
        from torch.nn.utils.parametrize import remove_parametrizations
        from transformers import HubertModel

        network: Any = self.build(HubertModel, self._config(), state, attn_implementation="sdpa")
        # direction and length of these weights are stored apart; for use they are one
        remove_parametrizations(network.encoder.pos_conv_embed.conv, "weight")
        return network

    def _config(self) -> Any:
        from transformers import HubertConfig

        found = self.settings
        shape = {"hidden_size": self.card.frame_dim, "num_hidden_layers": self.layers}
        self.require(CONFIG, found, FOREIGN | shape)
        settings = known_settings(HubertConfig(), found)
        return self.configure(lambda settings: HubertConfig(**settings), settings)

    def prepare(self, window: Window) -> FloatArray:
        """Bring a window to zero mean and unit variance where the checkpoint says so."""
        return standardized(window.samples) if self.normalizes else window.samples

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the chosen layer's frames of N windows, shape (N, T, frame_dim).

        Windows of different length never share a padded batch: the first layer
        normalises over time, and padding would be part of what it sees.
        """
        return self._network(samples)

    def _layer(self, network: Any, samples: torch.Tensor) -> torch.Tensor:
        import torch

        states = hidden_states(network, samples)
        layer = self.options.get("layer", str(self.layers))
        return torch.stack(states).mean(dim=0) if layer == ALL_MEAN else states[int(layer)]


def hidden_states(network: Any, samples: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Compute what every layer says of windows of one length.

    Parameters
    ----------
    network : HubertModel
    samples : Tensor of float32, shape (N, samples)
        Prepared windows.

    Returns
    -------
    tuple of Tensor, each of shape (N, T, frame_dim)
        What goes into the first layer, then what comes out of each.
    """
    heard = network(samples, output_hidden_states=True)
    # the library keeps the last one as it is before the final norm of the larger network
    return (*heard.hidden_states[:-1], heard.last_hidden_state)


class Mert95M(_Mert):
    """The smaller one: 12 layers of 768."""

    layers = 12
    card = _card("mert", "95M", dim=768, layers=layers, aliases=("mert-95m",))


class Mert330M(_Mert):
    """The larger one: 24 layers of 1,024."""

    layers = 24
    card = _card("mert-330m", "330M", dim=1024, layers=layers)
