"""Which code figures hang on."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "soundalike"
DIGEST_DIGITS = 12


def code_version() -> str:
    """Name the version of the package, with a digest of all modules beside and below this one."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return f"{metadata.version(DISTRIBUTION)}+{digest.hexdigest()[:DIGEST_DIGITS]}"
