"""The script with the flags of a well-known one, over our own job."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from soundalike.embedders import crepe, openl3
from soundalike.extract import workers
from soundalike.extract.listener import Listener
from soundalike.extract.loading import Extractors
from tests.embedders.checkpoints import write_mert
from tests.embedders.packaged_weights import random_networks, write_crepe, write_madmom
from tests.embedders.ported_checkpoints import SMALL_WIDTHS, write_openl3
from tests.sounds import encoded, tone

SECONDS = 1.5


@pytest.fixture
def script(root):
    path = root / "scripts" / "run_extraction.py"
    spec = importlib.util.spec_from_file_location("run_extraction", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with sounds under the script's own default names, where the script runs."""
    audio = tmp_path / "audio_files"
    audio.mkdir()
    for number, name in enumerate(("song1.mp3", "song2.wav")):
        kind = name.rpartition(".")[2].upper()
        samples = tone(SECONDS, 220 * (number + 1), 44_100, channels=2)
        (audio / name).write_bytes(encoded(samples, 44_100, kind))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Small random networks of all four models, heard in this process."""
    models = tmp_path / "models"
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(models))
    monkeypatch.setattr(openl3, "WIDTHS", SMALL_WIDTHS)
    monkeypatch.setitem(crepe.MULTIPLIERS, "full", 1)
    write_openl3(models / "openl3")
    write_crepe(models / "crepe")
    write_madmom(models / "madmom", random_networks())
    write_mert(models / "mert")
    hear = workers.threads(Listener(Extractors().get), 2)
    monkeypatch.setattr(workers, "hands", lambda *_, **__: hear)


@pytest.mark.usefixtures("weights")
def test_the_tree_the_shapes_and_the_summary_are_those_people_know(script, folder, capsys):
    assert script.main(["--verbose"]) == 0
    base = folder / "output" / "embeddings"
    written = {p.relative_to(base).as_posix(): np.load(p) for p in base.rglob("*.npy")}
    assert sorted(written) == [
        f"{model}/song{number}.npy"
        for model in ("crepe", "madmom", "mert", "openl3")
        for number in (1, 2)
    ]
    for number in (1, 2):
        frames = {name: written[f"{name}/song{number}.npy"] for name in script.MODELS}
        assert {name: array.shape[1:] for name, array in frames.items()} == {
            "openl3": (512,), "crepe": (2,), "madmom": (), "mert": (768,),
        }  # fmt: skip
        assert {array.dtype for array in frames.values()} == {np.dtype("float32")}
        for name, rate_hz in {"openl3": 10, "crepe": 100, "madmom": 100, "mert": 75}.items():
            assert len(frames[name]) == pytest.approx(rate_hz * SECONDS, abs=0.1 * rate_hz + 10)
    said = capsys.readouterr()
    assert "song1.mp3: openl3: done (" in said.err
    assert "2 of 2 files" in said.out
    for model in script.MODELS:
        assert [model, "2", "0", "0", "0"] in [line.split() for line in said.out.splitlines()]


@pytest.mark.usefixtures("weights")
def test_what_exists_is_skipped_and_models_are_chosen(script, folder, capsys):
    arguments = ["--audio_dir", "audio_files", "--output_base", "other", "--models", "crepe"]
    assert script.main(arguments) == 0
    before = (folder / "other" / "crepe" / "song2.npy").stat().st_mtime_ns
    (folder / "other" / "crepe" / "song1.npy").unlink()
    assert script.main([*arguments, "madmom", "--skip_existing"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["crepe", "1", "1", "0", "0"] in rows
    assert ["madmom", "2", "0", "0", "0"] in rows
    assert (folder / "other" / "crepe" / "song2.npy").stat().st_mtime_ns == before


def test_it_runs_by_itself_and_says_what_is_missing(root, folder):
    script = root / "scripts" / "run_extraction.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "openl3", "crepe", "madmom", "mert",
    ]  # fmt: skip
    assert "soundalike models pull crepe" in done.stderr


@pytest.mark.parametrize("wrong", [["--models", "clap"], ["--models"], ["--audio", "x", "y"]])
def test_other_words_are_wrong_use(script, wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        script.main(wrong)
    assert ended.value.code == 2


def test_the_defaults_are_those_people_know(script):
    args = vars(script.make_parser().parse_args([]))
    assert args == {
        "audio_dir": "audio_files",
        "output_base": "output/embeddings",
        "models": ["openl3", "crepe", "madmom", "mert"],
        "skip_existing": False,
        "verbose": False,
    }
