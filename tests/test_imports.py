"""Who may import whom: every import of ours is read, those inside functions too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASE = {"types", "errors"}

# room: (rooms of soundalike and services it may import, packages for its modules' tops,
#        further packages inside functions alone)
TABLE = {
    "errors": (set(), set(), set()),
    "types": ({"errors"}, {"numpy"}, set()),
    "pooling": (BASE, {"numpy"}, set()),
    "audio": (BASE, {"numpy", "soundfile", "soxr"}, {"librosa"}),
    "embedders": (
        BASE | {"audio.colours", "audio.spectra", "pooling"},
        {"numpy"},
        {
            "torch",
            "transformers",
            "openvino",
            "scipy",
            "huggingface_hub",
            "httpx",
            "safetensors",
            "h5py",
            "unearth",
            "httpx2",
        },
    ),
    "extract": (BASE | {"audio", "embedders", "pooling"}, {"numpy"}, {"pyarrow", "ray"}),
    "engines": (BASE, {"numpy", "annoy", "faiss"}, set()),
    "catalogue": (BASE | {"engines"}, {"numpy"}, {"psycopg"}),
    "synthesis": (BASE, {"numpy", "scipy"}, set()),
    "datasets": (BASE | {"synthesis", "pooling"}, {"numpy"}, {"pyarrow", "google_crc32c"}),
    "evaluation": (
        BASE | {"datasets", "catalogue", "engines", "pooling"},
        {"numpy"},
        {"scipy", "torch"},
    ),
    "training": (
        BASE | {"synthesis", "embedders", "audio.spectra", "evaluation"},
        {"numpy", "torch"},
        {"safetensors"},
    ),
    "pictures": (BASE | {"audio"}, {"numpy"}, {"matplotlib"}),
    "client": (BASE, {"numpy", "httpx"}, set()),
    "cli": ({"soundalike"}, set(), {"tqdm", "uvicorn", "numpy"}),
    # the package's own page, which imports what it offers when it is asked for
    "soundalike": ({"extract", "client", "types", "cli"}, set(), set()),
    "services/common": (
        {"errors"},
        {"fastapi", "starlette", "prometheus_client", "pydantic", "pydantic_settings", "orjson"},
        set(),
    ),
    "services/embedder": (
        BASE | {"services/common", "extract", "embedders", "audio", "pictures"},
        {"fastapi", "starlette", "pydantic", "numpy"},
        set(),
    ),
    "services/recommender": (
        BASE | {"services/common", "catalogue", "engines", "client", "pictures"},
        {"fastapi", "starlette", "pydantic", "numpy"},
        set(),
    ),
}
STANDARD = __import__("sys").stdlib_module_names


def modules():
    for top in ("soundalike", "services"):
        yield from sorted((ROOT / top).rglob("*.py"))


def room_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "services":
        return "/".join(parts[:2]) if len(parts) > 2 else None
    return parts[1] if parts[1] not in ("__init__", "__main__") else "soundalike"


def imports_of(path):
    """Yield (dotted name, inside a function or for types alone) of every import."""
    tree = ast.parse(path.read_text())
    package = list(path.relative_to(ROOT).parts[:-1])
    nested = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING")
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in nested) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{name}.{alias.name}", node in nested


def is_module(dotted):
    path = ROOT / Path(*dotted.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def ours(dotted):
    """The room and module of one of our own imports: ('audio', 'audio.spectra')."""
    parts = dotted.split(".")
    if parts[0] == "services":
        return "/".join(parts[:2]), "/".join(parts[:2])
    if len(parts) == 1 or not is_module(".".join(parts[:2])):
        return "soundalike", "soundalike"
    return parts[1], ".".join(parts[1:3])


def complaints(path, table=TABLE):
    room = room_of(path)
    if room is None:
        return
    allowed, at_top, inside = table[room]
    for dotted, nested in imports_of(path):
        package = dotted.partition(".")[0]
        if package in ("soundalike", "services"):
            target, module = ours(dotted)
            everything = "soundalike" in allowed and package == "soundalike"
            if target != room and not everything and not {target, module} & allowed:
                yield f"{path.relative_to(ROOT)} imports {dotted}"
        elif package not in STANDARD and package not in at_top | (inside if nested else set()):
            yield f"{path.relative_to(ROOT)} imports {dotted}{'' if nested else ' at its top'}"


def test_every_module_keeps_to_the_table():
    assert not [complaint for path in modules() for complaint in complaints(path)]


def test_every_room_stands_in_the_table():
    assert {room for path in modules() if (room := room_of(path))} <= TABLE.keys()


@pytest.mark.parametrize(
    "line",
    [
        "from soundalike.catalogue import store",
        "from ..engines import annoy",
        "def f():\n    import soundalike.client",
        "import fastapi",
        "from services.common import wire",
        "import torch",
        "from soundalike import embed",
    ],
)
def test_the_test_sees_what_is_forbidden(monkeypatch, line):
    path = ROOT / "soundalike" / "audio" / "_never_written.py"
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: line)
    assert list(complaints(path))
