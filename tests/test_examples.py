"""The scripts in examples/ run on what `soundalike extract` wrote."""

import runpy
import sys

import numpy as np
import pytest

from soundalike.cli import main
from tests.sounds import encoded, noise, tone

EACH = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The arrays of one model: ten sounds in two folders that nobody could mistake."""
    audio, out = (tmp_path_factory.mktemp(name) for name in ("audio", "out"))
    for number in range(EACH):
        sounds = {"tones": tone(hz=300 + 10 * number), "noises": noise(seed=number)}
        for genre, samples in sounds.items():
            path = audio / genre / f"{number}.wav"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encoded(samples))
    assert main(["extract", str(audio), "--models", "mfcc", "--out", str(out), "--jobs", "1"]) == 0
    return out / "mfcc"


@pytest.fixture
def run(root, monkeypatch, capsys):
    """Run a script as somebody would, and give what it prints."""

    def run(name, *arguments):
        monkeypatch.syspath_prepend(root / "examples")
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(root / "examples" / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_arrays_are_loaded(run, folder):
    lines = run("load.py", folder)
    assert len(lines) == 2 * EACH
    frames = np.load(folder / "tones" / "0.npy")
    assert f"tones/0: shape {frames.shape}, float32" in lines


def test_the_most_similar_song_is_of_the_same_kind(run, folder):
    lines = run("similarity.py", folder)
    assert len(lines) == 2 * EACH
    for line in lines:
        song, _, other = line.partition(" -> ")
        assert song.split("/")[0] == other.split("/")[0]


def test_similarity_is_the_cosine_of_scaled_columns(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "examples")
    similarity = runpy.run_path(str(root / "examples" / "similarity.py"))["similarity"]
    vectors = np.random.default_rng(0).normal(3, 10, (6, 4))
    vectors[:, 2] = 7  # says nothing
    scaled = (vectors - vectors.mean(0)) / np.array([*vectors.std(0)[:2], 1, vectors.std(0)[3]])
    expected = [[a @ b / np.sqrt(a @ a * (b @ b)) for b in scaled] for a in scaled]
    assert np.allclose(similarity(vectors), expected, atol=1e-12)


def test_genres_are_learned(run, folder):
    lines = run("genre_classifier.py", folder)
    assert lines == [f"noises: {EACH} of {EACH}", f"tones: {EACH} of {EACH}", lines[-1]]
    assert lines[-1] == "accuracy 1.000, guessing 0.500"


def test_a_map_is_drawn_on_which_kinds_lie_apart(run, root, folder, tmp_path, monkeypatch):
    picture = tmp_path / "map.png"
    run("tsne_picture.py", folder, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    monkeypatch.syspath_prepend(root / "examples")
    script = runpy.run_path(str(root / "examples" / "tsne_picture.py"))
    songs = script["load"](folder)
    places = script["places"](script["clip_vectors"](songs))
    genres = np.array(script["labels"](songs))
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert (genres[apart.argmin(axis=1)] == genres).all()


@pytest.mark.parametrize("script", ["load.py", "similarity.py", "genre_classifier.py"])
def test_a_folder_without_arrays_is_said_to_be_one(run, tmp_path, script):
    with pytest.raises(SystemExit, match=r"no \.npy file"):
        run(script, tmp_path)


def test_a_frame_of_one_number_will_do(run, tmp_path):
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.arange(5, dtype=np.float32) + number)
    assert run("load.py", tmp_path)[0] == "0: shape (5,), float32"
    assert run("similarity.py", tmp_path)[0].startswith("0 -> 1")
