"""The least effort that finds enough is found."""

import numpy as np
import pytest

from soundalike.engines.base import NO_ROW
from soundalike.engines.calibration import STEP, Sample, calibrate
from tests.engines.vectors import clustered

VECTORS = clustered(2000, 16, seed=1)
SAMPLE = Sample(VECTORS)
OTHERS = np.setdiff1d(np.arange(len(VECTORS)), SAMPLE.rows)
NEAREST = {
    vector.tobytes(): OTHERS[np.argsort(-VECTORS[OTHERS] @ vector)[:10]]
    for vector in VECTORS[SAMPLE.rows]
}


def nearest(queries):
    """The ten nearest rows that are not of the sample."""
    return np.array([NEAREST[query.tobytes()] for query in queries])


def finding(share):
    """Recalls where `share(effort)` of the ten nearest are found, and which efforts were seen."""
    seen = []

    def recalls(effort):
        def search(queries):
            rows = nearest(queries)
            rows[:, round(share(effort) * 10) :] = NO_ROW
            return rows

        seen.append(effort)
        return SAMPLE.recalls(search, 10)

    return recalls, seen


@pytest.mark.parametrize("needed", [10, 11, 57, 640, 3999, 4000])
def test_it_is_the_least_that_meets_the_target(needed):
    recalls, seen = finding(lambda effort: 1.0 if effort >= needed else 0.5)
    effort, recall = calibrate(recalls, 0.9, least=10, most=4000)
    assert needed <= effort <= needed * STEP + 1
    assert recall == 1.0
    assert len(seen) < 25


def test_a_target_out_of_reach_takes_all_the_effort_there_is_and_tells_the_recall():
    recalls, _ = finding(lambda effort: 0.5)
    assert calibrate(recalls, 0.9, least=10, most=4000) == (4000, pytest.approx(0.5))


def test_everything_found_meets_every_target():
    recalls, _ = finding(lambda effort: 1.0)
    assert calibrate(recalls, 1.0, least=10, most=4000) == (10, 1.0)


def test_what_a_sample_meets_by_chance_is_not_enough():
    def wavering(effort):
        """Meet the target on the mean, and no better: every tenth query finds nothing."""
        shares = np.ones(len(SAMPLE.rows))
        if effort < 100:
            shares[: len(shares) // 10] = 0
        return shares

    effort, _ = calibrate(wavering, 0.9, least=10, most=4000)
    assert effort >= 100


def test_rows_of_the_sample_are_no_answers():
    def search(queries):
        return np.argsort(-queries @ VECTORS.T, axis=1)[:, : 10 + SAMPLE.spared]

    assert SAMPLE.recalls(search, 10).mean() == 1.0


def test_rows_beyond_those_looked_at_do_not_count():
    assert SAMPLE.recalls(nearest, 7).mean() == pytest.approx(0.7)


def test_of_too_few_rows_there_is_no_sample():
    assert len(Sample(VECTORS[:200]).rows) == 0
