import asyncio
import io
import threading
import time
from functools import partial

import numpy as np
import pytest

from services.embedder.backlog import Backlog
from services.embedder.batching import Batching, Wish
from services.embedder.counters import Counters
from services.embedder.passes import FORGIVEN_AFTER_S, Health, Passes, _Waiting
from soundalike.embedders.fake import Fake
from soundalike.errors import OutOfMemory, Overloaded, Silent
from soundalike.extract.extractor import Extractor
from tests.sounds import encoded, noise

RATE = 8_000


class Device(Fake):
    """The fake on a device that notes its passes and has memory for so many windows."""

    largest_batch = 8

    def __init__(self, memory=1000):
        super().__init__()
        self.memory = memory
        self.passes = []
        self.free = threading.Event()
        self.free.set()

    def run(self, batch):
        assert self.free.wait(10)
        self.passes.append([one.shape for one in batch])
        if len(batch) > self.memory:
            raise OutOfMemory("The device has no memory left.")
        return super().run(batch)


class Processor(Device):
    largest_batch = 1


def sound(seconds=1.0, seed=0):
    return io.BytesIO(encoded(noise(seconds, RATE, seed), RATE, subtype="FLOAT"))


def batching(threads=2, queue_seconds=1000, cache=None):
    return Batching(threads, queue_seconds, Counters(), cache)


async def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def embed_all(device, sounds, **settings):
    async def embed():
        work = batching(**settings)
        extractor = Extractor(device)
        device.free.clear()
        one = asyncio.ensure_future(work.embed(extractor, sounds[0], Wish()))
        # the first pass holds the device while the others come
        await until(lambda: not work._passes._waiting and work.backlog.sounds)
        await asyncio.sleep(0.05)
        rest = asyncio.ensure_future(work.embed_all(extractor, sounds[1:], Wish()))
        windows = len(sounds) - 1
        await until(lambda: len(work._passes._waiting) == windows)
        device.free.set()
        found = [await one, *await rest]
        work.close()
        return found, work

    return asyncio.run(embed())


def test_batches_form_while_the_last_one_runs_and_change_no_vector():
    device = Device()
    found, _ = embed_all(device, [sound(seed=seed) for seed in range(12)])
    assert [len(one) for one in device.passes] == [1, 8, 3]
    for seed, extraction in enumerate(found):
        alone = Extractor(Fake()).extract(sound(seed=seed))
        np.testing.assert_array_equal(extraction.vector, alone.vector)


def test_only_windows_of_equal_length_go_together():
    device = Device()
    lengths = [1.0, 1.0, 0.5, 1.0, 0.5]
    embed_all(device, [sound(seconds) for seconds in lengths])
    first, *others = device.passes
    assert first == [(8000,)]
    assert sorted(others) == [[(4000,)] * 2, [(8000,)] * 2]


def test_a_batch_that_is_too_much_is_halved_until_it_fits():
    device = Device(memory=2)
    found, work = embed_all(device, [sound(seed=seed) for seed in range(9)])
    assert [len(one) for one in device.passes] == [1, 8, 4, 2, 2, 4, 2, 2]
    assert work.health.is_good
    assert len({tuple(one.vector) for one in found}) == 9


def test_what_does_not_fit_alone_fails_alone_and_the_service_recovers():
    device = Device(memory=0)

    async def embed():
        work = batching()
        for failures in range(3):
            assert work.health.is_good, failures
            with pytest.raises(OutOfMemory):
                await work.embed(Extractor(device), sound(), Wish())
        assert not work.health.is_good
        device.memory = 1
        await work.embed(Extractor(device), sound(), Wish())
        assert work.health.is_good
        work.close()

    asyncio.run(embed())


def test_failures_on_the_processor_count_too():
    processor = Processor(memory=0)

    async def embed():
        work = batching()
        for _ in range(3):
            with pytest.raises(OutOfMemory):
                await work.embed(Extractor(processor), sound(), Wish())
        assert not work.health.is_good
        work.close()

    asyncio.run(embed())


def test_failures_are_forgiven_in_time():
    now = [100.0]
    health = Health(lambda: now[0])
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), health.judged():
            raise ZeroDivisionError
    assert not health.is_good
    now[0] += FORGIVEN_AFTER_S + 1
    assert health.is_good


@pytest.mark.parametrize("kind", [Processor, Device])
def test_of_a_client_that_went_away_only_the_window_that_runs_is_finished(kind):
    device = kind()

    async def embed():
        work = batching(threads=1)
        extractor = Extractor(device)
        device.free.clear()
        running = asyncio.ensure_future(work.embed(extractor, sound(3.0), Wish()))
        await until(lambda: work.backlog.sounds == 1)
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(work.embed(extractor, sound(1.0, seed=1), Wish()))
        await until(lambda: work.backlog.sounds == 2)
        for one in (running, waiting):
            one.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert work.backlog.seconds >= 3, "a thread is still busy with it"
        device.free.set()
        await until(lambda: work.backlog.seconds == 0)
        await work.embed(extractor, sound(0.5), Wish())
        work.close()

    asyncio.run(embed())
    assert len(device.passes) == 2, "the window that ran, and the sound that came afterwards"
    assert device.passes[-1] == [(4000,)]


def test_a_full_queue_refuses_and_says_when_to_come_back():
    device = Processor()

    async def embed():
        work = batching(threads=1, queue_seconds=5)
        extractor = Extractor(device)
        device.free.clear()
        tasks = [asyncio.ensure_future(work.embed(extractor, sound(2.0), Wish())) for _ in "ab"]
        await until(lambda: work.backlog.seconds == 4)
        with pytest.raises(Overloaded) as refused:
            await work.embed(extractor, sound(2.0), Wish())
        assert refused.value.facts["retry_after"] >= 1
        assert refused.value.facts["limit"] == 5
        device.free.set()
        await asyncio.gather(*tasks)
        await work.embed(extractor, sound(60.0), Wish())  # alone it is taken, however long
        work.close()

    asyncio.run(embed())


def test_other_work_waits_its_turn_among_the_sounds():
    device, done = Processor(), []

    async def embed():
        work = batching(threads=1, queue_seconds=5)
        device.free.clear()
        heard = asyncio.ensure_future(work.embed(Extractor(device), sound(2.0), Wish()))
        await until(lambda: work.backlog.seconds == 2)
        waiting = [asyncio.ensure_future(work.do(1, partial(done.append, each))) for each in "ab"]
        await until(lambda: work.backlog.seconds == 4)
        with pytest.raises(Overloaded):
            await work.do(2, partial(done.append, "c"))
        waiting[0].cancel()
        await until(lambda: work.backlog.seconds == 3)
        assert not done
        device.free.set()
        await asyncio.gather(heard, waiting[1])
        await until(lambda: work.backlog.seconds == 0)
        work.close()

    asyncio.run(embed())
    assert done == ["b"]


def test_when_to_come_back_is_worked_out_from_what_was_done():
    now = [0.0]
    backlog = Backlog(100, lambda: now[0])
    backlog.enter(60)
    now[0] = 6.0  # ten seconds of sound a second
    backlog.leave(60, done=True)
    backlog.enter(100)
    assert retry_after(backlog, 50) == 5
    backlog.leave(100, done=False)
    assert (backlog.seconds, backlog.sounds) == (0, 0)


def retry_after(backlog, seconds):
    with pytest.raises(Overloaded) as refused:
        backlog.enter(seconds)
    return refused.value.facts["retry_after"]


def test_nobody_is_sent_away_for_longer_than_ten_minutes():
    now = [0.0]
    backlog = Backlog(100, lambda: now[0])
    backlog.enter(10)
    now[0] = 1.0
    backlog.leave(10, done=True)
    backlog.enter(100)
    for hours in (0.5, 8, 8.6, 20):
        now[0] = hours * 3600
        assert 1 <= retry_after(backlog, 10) <= 600


def test_sounds_that_cannot_be_used_make_room_too():
    async def embed():
        work = batching(threads=1, queue_seconds=5)
        for _ in range(3):
            with pytest.raises(Silent):
                await work.embed(Extractor(Processor()), silence(), Wish())
        work.close()
        return work.backlog._done_s

    assert asyncio.run(embed()) > 2.9


def silence():
    return io.BytesIO(encoded(np.zeros((RATE, 1), np.float32), RATE))


@pytest.mark.parametrize("kind", [Processor, Device])
def test_sounds_of_one_request_wait_for_each_other(kind):
    async def embed():
        work = batching(threads=2, queue_seconds=3)
        sounds = [sound(2.0, seed=seed) for seed in range(4)]
        found = await work.embed_all(Extractor(kind()), sounds, Wish())
        work.close()
        return found

    for seed, extraction in enumerate(asyncio.run(embed())):
        alone = Extractor(Fake()).extract(sound(2.0, seed=seed))
        np.testing.assert_array_equal(extraction.vector, alone.vector)


def test_a_request_is_refused_where_others_fill_the_queue():
    device = Processor()

    async def embed():
        work = batching(threads=1, queue_seconds=3)
        device.free.clear()
        other = asyncio.ensure_future(work.embed(Extractor(device), sound(2.0), Wish()))
        await until(lambda: work.backlog.sounds)
        refused = await work.embed_all(Extractor(device), [sound(2.0), sound(2.0)], Wish())
        device.free.set()
        await other
        work.close()
        return refused

    assert [type(fault) for fault in asyncio.run(embed())] == [Overloaded] * 2


class Picky:
    """Fails where a window of the batch begins below zero; `short` makes it answer too little."""

    largest_batch = 32

    def __init__(self, *, short=False):
        self.short = short

    def run(self, batch):
        if any(window[0] < 0 for window in batch):
            raise RuntimeError("a bad window")
        return batch[1:] if self.short else batch


def run_together(passes, embedder, firsts):
    windows = [np.array([first], np.float32) for first in firsts]
    entries = [_Waiting(embedder, window, threading.Event()) for window in windows]
    passes._settle(entries)
    return [entry.frames.exception(0) or entry.frames.result(0) for entry in entries]


def test_of_a_batch_that_fails_only_the_window_at_fault_does():
    health = Health()
    found = run_together(Passes(health, lambda size: None), Picky(), [1, 2, -3, 4, 5])
    assert [one[0] for one in found if not isinstance(one, RuntimeError)] == [1, 2, 4, 5]
    assert isinstance(found[2], RuntimeError)
    assert health.is_good


def test_a_device_that_fails_every_batch_is_broken_until_a_batch_succeeds():
    health = Health()
    passes = Passes(health, lambda size: None)
    run_together(passes, Picky(), [-1, -2, -3])
    assert not health.is_good
    run_together(passes, Picky(), [1, 2])
    assert health.is_good


def test_an_answer_of_the_wrong_length_leaves_the_device_at_work():
    passes = Passes(Health(), lambda size: None)
    window, here = np.ones(1, np.float32), threading.Event()
    with pytest.raises(ValueError, match="shorter"):
        passes.run(Picky(short=True), [window, window], here)
    assert passes.run(Picky(), [window], here) == [window]
    passes.close()
