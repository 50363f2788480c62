"""Strings on disk are those that were written."""

import numpy as np
import pytest

from soundalike.catalogue.mapped import OFFSETS, TEXT, Table, TableWriter
from soundalike.errors import DamagedIndex

TEXTS = ["", "a", "b/\u00e9t\u00e9.wav", "\U0001d11e clef", "z" * 1000, '{"k": [1, 2]}']


def written(folder, *blocks, name="keys"):
    with TableWriter(folder, name) as writer:
        for block in blocks:
            writer.extend([text] for text in block)
    return Table(folder, name, sum(map(len, blocks)), 1).column(0)


def test_strings_come_back_as_they_were_written(tmp_path):
    strings = written(tmp_path, TEXTS[:2], [], TEXTS[2:])
    assert list(strings) == TEXTS
    assert len(strings) == len(TEXTS)
    assert strings[-1] == TEXTS[-1]
    assert strings[1:4] == TEXTS[1:4]
    assert strings[::-2] == TEXTS[::-2]


def test_columns_are_told_apart(tmp_path):
    with TableWriter(tmp_path, "keys") as writer:
        writer.extend(zip("abc", TEXTS[:3], strict=True))
    keys, texts = map(Table(tmp_path, "keys", 3, 2).column, range(2))
    assert (list(keys), list(texts)) == (["a", "b", "c"], TEXTS[:3])
    assert (keys.pick([2, 0]), texts.pick([2, 0])) == (["c", "a"], [TEXTS[2], TEXTS[0]])
    assert (keys[-1], texts[1:]) == ("c", TEXTS[1:3])
    assert keys.rising()
    with pytest.raises(DamagedIndex, match="keys"):
        Table(tmp_path, "keys", 3, 4)


@pytest.mark.parametrize("row", [len(TEXTS), -len(TEXTS) - 1])
def test_there_is_nothing_beyond_the_last(tmp_path, row):
    with pytest.raises(IndexError):
        written(tmp_path, TEXTS)[row]


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_letters_at_all_can_be_kept(tmp_path, texts):
    assert list(written(tmp_path, texts)) == texts


@pytest.mark.parametrize(
    ("texts", "rising"),
    [
        ([], True),
        (["a", "b"], True),
        (["a", "a"], False),
        (["b", "a"], False),
        (["\uffee", "\U0001d11e"], True),  # by code point, unlike in UTF-16
    ],
)
def test_it_is_told_whether_they_rise(tmp_path, texts, rising):
    assert written(tmp_path, texts).rising() is rising


@pytest.mark.parametrize(
    "offsets",
    [
        np.array([0, 1, 2], dtype=np.int64),
        np.array([1, 2, 3], dtype=np.int64),
        np.array([0, 3, 1, 3], dtype=np.int64),
        np.array([0, 1, 3], dtype=np.int32),
        np.array([[0, 3]], dtype=np.int64),
        np.array([], dtype=np.int64),
    ],
)
def test_offsets_that_lead_astray_are_refused(tmp_path, offsets):
    written(tmp_path, ["a", "bc"])
    np.save(tmp_path / f"keys{OFFSETS}", offsets)
    with pytest.raises(DamagedIndex, match="keys"):
        Table(tmp_path, "keys", 2, 1)


@pytest.mark.parametrize("ending", [TEXT, OFFSETS])
def test_a_missing_file_is_told(tmp_path, ending):
    written(tmp_path, ["a", "bc"])
    (tmp_path / f"keys{ending}").unlink()
    with pytest.raises(DamagedIndex, match="keys"):
        Table(tmp_path, "keys", 2, 1)
