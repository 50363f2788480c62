import io

import pytest

from soundalike.audio import containers
from tests.sounds import encoded, noise

WAV = encoded(noise(1.0))
EMPTY_CHUNK = b"JUNK\0\0\0\0"


class Counted(io.BytesIO):
    """Counts how often it is read."""

    reads = 0

    def read(self, size=-1):
        self.reads += 1
        return super().read(size)


@pytest.mark.parametrize("cut", [False, True])
def test_chunks_before_the_sound_are_passed_over(cut):
    content = WAV[:12] + 1000 * EMPTY_CHUNK + WAV[12:]
    assert containers.is_cut(io.BytesIO(content[:-1000] if cut else content)) is cut


def test_a_file_of_empty_chunks_is_not_read_to_its_end():
    file = Counted(WAV[:12] + 100_000 * EMPTY_CHUNK)
    assert not containers.is_cut(file)
    assert file.reads < 10_000
