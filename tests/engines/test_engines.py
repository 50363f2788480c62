"""Every engine answers alike, and the exact one is right."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundalike import engines
from soundalike.engines.base import NO_ROW
from soundalike.engines.exact import BLOCK_SCORES, ExactEngine, blocks
from soundalike.errors import BadRequest, DamagedIndex
from tests.engines.vectors import clustered, cosines, recall, unit

FILES = {"annoy": "annoy.index", "faiss": "faiss.index"}
APPROXIMATE = [name for name in engines.NAMES if not engines.load(name).exact]


def pair(count, queries):
    """Vectors that are hard to search, and queries of their kind."""
    return clustered(count, 64, seed=1, clusters=3), clustered(queries, 64, seed=2, clusters=3)


def reopened(engine, folder, vectors):
    """Save an engine and open it, its facts having been JSON meanwhile."""
    facts = json.loads(json.dumps(engine.save(folder)))
    return type(engine).open(folder, vectors, facts)


@pytest.fixture(params=engines.NAMES)
def engine_type(request):
    return engines.load(request.param)


class TestEveryEngine:
    def test_names_itself_as_the_registry_does(self, engine_type):
        assert engines.load(engine_type.name) is engine_type

    def test_finds_compass_points_in_order_of_angle(self, engine_type):
        angles = np.radians([0, 90, 180, 30, 300])
        engine = engine_type.build(unit(np.stack([np.cos(angles), np.sin(angles)], axis=1)))
        rows, scores = engine.search(unit([[1.0, 0.1]]), 5)
        assert rows.tolist() == [[0, 3, 4, 1, 2]]
        query_angle = np.arctan2(0.1, 1.0)
        expected = np.cos(angles[rows[0]] - query_angle)
        np.testing.assert_allclose(scores[0], expected, atol=1e-6)

    def test_scores_are_the_cosines_of_the_rows_and_fall(self, engine_type):
        vectors, queries = clustered(500, 32, seed=1), clustered(10, 32, seed=2)
        engine = engine_type.build(vectors)
        rows, scores = engine.search(queries, 20)
        assert (np.diff(scores, axis=1) <= 0).all()
        expected = np.take_along_axis(cosines(vectors, queries), rows, axis=1)
        np.testing.assert_allclose(scores, expected, atol=1e-6)

    def test_finds_what_a_double_precision_scan_finds(self, engine_type):
        vectors, queries = clustered(3000, 32, seed=1), clustered(100, 32, seed=2)
        engine = engine_type.build(vectors)
        assert recall(engine, vectors, queries, 10) >= (1.0 if engine.exact else 0.93)
        assert recall(engine, vectors, queries, 100) >= (1.0 if engine.exact else 0.93)

    def test_a_batch_answers_as_its_queries_alone(self, engine_type):
        vectors, queries = clustered(500, 32, seed=1), clustered(7, 32, seed=2)
        engine = engine_type.build(vectors)
        rows, scores = engine.search(queries, 10)
        alone = [engine.search(query[np.newaxis], 10) for query in queries]
        np.testing.assert_array_equal(rows, np.concatenate([one for one, _ in alone]))
        np.testing.assert_allclose(scores, np.concatenate([one for _, one in alone]), atol=1e-6)

    def test_more_neighbours_than_rows_gives_every_row_once(self, engine_type):
        engine = engine_type.build(clustered(7, 16, seed=1))
        rows, _ = engine.search(clustered(3, 16, seed=2), 50)
        assert np.sort(rows, axis=1).tolist() == [list(range(7))] * 3

    @pytest.mark.parametrize("dim", [1, 5])
    def test_one_row_is_found(self, engine_type, dim):
        vectors = unit(np.ones((1, dim)))
        rows, scores = engine_type.build(vectors).search(vectors, 3)
        assert rows.tolist() == [[0]]
        assert scores[0, 0] == pytest.approx(1.0, abs=1e-6)

    def test_identical_vectors_come_by_row_number(self, engine_type):
        vectors = clustered(20, 16, seed=1)
        vectors[[3, 7, 11, 15]] = vectors[3]
        engine = engine_type.build(vectors)
        assert engine.search(vectors[3:4], 4)[0].tolist() == [[3, 7, 11, 15]]
        assert engine.search(vectors[3:4], 2)[0].tolist() == [[3, 7]]

    def test_half_of_the_vectors_identical_hide_none_of_the_rest(self, engine_type):
        vectors = clustered(4000, 32, seed=1)
        vectors[::2] = vectors[0]
        engine = engine_type.build(vectors)
        singles = np.arange(1, 4000, 40)
        rows, _ = engine.search(vectors[singles], 1)
        assert np.mean(rows[:, 0] == singles) >= (1.0 if engine.exact else 0.99)
        rows, scores = engine.search(vectors[:1], 2000)
        assert rows.tolist() == [list(range(0, 4000, 2))]
        np.testing.assert_allclose(scores, 1.0, atol=1e-6)

    def test_is_the_same_when_built_again(self, engine_type):
        vectors, queries = clustered(2000, 16, seed=1), clustered(50, 16, seed=2)
        first, second = (engine_type.build(vectors).search(queries, 10) for _ in range(2))
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])

    def test_answers_the_same_once_saved_and_opened(self, engine_type, tmp_path):
        vectors, queries = clustered(2000, 16, seed=1), clustered(50, 16, seed=2)
        vectors[100:400] = vectors[100]
        built = engine_type.build(vectors)
        opened = reopened(built, tmp_path, vectors)
        assert (opened.effort, opened.recall) == (built.effort, built.recall)
        for k in (1, 10, 500):
            before, after = built.search(queries, k), opened.search(queries, k)
            np.testing.assert_array_equal(before[0], after[0])
            np.testing.assert_array_equal(before[1], after[1])

    def test_several_threads_may_build(self, engine_type):
        vectors, queries = clustered(2000, 16, seed=1), clustered(50, 16, seed=2)
        assert recall(engine_type.build(vectors, threads=2), vectors, queries, 10) >= 0.93


@pytest.fixture(params=APPROXIMATE)
def approximate(request):
    return engines.load(request.param)


class TestApproximateEngines:
    @pytest.mark.parametrize("target", [0.8, 0.95, 0.99])
    def test_calibration_meets_its_target_on_queries_it_has_not_seen(self, approximate, target):
        vectors, queries = pair(6000, 300)
        engine = approximate.build(vectors, recall_target=target)
        assert engine.recall >= target
        assert recall(engine, vectors, queries, 10) >= target - 0.03

    def test_a_higher_target_takes_more_effort_and_finds_more(self, approximate):
        vectors = clustered(6000, 64, seed=1, clusters=3)
        low, high = (approximate.build(vectors, recall_target=share) for share in (0.5, 0.999))
        assert low.effort < high.effort
        assert low.recall < high.recall

    def test_more_effort_on_the_same_index_finds_more(self, approximate):
        vectors, queries = pair(6000, 100)
        low = approximate.build(vectors, recall_target=0.5)
        high = low.with_effort(20 * low.effort)
        assert high.effort == 20 * low.effort
        assert recall(high, vectors, queries, 10) > recall(low, vectors, queries, 10)

    def test_half_of_the_vectors_identical_do_not_lower_the_recall(self, approximate):
        vectors, queries = clustered(12_228, 64, seed=1), clustered(500, 64, seed=2)
        vectors[::2] = vectors[0]
        assert recall(approximate.build(vectors), vectors, queries, 10) >= 0.95

    def test_copies_that_hardly_differ_are_told_apart(self, approximate):
        noise = np.random.default_rng(3).normal(size=(6000, 64))
        vectors = unit(np.repeat(clustered(2000, 64, seed=1), 3, axis=0) + 1e-4 * noise)
        thorough = approximate.build(vectors).with_effort(3000)
        assert recall(thorough, vectors, clustered(300, 64, seed=2), 10) >= 0.995

    def test_what_is_not_found_is_marked(self, approximate):
        class NearSighted(approximate):
            @classmethod
            def _nearest(cls, index, queries, k, effort):
                rows, scores = super()._nearest(index, queries, 1, effort)
                beyond = [(0, 0), (0, k - 1)]
                return np.pad(rows, beyond, constant_values=NO_ROW), np.pad(
                    scores, beyond, constant_values=-np.inf
                )

        vectors = clustered(5, 8, seed=1)
        vectors[4] = vectors[0]
        rows, scores = NearSighted.build(vectors).search(vectors[:1], 4)
        assert rows.tolist() == [[0, 4, NO_ROW, NO_ROW]]
        assert scores[0] == pytest.approx([1.0, 1.0, -np.inf, -np.inf], abs=1e-6)

    def test_a_search_for_more_than_the_library_finds_is_filled_up(self, approximate):
        vectors = clustered(3000, 16, seed=1)
        rows, scores = approximate.build(vectors).with_effort(1).search(vectors[:3], 1000)
        missing = rows == NO_ROW
        assert (np.sort(missing, axis=1) == missing).all()
        assert (np.isneginf(scores) == missing).all()

    def test_the_file_of_another_index_is_refused(self, approximate, tmp_path):
        vectors = clustered(300, 16, seed=1)
        facts = approximate.build(vectors).save(tmp_path)
        for other in (clustered(300, 17, seed=1), clustered(301, 16, seed=1)):
            with pytest.raises(DamagedIndex, match=FILES[approximate.name]):
                approximate.open(tmp_path, other, facts | {"unique": len(other)})

    @pytest.mark.parametrize("content", [None, b"", b"no index at all"])
    def test_what_is_no_index_is_refused(self, approximate, tmp_path, content):
        if content is not None:
            (tmp_path / FILES[approximate.name]).write_bytes(content)
        facts = {"unique": 5, "effort": 10, "recall": 1.0, "width": None}
        with pytest.raises(DamagedIndex, match=FILES[approximate.name]):
            approximate.open(tmp_path, clustered(5, 8, seed=1), facts)

    def test_a_disk_that_refuses_is_an_os_error_with_its_number(self, approximate, tmp_path):
        engine = approximate.build(clustered(500, 64, seed=1))
        code = (
            "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
            "from pathlib import Path; from tests.engines.vectors import clustered\n"
            "from soundalike import engines\n"
            "engine = engines.load(sys.argv[1]).build(clustered(500, 64, seed=1))\n"
            "try: engine.save(Path(sys.argv[2]))\n"
            "except OSError as error: print(error.errno)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, engine.name, str(tmp_path)], capture_output=True, text=True
        )
        assert done.stdout.split() == [str(errno.EFBIG)]

    def test_what_is_open_takes_no_memory_but_the_pages_of_its_file(self, approximate, tmp_path):
        vectors = clustered(20_000, 64, seed=1)
        path = tmp_path / FILES[approximate.name]
        engine = reopened(approximate.build(vectors, recall_target=0.5), tmp_path, vectors)
        engine.with_effort(200_000).search(vectors[:5], 10)  # touches most of it
        in_memory, of_its_own = kilobytes(path)
        assert in_memory * 1024 > 0.5 * path.stat().st_size
        assert of_its_own == 0


def kilobytes(path):
    """How much of a mapped file is in memory, and how much of that is this process's alone."""
    found, inside = {"Rss:": 0, "Anonymous:": 0}, False
    for first, *rest in map(str.split, Path("/proc/self/smaps").read_text().splitlines()):
        if not first.endswith(":"):
            inside = rest[-1] == str(path)
        elif inside and first in found:
            found[first] += int(rest[0])
    return found.values()


class TestAnnoy:
    def test_half_of_the_vectors_identical_lower_the_recall_of_the_bare_library(self):
        from annoy import AnnoyIndex

        vectors, queries = clustered(12_228, 64, seed=1), clustered(500, 64, seed=2)
        vectors[::2] = vectors[0]
        ours = engines.load("annoy").build(vectors)
        bare = AnnoyIndex(64, "angular")
        bare.set_seed(1)
        for row, vector in enumerate(vectors):
            bare.add_item(row, vector.tolist())
        bare.build(50, n_jobs=1)
        least = np.sort(cosines(vectors, queries), axis=1)[:, -10]
        found = [bare.get_nns_by_vector(query, 10, ours.effort) for query in queries.tolist()]
        as_near = [
            (cosines(vectors[rows], query[np.newaxis])[0] >= nearest - 1e-6).sum() / 10
            for rows, query, nearest in zip(found, queries, least, strict=True)
        ]
        assert np.mean(as_near) < recall(ours, vectors, queries, 10) - 0.1


class TestFaiss:
    def test_rows_are_linked_in_long_runs_for_short_ones_of_near_rows_hide_some(self, monkeypatch):
        faiss = pytest.importorskip("soundalike.engines.faiss")
        vectors, queries = clustered(30_000, 16, seed=1), clustered(300, 16, seed=2)
        engines_of = []
        for most in (faiss.BYTES_AT_ONCE, 1000 * vectors[:1].nbytes):
            monkeypatch.setattr(faiss, "BYTES_AT_ONCE", most)
            engines_of.append(faiss.FaissEngine.build(vectors).with_effort(40))
        long, short = (recall(engine, vectors, queries, 10) for engine in engines_of)
        assert long > short
        assert long >= 0.97


class TestExact:
    def test_many_queries_are_cut_into_blocks_that_cover_them_all(self):
        cut = list(blocks(10, BLOCK_SCORES // 4))
        assert len(cut) == 3
        assert [i for block in cut for i in range(10)[block]] == list(range(10))

    def test_blocks_do_not_change_the_answer(self, monkeypatch):
        vectors, queries = clustered(300, 16, seed=1), clustered(20, 16, seed=2)
        whole = ExactEngine.build(vectors).search(queries, 5)
        monkeypatch.setattr("soundalike.engines.exact.BLOCK_SCORES", 1000)
        np.testing.assert_array_equal(ExactEngine.build(vectors).search(queries, 5)[0], whole[0])


class TestRegistry:
    def test_names_are_listed_without_importing_a_library(self):
        code = (
            "import sys, soundalike.engines as e; "
            "print(e.NAMES, 'annoy' in sys.modules, 'faiss' in sys.modules)"
        )
        out = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert out.split() == ["('exact',", "'annoy',", "'faiss')", "False", "False"]

    def test_an_unknown_name_is_refused_with_those_there_are(self):
        with pytest.raises(BadRequest, match="exact, annoy, faiss"):
            engines.load("hnsw")

    @pytest.mark.parametrize(("name", "extra"), [("annoy", "recommender"), ("faiss", "faiss")])
    def test_a_missing_library_is_named_with_what_installs_it(self, monkeypatch, name, extra):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, f"soundalike.engines.{name}", raising=False)
        with pytest.raises(BadRequest, match=rf"'{name}'.*soundalike\[{extra}\]"):
            engines.load(name)
