import random
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from soundalike.errors import BadRequest
from soundalike.evaluation import heard as gathering
from soundalike.evaluation.heard import Dates
from soundalike.evaluation.splits import split
from tests.evaluation.logs import heard, named

GOLDEN = [
    ("u1", "a", "2018-02-19 23:59:59"),  # before the start
    ("u1", "a", "2018-02-20 00:00:00"),
    ("u1", "a", "2018-12-01 00:00:00"),
    ("u1", "a", "2019-01-25 00:00:00"),  # a replay, nothing to be foretold
    ("u1", "b", "2019-01-20 00:00:00"),
    ("u2", "b", "2018-05-01 00:00:00"),
    ("u1", "c", "2019-01-21 00:00:00"),  # nobody played it before
    ("u3", "a", "2019-02-01 00:00:00"),  # a user of the test period alone
    ("u2", "d", "2019-02-20 00:00:00"),  # the end is not in the window
    ("u2", "e", "2018-01-01 00:00:00"),  # known before the window, first played inside it later
    ("u2", "e", "2018-06-01 12:00:00"),
]


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def golden(tmp_path):
    return heard(tmp_path / "log.tsv", GOLDEN)


def test_golden_warm(golden):
    found = split(golden)
    assert named(found, found.train) == {
        ("u1", "a"): (at("2018-02-20"), 2),
        ("u2", "b"): (at("2018-05-01"), 1),
        ("u2", "e"): (at("2018-06-01 12:00"), 1),
    }
    assert named(found, found.held) == {("u1", "b"): (at("2019-01-20"), 1)}
    assert (found.user_ids, found.item_ids, found.warm) == (["u1", "u2"], ["a", "b", "e"], 3)
    assert found.candidates == slice(3)
    assert found.counts["test_pairs_of_unknown_users"] == 1
    assert found.counts["test_pairs_of_other_items"] == 1


def test_golden_cold(golden):
    found = split(golden, "cold")
    assert named(found, found.held) == {("u1", "c"): (at("2019-01-21"), 1)}
    assert found.item_ids[found.candidates] == ["c"]
    assert found.warm == 3


def test_golden_all(golden):
    found = split(golden, "all")
    assert set(named(found, found.held)) == {("u1", "b"), ("u1", "c")}
    assert found.item_ids[found.candidates] == ["a", "b", "e", "c"]


def test_golden_repeat(golden):
    found = split(golden, "repeat")
    assert named(found, found.held) == {
        ("u1", "a"): (at("2019-01-25"), 1),
        ("u1", "b"): (at("2019-01-20"), 1),
    }
    assert not found.bars_seen


def some_rows(seed, users=40, items=30, plays=2000):
    random_ = random.Random(seed)
    begin, end = at("2018-01-20"), at("2019-03-10")
    return [
        (
            f"u{random_.randrange(users)}",
            f"i{int(items * random_.random() ** 2)}",
            random_.randrange(begin, end) // 1000 * 1000,
        )
        for _ in range(plays)
    ]


def by_plain_loops(rows, dates):
    """Train and warm test pairs as the rules say, one rule after the other."""
    window = [row for row in rows if dates.start <= row[2] < dates.end]
    first, before = {}, {}
    for user, item, time in window:
        pair = (user, item)
        first[pair] = min(first.get(pair, time), time)
        if time < dates.test:
            before.setdefault(pair, []).append(time)
    train = {pair: (min(times), len(times)) for pair, times in before.items()}
    users, items = ({pair[n] for pair in train} for n in (0, 1))
    held = {pair for pair, time in first.items() if time >= dates.test}
    return train, {pair for pair in held if pair[0] in users and pair[1] in items}


@pytest.mark.parametrize("seed", range(3))
def test_is_what_plain_loops_find_in_any_order_and_pieces(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(gathering, "LEAST_BUFFER", 100)
    monkeypatch.setattr("soundalike.datasets.tables.BLOCK_BYTES", 2000)
    rows = some_rows(seed)
    dates = Dates.parse()
    found = split(heard(tmp_path / "log.tsv", rows))
    train, held = by_plain_loops(rows, dates)
    assert named(found, found.train) == train
    assert set(named(found, found.held)) == held
    shuffled = random.Random(9).sample(rows, len(rows))
    assert split(heard(tmp_path / "log.tsv", shuffled)).fingerprint() == found.fingerprint()


def test_users_are_halved_with_the_seed(tmp_path):
    log = heard(tmp_path / "log.tsv", some_rows(5))
    found, other = split(log), split(log, seed=1)
    both = np.concatenate([found.validation, found.test])
    assert sorted(both) == np.unique(found.held.users).tolist()
    assert len(found.test) - len(found.validation) in (0, 1)
    assert found.test.tolist() != other.test.tolist()
    assert found.fingerprint() != other.fingerprint()


def test_pairs_lie_by_user_and_first_play(tmp_path):
    train = split(heard(tmp_path / "log.tsv", some_rows(5))).train
    keys = list(zip(train.users, train.first, train.items, strict=True))
    assert keys == sorted(keys)
    starts = train.starts(40)
    assert all((train.users[a:b] == u).all() for u, (a, b) in enumerate(pairwise(starts)))
    assert starts[-1] == len(train.users)


def test_items_that_do_not_count_are_gone_from_train_and_test(golden):
    found = split(golden, items={"a", "b"})
    assert found.item_ids == ["a", "b"]
    assert found.counts["pairs_without_vector"] == 2  # c of u1 and e of u2
    with pytest.raises(BadRequest, match="foretell"):
        split(golden, items={"a", "e"})


def test_nothing_in_the_window_is_told_with_what_there_is(tmp_path):
    log = heard(tmp_path / "log.tsv", GOLDEN, Dates.parse("2001-01-01", "2002-01-01", None))
    with pytest.raises(BadRequest, match="0 are in the training period and 11"):
        split(log)
    late = heard(tmp_path / "log.tsv", GOLDEN, Dates.parse("2019-03-01", "2019-04-01", None))
    with pytest.raises(BadRequest, match="between 2018-01-01 and 2019-02-20"):
        split(late)


def test_dates_out_of_order_and_no_dates_are_refused():
    for dates in (("2019-01-20", "2018-02-20", None), ("today", "2019-01-20", None)):
        with pytest.raises(BadRequest):
            Dates.parse(*dates)
    assert Dates.parse().as_dict() == {
        "start": "2018-02-20",
        "test": "2019-01-20",
        "end": "2019-02-20",
    }


def test_unknown_protocols_are_refused(golden):
    with pytest.raises(BadRequest, match="warm, cold, all, repeat"):
        split(golden, "lukewarm")


def test_a_user_with_a_hundred_thousand_plays_changes_nobody_else(tmp_path):
    rows = some_rows(1)
    alone = split(heard(tmp_path / "log.tsv", rows))
    begin = at("2018-03-01") // 1000
    many = [("glutton", f"i{n % 25}", begin + n * 200) for n in range(100_000)]
    found = split(heard(tmp_path / "log.tsv", random.Random(2).sample(rows + many, 102_000)))
    train = named(found, found.train)
    assert train["glutton", "i3"] == ((begin + 3 * 200) * 1000, 4000)
    others = {pair: value for pair, value in train.items() if pair[0] != "glutton"}
    assert others == named(alone, alone.train)


def test_times_that_are_doubled_count_twice_and_change_no_pair(tmp_path):
    rows = some_rows(2)
    once, twice = (split(heard(tmp_path / "log.tsv", rows * times)) for times in (1, 2))
    for pairs in ("train", "held"):
        first, second = (getattr(one, pairs) for one in (once, twice))
        assert first.first.tolist() == second.first.tolist()
        assert (2 * first.plays).tolist() == second.plays.tolist()
