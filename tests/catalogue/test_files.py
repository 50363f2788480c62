"""An index folder is believed only where every byte is what was written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from soundalike.catalogue import building, files, transforms
from soundalike.errors import DamagedIndex
from tests.catalogue import index_folders
from tests.catalogue.index_folders import COUNT, DIM, edit, forge, harm, library
from tests.engines.vectors import clustered, cosines

VECTORS = clustered(COUNT, DIM, seed=1)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """An index folder of each engine, and one with a transform."""
    folder = tmp_path_factory.mktemp("indexes")
    database = library(folder, VECTORS)
    for engine in ("exact", "annoy", "faiss"):
        building.build(database, 1, folder / engine, engine=engine)
    building.build(database, 1, folder / "moved", engine="annoy", transform="centre+csls:5")
    return folder


@pytest.fixture
def copy(originals, tmp_path):
    """A copy of one of them, to be damaged."""
    return lambda name: Path(shutil.copytree(originals / name, tmp_path / name))


class TestWhatIsStored:
    @pytest.mark.parametrize("name", ["exact", "annoy", "faiss", "moved"])
    def test_a_folder_holds_the_collection_by_rising_key(self, originals, name):
        stored = files.open_folder(originals / name)
        rows = [json.loads(text)["row"] for text in stored.metadata]
        assert list(stored.keys) == sorted(f"{row}.wav" for row in range(COUNT))
        assert [f"{row * 7919 % COUNT}.wav" for row in rows] == list(stored.keys)
        np.testing.assert_allclose(stored.vectors, VECTORS[rows], atol=1e-6)
        assert (stored.sequence, stored.manifest.items, stored.manifest.dim) == (1, COUNT, DIM)

    @pytest.mark.parametrize("name", ["exact", "annoy", "faiss"])
    def test_its_engine_finds_what_is_nearest(self, originals, name):
        stored = files.open_folder(originals / name)
        queries = clustered(50, DIM, seed=2)
        nearest = cosines(stored.vectors, queries).argmax(axis=1)
        found, _ = stored.engine.search(queries, 1)
        assert (found[:, 0] == nearest).mean() >= 0.9
        assert stored.engine.name == stored.manifest.engine == name

    def test_a_transform_is_kept_with_the_places_to_which_it_moves(self, originals):
        stored = files.open_folder(originals / "moved")
        fitted = transforms.fit("centre+csls:5", stored.vectors)
        assert (stored.transform, stored.fitted_at) == ("centre+csls:5", 1)
        np.testing.assert_array_equal(stored.places, fitted.items(stored.vectors))
        np.testing.assert_array_equal(stored.fitted.items(VECTORS[:5]), fitted.items(VECTORS[:5]))

    def test_without_one_the_vectors_are_the_places(self, originals):
        stored = files.open_folder(originals / "annoy")
        assert stored.places is stored.vectors
        assert (stored.transform, stored.fitted, stored.fitted_at) == (None, None, 0)

    def test_the_manifest_tells_what_it_is(self, originals):
        told = json.loads((originals / "annoy" / "manifest.json").read_text())
        assert (told["version"], told["space"], told["metric"]) == (3, "fake/1", "cosine")
        assert told["index"].keys() == {"effort", "recall", "unique", "trees", "width"}
        there = {path.name for path in (originals / "annoy").iterdir()}
        assert told["files"].keys() == there - {"manifest.json"}

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="/proc is not here")
    @pytest.mark.parametrize("name", ["annoy", "faiss", "moved"])
    def test_what_is_let_go_leaves_no_file_open_and_nothing_mapped(self, originals, name):
        def held():
            maps = Path("/proc/self/maps").read_text()
            return len(list(Path("/proc/self/fd").iterdir())), maps.count(str(originals))

        before = held()
        stored = files.open_folder(originals / name)
        stored.engine.search(stored.places[:1], 5)
        assert held() > before
        del stored
        assert held() == before


class TestVerify:
    @pytest.mark.parametrize("name", ["exact", "annoy", "faiss", "moved"])
    def test_what_was_written_passes(self, originals, name):
        assert files.verify(originals / name).engine in ("exact", "annoy", "faiss")

    @pytest.mark.parametrize(("engine", "damage"), index_folders.ALL)
    def test_every_damage_to_an_index_is_found_before_it_is_loaded(self, copy, engine, damage):
        folder = copy(engine)
        harm(folder, engine, damage)
        with pytest.raises(DamagedIndex):
            files.verify(folder)

    def test_one_flipped_bit_in_any_file_is_found(self, copy):
        folder = copy("moved")
        for path in folder.iterdir():
            content = path.read_bytes()
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            with pytest.raises(DamagedIndex):
                files.verify(folder)
            path.write_bytes(content)
        files.verify(folder)

    def test_a_missing_and_a_strange_file_are_found(self, copy):
        folder = copy("annoy")
        (folder / "stranger").write_bytes(b"")
        with pytest.raises(DamagedIndex, match="not those"):
            files.verify(folder)
        (folder / "stranger").unlink()
        (folder / "items.utf8").unlink()
        with pytest.raises(DamagedIndex, match="not those"):
            files.verify(folder)

    def test_no_folder_is_no_index(self, tmp_path):
        with pytest.raises(DamagedIndex, match="manifest"):
            files.verify(tmp_path / "nowhere")


class TestManifest:
    @pytest.mark.parametrize(
        "changes",
        [{"sequence": 2}, {"items": COUNT - 1}, {"engine": "exact"}, {"recall_target": 0.5}],
    )
    def test_an_edited_one_is_found(self, copy, changes):
        folder = copy("annoy")
        edit(folder, forged=False, **changes)
        with pytest.raises(DamagedIndex, match="changed after"):
            files.open_folder(folder)

    @pytest.mark.parametrize(
        "changes",
        [
            {"items": 0},
            {"items": "many"},
            {"items": True},
            {"items": 10**30},
            {"dim": 10**9},
            {"width": -1},
            {"sequence": -1},
            {"fitted_at": 99},
            {"engine": "hnsw"},
            {"metric": "euclidean"},
            {"recall_target": 1.5},
            {"transform": "no such"},
            {"space": 5},
            {"index": {"effort": -5, "recall": 1.0, "unique": 700}},
            {"index": {"effort": 5, "recall": float("nan"), "unique": 700}},
            {"index": {"effort": 5, "recall": 1.0, "unique": 701}},
            {"index": {"effort": 5}},
            {"index": None},
            {"files": None},
            {"files": {"items.utf8": {}}},
            {"version": 2},
            {"something": "else"},
        ],
    )
    def test_what_cannot_be_is_not_believed_though_its_digest_fits(self, copy, changes):
        folder = copy("annoy")
        edit(folder, **changes)
        with pytest.raises(DamagedIndex, match=r"manifest\.json"):
            files.open_folder(folder)

    @pytest.mark.parametrize(
        ("name", "changes"),
        [
            ("annoy", {"items": COUNT - 1, "index": {"effort": 9, "recall": 1.0, "unique": 9}}),
            ("annoy", {"dim": DIM + 1, "width": DIM + 1}),
            ("annoy", {"width": DIM + 1}),
            ("annoy", {"index": {"effort": 9, "recall": 1.0, "unique": COUNT - 1}}),
            ("faiss", {"engine": "annoy"}),
            ("moved", {"transform": "centre"}),
            ("moved", {"width": DIM}),
        ],
    )
    def test_what_the_files_belie_is_not_believed_though_its_digest_fits(self, copy, name, changes):
        folder = copy(name)
        edit(folder, **changes)
        with pytest.raises(DamagedIndex):
            files.open_folder(folder)

    @pytest.mark.parametrize("text", ["", "[]", "{}", "5", "\xff", "[" * 100_000])
    def test_what_is_none_is_refused(self, copy, text):
        folder = copy("annoy")
        (folder / "manifest.json").write_text(text, encoding="latin-1")
        with pytest.raises(DamagedIndex, match=r"manifest\.json"):
            files.open_folder(folder)

    @pytest.mark.parametrize("name", ["vectors.npy", "places.npy", "transform.npz"])
    def test_files_that_are_not_what_their_names_say_are_refused(self, copy, name):
        folder = copy("moved")
        (folder / name).write_bytes(b"not an array")
        forge(folder)
        with pytest.raises(DamagedIndex, match=name):
            files.open_folder(folder)
