import json
import os
import subprocess
import sys

import numpy as np
import pytest

from soundalike.cli import VERBS, main
from soundalike.cli.index import find_sounds
from soundalike.errors import BadRequest
from tests.sounds import encoded, noise


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "some.wav"
    path.write_bytes(encoded(noise(1.0)))
    return path


def test_embed_prints_the_vector(wav, capsys):
    assert main(["embed", str(wav), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(wav)
    assert np.linalg.norm(told["vector"]) == pytest.approx(1, abs=1e-6)
    assert main(["embed", str(wav)]) == 0
    assert f"{told['space']}  256" in capsys.readouterr().out


THREADS = """
import re, sys, threading
from unittest import mock
sys.modules["torch"] = None
from soundalike.cli import main
with mock.patch("uvicorn.run"):
    main(sys.argv[1:])
import numpy
some = numpy.ones((600, 600), numpy.float32)
some @ some
running = int(re.search(r"Threads:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(running - threading.active_count())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc elsewhere")
@pytest.mark.parametrize(
    "verb",
    [
        ["embed", "--model", "mini", "WAV"],
        ["similarity", "--model", "mini", "WAV", "WAV"],
        ["serve", "embedder"],
    ],
)
def test_what_embeds_has_numpy_compute_on_one_thread(verb, wav):
    settings = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    named = [str(wav) if one == "WAV" else one for one in verb]
    command = [sys.executable, "-c", THREADS, *named]
    told = subprocess.check_output(command, env=settings, text=True)
    assert told.split()[-1] == "0", "threads that are not Python's"


def test_embed_goes_on_after_a_file_that_fails(wav, tmp_path, capsys):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"not a sound")
    assert main(["embed", str(bad), str(tmp_path / "none.wav"), str(wav), "--json"]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert "bad.wav: This is not audio" in said.err
    assert "none.wav: " in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["embed"],
        ["embed", "WAV", "--text", "a bell"],
        ["embed", "WAV", "--model", "none"],
        ["embed", "WAV", "--pooling", "none of these"],
        ["index", "nowhere"],
        ["serve", "embedder", "--fill", "demo"],
    ],
)
def test_wrong_use_is_2(wav, arguments, capsys):
    assert main([str(wav) if one == "WAV" else one for one in arguments]) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["serve", "nothing"],
        ["recommend", "an id", "--filter", "jazz"],
        ["recommend", "an id", "--filter", "[]"],
        ["recommend", "an id", "--cap", "artist"],
        ["recommend", "an id", "--cap", "artist:many"],
    ],
)
def test_what_cannot_be_parsed_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_nobody_there_is_1_and_says_what_to_do(wav, capsys):
    nowhere = "http://127.0.0.1:9"
    code = main(["recommend", str(wav), "--recommender-url", nowhere])
    assert code == 1
    assert f"The recommender at {nowhere} does not answer" in capsys.readouterr().err


def test_what_cannot_be_written_is_said_without_a_trace(wav, tmp_path, capsys):
    nowhere = tmp_path / "nowhere" / "x.svg"
    code = main(["similarity", str(wav), str(wav), "--model", "mfcc", "--svg", str(nowhere)])
    assert code == 1
    assert str(nowhere) in capsys.readouterr().err


def test_a_folder_in_place_of_a_file_is_named(wav, tmp_path, capsys):
    assert main(["embed", str(tmp_path), str(wav), "--model", "mfcc"]) == 1
    assert f"Is a directory: '{tmp_path}'" in capsys.readouterr().err


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    assert "mfcc" in capsys.readouterr().out
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["key"]


def test_help_comes_without_loading_anything_heavy():
    code = (
        "import sys\nfrom soundalike.cli import make_parser\nmake_parser().format_help()\n"
        "heavy = {'numpy', 'torch', 'fastapi', 'uvicorn', 'httpx'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_vector_without_a_network_loads_no_network_library(wav):
    code = (
        "import sys\nfrom soundalike.cli import main\n"
        f"assert main(['embed', {str(wav)!r}, '--model', 'mfcc']) == 0\n"
        "heavy = {'torch', 'transformers', 'librosa', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert f"usage: soundalike {verb}" in capsys.readouterr().out


def test_output_that_nobody_reads_to_the_end_is_no_fault(wav):
    command = f"{sys.executable} -m soundalike embed {' '.join([str(wav)] * 30)} --json | head -c 9"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout == '{"file": '
    assert "Traceback" not in done.stderr


def test_sounds_are_found_by_name_in_order_with_labels(tmp_path):
    for name in ("b.WAV", "a/x.mp3", "a/b/y.flac", "c.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_sounds(tmp_path, "mine/")
    assert [sound.id for sound in found] == ["mine/a/b/y.flac", "mine/a/x.mp3", "mine/b.WAV"]
    assert [sound.metadata.get("label") for sound in found] == ["b", "a", None]


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_sounds_says_so(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRequest, match=folder):
        find_sounds(tmp_path / folder)
