"""The least effort that finds enough is found."""

import numpy as np
import pytest

from soundalike.engines.base import NO_ROW
from soundalike.engines.calibration import STEP, Sample, calibrate
from tests.engines.vectors import clustered

VECTORS = clustered(2000, 16, seed=1)
SAMPLE = Sample(VECTORS, spare=0)
OTHERS = np.setdiff1d(np.arange(len(VECTORS)), SAMPLE.rows)
NEAREST = {
    vector.tobytes(): OTHERS[np.argsort(-VECTORS[OTHERS] @ vector)[:10]]
    for vector in VECTORS[SAMPLE.rows]
}


def nearest(queries):
    """The ten nearest rows that are not of the sample."""
    return np.array([NEAREST[query.tobytes()] for query in queries])


def finding(share):
    """A search that finds `share(effort)` of the ten nearest, and notes which efforts it saw."""
    seen = []

    def search(queries, effort):
        seen.append(effort)
        rows = nearest(queries)
        rows[:, round(share(effort) * 10) :] = NO_ROW
        return rows

    return search, seen


@pytest.mark.parametrize("needed", [10, 11, 57, 640, 3999, 4000])
def test_it_is_the_least_that_meets_the_target(needed):
    search, seen = finding(lambda effort: 1.0 if effort >= needed else 0.5)
    effort, recall = calibrate(search, SAMPLE, 0.9, least=10, most=4000)
    assert needed <= effort <= needed * STEP + 1
    assert recall == 1.0
    assert len(seen) < 25


def test_a_target_out_of_reach_takes_all_the_effort_there_is_and_tells_the_recall():
    search, _ = finding(lambda effort: 0.5)
    assert calibrate(search, SAMPLE, 0.9, least=10, most=4000) == (4000, pytest.approx(0.5))


def test_everything_found_meets_every_target():
    search, _ = finding(lambda effort: 1.0)
    assert calibrate(search, SAMPLE, 1.0, least=10, most=4000) == (10, 1.0)


def test_what_a_sample_meets_by_chance_is_not_enough():
    def wavering(queries, effort):
        """Meets the target on the mean, and no better: every tenth query finds nothing."""
        rows = nearest(queries)
        if effort < 100:
            rows[: len(rows) // 10] = NO_ROW
        return rows

    effort, _ = calibrate(wavering, SAMPLE, 0.9, least=10, most=4000)
    assert effort >= 100


def test_rows_of_the_sample_are_no_answers():
    def search(queries, effort):
        return np.argsort(-queries @ VECTORS.T, axis=1)[:, :30]

    assert SAMPLE.recalls(search, 1).mean() == 1.0


def test_too_few_rows_are_not_asked_and_all_of_them_looked_at():
    few = Sample(VECTORS[:200], spare=0)
    assert len(few.rows) == 0
    assert calibrate(lambda *_: pytest.fail("asked"), few, 0.9, least=10, most=70) == (70, 1.0)
