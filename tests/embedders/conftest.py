import pytest

from tests.embedders.checkpoints import (
    DINO_SIZES,
    MERT_SIZES,
    TINY_CLAP,
    write_clap,
    write_dino,
    write_mert,
)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory):
    """A models folder with a small checkpoint for every embedder that needs one."""
    folder = tmp_path_factory.mktemp("small-models")
    write_clap(folder / "clap", TINY_CLAP)
    for key in MERT_SIZES:
        write_mert(folder / key, key)
    for key in DINO_SIZES:
        write_dino(folder / key, key, layers=1)
    return folder
