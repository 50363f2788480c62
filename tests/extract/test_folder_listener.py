import numpy as np
import pytest

from soundalike.embedders.fake import Fake
from soundalike.errors import OutOfMemory, WeightsMissing
from soundalike.extract import listener as listening
from soundalike.extract.listener import Fault, Heard, Listener
from soundalike.extract.loading import Extractors
from tests.sounds import encoded, noise, tone

NAMES = ["fake", "mfcc", "fake:sign=minus"]


@pytest.fixture
def extractors():
    return Extractors()


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound.wav"
    path.write_bytes(encoded(tone(2.0, rate=44_100, channels=2), 44_100))
    return path


def counted(monkeypatch, name):
    real, calls = getattr(listening, name), []

    def count(*arguments, **options):
        calls.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(listening, name, count)
    return calls


def test_a_file_is_decoded_once_and_resampled_once_for_each_rate(extractors, sound, monkeypatch):
    decoded, resampled = counted(monkeypatch, "decode"), counted(monkeypatch, "resample")
    told = Listener(extractors.get).hear(sound, NAMES)
    assert all(isinstance(told.by_model[name], Heard) for name in NAMES)
    assert len(decoded) == 1
    assert sorted(rate for _, _, rate in resampled) == [8_000, 16_000]


@pytest.mark.parametrize("name", NAMES)
def test_together_they_say_what_each_says_alone(extractors, sound, name):
    together = Listener(extractors.get).hear(sound, NAMES).by_model[name]
    alone = extractors.get(name)
    np.testing.assert_array_equal(together.frames, alone.extract(sound, "none").values)
    np.testing.assert_array_equal(together.vector, alone.extract(sound).vector)


def test_bytes_and_open_files_are_heard_too(extractors, sound):
    heard = Listener(extractors.get)
    expected = heard.hear(sound, ["fake"]).by_model["fake"].vector
    with sound.open("rb") as file:
        from_file = heard.hear(file, ["fake"])
    for told in (heard.hear(sound.read_bytes(), ["fake"]), from_file):
        np.testing.assert_array_equal(told.by_model["fake"].vector, expected)


def test_what_cannot_be_decoded_is_a_fault_of_all(extractors, tmp_path):
    told = Listener(extractors.get).hear(tmp_path / "nowhere.wav", NAMES)
    assert told.by_model == dict.fromkeys(
        NAMES, Fault("It cannot be read: No such file or directory.")
    )
    assert told.seconds == 0


def test_what_one_model_cannot_hear_the_others_hear(extractors):
    short = encoded(tone(0.01, rate=8_000), 8_000)
    told = Listener(extractors.get).hear(short, ["fake", "mfcc"])
    assert isinstance(told.by_model["fake"], Heard)
    assert "needs at least" in told.by_model["mfcc"].reason


def test_one_sample_is_too_short_and_not_no_sound(extractors):
    told = Listener(extractors.get).hear(encoded(tone(1 / 96_000, rate=96_000), 96_000), ["fake"])
    assert "needs at least" in told.by_model["fake"].reason


def test_what_is_longer_than_allowed_is_not_decoded_to_its_end(extractors):
    told = Listener(extractors.get, max_seconds=1).hear(encoded(noise(3.0)), ["fake"])
    assert "at most 1.0" in told.by_model["fake"].reason


def test_what_nobody_foresaw_is_a_fault_of_that_file(extractors, sound, monkeypatch):
    def fail(self, batch):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(Fake, "run", fail)
    told = Listener(extractors.get).hear(sound, ["fake", "mfcc"])
    assert told.by_model["fake"] == Fault("ZeroDivisionError: by zero")
    assert isinstance(told.by_model["mfcc"], Heard)


def test_windows_that_do_not_fit_together_are_heard_by_halves(extractors, sound, monkeypatch):
    heard = Listener(extractors.get)
    expected = heard.hear(sound, ["fake"]).by_model["fake"].frames
    real, room = Fake.run, 1

    def run(self, batch):
        if len(batch) > room:
            raise OutOfMemory("There is no room.")
        return real(self, batch)

    monkeypatch.setattr(Fake, "largest_batch", 8)
    monkeypatch.setattr(Fake, "run", run)
    np.testing.assert_array_equal(heard.hear(sound, ["fake"]).by_model["fake"].frames, expected)
    room = 0
    assert heard.hear(sound, ["fake"]).by_model["fake"] == Fault("There is no room.")


def test_a_model_that_cannot_be_loaded_is_told_apart_from_a_file_that_fails(sound):
    def get(name):
        raise WeightsMissing("They are gone.")

    told = Listener(get).hear(sound, ["fake"])
    assert told.by_model == {"fake": Fault("They are gone.", of_model=True)}
