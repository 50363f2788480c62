"""Measurements that tests listen with."""

import numpy as np

RATE = 16_000


def spectrum(samples, size=2**17):
    """Power of each bin of a windowed, padded Fourier transform."""
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size)) ** 2


def peak_hz(samples, low_hz=40, high_hz=7_500, rate=RATE, size=2**17):
    """The loudest frequency of a band."""
    hz = np.fft.rfftfreq(size, 1 / rate)
    power = np.where((hz >= low_hz) & (hz <= high_hz), spectrum(samples, size), 0)
    return hz[power.argmax()]


def share_between(samples, low_hz, high_hz, rate=RATE):
    """How much of the power lies in a band."""
    power = spectrum(samples)
    hz = np.fft.rfftfreq(2**17, 1 / rate)
    return power[(hz >= low_hz) & (hz < high_hz)].sum() / power.sum()


def period_s(samples, least_s, most_s, rate=RATE):
    """The lag at which a sound is most like itself."""
    size = 2 * len(samples)
    likeness = np.fft.irfft(np.abs(np.fft.rfft(samples, size)) ** 2)
    lags = np.arange(round(least_s * rate), round(most_s * rate))
    return lags[likeness[lags].argmax()] / rate


def levels(samples, step_s=0.01, rate=RATE):
    """Root mean square of each step."""
    step = round(step_s * rate)
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    return np.sqrt((blocks.astype(np.float64) ** 2).mean(1))


def log_spectrogram(samples, rate=RATE):
    """Log power in 24 bands of equal width in octaves, 90 to 7,500 Hz, shape (frames, 24)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::256] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.searchsorted(np.fft.rfftfreq(1024, 1 / rate), np.geomspace(90, 7_500, 25))
    bands = np.add.reduceat(power, edges, axis=1)[:, :-1]
    return np.maximum(np.log(bands + 1e-12), np.log(bands.max()) - 13)


def impression(samples):
    """What a sound is like as a whole: mean and deviation over time of its log spectrogram."""
    bands = log_spectrogram(samples)
    return np.r_[bands.mean(0), bands.std(0)]
