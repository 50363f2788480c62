"""DINO: vision transformers that look at mel spectrograms, as the SONIC project has them do.

The picture is the one that `soundalike.pictures` draws; see docs/pictures.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from soundalike.audio import colours, spectra
from soundalike.embedders.base import Card
from soundalike.embedders.checkpointed import OneByOne
from soundalike.embedders.pretrained import Pretrained
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 16_000
FFT_SIZE = 2048
HOP_SAMPLES = 512
SIDE = 224  # rows of the picture, and columns of a window of it
STRIDE = 112
SMALLEST_SHARE = 1e-6
# ImageNet's red, green and blue
MEANS = (0.485, 0.456, 0.406)
DEVIATIONS = (0.229, 0.224, 0.225)
LAYERS = 12
HEAD_DIM = 64
LAYER_NORM_EPSILON = 1e-6  # of the original; the hub's config.json has the library's 1e-12

QKV = ".attn.qkv."
PROJECTIONS = ("q_proj", "k_proj", "v_proj")
# what parts of names in the original's files are called in the library's network
LIBRARY_NAMES = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
    "blocks.": "layers.",
    ".norm1.": ".layernorm_before.",
    ".norm2.": ".layernorm_after.",
    ".attn.proj.": ".attention.o_proj.",
    "norm.": "layernorm.",
}


def _card(key: str, original: str, *, dim: int, patch: int) -> Card:
    return Card(
        key=key,
        summary=f"How a sound's spectrogram looks, by a vision network with {patch}-pixel patches.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=None,  # the colours hang on the extremes of the whole clip
        min_seconds=FFT_SIZE / SAMPLE_RATE_HZ,
        frame_dim=dim,
        frame_rate_hz=SAMPLE_RATE_HZ / HOP_SAMPLES / STRIDE,
        pooling="mean",
        dim=dim,
        front_end={
            "version": 1,
            "mel": f"htk-{SIDE}-unnormalised-db",
            "fft_size": FFT_SIZE,
            "hop_samples": HOP_SAMPLES,
            "levels": "clip-min-max",
            "colours": "magma-not-whole",
            "window_columns": SIDE,
            "stride_columns": STRIDE,
            "short": "columns-repeated",
            "layer_norm_epsilon": LAYER_NORM_EPSILON,
        },
        weights=Source(
            repository=f"facebook/{key}",
            parts=(Part("model.safetensors"), Part("pytorch_model.bin"), Part(original)),
            licence="Apache-2.0",
            commercial=True,
        ),
        proof="a plain vision transformer and the transformers library's ViTModel with random "
        "weights",
        options={"scale": ("bytes", "unit")},
    )


class _Dino(OneByOne, Pretrained):
    """What the four have in common; a frame is what is seen in one window of the picture."""

    patch: ClassVar[int]

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

        picture = torch.zeros(1, 3, SIDE, SIDE)
        self._network = self.place(self.network(state), picture, how=_class_token)
        self.probe()

    def network(self, state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
        """Make the library's network of a checkpoint's weights, whoever's names they have.

        Raises
        ------
        Quarantined
        """
        from transformers import ViTConfig, ViTModel

        config = ViTConfig(
            hidden_size=self.card.dim,
            intermediate_size=4 * self.card.dim,
            num_hidden_layers=LAYERS,
            num_attention_heads=self.card.dim // HEAD_DIM,
            layer_norm_eps=LAYER_NORM_EPSILON,
            image_size=SIDE,
            patch_size=self.patch,
        )
        named = _renamed(state) if "cls_token" in state else state
        return self.build(
            ViTModel, config, named, attn_implementation="sdpa", add_pooling_layer=False
        )

    def prepare(self, window: Window) -> FloatArray:
        """Draw the spectrogram of a clip.

        Returns
        -------
        ndarray of float32, shape (3, 224, columns)
            Red, green and blue from 0 to 255, the lowest band first. A picture narrower than
            a window is repeated until it fills one.
        """
        level = spectra.mel_decibels(
            window.samples,
            SAMPLE_RATE_HZ,
            bands=SIDE,
            fft_size=FFT_SIZE,
            hop_samples=HOP_SAMPLES,
        )
        # relative to the loudest first, as pictures for the eye are, so that both round alike
        below = level - level.max()
        lowest = float(below.min())
        shares = (below - lowest + SMALLEST_SHARE) / (SMALLEST_SHARE - lowest)
        columns = np.arange(max(SIDE, len(shares))) % len(shares)
        return colours.exact_magma(shares[columns]).transpose(2, 1, 0)

    def hear(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the class token of every window of a picture, shape (T, frame_dim)."""
        import torch

        scale = 255.0 if self.options.get("scale") == "unit" else 1.0
        means = samples.new_tensor(MEANS)[:, None, None]
        deviations = samples.new_tensor(DEVIATIONS)[:, None, None]
        windows = samples.unfold(2, SIDE, STRIDE).movedim(2, 0)
        passes = torch.tensor_split(
            windows, tuple(range(self.largest_batch, len(windows), self.largest_batch))
        )
        return torch.cat([self._network((some / scale - means) / deviations) for some in passes])


class DinoVits16(_Dino):
    """The small one with large patches."""

    patch = 16
    card = _card("dino-vits16", "dino_deitsmall16_pretrain.pth", dim=384, patch=patch)


class DinoVits8(_Dino):
    """The small one with small patches."""

    patch = 8
    card = _card("dino-vits8", "dino_deitsmall8_pretrain.pth", dim=384, patch=patch)


class DinoVitb16(_Dino):
    """The large one with large patches."""

    patch = 16
    card = _card("dino-vitb16", "dino_vitbase16_pretrain.pth", dim=768, patch=patch)


class DinoVitb8(_Dino):
    """The large one with small patches."""

    patch = 8
    card = _card("dino-vitb8", "dino_vitbase8_pretrain.pth", dim=768, patch=patch)


def _class_token(network: Any, pictures: torch.Tensor) -> torch.Tensor:
    seen: torch.Tensor = network(pixel_values=pictures).last_hidden_state[:, 0]
    return seen


def _renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the tensors of an original file the library's names.

    Query, key and value stand in one tensor there, and in three in the library's network.
    """
    renamed: dict[str, torch.Tensor] = {}
    for original, tensor in state.items():
        name = original
        for part, ours in LIBRARY_NAMES.items():
            name = name.replace(part, ours)
        if QKV in name and tensor.ndim:
            # a tensor that is too short for thirds is found out by what is then missing
            thirds = zip(PROJECTIONS, tensor.chunk(len(PROJECTIONS)), strict=False)
            for projection, third in thirds:
                renamed[name.replace(QKV, f".attention.{projection}.")] = third
        else:
            renamed[name] = tensor
    return renamed
