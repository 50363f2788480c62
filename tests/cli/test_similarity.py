"""`soundalike similarity`: the table, the pictures and the faults."""

import json

import numpy as np
import pytest
from PIL import Image

import soundalike
from soundalike.cli import main
from soundalike.cli.similarity import table
from tests.sounds import encoded, noise, tone


@pytest.fixture
def sounds(tmp_path):
    """Three sounds of 1 s, the first two alike."""
    made = {"low": tone(), "lower": tone(hz=430), "noise": noise()}
    paths = [tmp_path / f"{name}.wav" for name in made]
    for path, samples in zip(paths, made.values(), strict=True):
        path.write_bytes(encoded(samples))
    return [str(path) for path in paths]


def similarity(capsys, *arguments):
    assert main(["similarity", "--model", "mfcc", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_matrix_holds_the_cosines_of_the_vectors(sounds, capsys):
    told = similarity(capsys, *sounds)
    vectors = np.stack([soundalike.embed(path, model="mfcc") for path in sounds]).astype(float)
    assert np.abs(told["similarity"] - vectors @ vectors.T).max() < 1e-6
    assert (told["files"], told["failed"]) == (sounds, [])
    assert told["space"].startswith("mfcc/")


def test_sounds_are_cut_or_filled_up_with_silence(tmp_path, capsys):
    long, short, made_short, made_long = (tmp_path / f"{n}.wav" for n in "abcd")
    samples = encoded(tone(seconds=3)), encoded(tone(seconds=1))
    long.write_bytes(samples[0])
    short.write_bytes(samples[1])
    made_short.write_bytes(encoded(tone(seconds=3)[: 2 * 16_000]))
    made_long.write_bytes(encoded(np.pad(tone(seconds=1), ((0, 16_000), (0, 0)))))
    told = similarity(capsys, *map(str, (long, made_short, short, made_long)), "--seconds", "2")
    matrix = np.array(told["similarity"])
    assert matrix[0, 1] == pytest.approx(1, abs=1e-7)
    assert matrix[2, 3] == pytest.approx(1, abs=1e-7)
    assert matrix[0, 2] < 0.999


def test_the_table_is_aligned():
    told = table(np.array([[1, -0.5], [-0.5, 1]]), ["a", "a rather long name"])
    assert told.splitlines() == [
        "                         a  er long name",
        "a                    1.000        -0.500",
        "a rather long name  -0.500         1.000",
    ]


def test_the_pictures_are_written(sounds, tmp_path, capsys):
    svg, png = tmp_path / "out.svg", tmp_path / "out.png"
    assert (
        main(["similarity", "--model", "mfcc", *sounds, "--svg", f"{svg}", "--png", f"{png}"]) == 0
    )
    assert svg.read_text().count(">lower<") == 2
    assert Image.open(png).width > 200
    assert capsys.readouterr().out.split()[:3] == ["low", "lower", "noise"]


def test_a_file_that_fails_is_left_out_and_named(sounds, tmp_path, capsys):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    assert main(["similarity", "--model", "mfcc", "--json", str(bad), *sounds]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["files"] == sounds
    assert [one["file"] for one in json.loads(said.out)["failed"]] == [str(bad)]
    assert f"{bad}: " in said.err
    assert main(["similarity", "--model", "mfcc", str(bad)]) == 1


@pytest.mark.parametrize(
    "wrong", [["--seconds", "0"], ["--seconds", "nan"], ["--pooling", "none"], ["--pooling", "x"]]
)
def test_wrong_use_is_2(sounds, wrong, capsys):
    assert main(["similarity", "--model", "mfcc", *sounds, *wrong]) == 2
    assert capsys.readouterr().err
