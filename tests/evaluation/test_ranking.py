import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from soundalike.errors import BadRequest
from soundalike.evaluation import ranking
from soundalike.evaluation.ranking import METRICS, NO_ITEM, Relevant, best, hits

GOLDEN_TRUTH = [[10, 11, 12], [20], list(range(30, 37)), [40]]
GOLDEN_LISTS = [[10, 1, 11, 2, 3], [5, 6, 7, 8, 20], [30, 31, 9, 32, 33], []]


def padded(lists, width):
    return np.array([[*one, *[NO_ITEM] * (width - len(one))] for one in lists])


def figures(lists, truth, k, width=None):
    relevant = Relevant.of(truth)
    hit = hits(padded(lists, width or k), relevant)
    return {name: metric.of(hit, relevant.counts, k) for name, metric in METRICS.items()}


def test_golden_lists():
    found = figures(GOLDEN_LISTS, GOLDEN_TRUTH, 5)
    means = {name: round(float(values.mean()), 6) for name, values in found.items()}
    by_hand = [(1 + 2 / 3) / 3, 1 / 5, (1 + 1 + 3 / 4 + 4 / 5) / 7, 0]
    assert means.pop("map") == pytest.approx(sum(by_hand) / 4, abs=1e-6)
    assert means == {
        "hit_rate": 0.75, "recall": 0.559524, "precision": 0.35, "ndcg": 0.480298, "mrr": 0.55,
    }  # fmt: skip
    np.testing.assert_allclose(found["ndcg"], [0.7039, 0.3869, 0.8304, 0], atol=5e-5)


def test_golden_short_lists():
    short = [[10, 1], [20], [30], [40]]
    means = {name: values.mean() for name, values in figures(short, GOLDEN_TRUTH, 5).items()}
    expected = {"hit_rate": 1, "recall": 0.619048, "ndcg": 0.702110, "mrr": 1, "precision": 0.20}
    assert {name: means[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def random_lists(seed, users=40, items=60, width=20, full=False):
    random = np.random.default_rng(seed)
    truth = [
        random.choice(items, random.integers(1, 12), replace=False).tolist() for _ in range(users)
    ]
    sizes = [width if full else int(random.integers(0, width + 1)) for _ in range(users)]
    return [random.permutation(items)[:size].tolist() for size in sizes], truth


@pytest.mark.parametrize("k", [1, 5, 13, 20])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_ir_measures(seed, k):
    import ir_measures
    from ir_measures import AP, RR, P, R, Success, nDCG

    lists, truth = random_lists(seed)
    qrels = {str(u): {str(i): 1 for i in one} for u, one in enumerate(truth)}
    # it sorts by score itself and breaks ties by the text of ids
    run = {str(u): {str(i): -float(r) for r, i in enumerate(one)} for u, one in enumerate(lists)}
    theirs = {
        "recall": R @ k, "hit_rate": Success @ k, "ndcg": nDCG @ k, "mrr": RR @ k,
        "precision": P @ k, "map": AP @ k,
    }  # fmt: skip
    ours = figures(lists, truth, k, 20)
    found = {name: np.zeros(len(lists)) for name in theirs}
    names = {str(measure): name for name, measure in theirs.items()}
    for one in ir_measures.iter_calc(list(theirs.values()), qrels, run):
        found[names[str(one.measure)]][int(one.query_id)] = one.value
    assert found.keys() == ours.keys()
    for name, values in found.items():
        np.testing.assert_allclose(ours[name], values, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("k", [5, 20])
def test_agrees_with_rs_metrics_on_full_lists(k):
    import rs_metrics

    lists, truth = random_lists(4, full=True)
    true, predicted = dict(enumerate(truth)), dict(enumerate(lists))
    ours = figures(lists, truth, k, 20)
    theirs = {
        "recall": rs_metrics.recall, "hit_rate": rs_metrics.hitrate, "ndcg": rs_metrics.ndcg,
        "mrr": rs_metrics.mrr, "precision": rs_metrics.precision,
    }  # fmt: skip
    for name, function in theirs.items():
        assert ours[name].mean() == pytest.approx(function(true, predicted, k=k), abs=1e-9), name


def test_chance_is_the_mean_over_all_orders():
    right, size = {0, 3}, 5
    for k in (1, 2, 4, 5, 7):
        orders = [list(order) for order in permutations(range(size))]
        found = figures(orders, [sorted(right)] * len(orders), k, 7)
        exact = ranking.chance(np.array([size]), np.array([len(right)]), k)
        assert exact.keys() == found.keys()
        for name, values in found.items():
            assert exact[name][0] == pytest.approx(values.mean()), (name, k)


def test_chance_at_scale_is_its_formula():
    exact = ranking.chance(np.array([2655]), np.array([3]), 50)
    assert exact["recall"][0] == pytest.approx(50 / 2655)
    none = math.comb(2652, 50) / math.comb(2655, 50)
    assert exact["hit_rate"][0] == pytest.approx(1 - none)


def test_best_are_those_of_a_plain_sort():
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, (30, 12)).astype(np.float32)
    scores[random.random(scores.shape) < 0.3] = -np.inf
    for k in (1, 5, 11, 12, 15):
        found = best(scores, k)
        for row, list_, ties in zip(scores, found.items, found.ties, strict=True):
            allowed = [i for i in range(12) if row[i] > -np.inf]
            order = sorted(allowed, key=lambda i: (-row[i], i))
            assert list_.tolist() == (order + [NO_ITEM] * k)[:k]
            expected = [r + 1 < len(order) and row[order[r]] == row[order[r + 1]] for r in range(k)]
            assert ties.tolist() == expected


def test_scores_that_are_no_numbers_and_items_twice_are_refused():
    with pytest.raises(BadRequest, match="no numbers"):
        best(np.float32([[0, np.nan]]), 1)
    with pytest.raises(BadRequest, match="twice"):
        hits(np.array([[1, 2, 1]]), Relevant.of([[1]]))


def test_interval_and_paired_test_are_scipys():
    random = np.random.default_rng(2)
    a, b = random.random((2, 50))
    low, high = stats.t.interval(0.95, 49, a.mean(), stats.sem(a))
    assert (ranking.interval(a).low, ranking.interval(a).high) == pytest.approx((low, high))
    theirs, ours = stats.ttest_rel(a, b), ranking.compare(a, b)
    assert (ours.t, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert ours.difference == pytest.approx((a - b).mean())
    span = theirs.confidence_interval()
    assert (ours.interval.low, ours.interval.high) == pytest.approx((span.low, span.high))
    assert (ranking.compare(a, a).p, ranking.interval(a[:1]).high) == (1, a[0])


def test_coverage_and_popularity_by_hand():
    lists = np.array([[0, 1], [1, NO_ITEM], [3, 1]])
    assert ranking.coverage(lists, 5, 1) == pytest.approx(3 / 5)
    assert ranking.coverage(lists, 5, 2) == pytest.approx(3 / 5)
    known, novelty = ranking.popularity(lists, np.array([8, 4, 9, 0]), 16, 2)
    assert known == pytest.approx((0.5 + 3 * 0.25 + 0) / 5)
    assert novelty == pytest.approx((1 + 3 * 2) / 4)
