import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from soundalike.extract.manifest import Latest, Manifest, encoded

VECTOR = encoded(np.ones(4, np.float32))


def record(file, output, error=None):
    return {
        "file": file, "output": output, "sha256": "0" * 64, "bytes": 1, "modified_ns": 1,
        "space": "fake/0", "shape": [1], "dtype": "float32", "error": error,
        "vector": None if error else VECTOR,
    }  # fmt: skip


def write(path, records, end=""):
    path.write_text("".join(json.dumps(one) + "\n" for one in records) + end)
    return path


def held(path):
    """What holds by the entries of a manifest, and what is found in one pass."""
    manifest = Manifest(path)
    kept = sorted(manifest.entries.values(), key=lambda one: one.offset)
    manifest.close()
    return [(one.file, one.output) for one in kept], [
        (one["file"], one["output"]) for one in Latest(path)
    ]


names = st.sampled_from(["a.wav", "b.wav", "c.mp3", "\udcff.wav"])
lines = st.tuples(names, st.sampled_from(["x.npy", "y.npy", "z.npy"]), st.sampled_from([None, "!"]))


@given(st.lists(lines, max_size=12))
@example([("a.wav", "x.npy", None), ("a.wav", "x.npy", "!"), ("b.wav", "x.npy", None)])
def test_in_one_pass_the_same_lines_hold(tmp_path_factory, said):
    path = tmp_path_factory.mktemp("manifest") / "fake.jsonl"
    by_entries, in_one_pass = held(write(path, [record(*one) for one in said]))
    assert in_one_pass == by_entries


def test_what_is_damaged_or_cut_says_nothing(tmp_path):
    good = [record("a.wav", "a.npy"), {"not": "ours"}, record("b.wav", "b.npy")]
    path = write(tmp_path / "fake.jsonl", good, end=json.dumps(record("a.wav", "c.npy"))[:-9])
    by_entries, in_one_pass = held(path)
    assert in_one_pass == by_entries == [("a.wav", "a.npy"), ("b.wav", "b.npy")]
    assert Latest(path).newest()["file"] == "b.wav"
    assert len(Latest(path)) == 2


def test_a_sound_whose_array_has_another_name_now_keeps_it(tmp_path):
    said = [("song.mp3", "song.npy"), ("song.mp3", "song.mp3.npy"), ("song.wav", "song.npy")]
    by_entries, in_one_pass = held(write(tmp_path / "fake.jsonl", [record(*one) for one in said]))
    assert in_one_pass == by_entries == said[1:]


@pytest.mark.parametrize("said", [[], [record("a.wav", "a.npy", "!")]])
def test_without_any_array_there_is_no_newest(tmp_path, said):
    latest = Latest(write(tmp_path / "fake.jsonl", said))
    assert latest.newest() is None
    assert len(latest) == len(list(latest)) == len(said)


def test_a_line_takes_some_bytes_of_memory(tmp_path):
    took = {}
    for many in (500, 5_000):
        path = tmp_path / f"{many}.jsonl"
        write(path, (record(f"{n:06}.wav", f"{n:06}.npy") for n in range(many)))
        tracemalloc.start()
        assert sum(1 for _ in Latest(path)) == many
        took[many] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert took[5_000] - took[500] < 4_500 * 200
