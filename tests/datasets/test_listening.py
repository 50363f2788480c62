import bz2
import gzip
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from soundalike.datasets import repeats, tables
from soundalike.datasets.listening import Log
from soundalike.datasets.repeats import RepeatCounter
from soundalike.errors import BadRecord, BadRequest

NOW_S = 1_600_000_000.0
ROWS = [
    ("007", "Ab12", "2019-01-20 00:00:00"),
    ("7", "aB12", "2019-01-20 00:00:01"),
    ("007", "aB12", "2018-03-01 23:59:59"),
]
TIMES_MS = [1547942400000, 1547942401000, 1519948799000]


def text(rows=ROWS, header=("user_id", "track_id", "timestamp"), divider="\t"):
    lines = [divider.join(row) for row in ([header] if header else []) + list(rows)]
    return "\n".join(lines).encode() + b"\n"


def told(path, **options):
    """All rows of a log as (user, item, milliseconds, plays), and the log."""
    log = Log(path, **{"now_s": NOW_S} | options)
    rows = [
        (log.users[user], log.items[item], int(time), int(count))
        for piece in log.plays()
        for user, item, time, count in zip(
            piece.users, piece.items, piece.times, piece.counts, strict=True
        )
    ]
    return rows, log


EXPECTED = [(user, item, ms, 1) for (user, item, _), ms in zip(ROWS, TIMES_MS, strict=True)]


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("a.tsv", text()),
        ("a.csv", text(divider=",")),
        ("a.csv", text(header=None, divider=",")),
        ("a.csv", b"\xef\xbb\xbf" + text(header=("ts", "User", "item"), divider=",", rows=[
            (time, user, item) for user, item, time in ROWS])),
        ("a.tsv", text().replace(b"\n", b"\r\n")),
        ("a.tsv.gz", gzip.compress(text())),
        ("a.tsv.bz2", bz2.compress(text())),
        ("a.tsv.bz2", bz2.compress(text()[:50]) + bz2.compress(text()[50:])),
        ("a.tsv", text(header=("trackid", "userid", "session", "time"), rows=[
            (item, user, "5", time) for user, item, time in ROWS])),
    ],
)  # fmt: skip
def test_every_layout_gives_the_same_plays(tmp_path, name, octets):
    path = tmp_path / name
    path.write_bytes(octets)
    rows, log = told(path)
    assert rows == EXPECTED
    assert (log.report.rows, log.report.used, log.report.bad) == (3, 3, 0)


@pytest.mark.parametrize("kind", ["text", "timestamp", "seconds", "milliseconds", "coded"])
def test_parquet_gives_them_too(tmp_path, kind):
    times = {
        "text": pa.array([row[2] for row in ROWS]),
        "timestamp": pa.array(TIMES_MS, pa.timestamp("ms", "UTC")).cast(pa.timestamp("ns", "UTC")),
        "seconds": pa.array([ms // 1000 for ms in TIMES_MS]),
        "milliseconds": pa.array(TIMES_MS, pa.float64()),
        "coded": pa.array(TIMES_MS, pa.timestamp("ms")),
    }[kind]
    users = pa.array([row[0] for row in ROWS])
    table = pa.table({
        "user": users.dictionary_encode() if kind == "coded" else users,
        "track_id": [row[1] for row in ROWS],
        "ts": times,
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "a.parquet")
    assert told(tmp_path / "a.parquet")[0] == EXPECTED


def test_whole_numbers_are_ids_and_numbers_with_fractions_are_none(tmp_path):
    path = tmp_path / "a.parquet"
    columns = {"user": [1, 10], "item": ["x", "y"], "time": TIMES_MS[:2]}
    parquet.write_table(pa.table(columns), path)
    assert [row[0] for row in told(path)[0]] == ["1", "10"]
    parquet.write_table(pa.table(columns | {"user": [1.0, None]}), path)
    with pytest.raises(BadRequest, match="double"):
        told(path)


def test_nulls_in_parquet_are_counted(tmp_path):
    path = tmp_path / "a.parquet"
    columns = {
        "user": ["u", None, "u", "u"],
        "item": ["i", "i", None, "i"],
        "time": pa.array([*TIMES_MS, None], pa.timestamp("ms")),
    }
    parquet.write_table(pa.table(columns), path)
    rows, log = told(path, bad_share=1.0)
    assert rows == [("u", "i", TIMES_MS[0], 1)]
    assert (log.report.no_user, log.report.no_item, log.report.bad_time) == (1, 1, 1)


def test_times_are_read_however_they_are_written(tmp_path):
    times = [
        "2019-01-20", "2019-01-20T00:00:00Z", "2019-01-20 02:00:00+02:00", "1547942400",
        "1547942400000", "1547942400.0", "2019-01-20 00:00:00.000999",
    ]  # fmt: skip
    path = tmp_path / "a.tsv"
    path.write_bytes(text([("u", "i", time) for time in times]))
    assert {row[2] for row in told(path)[0]} == {TIMES_MS[0], TIMES_MS[0] + 1}
    assert sum(row[2] == TIMES_MS[0] for row in told(path)[0]) == 6


HOSTILE = [
    ("u", "i", "2019-01-20 00:00:00"),
    ("u", "i", "2019-01-20 00:00:00"),
    ("", "i", "2019-01-20 00:00:00"),
    ("u", "  ", "2019-01-20 00:00:00"),
    ("u", "i", ""),
    ("u", "i", "null"),
    ("u", "i", "2019-13-45"),
    ("u", "i", "12"),
    ("u", "i", "2099-01-01 00:00:00"),
    ("u", "i"),
    ("u", "i", "2019-01-20 00:00:00", "more"),
    ("u", '"i', "2019-01-20 00:00:01"),
]


def test_hostile_rows_are_counted(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(text(HOSTILE) + b"\xff\xfe\ti\t2019-01-20\n")
    rows, log = told(path, bad_share=1.0)
    assert [row[:2] for row in rows] == [("u", "i"), ("u", "i"), ("u", '"i')]
    assert log.report.as_dict() == {
        "rows": 13, "used": 3, "malformed": 2, "no_user": 2, "no_item": 1, "bad_time": 4,
        "bad_count": 0, "future": 1, "repeated": 1,
    }  # fmt: skip


def test_more_than_one_in_a_hundred_is_refused_unless_allowed(tmp_path):
    path = tmp_path / "a.tsv"
    for bad, good in ((1, 98), (1, 99)):
        path.write_bytes(text([("u", "i", "?")] * bad + [("u", "i", "2019-01-20")] * good))
        if good == 99:
            assert len(told(path)[0]) == 99
            continue
        with pytest.raises(BadRecord, match=r"1 of 99 rows.*bad_time 1") as caught:
            told(path)
        assert caught.value.facts["bad_time"] == 1
        assert len(told(path, bad_share=0.02)[0]) == 98


def test_rows_may_stand_for_several_plays(tmp_path):
    path = tmp_path / "a.tsv"
    rows = [("u", "i", "2019-01-20", count) for count in ("3", "1", "0", "-2", "x")]
    path.write_bytes(text(rows, ("user", "item", "time", "count")))
    found, log = told(path, bad_share=1.0)
    assert [row[3] for row in found] == [3, 1]
    assert log.report.bad_count == 3


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (text(header=("who", "what", "when")), "'who', 'what', 'when'"),
        (text(header=("user_id", "track_id", "count")), "'count'"),
        (b"", "empty"),
        (b"u\ti\tnever\n", "'never'"),
        (gzip.compress(text())[:-20], "cannot be read|needs columns"),
    ],
)
def test_what_is_no_log_is_refused_with_what_was_found(tmp_path, octets, says):
    path = tmp_path / "a.tsv"
    path.write_bytes(octets)
    with pytest.raises(BadRequest, match=says):
        told(path)


def test_broken_files_and_missing_ones_are_refused(tmp_path):
    with pytest.raises(BadRequest, match="cannot be read"):
        told(tmp_path / "none.tsv")
    rows = [(str(n), str(n * 7919 % 1000), "2019-01-20") for n in range(5000)]
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(text(rows))[:-500])
    with pytest.raises(BadRequest, match="cannot be read"):
        told(tmp_path / "cut.tsv.gz")
    whole = gzip.compress(text(rows))
    for begin in range(100, 2000, 100):
        damaged = whole[:begin] + b"\xff" * 50 + whole[begin + 50 :]
        (tmp_path / "damaged.tsv.gz").write_bytes(damaged)
        with pytest.raises(BadRequest, match=r"cannot be read|needs columns"):
            told(tmp_path / "damaged.tsv.gz")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadRequest, match="cannot be read"):
        told(tmp_path / "a.parquet")


def test_reading_again_gives_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", 300)
    path = tmp_path / "a.tsv"
    path.write_bytes(text([(f"u{n % 7}", f"i{n % 5}", "2019-01-20") for n in range(200)]))
    log = Log(path, now_s=NOW_S)
    first, second = ([piece.users.tolist() for piece in log.plays()] for _ in range(2))
    assert first == second
    assert len(first) > 3
    assert log.report.rows == 200
    assert log.report.repeated == 165


def test_repeats_are_counted_exactly_and_then_estimated(monkeypatch):
    random_ = np.random.default_rng(3)
    columns = random_.integers(0, 200, (3, 100_000))
    distinct = len(np.unique(columns, axis=1).T)
    exact, estimate = RepeatCounter(), RepeatCounter()
    for piece in np.array_split(columns, 7, axis=1):
        exact.add(*piece)
    assert exact.repeated == 100_000 - distinct
    monkeypatch.setattr(repeats, "MOST_KEPT", 4000)
    again = np.concatenate([columns, columns], axis=1)
    for piece in np.array_split(again, 20, axis=1):
        estimate.add(*piece)
    assert estimate.repeated == pytest.approx(200_000 - distinct, rel=0.1)
    assert len(estimate._kept) <= 4000


MEASURE = """
import resource, sys
from pathlib import Path
from soundalike.datasets.listening import Log
from soundalike.evaluation.heard import Dates, gather
found = gather(Log(Path(sys.argv[1])), Dates.parse())
print(found.plays, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Sixteen million plays take as much as eight million of the same users and items."""
    random_ = random.Random(0)
    piece = text(
        [
            (f"{random_.randrange(500)}", f"track{random_.randrange(800):011}", f"2018-{m:02}-15")
            for m in range(3, 13)
            for _ in range(40_000)
        ],
        header=None,
    )
    peaks = []
    for times in (20, 40):
        path = tmp_path / "log.tsv"
        with path.open("wb") as file:
            file.write(text([]))
            for _ in range(times):
                file.write(piece)
        told_ = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)], capture_output=True, check=True, text=True
        )
        plays, megabytes = map(int, told_.stdout.split())
        assert plays == 400_000 * times
        peaks.append(megabytes)
    assert peaks[1] < 1.1 * peaks[0], peaks
