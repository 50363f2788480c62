"""The file keeps what was acknowledged."""

import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from soundalike.catalogue.store import Record, Row, Store, from_bytes, to_bytes
from soundalike.errors import CatalogueError, CollectionExists, StorageFull, UnknownCollection

WRITES_UNTIL_KILLED = """
import pathlib, sys, threading
import numpy as np
from soundalike.catalogue import LocalCatalogue
from soundalike.types import Item

catalogue = LocalCatalogue(pathlib.Path(sys.argv[1]))
catalogue.create("c", space="fake/000000000000", dim=4, engine="exact")

def write(thread):
    number = 0
    while True:
        number += 1
        vector = np.array([thread, number, 1, 0], dtype=np.float32)
        catalogue.upsert("c", [Item(f"{thread}-{number}", vector)])
        sys.stdout.write(f"{thread} {number}\\n")
        sys.stdout.flush()

for thread in range(4):
    threading.Thread(target=write, args=(thread,)).start()
"""


def nothing(_):
    pass


def record(name="c", dim=3):
    return Record(0, name, "fake/000000000000", dim, "exact", None, "mean", 1.5)


def row(key, *numbers, metadata="{}"):
    return Row(key, to_bytes(np.array(numbers, dtype=np.float32)), metadata)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def collection(store):
    return store.create(record(), nothing).id


def keys(store, collection):
    return [item.id for item in store.page(collection, "", 1000)]


def test_keeps_a_collection_and_its_items_over_a_restart(tmp_path):
    store = Store(tmp_path)
    made = store.create(record(), nothing)
    store.upsert(made.id, [row("a", 1, 2, 3, metadata='{"label": "rain"}')], nothing)
    store.close()
    again = Store(tmp_path)
    assert again.records() == [(made, 1)]
    item = again.get(made.id, "a")
    assert item.vector.tolist() == [1, 2, 3]
    assert item.metadata == {"label": "rain"}
    again.close()


def test_commits_survive_a_power_cut_by_its_settings(store, tmp_path):
    def settings(connection):
        names = ("journal_mode", "synchronous", "page_size", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert store._writer.write(settings, nothing) == ["wal", 2, 16384, 1]


def test_vectors_are_stored_as_float32_in_little_endian(store, collection):
    assert to_bytes(np.array([1.0], dtype=np.float32)) == b"\x00\x00\x80\x3f"
    numbers = np.array([np.pi, -0.0, 1e-45], dtype=np.float32)
    np.testing.assert_array_equal(from_bytes(to_bytes(numbers)), numbers)


def test_a_second_collection_of_a_name_is_refused(store, collection):
    with pytest.raises(CollectionExists):
        store.create(record(), nothing)


def test_upsert_tells_which_vectors_are_new(store, collection):
    first = store.upsert(collection, [row("a", 1, 2, 3), row("b", 1, 1, 1)], nothing)
    again = store.upsert(
        collection, [row("a", 1, 2, 3, metadata='{"x": 1}'), row("b", 0, 1, 1)], nothing
    )
    assert (first.changed, again.changed) == ([0, 1], [1])
    assert store.get(collection, "a").metadata == {"x": 1}


def test_the_sequence_rises_with_every_write_and_over_a_restart(store, collection, tmp_path):
    written = [
        store.upsert(collection, [row("a", 1, 2, 3)], nothing),
        store.delete(collection, ["a", "never"], nothing),
    ]
    assert [one.sequence for one in written] == [1, 2]
    assert written[1].changed == [0]
    store.close()
    reopened = Store(tmp_path)
    assert reopened.upsert(collection, [row("b", 1, 2, 3)], nothing).sequence == 3
    reopened.close()


def test_pages_follow_each_other_by_rising_key(store, collection):
    store.upsert(collection, [row(key, 1, 2, 3) for key in ["b", "é", "a", "Z", "日本"]], nothing)
    first = [item.id for item in store.page(collection, "", 3)]
    rest = [item.id for item in store.page(collection, first[-1], 3)]
    assert first + rest == sorted(["b", "é", "a", "Z", "日本"])


def test_all_items_come_by_key_in_blocks(store, collection, monkeypatch):
    monkeypatch.setattr("soundalike.catalogue.store.ROWS_AT_ONCE", 2)
    rows = [row(key, ord(key), 0, 0, metadata=f'"{key}"') for key in "edcba"]
    store.upsert(collection, rows, nothing)
    blocks = list(store.items(collection, 3))
    assert [keys for keys, _, _ in blocks] == [["a", "b"], ["c", "d"], ["e"]]
    assert [text for _, texts, _ in blocks for text in texts] == [f'"{key}"' for key in "abcde"]
    vectors = np.concatenate([vectors for _, _, vectors in blocks])
    assert vectors[:, 0].tolist() == [*map(ord, "abcde")]


def test_dropping_a_collection_takes_its_items_along(store, collection):
    other = store.create(record("other"), nothing).id
    for one in (collection, other):
        store.upsert(one, [row("a", 1, 2, 3)], nothing)
    store.drop(collection, nothing)
    count = "SELECT collection FROM items"
    left = store._writer.write(lambda connection: connection.execute(count).fetchall(), nothing)
    assert left == [(other,)]


def test_writing_to_a_dropped_collection_is_refused(store, collection):
    store.drop(collection, nothing)
    with pytest.raises(UnknownCollection):
        store.upsert(collection, [row("a", 1, 2, 3)], nothing)


def test_a_full_disk_is_told_and_loses_nothing(store, collection):
    def limit(pages):
        store._writer.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}"), nothing)

    store.upsert(collection, [row("kept", 1, 2, 3)], nothing)
    limit(1)  # SQLite takes the pages there are as the least
    large = [row(f"{n}", 1, 2, n, metadata=f'"{"x" * 1000}"') for n in range(200)]
    with pytest.raises(StorageFull):
        store.upsert(collection, large, nothing)
    assert keys(store, collection) == ["kept"]
    limit(1_000_000)
    store.upsert(collection, large, nothing)
    assert len(keys(store, collection)) == 201


def test_a_newer_schema_is_refused(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "catalogue.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(CatalogueError, match=r"newer soundalike \(schema 99"):
        Store(tmp_path)


def test_a_file_that_is_no_catalogue_is_refused(tmp_path):
    (tmp_path / "catalogue.sqlite3").write_bytes(b"not a database, " * 100)
    with pytest.raises(CatalogueError, match="not a database"):
        Store(tmp_path)


def test_a_second_process_is_refused_until_the_first_is_done(tmp_path):
    code = "import pathlib, sys; from soundalike.catalogue.store import Store; "
    code += "Store(pathlib.Path(sys.argv[1]))"

    def second():
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True
        )

    store = Store(tmp_path)
    assert "Another process is using the catalogue" in second().stderr
    store.close()
    assert second().returncode == 0


def test_reading_after_closing_is_refused(store, collection):
    store.close()
    store.close()
    with pytest.raises(CatalogueError, match="closed"):
        store.get(collection, "a")


def test_every_acknowledged_write_outlives_a_kill(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITES_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE
    )
    acknowledged = [child.stdout.readline() for _ in range(500)]
    child.send_signal(signal.SIGKILL)
    acknowledged += child.stdout.read().splitlines(keepends=True)
    child.wait()
    store = Store(tmp_path)
    ((found, _),) = store.records()
    for line in acknowledged:
        if line.endswith(b"\n"):
            thread, number = map(int, line.split())
            item = store.get(found.id, f"{thread}-{number}")
            assert item.vector.tolist() == [thread, number, 1, 0]
    store.close()
