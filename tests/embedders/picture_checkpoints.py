"""Checkpoints with random weights for the residual networks, in their authors' layouts.

Every layer keeps the size of what goes through it, as one that was learnt would.
"""

import numpy as np
import torch
from scipy.signal import get_window


def make_small(patch, module):
    """Have an embedder build the network of its small checkpoint."""
    for name, size in SMALL_NETWORKS[module].items():
        patch.setattr(f"soundalike.embedders.{module}.{name}", size)


class Draw:
    """Draws weights into a table, one layer after the other."""

    def __init__(self, seed):
        self.state = {}
        self._generator = torch.Generator().manual_seed(seed)

    def noise(self, *shape):
        return torch.randn(shape, generator=self._generator)

    def layer(self, name, *shape, bias=True, gain=2.0):
        """Weights (out, in, ...) for what a ReLU has halved, where the gain is 2."""
        self.state[f"{name}.weight"] = self.noise(*shape) * (gain / np.prod(shape[1:])) ** 0.5
        if bias:
            self.state[f"{name}.bias"] = 0.05 * self.noise(shape[0])

    def norm(self, name, width):
        self.state[f"{name}.weight"] = 1 + 0.1 * self.noise(width)
        self.state[f"{name}.bias"] = 0.1 * self.noise(width)
        self.state[f"{name}.running_mean"] = 0.1 * self.noise(width)
        self.state[f"{name}.running_var"] = 1 + 0.1 * self.noise(width).abs()
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(1000)

    def convolutions(self, name, shapes, past):
        """One block: its convolutions, and where it needs one what leads past them."""
        for number, shape in enumerate(shapes, 1):
            self.layer(f"{name}.conv{number}", *shape, bias=False)
            self.norm(f"{name}.bn{number}", shape[0])
        if past:
            self.layer(f"{name}.downsample.0", shapes[-1][0], past, 1, 1, bias=False, gain=1.0)
            self.norm(f"{name}.downsample.1", shapes[-1][0])


SMALL_NETWORKS = {
    "wav2clip": {"WIDTH": 8, "DEPTHS": (1, 1, 1, 1)},
    "encodecmae": {"LAYERS": 2, "HIDDEN": 64},
    "audioclip": {"WIDTH": 16, "DEPTHS": (1, 1, 1, 1)},  # its blocks are in 32 groups inside
}


def write_wav2clip(folder, *, width=8, blocks=1, seed=0):
    """Write Wav2CLIP's checkpoint: a ResNet-18, two dense layers, and the Fourier window."""
    folder.mkdir(parents=True)
    draw = Draw(seed)
    draw.state["audio_encoder.spectrogram.window"] = torch.hann_window(512)
    draw.layer("audio_encoder.conv1", width, 1, 7, 7, bias=False)
    draw.norm("audio_encoder.bn1", width)
    inputs = width
    for stage, outputs in enumerate((width, 2 * width, 4 * width, 8 * width), 1):
        for block in range(blocks):
            past = inputs if inputs != outputs else 0
            shapes = [(outputs, inputs, 3, 3), (outputs, outputs, 3, 3)]
            draw.convolutions(f"audio_encoder.layer{stage}.{block}", shapes, past)
            inputs = outputs
    draw.layer("audio_transform.sequential.0", 512, inputs)
    draw.layer("audio_transform.sequential.3", 512, 512)
    torch.save(draw.state, folder / "Wav2CLIP.pt")
    return folder


def write_audioclip(folder, *, width=16, depths=(1, 1, 1, 1), seed=0):
    """Write AudioCLIP's checkpoint: the audio head, and something of the other towers."""
    folder.mkdir(parents=True)
    draw = Draw(seed)
    random = np.random.default_rng(seed)
    draw.state["visual.conv1.weight"] = torch.zeros(2, 3, 1, 1)
    draw.state["logit_scale"] = torch.tensor(4.6)
    draw.state["audio.window"] = torch.from_numpy(get_window("blackmanharris", 1654)).float()
    for name, values in {
        "m": random.uniform(0, 2, 1025),
        "fb": random.uniform(0.5, 3, 1025),
        "fc": np.arange(1025) + random.normal(0, 0.3, 1025),
    }.items():
        draw.state[f"audio.fbsp.{name}"] = torch.from_numpy(values).float()
    # decibels go in, some forty below nought
    draw.layer("audio.conv1", width, 3, 7, 7, bias=False, gain=0.001)
    draw.norm("audio.bn1", width)
    inputs = width
    widths = [4 * width << number for number in range(4)]
    for stage, (outputs, depth) in enumerate(zip(widths, depths, strict=True), 1):
        draw_attention(draw, stage, inputs, outputs)
        for block in range(depth):
            inner = outputs // 2
            shapes = [(inner, inputs, 1, 1), (inner, inner // 32, 3, 3), (outputs, inner, 1, 1)]
            draw.convolutions(f"audio.layer{stage}.{block}", shapes, 0 if block else inputs)
            inputs = outputs
    draw_attention(draw, 5, inputs, inputs)
    draw.layer("audio.fc", 1024, inputs)
    torch.save(draw.state, folder / "AudioCLIP-Full-Training.pt")
    return folder


def draw_attention(draw, number, inputs, outputs):
    kernel = {1: (3, 1), 2: (1, 5), 3: (3, 1), 4: (1, 5), 5: (3, 5)}[number]
    draw.layer(f"audio.att{number}.conv_depth", inputs, 1, *kernel)
    draw.layer(f"audio.att{number}.conv_point", outputs, inputs, 1, 1)
    draw.norm(f"audio.att{number}.bn", outputs)
