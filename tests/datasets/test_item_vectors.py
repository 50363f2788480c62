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
    for name in ("mfcc_embeddings.parquet", "mert_768.parquet", "id_genres_tf-idf.tsv.bz2"):
        (tmp_path / name).touch()
    assert item_vectors.find(tmp_path, "mfcc_104").name == "mfcc_embeddings.parquet"
    assert item_vectors.find(tmp_path, "mert_768").name == "mert_768.parquet"
    assert item_vectors.find(tmp_path, "mert") is None
    for name in ("genres_tf-idf", "id_genres_tf-idf", "genres_tf-idf_685"):
        assert item_vectors.find(tmp_path, name).name == "id_genres_tf-idf.tsv.bz2"


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


TAGS = """id\t(tag, weight)
a\t{'rock': 100, "rock 'n' roll": 25}
b\t{'pop': 3}
c\t{}
d\t['pop', 'rock']
e\t{'rock': nan}
f\t{'rock': __import__('os')}
g\t{'rock': 1
"""


def test_dictionaries_of_tags_are_read_with_their_weights(tmp_path):
    path = tmp_path / "id_tags_dict.tsv.bz2"
    path.write_bytes(bz2.compress(TAGS.encode()))
    values, there = item_metadata.read(path).rows(list("abcd"), 4)
    # pop, rock and rock 'n' roll
    np.testing.assert_array_equal(values, [[0, 1, 0.25], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
    assert there.all()


def test_a_cell_that_is_no_dictionary_of_numbers_is_text(tmp_path):
    path = tmp_path / "id_tags_dict.tsv"
    path.write_text(TAGS + "h\t{'rock': " + "9" * 5000 + "}\ni\t" + "[" * 2000 + "]" * 2000)
    values, _ = item_metadata.read(path).rows(list("efghi"), 5)
    assert (values.sum(axis=1) == 1).all()
    assert values.shape[1] == 5


def test_tables_lie_beside_each_other_and_items_nothing_is_known_of_are_missing(tmp_path):
    paths = [tmp_path / name for name in ("id_metadata.csv", "id_information.csv")]
    paths[0].write_text("id\ttempo\na\t100\nb\t140\nc\t\n")
    paths[1].write_text("id,artist,song\nb,x,s\nd,y,s\n")
    tables = [item_metadata.read(paths[0]), item_metadata.read(paths[1], ["artist"])]
    found = item_metadata.beside_each_other(tables)
    assert (list(found.ids), found.dropped) == (["a", "b", "d"], 1)
    values, there = found.rows(["a", "b", "c", "d"], 4)
    np.testing.assert_array_equal(values, [[-1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert there.tolist() == [True, True, False, True]
    with pytest.raises(BadRequest, match="artist"):
        item_metadata.beside_each_other([tables[1], tables[1]])


def test_two_rows_of_one_item_are_refused(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("id,artist\na,x\na,y\n")
    with pytest.raises(BadRequest, match="several rows"):
        item_metadata.read(path)
