"""Queries with all their demands, against a slow and plain reading of them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike import engines
from soundalike.catalogue import asking, filters, rows
from soundalike.catalogue.asks import Ask, Example
from soundalike.catalogue.choosing import Choice
from soundalike.catalogue.rows import Base
from soundalike.catalogue.snapshot import Index, Items
from soundalike.errors import BadVector

DIM = 4


@dataclass
class Thing:
    id: str
    vector: np.ndarray
    metadata: dict


def things(seed: int, count: int) -> list[Thing]:
    """Items of which some are alike, by five artists and in three genres."""
    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((1 + count // 3, DIM))
    spread = rng.choice([0.0, 0.01, 1.0], (count, 1))
    vectors = middles[rng.integers(0, len(middles), count)] + spread * rng.standard_normal(
        (count, DIM)
    )
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Thing(
            f"item-{row:03d}",
            vectors[row].astype(np.float32),
            {"artist": int(rng.integers(5)), "genre": "abc"[rng.integers(3)]},
        )
        for row in range(count)
    ]


def kept(vectors) -> np.ndarray:
    """Scale vectors as a collection does that keeps them."""
    return rows.unit(vectors).astype(np.float32)


def snapshot_of(items: list[Thing], engine: str, indexed: int):
    """Index the first items and write the others after them; every seventh is gone again."""
    first = items[:indexed]
    vectors = kept([one.vector for one in first])
    wanted = None if engine == "exact" else engines.load(engine)
    base = Base(
        keys=[one.id for one in first],
        metadata=[json.dumps(one.metadata) for one in first],
        vectors=vectors,
        places=vectors,
        engine=wanted and wanted.build(vectors, recall_target=1.0),
        transform=None,
        fitted=None,
        fitted_at=0,
        sequence=1,
    )
    index = Index(base, exact_below=1)
    rest = items[indexed:]
    written = Items(
        [one.id for one in rest],
        [json.dumps(one.metadata) for one in rest],
        np.stack([one.vector for one in rest]) if rest else np.empty((0, DIM), np.float32),
    )
    index.apply(2, [], [written] if rest else [])
    index.apply(3, [one.id for one in items[::7]], [])
    return index.snapshot, [one for row, one in enumerate(items) if row % 7]


def plainly(items: list[Thing], ask: Ask, k: int, directions) -> list[tuple]:
    target, direction = directions
    exact = {one.id: kept([one.vector])[0].astype(np.float64) for one in items}
    ranking = sorted(
        (-round(float(exact[one.id] @ direction), 7), one.id, one.metadata)
        for one in items
        if one.id not in ask.without
        and met(ask.filter, one.metadata)
        and (ask.min_score is None or round(float(exact[one.id] @ target), 7) >= ask.min_score)
    )
    pool = max(100, 10 * k) if ask.choice.diversity else k
    taken: list[tuple] = []
    same: dict[str, list[str]] = {}
    for rank, name, metadata in ranking:
        if len(taken) == pool:
            break
        alike = [
            one
            for _, one, _ in taken
            if ask.choice.collapse is not None
            and round(float(unit(exact[one]) @ unit(exact[name])), 7) >= ask.choice.collapse
        ]
        if alike:
            same[alike[0]].append(name)
        elif all(
            sum(other["artist"] == metadata["artist"] for *_, other in taken) < most
            for most in ask.choice.caps.values()
        ):
            taken.append((rank, name, metadata))
            same[name] = []
    left = [(-rank, name) for rank, name, _ in taken]
    picked: list[tuple[float, str]] = []
    share = ask.choice.diversity
    while share and left and len(picked) < k:
        gains = [
            round(
                (1 - share) * rank
                - share
                * max([0.0, *(float(unit(exact[name]) @ unit(exact[o])) for _, o in picked)]),
                7,
            )
            for rank, name in left
        ]
        best = int(np.argmax(gains))
        picked.append((gains[best], left.pop(best)[1]))
    answer = sorted(picked, key=lambda one: (-one[0], one[1])) if share else left[:k]
    return [(name, rank, same[name]) for rank, name in answer]


def met(wanted, metadata: dict) -> bool:
    return wanted is None or metadata["genre"] == "a" or metadata["artist"] >= 3


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


A_OR_LATE = filters.parse({"or": [{"genre": "a"}, {"artist": {"gte": 3}}]})


@st.composite
def asks(draw, items: list[Thing]):
    ids = st.sampled_from([one.id for one in items])
    examples = st.lists(
        st.builds(Example, st.one_of(ids, st.integers(0, 9).map(direction)), st.floats(0.5, 2)),
        max_size=3,
    )
    return Ask(
        likes=draw(examples.filter(bool)),
        dislikes=draw(examples),
        filter=draw(st.sampled_from([None, A_OR_LATE])),
        exclude=frozenset(draw(st.lists(ids, max_size=3))),
        min_score=draw(st.none() | st.floats(-0.5, 0.9)),
        choice=Choice(
            diversity=draw(st.sampled_from([0.0, 0.3, 1.0])),
            caps=draw(st.sampled_from([{}, {"artist": 1}, {"artist": 2}])),
            collapse=draw(st.sampled_from([None, 0.9, 0.999])),
        ),
    )


def direction(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(DIM)


def aimed(ask: Ask, items: list[Thing]):
    there = {one.id: one.vector for one in items}
    given_vectors = [there[one.of] if isinstance(one.of, str) else one.of for one in ask.examples]
    return asking.aim(ask, np.stack([unit(np.asarray(v, np.float64)) for v in given_vectors]))


@pytest.mark.parametrize("engine", ["exact", "annoy", "faiss"])
@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31), count=st.integers(3, 90), k=st.integers(1, 12))
def test_every_demand_is_met_as_the_rules_say(engine, data, seed, count, k):
    items = things(seed, count)
    snapshot, alive = snapshot_of(items, engine, indexed=1 + data.draw(st.integers(0, count - 1)))
    ask = data.draw(asks(items))
    try:
        directions = aimed(ask, items)
    except BadVector:
        return
    found = asking.answer(snapshot, ask, directions, k)
    wanted = plainly(alive, ask, k, directions)
    assert found.ids == [name for name, *_ in wanted]
    falls_by = found.ranks if found.ranks is not None else found.scores
    assert falls_by == pytest.approx([rank for _, rank, _ in wanted], abs=3e-7)
    if ask.choice.collapse is not None:
        assert [[name for name, _ in one] for one in found.same] == [one for *_, one in wanted]


def test_a_dislike_pushes_away_and_leaves_the_list_full():
    items = things(1, 60)
    snapshot, alive = snapshot_of(items, "exact", 30)
    liked, hated = alive[0], alive[-1]
    plain = Ask(likes=[Example(liked.id)])
    pushed = Ask(likes=[Example(liked.id)], dislikes=[Example(hated.id)])
    before = asking.answer(snapshot, plain, aimed(plain, items), 10)
    after = asking.answer(snapshot, pushed, aimed(pushed, items), 10)
    assert len(before.ids) == len(after.ids) == 10
    vectors = {one.id: one.vector for one in items}
    nearness = [np.mean([vectors[i] @ hated.vector for i in one.ids]) for one in (before, after)]
    assert nearness[1] < nearness[0]


def test_dislikes_alone_ask_for_what_lies_farthest():
    items = things(2, 40)
    snapshot, alive = snapshot_of(items, "exact", 20)
    ask = Ask(dislikes=[Example(alive[0].id)])
    found = asking.answer(snapshot, ask, aimed(ask, items), 3)
    far = sorted(alive[1:], key=lambda one: float(one.vector @ alive[0].vector))
    assert found.ids == [one.id for one in far[:3]]


def test_what_cancels_out_is_refused():
    east = np.array([1.0, 0, 0, 0])
    ask = Ask(likes=[Example(east), Example(-east)])
    with pytest.raises(BadVector, match="cancel"):
        asking.aim(ask, np.stack([east, -east]))


def test_however_heavy_dislikes_never_outweigh_what_is_liked():
    liked, hated, other = np.eye(DIM)[:3]
    vectors = np.stack([liked, hated, other])
    for weight in (1e-3, 1.0, 1e3, 1e200):
        ask = Ask([Example(liked, weight)], [Example(hated, 1e3 * weight), Example(other, weight)])
        target, looked = asking.aim(ask, vectors)
        mean = (1000 * hated + other) / 1001
        assert target == pytest.approx(liked)
        assert looked == pytest.approx(unit(liked - 0.5 * mean))


def test_below_the_least_score_nothing_is_ranked(monkeypatch):
    items, sizes = things(3, 90), []
    snapshot, alive = snapshot_of(items, "exact", 60)
    ask = Ask(likes=[Example(alive[0].id)], min_score=0.999999)
    nearest = asking.query.nearest
    monkeypatch.setattr(
        asking.query, "nearest", lambda *a, **how: sizes.append(a[2]) or nearest(*a, **how)
    )
    found = asking.answer(snapshot, ask, aimed(ask, items), 10)
    assert len(found.ids) < 10
    assert len(sizes) == 1
