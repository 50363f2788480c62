import librosa
import numpy as np
import pytest

from soundalike.audio import harmony
from tests.sounds import noise, tone

RATE, HOP = 22_050, 128


def direct(samples, rate, centre, q, hop):
    """Magnitudes by the definition, moment by moment, in double precision."""
    length = q * rate / centre
    time = np.arange(-int(length / 2), int(length / 2) + 1)
    window = 0.5 + 0.5 * np.cos(2 * np.pi * time / length)
    kernel = window * np.exp(-2j * np.pi * centre / rate * time) / window.sum()
    padded = np.pad(samples.astype(np.float64), (len(time) // 2, len(time) // 2 + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(time))[::hop]
    return np.abs(windows @ kernel)


def melody():
    """Notes with some noise, two seconds long."""
    notes = [tone(0.5, hz, RATE)[:, 0] for hz in (55.0, 277.2, 440.0, 3520.0)]
    return np.concatenate(notes) + noise(2.0, RATE, amplitude=0.02)[:, 0]


@pytest.mark.parametrize("centre", [55.0, 440.0, 3520.0])
@pytest.mark.parametrize("hop", [128, 300])
def test_constant_q_equals_its_definition(centre, hop):
    sound = melody()
    found = harmony.constant_q(sound, RATE, np.array([centre]), 50.0, hop)[:, 0]
    expected = direct(sound, RATE, centre, 50.0, hop)
    assert found.shape == (1 + len(sound) // hop,)
    # side lobes are left out, which are 2.7 % of the main lobe at the most
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())


def test_constant_q_of_a_sine_is_half_its_amplitude():
    sine = 0.6 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE).astype(np.float32)
    found = harmony.constant_q(sine, RATE, np.array([440.0]), 50.0, HOP)[:, 0]
    np.testing.assert_allclose(found[150:-150], 0.3, rtol=1e-3)


def test_chroma_resembles_librosa():
    sound = melody()
    expected = librosa.feature.chroma_cqt(y=sound, sr=RATE, hop_length=HOP, tuning=0.0)
    found = harmony.chroma(sound, RATE, HOP).T
    assert found.shape == expected.shape
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    assert np.abs(found - expected).mean() < 0.01


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
@pytest.mark.parametrize("note", range(24, 108, 7))
def test_each_note_falls_to_its_class(note, rate):
    hz = 440 * 2 ** ((note - 69) / 12)
    if hz > 0.45 * rate:
        hz /= 4
    sine = np.sin(2 * np.pi * hz * np.arange(2 * rate) / rate).astype(np.float32)
    strength = harmony.chroma(sine, rate, HOP)[len(sine) // HOP // 2]
    assert strength.argmax() == note % 12
    assert strength.max() == 1
    assert np.sort(strength)[-2] < 0.1


def test_silence_and_what_is_next_to_silence_have_no_class():
    assert not harmony.chroma(np.zeros(RATE, np.float32), RATE, HOP).any()
    faint = np.concatenate([tone(2.0, rate=RATE)[:, 0], 1e-6 * noise(4.0, RATE)[:, 0]])
    assert harmony.chroma(faint, RATE, HOP)[-100:].max() < 0.1
