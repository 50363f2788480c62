"""How an extraction goes on and what became of it: as a bar, in plain lines, or as JSON."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING, Any

from soundalike.cli.common import print_json
from soundalike.extract.pace import Pace

if TYPE_CHECKING:
    from soundalike.extract.folder import Job, Outcome
    from soundalike.extract.found import Found

LINE_EVERY_S = 10.0
STATES = ("done", "skipped", "copied", "failed")


class Tally:
    """Counts what became of files, and knows how quickly it goes.

    Parameters
    ----------
    job : Job
        What is worked off.
    clock : callable
        Gives seconds, and never goes back.

    Attributes
    ----------
    all, files : int
        How many files there are, and how many of them are done with.
    heard_s : float
        Seconds of sound that were heard.
    states : dict of str to Counter
        For each model how many files are in each of `STATES`.
    failed : list of (str, list of str, str)
        What failed: the file, with which models, and why.
    """

    def __init__(self, job: Job, clock: Callable[[], float] = time.monotonic) -> None:
        self.all = len(job.there) + len(job.todo)
        self.files = 0
        self.heard_s = 0.0
        self.states = {name: Counter[str]() for name in job.names}
        self.failed: list[tuple[str, list[str], str]] = []
        self._clock = clock
        self._began_s = clock()
        self._pace = Pace(found.file for found in job.todo)
        # while models are loaded there is time for it
        Thread(target=self._pace.read_headers, args=(job.todo,), daemon=True).start()
        self._at_hand: dict[str, None] = {}  # in the order in which they were begun
        for outcome in job.there:
            self._count(outcome)

    def begun(self, found: Found) -> None:
        """Hear that a file is handed out."""
        self._at_hand[found.file] = None
        self._pace.begin(found.file, self._clock())

    def done(self, outcome: Outcome) -> None:
        """Hear what became of a file."""
        if outcome.spent_s:
            self._pace.add(outcome.found.file, outcome.seconds, outcome.spent_s, self._clock())
        else:
            self._pace.leave_out(outcome.found.file)
        self._at_hand.pop(outcome.found.file, None)
        self.heard_s += outcome.seconds
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        self.files += 1
        reasons: dict[str, list[str]] = {}
        for model, result in outcome.results.items():
            self.states[model][result.state] += 1
            if result.reason is not None:
                reasons.setdefault(result.reason, []).append(model)
        self.failed += [(outcome.found.file, models, why) for why, models in reasons.items()]

    @property
    def spent_s(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began_s

    @property
    def rate(self) -> float:
        """Seconds of sound that are heard in a second."""
        return self.heard_s / max(self.spent_s, 1e-9)

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest will take; None where nothing tells."""
        return self._pace.left_s(self._clock())

    @property
    def at_hand(self) -> str | None:
        """The file that was begun first of those that are not done."""
        return next(iter(self._at_hand), None)


class Lines(Tally):
    """Prints plain lines: what fails at once, and every ten seconds how all goes on."""

    verbose = False
    _told_s = 0.0

    def done(self, outcome: Outcome) -> None:
        """Hear what became of a file, and say it where it failed or all is to be said."""
        failed_before = len(self.failed)
        super().done(outcome)
        for file, models, reason in self.failed[failed_before:]:
            self.say(f"{file}: {', '.join(models)}: {reason}")
        if self.verbose:
            for model, result in outcome.results.items():
                if result.reason is None:
                    self.say(f"{outcome.found.file}: {model}: {result.state} {result.shape or ''}")
        self.show()

    def lost(self, model: str, reason: str) -> None:
        """Hear that a model cannot be used, and say it."""
        self.say(f"{model}: {reason}")

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, file=sys.stderr, flush=True)

    def show(self) -> None:
        """Show how far it is, where it is time to."""
        if self.spent_s - self._told_s >= LINE_EVERY_S:
            self._told_s = self.spent_s
            self.say(f"{self.files}/{self.all} files, {self.standing()}")

    def standing(self) -> str:
        """Tell how much sound was heard, how quickly, how long it will take, what is at hand."""
        told = [f"{self.heard_s:,.0f} s of sound", f"{self.rate:.1f} s a second"]
        if self.left_s is not None:
            told.append(f"{duration(self.left_s)} left")
        return ", ".join([*told, *filter(None, [self.at_hand])])

    def close(self) -> None:
        """Take away what is shown while it goes on."""


class Bar(Lines):
    """Draws a bar, and prints what fails above it."""

    def __init__(self, job: Job, clock: Callable[[], float] = time.monotonic) -> None:
        from tqdm import tqdm

        super().__init__(job, clock)
        self._bar = tqdm(
            total=self.all,
            initial=self.files,
            bar_format="{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} files{postfix}",
        )

    def begun(self, found: Found) -> None:
        """Hear that a file is handed out, and show it."""
        super().begun(found)
        self._bar.set_postfix_str(self.standing())

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line, file=sys.stderr)

    def show(self) -> None:
        """Move the bar."""
        self._bar.set_postfix_str(self.standing(), refresh=False)
        self._bar.update(self.files - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class Json(Tally):
    """Prints a JSON object a line for each file."""

    def done(self, outcome: Outcome) -> None:
        """Hear what became of a file, and print it."""
        super().done(outcome)
        left_s = self.left_s
        results = {
            model: {"state": result.state, "shape": list(result.shape), "reason": result.reason}
            for model, result in outcome.results.items()
        }
        print_json(
            {
                "file": outcome.found.file,
                "seconds": outcome.seconds,
                "results": results,
                "files": self.files,
                "of": self.all,
                "heard_s": round(self.heard_s, 3),
                "rate": round(self.rate, 3),
                "left_s": None if left_s is None else round(left_s, 1),
            }
        )

    def lost(self, model: str, reason: str) -> None:
        """Hear that a model cannot be used, and print it."""
        print_json({"model": model, "reason": reason})

    def close(self) -> None:
        """Nothing is shown that would have to be taken away."""


def summary(tally: Tally, job: Job) -> dict[str, Any]:
    """Lay out what became of a folder, as JSON has it."""
    return {
        "files": tally.all,
        "left": tally.all - tally.files,
        "heard_s": round(tally.heard_s, 3),
        "spent_s": round(tally.spent_s, 3),
        "rate": round(tally.rate, 3),
        "stopped": job.stopping,
        "models": {name: {s: counted[s] for s in STATES} for name, counted in tally.states.items()},
        "lost": dict(job.lost),
        "failed": [
            {"file": file, "models": models, "reason": reason}
            for file, models, reason in tally.failed
        ],
    }


def print_summary(told: dict[str, Any]) -> None:
    """Print what became of a folder, with a table by models and one of what failed."""
    left = told["left"]
    print(
        f"{told['files'] - left} of {told['files']} files, {told['heard_s']:,.0f} s of sound in "
        f"{duration(told['spent_s'])}, {told['rate']:.1f} times as quickly as it plays."
    )
    width = max(map(len, ["model", *told["models"], *told["lost"]]))
    print(f"{'model':<{width}}" + "".join(f"  {state:>7}" for state in STATES))
    for name, counted in told["models"].items():
        numbers = "".join(f"  {counted[state]:>7}" for state in STATES)
        print(f"{name:<{width}}{numbers}")
    for name, reason in told["lost"].items():
        print(f"{name:<{width}}  {reason}")
    if told["failed"]:
        print("Failed; --retry-failed tries these alone again:")
    for one in told["failed"]:
        print(f"  {one['file']}  {', '.join(one['models'])}  {one['reason']}")
    if left:
        print(f"{left} files are left; the same command with --skip_existing goes on with them.")


def duration(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds, such as ``2:05`` or ``1:02:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
