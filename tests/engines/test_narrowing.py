"""Vectors are searched by fewer numbers where that loses no neighbours, and only there."""

import json

import numpy as np
import pytest

from soundalike import engines
from soundalike.engines.calibration import Sample
from soundalike.engines.narrowing import FILE, Narrowing
from soundalike.errors import DamagedIndex
from tests.engines.vectors import clustered, cosines, recall, unit

DIM = 256
APPROXIMATE = [name for name in engines.NAMES if not engines.load(name).exact]


def spread_over(directions, count, seed, noise=0.01):
    """Vectors of 256 numbers around centres that differ along few directions, with some noise."""
    basis = np.linalg.qr(np.random.default_rng(9).normal(size=(DIM, directions)))[0].T
    rng = np.random.default_rng(seed)
    return unit(clustered(count, directions, seed) @ basis + noise * rng.normal(size=(count, DIM)))


@pytest.fixture(params=APPROXIMATE)
def approximate(request):
    return engines.load(request.param)


def test_few_directions_are_kept_where_they_tell_all():
    vectors = spread_over(24, 3000, seed=1)
    narrowing = Narrowing.of(vectors, Sample(vectors))
    assert narrowing.width == 64
    narrow = narrowing.rows(vectors)
    np.testing.assert_allclose(np.linalg.norm(narrow, axis=1), 1, atol=1e-6)
    whole, kept = (cosines(one, one[:50]) for one in (vectors, narrow))
    assert np.abs(whole - kept).max() < 0.05


@pytest.mark.parametrize(
    "vectors",
    [
        unit(np.random.default_rng(1).normal(size=(3000, DIM))),  # spread over all directions alike
        spread_over(24, 3000, seed=1)[:, :128],  # half of which are read no more quickly
        spread_over(24, 400, seed=1),  # too few to tell
    ],
)
def test_vectors_stay_as_they_are_where_that_does_not_hold(vectors):
    narrowing = Narrowing.of(unit(vectors), Sample(unit(vectors)))
    assert narrowing.width is None
    assert narrowing.spare(10) == 0
    assert narrowing.rows(vectors) is vectors
    assert narrowing.queries(vectors) is vectors


def test_what_differs_along_left_out_directions_alone_is_told_apart():
    rng = np.random.default_rng(3)
    copies = np.repeat(spread_over(24, 1000, seed=1, noise=0), 60, axis=0)
    vectors = unit(copies + 0.01 * rng.normal(size=copies.shape))  # more copies than are compared
    assert Narrowing.of(vectors, Sample(vectors)).width is None


def test_nothing_is_left_of_some_vectors_and_no_number_is_lost():
    narrowing = Narrowing(np.eye(DIM, 64, dtype=np.float32))
    assert narrowing.rows(np.eye(DIM, dtype=np.float32)[100:101]).tolist() == [[0.0] * 64]


def test_an_engine_over_narrow_vectors_answers_as_one_over_whole_ones(approximate):
    vectors, queries = spread_over(24, 6000, seed=1), spread_over(24, 200, seed=2)
    engine = approximate.build(vectors)
    assert recall(engine, vectors, queries, 10) >= 0.93
    assert recall(engine, vectors, queries, 100) >= 0.93
    rows, scores = engine.search(queries, 20)
    assert rows.shape == (200, 20)
    assert (np.diff(scores, axis=1) <= 0).all()
    expected = np.take_along_axis(cosines(vectors, queries), rows, axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_identical_vectors_hide_nothing_and_come_by_row_number(approximate):
    vectors = spread_over(24, 4000, seed=1)
    vectors[::2] = vectors[0]
    engine = approximate.build(vectors)
    singles = np.arange(1, 4000, 40)
    assert np.mean(engine.search(vectors[singles], 1)[0][:, 0] == singles) >= 0.99
    assert engine.search(vectors[:1], 2000)[0].tolist() == [list(range(0, 4000, 2))]


def test_it_is_kept_and_read_with_the_index(approximate, tmp_path):
    vectors, queries = spread_over(24, 3000, seed=1), spread_over(24, 20, seed=2)
    built = approximate.build(vectors)
    facts = json.loads(json.dumps(built.save(tmp_path)))
    assert facts["width"] == 64
    opened = approximate.open(tmp_path, vectors, facts)
    for before, after in zip(built.search(queries, 10), opened.search(queries, 10), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "content", [None, b"", b"no array", np.zeros((DIM, 32), np.float32), np.zeros((DIM, 64))]
)
def test_what_does_not_fit_the_vectors_is_refused(approximate, tmp_path, content):
    vectors = spread_over(24, 3000, seed=1)
    facts = approximate.build(vectors).save(tmp_path)
    (tmp_path / FILE).unlink()
    if isinstance(content, bytes):
        (tmp_path / FILE).write_bytes(content)
    elif content is not None:
        np.save(tmp_path / FILE, content)
    with pytest.raises(DamagedIndex, match=FILE):
        approximate.open(tmp_path, vectors, facts)
