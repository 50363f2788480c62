"""`soundalike models list | pull | check`: the embedders, and their weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.common import print_json
from soundalike.errors import BadRequest, EmbedderError, SoundalikeError

if TYPE_CHECKING:
    from soundalike.embedders import Card
    from soundalike.embedders.weights import Source
    from soundalike.extract.extractor import Extractor

BYTES_PER_MB = 1_000_000
TEST_SECONDS = 2.0
TEST_TEXT = "a tone in noise"
STATE_OF_FAULT = {
    "weights_missing": "missing",
    "licence_refused": "refused",
    "quarantined": "quarantined",
}


@dataclass(frozen=True, slots=True)
class State:
    """Where the weights of an embedder are, if anywhere.

    Attributes
    ----------
    state : str
        ``here``, ``missing``, ``refused`` or ``quarantined``.
    reason : str or None
        Why they are not here, or cannot be used.
    folder : str or None
        Where they are.
    size_bytes : int or None
        Of the weights and the files beside them.
    """

    state: str
    reason: str | None = None
    folder: str | None = None
    size_bytes: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.set_defaults(do=_list, keys=[])
    parser.add_argument("--json", action="store_true", help="list: every fact, as JSON")
    actions = parser.add_subparsers(metavar="ACTION", help="list by default")
    _add_list(actions.add_parser("list", help="list the embedders and the states of their weights"))
    _add_pull(actions.add_parser("pull", help="fetch weights, or take them from files"))
    check = actions.add_parser("check", help="verify the weights that are here, and try them out")
    check.set_defaults(do=_check)
    check.add_argument("keys", nargs="*", metavar="NAME", help="all that are here by default")


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("keys", nargs="*", metavar="KEY", help="all of them by default")
    # suppressed, so that what stands before the action is not forgotten
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="every fact, as JSON"
    )


def _add_pull(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(do=_pull)
    parser.add_argument("keys", nargs="+", metavar="KEY", help="embedders, by their keys")
    parser.add_argument(
        "--from",
        dest="origin",
        type=Path,
        metavar="FILE-or-FOLDER",
        help="take the weights from here, with no network",
    )
    parser.add_argument(
        "--accept-noncommercial",
        action="store_true",
        help="fetch weights that must not be used commercially too",
    )
    parser.add_argument("--quiet", action="store_true", help="draw no progress bar")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    from soundalike import embedders

    keys = [embedders.create(name).card.key for name in args.keys]
    code: int = args.do(args, keys)
    return code


def _list(args: argparse.Namespace, keys: Sequence[str]) -> int:
    from soundalike import embedders

    cards = [card for key, card in embedders.cards().items() if not keys or key in keys]
    if args.json:
        print_json([{**asdict(card), **asdict(state_of(card))} for card in cards])
        return 0
    for card in cards:
        found = state_of(card)
        licence = card.weights.licence if card.weights else "no weights"
        size = "" if found.size_bytes is None else f"{found.size_bytes / BYTES_PER_MB:,.0f} MB"
        rate = f"{card.sample_rate:>6} Hz" if card.hears else "  text"
        print(
            f"{card.key:<14} {found.state:<11} {size:>8}  {licence:<15} {card.dim:>5} numbers  "
            f"{rate}"
        )
        print(f"{'':<14} {card.summary}")
        if found.reason:
            print(f"{'':<14} {found.reason}")
    return 0


def state_of(card: Card) -> State:
    """Tell where the weights of an embedder are, without loading them."""
    from soundalike.embedders import weights
    from soundalike.embedders.notes import read_note

    source = card.weights
    if source is None:
        return State("here")
    try:
        place = weights.folder(card.key, source)
    except EmbedderError as fault:
        return State(STATE_OF_FAULT[fault.code], fault.detail)
    path = weights.weights_file(place, source)
    files = [path, *(place / part.name for part in source.others)]
    size = sum(file.stat().st_size for file in files if file is not None and file.is_file())
    note = None if path is None else read_note(path)
    reason = note.quarantined if note and path and note.fits(path) else None
    return State("quarantined" if reason else "here", reason, str(place), size)


def _pull(args: argparse.Namespace, keys: Sequence[str]) -> int:
    if args.origin is not None and len(keys) > 1:
        raise BadRequest("--from goes with one KEY.")
    return _for_each(keys, lambda key: _pull_one(args, key))


def _pull_one(args: argparse.Namespace, key: str) -> None:
    from soundalike import embedders
    from soundalike.embedders import pull

    card = embedders.cards(hidden=True)[key]
    if card.weights is None:
        print(f"'{key}' needs no weights.")
        return
    found = state_of(card)
    if args.origin is not None:
        pull.take(key, card.weights, args.origin.expanduser())
    elif found.state == "here":
        print(f"'{key}' is here already, in '{found.folder}'.")
        return
    else:
        _fetch(key, card.weights, args)
    size = (state_of(card).size_bytes or 0) / BYTES_PER_MB
    print(f"'{key}' is here: {size:,.0f} MB under {card.weights.licence}.", _default_note(key))


def _default_note(key: str) -> str:
    from soundalike.embedders.choice import PREFERENCE

    if key != PREFERENCE[0]:
        return ""
    return "A service that runs takes it for its default from its next start on."


def _fetch(key: str, source: Source, args: argparse.Namespace) -> None:
    from soundalike.embedders import pull

    bars = _Bars(quiet=args.quiet)
    try:
        pull.fetch(key, source, bars.report, accept_noncommercial=args.accept_noncommercial)
    finally:
        bars.close()


class _Bars:
    """A progress bar for each file, one after the other."""

    def __init__(self, *, quiet: bool) -> None:
        self._disable = True if quiet else None
        self._bar: Any = None
        self._name: str | None = None

    def report(self, name: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if self._bar is None or self._name != name:
            self.close()
            self._name = name
            self._bar = tqdm(
                total=total, desc=name, unit="B", unit_scale=True, disable=self._disable
            )
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _check(args: argparse.Namespace, keys: Sequence[str]) -> int:
    from soundalike import embedders

    here = [
        key
        for key, card in embedders.cards().items()
        if card.weights and state_of(card).state in ("here", "quarantined")
    ]
    return _for_each([embedders.create(name).name for name in args.keys] or here, _check_one)


def _check_one(name: str) -> None:
    from soundalike import embedders
    from soundalike.embedders import weights
    from soundalike.extract.loading import Extractors

    embedder = embedders.create(name)
    if embedder.source is not None:
        weights.verify(weights.folder(embedder.card.key, embedder.source), embedder.source)
    extractor = Extractors().get(name)
    if not _is_finite(_test_answer(extractor)):
        raise SoundalikeError("its answer is not finite.")
    for what, why in extractor.embedder.quarantined.items():
        print(f"{name}: not for {what}: {why}", file=sys.stderr)
    print(f"{name}: good, {extractor.space()}")


def _test_answer(extractor: Extractor) -> object:
    """Let it hear a sound, or read a text where that is all it takes."""
    card = extractor.embedder.card
    if not card.hears:
        return extractor.embed_texts([TEST_TEXT])
    return extractor.extract(_test_sound(card.sample_rate)).values


def _is_finite(values: object) -> bool:
    import numpy as np

    return bool(np.isfinite(values).all())  # type: ignore[call-overload]


def _test_sound(sample_rate: int) -> bytes:
    """Make a WAV file of a tone in noise."""
    import io
    import wave

    import numpy as np

    time = np.arange(round(TEST_SECONDS * sample_rate)) / sample_rate
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, len(time))
    samples = np.round(32_767 * (0.5 * np.sin(2 * np.pi * 440 * time) + noise)).astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, sample_rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return stream.getvalue()


def _for_each(keys: Sequence[str], do: Callable[[str], None]) -> int:
    """Do it for each; one that fails is named and does not stop the others."""
    failed = 0
    for key in keys:
        try:
            do(key)
        except BadRequest:
            raise
        except SoundalikeError as fault:
            failed += 1
            print(f"{key}: {fault.detail}", file=sys.stderr)
    return int(failed > 0)
