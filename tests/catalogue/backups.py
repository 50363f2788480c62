"""Collections that go into files, and files that nothing of ours wrote."""

import hashlib
import io
import json
import zipfile

import numpy as np

from soundalike.types import Item

SPACE, DIM = "fake/0123456789ab", 16
ODD_IDS = ["ü ö", "a/b/../c", "\u2028", "0", " ", "%2F", '"quoted"', "\U0001f3b5", "x" * 512]
ODD_METADATA = [
    {}, {"text": "line\nbreak \u2028 \x00"}, {"deep": {"er": [1, None, True, 2.5e-300]}},
    {"": ""}, {"big": 2**63 - 1, "tiny": -1e308}, {"\U0001f3b5": "\u00e9"},
]  # fmt: skip
MEMBERS = ["vectors.f32", "items.jsonl", "manifest.json"]


def fill(catalogue, size, name="c", **facts):
    rng = np.random.default_rng(size)
    catalogue.create(name, space=SPACE, dim=DIM, **facts)
    ids = ODD_IDS[:size] + [f"item {n}" for n in range(size - len(ODD_IDS))]
    lengths = 10.0 ** rng.integers(-30, 30, size=size)
    vectors = (rng.normal(size=(size, DIM)) * lengths[:, np.newaxis]).astype(np.float32)
    items = [
        Item(one, vector, ODD_METADATA[n % len(ODD_METADATA)])
        for n, (one, vector) in enumerate(zip(ids, vectors, strict=True))
    ]
    if items:
        catalogue.upsert(name, items)


def snapshot(catalogue, name="c"):
    file = io.BytesIO()
    catalogue.snapshot(name, file)
    return file.getvalue()


def restore(catalogue, content, name="c"):
    return catalogue.restore(name, io.BytesIO(content))


def everything(catalogue, name="c"):
    found, after = [], ""
    while page := catalogue.page(name, after=after, limit=1000):
        found += [(one.id, one.vector.tobytes(), one.metadata) for one in page]
        after = page[-1].id
    return found


def sealed(content):
    """Write the digest of all before it at the end."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


def written_by_hand(ids, vectors, *, metadata="{}", also=None, **manifest):
    """Write version 1 of the format by nothing but this: later versions must read it."""
    lines = "".join(f'{{"id":{json.dumps(one)},"metadata":{metadata}}}\n' for one in ids)
    contents = {
        "vectors.f32": np.asarray(vectors, "<f4").tobytes(), "items.jsonl": lines.encode(),
    }  # fmt: skip
    contents |= also or {}
    collection = {
        "name": "c", "space": SPACE, "dim": 2, "engine": "exact", "model": None,
        "pooling": "mean", "created": 1.5, "transform": None,
    }  # fmt: skip
    told = {
        "format": "soundalike-collection",
        "version": 1,
        "collection": collection | manifest.pop("collection", {}),
        "sequence": 7,
        "items": len(ids),
        "fitted_at": None,
        "members": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    } | manifest
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        archive.writestr("manifest.json", json.dumps(told))
        archive.comment = b"sha256:" + b"0" * 64
    return sealed(file.getvalue())
