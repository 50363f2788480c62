"""The file keeps what was acknowledged."""

import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from soundalike.catalogue import statements
from soundalike.catalogue.reader import from_bytes, to_bytes
from soundalike.catalogue.statements import Learned, Published, Record, Row
from soundalike.catalogue.store import Store
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
OPENS = "import pathlib, sys; from soundalike.catalogue.store import Store; "
OPENS += "store = Store(pathlib.Path(sys.argv[1])); "
DELETES = OPENS + "store.delete(int(sys.argv[2]), ['a'])"


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
    return store.create(record()).id


@pytest.fixture
def reader(store):
    with store.reading() as reader:
        yield reader


def keys(reader, collection):
    return [item.id for item in reader.page(collection, "", 1000)]


def written(reader, collection, since):
    return [key for items in reader.written(collection, 3, since) for key in items.keys]


def test_keeps_a_collection_and_its_items_over_a_restart(tmp_path):
    store = Store(tmp_path)
    made = store.create(record())
    store.upsert(made.id, [row("a", 1, 2, 3, metadata='{"label": "rain"}')])
    store.close()
    again = Store(tmp_path)
    with again.reading() as reader:
        (found,) = reader.collections()
        item = reader.get(made.id, "a")
        assert (found.record, reader.progress(made.id)) == (made, (1, 0))
    assert item.vector.tolist() == [1, 2, 3]
    assert item.metadata == {"label": "rain"}
    again.close()


def test_commits_survive_a_power_cut_by_its_settings(store, tmp_path):
    def settings(connection):
        names = ("journal_mode", "synchronous", "page_size", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert store._writer.write(settings) == ["wal", 2, 16384, 1]


def test_vectors_are_stored_as_float32_in_little_endian(store, collection):
    assert to_bytes(np.array([1.0], dtype=np.float32)) == b"\x00\x00\x80\x3f"
    numbers = np.array([np.pi, -0.0, 1e-45], dtype=np.float32)
    np.testing.assert_array_equal(from_bytes(to_bytes(numbers)), numbers)


def test_a_second_collection_of_a_name_is_refused(store, collection):
    with pytest.raises(CollectionExists):
        store.create(record())


def test_the_sequence_rises_with_every_write_and_over_a_restart(store, collection, tmp_path):
    store.upsert(collection, [row("a", 1, 2, 3)])
    assert store.delete(collection, ["a", "never"]) == 1
    store.close()
    reopened = Store(tmp_path)
    with reopened.reading() as reader:
        assert reader.progress(collection) == (2, 0)
        reopened.upsert(collection, [row("b", 1, 2, 3)])
        assert reader.progress(collection) == (3, 0)
    reopened.close()


def test_what_was_written_and_deleted_since_a_write_can_be_read(store, collection, reader):
    store.upsert(collection, [row("a", 1, 2, 3), row("b", 1, 1, 1), row("c", 1, 1, 1)])
    store.upsert(collection, [row("b", 1, 1, 2)])
    store.delete(collection, ["a", "c", "never"])
    store.upsert(collection, [row("c", 3, 3, 3)])
    assert written(reader, collection, 0) == ["b", "c"]
    assert (written(reader, collection, 1), sorted(reader.deleted(collection, 1))) == (
        ["b", "c"],
        ["a", "c"],
    )
    assert (written(reader, collection, 3), reader.deleted(collection, 3)) == (["c"], [])


def test_an_upsert_that_says_nothing_new_is_not_written_again(store, collection, reader):
    rows = [row("a", 1, 2, 3), row("b", 1, 1, 1), row("c", 1, 1, 1)]
    store.upsert(collection, rows)
    rows[0], rows[1] = row("a", 1, 2, 4), row("b", 1, 1, 1, metadata='{"x": 1}')
    store.upsert(collection, rows)
    assert sorted(written(reader, collection, 1)) == ["a", "b"]
    assert reader.get(collection, "b").metadata == {"x": 1}


def test_a_commit_of_anybody_is_told_by_the_version(store, collection, reader, tmp_path):
    before = reader.version()
    assert reader.version() == before
    store.upsert(collection, [row("a", 1, 2, 3)])
    own = reader.version()
    assert own != before
    other = subprocess.run([sys.executable, "-c", DELETES, str(tmp_path), str(collection)])
    assert other.returncode == 0
    assert reader.version() != own
    assert reader.deleted(collection, 1) == ["a"]


def test_names_transforms_and_indexes_are_told_by_the_layout(store, collection, reader):
    seen = [reader.layout()]
    changes = [
        lambda: store.create(record("other")),
        lambda: store.point("alias", collection, None),
        lambda: store.unpoint("alias"),
        lambda: store.publish(collection, "centre", Learned(b"x", 1), Published("folder", 1)),
        lambda: store.drop(collection),
    ]
    for change in changes:
        change()
        seen.append(reader.layout())
    store.upsert(2, [row("a", 1, 2, 3)])
    assert reader.layout() == seen[-1]
    assert seen == sorted(set(seen))


def test_an_index_and_its_transform_are_published_together(store, collection, reader):
    assert store.publish(collection, "centre", Learned(b"means", 7), Published("folder", 8))
    (found,) = reader.collections()
    assert (found.record.transform, found.fitted_at) == ("centre", 7)
    assert (found.index, reader.learned(collection)) == (
        Published("folder", 8),
        Learned(b"means", 7),
    )
    assert store.publish(collection, None, None, None)
    (found,) = reader.collections()
    assert (found.index, found.record.transform, reader.learned(collection)) == (None, None, None)
    store.drop(collection)
    assert not store.publish(collection, "centre", None, Published("folder", 9))


def test_deletions_are_forgotten_once_an_index_is_newer(store, collection, reader):
    store.upsert(collection, [row(key, 1, 2, 3) for key in "abc"])
    store.delete(collection, ["a"])
    store.delete(collection, ["b"])
    store.publish(collection, None, None, Published("folder", 2))
    assert reader.progress(collection) == (3, 2)
    assert reader.deleted(collection, 0) == ["b"]


@pytest.mark.parametrize(("index", "pruned", "left"), [(None, 9, 3), (4, 4, 8)])
def test_old_deletions_are_forgotten_but_for_those_after_the_index(
    store, collection, reader, monkeypatch, index, pruned, left
):
    monkeypatch.setattr(statements, "DELETIONS_KEPT", 3)
    monkeypatch.setattr(statements, "PRUNED_EVERY", 12)
    store.upsert(collection, [row(f"{n:02}", 1, 2, n) for n in range(20)])
    for n in range(11):
        if n == index:
            store.publish(collection, None, None, Published("folder", index))
        store.delete(collection, [f"{n:02}"])
    assert reader.progress(collection) == (12, pruned)
    assert len(reader.deleted(collection, 0)) == left


def test_pages_follow_each_other_by_rising_key(store, collection, reader):
    store.upsert(collection, [row(key, 1, 2, 3) for key in ["b", "é", "a", "Z", "日本"]])
    first = keys(reader, collection)[:3]
    rest = [item.id for item in reader.page(collection, first[-1], 3)]
    assert first + rest == sorted(["b", "é", "a", "Z", "日本"])


def test_items_come_in_blocks(store, collection, reader, monkeypatch):
    monkeypatch.setattr("soundalike.catalogue.reader.ROWS_AT_ONCE", 2)
    store.upsert(collection, [row(key, ord(key), 0, 0, metadata=f'"{key}"') for key in "edcba"])
    blocks = list(reader.written(collection, 3, 0))
    assert [len(items.keys) for items in blocks] == [2, 2, 1]
    for items in blocks:
        assert items.metadata == [f'"{key}"' for key in items.keys]
        assert items.vectors[:, 0].tolist() == [*map(ord, items.keys)]


def test_dropping_a_collection_takes_its_items_along(store, collection):
    other = store.create(record("other")).id
    for one in (collection, other):
        store.upsert(one, [row("a", 1, 2, 3)])
    store.drop(collection)
    count = "SELECT collection FROM items"
    left = store._writer.write(lambda connection: connection.execute(count).fetchall())
    assert left == [(other,)]


def test_writing_to_a_dropped_collection_is_refused(store, collection):
    store.drop(collection)
    with pytest.raises(UnknownCollection):
        store.upsert(collection, [row("a", 1, 2, 3)])


def test_a_full_disk_is_told_and_loses_nothing(store, collection, reader):
    def limit(pages):
        store._writer.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}"))

    store.upsert(collection, [row("kept", 1, 2, 3)])
    limit(1)  # SQLite takes the pages there are as the least
    large = [row(f"{n}", 1, 2, n, metadata=f'"{"x" * 1000}"') for n in range(200)]
    with pytest.raises(StorageFull):
        store.upsert(collection, large)
    assert keys(reader, collection) == ["kept"]
    limit(1_000_000)
    store.upsert(collection, large)
    assert len(keys(reader, collection)) == 201


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


def test_many_processes_may_make_the_tables_at_once(tmp_path):
    processes = [subprocess.Popen([sys.executable, "-c", OPENS, str(tmp_path)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4


def test_reading_after_closing_is_refused(store, collection):
    store.close()
    store.close()
    with pytest.raises(CatalogueError, match="closed"), store.reading():
        pass


def test_every_acknowledged_write_outlives_a_kill(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITES_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE
    )
    acknowledged = [child.stdout.readline() for _ in range(500)]
    child.send_signal(signal.SIGKILL)
    acknowledged += child.stdout.read().splitlines(keepends=True)
    child.wait()
    store = Store(tmp_path)
    with store.reading() as reader:
        (found,) = reader.collections()
        there = {
            key: vector
            for items in reader.written(found.record.id, 4, 0)
            for key, vector in zip(items.keys, items.vectors.tolist(), strict=True)
        }
    for line in acknowledged:
        if line.endswith(b"\n"):
            thread, number = map(int, line.split())
            assert there[f"{thread}-{number}"] == [thread, number, 1, 0]
    store.close()
