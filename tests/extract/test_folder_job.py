import base64
import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest

from soundalike.embedders.fake import Fake
from soundalike.errors import BadRequest, StorageFull, UnknownModel
from soundalike.extract import workers
from soundalike.extract.folder import Job, planned
from soundalike.extract.found import survey
from soundalike.extract.listener import Fault, Listener, Told
from soundalike.extract.loading import Extractors
from tests.catalogue.test_building import files_of_at_most
from tests.extract.folders import Counting, Record, arrays, extract, kept, lines, touch, write
from tests.sounds import encoded, noise, tone


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "in", a=200, rock__b=300, rock__live__c=400)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


class TestWhatIsWritten:
    def test_each_model_has_a_folder_like_that_of_the_sounds(self, source, out):
        record, heard = extract(source, out)
        assert heard == ["a.wav", "rock/b.wav", "rock/live/c.wav"]
        assert set(record.states.values()) == {"done"}
        names = ("a.npy", "rock/b.npy", "rock/live/c.npy")
        written = arrays(out)
        assert list(written) == [f"{m}/{n}" for m in ("fake", "fake_sign=minus") for n in names]
        for name in names:
            np.testing.assert_array_equal(
                written[f"fake/{name}"], -written[f"fake_sign=minus/{name}"]
            )

    def test_it_is_what_the_service_answers(self, source, out):
        extract(source, out, ["mfcc"])
        one = Extractors().get("mfcc")
        for sound in survey(source).sounds:
            frames = one.extract(sound.path, "none").values
            whole = one.extract(sound.path)
            line = lines(out, "mfcc")[sound.file]
            written = np.load(out / "mfcc" / line["output"])
            np.testing.assert_array_equal(written, frames)
            assert written.dtype == np.float32
            vector = np.frombuffer(base64.b64decode(line["vector"]), "<f4")
            np.testing.assert_array_equal(vector, whole.vector)
            assert line["space"] == str(whole.space)
            audio = asdict(whole.audio)
            assert {name: line[name] for name in ("seconds", "format", "silent")} == {
                name: audio[name] for name in ("seconds", "format", "silent")
            }

    def test_a_line_tells_what_was_heard_and_by_what(self, source, out):
        import hashlib

        extract(source, out)
        line = lines(out, "fake_sign=minus")["rock/b.wav"]
        path = source / "rock" / "b.wav"
        assert line["file"] == "rock/b.wav"
        assert line["path"] == str(path)
        assert line["output"] == "rock/b.npy"
        assert line["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert line["bytes"] == path.stat().st_size
        assert line["seconds"] == pytest.approx(0.6)
        assert (line["shape"], line["dtype"], line["error"]) == ([1, 8], "float32", None)
        assert line["model"] == "fake:sign=minus"
        assert line["settings"] == {
            "sign": "minus", "pooling": "mean",
            "device": "cpu", "runtime": "numpy", "precision": "float32",
        }  # fmt: skip

    def test_frames_of_one_column_have_one_axis(self, source, out, monkeypatch):
        monkeypatch.setattr(Fake, "run", lambda self, batch: [np.ones((3, 1), "f4") for _ in batch])
        card = Fake.card
        from dataclasses import replace

        monkeypatch.setattr(Fake, "card", replace(card, frame_dim=1, dim=1))
        extract(source, out, ["fake"])
        assert arrays(out)["fake/a.npy"].shape == (3,)

    def test_sounds_of_one_name_do_not_overwrite_each_other(self, source, out):
        (source / "a.flac").write_bytes(encoded(noise(0.5, 8_000), 8_000, "FLAC"))
        extract(source, out, ["fake"])
        written = arrays(out)
        assert {"fake/a.wav.npy", "fake/a.flac.npy", "fake/rock/b.npy"} <= set(written)
        assert not np.array_equal(written["fake/a.wav.npy"], written["fake/a.flac.npy"])

    def test_vectors_come_as_a_table_in_the_order_of_names(self, source, out):
        from pyarrow import parquet

        extract(source, out, ["fake"], vectors=True)
        table = parquet.read_table(out / "fake.parquet")
        assert table.column_names == ["id", "space", "vector", "metadata"]
        assert str(table.schema.field("vector").type) == "list<element: float>"
        rows = table.to_pylist()
        assert [row["id"] for row in rows] == ["a.wav", "rock/b.wav", "rock/live/c.wav"]
        one = Extractors().get("fake").extract(source / "rock" / "b.wav")
        assert rows[1]["space"] == str(one.space)
        np.testing.assert_array_equal(np.float32(rows[1]["vector"]), one.vector)
        metadata = json.loads(rows[1]["metadata"])
        assert (metadata["title"], metadata["label"]) == ("b", "rock")
        assert metadata["path"] == str(source / "rock" / "b.wav")
        assert metadata.keys() >= {"seconds", "format", "silent", "sha256", "fingerprint"}
        assert "label" not in json.loads(rows[0]["metadata"])

    def test_vectors_can_be_asked_for_afterwards(self, source, out, tmp_path):
        extract(source, out, ["fake"])
        _, heard = extract(source, out, ["fake"], skip_existing=True, vectors=True)
        extract(source, tmp_path / "other", ["fake"], vectors=True)
        assert heard == []
        assert (out / "fake.parquet").read_bytes() == (
            tmp_path / "other" / "fake.parquet"
        ).read_bytes()

    def test_without_pyarrow_it_is_said_at_once(self, source, out, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(BadRequest, match="needs pyarrow"):
            extract(source, out, vectors=True)
        assert not out.exists()


class TestResuming:
    def test_what_is_whole_is_left_alone(self, source, out):
        extract(source, out)
        before = kept(out)
        record, heard = extract(source, out, skip_existing=True)
        assert (heard, set(record.states.values())) == ([], {"skipped"})
        assert kept(out) == before

    def test_without_being_told_to_skip_all_is_heard_again(self, source, out):
        extract(source, out)
        assert len(extract(source, out)[1]) == 3

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda path: path.write_bytes(path.read_bytes()[:-4]),
            lambda path: path.write_bytes(b"not an array" * 10),
            lambda path: np.save(path, np.zeros((9, 8), np.float32)),
            lambda path: path.unlink(),
        ],
        ids=["cut", "damaged", "of another shape", "gone"],
    )
    def test_what_is_not_whole_is_made_again(self, source, out, spoil):
        extract(source, out)
        before = kept(out)
        spoil(out / "fake" / "rock" / "b.npy")
        record, heard = extract(source, out, skip_existing=True)
        assert heard == ["rock/b.wav"]
        assert record.states["rock/b.wav"] == {"done", "skipped"}
        assert kept(out) == before

    def test_what_is_of_another_space_is_made_again(self, source, out, monkeypatch):
        extract(source, out, ["fake"])
        monkeypatch.setitem(Fake.card.front_end, "version", 2)
        record, heard = extract(source, out, ["fake"], skip_existing=True)
        assert (len(heard), set(record.states.values())) == (3, {"done"})

    def test_a_further_model_hears_alone(self, source, out):
        extract(source, out, ["fake"])
        record, _ = extract(source, out, ["fake", "mfcc"], skip_existing=True)
        assert {o.found.file: {m: r.state for m, r in o.results.items()} for o in record.outcomes}[
            "a.wav"
        ] == {"fake": "skipped", "mfcc": "done"}

    def test_a_sound_that_changed_is_heard_again(self, source, out):
        extract(source, out)
        touch(source / "a.wav", encoded(tone(1.0, 900, 8_000), 8_000))
        record, heard = extract(source, out, skip_existing=True)
        assert (heard, record.states["a.wav"]) == (["a.wav"], "done")

    def test_a_sound_that_was_touched_alone_is_not(self, source, out):
        extract(source, out)
        touch(source / "a.wav")
        record, heard = extract(source, out, skip_existing=True)
        assert (heard, record.states["a.wav"]) == ([], "skipped")

    def test_half_a_line_is_no_line(self, source, out):
        extract(source, out, ["fake"])
        before = kept(out)
        path = out / "fake.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole[:-30])
        last = json.loads(whole.splitlines()[-1])["file"]
        _, heard = extract(source, out, ["fake"], skip_existing=True)
        assert heard == [last]
        assert kept(out) == before
        assert all(json.loads(line) for line in path.read_bytes().splitlines())

    def test_lines_that_are_none_of_ours_are_passed_over(self, source, out):
        extract(source, out, ["fake"])
        with (out / "fake.jsonl").open("ab") as file:
            file.write(b'not JSON\n[1]\n{"file": "a.wav", "shape": "?"}\n\xff\xfe\n')
        record, heard = extract(source, out, ["fake"], skip_existing=True)
        assert (heard, set(record.states.values())) == ([], {"skipped"})

    def test_a_line_whose_vector_is_damaged_is_no_line(self, source, out):
        extract(source, out, ["fake"])
        before = kept(out)
        line = lines(out)["a.wav"]
        path = out / "fake.jsonl"
        path.write_bytes(path.read_bytes().replace(line["vector"].encode(), b"?" * 44))
        assert extract(source, out, ["fake"], skip_existing=True, vectors=True)[1] == ["a.wav"]
        assert lines(out) == before[1]["fake.jsonl"]

    def test_two_at_once_are_kept_apart(self, source, out):
        with (
            Job(survey(source), out, planned(["fake"])[0]),
            pytest.raises(BadRequest, match="Another extraction"),
        ):
            Job(survey(source), out, planned(["fake"])[0])
        extract(source, out, ["fake"])


class TestEqualContent:
    def test_it_is_heard_once(self, source, out):
        for name in ("a2", "rock/a3"):
            shutil.copy(source / "a.wav", source / f"{name}.wav")
        record, heard = extract(source, out)
        assert len(heard) == 3
        assert sorted(record.states.values()).count("copied") == 2
        written = arrays(out)
        for name in ("fake/a2.npy", "fake/rock/a3.npy"):
            np.testing.assert_array_equal(written[name], written["fake/a.npy"])
        copy, of = lines(out)["a2.wav"], lines(out)["a.wav"]
        assert (copy["vector"], copy["sha256"]) == (of["vector"], of["sha256"])

    def test_it_is_not_heard_again_under_another_name(self, source, out):
        extract(source, out)
        (source / "a.wav").rename(source / "z.wav")
        record, heard = extract(source, out, skip_existing=True)
        assert (heard, record.states["z.wav"]) == ([], "copied")

    def test_it_fails_once(self, source, out):
        for name in ("x", "y"):
            (source / f"{name}.wav").write_bytes(b"broken")
        record, heard = extract(source, out)
        assert len(heard) == 4
        assert record.reasons["x.wav"] == record.reasons["y.wav"]
        assert lines(out)["x.wav"]["error"] == lines(out)["y.wav"]["error"]

    def test_a_name_that_cannot_be_written_is_no_fault_of_the_content(self, source, out):
        name = 250 * "0"  # with .wav.npy behind it, longer than names may be
        for path in (f"{name}.wav", f"{name}.ogg", "z.wav"):
            shutil.copy(source / "a.wav", source / path)
        (source / "a.wav").unlink()
        record, _ = extract(source, out)
        assert record.states["z.wav"] in ("done", "copied")
        assert record.states[f"{name}.wav"] == "failed"

    def test_names_that_move_on_to_other_sounds_are_no_mistake(self, source, out):
        extract(source, out, ["fake"])
        (source / "a.wav").rename(source / "old.wav")
        (source / "a.flac").write_bytes(encoded(noise(0.5, 8_000), 8_000, "FLAC"))
        extract(source, out, ["fake"], skip_existing=True)
        shutil.copy(source / "old.wav", source / "a.wav")
        extract(source, out, ["fake"], skip_existing=True)
        one = Extractors().get("fake")
        for sound in survey(source).sounds:
            np.testing.assert_array_equal(
                np.load(out / "fake" / sound.output), one.extract(sound.path, "none").values
            )


class TestFaults:
    def test_failures_are_named_and_tried_again_when_asked(self, source, out):
        (source / "x.wav").write_bytes(b"broken")
        (source / "silent.wav").write_bytes(encoded(0 * tone(1.0), 16_000))
        record, _ = extract(source, out)
        assert set(record.reasons) == {"x.wav", "silent.wav"}
        assert "not audio" in record.reasons["x.wav"]
        assert "silence" in record.reasons["silent.wav"]
        touch(source / "a.wav", encoded(tone(1.0, 900, 8_000), 8_000))
        touch(source / "x.wav", encoded(tone(1.0, 700, 8_000), 8_000))
        record, heard = extract(source, out, retry_failed=True)
        assert heard == ["silent.wav", "x.wav"]
        assert record.states == {"x.wav": "done", "silent.wav": "failed"}
        assert extract(source, out, retry_failed=True)[1] == ["silent.wav"]

    def test_names_that_are_not_utf8_fail_alone(self, source, out):
        odd = (source / "a.wav").rename(source / "caf\udce9.wav")
        record, heard = extract(source, out, vectors=True)
        assert len(heard) == 2
        assert record.reasons == {odd.name: "Its name is not UTF-8; rename it."}

    def test_an_array_that_cannot_be_written_fails_alone(self, source, out):
        name = 250 * "n"  # with .wav.npy behind it, longer than names may be
        (source / "a.wav").rename(source / f"{name}.wav")
        (source / f"{name}.ogg").touch()
        record, _ = extract(source, out)
        assert "cannot be written: File name too long" in record.reasons[f"{name}.wav"]
        assert record.states["rock/b.wav"] == "done"

    @pytest.mark.parametrize("room", [100, 400, 900, 1500, 2000])
    def test_a_full_disk_ends_it_and_loses_nothing(self, source, out, tmp_path, room):
        extract(source, tmp_path / "undisturbed")
        with files_of_at_most(room), pytest.raises(StorageFull, match="make room"):
            extract(source, out)
        extract(source, out, skip_existing=True)
        assert kept(out) == kept(tmp_path / "undisturbed")

    def test_a_model_that_cannot_be_used_is_given_up_alone(self, source, out):
        def hear(tasks):
            with_one = Counting()
            for task, told in with_one(tasks):
                lost = {"fake": Fault("It is broken.", of_model=True)}
                yield task, Told({**told.by_model, **lost}, told.seconds)

        record, _ = extract(source, out, hear=hear)
        assert record.lost_models == {"fake": "It is broken."}
        assert lines(out) == {}
        assert len(lines(out, "fake_sign=minus")) == 3

    def test_it_ends_where_no_model_is_left(self, source, out):
        taken = []

        def hear(tasks):
            for task in tasks:
                taken.append(task)
                yield task, Told({"fake": Fault("It is broken.", of_model=True)})

        record, _ = extract(source, out, ["fake"], hear=hear)
        assert len(taken) == 1
        assert record.lost_models == {"fake": "It is broken."}

    def test_stopped_it_finishes_what_is_at_hand(self, source, out):
        record = Record()
        with Job(survey(source), out, planned(["fake"])[0]) as job:

            def hear(tasks):
                hear_one = workers.threads(Listener(Extractors().get), 1)
                for task, told in hear_one(tasks):
                    job.stop()
                    yield task, told

            job.run(hear, record)
        # one was heard, and one more was at hand
        assert list(record.states.values()) == ["done", "done"]
        assert len(lines(out)) == 2
        assert len(extract(source, out, ["fake"], skip_existing=True)[1]) == 1


class TestPlanning:
    def test_what_has_no_weights_is_told_with_the_command(self):
        models, faults = planned(["fake", "clap", "fake", "madmom"])
        assert [model.name for model in models] == ["fake"]
        assert "soundalike models pull clap" in faults["clap"]
        assert "soundalike models pull madmom --accept-noncommercial" in faults["madmom"]

    def test_auto_is_the_best_that_is_here(self):
        (model,), faults = planned(["auto"])
        assert (model.name, faults) == (Extractors().get("auto").name, {})

    @pytest.mark.parametrize(
        ("name", "fault"),
        [("nothing", UnknownModel), ("fake:sign=no", UnknownModel), ("lyrics", BadRequest),
         ("fake+mfcc", BadRequest)],
    )  # fmt: skip
    def test_what_makes_no_sense_is_refused(self, name, fault):
        with pytest.raises(fault):
            planned([name])

    def test_folders_have_names_that_no_shell_minds(self):
        (model,), _ = planned(["fake:sign=minus"])
        assert model.folder == "fake_sign=minus"
