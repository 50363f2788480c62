"""What was changed in a file, or never was a snapshot, is refused."""

import io
import json
import random
import zipfile

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.errors import (
    BadBackup,
    BadRequest,
)
from soundalike.types import Item
from tests.catalogue.backups import MEMBERS, SPACE, fill, restore, sealed, snapshot, written_by_hand

NAN = float("nan")


@pytest.fixture
def catalogue(tmp_path):
    with LocalCatalogue(tmp_path / "own") as catalogue:
        yield catalogue


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


@pytest.mark.parametrize("sequence", [{"fitted_at": 8}, {"fitted_at": None}, {"sequence": 0}])
def test_what_was_learned_after_the_last_write_is_refused(catalogue, sequence):
    content = written_by_hand(
        ["a"], [[1, 2]], collection={"transform": "centre"},
        also={"transform.npz": learned()}, **{"fitted_at": 1} | sequence,
    )  # fmt: skip
    with pytest.raises(BadBackup):
        restore(catalogue, content)


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
