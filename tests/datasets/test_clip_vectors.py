"""Parquet files of clip vectors, whoever wrote them."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from soundalike.datasets.clip_vectors import ClipVectors
from soundalike.errors import BadRequest, SpaceMismatch

SPACE = "fake/0123456789ab"
VALUES = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def written(path, **columns):
    """A file of five good rows, but for the columns given; None leaves one out."""
    good = {
        "id": [f"sound-{number}" for number in range(5)],
        "space": [SPACE] * 5,
        "vector": pa.array(VALUES.tolist(), pa.list_(pa.float32())),
        "metadata": [json.dumps({"title": f"Sound {number}"}) for number in range(5)],
    }
    kept = {name: column for name, column in (good | columns).items() if column is not None}
    parquet.write_table(pa.table(kept), path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.parquet"


def read(path):
    refused = []
    items = list(ClipVectors(path).items(lambda name, reason: refused.append((name, reason))))
    return items, refused


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float32(), 8),
        pa.list_(pa.float16()),
    ],
    ids=str,
)
def test_every_row_is_given_in_order(path, kind):
    values = VALUES.astype(np.float16) if kind.value_type == pa.float16() else VALUES
    written(path, vector=pa.array(values.tolist(), kind))
    file = ClipVectors(path)
    assert (file.count, file.space, file.dim) == (5, SPACE, 8)
    items, refused = read(path)
    assert [one.id for one in items] == [f"sound-{number}" for number in range(5)]
    assert [one.metadata for one in items] == [{"title": f"Sound {n}"} for n in range(5)]
    assert np.array_equal([one.vector for one in items], values.astype(np.float32))
    assert not refused


def test_metadata_may_be_left_out(path):
    items, _ = read(written(path, metadata=None))
    assert [one.metadata for one in items] == [{}] * 5


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"vector": None, "id": None}, "no column 'id' and no column 'vector'"),
        ({"space": None}, "no column 'space'"),
        ({"vector": ["1 2 3"] * 5}, "'vector' .* is string, not a list of floats"),
        ({"id": list(range(5))}, "'id' .* is int64, not text"),
        ({"space": [""] * 5}, "does not say of which space"),
        ({"vector": pa.array([None, *VALUES[1:].tolist()])}, "first row .* no vector"),
    ],
)
def test_a_file_of_another_form_is_refused(path, columns, said):
    with pytest.raises(BadRequest, match=said):
        ClipVectors(written(path, **columns))


def test_several_spaces_are_refused_by_name(path):
    with pytest.raises(SpaceMismatch, match="'fake/0123456789ab' and 'other/0123456789ab'"):
        ClipVectors(written(path, space=[SPACE] * 4 + ["other/0123456789ab"]))


@pytest.mark.parametrize("content", [b"", b"PAR1" + bytes(40) + b"PAR1", b"no such thing"])
def test_what_is_no_parquet_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(BadRequest, match="cannot be read as Parquet"):
        ClipVectors(path)


def test_an_empty_file_is_refused(path):
    parquet.write_table(parquet.read_table(written(path)).slice(0, 0), path)
    with pytest.raises(BadRequest, match="holds no vector"):
        ClipVectors(path)


def test_rows_that_cannot_be_used_are_named_and_the_rest_given(path):
    rows = VALUES.tolist()
    rows[1][3], rows[2], rows[3] = float("nan"), rows[2][:7], None
    ids = ["a", "b", "c", "d", None]
    items, refused = read(written(path, vector=pa.array(rows), id=ids))
    assert [one.id for one in items] == ["a"]
    assert refused == [
        ("b", "its vector holds NaN or infinity"),
        ("c", "its vector has 7 numbers and the first 8"),
        ("d", "it has no vector"),
        ("row 5", "it has no id"),
    ]


def test_a_number_that_is_missing_or_too_large_is_no_vector(path):
    rows = VALUES.tolist()
    rows[1][0], rows[2][0] = None, 1e39
    items, refused = read(written(path, vector=pa.array(rows, pa.list_(pa.float64()))))
    assert [name for name, _ in refused] == ["sound-1", "sound-2"]
    assert np.array_equal([one.vector for one in items], VALUES[[0, 3, 4]])


@pytest.mark.parametrize("text", ["{", "[1]", '"title"'])
def test_metadata_that_are_no_object_are_named(path, text):
    items, refused = read(written(path, metadata=[text, *["{}"] * 4]))
    assert len(items) == 4
    assert refused[0][0] == "sound-0"
    assert "metadata" in refused[0][1]


def test_one_great_row_group_is_not_read_at_once(path):
    rows, dim = 6_000, 512
    values = pa.array(np.random.default_rng(1).random(rows * dim, np.float32))
    vectors = pa.ListArray.from_arrays(np.arange(0, rows * dim + 1, dim, dtype=np.int32), values)
    ids = [str(number) for number in range(rows)]
    written(path, id=ids, space=[SPACE] * rows, vector=vectors, metadata=None)
    size = vectors.nbytes
    del values, vectors
    before = pa.total_allocated_bytes()
    items = ClipVectors(path).items(lambda *_: None)
    assert max(pa.total_allocated_bytes() - before for _ in items) < size / 2
