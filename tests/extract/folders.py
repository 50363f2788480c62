"""Folders of sounds, jobs over them in this process, and what they wrote."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from soundalike.extract import workers
from soundalike.extract.folder import Job, Outcome, planned
from soundalike.extract.found import survey
from soundalike.extract.listener import Listener
from soundalike.extract.loading import Extractors
from soundalike.extract.manifest import Manifest
from tests.sounds import encoded, tone

MODELS = ("fake", "fake:sign=minus")
FOLDERS = ("fake", "fake_sign=minus")
RATE = 8_000


@dataclass
class Record:
    """Keeps what it is told."""

    outcomes: list[Outcome] = field(default_factory=list)
    lost_models: dict[str, str] = field(default_factory=dict)

    def begun(self, found):
        pass

    def done(self, outcome):
        self.outcomes.append(outcome)

    def lost(self, model, reason):
        self.lost_models[model] = reason

    @property
    def states(self):
        """For each file the states of its models, where they are all the same just that."""
        found = {}
        for outcome in self.outcomes:
            states = {result.state for result in outcome.results.values()}
            found[outcome.found.file] = states.pop() if len(states) == 1 else states
        return found

    @property
    def reasons(self):
        return {
            outcome.found.file: result.reason
            for outcome in self.outcomes
            for result in outcome.results.values()
            if result.reason
        }


class Counting:
    """Hears in two threads, and counts how often each file is heard."""

    def __init__(self):
        self.heard = []
        self._hear = workers.threads(Listener(Extractors().get), 2)

    def __call__(self, tasks):
        for task, told in self._hear(tasks):
            self.heard.append(task.found.file)
            yield task, told


def extract(source, out, models=MODELS, *, hear=None, **options):
    """Run a job; what became of the files, and which were heard."""
    record, counting = Record(), hear or Counting()
    with Job(survey(source, leave_out=[out]), out, planned(models)[0], **options) as job:
        record.outcomes += job.there
        job.run(counting, record)
    return record, sorted(getattr(counting, "heard", []))


def write(folder, **sounds):
    """Write tones of so many Hz as WAV files; two underscores stand for a slash."""
    for number, (name, hz) in enumerate(sounds.items()):
        path = folder / (name.replace("__", "/") + ".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(tone(0.5 + 0.1 * number, hz, RATE), RATE))
    return folder


def arrays(out):
    """The arrays below a folder, by path."""
    return {p.relative_to(out).as_posix(): np.load(p) for p in sorted(out.rglob("*.npy"))}


def lines(out, folder=FOLDERS[0]):
    """What a manifest says of each file."""
    manifest = Manifest(out / f"{folder}.jsonl")
    try:
        return {record["file"]: record for record in manifest.records()}
    finally:
        manifest.close()


def kept(out):
    """All that a run leaves, to be compared with another's."""
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.suffix != ".jsonl"
    }
    said = {path.name: lines(out, path.stem) for path in sorted(out.glob("*.jsonl"))}
    return files, said


def touch(path, content=None):
    """Give a file another time, and another content if there is one."""
    if content is not None:
        Path(path).write_bytes(content)
    known = Path(path).stat()
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns + 1_000_000_000))


def session(process):
    """The processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, *_ = fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == process.pid and state != "Z":
            found.append(int(path.name))
    return found
