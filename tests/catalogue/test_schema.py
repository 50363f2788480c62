"""Files of earlier versions are taken over with all they hold."""

import sqlite3

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue, transforms
from soundalike.catalogue.schema import SCHEMA_VERSION
from soundalike.types import Item

DIM, COUNT = 3, 60
VECTORS = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype("<f4") + 2

VERSION_1 = """
CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    space TEXT NOT NULL, dim INTEGER NOT NULL, engine TEXT NOT NULL, model TEXT, pooling TEXT,
    created REAL NOT NULL, sequence INTEGER NOT NULL DEFAULT 0);
CREATE TABLE items (id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE, key TEXT NOT NULL,
    vector BLOB NOT NULL, metadata TEXT NOT NULL, hash BLOB NOT NULL, sequence INTEGER NOT NULL,
    UNIQUE (collection, key));
INSERT INTO collections VALUES (1, 'c', 'fake/0123456789ab', 3, 'annoy', 'mfcc', NULL, 1.5, 60);
PRAGMA user_version = 1;
"""
VERSION_2 = """
ALTER TABLE collections ADD COLUMN transform TEXT;
CREATE TABLE aliases (name TEXT PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE);
CREATE TABLE fitted (
    collection INTEGER PRIMARY KEY REFERENCES collections (id) ON DELETE CASCADE,
    parameters BLOB NOT NULL, sequence INTEGER NOT NULL);
INSERT INTO aliases VALUES ('live', 1);
UPDATE collections SET transform = 'centre';
PRAGMA user_version = 2;
"""


def write(directory, version):
    with sqlite3.connect(directory / "catalogue.sqlite3") as connection:
        connection.executescript(VERSION_1 + (VERSION_2 if version == 2 else ""))
        connection.executemany(
            "INSERT INTO items VALUES (NULL, 1, ?, ?, '{}', x'00', ?)",
            [(f"{n:02}", vector.tobytes(), n + 1) for n, vector in enumerate(VECTORS)],
        )
        if version == 2:
            learned = transforms.fit("centre", VECTORS).to_bytes()
            connection.execute("INSERT INTO fitted VALUES (1, ?, 55)", (learned,))
    connection.close()


@pytest.mark.parametrize("version", [1, 2])
def test_an_earlier_version_is_taken_over(tmp_path, built_here, version):
    write(tmp_path, version)
    with (
        LocalCatalogue(tmp_path, exact_below=50) as one,
        LocalCatalogue(tmp_path, exact_below=50) as other,
    ):
        info = other.describe("live" if version == 2 else "c")
        assert (info.name, info.model, info.count, info.sequence) == ("c", "mfcc", COUNT, COUNT)
        assert info.transform == ("centre" if version == 2 else None)
        assert info.fitted is None or (info.fitted.items, info.fitted.sequence) == (COUNT, 55)
        np.testing.assert_array_equal(other.get("c", "07").vector, VECTORS[7])
        assert other.recommend("c", [VECTORS[7]], 1)[0].neighbours[0].id == "07"
        one.delete("c", ["07"])
        one.upsert("c", [Item("new", VECTORS[7])])
        assert other.recommend("c", [VECTORS[7]], 1)[0].neighbours[0].id == "new"
        assert one.rebuild("c").indexed == COUNT


@pytest.mark.parametrize("version", [1, 2])
def test_it_is_taken_over_once(tmp_path, version):
    write(tmp_path, version)
    for _ in range(2):
        with LocalCatalogue(tmp_path) as catalogue:
            assert catalogue.describe("c").count == COUNT
    with sqlite3.connect(tmp_path / "catalogue.sqlite3") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()
