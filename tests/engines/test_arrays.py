"""Arrays in files are those that were written, or refused."""

import numpy as np
import pytest

from soundalike.engines.arrays import header, open_array
from soundalike.errors import DamagedIndex

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "array",
    [ARRAY, ARRAY.astype(np.int64), ARRAY[:1], ARRAY[:, 0].copy(), np.empty((0, 3), np.float32)],
)
def test_it_begins_as_numpy_writes_it_and_is_read_without_parsing(tmp_path, array, monkeypatch):
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "b.npy").write_bytes(header(array.dtype.type, array.shape) + array.tobytes())
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()

    def fail(text):
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr("ast.literal_eval", fail)
    found = open_array(tmp_path / "a.npy", array.dtype.type, array.shape)
    assert type(found) is np.ndarray
    assert not found.flags.writeable
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"?" + path.read_bytes()[1:]),
        lambda path: np.save(path, ARRAY.T),
        lambda path: np.save(path, np.asfortranarray(ARRAY)),
        lambda path: np.save(path, ARRAY.astype(">f4")),
        lambda path: np.save(path, ARRAY.astype(np.int32)),
        lambda path: np.save(path, ARRAY[:1]),
    ],
)
def test_anything_else_is_refused(tmp_path, damage):
    path = tmp_path / "a.npy"
    np.save(path, ARRAY)
    damage(path)
    with pytest.raises(DamagedIndex, match=r"a\.npy"):
        open_array(path, np.float32, ARRAY.shape)
