"""What tests of catalogues share."""

import shutil

import pytest

from soundalike import engines
from soundalike.catalogue import builder, building, files, manifest, snapshot


def build_here(database, collection, folder, *, threads=1, stop=None, **how):
    """Do what `building.build` does, in this process: its children take a second to start."""
    unfinished = folder.with_name(folder.name + building.UNFINISHED)
    try:
        job = {"database": str(database), "collection": collection, "folder": str(unfinished)}
        usual = {"transform": None, "refit": True, "recall_target": 0.95, "threads": threads}
        builder.build(**job, **usual | how)
        check_here(unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    files.publish(unfinished, folder)
    return manifest.read(folder)


def check_here(folder, **_):
    """Do what `building.check` does; its child also limits its own time, as this must not."""
    files.verify(folder)
    builder._smoke(files.open_folder(folder), folder)


@pytest.fixture
def built_here(monkeypatch):
    """Make and check indexes without child processes."""
    monkeypatch.setattr(building, "build", build_here)
    monkeypatch.setattr(building, "check", check_here)


@pytest.fixture
def engines_serve(monkeypatch):
    """Ask the engine also where comparing every row would be quicker."""
    for engine in ("annoy", "faiss"):
        monkeypatch.setattr(engines.load(engine), "rows_per_effort", 0.0)


@pytest.fixture
def eager(monkeypatch, engines_serve):
    """Rebuild after every few writes, and ask an engine that finds all."""
    for engine in ("annoy", "faiss"):
        monkeypatch.setattr(engines.load(engine), "least_effort", 10_000)
    monkeypatch.setattr(snapshot, "SHORT_TAIL_ROWS", 5)
    monkeypatch.setattr(snapshot, "FEW_DEAD_ROWS", 3)
