"""A log that is kept with the tests, and figures worked out by plain loops."""

import bz2
import hashlib
import math
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import pytest
from pyarrow import parquet

from soundalike.datasets import item_vectors
from soundalike.datasets.listening import Log
from soundalike.evaluation.heard import Dates, gather
from soundalike.evaluation.recommendations import try_out
from soundalike.evaluation.recommenders import Task, create
from soundalike.evaluation.splits import split

FOLDER = Path(__file__).parent / "small"
EVENTS, VECTORS = "userid_trackid_timestamp.tsv.bz2", "audio1_embeddings.parquet"
DIGESTS = {
    EVENTS: "be09f37c8bac5a37918d5b51f6720261fc580dbbf9d328d888d7385fb18acbbd",
    VECTORS: "29b837d30b6ef3d120979bdb0e5a8cbb46a66b50ba30947a85c618b493b6d5ab",
}
K = 10
EXACT = {  # at 5, 10, 20 and 50
    "recall": (0.200966, 0.344686, 0.431643, 0.607729),
    "hit_rate": (0.318841, 0.536232, 0.623188, 0.768116),
    "ndcg": (0.147268, 0.201763, 0.225785, 0.266653),
    "mrr": (0.177295, 0.206614, 0.212238, 0.216841),
    "precision": (0.075362, 0.063768, 0.038406, 0.021739),
    "map": (0.104831, 0.125989, 0.133362, 0.141484),
}
KS = (5, 10, 20, 50)


@pytest.mark.parametrize("name", DIGESTS)
def test_the_files_are_what_they_were(name):
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == DIGESTS[name]


@pytest.fixture(scope="module")
def ours():
    """Every figure by metric, k and user."""
    found = split(gather(Log(FOLDER / EVENTS), Dates.parse()))
    vectors, _ = item_vectors.read(FOLDER / VECTORS).rows(found.item_ids, found.warm)
    worth, _ = try_out(create("knn"), Task(found, vectors), "test", KS)
    users = [found.user_ids[user] for user in found.test]
    return {
        name: {k: dict(zip(users, of_k[k].tolist(), strict=True)) for k in KS}
        for name, of_k in worth.of_users.items()
    }


@pytest.mark.parametrize("name", EXACT)
def test_knn_has_its_exact_figures(ours, name):
    means = [sum(of_user.values()) / len(of_user) for of_user in ours[name].values()]
    assert means == pytest.approx(EXACT[name], abs=1e-6)


def test_knn_is_what_plain_loops_find(ours):
    """The split, the profile, the cosine, the list and the figures, without any of our code."""
    begin, test, end = (datetime(*date) for date in ((2018, 2, 20), (2019, 1, 20), (2019, 2, 20)))
    train, first = defaultdict(set), {}
    for line in bz2.decompress((FOLDER / EVENTS).read_bytes()).decode().splitlines()[1:]:
        user, item, text = line.split("\t")
        moment = datetime.fromisoformat(text)
        if begin <= moment < end:
            first[user, item] = min(first.get((user, item), moment), moment)
            if moment < test:
                train[user].add(item)
    warm = set().union(*train.values())
    held = defaultdict(set)
    for (user, item), moment in first.items():
        if moment >= test and user in train and item in warm:
            held[user].add(item)
    table = parquet.read_table(FOLDER / VECTORS).to_pylist()
    vectors = {row["track_id"]: [v for k, v in row.items() if k != "track_id"] for row in table}
    lengths = {name: math.hypot(*vector) for name, vector in vectors.items()}
    found = {name: ours[name][K] for name in ("recall", "ndcg")}
    assert set(found["recall"]) < set(held)
    for user in found["recall"]:
        profile = [sum(values) for values in zip(*(vectors[i] for i in train[user]), strict=True)]
        scores = {
            item: sum(a * b for a, b in zip(profile, vectors[item], strict=True)) / lengths[item]
            for item in warm - train[user]
        }
        best = sorted(scores, key=scores.get, reverse=True)[:K]
        right = [rank for rank, item in enumerate(best, 1) if item in held[user]]
        ideal = sum(1 / math.log2(r + 1) for r in range(1, min(len(held[user]), K) + 1))
        gain = sum(1 / math.log2(rank + 1) for rank in right)
        assert found["recall"][user] == pytest.approx(len(right) / len(held[user]))
        assert found["ndcg"][user] == pytest.approx(gain / ideal)
