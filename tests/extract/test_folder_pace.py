import numpy as np
import pytest

from soundalike.extract.found import Found, spread
from soundalike.extract.pace import Pace

HANDS = 2
LOADING_S = 30.0


def worked_off(sizes, cost_s, share):
    """Work off some files on two hands; what is told at a share of them, and how long it was."""
    order = [one.size_bytes for one in spread([Found(str(n), None, "", s) for n, s in sizes])]
    pace = Pace(order)
    free = [LOADING_S] * HANDS
    ends = []
    for size in order:
        hand = int(np.argmin(free))
        free[hand] += cost_s(size)
        ends.append((free[hand], size, cost_s(size)))
    ends.sort()
    at = int(share * len(ends))
    for now, size, spent in ends[:at]:
        pace.add(size, spent, now)
    return pace.left_s(ends[at - 1][0]), ends[-1][0] - ends[at - 1][0]


def lengths(seed, count=300):
    """Clips of half a second beside songs of minutes and a few of an hour."""
    rng = np.random.default_rng(seed)
    seconds = np.concatenate(
        [np.full(count // 2, 0.5), rng.uniform(60, 400, count // 2 - 3), rng.uniform(3000, 4000, 3)]
    )
    return list(enumerate((seconds * 32_000).astype(int)))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize(
    "cost_s",
    [
        lambda size: 0.3,
        lambda size: size / 1e6,
        lambda size: 0.4 + size / 3e6,
        lambda size: 0.5 * -(-size // 320_000),  # of windows, the last one filled up
    ],
    ids=["each", "a byte", "both", "windows"],
)
def test_the_time_left_is_right_within_a_fifth_from_the_first_tenth_on(cost_s, share):
    for seed in range(3):
        told, true = worked_off(lengths(seed), cost_s, share)
        assert told == pytest.approx(true, rel=0.2)


def test_loading_does_not_count():
    pace = Pace([10, 10, 10])
    pace.add(10, spent_s=2.0, now_s=1000.0)
    assert pace.left_s(1000.0) == pytest.approx(4.0)


def test_what_needs_no_work_does_not_count():
    pace = Pace([10, 10, 10, 10])
    pace.add(10, spent_s=1.0, now_s=1.0)
    pace.leave_out(10)
    pace.leave_out(10)
    assert pace.left_s(1.0) == pytest.approx(1.0)


def test_before_anything_is_done_nothing_is_told():
    assert Pace([1, 2]).left_s(5.0) is None
