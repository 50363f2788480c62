"""Libraries to index, and what can happen to an index on disk."""

import hashlib
import json

import faiss
import numpy as np
from annoy import AnnoyIndex

from soundalike.catalogue import LocalCatalogue
from soundalike.types import Item
from tests.engines.vectors import clustered

COUNT, DIM = 700, 16
NODE = 12 + 4 * DIM  # bytes of a node of Annoy's: descendants, two children, a vector
FILE = {"annoy": "annoy.index", "faiss": "faiss.index"}


def library(folder, vectors, transform=None):
    """Keep vectors in a catalogue; gives its file. Its first collection has the number 1."""
    items = [
        Item(f"{row * 7919 % len(vectors)}.wav", 3 * vector, {"row": row})
        for row, vector in enumerate(vectors)
    ]
    with LocalCatalogue(folder) as catalogue:
        catalogue.create("sounds", space="fake/1", dim=vectors.shape[1], transform=transform)
        catalogue.upsert("sounds", items)
    return folder / "catalogue.sqlite3"


def cut_at_a_node(index):
    return index[: -15 * NODE]


def cut_within_a_node(index):
    return index[: len(index) // 2 + 1]


def empty(index):
    return b""


def zeros(index):
    return bytes(len(index))


def all_ones(index):
    return b"\xff" * len(index)


def flipped(index):
    """Other bits in one byte of a hundred."""
    rng = np.random.default_rng(1)
    changed = np.frombuffer(index, np.uint8).copy()
    some = rng.choice(len(changed), len(changed) // 100, replace=False)
    changed[some] ^= rng.integers(1, 256, len(some), dtype=np.uint8)
    return changed.tobytes()


def with_roots_leading_to(index, child):
    """Annoy's trees, whose roots have a child of another number, told from those of the roots."""
    nodes = np.frombuffer(index, np.uint8).copy().reshape(-1, NODE)
    heads = nodes[:, :12].copy().view(np.int32)
    roots = np.flatnonzero(heads[:, 0] == COUNT)
    heads[roots, 1:] = child(roots)
    nodes[:, :12] = heads.view(np.uint8)
    return nodes.tobytes()


def child_out_of_range(index):
    return with_roots_leading_to(index, lambda roots: 2**31 - 1)


def cyclic_child(index):
    return with_roots_leading_to(index, lambda roots: roots[0])


def of_annoy(vectors, metric, path):
    index = AnnoyIndex(vectors.shape[1], metric)
    for row, vector in enumerate(vectors):
        index.add_item(row, vector.tolist())
    index.build(50, n_jobs=1)
    index.save(str(path))
    return path.read_bytes()


def of_faiss(vectors, metric, path):
    graph = faiss.IndexHNSWFlat(vectors.shape[1], 16, metric)
    graph.add(vectors)
    faiss.write_index(graph, str(path))
    return path.read_bytes()


OTHERS = {
    ("annoy", "wrong dimension"): lambda p: of_annoy(clustered(COUNT, DIM + 1, 1), "angular", p),
    ("annoy", "wrong metric"): lambda p: of_annoy(clustered(COUNT, DIM, 1), "euclidean", p),
    ("annoy", "swapped"): lambda p: of_annoy(clustered(COUNT, DIM, 9), "angular", p),
    ("faiss", "wrong dimension"): lambda p: of_faiss(clustered(COUNT, DIM + 1, 1), 0, p),
    ("faiss", "wrong metric"): lambda p: of_faiss(clustered(COUNT, DIM, 1), faiss.METRIC_L2, p),
    ("faiss", "swapped"): lambda p: of_faiss(clustered(COUNT, DIM, 9), 0, p),
}
DAMAGES = {
    "annoy": [
        cut_at_a_node,
        cut_within_a_node,
        empty,
        zeros,
        all_ones,
        flipped,
        child_out_of_range,
        cyclic_child,
    ],
    "faiss": [cut_within_a_node, empty, zeros, all_ones, flipped],
}
ALL = [(engine, damage.__name__) for engine, damages in DAMAGES.items() for damage in damages]
ALL += list(OTHERS)


def harm(folder, engine, name):
    """Do one of these to the engine's file in a folder."""
    path = folder / FILE[engine]
    made = {damage.__name__: damage for damage in DAMAGES[engine]}
    if name in made:
        path.write_bytes(made[name](path.read_bytes()))
    else:
        path.write_bytes(OTHERS[engine, name](path.with_suffix(".other")))
        path.with_suffix(".other").unlink()


def edit(folder, forged=True, **changes):
    """Change what a manifest says; forged, so that its digest fits."""
    path = folder / "manifest.json"
    facts = json.loads(path.read_text()) | changes
    if forged:
        del facts["digest"]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        facts["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(facts))


def forge(folder):
    """Make the manifest say of the files what they are now."""
    files = {
        path.name: {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    edit(folder, files=files)
