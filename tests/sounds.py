"""Sounds that tests make for themselves, and their encodings."""

import io

import numpy as np
import soundfile


def tone(seconds=1.0, hz=440.0, rate=16_000, channels=1, amplitude=0.5):
    """A sine with a second one above it, shape (samples, channels), each channel's a little off."""
    time = np.arange(round(seconds * rate)) / rate
    columns = [
        amplitude * (0.8 * np.sin(2 * np.pi * (hz + 3 * c) * time) + 0.2 * np.sin(7 * hz * time))
        for c in range(channels)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def noise(seconds=1.0, rate=16_000, seed=0, amplitude=0.3):
    """White noise, shape (samples, 1)."""
    samples = np.random.default_rng(seed).uniform(-1, 1, (round(seconds * rate), 1))
    return (amplitude * samples).astype(np.float32)


def encoded(samples, rate=16_000, container="WAV", subtype=None):
    """The bytes of a file that holds the samples."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()
