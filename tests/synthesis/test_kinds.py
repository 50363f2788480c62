from __future__ import annotations

import numpy as np
import pytest

from soundalike.errors import BadRate, BadRequest
from soundalike.synthesis.effects import finish, highpass, lowpass, resonate, reverberate
from soundalike.synthesis.kinds import KINDS
from soundalike.synthesis.ranges import Range
from soundalike.synthesis.sources import oscillate, strike
from soundalike.synthesis.take import Take

RATE = 44_100
DTMF_LOW_HZ = np.array([697, 770, 852, 941])
DTMF_HIGH_HZ = np.array([1209, 1336, 1477, 1633])

every_kind = pytest.mark.parametrize("name", sorted(KINDS))


def make(name, seed=0, seconds=3.0, rate=RATE, **chosen):
    rng = np.random.default_rng(seed)
    bag = {**KINDS[name].draw(rng), **chosen}
    return KINDS[name].render(bag, Take(seconds, rate, rng)), bag


def power(samples):
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 2**18)) ** 2


def peak_hz(samples, low_hz, high_hz, rate=RATE):
    spectrum = power(samples)
    hz = np.fft.rfftfreq(2**18, 1 / rate)
    band = np.flatnonzero((hz >= low_hz) & (hz <= high_hz))
    return hz[band[spectrum[band].argmax()]]


def recurrence_s(samples, expected_s):
    """The lag near the expected one at which onsets best repeat."""
    hop = 64
    blocks = samples[: len(samples) // hop * hop].reshape(-1, hop)
    level = np.log10(1e-3 + np.sqrt((blocks**2).mean(1)))
    onsets = np.maximum(np.diff(level), 0)
    smooth = np.convolve(onsets, np.hanning(15), "same")
    smooth -= smooth.mean()
    repeats = np.correlate(smooth, smooth, "full")[len(smooth) - 1 :]
    lags_s = np.arange(len(repeats)) * hop / RATE
    near = np.flatnonzero(np.abs(lags_s / expected_s - 1) < 0.15)
    return lags_s[near[repeats[near].argmax()]]


def share_on_multiples(samples, pitch_hz):
    """How much of the power lies within 8 Hz of a multiple of the pitch."""
    spectrum = power(samples)
    multiples = np.fft.rfftfreq(2**18, 1 / RATE) / pitch_hz
    distances_hz = np.abs(multiples - np.round(multiples)) * pitch_hz
    return spectrum[distances_hz < 8].sum() / spectrum.sum()


def flatness(samples):
    spectrum = np.abs(np.fft.rfft(samples[: RATE * 2].reshape(-1, 2100))) ** 2 + 1e-12
    return np.mean(np.exp(np.log(spectrum).mean(1)) / spectrum.mean(1))


@every_kind
@pytest.mark.parametrize(("seconds", "rate"), [(1.0, 16_000), (2.5, 44_100)])
def test_a_sound_is_as_long_and_as_loud_as_promised(name, seconds, rate):
    samples, _ = make(name, seconds=seconds, rate=rate)
    assert samples.dtype == np.float32
    assert samples.shape == (seconds * rate,)
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() == pytest.approx(0.9, abs=1e-6)
    assert np.abs(samples.mean(dtype=np.float64)) < 1e-6
    assert np.abs(samples[[0, -1]]).max() < 1e-3
    assert np.sqrt((samples**2).mean()) > 0.005


@every_kind
def test_the_seed_alone_decides_what_is_heard(name):
    first, _ = make(name, seed=1)
    np.testing.assert_array_equal(first, make(name, seed=1)[0])
    assert np.abs(first - make(name, seed=2)[0]).max() > 0.1


@every_kind
def test_what_is_drawn_lies_in_its_range(name):
    kind = KINDS[name]
    rng = np.random.default_rng(0)
    for bag in (kind.draw(rng) for _ in range(50)):
        assert bag.keys() == {*kind.ranges, "reverb_s", "hiss_db"}
        assert all(r.low <= bag[key] <= r.high for key, r in kind.ranges.items())


@every_kind
def test_each_parameter_is_heard(name):
    kind = KINDS[name]
    middle = {key: values.at(0.5) for key, values in kind.ranges.items()}
    plain, _ = make(name, seconds=1.0, **middle)
    for key, values in kind.ranges.items():
        other = {**middle, key: values.at(0.0)}
        assert np.abs(plain - make(name, seconds=1.0, **other)[0]).max() > 1e-3, key


def test_a_logarithmic_range_is_halved_at_its_geometric_mean():
    assert Range(100, 400, "log").at(0.5) == 200
    assert Range(100, 400).at(0.5) == 250


def test_a_whole_range_gives_each_number_the_same_share():
    drawn = [Range(1, 3, "whole").at(position) for position in np.arange(9) / 9]
    assert drawn == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_take_that_is_too_short_is_refused():
    with pytest.raises(BadRequest, match=r"at least 1\.0 s"):
        make("bell", seconds=0.5)


def test_a_rate_that_is_too_low_is_refused():
    with pytest.raises(BadRate, match="16000 Hz"):
        make("bell", rate=8_000)


@pytest.mark.parametrize("name", ["plucked-string", "marimba", "flute", "bowed-string"])
@pytest.mark.parametrize("seed", range(4))
def test_a_melody_begins_at_its_pitch(name, seed):
    samples, bag = make(name, seed=seed, tempo_bpm=60.0)
    pitch_hz = bag["pitch_hz"]
    heard_hz = peak_hz(samples[: round(0.48 * RATE)], 0.8 * pitch_hz, 1.25 * pitch_hz)
    assert heard_hz == pytest.approx(pitch_hz, rel=0.006)


@pytest.mark.parametrize("pitch_hz", [131.7, 220.0, 329.3])
def test_a_plucked_string_is_in_tune_to_a_twentieth_of_a_semitone(pitch_hz):
    samples, _ = make("plucked-string", pitch_hz=pitch_hz, tempo_bpm=30.0, decay_s=4.0)
    heard_hz = peak_hz(samples[:RATE], 0.9 * pitch_hz, 1.1 * pitch_hz)
    assert abs(12 * np.log2(heard_hz / pitch_hz)) < 0.05


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "key", "period"),
    [
        ("drum-loop", "tempo_bpm", 60),
        ("clock", "ticks_per_s", 1),
        ("footsteps", "steps_per_minute", 60),
        ("crickets", "pulses_per_s", 1),
    ],
)
def test_onsets_repeat_at_the_tempo(name, key, period, seed):
    samples, bag = make(name, seed=seed, reverb_s=0.08)
    expected_s = period / bag[key]
    assert recurrence_s(samples, expected_s) == pytest.approx(expected_s, rel=0.04)


@pytest.mark.parametrize("cylinders", [1, 4])
def test_an_engine_fires_each_cylinder_every_second_turn(cylinders):
    samples, _ = make("engine", cylinders=cylinders, rpm=1_500.0)
    firing_hz = 1_500 / 60 / 2 * cylinders
    assert peak_hz(samples, 0.8 * firing_hz, 1.2 * firing_hz) == pytest.approx(firing_hz, rel=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_an_organ_is_harmonic_and_a_bell_is_not(seed):
    organ, organ_bag = make("organ", seed=seed, voices=1, tempo_bpm=60.0)
    bell, bell_bag = make("bell", seed=seed)
    # The deepest pipe sounds an octave below the key.
    assert share_on_multiples(organ[:RATE], organ_bag["pitch_hz"] / 2) > 0.97
    assert share_on_multiples(bell, bell_bag["pitch_hz"] / 2) < 0.8


@pytest.mark.parametrize("seed", range(3))
def test_a_telephone_dials_pairs_of_standard_tones(seed):
    samples, bag = make("telephone", seed=seed)
    step_s = 1 / bag["digits_per_s"]
    for start_s in np.arange(bag["dial_tone_s"] + 0.1, 3.0 - step_s, step_s):
        digit = samples[round(start_s * RATE) : round((start_s + 0.6 * step_s) * RATE)]
        low_hz, high_hz = peak_hz(digit, 500, 1_050), peak_hz(digit, 1_050, 2_000)
        # A receiver must accept 1.5 % of error.
        assert np.abs(low_hz / DTMF_LOW_HZ - 1).min() < 0.015
        assert np.abs(high_hz / DTMF_HIGH_HZ - 1).min() < 0.015
    dial_tone = samples[: round(0.3 * RATE)]
    assert peak_hz(dial_tone, 300, 395) == pytest.approx(350, rel=0.01)
    assert peak_hz(dial_tone, 395, 500) == pytest.approx(440, rel=0.01)


def test_rain_is_flat_where_a_siren_is_peaky():
    assert flatness(make("rain")[0]) > 10 * flatness(make("siren")[0])


def test_waves_swell_and_rain_does_not():
    def swelling(name):
        levels = np.sqrt((make(name)[0][: 60 * 2205].reshape(60, 2205) ** 2).mean(1))
        return levels.std() / levels.mean()

    assert swelling("waves") > 3 * swelling("rain")


def test_a_shorter_vocal_tract_raises_the_formants():
    def centroid_hz(length_cm):
        samples, _ = make("voice", pitch_hz=120.0, breath=0.01, vocal_tract_cm=length_cm)
        hz = np.fft.rfftfreq(2**18, 1 / RATE)
        return (hz * power(samples)).sum() / power(samples).sum()

    assert centroid_hz(13.5) / centroid_hz(18.0) > 1.15


def test_a_struck_mode_falls_by_60_db_in_its_decay_time():
    blow = np.zeros(RATE)
    blow[0] = 1.0
    ringing = strike(blow, [1_000.0], [0.5], [1.0], RATE)
    wave = np.sin(2 * np.pi * 1_000 * (np.arange(RATE) + 1) / RATE)
    expected = wave * 10 ** (-3 * np.arange(RATE) / (0.5 * RATE))
    np.testing.assert_allclose(ringing, expected, atol=1e-9)


def test_an_oscillator_plays_its_partials_and_none_beyond_the_rate():
    take = Take(1.0, RATE, np.random.default_rng(0))
    played = oscillate(np.array([1.0, 0.5, 0.25]), 8_000.0, take)
    times_s = np.arange(RATE) / RATE
    expected = sum(a * np.sin(2 * np.pi * hz * times_s) for a, hz in ((1, 8_000), (0.5, 16_000)))
    np.testing.assert_allclose(played, expected, atol=1e-4)


def test_a_room_dies_away_in_its_reverberation_time():
    click = np.zeros(RATE)
    click[0] = 1.0
    tail = reverberate(click, 0.6, RATE, np.random.default_rng(0))[1:]
    remaining_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2) + 1e-12)
    # From -5 to -25 dB, as rooms are measured, times three.
    heard_s = 3 * np.diff(np.searchsorted(-remaining_db, [5, 25]))[0] / RATE
    assert heard_s == pytest.approx(0.6, rel=0.15)


@pytest.mark.parametrize(
    ("filtered", "gains_db"),
    [
        (lambda x: lowpass(x, 1_000, RATE), {100: 0, 1_000: -3, 10_000: -43.3}),
        (lambda x: highpass(x, 1_000, RATE), {100: -40, 1_000: -3, 10_000: 0}),
        (lambda x: resonate(x, 1_000, 200, RATE), {900: -3, 1_000: 0, 1_100: -3}),
    ],
)
def test_a_filter_passes_what_it_should(filtered, gains_db):
    click = np.zeros(RATE)
    click[0] = 1.0
    response = np.abs(np.fft.rfft(filtered(click)))
    for hz, gain_db in gains_db.items():
        assert 20 * np.log10(response[hz]) == pytest.approx(gain_db, abs=0.5)


def test_an_offset_is_taken_out():
    sine = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert np.abs(finish(sine + 5.0, RATE).mean(dtype=np.float64)) < 1e-6
