"""The service is killed at random moments, and every write that it acknowledged is there."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.recommender.processes import Service, wait_until

SPACE, DIM, LARGE = "fake/0123456789ab", 8, 11_000
SEED = random.SystemRandom().randrange(1 << 32)
AT_ONCE, PAGE = 2000, 1000
LATEST_KILL_S = 0.5
POLL_S = 0.02


def vector(*seed):
    return np.random.default_rng(seed).normal(size=DIM).round(6).tolist()


class Load:
    """Clients that write, delete, rebuild, snapshot and restore, and note what was acknowledged.

    Attributes
    ----------
    held : dict of str to int or None
        For each item what it must hold now, or None where it must be gone; an item whose last
        write was not answered is in `unsure` instead.
    restored : dict of str to int
        How many items each collection that was restored must hold.
    """

    def __init__(self, url):
        self.url = url
        self.held, self.unsure, self.restored = {}, set(), {}
        self.paused, self.stopped = threading.Event(), threading.Event()
        self.faults, self.snapshots = [], 0
        jobs = [self.write, self.write, self.do_chores]
        self.idle = [threading.Event() for _ in jobs]
        self.threads = [
            threading.Thread(target=self.repeat, args=(job, number))
            for number, job in enumerate(jobs)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.paused.clear()
        for thread in self.threads:
            thread.join()

    def repeat(self, job, number):
        turn = 0
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self.stopped.is_set():
                if self.paused.is_set():
                    self.idle[number].set()
                    time.sleep(POLL_S)
                    continue
                self.idle[number].clear()
                try:
                    job(client, number, turn)
                except httpx.TransportError:
                    time.sleep(POLL_S)  # it was killed under this request
                except Exception as fault:
                    self.faults.append(fault)
                    return
                turn += 1

    def pause(self):
        """Wait until nobody is asking for anything."""
        self.paused.set()
        for thread, idle in zip(self.threads, self.idle, strict=True):
            wait_until(lambda t=thread, i=idle: i.is_set() or not t.is_alive())

    def write(self, client, number, turn):
        item = f"w-{number}-{turn % 400:03}"
        self.unsure.add(item)
        if turn % 7 == 6:
            self.ok(client.post("/collections/c/items/delete", json={"ids": [item]}))
            self.held[item] = None
        else:
            written = {"id": item, "vector": vector(number, turn), "metadata": {"turn": turn}}
            self.ok(client.put("/collections/c/items", json={"items": [written]}))
            self.held[item] = turn
        self.unsure.discard(item)

    def do_chores(self, client, _, turn):
        if turn % 2:
            self.ok(client.post("/collections/c/rebuild"))
            return
        snapshot = self.ok(client.post("/collections/small/snapshot")).content
        name = f"restored-{turn}"
        held = self.ok(client.post(f"/collections/{name}/restore", content=snapshot)).json()
        self.restored[name] = held["items"]

    @staticmethod
    def ok(answer):
        assert answer.is_success, answer.text
        return answer


def fill(client):
    for name, size in (("c", LARGE), ("small", AT_ONCE)):
        client.put(f"/collections/{name}", json={"space": SPACE, "dim": DIM})
        for start in range(0, size, AT_ONCE):
            rows = range(start, min(size, start + AT_ONCE))
            items = [{"id": f"base-{row:05}", "vector": vector(row)} for row in rows]
            client.put(f"/collections/{name}/items", json={"items": items})


def pages(client, after):
    while after is not None:
        page = Load.ok(client.get("/collections/c/items", params={"after": after})).json()
        yield from page["items"]
        after = page["next"]


def assert_nothing_was_lost(client, load, folder):
    assert not load.faults, load.faults
    there = {one["id"]: one["metadata"]["turn"] for one in pages(client, "w")}
    for item, turn in load.held.items():
        assert item in load.unsure or there.get(item) == turn, item
    told = {one["name"]: one for one in client.get("/collections").json()["collections"]}
    assert told["c"]["items"] == LARGE + len(there)
    for name, held in load.restored.items():
        assert told[name]["items"] == held
    for name in told.keys() - {"c", "small"}:  # also those of which nobody heard any more
        assert told[name]["items"] == AT_ONCE
        client.delete(f"/collections/{name}")
        load.restored.pop(name, None)
    assert not [file for file in folder.iterdir() if file.name.startswith("tmp")]


def assert_the_last_write_is_found(client, load):
    sure = {one: turn for one, turn in load.held.items() if turn and one not in load.unsure}
    if sure:
        item, turn = sure.popitem()
        body = {"vector": vector(int(item[2]), turn), "k": 1, "collection": "c", "exact": True}
        (found,) = Load.ok(client.post("/recommend", json=body)).json()["results"]
        assert (found["id"], found["metadata"]) == (item, {"turn": turn})


def started_for(folder):
    """Processes whose command line names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process] if os.fsencode(folder) in (process / "cmdline").read_bytes() else []
        except OSError:
            continue  # it ended meanwhile
    return found


class Alone:
    """One process, which is started again after it was killed."""

    def __init__(self, folder):
        self.folder = folder
        self.service = Service(folder)

    def kill(self, rng):
        self.service.stop(signal.SIGKILL)
        port = self.service.port
        self.service = Service(self.folder, port=port)


class Two:
    """Two workers, of which the one that is killed is replaced by itself."""

    def __init__(self, folder):
        self.service = Service(folder, "--workers", "2")

    def kill(self, rng):
        before = wait_until(lambda: (found := self.service.workers())[1:] and found)
        victim = rng.choice(before)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(self.service.workers()) - {victim}) == 2)


def kill_and_look(folder, make, kills):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    running = make(folder)
    try:
        running.service.wait_until_ready()
        with running.service.client() as client:
            fill(client)
        with Load(running.service.url) as load:
            for _ in range(kills):
                time.sleep(rng.uniform(0, LATEST_KILL_S))
                running.kill(rng)
                load.pause()
                running.service.wait_until_ready()
                with running.service.client() as client:
                    assert_nothing_was_lost(client, load, folder)
                    assert_the_last_write_is_found(client, load)
                load.paused.clear()
            assert len(load.held) > kills
        running.service.stop()
        wait_until(lambda: not started_for(folder), within_s=30)
    finally:
        for pid in [*running.service.workers(), running.service.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        running.service.process.wait()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("make", [Alone, Two])
def test_what_was_acknowledged_survives_ten_kills(tmp_path, make):
    kill_and_look(tmp_path, make, 10)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make", [Alone, Two])
def test_what_was_acknowledged_survives_hundreds_of_kills(tmp_path, make):
    kill_and_look(tmp_path, make, 250)
