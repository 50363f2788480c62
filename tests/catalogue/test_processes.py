"""Several processes share a folder: none is ever stale, and one that dies loses nothing."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.types import Item

SPACE = "fake/0123456789ab"
DIM = 8

# answers lines of JSON: [name of a method, arguments]
SERVES = """
import json, pathlib, sys
import numpy as np
from soundalike.catalogue import LocalCatalogue, snapshot
from soundalike.types import Item

snapshot.SHORT_TAIL_ROWS = 20
catalogue = LocalCatalogue(pathlib.Path(sys.argv[1]), exact_below=50)

def upsert(id, vector):
    return catalogue.upsert("c", [Item(id, np.array(vector, dtype=np.float32), {"of": id})])

def delete(id):
    return catalogue.delete("c", [id])

def nearest(vector):
    (answer,) = catalogue.recommend("c", [np.array(vector)], 1)
    return [[one.id, one.metadata["of"]] for one in answer.neighbours]

def index():
    return catalogue.describe("c").index

for line in sys.stdin:
    verb, *arguments = json.loads(line)
    print(json.dumps(globals()[verb](*arguments)))
    sys.stdout.flush()
"""

# writes with two threads and rebuilds with a third; a line for each write that was acknowledged
WRITES = """
import pathlib, sys, threading
import numpy as np
from soundalike.catalogue import LocalCatalogue, snapshot
from soundalike.types import Item

snapshot.SHORT_TAIL_ROWS = 20
name = sys.argv[2]
catalogue = LocalCatalogue(pathlib.Path(sys.argv[1]), exact_below=50)

def write(thread):
    number = 0
    while True:
        number += 1
        ids = [f"{name}-{thread}-{number}-{n}" for n in range(number % 3 + 1)]
        vectors = np.random.default_rng(number).normal(size=(len(ids), 8)).astype(np.float32)
        catalogue.upsert("c", [Item(id, vector) for id, vector in zip(ids, vectors)])
        gone = ids[1:2]
        catalogue.delete("c", gone)
        sys.stdout.write("".join(f"{id} {id not in gone:d}\\n" for id in ids))
        sys.stdout.flush()

def rebuild():
    while True:
        catalogue.rebuild("c")

for thread in range(2):
    threading.Thread(target=write, args=(thread,)).start()
threading.Thread(target=rebuild).start()
"""


class Worker:
    """Another process with the same folder open."""

    def __init__(self, directory):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVES, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait() == 0


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def directory(tmp_path):
    with LocalCatalogue(tmp_path) as catalogue:
        catalogue.create("c", space=SPACE, dim=DIM, engine="annoy")
    return tmp_path


def test_what_one_wrote_the_next_query_to_another_sees(directory):
    """Writes and queries go to either by chance, before and after an index was made."""
    rng = np.random.default_rng(0)
    workers = [Worker(directory), Worker(directory)]
    there = {}
    for step in range(300):
        if step == 150:
            for worker in workers:
                wait_until(lambda worker=worker: worker("index") == "ready")
        id = f"{rng.integers(150)}"
        if rng.random() < 0.2:
            assert workers[rng.integers(2)]("delete", id) == (id in there)
            there.pop(id, None)
        else:
            there[id] = rng.normal(size=DIM).tolist()
            assert workers[rng.integers(2)]("upsert", id, there[id]) == 1
            assert workers[rng.integers(2)]("nearest", there[id]) == [[id, id]], step
        for gone in {id} - there.keys():
            assert [gone, gone] not in workers[rng.integers(2)]("nearest", [1.0] * DIM)
    for worker in workers:
        worker.close()
    with LocalCatalogue(directory, exact_below=50) as catalogue:
        assert {one.id for one in catalogue.page("c", limit=1000)} == there.keys()


def kill_again_and_again(directory, times):
    """Let one process after the other write and build, each killed at a random moment."""
    there = {}
    chosen = random.randrange(1 << 32)
    print(f"random.Random({chosen})")
    moments = random.Random(chosen)
    for turn in range(times):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITES, str(directory), f"{turn}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [child.stdout.readline()]  # it came up, whatever the one before left
        assert lines[0]
        time.sleep(moments.uniform(0, 0.7))
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.stdout.close()
        child.wait()
        whole = [line.split() for line in lines if line.endswith("\n")]
        there |= {id: kept == "1" for id, kept in whole}
    return there


def held(catalogue):
    found, last = set(), ""
    while page := catalogue.page("c", after=last, limit=1000):
        found |= {one.id for one in page}
        last = page[-1].id
    return found


def check_kills(directory, times):
    there = kill_again_and_again(directory, times)
    with LocalCatalogue(directory, exact_below=50) as catalogue:
        found = held(catalogue)
        assert {id for id, kept in there.items() if kept} <= found
        assert not {id for id, kept in there.items() if not kept} & found
        assert catalogue.rebuild("c").indexed == catalogue.describe("c").count == len(found)
        leftover = [path for path in (directory / "indexes").glob("*/*") if path.is_dir()]
        assert len(leftover) == 1


def test_twenty_kills_lose_no_acknowledged_write(directory):
    check_kills(directory, 20)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_five_hundred_kills_lose_no_acknowledged_write(directory):
    check_kills(directory, 500)


def test_the_index_that_one_made_serves_the_other(directory):
    vectors = np.random.default_rng(0).normal(size=(60, DIM)).astype(np.float32)
    items = [Item(f"{n:02}", vector) for n, vector in enumerate(vectors)]
    with (
        LocalCatalogue(directory, exact_below=50) as one,
        LocalCatalogue(directory, exact_below=50) as other,
    ):
        one.upsert("c", items)
        info = one.rebuild("c")
        assert (info.index, info.indexed) == ("ready", 60)
        wait_until(lambda: other.describe("c").indexed == 60)
        assert other.describe("c") == one.describe("c")


@pytest.mark.parametrize("count", [60, 10])
def test_a_transform_that_one_set_ranks_for_the_other_at_once(directory, count):
    vectors = np.random.default_rng(0).normal(size=(60, DIM)).astype(np.float32) + 3
    with (
        LocalCatalogue(directory, exact_below=count) as one,
        LocalCatalogue(directory, exact_below=count) as other,
    ):
        one.upsert("c", [Item(f"{n:02}", vector) for n, vector in enumerate(vectors)])
        assert other.recommend("c", ["00"])[0].neighbours[0].rank_score is None
        for transform in ("centre", "pca:3", None):
            info = one.set_transform("c", transform)
            assert other.describe("c").transform == transform == info.transform
            answers = [each.recommend("c", ["00"], exact=True) for each in (one, other)]
            assert answers[0] == answers[1]
            assert (answers[0][0].neighbours[0].rank_score is None) == (transform is None)


def test_names_that_one_changed_are_those_of_the_other(directory):
    with LocalCatalogue(directory) as one, LocalCatalogue(directory) as other:
        one.create("d", space=SPACE, dim=DIM)
        other.upsert("d", [Item("a", np.ones(DIM, dtype=np.float32))])
        assert one.get("d", "a").id == "a"
        aside = one.point("c", "d")
        assert other.aliases() == {"c": "d"}
        assert other.get("c", "a").id == "a"
        assert [info.name for info in other.collections()] == sorted([aside, "d"])
        other.drop("d")
        assert [info.name for info in one.collections()] == [aside]
