"""Music2Vec: the music model trained after data2vec, of 93 million parameters.

It is a data2vec network, which the transformers library has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from soundalike.embedders.base import Card
from soundalike.embedders.pretrained import CONFIG, Pretrained, known_settings, standardized
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 16_000
STRIDES = [5, 2, 2, 2, 2, 2, 2]
HOP_SAMPLES = 320  # the product of the strides
DIM = 768
LAYERS = 12
# the published config has the path of a file there, and no words are ever told apart
SPOILT = "vocab_size"


class Music2Vec(Pretrained):
    """A frame is what the last layer says of 20 ms."""

    card = Card(
        key="music2vec",
        summary="Music, by a network that learned to fill the gaps in what it hears.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=30.0,  # what it was trained on
        min_seconds=0.1,
        frame_dim=DIM,
        frame_rate_hz=SAMPLE_RATE_HZ / HOP_SAMPLES,
        pooling="mean",
        dim=DIM,
        front_end={"version": 1},
        weights=Source(
            repository="m-a-p/music2vec-v1",
            parts=(Part("model.safetensors"), Part("pytorch_model.bin"), Part(CONFIG)),
            licence="CC-BY-NC-4.0",
            commercial=False,
        ),
        proof="the transformers library's Data2VecAudioModel with random weights",
        options={"input": ("raw", "standardized")},
    )

    def file_facts(self) -> dict[str, Any]:
        """Tell what the checkpoint says of its network."""
        return {"config": self.config_digest()}

    def load(self) -> None:
        """Bring the network into memory.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The checkpoint is of another network, or cannot be used.
        """
        # before the library: that there are no weights is to be found out at once
        state = self.read_weights()

        import torch

        second = torch.zeros(1, SAMPLE_RATE_HZ)
        self._network = self.place(self.network(state), second, how=_last_layer, varying=[1])
        self.probe()

    def network(self, state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
        """Make the library's network of a checkpoint's weights.

        Raises
        ------
        Quarantined
        """
        from transformers import Data2VecAudioModel

        return self.build(Data2VecAudioModel, self._config(), state, attn_implementation="sdpa")

    def _config(self) -> Any:
        from transformers import Data2VecAudioConfig

        found = self.settings
        shape = {"hidden_size": DIM, "num_hidden_layers": LAYERS, "conv_stride": STRIDES}
        self.require(CONFIG, found, shape)
        settings = known_settings(Data2VecAudioConfig(), found)
        settings.pop(SPOILT, None)
        return self.configure(lambda settings: Data2VecAudioConfig(**settings), settings)

    def prepare(self, window: Window) -> FloatArray:
        """Take the samples as they are, or with zero mean and unit variance."""
        if self.options.get("input") == "standardized":
            return standardized(window.samples)
        return window.samples

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the last layer's frames of N windows, shape (N, T, 768).

        Windows of different length never share a padded batch: the frames'
        places are told by convolutions, which would see the padding.
        """
        return self._network(samples)


def _last_layer(network: Any, samples: torch.Tensor) -> torch.Tensor:
    frames: torch.Tensor = network(samples).last_hidden_state
    return frames
