import bz2

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from soundalike.datasets import item_metadata, item_vectors
from soundalike.errors import BadRequest

VALUES = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
IDS = ["b", "A", "0012"]


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "x_embeddings.parquet"
    item_vectors.write(path, IDS, VALUES)
    found = item_vectors.read(path)
    assert list(found.ids) == IDS
    np.testing.assert_array_equal(found.values, VALUES)
    values, there = found.rows(["0012", "none", "b"], 0)
    np.testing.assert_array_equal(values, [VALUES[2], np.zeros(4), VALUES[0]])
    assert there.tolist() == [True, False, True]


def test_the_layouts_of_others_are_read(tmp_path):
    columns = {str(n): VALUES[:, n].astype(np.float16) for n in range(4)}
    names = [f"{name}.mp3" for name in IDS]
    parquet.write_table(pa.table(columns | {"track_id": names}), tmp_path / "half.parquet")
    lines = ["id\tv1\tv2\tv3\tv4"] + [
        "\t".join([name, *map(repr, map(float, row))])
        for name, row in zip(IDS, VALUES, strict=True)
    ]
    (tmp_path / "onion.tsv.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    order = [2, 1, 0]
    np.save(tmp_path / "paper.npy", VALUES[order])
    (tmp_path / "ids.csv").write_text("idx,trackid\n0,0012\n1,A\n2,b\n")
    for name, tolerance in (("half", 1e-3), ("onion", 1e-6), ("paper", 0)):
        found = item_vectors.read(item_vectors.find(tmp_path, name))
        values, there = found.rows(IDS, 0)
        assert there.all()
        np.testing.assert_allclose(values, VALUES, rtol=tolerance)


def test_rows_that_say_nothing_are_dropped_and_counted(tmp_path):
    values = np.concatenate([VALUES, [[0] * 4, [2] * 4, [1, np.nan, 0, 0], [1, np.inf, 0, 0]]])
    path = tmp_path / "x.parquet"
    item_vectors.write(path, [*IDS, "zeros", "constant", "nan", "inf"], values)
    found = item_vectors.read(path)
    assert (list(found.ids), found.dropped) == (IDS, 4)


@pytest.mark.parametrize(
    "columns",
    [
        {"who": IDS, "0": [1.0, 2.0, 3.0]},
        {"track_id": IDS},
        {"track_id": ["a", "a.wav", "b"], "0": [1.0, 2.0, 3.0]},
        {"track_id": IDS, "0": ["x", "y", "z"]},
        {"track_id": ["a", None, "b"], "0": [1.0, 2.0, 3.0]},
        {"track_id": IDS, "0": [0.0, 1.0, 2.0], "1": [0.0, 1.0, 2.0]},  # one number a row
    ],
)
def test_what_is_no_table_of_vectors_is_refused(tmp_path, columns):
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table(columns), path)
    with pytest.raises(BadRequest):
        item_vectors.read(path)


def test_files_are_found_by_name_with_and_without_the_number(tmp_path):
    for name in ("mfcc_embeddings.parquet", "mert_768.parquet"):
        (tmp_path / name).touch()
    assert item_vectors.find(tmp_path, "mfcc_104").name == "mfcc_embeddings.parquet"
    assert item_vectors.find(tmp_path, "mert_768").name == "mert_768.parquet"
    assert item_vectors.find(tmp_path, "mert") is None


METADATA = """id\ttempo\tgenres\tlang
a\t100\trock,pop\ten
b\t140\tpop\t
c\t\tjazz\ten
d\t900\tpolka\ttlh
"""


def test_numbers_are_scaled_by_what_may_be_learned_from_and_categories_are_flags(tmp_path):
    path = tmp_path / "id_metadata.csv"
    path.write_text(METADATA)
    values, there = item_metadata.read(path).rows(["a", "b", "c", "d", "none"], 3)
    tempo, rest = values[:, 0], values[:, 1:]
    np.testing.assert_allclose(tempo, [-1, 1, 0, 39, 0])
    # jazz, pop, rock and en are known from the first three
    expected = [[0, 1, 1, 1], [0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(rest, expected)
    assert there.tolist() == [True] * 4 + [False]


def test_columns_are_chosen_and_many_categories_share_numbers(tmp_path):
    path = tmp_path / "m.csv"
    lines = ["id,artist,song"] + [f"{n},artist {n // 2},song {n}" for n in range(400)]
    path.write_text("\n".join(lines))
    values, _ = item_metadata.read(path, ["artist"]).rows([str(n) for n in range(400)], 400)
    assert values.shape == (400, item_metadata.MOST_CATEGORIES)
    assert (values.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(values[::2], values[1::2])
    with pytest.raises(BadRequest, match="artist, song"):
        item_metadata.read(path, ["mood"])
