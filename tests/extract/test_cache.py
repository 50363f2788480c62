import dataclasses
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundalike.extract.cache import SUFFIX, VectorCache, key_of
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import Extractors
from tests.sounds import encoded, noise

SOUND = encoded(noise(2.5, 8_000), 8_000)


@pytest.fixture(scope="module")
def extraction():
    return Extractors().get("fake").extract(SOUND)


@pytest.fixture
def cache(tmp_path):
    return VectorCache(tmp_path / "cache", 1_000_000)


def entries(cache):
    return sorted(cache.folder.rglob(f"*{SUFFIX}"))


def plain(extraction):
    told = dataclasses.asdict(dataclasses.replace(extraction, ms={}))
    return {name: np.array(value).tolist() for name, value in told.items()}


def test_what_is_kept_comes_back_as_it_was(cache, extraction):
    assert cache.get("ab" * 32) is None
    cache.put("ab" * 32, extraction)
    found = cache.get("ab" * 32)
    assert found.vector.tobytes() == extraction.vector.tobytes()
    assert plain(found) == plain(extraction)
    assert list(found.ms) == ["cache"]
    assert found.vector.flags.writeable


def test_keys_tell_sounds_spaces_and_places_apart():
    extractor = Extractors().get("fake")
    spaces = [extractor.space(), extractor.space(normalize=False), extractor.space("max")]
    keys = {key_of(io.BytesIO(SOUND), space, "cpu torch float32") for space in spaces}
    keys.add(key_of(io.BytesIO(SOUND), spaces[0], "cpu torch bfloat16"))
    keys.add(key_of(io.BytesIO(SOUND + b"\0"), spaces[0], "cpu torch float32"))
    assert len(keys) == 5
    file = io.BytesIO(SOUND)
    file.seek(100)
    assert key_of(file, spaces[0], "cpu torch float32") in keys
    assert file.tell() == 0


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 5000, "flipped", "cut"])
def test_a_damaged_entry_counts_as_none(cache, extraction, damage):
    cache.put("ab" * 32, extraction)
    (path,) = entries(cache)
    whole = path.read_bytes()
    flipped = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
    path.write_bytes({"flipped": flipped, "cut": whole[:-4]}.get(damage, damage))
    assert cache.get("ab" * 32) is None
    assert entries(cache) == []
    cache.put("ab" * 32, extraction)
    assert cache.get("ab" * 32) is not None


def test_the_longest_unused_make_room(tmp_path, extraction):
    one = VectorCache(tmp_path / "measure", 10**9)
    one.put("00" * 32, extraction)
    size = entries(one)[0].stat().st_size
    cache = VectorCache(tmp_path / "cache", 20 * size)
    keys = [f"{number:02d}" * 32 for number in range(40)]
    for age, key in enumerate(keys):
        cache.put(key, extraction)
        path = cache._path(key)
        if path.exists():
            os.utime(path, (age, age))
        cache.get(keys[0])  # in use all the time
        assert sum(path.stat().st_size for path in entries(cache)) <= 20 * size
    kept = [key for key in keys if cache.get(key)]
    assert keys[0] in kept
    assert keys[-1] in kept
    assert len(kept) <= 20


def test_a_folder_that_cannot_be_written_keeps_nothing_and_stops_nobody(tmp_path, extraction):
    (tmp_path / "cache").write_text("a file in the way")
    cache = VectorCache(tmp_path / "cache", 1_000_000)
    cache.put("ab" * 32, extraction)
    assert cache.get("ab" * 32) is None


WRITE = """
import sys
from pathlib import Path
from soundalike.extract.cache import VectorCache
from soundalike.extract.loading import Extractors
from tests.sounds import encoded, noise
cache = VectorCache(Path(sys.argv[1]), 12_000)
found = Extractors().get("fake").extract(encoded(noise(2.5, 8_000), 8_000))
for number in range(100):
    key = f"{number % 50:02d}" * 32
    kept = cache.get(key)
    assert kept is None or kept.vector.tobytes() == found.vector.tobytes()
    cache.put(key, found)
"""


def test_several_processes_may_share_a_folder(tmp_path, root):
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=root) for _ in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    cache = VectorCache(tmp_path, 12_000)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {SUFFIX}
    for path in entries(cache):
        assert cache.get(path.stem) is not None


def test_an_extractor_is_not_asked_for_what_is_known(tmp_path, monkeypatch):
    from fastapi.testclient import TestClient

    from services.embedder.app import create_app
    from services.embedder.settings import EmbedderSettings

    settings = EmbedderSettings(model="fake", data_dir=tmp_path, cache_mb=1)
    with TestClient(create_app(settings)) as client:
        first = client.post("/embed", content=SOUND).json()
        monkeypatch.setattr(Extractor, "extract", lambda *given, **more: 1 / 0)
        again = client.post("/embed", content=SOUND).json()
        assert "cache" in again.pop("ms")
        assert "decode" in first.pop("ms")
        assert again == first
        metrics = client.get("/metrics").text
    assert "soundalike_cache_hits_total 1.0" in metrics


def test_what_cannot_be_thrown_away_is_no_fault(cache, extraction, monkeypatch):
    def unlink(self, *, missing_ok=False):
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", unlink)
    for number in range(3):
        VectorCache(cache.folder, 10).put(f"{number:064}", extraction)
    assert len(entries(cache)) == 3
