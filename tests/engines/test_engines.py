"""Every engine answers alike, and the exact one is right."""

import subprocess
import sys

import numpy as np
import pytest

from soundalike import engines
from soundalike.engines.annoy import AnnoyEngine, _Groups
from soundalike.engines.base import NO_ROW
from soundalike.engines.exact import BLOCK_SCORES, ExactEngine, blocks
from soundalike.errors import BadRequest


def unit(vectors):
    vectors = np.asarray(vectors, dtype=np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count, dim, seed, clusters=20):
    """Unit vectors around some centres, which are the same for every seed."""
    centres = np.random.default_rng(0).normal(size=(clusters, dim))
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(0, clusters, count)] + 0.5 * rng.normal(size=(count, dim)))


def cosines(vectors, queries):
    return queries.astype(np.float64) @ vectors.astype(np.float64).T


def recall(engine, vectors, queries, k):
    found, _ = engine.search(queries, k)
    truth = np.argsort(-cosines(vectors, queries), axis=1)[:, :k]
    return np.mean([len(set(f) & set(t)) / k for f, t in zip(found, truth, strict=True)])


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
        np.testing.assert_allclose(scores[0], np.cos(angles[rows[0]] - query_angle), atol=1e-6)

    def test_scores_are_the_cosines_of_the_rows_and_fall(self, engine_type):
        vectors, queries = clustered(500, 32, seed=1), clustered(10, 32, seed=2)
        rows, scores = engine_type.build(vectors).search(queries, 20)
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


class TestAnnoy:
    def test_calibration_meets_its_target_on_queries_it_has_not_seen(self):
        vectors, queries = clustered(6000, 64, seed=1, clusters=3), clustered(200, 64, seed=2)
        engine = AnnoyEngine.build(vectors)
        assert engine.recall >= 0.95
        assert recall(engine, vectors, queries, 10) == pytest.approx(engine.recall, abs=0.03)

    def test_a_higher_target_looks_at_more_nodes_and_finds_more(self):
        vectors = clustered(6000, 64, seed=1, clusters=3)
        low, high = (AnnoyEngine.build(vectors, recall_target=share) for share in (0.5, 0.999))
        assert low.search_k < high.search_k
        assert low.recall < high.recall

    def test_what_is_not_found_is_marked(self):
        class NearSighted:
            def get_nns_by_vector(self, *_, **__):
                return [0], [0.0]

        vectors = clustered(5, 8, seed=1)
        groups = _Groups(vectors)
        engine = AnnoyEngine(groups, NearSighted(), search_k=1, recall=0.0)
        rows, scores = engine.search(vectors[:1], 2)
        assert rows.tolist() == [[groups.first[0], NO_ROW]]
        assert scores.tolist() == [[1.0, -np.inf]]


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
        code = "import sys, soundalike.engines as e; print(e.NAMES, 'annoy' in sys.modules)"
        out = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert out.split() == ["('exact',", "'annoy')", "False"]

    def test_an_unknown_name_is_refused_with_those_there_are(self):
        with pytest.raises(BadRequest, match="exact, annoy"):
            engines.load("hnsw")

    def test_a_missing_library_is_named_with_what_installs_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "annoy", None)
        monkeypatch.delitem(sys.modules, "soundalike.engines.annoy")
        with pytest.raises(BadRequest, match=r"'annoy'.*soundalike\[recommender\]"):
            engines.load("annoy")
