"""A collection goes into one file and comes back the same; what was changed in it is refused."""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.errors import (
    BadBackup,
    BadRequest,
    CollectionExists,
    StorageFull,
    UnknownCollection,
)
from soundalike.types import Item

SPACE, DIM = "fake/0123456789ab", 16
ODD_IDS = ["ü ö", "a/b/../c", "\u2028", "0", " ", "%2F", '"quoted"', "\U0001f3b5", "x" * 512]
ODD_METADATA = [
    {}, {"text": "line\nbreak \u2028 \x00"}, {"deep": {"er": [1, None, True, 2.5e-300]}},
    {"": ""}, {"big": 2**63 - 1, "tiny": -1e308}, {"\U0001f3b5": "\u00e9"},
]  # fmt: skip
MEMBERS = ["vectors.f32", "items.jsonl", "manifest.json"]
RESTORES = """
import pathlib, sys
from soundalike.catalogue import LocalCatalogue

with LocalCatalogue(pathlib.Path(sys.argv[1])) as catalogue, open(sys.argv[2], "rb") as file:
    print("ready", flush=True)
    catalogue.restore("new", file)
"""


@pytest.fixture
def catalogue(tmp_path):
    with LocalCatalogue(tmp_path / "own") as catalogue:
        yield catalogue


@pytest.fixture
def other(tmp_path):
    with LocalCatalogue(tmp_path / "other") as catalogue:
        yield catalogue


def fill(catalogue, size, name="c", **facts):
    rng = np.random.default_rng(size)
    catalogue.create(name, space=SPACE, dim=DIM, **facts)
    ids = ODD_IDS[:size] + [f"item {n}" for n in range(size - len(ODD_IDS))]
    lengths = 10.0 ** rng.integers(-30, 30, size=size)
    vectors = (rng.normal(size=(size, DIM)) * lengths[:, np.newaxis]).astype(np.float32)
    items = [
        Item(one, vector, ODD_METADATA[n % len(ODD_METADATA)])
        for n, (one, vector) in enumerate(zip(ids, vectors, strict=True))
    ]
    if items:
        catalogue.upsert(name, items)


def snapshot(catalogue, name="c"):
    file = io.BytesIO()
    catalogue.snapshot(name, file)
    return file.getvalue()


def restore(catalogue, content, name="c"):
    return catalogue.restore(name, io.BytesIO(content))


def everything(catalogue, name="c"):
    found, after = [], ""
    while page := catalogue.page(name, after=after, limit=1000):
        found += [(one.id, one.vector.tobytes(), one.metadata) for one in page]
        after = page[-1].id
    return found


def sealed(content):
    """Write the digest of all before it at the end."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


def written_by_hand(ids, vectors, *, metadata="{}", also=None, **manifest):
    """Write version 1 of the format by nothing but this: later versions must read it."""
    lines = "".join(f'{{"id":{json.dumps(one)},"metadata":{metadata}}}\n' for one in ids)
    contents = {
        "vectors.f32": np.asarray(vectors, "<f4").tobytes(), "items.jsonl": lines.encode(),
    }  # fmt: skip
    contents |= also or {}
    collection = {
        "name": "c", "space": SPACE, "dim": 2, "engine": "exact", "model": None,
        "pooling": "mean", "created": 1.5, "transform": None,
    }  # fmt: skip
    told = {
        "format": "soundalike-collection",
        "version": 1,
        "collection": collection | manifest.pop("collection", {}),
        "sequence": 7,
        "items": len(ids),
        "fitted_at": None,
        "members": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    } | manifest
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        archive.writestr("manifest.json", json.dumps(told))
        archive.comment = b"sha256:" + b"0" * 64
    return sealed(file.getvalue())


def test_five_thousand_items_come_back_as_they_were(catalogue, other):
    fill(catalogue, 5000, engine="exact", model="mfcc", pooling="meanstd")
    catalogue.delete("c", [ODD_IDS[0], "item 17"])
    made = restore(other, snapshot(catalogue))
    assert made == catalogue.describe("c")
    assert everything(other) == everything(catalogue)
    query = np.random.default_rng(0).normal(size=DIM)
    assert other.recommend("c", [query]) == catalogue.recommend("c", [query])


def test_an_empty_collection_comes_back_too(catalogue, other):
    fill(catalogue, 0)
    assert restore(other, snapshot(catalogue), "d").count == 0


@pytest.mark.parametrize("transform", ["centre", "whiten+csls:5", "pca:4+expand:3"])
def test_what_a_transform_learned_comes_back_and_ranks_as_before(catalogue, other, transform):
    fill(catalogue, 200, transform=transform)
    catalogue.rebuild("c")
    catalogue.delete("c", ODD_IDS)  # so that fitting it anew would give another
    assert restore(other, snapshot(catalogue)) == catalogue.describe("c")
    query = np.random.default_rng(0).normal(size=DIM)
    (there,), (here,) = other.recommend("c", [query]), catalogue.recommend("c", [query])
    assert there == here
    assert there.neighbours[0].rank_score is not None


def test_a_restored_collection_is_written_to_as_any_other(catalogue):
    fill(catalogue, 20)
    restore(catalogue, snapshot(catalogue), "copy")
    before = catalogue.describe("copy").sequence
    catalogue.upsert("copy", [Item("new", np.ones(DIM, np.float32))])
    assert catalogue.describe("copy").sequence == before + 1
    assert catalogue.recommend("copy", [np.ones(DIM)], 1)[0].neighbours[0].id == "new"
    assert catalogue.describe("c").count == 20


def test_a_snapshot_is_of_one_moment(catalogue, other):
    """Two items are always written together, and so they are in the file."""
    fill(catalogue, 3000)
    stop = threading.Event()

    def write_two(turn):
        vector = np.full(DIM, turn, np.float32)
        catalogue.upsert("c", [Item(one, vector, {"turn": turn}) for one in ("!", "zz")])

    def write():
        turn = 1
        while not stop.is_set():
            turn += 1
            write_two(turn)

    write_two(1)
    writer = threading.Thread(target=write)
    writer.start()
    contents = [snapshot(catalogue) for _ in range(5)]
    stop.set()
    writer.join()
    for number, content in enumerate(contents):
        restore(other, content, f"c{number}")
        first, last = (other.get(f"c{number}", one) for one in ("!", "zz"))
        assert first.metadata == last.metadata
        assert first.vector[0] == last.vector[0] == first.metadata["turn"]


def test_the_members_are_what_the_manifest_says(catalogue):
    fill(catalogue, 30)
    with zipfile.ZipFile(io.BytesIO(snapshot(catalogue))) as archive:
        assert archive.namelist() == MEMBERS
        told = json.loads(archive.read("manifest.json"))
        for name, one in told["members"].items():
            content = archive.read(name)
            assert one == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        vectors = np.frombuffer(archive.read("vectors.f32"), "<f4").reshape(30, DIM)
        ids = [json.loads(line)["id"] for line in archive.read("items.jsonl").split(b"\n")[:-1]]
    for one, vector in zip(ids, vectors, strict=True):
        assert catalogue.get("c", one).vector.tobytes() == vector.tobytes()


def test_version_1_is_read(catalogue):
    content = written_by_hand(["a", "b"], [[1, 2], [3, -4]], metadata='{"n":[1, 2.50]}')
    made = restore(catalogue, content, "mine")
    assert (made.count, made.dim, made.pooling, made.sequence) == (2, 2, "mean", 7)
    assert made.created.timestamp() == 1.5
    assert everything(catalogue, "mine") == [
        ("a", np.array([1, 2], np.float32).tobytes(), {"n": [1, 2.5]}),
        ("b", np.array([3, -4], np.float32).tobytes(), {"n": [1, 2.5]}),
    ]


NAN = float("nan")


@pytest.mark.parametrize(
    ("ids", "vectors", "more"),
    [
        (["a", "a"], [[1, 2], [3, 4]], {}),
        (["b", "a"], [[1, 2], [3, 4]], {}),
        (["a"], [[1, NAN]], {}),
        (["a"], [[0, 0]], {}),
        (["a"], [[1, 2]], {"metadata": "[]"}),
        (["a"], [[1, 2]], {"metadata": '{"x":NaN}'}),
        (["a"], [[1, 2]], {"metadata": "{"}),
        (["a"], [[1, 2]], {"items": 2}),
        (["a", "b"], [[1, 2]], {"items": 1}),
        (["a"], [[1, 2], [3, 4]], {"items": 2}),
        (["a"], [[1, 2]], {"items": True}),
        (["a"], [[1, 2]], {"sequence": -1}),
        (["a"], [[1, 2]], {"version": 2}),
        (["a"], [[1, 2]], {"version": None}),
        (["a"], [[1, 2]], {"format": "another"}),
        (["a"], [[1, 2]], {"members": {}}),
        (["a"], [[1, 2]], {"also": {"transform.npz": b"no"}}),
        (["a"], [[1, 2]], {"also": {"more": b""}}),
        (["a"], [[1, 2]], {"collection": {"dim": 0}}),
        (["a"], [[1, 2]], {"collection": {"dim": 1}}),
        (["a"], [[1, 2]], {"collection": {"dim": "2"}}),
        (["a"], [[1, 2]], {"collection": {"space": None}}),
        (["a"], [[1, 2]], {"collection": {"created": "now"}}),
        (["a"], [[1, 2]], {"collection": {"created": "1.5"}}),
        (["a"], [[1, 2]], {"collection": {"created": 1e300}}),
        (["a"], [[1, 2]], {"collection": {"created": 10**400}}),
        (["a"], [[1, 2]], {"collection": {"created": NAN}}),
        (["a"], [[1, 2]], {"collection": {"transform": 5}}),
        (["a"], [[1, 2]], {"sequence": 0}),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_though_its_digests_are_right(catalogue, ids, vectors, more):
    with pytest.raises(BadBackup):
        restore(catalogue, written_by_hand(ids, vectors, **more))
    assert catalogue.collections() == []


def learned(**changes):
    arrays = {
        "name": np.array("centre"), "count": np.array(60), "shift": np.zeros(2),
        "references": np.zeros((0, 2), np.float32),
    } | changes  # fmt: skip
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": np.array("whiten")},
        {"shift": np.array([0, NAN])},
        {"shift": np.zeros(3)},
        {"matrix": np.zeros((3, 2))},
        {"references": np.zeros((0, 2), "U1")},
        {"count": np.array(0)},
        {"count": np.array(np.inf)},
        {"matrix": np.zeros((2, 2, 2))},
        {"matrix": np.zeros((2, 3))},
        {"shift": np.array(0.0)},
        {"references": np.zeros((1, 3), np.float32)},
    ],
)
def test_a_transform_that_cannot_move_the_vectors_is_refused(catalogue, changes):
    def content(blob):
        return written_by_hand(
            ["a"], [[1, 2]], collection={"transform": "centre"}, fitted_at=1,
            also={"transform.npz": blob},
        )  # fmt: skip

    with pytest.raises(BadBackup):
        restore(catalogue, content(learned(**changes)))
    assert restore(catalogue, content(learned())).fitted.items == 60


def test_members_that_are_compressed_are_refused(catalogue):
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(written_by_hand(["a"], [[1, 2]]))) as stored,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in stored.namelist():
            archive.writestr(name, stored.read(name))
        archive.comment = stored.comment
    with pytest.raises(BadBackup, match="stored"):
        restore(catalogue, sealed(file.getvalue()))


def test_no_byte_can_change_unnoticed(catalogue):
    """Every header, and one byte in so many of the rest."""
    fill(catalogue, 300)
    content = snapshot(catalogue)
    rng = random.Random(0)
    heads = [content.index(name.encode()) for name in MEMBERS]
    places = {place for head in heads for place in range(head - 30, head + 20)}
    places |= {*range(len(content) - 320, len(content)), *rng.sample(range(len(content)), 150)}
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        with pytest.raises(BadBackup):
            restore(catalogue, bytes(changed), "new")
    assert [one.name for one in catalogue.collections()] == ["c"]


@pytest.mark.parametrize("cut", [0, 1, 63, 64, 100, 5000, -1, -64, -200])
def test_a_cut_file_is_refused(catalogue, cut):
    fill(catalogue, 100)
    with pytest.raises(BadBackup):
        restore(catalogue, snapshot(catalogue)[:cut], "new")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18), bytes(1000)])
def test_a_foreign_file_is_refused(catalogue, content):
    for one in (content, sealed(content + b"0" * 64)):
        with pytest.raises(BadBackup):
            restore(catalogue, one)


def test_what_is_there_is_not_written_over(catalogue):
    fill(catalogue, 20)
    content = snapshot(catalogue)
    catalogue.point("name", "c")
    for name in ("c", "name"):
        with pytest.raises(CollectionExists):
            restore(catalogue, content, name)
    with pytest.raises(UnknownCollection):
        snapshot(catalogue, "none")


def test_a_full_disk_is_told_and_leaves_nothing(catalogue):
    fill(catalogue, 2000)
    content = snapshot(catalogue)
    connection = catalogue._store._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageFull):
        restore(catalogue, content, "new")
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [one.name for one in catalogue.collections()] == ["c"]
    assert restore(catalogue, content, "new").count == 2000


class FullFile(io.BytesIO):
    def write(self, some):
        raise OSError(28, "No space left on device")


def test_no_room_for_the_file_is_told(catalogue):
    fill(catalogue, 20)
    with pytest.raises(StorageFull):
        catalogue.snapshot("c", FullFile())


def test_killed_in_the_middle_nothing_of_it_is_there(tmp_path, catalogue):
    fill(catalogue, 10_000)
    content, file = snapshot(catalogue), tmp_path / "snapshot.zip"
    file.write_bytes(content)
    began = time.monotonic()
    restore(catalogue, content, "timed")
    takes_s = time.monotonic() - began
    folder, rng, met = tmp_path / "killed", random.Random(0), set()
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", RESTORES, str(folder), str(file)], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0.2, 1.0) * takes_s)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with LocalCatalogue(folder) as again:
            held = {one.name: one.count for one in again.collections()}
            assert held in ({}, {"new": 10_000})
            met |= held.keys()
            if held:
                again.drop("new")
    with LocalCatalogue(folder) as again:
        assert restore(again, content, "new").count == 10_000
        names = {one.name for one in folder.iterdir()}
    assert names <= {
        "catalogue.sqlite3", "catalogue.sqlite3-wal", "catalogue.sqlite3-shm", "catalogue.lock",
        "indexes", "building.lock",
    }  # fmt: skip


@pytest.mark.parametrize("flag", ["encrypted", "utf-8"])
def test_an_archive_with_odd_flags_is_refused(catalogue, flag):
    """One says that a member is encrypted, the other that a broken name is UTF-8."""
    content = bytearray(written_by_hand(["a"], [[1, 2]]))
    entry = content.find(b"PK\x01\x02")
    if flag == "encrypted":
        content[entry + 8] |= 1
        content[content.find(b"PK\x03\x04") + 6] |= 1
    else:
        content[entry + 9] |= 8
        content[entry + 46] = 0xFF
    with pytest.raises(BadBackup):
        restore(catalogue, sealed(bytes(content)))


def test_a_manifest_nested_without_end_is_refused(catalogue):
    content = written_by_hand(["a"], [[1, 2]], format=[])
    deep = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as stored,
        zipfile.ZipFile(deep, "w") as archive,
    ):
        for name in MEMBERS[:2]:
            archive.writestr(name, stored.read(name))
        archive.writestr("manifest.json", b'{"format":' + b"[" * 200_000)
        archive.comment = stored.comment
    with pytest.raises(BadBackup, match="manifest"):
        restore(catalogue, sealed(deep.getvalue()))


@pytest.mark.parametrize("sequence", [{"fitted_at": 8}, {"fitted_at": None}, {"sequence": 0}])
def test_what_was_learned_after_the_last_write_is_refused(catalogue, sequence):
    content = written_by_hand(
        ["a"], [[1, 2]], collection={"transform": "centre"},
        also={"transform.npz": learned()}, **{"fitted_at": 1} | sequence,
    )  # fmt: skip
    with pytest.raises(BadBackup):
        restore(catalogue, content)


def test_metadata_that_no_answer_could_tell_is_refused_at_every_door(catalogue):
    catalogue.create("own", space=SPACE, dim=2)
    deep = "[" * 250 + "]" * 250
    for told in (
        '{"n":18446744073709551616}',
        f'{{"n":{deep}}}',
        '{"n":[{"m":-9223372036854775809}]}',
    ):
        with pytest.raises(BadBackup):
            restore(catalogue, written_by_hand(["a"], [[1, 2]], metadata=told))
        with pytest.raises(BadRequest):
            catalogue.upsert("own", [Item("a", np.ones(2, np.float32), json.loads(told))])
    most = '{"n":[18446744073709551615,-9223372036854775808]}'
    assert restore(catalogue, written_by_hand(["a"], [[1, 2]], metadata=most)).count == 1
