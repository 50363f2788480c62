"""What several verbs share: where the services are, and how JSON is printed."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundalike.client import Client

EMBEDDER_PORT, RECOMMENDER_PORT = 8001, 8002


def data_dir() -> Path:
    """Give the folder of SOUNDALIKE_DATA_DIR, as the services do."""
    return Path(os.environ.get("SOUNDALIKE_DATA_DIR") or Path.home() / ".soundalike")


def first_key() -> str | None:
    """Give the first of SOUNDALIKE_API_KEYS, which the services take; None where there is none."""
    keys = (key.strip() for key in os.environ.get("SOUNDALIKE_API_KEYS", "").split(","))
    return next(filter(None, keys), None)


def one_thread_a_sound() -> None:
    """Have numpy compute on the thread that asks; to be called before it is imported.

    A sound has a thread of its own. Those that OpenBLAS adds wait for each other wherever a core
    has something else to do, and what takes 0.4 s takes 1.1.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def add_services(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the services are."""
    parser.add_argument(
        "--embedder-url",
        default=os.environ.get("SOUNDALIKE_EMBEDDER_URL", f"http://localhost:{EMBEDDER_PORT}"),
        help="the embedder (SOUNDALIKE_EMBEDDER_URL; %(default)s)",
    )
    parser.add_argument(
        "--recommender-url",
        default=os.environ.get(
            "SOUNDALIKE_RECOMMENDER_URL", f"http://localhost:{RECOMMENDER_PORT}"
        ),
        help="the recommender (SOUNDALIKE_RECOMMENDER_URL; %(default)s)",
    )
    parser.add_argument(
        "--api-key",
        default=os.environ.get("SOUNDALIKE_API_KEY"),
        help="a key of both services, where they ask for one (SOUNDALIKE_API_KEY)",
    )


def add_collection(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a collection."""
    parser.add_argument(
        "--collection", default="default", help="name of the collection (%(default)s)"
    )


def client(args: argparse.Namespace) -> Client:
    """Make the client that `add_services` describes."""
    from soundalike.client import Client

    return Client(args.embedder_url, args.recommender_url, args.api_key)


def print_json(content: Any) -> None:
    """Print one line of JSON; arrays become lists."""
    print(json.dumps(content, default=lambda array: array.tolist()), flush=True)
