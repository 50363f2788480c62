import os
from itertools import count

import numpy as np
import pytest

from soundalike.extract.found import Found, spread, survey
from soundalike.extract.pace import Pace
from tests.sounds import encoded, tone

HANDS = 2
LOADING_S = 30.0
SHARES = (0.1, 0.25, 0.5, 0.75)


def worked_off(lengths_s, cost_s, *, bytes_a_second=lambda n: 32_000, foretold=lambda n, s: s):
    """Work off files on two hands, with one more at hand than there are; told over true."""
    sounds = [Found(str(n), None, "", int(s * bytes_a_second(n))) for n, s in enumerate(lengths_s)]
    order = [(one.file, float(lengths_s[int(one.file)])) for one in spread(sounds)]
    pace = Pace(file for file, _ in order)
    for file, seconds in order:
        pace.expect(file, foretold(int(file), seconds))
    free, ends = [LOADING_S, LOADING_S + 0.3], []
    for file, seconds in order:
        hand = int(np.argmin(free))
        free[hand] += cost_s(seconds)
        ends.append((free[hand], file, seconds))
    for file, _ in order[: HANDS + 1]:
        pace.begin(file, 0.0)
    told = {}
    for done, (now, file, seconds) in enumerate(sorted(ends), 1):
        pace.add(file, seconds, cost_s(seconds), now)
        told[done] = pace.left_s(now) / (max(free) - now) if now < max(free) else 1.0
        if done + HANDS < len(order):
            pace.begin(order[done + HANDS][0], now)
    return [told[int(share * len(order))] for share in SHARES]


def songs(seed, many=300):
    """Clips of half a second beside songs of minutes and a few of an hour."""
    rng = np.random.default_rng(seed)
    half = many // 2
    return np.concatenate(
        [np.full(half, 0.5), rng.uniform(60, 400, half - 3), rng.uniform(3000, 4000, 3)]
    )


COSTS = {
    "each": lambda seconds: 0.3,
    "a second": lambda seconds: seconds / 30,
    "both": lambda seconds: 0.4 + seconds / 90,
    "windows": lambda seconds: 0.5 * -(-seconds // 10),  # the last one filled up
}


@pytest.mark.parametrize("cost_s", COSTS.values(), ids=COSTS)
def test_the_time_left_is_right_within_a_tenth_from_the_first_tenth_on(cost_s):
    for seed in range(3):
        assert worked_off(songs(seed), cost_s) == pytest.approx([1.0] * len(SHARES), rel=0.1)


@pytest.mark.parametrize("cost_s", COSTS.values(), ids=COSTS)
def test_it_is_so_whatever_the_files_are_encoded_with(cost_s):
    rng = np.random.default_rng(0)
    lengths = rng.choice([0.4, 5.0, 5.0, 12.0], 300)
    lengths[7] = 130.0
    rates = rng.choice([12_000, 16_000, 24_000, 176_400], 300)
    told = worked_off(lengths, cost_s, bytes_a_second=lambda n: rates[n])
    assert told == pytest.approx([1.0] * len(SHARES), rel=0.1)


def test_headers_that_say_too_much_are_seen_through():
    lengths = np.random.default_rng(1).uniform(5, 60, 300)
    told = worked_off(lengths, COSTS["both"], foretold=lambda n, seconds: 2.5 * seconds)
    assert told == pytest.approx([1.0] * len(SHARES), rel=0.1)


def test_without_headers_the_rest_is_taken_for_like_what_is_done():
    pace = Pace("abcd")
    pace.add("a", 10.0, spent_s=2.0, now_s=2.0)
    pace.add("b", 30.0, spent_s=4.0, now_s=6.0)
    assert pace.left_s(6.0) == pytest.approx(6.0)
    pace.expect("c", 40.0)
    pace.expect("d", 60.0)
    assert pace.left_s(6.0) == pytest.approx(5.0 + 7.0)


def test_headers_are_read_of_what_is_not_done_and_of_files_alone(tmp_path):
    for name, seconds in zip("abc", (0.5, 1.0, 4.0), strict=True):
        (tmp_path / f"{name}.wav").write_bytes(encoded(tone(seconds)))
    os.mkfifo(tmp_path / "d.wav")
    (tmp_path / "e.wav").write_bytes(b"broken")
    (tmp_path / "f.wav").symlink_to("nowhere")
    found = survey(tmp_path).sounds
    pace = Pace(one.file for one in found)
    pace.leave_out("a.wav")
    pace.read_headers(found)
    assert pace._left == {
        "b.wav": 1.0, "c.wav": 4.0, "d.wav": 0.0, "e.wav": 0.0, "f.wav": 0.0,
    }  # fmt: skip


def test_loading_does_not_count():
    pace = Pace("abc")
    pace.begin("a", 0.0)
    pace.begin("b", 0.0)
    pace.add("a", 1.0, spent_s=2.0, now_s=1000.0)
    pace.begin("c", 1000.0)
    # b has been heard as long as a was, and c is heard from now on
    assert pace.left_s(1000.0) == pytest.approx(2.0)


def test_the_longest_of_what_is_at_hand_is_waited_for():
    pace, clock = Pace(map(str, range(21))), count(1)
    pace.begin("20", 0.0)
    for number, now in zip(range(20), clock, strict=False):
        pace.add(str(number), 1.0 + number % 2, spent_s=1.0 + number % 2, now_s=float(now))
    pace.expect("20", 100.0)
    assert pace.left_s(20.0) == pytest.approx(80.0, rel=0.01)


def test_what_needs_no_work_does_not_count():
    pace = Pace("abcd")
    pace.add("a", 10.0, spent_s=1.0, now_s=1.0)
    pace.leave_out("b")
    pace.leave_out("c")
    assert pace.left_s(1.0) == pytest.approx(1.0)


def test_before_anything_is_done_nothing_is_told():
    assert Pace("ab").left_s(5.0) is None
