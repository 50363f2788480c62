"""Work that must not stand in the way of the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from soundalike.errors import SoundalikeError
from soundalike.extract.extraction import Extraction
from soundalike.extract.extractor import Extractor


@dataclass(frozen=True, slots=True)
class Wish:
    """How a sound is to be embedded; see `Extractor.extract`."""

    pooling: str | None = None
    normalize: bool = True
    window_vectors: bool = False


class Batching:
    """Embeds sounds on a fixed number of threads.

    Parameters
    ----------
    threads : int
        Sounds that are worked on at the same time; the others wait.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed")

    async def embed(self, extractor: Extractor, file: BinaryIO, wish: Wish) -> Extraction:
        """Embed one sound.

        Raises
        ------
        SoundalikeError
            As `Extractor.extract` does.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._pool,
            lambda: extractor.extract(
                file,
                wish.pooling,
                normalize=wish.normalize,
                window_vectors=wish.window_vectors,
            ),
        )

    async def embed_all(
        self, extractor: Extractor, files: list[BinaryIO], wish: Wish
    ) -> list[Extraction | SoundalikeError]:
        """Embed many sounds; one that cannot be used leaves its fault in its place."""

        async def one(file: BinaryIO) -> Extraction | SoundalikeError:
            try:
                return await self.embed(extractor, file, wish)
            except SoundalikeError as fault:
                return fault

        return list(await asyncio.gather(*(one(file) for file in files)))

    def close(self) -> None:
        """Let what runs finish, and drop what waits."""
        self._pool.shutdown(cancel_futures=True)
