"""Checkpoints with random weights for networks that are written here, in their authors' layouts.

Every layer keeps the size of what goes through it, as one that was learnt would.
"""

import gzip
import io

import h5py
import numpy as np
import torch

VGGISH_CONVOLUTIONS = {
    0: (1, 64),
    3: (64, 128),
    6: (128, 256),
    8: (256, 256),
    11: (256, 512),
    13: (512, 512),
}
SMALL_HIDDEN = 64
SMALL_WIDTHS = (2, 3, 4, 5, 6, 7, 8, 512)
# a draw whose maxima lie not above 22 kHz, where files of lower rates hold nothing
OPENL3_SEED = 3


def behind_relu(generator, *shape):
    """Weights for what a ReLU has halved, (out, in, ...)."""
    return torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5


def write_vggish(folder, *, hidden=SMALL_HIDDEN, seed=0):
    """Write a VGGish checkpoint as the torch port has it, with AudioSet's principal components."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for number, (inputs, width) in VGGISH_CONVOLUTIONS.items():
        state[f"features.{number}.weight"] = behind_relu(generator, width, inputs, 3, 3)
        state[f"features.{number}.bias"] = 0.05 * torch.randn(width, generator=generator)
    for number, (inputs, width) in {
        0: (12_288, hidden),
        2: (hidden, hidden),
        4: (hidden, 128),
    }.items():
        state[f"embeddings.{number}.weight"] = behind_relu(generator, width, inputs)
        state[f"embeddings.{number}.bias"] = 0.05 * torch.randn(width, generator=generator)
    torch.save(state, folder / "vggish-10086976.pth")
    random = np.random.default_rng(seed)
    np.savez(
        folder / "vggish_pca_params.npz",
        pca_eigen_vectors=random.normal(0, 0.1, (128, 128)).astype(np.float32),
        pca_means=random.uniform(0, 1, (128, 1)).astype(np.float32),
    )
    return folder


def openl3_layers(widths=SMALL_WIDTHS, seed=OPENL3_SEED):
    """Draw OpenL3's layers as Keras has them, in order: (name, {weight: array}) of each."""
    random = np.random.default_rng(seed)

    def norm(number, width, mean=0.0, deviation=1.0):
        return f"batch_normalization_{number}", {
            "gamma": random.uniform(0.8, 1.2, width),
            "beta": random.normal(0, 0.1, width),
            "moving_mean": mean + random.normal(0, 0.1, width),
            "moving_variance": deviation**2 * random.uniform(0.8, 1.2, width),
        }

    layers = [("input_1", {}), norm(1, 1, mean=-40.0, deviation=20.0)]
    inputs = 1
    for number, width in enumerate(widths):
        last = number == len(widths) - 1
        name = "audio_embedding_layer" if last else f"conv2d_{number + 1}"
        kernel = random.normal(0, (2 / (9 * inputs)) ** 0.5, (3, 3, inputs, width))
        layers.append((name, {"kernel": kernel, "bias": random.normal(0, 0.05, width)}))
        if not last:
            layers += [norm(number + 2, width), (f"activation_{number + 1}", {})]
        inputs = width
    return layers


def keras_h5(layers):
    """The bytes of a file of weights as Keras writes it."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name, _ in layers]
        file.attrs["backend"] = b"tensorflow"
        for name, weights in layers:
            group = file.create_group(name)
            paths = {f"{name}/{kind}:0": array for kind, array in weights.items()}
            group.attrs["weight_names"] = [path.encode() for path in paths]
            for path, array in paths.items():
                group.create_dataset(path, data=array.astype(np.float32))
    return buffer.getvalue()


def write_openl3(folder, *, widths=SMALL_WIDTHS, seed=OPENL3_SEED):
    """Write an OpenL3 checkpoint as its authors released it."""
    folder.mkdir(parents=True)
    content = gzip.compress(keras_h5(openl3_layers(widths, seed)), 1)
    (folder / "openl3_audio_mel256_music-v0_4_0.h5.gz").write_bytes(content)
    return folder


def write_encodecmae(folder, *, layers=2, hidden=64, seed=0):
    """Write an EncodecMAE checkpoint: a training run's leavings, with a block in every layer."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)

    def dense(outputs, inputs):
        return torch.randn(outputs, inputs, generator=generator) * inputs**-0.5

    def near(value, width):
        return value + 0.1 * torch.randn(width, generator=generator)

    shared = {
        "0.weight": dense(hidden, 768),
        "0.bias": near(0, hidden),
        "2.weight": dense(768, hidden),
        "2.bias": near(0, 768),
    }
    state = {
        "wav_encoder.post_net.weight": dense(768, 256),
        "wav_encoder.post_net.bias": near(0, 768),
        "masker.positional_encoder.scale": torch.tensor(0.7),
        "visible_encoder.final_norm.weight": near(1, 768),
        "visible_encoder.final_norm.bias": near(0, 768),
        "visible_encoder.post_net.weight": dense(768, 768),  # leads to the decoder
        "decoder.positional_encoder.scale": torch.tensor(0.2),
        "head.layers.weight": dense(4, 768),
    }
    for number in range(layers):
        layer = f"visible_encoder.encoder_layers.{number}."
        for name in ("wq", "wk", "wv", "wo"):
            state[f"{layer}att_layer.{name}.weight"] = dense(768, 768)
        for name in ("norm1", "norm2"):
            state[f"{layer}{name}.weight"] = near(1, 768)
            state[f"{layer}{name}.bias"] = near(0, 768)
        state |= {f"{layer}ff_layer.{name}": tensor for name, tensor in shared.items()}
    leavings = {"imports": ["os"], "config": "get_model.model = @os.abort()", "state_dict": state}
    torch.save(leavings, folder / "mel256-ec-base_st.pt")
    return folder
