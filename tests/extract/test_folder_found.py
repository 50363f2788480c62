import errno
import os
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundalike.errors import BadRequest
from soundalike.extract.found import Found, output_names, spread, survey


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound")
    return folder


def files(found):
    return [sound.file for sound in found.sounds]


def test_sounds_are_found_in_all_folders_and_others_are_named(tmp_path):
    make(
        tmp_path, "b.WAV", "a.mp3", "rock/für Élise.flac", "rock/cover.jpg", "x.wav/in.ogg", "t.md"
    )
    found = survey(tmp_path)
    assert files(found) == ["a.mp3", "b.WAV", "rock/für Élise.flac", "x.wav/in.ogg"]
    assert sorted(found.skipped) == ["rock/cover.jpg", "t.md"]
    assert found.sounds[2].output == "rock/für Élise.npy"
    assert found.sounds[2].size_bytes == 5


def test_what_is_hidden_and_what_is_written_is_left_out(tmp_path):
    make(tmp_path, "a.wav", "._a.wav", ".trash/b.wav", "out/c.wav")
    found = survey(tmp_path, leave_out=[tmp_path / "out"])
    assert (files(found), found.skipped) == (["a.wav"], [])


def test_links_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path, "music/a/one.wav", "music/b/two.wav", "else/three.wav")
    music = tmp_path / "music"
    (music / "self").symlink_to(music)
    (music / "up").symlink_to(tmp_path)
    (music / "a" / "to-b").symlink_to(music / "b")
    (music / "b" / "to-a").symlink_to(music / "a")
    (music / "elsewhere").symlink_to(tmp_path / "else")
    found = survey(music)
    assert files(found) == [
        "a/one.wav", "a/to-b/two.wav", "b/to-a/one.wav", "b/two.wav", "elsewhere/three.wav",
    ]  # fmt: skip
    assert sorted(found.loops) == ["a/to-b/to-a", "b/to-a/to-b", "self", "up"]


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    make(tmp_path, "a.wav", "locked/b.wav")
    real = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = survey(tmp_path)
    assert (files(found), found.unreadable) == (["a.wav"], [("locked", "Permission denied")])


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="is not a folder"):
        survey(tmp_path / "nowhere")


def test_sounds_of_one_stem_keep_their_endings():
    names = ["song.mp3", "song.wav", "song.mp3.wav", "other.wav", "Loud.wav", "loud.ogg"]
    assert output_names(names) == {
        "song.mp3": "song.mp3.npy",
        "song.wav": "song.wav.npy",
        "song.mp3.wav": "song.mp3.wav.npy",
        "other.wav": "other.npy",
        "Loud.wav": "Loud.wav.npy",
        "loud.ogg": "loud.ogg.npy",
    }


@given(st.sets(st.from_regex(r"[abA]{1,2}(\.(wav|mp3|npy)){1,3}", fullmatch=True)))
def test_no_two_sounds_have_one_output_whatever_their_order(names):
    outputs = output_names(sorted(names))
    assert len(set(outputs.values())) == len(names)
    assert outputs == output_names(sorted(names, reverse=True))


def test_every_beginning_is_like_the_whole():
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(10, 1, 1000).astype(int)
    sounds = [Found(f"{n}", None, "", int(size)) for n, size in enumerate(sizes)]
    order = spread(sounds)
    assert sorted(one.file for one in order) == sorted(one.file for one in sounds)
    shuffled = sounds.copy()
    random.Random(0).shuffle(shuffled)
    assert spread(shuffled) == order
    for share in (0.1, 0.25, 0.5):
        beginning = [one.size_bytes for one in order[: int(share * len(order))]]
        assert np.mean(beginning) == pytest.approx(sizes.mean(), rel=0.15)
        assert np.median(beginning) == pytest.approx(np.median(sizes), rel=0.05)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_sounds_have_an_order_too(count):
    sounds = [Found(str(n), None, "", n) for n in range(count)]
    assert sorted(one.file for one in spread(sounds)) == [str(n) for n in range(count)]
