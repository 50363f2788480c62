from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def no_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests see no weights but those they make, whatever this machine has, and run on torch."""
    empty = str(tmp_path_factory.mktemp("no-weights"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SOUNDALIKE_MODELS_DIR", "HF_HOME", "HF_HUB_CACHE"):
            patch.setenv(name, empty)  # for the processes that tests start
        patch.setenv("SOUNDALIKE_RUNTIME", "torch")  # which has nothing to convert
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", empty)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real clips and reference arrays, kept beside the checkout and not part of it."""
    folder = ROOT.parent / "shared"
    if not (folder / "audio" / "dev.csv").is_file():
        pytest.skip("the reference data in ../shared is not here")
    return folder
