from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real clips and reference arrays, kept beside the checkout and not part of it."""
    folder = ROOT.parent / "shared"
    if not (folder / "audio" / "dev.csv").is_file():
        pytest.skip("the reference data in ../shared is not here")
    return folder
