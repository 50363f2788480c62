"""Listening logs for tests."""

import csv

from soundalike.datasets.listening import Log
from soundalike.evaluation.heard import Dates, gather

DATES = Dates.parse()
NOW_S = 1_600_000_000.0


def write(path, rows, header=("user_id", "track_id", "timestamp")):
    """Write rows as the tab-separated text of Music4All-Onion."""
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([header, *rows])
    return path


def heard(path, rows, dates=DATES):
    """Gather the pairs of rows."""
    return gather(Log(write(path, rows), now_s=NOW_S), dates)


def named(split, pairs):
    """Lay pairs out with their ids: (user, item) to (first play, plays)."""
    return {
        (split.user_ids[u], split.item_ids[i]): (int(first), int(plays))
        for u, i, first, plays in zip(
            pairs.users, pairs.items, pairs.first, pairs.plays, strict=True
        )
    }
