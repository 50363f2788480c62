"""`soundalike evaluate recommend LOG`: what recommenders of music are worth, on a listening log."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.common import print_json
from soundalike.cli.listening import Tasks, add_data, metric_k_of
from soundalike.errors import BadRequest, SoundalikeError

if TYPE_CHECKING:
    from soundalike.evaluation.recommendation_report import Row
    from soundalike.evaluation.recommenders import Recommender

BASELINES = ("random", "popularity", "item-item")
NETWORKS = ("snn", "bert4rec")
KS = (5, 10, 20, 50, 100)
USUAL_K = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the measurement."""
    parser.set_defaults(do=run)
    parser.add_argument(
        "log", type=Path, metavar="LOG", help="who played what and when: TSV, CSV or Parquet"
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME",
        help="knn, snn or bert4rec, options after a colon; may be repeated (knn)",
    )  # fmt: skip
    parser.add_argument(
        "--embedding", action="append", default=[], metavar="NAME",
        help="such as mfcc_104 or mert_768+0.5*lyrics_384; may be repeated",
    )  # fmt: skip
    parser.add_argument("--mode", default="test", help="test or val users (%(default)s)")
    parser.add_argument("--k", type=_numbers, default=list(KS), metavar="5,10", help=str(KS))
    parser.add_argument(
        "--no-baselines", action="store_true", help="without random, popularity and item-item"
    )
    add_data(parser)


def _numbers(text: str) -> list[int]:
    return sorted({int(word) for word in text.split(",") if word})


def run(args: argparse.Namespace) -> int:
    """Try every model on every embedding, and tell what came of it.

    Returns
    -------
    int
        0, or 1 where something could not be tried.
    """
    _refuse_missing(args.model)
    _refuse_unknown(args)
    names = args.embedding or ["none"]
    tasks = Tasks(args.log.expanduser(), names, args)
    rows = _rows(tasks, names, args)
    _tell(rows, tasks.facts(), args)
    return int(any(row.result.worth is None for row in rows))


def _refuse_missing(models: Sequence[str]) -> None:
    """Refuse to begin without the packages that will be needed."""
    networks = any(name.partition(":")[0] in NETWORKS for name in models)
    needed = {"pyarrow": "evaluation", "scipy": "evaluation"}
    for package, extra in {**needed, **({"torch": "embedder"} if networks else {})}.items():
        if find_spec(package) is None:
            raise SoundalikeError(
                f"This needs {package}: pip install 'soundalike[{extra}]'.", package=package
            )


def _refuse_unknown(args: argparse.Namespace) -> None:
    """Refuse what makes no sense before a long log is read."""
    from soundalike.evaluation import blocks
    from soundalike.evaluation.ranking import METRICS
    from soundalike.evaluation.recommendations import MODES
    from soundalike.evaluation.recommenders import create
    from soundalike.evaluation.recommenders.training import device_named
    from soundalike.evaluation.splits import PROTOCOLS

    words = {"mode": MODES, "metric": METRICS, "protocol": PROTOCOLS}
    for option, known in words.items():
        given = getattr(args, option)
        if given not in known:
            raise BadRequest(f"--{option} is one of {', '.join(known)}, not '{given}'.")
    if not args.k or args.k[0] < 1:
        raise BadRequest("How long lists are (--k) is 1 or more.")
    if min(args.seed, args.split_seed) < 0 or not 0 <= args.bad_share <= 1:
        raise BadRequest("Seeds are 0 or more, and --bad-share lies between 0 and 1.")
    device_named(args.device)
    for name in args.model:
        create(name, args.preset)
    for name in args.embedding:
        blocks.parse(name)


def _rows(tasks: Tasks, names: Sequence[str], args: argparse.Namespace) -> list[Row]:
    from tqdm import tqdm

    from soundalike.evaluation.recommenders import create

    work: list[tuple[Recommender, str, str]] = []
    for name in [*(args.model or ["knn"]), *([] if args.no_baselines else BASELINES)]:
        model = create(name, args.preset)
        if name not in [told for _, told, _ in work]:
            work += [(model, name, one) for one in (names if model.uses_vectors else ["none"])]
    return [_row(tasks, *one) for one in tqdm(work, unit="row", disable=None)]


def _row(tasks: Tasks, model: Recommender, name: str, embedding: str) -> Row:
    """Try a model; what cannot be had, or what it refuses, is told in the row."""
    from soundalike.evaluation.blocks import fingerprint
    from soundalike.evaluation.recommendation_report import Row
    from soundalike.evaluation.recommendations import Result, chance, try_out, users_of

    args, options = tasks.args, model.options.as_dict()
    fault = tasks.fault(embedding)
    if fault:
        return Row(Result(name, embedding, options, reason=fault), None, args.mode, {})
    task = tasks.of(embedding)
    users = users_of(task.split, args.mode)
    try:
        worth, notes = try_out(model, task, args.mode, args.k, metric_k_of(args))
    except BadRequest as refusal:
        return Row(Result(name, embedding, options, reason=refusal.detail), None, args.mode, {})
    result = Result(name, embedding, options, notes, worth, vectors=fingerprint(task.vectors))
    by_chance = chance(task.split, users, worth.places)
    return Row(result, task.split, args.mode, by_chance, task.split.fingerprint())


def _tell(rows: Sequence[Row], facts: dict[str, Any], args: argparse.Namespace) -> None:
    """Print the figures, and write what was asked for."""
    from soundalike.evaluation import recommendation_report as report

    if args.json:
        print_json(report.as_json(rows, facts))
    else:
        k = USUAL_K if USUAL_K in args.k else args.k[-1]
        print(report.as_table(rows, k, args.metric))
        print("\n".join(report.remarks(rows, facts)))
    if args.csv is not None:
        args.csv.write_text(report.as_csv(rows, facts), encoding="utf-8")
    if args.svg is not None:
        from soundalike.pictures import curves

        series = report.series(rows, args.metric)
        if series:
            args.svg.write_text(curves.lines(series, f"{args.metric} at k"), encoding="utf-8")
