"""Choosing from a ranking, against slow and plain readings of the rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.catalogue.choosing import Choice, vary, walk


def directions(seed: int, count: int, dim: int = 3) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def walked(vectors, metadata, choice, wanted):
    taken = walk(len(vectors), vectors.__getitem__, metadata.__getitem__, choice, wanted)
    return taken.places, taken.same


def plainly(vectors, metadata, choice, wanted):
    places: list[int] = []
    same: dict[int, list[int]] = {}
    for place in range(len(vectors)):
        if len(places) == wanted:
            break
        alike = [
            one
            for one in places
            if choice.collapse is not None
            and round(sum(a * b for a, b in zip(vectors[one], vectors[place], strict=True)), 7)
            >= choice.collapse
        ]
        if alike:
            same[alike[0]].append(place)
            continue
        full = any(
            sum(metadata[one].get(name) == metadata[place][name] for one in places) >= most
            for name, most in choice.caps.items()
            if name in metadata[place]
        )
        if not full:
            places.append(place)
            same[place] = []
    return places, list(same.values())


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 300),
    wanted=st.integers(1, 20),
    collapse=st.none() | st.floats(0.3, 1.0),
    cap=st.none() | st.integers(1, 3),
)
def test_a_walk_takes_what_the_rules_say(seed, count, wanted, collapse, cap):
    vectors = directions(seed, count)
    artists = np.random.default_rng(seed + 1).integers(0, 6, count)
    metadata = [{"artist": int(one)} if one else {} for one in artists]
    choice = Choice(caps={"artist": cap} if cap else {}, collapse=collapse)
    assert walked(vectors, metadata, choice, wanted) == plainly(vectors, metadata, choice, wanted)


def test_identical_vectors_are_one_across_blocks():
    vectors = np.repeat(directions(0, 2), 400, axis=0)
    places, same = walked(vectors, [{}] * 800, Choice(collapse=1.0), 10)
    assert places == [0, 400]
    first = [list(range(1, 101)), list(range(401, 501))]  # of 399 each so many are told
    assert same == first


def test_an_item_with_two_artists_counts_for_both():
    metadata = [{"artist": ["a", "b", "a"]}, {"artist": "b"}, {"artist": "c"}, {"artist": "a"}]
    places, _ = walked(directions(0, 4), metadata, Choice(caps={"artist": 1}), 4)
    assert places == [0, 2]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 30),
    k=st.integers(1, 12),
    diversity=st.floats(0, 1),
)
def test_variety_is_maximal_marginal_relevance(seed, count, k, diversity):
    vectors = directions(seed, count)
    ranks = np.sort(np.random.default_rng(seed).uniform(-1, 1, count))[::-1]
    picks: list[int] = []
    values = []
    while len(picks) < min(k, count):
        gains = {
            one: round(
                (1 - diversity) * ranks[one]
                - diversity * max([0.0, *(float(vectors[one] @ vectors[p]) for p in picks)]),
                7,
            )
            for one in range(count)
            if one not in picks
        }
        best = max(gains, key=lambda one: (gains[one], -one))
        picks.append(best)
        values.append(gains[best])
    found, worth = vary(ranks, vectors, diversity, k)
    assert found == picks
    assert worth == pytest.approx(values, abs=2e-7)
    assert worth == sorted(worth, reverse=True)


def test_no_variety_is_the_ranking_and_variety_alone_goes_far_apart():
    vectors = np.array([[1.0, 0.0], [0.999, 0.0447], [0.0, 1.0], [-1.0, 0.0]])
    ranks = np.array([0.9, 0.8, 0.3, -0.5])
    assert vary(ranks, vectors, 0.0, 4)[0] == [0, 1, 2, 3]
    assert vary(ranks, vectors, 1.0, 3)[0] == [0, 2, 3]
