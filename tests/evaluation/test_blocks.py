import numpy as np
import pytest

from soundalike.datasets.item_vectors import ItemVectors
from soundalike.errors import BadRequest
from soundalike.evaluation import blocks
from soundalike.evaluation.blocks import FLAG_WEIGHT, Part

A = ItemVectors(["x", "y", "z"], np.float32([[3, 4], [0, 2], [1, 0]]))
B = ItemVectors(["y", "x"], np.float32([[10], [-20]]))
SOURCES = {"a": A, "b": B}


def test_names_are_read_with_their_weights():
    assert blocks.parse("mert_768+0.5*lyrics_384") == [Part("mert_768"), Part("lyrics_384", 0.5)]
    for wrong in ("", "a+", "0*a", "-1*a", "x*a", "a+2*a", "inf*a"):
        with pytest.raises(BadRequest):
            blocks.parse(wrong)


def test_one_block_alone_is_as_it_is():
    found = blocks.join([Part("a")], SOURCES, ["z", "x"], 2)
    np.testing.assert_array_equal(found, [[1, 0], [3, 4]])


def test_several_are_of_unit_length_times_their_weight():
    found = blocks.join([Part("a"), Part("b", 0.5)], SOURCES, ["x", "y"], 2)
    np.testing.assert_allclose(found, [[0.6, 0.8, -0.5], [0, 1, 0.5]])


def test_a_block_that_is_missing_is_zeros_and_is_flagged():
    found = blocks.join([Part("a"), Part("b", 2.0)], SOURCES, ["x", "z"], 2)
    np.testing.assert_allclose(found, [[0.6, 0.8, -2, 2 * FLAG_WEIGHT], [1, 0, 0, 0]])


def test_items_that_all_have_are_found_and_none_is_refused():
    assert blocks.common([A, B]) == {"x", "y"}
    with pytest.raises(BadRequest, match="ids"):
        blocks.join([Part("a")], SOURCES, ["X"], 1)
