from itertools import pairwise, permutations

import numpy as np
import pytest

from soundalike.evaluation import metrics


def oracle(scores, relevant, k):
    """Precision at k and average precision, as a mean over all orders that the scores allow."""
    precisions, averages = [], []
    for order in permutations(range(len(scores))):
        if any(scores[a] < scores[b] for a, b in pairwise(order)):
            continue
        right = [relevant[item] for item in order]
        precisions.append(sum(right[:k]) / k)
        at_right = [sum(right[: n + 1]) / (n + 1) for n, one in enumerate(right) if one]
        averages.append(sum(at_right) / len(at_right))
    return np.mean(precisions), np.mean(averages)


def precision(scores, relevant, k):
    shares = metrics.top_shares(np.float32([scores]), k)[0]
    return shares @ np.array(relevant) / k


def average_precision(scores, relevant):
    harmonic = metrics.harmonic_numbers(len(scores))
    return metrics.average_precision(np.float32(scores), np.array(relevant), harmonic)


def test_by_hand():
    scores, relevant = [0.9, 0.8, 0.7, 0.6], [True, False, True, False]
    assert precision(scores, relevant, 1) == 1
    assert precision(scores, relevant, 3) == pytest.approx(2 / 3)
    assert average_precision(scores, relevant) == pytest.approx((1 + 2 / 3) / 2)


def test_ties_count_by_how_likely_they_come_first():
    shares = metrics.top_shares(np.float32([[0.5, 0.9, 0.5, 0.5, 0.1]]), 2)
    np.testing.assert_allclose(shares, [[1 / 3, 1, 1 / 3, 1 / 3, 0]], rtol=1e-6)


@pytest.mark.parametrize("seed", range(30))
def test_is_the_mean_over_all_orders_of_ties(seed):
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 7))
    scores = random.integers(0, 4, size).astype(float)
    relevant = random.random(size) < 0.5
    relevant[random.integers(size)] = True
    k = int(random.integers(1, size + 1))
    at_k, average = oracle(scores, relevant, k)
    assert precision(scores, relevant, k) == pytest.approx(at_k, rel=1e-6)
    assert average_precision(scores, relevant) == pytest.approx(average)


@pytest.mark.parametrize(("right", "size"), [(1, 1), (1, 6), (2, 6), (5, 6), (6, 6)])
def test_chance_is_the_mean_over_all_orders(right, size):
    relevant = np.arange(size) < right
    _, average = oracle([0.0] * size, relevant, 1)
    harmonic = metrics.harmonic_numbers(size)
    found = metrics.random_average_precision(np.array([right]), np.array([size]), harmonic)
    assert found == pytest.approx(average)


def test_what_must_not_be_a_neighbour_takes_no_place():
    assert average_precision([-np.inf, 0.5, 0.9], [False, True, False]) == 0.5
    assert precision([-np.inf, 0.5, 0.9], [False, True, False], 2) == 0.5


def test_incidence_tells_who_shares_a_label_that_counts():
    labels = [["a", "b"], ["b"], [], ["c", "c"], ["a", "never heard of"]]
    of = metrics.incidence(labels, ["a", "b", "c"], ignored=["a"]).toarray()
    shared = of @ of.T > 0
    assert shared[0].tolist() == [True, True, False, False, False]
    assert of.max() == 1
    assert not of[[2, 4]].any()


def test_hubness_is_scipys_skewness():
    from scipy.stats import skew

    times = np.random.default_rng(0).poisson(2.0, 500).astype(float)
    times[0] = 90.0
    assert metrics.hubness(times) == pytest.approx(skew(times))
    assert metrics.hubness(np.full(5, 0.1)) == pytest.approx(0)


def test_intervals_are_those_of_a_normal_mean_where_there_is_much():
    values = np.random.default_rng(1).normal([1.0, 5.0], [1.0, 3.0], (2000, 2))
    for found, column in zip(metrics.intervals(values), values.T, strict=True):
        half = 1.96 * column.std() / np.sqrt(len(column))
        assert found.low == pytest.approx(column.mean() - half, abs=0.2 * half)
        assert found.high == pytest.approx(column.mean() + half, abs=0.2 * half)


def test_the_same_seed_gives_the_same_intervals():
    values = np.random.default_rng(2).random((50, 1))
    assert metrics.intervals(values, 3) == metrics.intervals(values, 3)
    assert metrics.intervals(values, 3) != metrics.intervals(values, 4)
