"""Sounds of which it is known what their pictures must show."""

import numpy as np

from tests.sounds import encoded

RATE = 22_050


def seconds(length):
    return np.arange(round(length * RATE)) / RATE


def chirp(length=8.0, start_hz=200.0, end_hz=8000.0):
    """A sine whose frequency rises evenly."""
    time = seconds(length)
    phase = 2 * np.pi * (start_hz * time + (end_hz - start_hz) / (2 * length) * time**2)
    return 0.5 * np.sin(phase)


def chord(*notes_hz, length=4.0):
    """Decaying tones with two harmonics each."""
    time = seconds(length)
    tones = (
        np.sin(2 * np.pi * hz * order * time) / order for hz in notes_hz for order in (1, 2, 4)
    )
    return 0.15 * sum(tones) * np.exp(-time / length)


def clicks(beats_per_minute=120.0, length=12.0):
    """Short bursts of noise, one a beat."""
    samples = np.zeros(round(length * RATE))
    burst = np.random.default_rng(0).uniform(-0.8, 0.8, 400) * np.exp(-np.arange(400) / 80)
    for start in np.arange(0, length - 0.1, 60 / beats_per_minute):
        samples[round(start * RATE) :][: len(burst)] += burst
    return samples


def tune():
    """A little of everything, three seconds long."""
    notes = [chord(hz, 1.5 * hz, length=0.5) for hz in (262, 294, 330, 392, 440, 523)]
    return np.concatenate(notes) + 0.3 * clicks(240, 3.0) + 0.2 * chirp(3.0, 1000, 9000)


def wav(samples):
    return encoded(samples.astype(np.float32), RATE, subtype="FLOAT")
