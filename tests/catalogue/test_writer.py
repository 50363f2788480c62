"""One thread writes, and what waits together is committed together."""

import errno
import sqlite3
import threading
import time

import pytest

from soundalike.catalogue.writer import Writer
from soundalike.errors import CatalogueError, Overloaded, StorageFull, UnknownCollection


class Recorder:
    """A writer over a table of words, and the statements it runs."""

    def __init__(self, path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE words (word TEXT UNIQUE)")
        self.statements = []
        connection.set_trace_callback(self.statements.append)
        self.path = path
        self.writer = Writer(connection)

    def add(self, word):
        def change(connection):
            connection.execute("INSERT INTO words VALUES (?)", (word,))
            return word

        return self.writer.write(change)

    def stored(self):
        with sqlite3.connect(self.path) as connection:
            return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY rowid")]

    def together(self, *actions):
        """Queue actions one by one while the writer is busy, so that they wait for one commit."""
        busy, release = threading.Event(), threading.Event()

        def wait(_):
            busy.set()
            release.wait()

        first = threading.Thread(target=self.writer.write, args=(wait,))
        first.start()
        busy.wait()
        threads = [threading.Thread(target=action) for action in actions]
        for waiting, thread in enumerate(threads, start=1):
            thread.start()
            while self.writer._jobs.qsize() < waiting:
                time.sleep(0.001)
        release.set()
        for thread in [first, *threads]:
            thread.join()


@pytest.fixture
def recorder(tmp_path):
    recorder = Recorder(tmp_path / "words.sqlite3")
    yield recorder
    recorder.writer.close()


def test_a_write_that_returned_is_committed(recorder):
    assert recorder.add("first") == "first"
    assert recorder.stored() == ["first"]


def test_what_waits_shares_one_commit(recorder):
    recorder.together(*(lambda word=word: recorder.add(word) for word in "abcdefgh"))
    assert sorted(recorder.stored()) == list("abcdefgh")
    assert recorder.statements.count("COMMIT") == 2


def test_one_that_fails_spoils_no_other(recorder):
    recorder.add("twice")
    failed = []

    def twice():
        with pytest.raises(sqlite3.IntegrityError):
            recorder.add("twice")
        failed.append(True)

    recorder.together(lambda: recorder.add("a"), twice, lambda: recorder.add("b"))
    assert failed
    assert sorted(recorder.stored()) == ["a", "b", "twice"]


def test_a_refusal_reaches_who_asked_and_no_other(recorder):
    def refuse(_):
        raise UnknownCollection("none")

    def refused():
        with pytest.raises(UnknownCollection):
            recorder.writer.write(refuse)

    recorder.together(lambda: recorder.add("a"), refused, lambda: recorder.add("b"))
    assert sorted(recorder.stored()) == ["a", "b"]


def test_what_was_written_before_a_refusal_is_undone_and_nothing_else(recorder):
    def refuse(connection):
        connection.execute("INSERT INTO words VALUES ('half')")
        raise UnknownCollection("none")

    def refused():
        with pytest.raises(UnknownCollection):
            recorder.writer.write(refuse)

    refused()
    recorder.together(lambda: recorder.add("a"), refused, lambda: recorder.add("b"))
    assert sorted(recorder.stored()) == ["a", "b"]


def test_a_file_that_another_keeps_to_itself_is_told_and_the_writer_goes_on(recorder):
    with sqlite3.connect(recorder.path) as other:
        other.execute("BEGIN IMMEDIATE")
        recorder.writer._connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(Overloaded) as told:
            recorder.add("too soon")
    other.close()
    assert told.value.facts["retry_after"] == 1
    recorder.add("after")
    assert recorder.stored() == ["after"]


def test_no_space_on_the_device_is_storage_full_and_the_writer_goes_on(recorder):
    def no_space(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageFull):
        recorder.writer.write(no_space)
    recorder.add("after")
    assert recorder.stored() == ["after"]


def test_closing_writes_what_was_accepted_and_refuses_the_rest(recorder):
    recorder.together(lambda: recorder.add("accepted"), recorder.writer.close)
    assert recorder.stored() == ["accepted"]
    with pytest.raises(CatalogueError, match="closed"):
        recorder.add("late")
