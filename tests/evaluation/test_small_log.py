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
EXACT = {"recall": 0.344686, "ndcg": 0.201763}


@pytest.mark.parametrize("name", DIGESTS)
def test_the_files_are_what_they_were(name):
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == DIGESTS[name]


def ours():
    found = split(gather(Log(FOLDER / EVENTS), Dates.parse()))
    vectors, _ = item_vectors.read(FOLDER / VECTORS).rows(found.item_ids, found.warm)
    worth, _ = try_out(create("knn"), Task(found, vectors), "test", [K])
    users = [found.user_ids[user] for user in found.test]
    return {name: dict(zip(users, worth.of_users[name][K].tolist(), strict=True)) for name in EXACT}


def test_knn_has_its_exact_figures():
    means = {name: sum(of_user.values()) / len(of_user) for name, of_user in ours().items()}
    assert means == pytest.approx(EXACT, abs=1e-6)


def test_knn_is_what_plain_loops_find():
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
    found = ours()
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
