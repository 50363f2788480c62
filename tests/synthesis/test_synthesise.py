"""`soundalike synthesise`: files, and a sheet of their spectrograms."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest
import soundfile

from soundalike.cli import main
from soundalike.pictures.sheet import GAP_PX, contact_sheet
from soundalike.pictures.spectrograms import Picture, Settings
from soundalike.synthesis.wav import comment_chunk, wav


@pytest.fixture
def synthesise(tmp_path):
    def run(*options, folder="sounds"):
        code = main(["synthesise", str(tmp_path / folder), *options])
        return code, tmp_path / folder

    return run


def test_it_writes_sounds_and_a_sheet_with_a_row_a_family(synthesise, capsys):
    options = ("--families", "motor", "vocal", "--count", "3", "--seconds", "0.5")
    code, folder = synthesise(*options, "--rate-hz", "22050")
    assert code == 0
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))
    assert files == [f"{name}/{name}-0{n}.wav" for name in ("motor", "vocal") for n in (1, 2, 3)]
    for file in files:
        read = soundfile.info(folder / file)
        assert (read.samplerate, read.channels, read.frames) == (22_050, 1, 11_025)
    height, width, _ = matplotlib.image.imread(folder / "sheet.png").shape
    assert (height, width) == (2 * 104 + GAP_PX, 3 * 164 + GAP_PX)
    assert capsys.readouterr().out.splitlines()[-2:] == ["  motor", "  vocal"]


def test_the_seed_and_the_number_alone_decide_a_sound(synthesise):
    short = ("--seconds", "0.4", "--families")
    _, few = synthesise(*short, "drums", "--count", "1", folder="few")
    _, many = synthesise(*short, "sweep", "drums", "--count", "2", folder="many")
    _, other = synthesise(*short, "drums", "--count", "1", "--seed", "1", folder="other")
    first, same, another = (
        (folder / "drums/drums-01.wav").read_bytes() for folder in (few, many, other)
    )
    assert first == same != another


@pytest.mark.parametrize(
    "wrong",
    [
        ("--families", "trombone"),
        ("--count", "0"),
        ("--seed", "-1"),
        ("--seconds", "601"),
        ("--seconds", "nan"),
    ],
)
def test_wrong_use_is_told_and_writes_nothing(synthesise, wrong):
    code, folder = synthesise(*wrong)
    assert code == 2
    assert not folder.exists()


def test_a_sheet_puts_each_picture_in_its_place():
    settings = Settings(width=32, height=16)

    def picture(level_db):
        values = np.full((8, 8), level_db, np.float32)
        return Picture("mel", values, 1.0, settings)

    sheet = matplotlib.image.imread(
        io.BytesIO(contact_sheet([[picture(-80.0), picture(0.0)], [picture(-40.0)]]))
    )
    dark, light = sheet[8, 16], sheet[8, 16 + 36]
    assert dark[:3].sum() < 0.1
    assert light[:3].sum() > 2
    np.testing.assert_array_equal(sheet[8 + 20, 16 + 36, :3], 1)  # nothing drawn there
    np.testing.assert_array_equal(sheet[:GAP_PX, :, :3], 1)


def test_a_wav_holds_the_samples_and_the_comment():
    samples = np.array([0.0, 0.5, -0.5, 1.0], np.float32)
    with soundfile.SoundFile(io.BytesIO(wav(samples, 8_000, comment_chunk("odd")))) as file:
        assert (file.samplerate, file.comment) == (8_000, "odd")
        np.testing.assert_allclose(file.read(), samples, atol=1 / 2**15)
