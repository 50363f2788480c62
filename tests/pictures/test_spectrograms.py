import dataclasses

import numpy as np
import pytest
from matplotlib import colormaps

from soundalike import pictures
from soundalike.audio import spectra
from soundalike.errors import BadRequest, Silent, TooLong, TooShort, UndecodableAudio
from soundalike.pictures.settings import KINDS
from tests import sounds
from tests.pictures.sounds import RATE, chirp, chord, clicks, seconds, wav

C_MAJOR = (261.63, 329.63, 392.0)


def picture(kind, samples, **settings):
    return pictures.compute(wav(samples), [kind], pictures.Settings(**settings))[kind]


def loudest_rows(drawn):
    return drawn.rows[drawn.values.argmax(axis=0)]


@pytest.mark.parametrize(("kind", "step_hz"), [("mel", 400), ("spectrum", 20)])
def test_the_ridge_of_a_chirp_rises_as_its_frequency_does(kind, step_hz):
    drawn = picture(kind, chirp(8.0, 200, 8000))
    inner = slice(20, -20)
    ridge = loudest_rows(drawn)[inner]
    moments = np.linspace(0, 8, drawn.values.shape[1])[inner]
    np.testing.assert_allclose(ridge, 200 + 7800 / 8 * moments, atol=step_hz)
    assert (np.diff(ridge) >= 0).all()


def test_three_pitch_classes_lead_in_a_chord():
    strength = picture("chroma", chord(*C_MAJOR)).values.mean(axis=1)
    assert set(np.argsort(strength)[-3:]) == {0, 4, 7}
    assert np.sort(strength)[-3] > 5 * np.sort(strength)[-4]


@pytest.mark.parametrize("tempo", [90, 120, 180])
def test_the_tempogram_of_clicks_peaks_at_their_tempo(tempo):
    drawn = picture("tempogram", clicks(tempo))
    assert drawn.rows[drawn.values.mean(axis=1).argmax()] == pytest.approx(tempo, rel=0.02)


def test_a_waveform_reaches_as_far_as_the_sound_and_has_no_gaps():
    drawn = picture("waveform", 0.5 * np.sin(2 * np.pi * 3 * seconds(1.0)))
    for column in drawn.values.T:
        passed = np.flatnonzero(column)
        assert (np.diff(passed) == 1).all()
    lit = drawn.rows[drawn.values.any(axis=1)]
    assert (lit.min(), lit.max()) == (pytest.approx(-0.5, abs=0.003), pytest.approx(0.5, abs=0.003))
    lows, highs = drawn.values.argmax(axis=0), drawn.values.cumsum(axis=0).argmax(axis=0)
    assert (lows[1:] <= highs[:-1] + 1).all()
    assert (highs[1:] >= lows[:-1] - 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_values_have_the_shape_and_range_they_promise(kind):
    drawn = picture(kind, chord(*C_MAJOR, length=2.0))
    assert drawn.values.dtype == np.float32
    assert drawn.values.shape[0] == len(drawn.rows)
    assert (np.diff(drawn.rows) > 0).all()
    assert drawn.seconds == pytest.approx(2.0)
    darkest, brightest = drawn.limits
    assert darkest <= drawn.values.min() <= drawn.values.max() <= brightest
    assert drawn.values.max() == pytest.approx(brightest, abs=0.2)


def test_a_tone_stands_in_the_row_of_its_frequency():
    tone = 0.3 * np.sin(2 * np.pi * 1000 * seconds(1.0))
    assert np.median(loudest_rows(picture("spectrum", tone))) == pytest.approx(1000, abs=6)
    assert np.median(loudest_rows(picture("mel", tone))) == pytest.approx(1000, rel=0.03)


def test_only_the_beginning_is_drawn():
    long = np.concatenate([chirp(2.0), chord(*C_MAJOR)])
    drawn = picture("spectrum", long, seconds=2.0)
    assert drawn.seconds == pytest.approx(2.0)
    np.testing.assert_array_equal(drawn.values, picture("spectrum", chirp(2.0)).values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 2, 700])
def test_the_shortest_sounds_have_pictures(kind, samples):
    drawn = picture(kind, np.linspace(0.2, 0.5, samples))
    assert np.isfinite(drawn.values).all()
    assert pictures.png(drawn)


def test_pictures_do_not_depend_on_which_others_are_asked_for():
    sound = wav(chord(*C_MAJOR, length=1.0))
    together = pictures.compute(sound, list(KINDS))
    for kind in KINDS:
        alone = pictures.compute(sound, [kind])[kind]
        np.testing.assert_array_equal(together[kind].values, alone.values)


def test_a_bare_picture_holds_what_a_vision_model_is_given():
    """SONIC's input of DINO: levels scaled between the clip's own extremes, then magma."""
    bands, hop = 224, 512
    sound = chirp(3.0, 100, 7000).astype(np.float32) + 0.01 * clicks(100, 3.0).astype(np.float32)
    level = spectra.mel_decibels(sound, RATE, bands=bands, fft_size=2048, hop_samples=hop)
    scaled = (level - level.min() + 1e-6) / (level.max() - level.min() + 1e-6)
    expected = colormaps["magma"](scaled.T[::-1], bytes=True)[:, :, :3].astype(int)

    drawn = picture("mel", sound, mel_bands=bands, hop_samples=hop, range_db=np.inf)
    coloured = pictures.pixels(drawn, width=len(level), height=bands)
    assert np.abs(coloured - expected).max() <= 6  # the next colour, where rounding decides
    assert (coloured == expected).mean() > 0.99


@pytest.mark.parametrize(
    ("sound", "fault"),
    [(wav(np.zeros(RATE)), Silent), (b"not a sound", UndecodableAudio)],
)
def test_what_cannot_be_drawn_is_refused(sound, fault):
    with pytest.raises(fault):
        pictures.compute(sound)


def test_a_sound_over_the_limit_is_refused_though_only_its_beginning_would_be_drawn():
    with pytest.raises(TooLong):
        pictures.compute(wav(chirp(4.0)), settings=pictures.Settings(seconds=1), max_seconds=2)


def test_unknown_kinds_are_refused_with_those_there_are():
    with pytest.raises(BadRequest, match="chroma, spectrum"):
        pictures.compute(wav(chirp(1.0)), ["cepstrum"])


@pytest.mark.parametrize("one", dataclasses.fields(pictures.Settings), ids=lambda one: one.name)
def test_settings_out_of_range_are_refused_by_name(one):
    for wrong in (one.metadata["least"] - 1, float("nan")):
        with pytest.raises(BadRequest, match=one.name):
            pictures.Settings(**{one.name: wrong})


@pytest.mark.parametrize(
    "wrong", [{"fft_size": 2047}, {"seconds": 600}, {"fft_size": 16384, "hop_samples": 64}]
)
def test_settings_that_ask_for_too_much_are_refused(wrong):
    with pytest.raises(BadRequest):
        pictures.Settings(**wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_that_is_gone_once_it_is_resampled_is_too_short(kind):
    with pytest.raises(TooShort):
        pictures.compute(sounds.encoded(sounds.noise(0.01, 768_000)[:5], 768_000), [kind])


def test_many_bands_count_against_the_size_of_a_picture():
    with pytest.raises(BadRequest, match="mel_bands"):
        pictures.Settings(seconds=600, rate_hz=48_000, hop_samples=64, fft_size=64, mel_bands=512)
