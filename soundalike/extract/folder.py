"""A whole folder heard by several models, wherever they run.

::

    survey -> Job -> hear (threads, processes, or a cluster) -> Job -> arrays and manifests

What is heard comes from outside as a `Hear`; what is to be heard, what is there
already and what is written is decided here, in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeAlias

from soundalike import embedders
from soundalike.embedders import Embedder, weights
from soundalike.embedders.choice import AUTO, first_that_loads
from soundalike.errors import BadRequest, EmbedderError, UnknownModel
from soundalike.extract import fusion, table
from soundalike.extract.extractor import Extractor
from soundalike.extract.found import Found, Survey, spread
from soundalike.extract.listener import Fault, Told, reason_of
from soundalike.extract.outputs import Content, Model, ModelOutput, Result


@dataclass(frozen=True, slots=True)
class Task:
    """A file that is to be heard, and by which models.

    Attributes
    ----------
    found : Found
    content : Content
        As it was a moment ago.
    models : tuple of str
        Names; at least one.
    """

    found: Found
    content: Content
    models: tuple[str, ...]


Hear: TypeAlias = Callable[[Iterable[Task]], Generator[tuple[Task, Told], None, None]]
"""Hears files in any order. It takes a task only once it has hands free for it, and tells of each
that it took, whatever happened."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes
    ----------
    found : Found
    results : dict of str to Result
        By model; without those that were lost.
    seconds : float
        How long the sound lasts; 0 where it was not decoded.
    spent_s : float
        How long it was worked on.
    """

    found: Found
    results: dict[str, Result]
    seconds: float = 0.0
    spent_s: float = 0.0


class Reporter(Protocol):
    """Is told how a job goes on."""

    def begun(self, found: Found) -> None:
        """Hear that a file is handed out."""

    def done(self, outcome: Outcome) -> None:
        """Hear what became of a file."""

    def lost(self, model: str, reason: str) -> None:
        """Hear that a model cannot be used, and that the others go on."""


def planned(names: Sequence[str]) -> tuple[list[Model], dict[str, str]]:
    """Look at embedders without loading them.

    Parameters
    ----------
    names : sequence of str
        With options after a colon where wanted; ``"auto"`` is the best that is here.

    Returns
    -------
    models : list of Model
        Those that can be used, each once.
    faults : dict of str to str
        Why the others cannot, such as the command that brings their weights.

    Raises
    ------
    UnknownModel
        There is no such embedder or option.
    BadRequest
        One takes no sound, or is a fusion, which has no frames.
    """
    models: dict[str, Model] = {}
    faults: dict[str, str] = {}
    for name in names:
        try:
            model = first_that_loads(_planned)[0] if name == AUTO else _planned(name)
        except EmbedderError as fault:
            if isinstance(fault, UnknownModel):
                raise
            faults[name] = fault.detail
        else:
            models[model.name] = model
    return list(models.values()), faults


def _planned(name: str) -> Model:
    if fusion.is_fused(name):
        raise BadRequest(f"'{name}' has no frames of its own; name its parts one by one.")
    embedder = embedders.create(name)
    if not embedder.card.hears:
        raise embedder.deaf()
    extractor = Extractor(embedder)
    options = {option: values[0] for option, values in embedder.card.options.items()}
    settings = options | embedder.options | {"pooling": extractor.poolings[0]}
    return Model(embedder.name, str(extractor.space()), settings, _weights_bytes(embedder))


def _weights_bytes(embedder: Embedder) -> int:
    if embedder.source is None:
        return 0
    path = weights.weights_file(weights.folder(embedder.card.key, embedder.source), embedder.source)
    return path.stat().st_size if path else 0


@dataclass(slots=True)
class _Pending:
    """A file that is not done with, and what became of it so far."""

    found: Found
    models: list[str]
    results: dict[str, Result]


class Job:
    """Has the sounds of a folder heard, and writes what is said of them.

    To be used as a context: until it is left, no other job can write to the same models' folders.

    Parameters
    ----------
    survey : Survey
        The sounds.
    out : Path
        Where the models' folders are.
    models : sequence of Model
        By which they are heard.
    skip_existing : bool
        Leave alone what is whole and of the same space; copy what was made of the same content.
    retry_failed : bool
        Do nothing but what failed before.
    vectors : bool
        Write a table of clip vectors for each model at the end.

    Attributes
    ----------
    there : list of Outcome
        Files of which nothing is left to be done.
    todo : list of Found
        The others, in the order in which they are begun.
    lost : dict of str to str
        Models that turned out to be unusable, and why.
    stopping : bool
        Whether it ends early.

    Raises
    ------
    BadRequest
        Another job is writing there, or the table cannot be written.
    OSError
        The folder cannot be written.
    """

    def __init__(
        self,
        survey: Survey,
        out: Path,
        models: Sequence[Model],
        *,
        skip_existing: bool = False,
        retry_failed: bool = False,
        vectors: bool = False,
    ) -> None:
        if vectors:
            table.check()
        self.vectors = vectors
        self.lost: dict[str, str] = {}
        self.stopping = False
        self.there: list[Outcome] = []
        self._pending: dict[str, _Pending] = {}
        with ExitStack() as opened:
            self._outputs = {
                model.name: opened.enter_context(
                    closing(ModelOutput(out, model, resume=skip_existing or retry_failed))
                )
                for model in models
            }
            self._closing = opened.pop_all()
        for found in spread(survey.sounds):
            if retry_failed:
                self._plan_failed(found)
            else:
                self._plan(found, skip_existing=skip_existing)
        self.todo = [one.found for one in self._pending.values()]

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return list(self._outputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self, hear: Hear, reporter: Reporter) -> None:
        """Work it off.

        Parameters
        ----------
        hear : callable
            Hears files.
        reporter : Reporter
            Is told of each that is begun and done.

        Raises
        ------
        StorageFull
            What was written before is whole, and another job can go on.
        OSError
            The same, where something else keeps it from writing.
        """
        left = list(self._pending.values())
        while left and not self.stopping:
            # of the same content one is heard; the next round finds what was made of it
            again: list[_Pending] = []
            with closing(hear(self._tasks(left, again, reporter))) as heard:
                for task, told in heard:
                    reporter.done(self._settle(task, told, reporter))
            left = again
        if self.vectors:
            for output in self._outputs.values():
                output.write_table()

    def stop(self) -> None:
        """Begin no further file; `run` returns when those at hand are done."""
        self.stopping = True

    def _plan(self, found: Found, *, skip_existing: bool) -> None:
        done = [name for name, one in self._outputs.items() if skip_existing and one.is_done(found)]
        results = {name: Result("skipped") for name in done}
        models = [name for name in self._outputs if name not in results]
        if models:
            self._pending[found.file] = _Pending(found, models, results)
        else:
            self.there.append(Outcome(found, results))

    def _plan_failed(self, found: Found) -> None:
        models = [name for name, output in self._outputs.items() if output.has_failed(found)]
        if models:
            self._pending[found.file] = _Pending(found, models, {})

    def _tasks(
        self, left: Iterable[_Pending], again: list[_Pending], reporter: Reporter
    ) -> Iterator[Task]:
        """Hand out what has to be heard; what needs no hearing is done with on the way."""
        begun: set[str] = set()
        for one in left:
            if self.stopping or len(self.lost) == len(self._outputs):
                return
            content = self._read(one)
            if content is not None and self._is_unheard(one, content):
                if content.sha256 in begun:
                    again.append(one)
                    continue
                begun.add(content.sha256)
                reporter.begun(one.found)
                yield Task(one.found, content, tuple(one.models))
            else:
                reporter.done(Outcome(one.found, one.results))

    def _read(self, one: _Pending) -> Content | None:
        """Read a file through; None where it cannot be, which is noted."""
        try:
            one.found.file.encode()
            return Content.of(one.found.path)
        except UnicodeEncodeError:
            reason = "Its name is not UTF-8; rename it."
        except OSError as error:
            reason = reason_of(error)
        one.results |= {
            name: self._outputs[name].fail(one.found, None, reason) for name in one.models
        }
        return None

    def _is_unheard(self, one: _Pending, content: Content) -> bool:
        """Take over what was made of the same content; tell whether some model is left to hear."""
        known = {name: self._outputs[name].take_over(one.found, content) for name in one.models}
        one.results |= {name: result for name, result in known.items() if result is not None}
        one.models = [name for name in one.models if known[name] is None and name not in self.lost]
        return bool(one.models)

    def _settle(self, task: Task, told: Told, reporter: Reporter) -> Outcome:
        """Write what was heard."""
        results = self._pending[task.found.file].results
        for name in task.models:
            answer = told.by_model[name]
            if not (isinstance(answer, Fault) and answer.of_model):
                results[name] = self._outputs[name].write(task.found, task.content, told)
            elif name not in self.lost:
                self.lost[name] = answer.reason
                reporter.lost(name, answer.reason)
        return Outcome(task.found, results, told.seconds, told.spent_s)
