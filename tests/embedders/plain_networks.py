"""Residual networks as their definition has them: slow, in double precision, without torch."""

import numpy as np

EPSILON = 1e-5  # of every batch norm


class Plain:
    """A network's weights by name, and the layers that are made of them.

    Pictures are arrays of (channels, height, width).
    """

    def __init__(self, state):
        self.weights = {name: np.asarray(tensor, np.float64) for name, tensor in state.items()}

    def convolve(self, name, x, stride=1, padding=(0, 0), groups=1):
        weight = self.weights[f"{name}.weight"]
        outputs, inputs, height, width = weight.shape
        (down, across) = padding
        padded = np.pad(x, ((0, 0), (down, down), (across, across)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
        seen = seen[:, ::stride, ::stride]
        found = [
            np.tensordot(kernels, part, axes=((1, 2, 3), (0, 3, 4)))
            for kernels, part in zip(
                weight.reshape(groups, outputs // groups, inputs, height, width),
                seen.reshape(groups, inputs, *seen.shape[1:]),
                strict=True,
            )
        ]
        bias = self.weights.get(f"{name}.bias", np.zeros(outputs))
        return np.concatenate(found) + bias[:, None, None]

    def norm(self, name, x):
        scale, shift, mean, variance = (
            self.weights[f"{name}.{kind}"][:, None, None]
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + EPSILON) * scale + shift

    def dense(self, name, x):
        return self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]

    def stem(self, prefix, x):
        x = relu(self.norm(f"{prefix}bn1", self.convolve(f"{prefix}conv1", x, 2, (3, 3))))
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
        views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        return views[:, ::2, ::2].max(axis=(3, 4))

    def stage(self, name, x, stride, groups=1):
        """All blocks of a stage; the stride is that of the first one's wide convolution."""
        block = 0
        while f"{name}.{block}.conv1.weight" in self.weights:
            x = self.block(f"{name}.{block}", x, stride if block == 0 else 1, groups)
            block += 1
        return x

    def block(self, name, x, stride, groups):
        past = x
        if f"{name}.downsample.0.weight" in self.weights:
            past = self.norm(
                f"{name}.downsample.1", self.convolve(f"{name}.downsample.0", x, stride)
            )
        if f"{name}.conv3.weight" in self.weights:
            x = relu(self.norm(f"{name}.bn1", self.convolve(f"{name}.conv1", x)))
            wide = self.convolve(f"{name}.conv2", x, stride, (1, 1), groups)
            x = self.convolve(f"{name}.conv3", relu(self.norm(f"{name}.bn2", wide)))
            return relu(past + self.norm(f"{name}.bn3", x))
        x = relu(self.norm(f"{name}.bn1", self.convolve(f"{name}.conv1", x, stride, (1, 1))))
        x = self.convolve(f"{name}.conv2", x, 1, (1, 1))
        return relu(past + self.norm(f"{name}.bn2", x))


def relu(x):
    return np.maximum(x, 0)
