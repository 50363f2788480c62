from dataclasses import replace

import numpy as np
import pytest

from soundalike.errors import BadRequest
from soundalike.evaluation import metrics, retrieval
from soundalike.evaluation.retrieval import Labelled, Truth, evaluate, measure


@pytest.fixture
def some():
    """Forty vectors round four directions, with one or two of six labels each."""
    random = np.random.default_rng(5)
    kinds = random.integers(0, 4, 40)
    vectors = np.eye(6)[kinds] + random.normal(0, 0.6, (40, 6))
    labels = [{f"kind {k}", f"extra {random.integers(2)}"} for k in kinds]
    return Labelled("test/0", "mean", vectors.astype(np.float32), labels)


def oracle(gallery, queries, barred, ks):
    """Mean precision, recall and average precision, by plain loops over plain lists."""
    rows = []
    for q, query in enumerate(queries.vectors.astype(float)):
        ranked = sorted(
            (
                (
                    -(query @ item) / np.linalg.norm(query) / np.linalg.norm(item),
                    bool(set(queries.labels[q]) & set(gallery.labels[i])),
                )
                for i, item in enumerate(gallery.vectors.astype(float))
                if not barred(q, i)
            ),
        )
        right = [one for _, one in ranked]
        if any(right):
            at_right = [sum(right[: n + 1]) / (n + 1) for n, one in enumerate(right) if one]
            hits = [sum(right[:k]) for k in ks]
            share = sum(right) / len(right)
            average = sum(at_right) / sum(right)
            rows.append(
                [*(h / k for h, k in zip(hits, ks, strict=True))]
                + [h / sum(right) for h in hits]
                + [average, share]
            )
    return np.mean(rows, axis=0), len(rows)


def flat(figures):
    measures = [*figures.precision.values(), *figures.recall.values()]
    means = [one.mean for one in [*measures, figures.mean_average_precision]]
    return [*means, next(iter(figures.precision.values())).random]


def test_leave_one_out_is_what_plain_loops_find(some):
    found = evaluate(some, ks=[1, 5]).figures
    expected, count = oracle(some, some, lambda q, i: q == i, [1, 5])
    np.testing.assert_allclose(flat(found), expected, rtol=1e-6)
    assert (found.queries, found.without, found.items) == (count, 0, 40)


def test_gallery_and_queries_are_what_plain_loops_find(some):
    gallery = replace(some, vectors=some.vectors[:30], labels=some.labels[:30])
    queries = replace(some, vectors=some.vectors[30:], labels=[*some.labels[30:39], {"unheard"}])
    found = evaluate(gallery, queries, ks=[1, 5]).figures
    expected, count = oracle(gallery, queries, lambda q, i: False, [1, 5])
    np.testing.assert_allclose(flat(found), expected, rtol=1e-6)
    assert (found.queries, found.without, found.items) == (count, 1, 30)


def test_what_is_of_one_group_is_not_compared(some):
    groups = [f"speaker {n % 3}" for n in range(40)]
    found = evaluate(replace(some, groups=groups), ks=[1, 5]).figures
    expected, _ = oracle(some, some, lambda q, i: groups[q] == groups[i], [1, 5])
    np.testing.assert_allclose(flat(found), expected, rtol=1e-6)


def test_blocks_change_nothing(some, monkeypatch):
    whole = evaluate(some, ks=[1, 5])
    monkeypatch.setattr("soundalike.engines.exact.BLOCK_SCORES", 130)
    assert evaluate(some, ks=[1, 5]) == whole


def test_by_hand():
    angles = np.radians([0, 10, 30, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = evaluate(Labelled("s", "p", vectors, [["a"], ["b"], ["a"], ["b"]]), ks=[1, 2]).figures
    # the orders are 1 2 3, 0 2 3, 1 0 3, 2 1 0; right are 2, 3, 0, 1
    assert found.precision[1].mean == 0
    assert found.precision[2].mean == pytest.approx(3 / 8)
    assert found.recall[2].mean == pytest.approx(3 / 4)
    assert found.mean_average_precision.mean == pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1 / 2) / 4)
    assert found.precision[1].random == pytest.approx(1 / 3)
    assert found.recall[2].random == pytest.approx(2 / 3)
    # as nearest come 1, 0, 1 and 2
    assert found.hubness[1] == pytest.approx(metrics.hubness(np.array([1.0, 2.0, 1.0, 0.0])))


def test_ignored_labels_make_nothing_relevant(some):
    both = evaluate(some).figures
    kinds = evaluate(some, ignored=["extra 0", "extra 1"]).figures
    assert kinds.precision[1].random < 0.6 * both.precision[1].random


def test_random_vectors_find_what_chance_promises():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(1500, 16)).astype(np.float32)
    labels = [[str(n)] for n in random.integers(0, 5, 1500)]
    found = evaluate(Labelled("s", "p", vectors, labels)).figures
    for one in (found.precision[10], found.recall[10], found.mean_average_precision):
        assert one.interval.low - 0.01 < one.random < one.interval.high + 0.01


def test_a_transform_is_fitted_on_the_gallery_alone(some):
    gallery = replace(some, vectors=some.vectors + 5)
    queries = replace(gallery, vectors=gallery.vectors[:7], labels=gallery.labels[:7])
    centred = gallery.vectors / np.linalg.norm(gallery.vectors, axis=1, keepdims=True)
    centre = centred.mean(axis=0)
    by_hand = [
        replace(one, vectors=one.vectors / np.linalg.norm(one.vectors, axis=1)[:, None] - centre)
        for one in (gallery, queries)
    ]
    found = evaluate(gallery, queries, transform="centre").figures
    np.testing.assert_allclose(flat(found), flat(evaluate(*by_hand).figures))


def test_any_ranking_can_be_measured(some):
    shared = metrics.incidence(some.labels, sorted({n for one in some.labels for n in one}))
    perfect = (shared @ shared.T).toarray()
    found = measure(lambda rows: perfect[rows], Truth(some), [1])
    assert found.precision[1].mean == 1
    assert found.mean_average_precision.mean == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "ks", "says"),
    [
        ({"labels": [[str(n)] for n in range(40)]}, [1], "nothing to measure"),
        ({}, [40], "39 items"),
        ({}, [], "1 or more"),
        ({}, [0], "1 or more"),
        ({"groups": ["all"] * 39 + ["one"]}, [2], "1 items"),
    ],
)
def test_what_cannot_be_measured_is_refused(some, change, ks, says):
    with pytest.raises(BadRequest, match=says):
        evaluate(replace(some, **change), ks=ks)


def test_other_spaces_and_transforms_are_refused(some):
    with pytest.raises(BadRequest, match="other/1"):
        evaluate(some, replace(some, space="other/1"))
    with pytest.raises(BadRequest, match="no transform"):
        evaluate(some, transform="none of these")


def test_vectors_of_zeros_are_near_nothing(some):
    some.vectors[3] = 0
    with np.errstate(all="raise"):
        found = retrieval.evaluate(some)
    assert np.isfinite(flat(found.figures)).all()
