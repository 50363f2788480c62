"""What the services write to their log."""

from __future__ import annotations

import logging

OURS = ("services", "soundalike")
SERVER = "uvicorn.error"  # despite its name it is the server's main one
LINE = "%(asctime)s %(levelname)s %(message)s"


def join_server() -> None:
    """Write our lines where the server writes its own, from the level that it was given.

    Does nothing where no server has set up a log.
    """
    if not logging.getLogger("uvicorn").handlers:
        return
    level = logging.getLogger(SERVER).getEffectiveLevel()
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        if not logger.handlers:
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter(LINE))
            logger.addHandler(handler)
