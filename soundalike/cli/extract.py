"""`soundalike extract DIR`: what several models say of every sound below a folder, as arrays."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli import DONE, SOME_FAILED
from soundalike.cli.common import print_json
from soundalike.errors import BadRequest, StorageFull

if TYPE_CHECKING:
    from soundalike.cli.extract_progress import Json, Lines
    from soundalike.extract.folder import Hear, Job
    from soundalike.extract.found import Survey
    from soundalike.extract.outputs import Model

MAX_SECONDS = 7200.0
NAMED = 5
STDERR = 2
STOPPING = b"\nFinishing what is at hand; Ctrl-C again ends at once.\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="every sound below it")
    parser.add_argument(
        "--models",
        nargs="+",
        default=["auto"],
        metavar="NAME",
        help="embedders, options after a colon (auto, the best that is here)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("embeddings"), help="where arrays go (%(default)s)"
    )
    parser.add_argument(
        "--skip_existing",
        "--skip-existing",
        action="store_true",
        help="leave alone what is whole and of the same space",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="do nothing but what failed before"
    )
    parser.add_argument(
        "--vectors", action="store_true", help="write the clip vectors of each model as Parquet too"
    )
    parser.add_argument(
        "--jobs", type=int, help="sounds that are heard at the same time (one a core)"
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=MAX_SECONDS,
        metavar="S",
        help="the longest sound that is taken (%(default)g)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="hear them on a Ray cluster; 'auto' is this machine's own, 'local' one for this job",
    )
    parser.add_argument(
        "--ray-send-files",
        action="store_true",
        help="send sounds to the cluster, where its machines cannot read them",
    )
    parser.add_argument("--verbose", action="store_true", help="tell of each file")
    parser.add_argument("--json", action="store_true", help="tell of each file in a line of JSON")


def run(args: argparse.Namespace) -> int:
    """Extract, and say what became of it; a file that fails does not stop the others."""
    from soundalike.cli.extract_progress import print_summary
    from soundalike.extract import folder, found

    if args.jobs is not None and args.jobs < 1:
        raise BadRequest(f"--jobs is {args.jobs}, and must be 1 or more.")
    if not args.max_seconds > 0:
        raise BadRequest(f"--max-seconds is {args.max_seconds:g}, and must be more than 0.")
    models, faults = folder.planned(args.models)
    for name, reason in faults.items():
        print(f"{name}: {reason}", file=sys.stderr)
    if not models:
        return SOME_FAILED
    source, out = args.folder.expanduser(), args.out.expanduser()
    survey = found.survey(source, leave_out=[out])
    if not survey.sounds:
        raise BadRequest(f"There is no sound below '{source}'.")
    with folder.Job(
        survey,
        out,
        models,
        skip_existing=args.skip_existing,
        retry_failed=args.retry_failed,
        vectors=args.vectors,
    ) as job:
        hear = _hands(models, args)
        told = _work_off(job, hear, _progress(job, args))
    told["lost"] |= faults
    if args.json:
        print_json({"summary": told})
    else:
        print_summary(told)
    _tell_of_folder(survey)
    has_failed = told["failed"] or told["lost"] or told["stopped"] or survey.unreadable
    return SOME_FAILED if has_failed else DONE


def _hands(models: list[Model], args: argparse.Namespace) -> Hear:
    from soundalike.extract import cluster, workers

    limit, send = args.max_seconds, args.ray_send_files
    if args.ray:
        return cluster.hands(models, args.ray, args.jobs, send_files=send, max_seconds=limit)
    if send:
        raise BadRequest("--ray-send-files goes with --ray.")
    return workers.hands(models, args.jobs, max_seconds=limit)


def _progress(job: Job, args: argparse.Namespace) -> Json | Lines:
    from soundalike.cli.extract_progress import Bar, Json, Lines

    if args.json:
        return Json(job)
    shown = Bar(job) if sys.stderr.isatty() else Lines(job)
    shown.verbose = args.verbose
    return shown


def _work_off(job: Job, hear: Hear, progress: Json | Lines) -> dict[str, Any]:
    """Run a job to its end, its stop or a full disk; give what became of it."""
    from soundalike.cli.extract_progress import summary

    try:
        with _ended_by_signals(job):
            job.run(hear, progress)
    except StorageFull as fault:
        job.stop()
        print(fault.detail, file=sys.stderr)
    finally:
        progress.close()
    return summary(progress, job)


@contextmanager
def _ended_by_signals(job: Job) -> Iterator[None]:
    """Have Ctrl-C, and what ends a service, end a job after the files at hand; twice, at once."""

    def stop(number: int, frame: object) -> None:
        for one in before:
            signal.signal(one, signal.SIG_DFL)  # nothing is lost: all that is written is whole
        job.stop()
        os.write(STDERR, STOPPING)  # what print does may be going on just now

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _tell_of_folder(survey: Survey) -> None:
    """Name what was not looked into, and count what is no sound."""
    for loop in survey.loops:
        print(f"{loop}: a link to a folder that it lies in; not followed", file=sys.stderr)
    for name, reason in survey.unreadable:
        print(f"{name}: cannot be looked into: {reason}", file=sys.stderr)
    if survey.skipped:
        some = ", ".join(survey.skipped[:NAMED]) + (", ..." if len(survey.skipped) > NAMED else "")
        print(f"{len(survey.skipped)} files are no sound by their names: {some}", file=sys.stderr)
