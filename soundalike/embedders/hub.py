"""The model hub: what it holds of a model, and how that gets here.

The hub's own library knows where the hub is (HF_ENDPOINT), who asks (HF_TOKEN)
and how a file is described. The bytes are fetched here, because a download
that was broken off has to go on where it stopped, in another process too.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from soundalike.errors import WeightsMissing

if TYPE_CHECKING:
    import httpx
    from huggingface_hub import HfFileMetadata

REACHED_WITHIN_S = 4.5
SHA256 = re.compile(r"[0-9a-f]{64}")

Progress = Callable[[int, int | None], None]
"""Is told how many bytes are here, and how many there are where that is known."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as the hub describes it.

    Attributes
    ----------
    name : str
        Its path in the repository.
    url : str
        Where it is.
    sha256 : str or None
        Its digest, which the hub knows of large files.
    size_bytes : int or None
        Its size.
    """

    name: str
    url: str
    sha256: str | None
    size_bytes: int | None


class Hub:
    """One repository, in the state in which it is first met.

    Parameters
    ----------
    repository : str
        Its name.

    Attributes
    ----------
    revision : str or None
        The commit from which every file is taken; None before the first look-up.
    """

    def __init__(self, repository: str) -> None:
        self.repository = repository
        self.revision: str | None = None
        self._endpoint = os.environ.get("HF_ENDPOINT")

    def look_up(self, name: str) -> Remote | None:
        """Ask what the hub has under a name.

        Returns
        -------
        Remote or None
            None where the repository has no such file.

        Raises
        ------
        WeightsMissing
            The hub cannot be reached within 5 seconds, or does not give the repository away.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError

        url = hf_hub_url(self.repository, name, revision=self.revision, endpoint=self._endpoint)
        try:
            found = _within(REACHED_WITHIN_S, lambda: _describe(url))
        except EntryNotFoundError:
            return None
        except Exception as error:  # whatever its transport raises, which is not ours to know
            raise self._unreachable(error) from error
        if found.commit_hash is None:
            raise WeightsMissing(
                f"{self._address} answers, and not as a model hub does; check HF_ENDPOINT and "
                "whatever proxy lies in between."
            )
        self.revision = found.commit_hash
        digest = found.etag if found.etag and SHA256.fullmatch(found.etag) else None
        return Remote(name, url, digest, found.size)

    @property
    def _address(self) -> str:
        from huggingface_hub import constants

        return self._endpoint or constants.ENDPOINT

    def _unreachable(self, error: Exception) -> WeightsMissing:
        from huggingface_hub.errors import (
            HfHubHTTPError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
        )

        if isinstance(error, OfflineModeIsEnabled):
            return WeightsMissing(
                "HF_HUB_OFFLINE is set, so nothing is fetched; unset it, or bring the files with "
                "'soundalike models pull --from'."
            )
        if isinstance(error, RepositoryNotFoundError):
            return WeightsMissing(
                f"{self._address} has no '{self.repository}', or does not show it to just "
                "anybody; set HF_TOKEN where you have a token."
            )
        said = (
            f"answers {error.response.status_code}"
            if isinstance(error, HfHubHTTPError)
            else ("cannot be reached")
        )
        return WeightsMissing(
            f"The model hub at {self._address} {said}; try again when it is there, or bring the "
            "files from another machine with 'soundalike models pull --from'."
        )


def _describe(url: str) -> HfFileMetadata:
    from huggingface_hub import get_hf_file_metadata

    return get_hf_file_metadata(url, timeout=REACHED_WITHIN_S)


def _within(seconds: float, function: Callable[[], Answer]) -> Answer:
    """Call a function in a thread of its own: the look-up of a name knows no time limit."""
    answer: Future[Answer] = Future()

    def call() -> None:
        try:
            answer.set_result(function())
        except Exception as error:  # handed on to whoever waits
            answer.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return answer.result(seconds)


def download(remote: Remote, path: Path, progress: Progress) -> None:
    """Fetch a file, going on from what is there of it.

    A connection that breaks is taken up again as long as each attempt brings more.

    Parameters
    ----------
    remote : Remote
        What to fetch.
    path : Path
        Where it goes, and where its beginning may lie already.
    progress : callable
        See `Progress`.

    Raises
    ------
    WeightsMissing
        The hub stopped sending; what came stays.
    OSError
        It cannot be written.
    """
    import httpx

    while True:
        had = _size(path)
        try:
            _stream(remote, path, progress)
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            if isinstance(error, httpx.TransportError) and _size(path) > had:
                continue
            raise WeightsMissing(
                f"{remote.name} stopped after {_size(path):,} of {remote.size_bytes or 0:,} "
                f"bytes ({_reason(error)}); run the same command again, and it goes on from there."
            ) from error
        return


def _reason(error: httpx.HTTPError) -> str:
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return str(error) or "nothing came any more"


def _stream(remote: Remote, path: Path, progress: Progress) -> None:
    import httpx
    from huggingface_hub import constants, get_token

    start = _size(path)
    if start and start == remote.size_bytes:
        return
    # compressed on the way, a file could not be taken up in its middle
    headers = {"Accept-Encoding": "identity"}
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"
    if start:
        headers["Range"] = f"bytes={start}-"
    timeout = httpx.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT, connect=REACHED_WITHIN_S)
    with httpx.stream(
        "GET", remote.url, headers=headers, follow_redirects=True, timeout=timeout
    ) as answer:
        if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            path.unlink()  # more is here than there: it is of another file
        answer.raise_for_status()
        _write(answer, path, start, remote.size_bytes, progress)


def _write(
    answer: httpx.Response, path: Path, start: int, size_bytes: int | None, progress: Progress
) -> None:
    goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    here = start if goes_on else 0
    with path.open("ab" if goes_on else "wb") as file:
        for chunk in answer.iter_raw():
            file.write(chunk)
            here += len(chunk)
            progress(here, size_bytes)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
