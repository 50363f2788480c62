"""What was heard, sent from one machine to another."""

import numpy as np
import pytest

from soundalike.extract.listener import Fault, Heard, Told
from soundalike.extract.parcel import packed, unpacked

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(3, 8), (5,), (0, 8)])
def test_arrays_come_out_to_the_last_bit(shape):
    frames = RANDOM.normal(size=shape).astype(np.float32)
    vector = RANDOM.normal(size=7).astype(np.float32)
    place = {"device": "cpu", "runtime": "torch", "precision": "float32"}
    told = unpacked(packed(Told({"a": Heard(frames, vector, place)})))
    heard = told.by_model["a"]
    assert heard.frames.dtype == heard.vector.dtype == np.float32
    assert heard.frames.shape == shape
    assert heard.frames.tobytes() == frames.tobytes()
    assert heard.vector.tobytes() == vector.tobytes()
    assert heard.place == place


def test_faults_and_facts_come_out_as_they_were():
    heard = Heard(np.zeros((1, 2), np.float32), np.ones(2, np.float32), {})
    told = Told(
        {"b:x=y,z=w": Fault("Schöner Fehler."), "a": heard, "c": Fault("gone", of_model=True)},
        seconds=1 / 3,
        facts={"format": "WAV", "silent": 0.1, "fingerprint": "1:äöü"},
        spent_s=0.7,
    )
    found = unpacked(packed(told))
    assert {name: found.by_model[name] for name in ("b:x=y,z=w", "c")} == {
        "b:x=y,z=w": Fault("Schöner Fehler."),
        "c": Fault("gone", of_model=True),
    }
    assert found.by_model.keys() == told.by_model.keys()
    assert (found.seconds, found.facts, found.spent_s) == (told.seconds, told.facts, told.spent_s)
