"""Which package indexes this machine is set up for: what pip would ask, read without pip.

From pip's configuration files, then from its environment variables, each
overriding the one before. pip itself is no part of this: it would run the code
of what it downloads.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soundalike.errors import WeightsMissing

FILE_NAME = "pip.conf"
SECTIONS = ("global", "download")
OPTIONS = (
    "index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "proxy",
    "timeout",
)  # fmt: skip
PATIENCE_S = 15.0  # pip's own


@dataclass(frozen=True, slots=True)
class Indexes:
    """Where packages are looked for.

    Attributes
    ----------
    main : str or None
        URL of the index; None for the one that everybody has by default.
    extra : tuple of str
        URLs of further ones.
    links : tuple of str
        Folders, or URLs of pages, with archives in them.
    none : bool
        Ask no index at all, and look in `links` alone.
    trusted : tuple of str
        Hosts that need not prove who they are.
    certificates : str or None
        File of the authorities that are trusted; None for the system's.
    proxy : str or None
        URL of the proxy; None for what the environment says.
    patience_s : float
        Seconds without an answer after which one is given up.
    """

    main: str | None = None
    extra: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    none: bool = False
    trusted: tuple[str, ...] = ()
    certificates: str | None = None
    proxy: str | None = None
    patience_s: float = PATIENCE_S


def configured() -> Indexes:
    """Read which package indexes are set.

    Returns
    -------
    Indexes

    Raises
    ------
    WeightsMissing
        A file of pip's cannot be read, or says what makes no sense.
    """
    found: dict[str, str] = {}
    for path in _files():
        found |= _read(path)
    found |= _environment()
    return Indexes(
        main=found.get("index-url"),
        extra=tuple(found.get("extra-index-url", "").split()),
        links=tuple(found.get("find-links", "").split()),
        none=_truth(found.get("no-index", "0")),
        trusted=tuple(found.get("trusted-host", "").split()),
        certificates=found.get("cert"),
        proxy=found.get("proxy"),
        patience_s=_seconds(found.get("timeout", str(PATIENCE_S))),
    )


def _files() -> Iterator[Path]:
    """Yield the files that pip reads, the ones that override others last."""
    chosen = os.environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return
    home = Path.home()
    for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep):
        yield Path(folder, "pip", FILE_NAME)
    yield Path("/Library/Application Support/pip", FILE_NAME)
    yield Path("/etc", FILE_NAME)
    if not (chosen and Path(chosen).exists()):
        yield home / ".pip" / FILE_NAME
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", FILE_NAME)
        yield home / "Library" / "Application Support" / "pip" / FILE_NAME
    yield Path(sys.prefix, FILE_NAME)
    if chosen:
        yield Path(chosen)


def _read(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise WeightsMissing(
            f"pip's file '{path}' cannot be read; put it right, or set PIP_CONFIG_FILE="
            f"{os.devnull} to do without any."
        ) from error
    found: dict[str, str] = {}
    for section in SECTIONS:
        if parser.has_section(section):
            found |= {_plain(name): value for name, value in parser.items(section)}
    return {name: value for name, value in found.items() if name in OPTIONS and value}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def _environment() -> dict[str, str]:
    variables = {name: f"PIP_{name.upper().replace('-', '_')}" for name in OPTIONS}
    return {name: value for name, key in variables.items() if (value := os.environ.get(key))}


def _truth(value: str) -> bool:
    if value.lower() not in configparser.RawConfigParser.BOOLEAN_STATES:
        raise WeightsMissing(f"pip's no-index is '{value}'; set it to 1 or 0.")
    return configparser.RawConfigParser.BOOLEAN_STATES[value.lower()]


def _seconds(value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise WeightsMissing(f"pip's timeout is '{value}'; set it to seconds.") from error
