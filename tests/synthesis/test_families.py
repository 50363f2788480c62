"""Each family is listened to: are its parameters what is heard?"""

from __future__ import annotations

import numpy as np
import pytest

from soundalike.synthesis import FAMILIES, drums, instruments, motors, sweeps, textures, vocals
from soundalike.synthesis.composing import SCALES, Score, blows, compose, on_scale
from soundalike.synthesis.impacts import impact
from soundalike.synthesis.recording import EFFECTS, record
from soundalike.synthesis.scores import Note
from soundalike.synthesis.spectral import analyse, frequencies_hz, peaks, synthesise, white_spectra
from soundalike.synthesis.take import Take
from tests.synthesis.hearing import RATE, levels, peak_hz, period_s, share_between, spectrum

WAVETABLE, MODULATED, STRING, MODAL = range(4)


def take(seconds=2.0, seed=0, rate=RATE):
    return Take(seconds, rate, np.random.default_rng(seed))


def middle(ranges, **chosen):
    return {**{name: values.at(0.5) for name, values in ranges.items()}, **chosen}


def score_of(family, seed=0, **chosen):
    return Score(middle(FAMILIES[family].score, **chosen), seed)


def onsets_s(samples, step_s=0.005):
    """Moments at which the level leaps up."""
    level = np.log10(levels(samples, step_s) + 1e-3 * levels(samples, step_s).max())
    rise = np.diff(level, prepend=level[0])
    starts = np.flatnonzero((rise > 0.5) & (np.roll(rise, 1) <= 0.5))
    return starts * step_s


PLAIN = {"breath": 0.0, "vibrato_cents": 0.0, "tremolo": 0.0, "detune_cents": 0.0, "jagged": 0.0}


@pytest.mark.parametrize("pitch_hz", [82.4, 220.0, 523.3])
@pytest.mark.parametrize("method", [WAVETABLE, MODULATED, STRING, MODAL])
def test_an_instrument_plays_the_pitch_of_the_note(method, pitch_hz):
    timbre = middle(
        instruments.TIMBRE, method=method, modulator=1, stretch=1.0, ring_s=3.0, odd=0.0, **PLAIN
    )
    played = instruments.play_notes([Note(0.0, 1.5, pitch_hz, 1.0)], timbre, take(1.6))
    heard_hz = peak_hz(played[1_600:], 0.9 * pitch_hz, 1.1 * pitch_hz)
    assert abs(12 * np.log2(heard_hz / pitch_hz)) < 0.1
    eight_periods_s = period_s(played, 7.6 / pitch_hz, 8.4 / pitch_hz)
    assert 8 / eight_periods_s == pytest.approx(pitch_hz, rel=0.01)


@pytest.mark.parametrize("pitch_hz", [61.7, 220.0, 987.8])
def test_a_plucked_string_is_in_tune_and_dies_away_in_time(pitch_hz):
    timbre = middle(instruments.TIMBRE, ring_s=1.0, dulling=0.02, hardness=0.9)
    string = instruments.pluck(pitch_hz, timbre, take(1.0))
    assert abs(12 * np.log2(peak_hz(string, 0.9 * pitch_hz, 1.1 * pitch_hz) / pitch_hz)) < 0.05
    # its lowest partial, after 0.2 and 0.7 s of the second in which it falls by 60 dB
    size = round(0.2 * RATE)
    early, late = (
        spectrum(string[start : start + size])[round(pitch_hz / RATE * 2**17)]
        for start in (round(0.2 * RATE), round(0.7 * RATE))
    )
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=4)


def test_the_tilt_is_the_slope_of_the_partials():
    timbre = middle(
        instruments.TIMBRE, tilt=2.0, odd=0.0, brightening=0.0, body=0.0, nose=0.0, **PLAIN
    )
    played = instruments.play_notes(
        [Note(0.0, 1.0, 200.0, 1.0)], {**timbre, "method": 0}, take(1.1)
    )
    power = spectrum(played)
    partials = [power[round(200 * n / RATE * 2**17) - 20 :][:40].max() for n in (1, 2, 4, 8)]
    np.testing.assert_allclose(np.diff(10 * np.log10(partials)), -12.04, atol=0.5)


def test_vibrato_moves_the_pitch_by_its_cents():
    timbre = middle(
        instruments.TIMBRE,
        method=0,
        tilt=2.6,
        **{**PLAIN, "vibrato_cents": 50.0, "vibrato_hz": 5.0},
    )
    played = instruments.play_notes([Note(0.0, 2.0, 800.0, 1.0)], timbre, take(2.1))
    heard_hz = [
        peak_hz(played[start : start + 640], 600, 1_000) for start in range(9_600, 30_000, 160)
    ]
    spread = 1_200 * np.log2(max(heard_hz) / min(heard_hz))
    assert spread == pytest.approx(100, abs=20)


def test_notes_keep_to_the_scale_and_the_beat():
    for seed in range(20):
        score = score_of("instrument", seed, form=3, scale=2, tempo_bpm=120.0, lead_s=0.0)
        notes = compose(score, 4.0, 220.0)
        semitones = 12 * np.log2([note.pitch_hz / 220 for note in notes])
        np.testing.assert_allclose(semitones, np.round(semitones), atol=1e-6)
        assert {round(s) % 12 for s in semitones} <= set(SCALES[2])
        beats = np.array([note.start_s for note in notes]) * 120 / 60
        np.testing.assert_allclose(2 * beats, np.round(2 * beats), atol=1e-6)
        assert notes[0].start_s == 0
        assert max(note.start_s for note in notes) < 4.0


def test_chords_are_three_notes_at_a_time_and_melodies_one():
    def voices(form):
        notes = compose(score_of("instrument", 3, form=form, rests=0.0), 4.0, 220.0)
        return len(notes) / len({note.start_s for note in notes})

    assert [voices(form) for form in range(4)] == [1, 1, 3, 1]


def test_a_jittered_score_is_the_same_melody():
    slow, fast = (
        compose(score_of("instrument", 5, form=3, tempo_bpm=bpm, rests=0.0), 3.0, 220.0)
        for bpm in (100.0, 110.0)
    )
    shared = min(len(slow), len(fast))
    assert [n.pitch_hz for n in slow[:shared]] == [n.pitch_hz for n in fast[:shared]]


@pytest.mark.parametrize(("degree", "semitones"), [(0, 0), (2, 4), (7, 12), (-1, -1), (-7, -12)])
def test_degrees_of_a_major_scale(degree, semitones):
    assert on_scale(degree, 0) == semitones


def test_an_ensemble_plays_what_it_has_parts_for():
    family = FAMILIES["ensemble"]
    score = score_of("ensemble", 1, key_hz=196.0, scale=0)

    def low_share(**chosen):
        timbre = middle(family.timbre, drums_level=-1.0, **chosen)
        return share_between(family.play(timbre, score, take(3.0)), 40, 180)

    assert low_share(parts=1, first_part=2) > 5 * low_share(parts=1, first_part=0)
    assert low_share(parts=3, first_part=0) > 2 * low_share(parts=1, first_part=0)


STEADY_VOICE = {"pitch_hz": 120.0, "vibrato_cents": 0.0, "growl": 0.0, "unsteady_cents": 1.0}


def spoken(seed=0, timbre=None, **score):
    timbre = middle(vocals.TIMBRE, **{**STEADY_VOICE, **(timbre or {})})
    return vocals.voice(timbre, score_of("vocal", seed, **score), take(3.0, seed))


LEVEL_VOICE = {"fall": 0.0, "accent": 0.0, "bend": 0.0, "transpose": 0.0}


@pytest.mark.parametrize("pitch_hz", [95.0, 240.0, 600.0])
def test_a_voice_has_the_pitch_of_its_speaker(pitch_hz):
    sound = spoken(timbre={"pitch_hz": pitch_hz}, drawl=1.0, **LEVEL_VOICE)
    heard_hz = 1 / period_s(sound, 0.7 / pitch_hz, 1.4 / pitch_hz)
    # each time the word is said a little higher or lower, by 0.8 semitones as a rule
    assert abs(12 * np.log2(heard_hz / pitch_hz)) < 2


def test_a_word_falls_silent_between_its_repetitions():
    level = levels(spoken(syllables=1, syllable_s=0.2, drawl=0.0, pause_s=0.5, lead_s=0.2), 0.02)
    quiet = level < 0.02 * level.max()
    assert 0.3 < quiet.mean() < 0.8
    assert np.sum(np.diff(quiet.astype(int)) == -1) >= 3


def test_formants_stand_where_the_vowel_has_them_and_higher_in_a_shorter_tract():
    def formant_hz(tract_cm):
        shifts = {"first": 0.0, "second": 0.0, "third": 0.0, "tract_cm": tract_cm, "width": 1.0}
        timbre = middle(vocals.TIMBRE, **shifts)
        own = take(0.5)
        tract = vocals.tract_gains(np.tile([300.0, 2_250.0, 3_000.0], (51, 1)), timbre, own)[25]
        hz = frequencies_hz(own)
        return hz[tract.argmax()]

    assert formant_hz(17.0) == pytest.approx(300, abs=40)
    assert formant_hz(10.0) / formant_hz(17.0) == pytest.approx(1.7, rel=0.15)


def test_sibilants_hiss_where_the_teeth_are():
    def hiss(sibilant_hz):
        timbre = middle(vocals.TIMBRE, sibilant_hz=sibilant_hz)
        own = take(1.0)
        gains = vocals.hiss_gains(np.ones(101), timbre, own)
        return peak_hz(synthesise(white_spectra(own) * gains, own)) / sibilant_hz

    assert hiss(3_000.0) == pytest.approx(1, abs=0.3)
    assert hiss(6_500.0) == pytest.approx(1, abs=0.3)


def test_another_speaker_says_the_same_word():
    # Syllables of one word by two speakers of equal pace begin at the same time.
    def quiet(**timbre):
        own = {"pace": 1.0, "breath": 0.0, **timbre}
        level = levels(spoken(seed=4, timbre=own, syllables=3, pause_s=0.4), 0.02)
        return level < 0.05 * level.max()

    man, child = quiet(), quiet(pitch_hz=320.0, tract_cm=10.0, glottis_tilt=1.0)
    assert (man == child).mean() > 0.85


def test_a_texture_swells_at_its_rate():
    timbre = middle(
        textures.TIMBRE, grains=-1.0, hiss=1.0, swell=1.0, swell_random=0.0, swells_per_s=4.0,
        wander_octaves=0.0, swell_shape=1.0,
    )  # fmt: skip
    level = levels(textures.texture(timbre, score_of("texture", pace=1.0), take(4.0)), 0.02)
    rates_hz = np.fft.rfftfreq(len(level), 0.02)
    modulation = np.abs(np.fft.rfft(level - level.mean()))
    assert rates_hz[modulation.argmax()] == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("centre_hz", [300.0, 1_200.0, 5_000.0])
def test_a_texture_has_its_peak(centre_hz):
    gone = {f"peak_{n}_gain": -1.0 for n in range(1, textures.PEAKS)}
    timbre = middle(
        textures.TIMBRE, grains=-1.0, hiss=1.0, floor=0.003, wander_octaves=0.0,
        peak_0_hz=centre_hz, peak_0_width=0.1, peak_0_gain=1.0, **gone,
    )  # fmt: skip
    sound = textures.texture(timbre, score_of("texture"), take())
    assert peak_hz(sound) == pytest.approx(centre_hz, rel=0.1)


def test_grains_are_as_many_as_asked_for():
    def busy(per_s):
        timbre = middle(
            textures.TIMBRE, hiss=-0.5, grains=1.0, grains_per_s=per_s, grain_width=1.2, swell=0.0
        )
        level = levels(textures.texture(timbre, score_of("texture", pace=1.0), take(4.0)), 0.005)
        return (level > 0.05 * level.max()).mean()

    assert busy(5.0) < 0.15 < 0.5 < busy(400.0)


@pytest.mark.parametrize("pulses_hz", [14.0, 55.0, 180.0])
def test_a_motor_bangs_at_its_rate(pulses_hz):
    timbre = middle(
        motors.TIMBRE, pulses_hz=pulses_hz, pattern=1, unsteady=0.0, rasp=-1.0, whine=-1.0, hiss=0.0
    )
    score = score_of("motor", rev_octaves=-1.0, transpose=0.0, load=0.0)
    heard_hz = 1 / period_s(motors.motor(timbre, score, take()), 0.75 / pulses_hz, 1.3 / pulses_hz)
    assert heard_hz == pytest.approx(pulses_hz, rel=0.02)


@pytest.mark.parametrize("rhythm", range(4))
def test_blows_are_heard_when_they_fall(rhythm):
    score = score_of("impact", 2, rhythm=rhythm, per_s=2.0, unevenness=0.1, accents=0.1)
    timbre = middle(
        FAMILIES["impact"].timbre,
        ring=0.0,
        burst=1.0,
        burst_s=0.03,
        burst_attack_s=0.001,
        echo=-1.0,
    )
    starts_s, _ = blows(score, 4.0)
    apart_s = starts_s[np.append(np.inf, np.diff(starts_s)) > 0.08]
    heard_s = onsets_s(impact(timbre, score, take(4.0)))
    assert len(apart_s) >= 3
    assert all(np.abs(heard_s - start_s).min() < 0.015 for start_s in apart_s)


def test_a_struck_body_rings_at_its_frequency():
    timbre = middle(FAMILIES["impact"].timbre, ring=1.0, burst=0.0, body_hz=740.0, gain_0=1.5)
    sound = impact(timbre, score_of("impact", rhythm=0, per_s=1.0), take())
    assert peak_hz(sound, 600, 900) == pytest.approx(740, rel=0.01)


@pytest.mark.parametrize(("shape", "slope"), [(0, 1), (1, -1)])
def test_a_sweep_rises_or_falls_by_its_octaves(shape, slope):
    timbre = middle(
        sweeps.TIMBRE, shape=shape, pitch_hz=800.0, octaves=1.0, trill_octaves=-1.0, noise=-1.0,
        flutter=-1.0, horn=-1.0, duty=1.0, tilt=4.0, attack=0.05,
    )  # fmt: skip
    score = score_of("sweep", rhythm=0, per_s=0.5, unevenness=0.0, lead_s=0.0, transpose=0.0)
    sound = sweeps.sweep(timbre, score, take(2.0))
    heard_hz = [peak_hz(sound[start : start + 1_600], 300, 2_000) for start in (6_400, 24_000)]
    # from 0.45 s to 1.55 s of a call of 2 s
    assert np.log2(heard_hz[1] / heard_hz[0]) == pytest.approx(slope * 0.55, abs=0.05)


def test_drums_repeat_every_bar():
    timbre = middle(drums.TIMBRE)
    score = score_of("drums", 4, tempo_bpm=150.0, kick_busy=0.5, backbeat=1.0, accents=0.7)
    level = levels(drums.drums(timbre, score, take(4.0)), 0.01)
    bar = round(240 / 150 / 0.01)
    likeness = [np.corrcoef(level[:-lag], level[lag:])[0, 1] for lag in (bar, bar - 13)]
    assert likeness[0] > 0.95 > 0.5 > likeness[1]


@pytest.mark.parametrize(
    ("drum", "low_hz", "high_hz"), [("kick", 20, 200), ("hat", 3_000, 8_000), ("tom", 60, 500)]
)
def test_each_drum_has_its_place(drum, low_hz, high_hz):
    sound = drums.DRUMS[drum](middle(drums.TIMBRE), take(0.6))
    assert share_between(sound, low_hz, high_hz) > 0.9


def test_frames_give_back_the_sound_that_was_cut_into_them():
    own = take(0.73)
    sound = own.white()
    np.testing.assert_allclose(synthesise(analyse(sound, own), own), sound, atol=1e-5)


def test_noise_made_of_spectra_is_white_and_of_unit_deviation():
    own = take(4.0)
    noise = synthesise(white_spectra(own), own)
    assert noise.std() == pytest.approx(1, rel=0.05)
    octaves = [share_between(noise, hz, 2 * hz) / hz for hz in (500, 1_000, 2_000, 4_000)]
    np.testing.assert_allclose(octaves, 1 / 8_000, rtol=0.1)


def test_a_moving_peak_is_where_it_was_sent():
    own = take(1.0)
    frames = 101
    centres_hz = np.linspace(500, 4_000, frames)[:, None]
    gains = peaks(centres_hz, np.array([[100.0]]), np.array([2.0]), own)
    reached = frequencies_hz(own)[gains.argmax(axis=1)]
    np.testing.assert_allclose(reached, centres_hz[:, 0], atol=20)
    assert gains.max() == pytest.approx(2, rel=0.05)


BAND = dict.fromkeys(("eq", "lowpass_octaves", "highpass_octaves", "room", "drive"), -1.0)
QUIET = {**BAND, "fade_in": -1.0, "fade_out": -1.0, "hum": -1.0, "noise": 0.0, "gain_db": 0.0}


def recorded(dry, **effects):
    seconds = len(dry) / RATE
    return record(dry, middle(EFFECTS, **{**QUIET, **effects}), take(seconds))


def test_a_low_pass_takes_away_what_is_above_it_the_noise_too():
    white = take().white()
    limited = recorded(white, lowpass_octaves=1.0, noise=0.5)
    assert share_between(limited, 4_800, 8_000) < 0.02
    assert share_between(limited, 1_000, 2_000) == pytest.approx(1 / 4, rel=0.15)


def test_a_room_rings_on():
    click = np.zeros(RATE)
    click[1_000] = 1.0
    dry, wet = (levels(recorded(click, room=r, room_s=1.0), 0.05) for r in (-1.0, 0.8))
    assert wet[6] / wet.max() > 0.02 > 5 * dry[6] / dry.max()


def test_drive_adds_partials():
    sine = np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
    assert share_between(recorded(sine), 800, 1_000) < 1e-6
    assert share_between(recorded(sine, drive=1.0), 800, 1_000) > 0.03


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_noise_lies_as_far_below_the_peak_as_asked_for(noise):
    sine = np.sin(2 * np.pi * 1_000 * np.arange(RATE) / RATE)
    sine[RATE // 2 :] = 0
    heard = recorded(sine, noise=noise, noise_hz=8_000.0)
    floor_db = 20 * np.log10(heard[RATE // 2 + 800 : -800].std() / np.abs(heard).max())
    assert floor_db == pytest.approx(-84 + 54 * noise**2, abs=1.5)


def test_fades_and_level():
    steady = np.sin(2 * np.pi * 500 * np.arange(2 * RATE) / RATE)
    heard = recorded(steady, fade_in=0.5, gain_db=-12.0)
    level = levels(heard, 0.1)
    np.testing.assert_allclose(level[1:10] / level[15], (np.arange(1, 10) + 0.5) / 10, atol=0.02)
    assert 20 * np.log10(np.abs(heard).max()) == pytest.approx(-12, abs=0.01)
