"""One behaviour, whatever the engine: `exact` compares everything, and is the oracle."""

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.types import Item

SPACE = "fake/0123456789ab"
DIM, SPREAD, COUNT, K = 192, 24, 1200, 10  # along so few directions that an index may be narrow
ENGINES = ["exact", "annoy", "faiss"]


def clustered(count, seed):
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    centres, basis = fixed.normal(size=(20, SPREAD)), np.linalg.qr(fixed.normal(size=(DIM, SPREAD)))
    points = centres[rng.integers(0, 20, count)] + rng.normal(size=(count, SPREAD))
    noise = 0.02 * rng.normal(size=(count, DIM))
    return (points @ basis[0].T + noise).astype(np.float32)


QUERIES = clustered(60, seed=2)


def items(vectors, prefix=""):
    return [Item(f"{prefix}{n:04}", vector, {"n": n}) for n, vector in enumerate(vectors)]


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return request.param


@pytest.fixture
def catalogue(tmp_path, built_here, engines_serve):
    with LocalCatalogue(tmp_path, exact_below=100) as catalogue:
        yield catalogue


@pytest.fixture
def filled(catalogue, engine):
    catalogue.create("c", space=SPACE, dim=DIM, engine=engine)
    catalogue.upsert("c", items(clustered(COUNT, seed=1)))
    catalogue.rebuild("c")
    return catalogue


def ids(answer):
    return [one.id for one in answer.neighbours]


def ask(catalogue, queries, **how):
    return [catalogue.recommend("c", [query], K, **how)[0] for query in queries]


def recall(catalogue, queries):
    """Share of the neighbours found, by score, for of equal ones any may be found."""
    shares = []
    for query in queries:
        (right,) = catalogue.recommend("c", [query], K, exact=True)
        (found,) = catalogue.recommend("c", [query], K)
        last = right.neighbours[-1].score
        shares.append(np.mean([one.score >= last for one in found.neighbours]))
    return np.mean(shares)


def test_it_serves_and_says_so(filled, engine):
    info = filled.describe("c")
    indexed = engine != "exact"
    assert (info.count, info.indexed) == (COUNT, COUNT if indexed else 0)
    assert (info.index, info.note) == ("ready" if indexed else "none", None)
    answers = ask(filled, QUERIES[:5])
    assert {one.exact for one in answers} == {not indexed}
    assert {one.recall for one in answers} == {info.recall}


def test_what_is_indexed_are_few_numbers_of_each_vector(filled, engine, tmp_path):
    narrow = list(tmp_path.glob("indexes/*/*/narrowing.npy"))
    assert [np.load(one).shape for one in narrow] == ([] if engine == "exact" else [(DIM, 64)])


def test_most_neighbours_are_found_and_their_scores_are_the_cosines(filled):
    vectors = clustered(COUNT, seed=1).astype(np.float64)
    for answer, query in zip(ask(filled, QUERIES), QUERIES.astype(np.float64), strict=True):
        assert len(answer.neighbours) == K
        order = [(-one.score, one.id) for one in answer.neighbours]
        assert order == sorted(order)
        for one in answer.neighbours:
            own = vectors[int(one.id)]
            cosine = own @ query / np.linalg.norm(own) / np.linalg.norm(query)
            assert abs(one.score - cosine) <= 1e-6
            assert one.metadata == {"n": int(one.id)}
    assert recall(filled, QUERIES) >= 0.9


def test_what_is_found_by_both_is_scored_the_same(filled):
    for query in QUERIES:
        (found,) = filled.recommend("c", [query], K)
        (right,) = filled.recommend("c", [query], K, exact=True)
        scores = {one.id: one.score for one in right.neighbours}
        for one in found.neighbours:
            assert scores.get(one.id, one.score) == one.score


def test_many_queries_are_answered_as_each_alone(filled):
    alone = ask(filled, QUERIES[:8])
    assert filled.recommend("c", list(QUERIES[:8]), K) == alone


def test_an_item_finds_itself_by_its_vector_and_not_by_its_id(filled):
    vectors = clustered(COUNT, seed=1)
    found = [filled.recommend("c", [vectors[n]], 1)[0] for n in range(0, COUNT, 100)]
    itself = [ids(one) == [f"{100 * n:04}"] for n, one in enumerate(found)]
    assert np.mean(itself) >= 0.9
    for n in range(0, COUNT, 400):
        (answer,) = filled.recommend("c", [f"{n:04}"], K)
        assert len(answer.neighbours) == K
        assert f"{n:04}" not in ids(answer)


def test_the_next_query_sees_what_was_written_replaced_and_deleted(filled):
    new = -clustered(1, seed=9)[0]
    filled.upsert("c", [Item("new", new)])
    assert ids(filled.recommend("c", [new], 1)[0]) == ["new"]
    filled.upsert("c", [Item("new", -new), Item("0007", new)])
    assert ids(filled.recommend("c", [new], 1)[0]) == ["0007"]
    filled.upsert("c", [Item("0007", new, {"label": "rain"})])
    assert filled.recommend("c", [new], 1)[0].neighbours[0].metadata == {"label": "rain"}
    filled.delete("c", ["0007"])
    for k in (1, K, 100):
        assert "0007" not in ids(filled.recommend("c", [new], k)[0])


def test_where_the_dead_were_all_that_was_near_the_next_nearest_are_found(filled):
    query = QUERIES[0]
    (near,) = filled.recommend("c", [query], 200, exact=True)
    filled.delete("c", ids(near)[:190])
    (answer,) = filled.recommend("c", [query], K)
    assert ids(answer) == ids(near)[190:]


def test_asking_for_more_than_there_are_gives_all(filled):
    filled.delete("c", [f"{n:04}" for n in range(COUNT - 800)])
    (answer,) = filled.recommend("c", [QUERIES[0]], 1000)
    assert len(answer.neighbours) == 800


@pytest.mark.parametrize("k", [1, 3, K])
def test_half_of_the_vectors_identical_hide_nothing(catalogue, engine, k):
    vectors = clustered(COUNT, seed=1)
    vectors[::2] = vectors[0]
    catalogue.create("c", space=SPACE, dim=DIM, engine=engine)
    catalogue.upsert("c", items(vectors))
    catalogue.rebuild("c")
    assert recall(catalogue, QUERIES) >= 0.95 - 0.03  # 600 neighbours tell it to within 0.01
    (same,) = catalogue.recommend("c", [vectors[0]], k)
    assert ids(same) == [f"{2 * n:04}" for n in range(k)]
    own = [ids(catalogue.recommend("c", [vectors[n]], 1)[0]) for n in range(1, COUNT, 30)]
    assert np.mean([one == [f"{30 * n + 1:04}"] for n, one in enumerate(own)]) >= 0.95


def test_a_crowd_closer_than_half_precision_tells_is_told_apart(catalogue, engine):
    crowd = clustered(1, seed=1) + 1e-5 * np.random.default_rng(3).normal(size=(COUNT, DIM))
    catalogue.create("c", space=SPACE, dim=DIM, engine=engine)
    catalogue.upsert("c", items(crowd.astype(np.float32)))
    catalogue.rebuild("c")
    assert recall(catalogue, crowd[:60]) >= 0.95 - 0.03


def test_a_restart_answers_the_same_without_building(filled, tmp_path, monkeypatch):
    before = filled.describe("c"), ask(filled, QUERIES)
    filled.upsert("c", [Item("0007", QUERIES[0]), Item("late", QUERIES[1])])
    filled.delete("c", ["0008"])
    after = filled.describe("c"), ask(filled, QUERIES)
    assert after != before
    filled.close()
    monkeypatch.setattr("soundalike.catalogue.building.build", None)
    with LocalCatalogue(tmp_path, exact_below=100) as again:
        assert (again.describe("c"), ask(again, QUERIES)) == after


def test_engines_rank_alike_with_a_transform(filled):
    filled.set_transform("c", "centre+csls:5")
    for query in QUERIES[:10]:
        (found,) = filled.recommend("c", [query], K)
        (right,) = filled.recommend("c", [query], K, exact=True)
        ranks = {one.id: (one.rank_score, one.score) for one in right.neighbours}
        for one in found.neighbours:
            assert ranks.get(one.id, (one.rank_score, one.score)) == (one.rank_score, one.score)


@pytest.mark.parametrize("target", [0.5, 0.999])
def test_the_recall_target_is_met_and_told(tmp_path, built_here, engines_serve, target):
    with LocalCatalogue(tmp_path, exact_below=100, recall_target=target) as catalogue:
        catalogue.create("c", space=SPACE, dim=DIM, engine="annoy")
        catalogue.upsert("c", items(clustered(COUNT, seed=1)))
        told = catalogue.rebuild("c").recall
        assert target <= told <= 1
        assert recall(catalogue, QUERIES) >= told - 0.06
        assert told < 0.9 or target > 0.9
