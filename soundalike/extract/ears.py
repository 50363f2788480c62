"""What runs on the machines of a cluster: the desk beside the driver, and the ears elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.errors import WeightsMissing
from soundalike.extract.extractor import Extractor
from soundalike.extract.listener import Fault, Listener, Told
from soundalike.extract.loading import Extractors
from soundalike.extract.outputs import Content
from soundalike.extract.parcel import packed

if TYPE_CHECKING:
    import pyarrow as pa

ATTEMPTS = 4  # at one file: machines may go while it is heard, and it may be what kills them
DONE_WITH: dict[str, Any] = {"path": "", "sha256": "", "models": [], "content": None}


class Desk:
    """Where tasks wait for hands: an actor beside the driver.

    Whoever takes them up may be made to do so again from the first one on.
    """

    def __init__(self) -> None:
        self._laid = 0
        self._rows: dict[int, dict[str, Any] | None] = {}
        self._attempts: Counter[int] = Counter()
        self._more = asyncio.Condition()

    async def lay(self, number: int, row: dict[str, Any] | None) -> None:
        """Lay the next task down; None says that there is no further one."""
        async with self._more:
            self._rows[number], self._laid = row, number + 1
            self._more.notify_all()

    async def take(self, number: int) -> dict[str, Any] | None:
        """Take a task up once it is there; one that is done with has no models."""
        async with self._more:
            await self._more.wait_for(lambda: self._laid > number)
        return self._rows.get(number, DONE_WITH)

    async def clear(self, number: int) -> None:
        """Forget a task that is done with."""
        del self._rows[number], self._attempts[number]

    async def attempt(self, number: int) -> int:
        """Count how often a file was begun."""
        self._attempts[number] += 1
        return self._attempts[number]


def taken(_: pa.Table, desk: Any) -> Iterator[pa.Table]:
    """Take tasks up from the desk as long as there are any; a table of one row each."""
    import pyarrow as pa
    import ray

    schema = pa.schema(
        {
            "number": pa.int64(),
            "path": pa.string(),
            "sha256": pa.string(),
            "models": pa.list_(pa.string()),
            "content": pa.large_binary(),
        }
    )
    for number in count():
        row = ray.get(desk.take.remote(number))
        if row is None:
            return
        yield pa.Table.from_pylist([{"number": number, **row}], schema)


class Ears:
    """Holds the models on one machine and hears files: an actor.

    Parameters
    ----------
    desk : actor handle
        Counts the attempts at each file.
    spaces : mapping of str to str
        The models, and the space that each must have here too.
    max_seconds : float, optional
        The longest sound that is taken.
    """

    def __init__(self, desk: Any, spaces: Mapping[str, str], max_seconds: float | None) -> None:
        self._desk, self._spaces = desk, spaces
        self._extractors = Extractors()
        for name in spaces:
            self._extractors.begin(name)
        self._listener = Listener(self._extractor, max_seconds=max_seconds)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Hear files; a row each, as `packed` lays it out."""
        import pyarrow as pa

        told = [packed(self._hear(row)) for row in rows.to_pylist()]
        return pa.table({"number": rows["number"], "told": pa.array(told, pa.large_binary())})

    def _hear(self, row: Mapping[str, Any]) -> Told:
        import ray

        path = Path(row["path"])
        if not row["models"]:
            return Told({})
        if ray.get(self._desk.attempt.remote(row["number"])) > ATTEMPTS:
            reason = "Whatever heard it died, of it or for want of memory."
        elif row["content"] is None and is_another(path, row["sha256"]):
            reason = (
                f"'{path}' is not this file on a machine of the cluster; where the machines do not "
                "share the folder, say --ray-send-files."
            )
        else:
            source = path if row["content"] is None else row["content"]
            return self._listener.hear(source, row["models"])
        return Told(dict.fromkeys(row["models"], Fault(reason)))

    def _extractor(self, name: str) -> Extractor:
        extractor = self._extractors.get(name)
        space = str(extractor.space())
        if space != self._spaces[name]:
            raise WeightsMissing(
                f"'{name}' makes vectors of {space} on a machine of the cluster and of "
                f"{self._spaces[name]} here; it takes the same weights and the same soundalike on "
                "all of them."
            )
        return extractor


def is_another(path: Path, sha256: str) -> bool:
    """Tell whether there is another file, or none, under a path."""
    try:
        return Content.of(path).sha256 != sha256
    except OSError:  # the driver has read it just now
        return True
