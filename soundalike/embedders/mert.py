"""MERT: the music models of 95 and 330 million parameters.

Both are HuBERT networks, which the transformers library has; the code that
comes with the published checkpoints is not run.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from soundalike.embedders.base import Card
from soundalike.embedders.pretrained import CONFIG, PREPROCESSOR, Pretrained
from soundalike.embedders.weights import Part, Source, read_state
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 24_000
HOP_SAMPLES = 320
ALL_MEAN = "all-mean"
SMALLEST_VARIANCE = 1e-7

# of what the published config says, what is of the file and not of the network
NOT_OF_THE_NETWORK = {"model_type", "architectures", "transformers_version", "dtype"}
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

    def front_end(self) -> Mapping[str, Any]:
        """Tell what lies between samples and network, the checkpoint's choice among it."""
        return {**self.card.front_end, "normalizes": self.normalizes}

    def load(self) -> None:
        """Bring the network into memory.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The checkpoint is of another network, or cannot be used.
        """
        # before the libraries: that there are no weights is to be found out at once
        state = read_state(self.folder, self.source)

        from torch.nn.utils.parametrize import remove_parametrizations
        from transformers import HubertModel

        network: Any = self.build(HubertModel, self._config(), state, attn_implementation="sdpa")
        # direction and length of these weights are stored apart; for use they are one
        remove_parametrizations(network.encoder.pos_conv_embed.conv, "weight")
        self._network = network
        self.probe()

    def _config(self) -> Any:
        from transformers import HubertConfig

        found = self.read_settings(CONFIG)
        shape = {"hidden_size": self.card.frame_dim, "num_hidden_layers": self.layers}
        self.require(CONFIG, found, FOREIGN | shape)
        known = HubertConfig().to_dict().keys() - NOT_OF_THE_NETWORK
        of_the_network = {name: value for name, value in found.items() if name in known}
        return self.configure(lambda settings: HubertConfig(**settings), of_the_network)

    def prepare(self, window: Window) -> FloatArray:
        """Bring a window to zero mean and unit variance where the checkpoint says so."""
        if not self.normalizes:
            return window.samples
        wide = window.samples.astype(np.float64)
        scaled: FloatArray = (
            (wide - wide.mean()) / np.sqrt(wide.var() + SMALLEST_VARIANCE)
        ).astype(np.float32)
        return scaled

    def hear(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the chosen layer's frames of a window, shape (T, frame_dim).

        Windows of different length never share a padded batch: the first layer
        normalises over time, and padding would be part of what it sees.
        """
        import torch

        states = self.hidden_states(samples)
        layer = self.options.get("layer", str(self.layers))
        return torch.stack(states).mean(dim=0) if layer == ALL_MEAN else states[int(layer)]

    def hidden_states(self, samples: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute what every layer says of a window.

        Parameters
        ----------
        samples : Tensor of float32, shape (samples,)
            A prepared window.

        Returns
        -------
        tuple of Tensor, each of shape (T, frame_dim)
            What goes into the first layer, then what comes out of each.
        """
        heard = self._network(samples[None], output_hidden_states=True)
        # the library keeps the last one as it is before the final norm of the larger network
        return tuple(state[0] for state in (*heard.hidden_states[:-1], heard.last_hidden_state))


class Mert95M(_Mert):
    """The smaller one: 12 layers of 768."""

    layers = 12
    card = _card("mert", "95M", dim=768, layers=layers, aliases=("mert-95m",))


class Mert330M(_Mert):
    """The larger one: 24 layers of 1,024."""

    layers = 24
    card = _card("mert-330m", "330M", dim=1024, layers=layers)
