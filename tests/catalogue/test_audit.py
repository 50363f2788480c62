"""What an audit finds, against what was planted and against plain counting."""

import base64
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundalike.catalogue import LocalCatalogue, fingerprints
from soundalike.catalogue.audit import audit
from soundalike.errors import BadRequest, UnknownCollection
from soundalike.types import Item

SPACE = "fake/0123456789ab"


@pytest.fixture
def catalogue(tmp_path):
    with LocalCatalogue(tmp_path, exact_below=50) as catalogue:
        yield catalogue


def fill(catalogue, items, engine="exact"):
    catalogue.create("c", space=SPACE, dim=len(items[0].vector), engine=engine)
    catalogue.upsert("c", items)


def points(count, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def printed(rows):
    return "1:" + base64.b64encode(np.asarray(rows, "<u2").tobytes()).decode()


def random_print(seed, rows=60):
    return np.random.default_rng(seed).integers(1, 1 << 16, rows).astype(np.uint16)


def heard(**metadata):
    return {"path": "x", "seconds": 5.0, "silent": 0.0} | metadata


def near(vector, seed=0, spread=0.01):
    return vector + spread * np.random.default_rng(seed).normal(size=vector.shape).astype("f4")


def ids_of(findings):
    return [one.ids for one in findings.listed]


def test_equal_files_are_exact_duplicates(catalogue):
    a, b, c = points(3)
    fill(catalogue, [Item("a", a, heard(sha256="1")), Item("b", b, heard(sha256="2")),
                     Item("c", c, heard(sha256="1"))])  # fmt: skip
    (group,) = audit(catalogue, "c").exact_duplicates.listed
    assert (group.ids, group.proof) == (["a", "c"], "content")


def test_equal_vectors_are_exact_duplicates_where_they_are_as_long(catalogue):
    a, b = points(2)
    items = [
        Item("a", a, heard(sha256="1")), Item("b", a, heard(sha256="2")),
        Item("longer", a, heard(sha256="3", seconds=9.0)), Item("other", b, heard(sha256="4")),
    ]  # fmt: skip
    fill(catalogue, items)
    found = audit(catalogue, "c")
    (group,) = found.exact_duplicates.listed
    assert (group.ids, group.proof) == (["a", "b"], "vector")
    assert found.near_duplicates.count == found.alike.count == 0


def test_a_pair_is_near_by_its_fingerprints_and_length(catalogue):
    vector, print_ = points(1)[0], random_print(0)
    wrong = print_ ^ np.where(np.arange(60) % 4 == 0, 0b101, 0).astype(np.uint16)
    items = [
        Item("one", vector, heard(fingerprint=printed(print_))),
        Item("cut", near(vector, 1), heard(seconds=4.95, fingerprint=printed(wrong[3:]))),
        Item("other", near(vector, 2), heard(fingerprint=printed(random_print(1)))),
        Item("longer", near(vector, 3), heard(seconds=6.0, fingerprint=printed(print_))),
    ]
    fill(catalogue, items)
    found = audit(catalogue, "c")
    (pair,) = found.near_duplicates.listed
    assert pair.ids == ("cut", "one")
    assert pair.bit_error_rate == pytest.approx(14 * 2 / (57 * 16), abs=1e-4)
    assert pair.score == pytest.approx(found_cosine(items[0], items[1]), abs=1e-6)
    assert found.alike.count == 0


def found_cosine(one, other):
    a, b = one.vector.astype(float), other.vector.astype(float)
    return a @ b / np.sqrt((a @ a) * (b @ b))


@pytest.mark.parametrize(
    "text", [None, 5, "", "1:", "1:!", "2:AAAA", "1:QQ==", printed([0] * 60), printed([1] * 1001)]
)
def test_without_fingerprints_nothing_is_called_a_duplicate(catalogue, text):
    vector = points(1)[0]
    for name, seed in (("a", 1), ("b", 2)):
        metadata = heard(fingerprint=text) if text is not None else heard()
        if name == "a":
            catalogue.create("c", space=SPACE, dim=8)
        catalogue.upsert("c", [Item(name, near(vector, seed, 0.001), metadata)])
    found = audit(catalogue, "c")
    assert found.near_duplicates.count == 0
    assert ids_of(found.alike) == [("a", "b")]
    assert found.without_fingerprint.listed == ["a", "b"]


def test_silence_is_told_and_is_no_duplicate_of_silence(catalogue):
    vectors = points(6)
    quiet = [Item(f"q{n}", near(vectors[0], n, 1e-3), heard(silent=1.0)) for n in range(3)]
    fill(catalogue, [*quiet, *(Item(f"i{n}", v, heard()) for n, v in enumerate(vectors[1:]))])
    found = audit(catalogue, "c")
    assert found.silent.listed == ["q0", "q1", "q2"]
    assert found.near_duplicates.count == found.alike.count == found.exact_duplicates.count == 0


def test_a_vector_of_many_different_sounds_is_constant(catalogue):
    same, *others = points(8)
    items = [Item(f"s{n}", same, heard(sha256=str(n), seconds=1.0 + n)) for n in range(6)]
    fill(catalogue, items + [Item(f"o{n}", v, heard()) for n, v in enumerate(others)])
    found = audit(catalogue, "c")
    (constant,) = found.constant.listed
    assert (constant.items, constant.ids) == (6, ["s0", "s1", "s2", "s3", "s4"])
    assert found.exact_duplicates.count == 0


def test_sources_and_sizes_are_told(catalogue):
    a, b, c = points(3)
    items = [Item("a", a, heard()), Item("b", b, {"url": "u"}), Item("c", c, {"path": ""})]
    fill(catalogue, items)
    found = audit(catalogue, "c")
    assert found.without_source.listed == ["c"]
    assert (found.items, found.dim, found.space, found.seconds) == (3, 8, SPACE, 5.0)
    assert found.vector_bytes == 3 * 8 * 4
    assert found.metadata_bytes == len(
        '{"path": "x", "seconds": 5.0, "silent": 0.0}{"url": "u"}{"path": ""}'
    )


def test_hubs_are_counted_as_one_counts_by_hand(catalogue):
    rng = np.random.default_rng(3)
    centre = rng.normal(size=16)
    vectors = (centre + 2.5 * rng.normal(size=(200, 16))).astype(np.float32)
    vectors[7] = centre
    fill(catalogue, [Item(f"{n:03}", vector) for n, vector in enumerate(vectors)])
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, axis=1)[:, :5]
    counts = Counter(nearest.ravel().tolist())
    every = np.array([counts[n] for n in range(200)])
    hubs = audit(catalogue, "c", k=5).hubs
    assert hubs.never == np.count_nonzero(every == 0)
    expected = np.mean((every - every.mean()) ** 3) / np.mean((every - every.mean()) ** 2) ** 1.5
    assert hubs.skewness == pytest.approx(expected, abs=1e-4)
    assert (hubs.listed[0].id, hubs.listed[0].occurrences) == ("007", every[7])
    assert hubs.count == np.count_nonzero(every >= 25)


def test_recall_is_measured_with_single_queries(catalogue, engines_serve, monkeypatch):
    fill(catalogue, [Item(f"{n:04}", v) for n, v in enumerate(points(400))], engine="annoy")
    catalogue.rebuild("c")
    assert not catalogue.describe("c").exact
    real, seen = catalogue.recommend, []

    def forgetful(name, queries, k=10, **how):
        """Lose the item next to the query where that is asked for alone, and not exactly."""
        answers = real(name, queries, k, exact=True)
        if how.get("exact") or len(queries) > 1:
            return answers
        seen.append(queries)
        itself, _, *others = answers[0].neighbours
        return [replace(answers[0], neighbours=(itself, *others))]

    monkeypatch.setattr(catalogue, "recommend", forgetful)
    recall = audit(catalogue, "c", k=4).recall
    assert (recall.value, recall.queries, recall.k) == (0.75, len(seen), 4)
    assert len(seen) == 100


def test_all_are_counted_and_some_listed_and_nothing_is_changed(catalogue):
    items = [Item(f"{n:02}", v, {}) for n, v in enumerate(points(30))]
    fill(catalogue, items)
    before = catalogue.describe("c"), [asdict(one) for one in catalogue.page("c")]
    found = audit(catalogue, "c", limit=7)
    assert found.without_source.count == 30
    assert found.without_source.listed == [f"{n:02}" for n in range(7)]
    after = catalogue.describe("c"), [asdict(one) for one in catalogue.page("c")]
    np.testing.assert_equal(after, before)


def test_an_empty_collection_has_nothing_wrong(catalogue):
    catalogue.create("c", space=SPACE, dim=3)
    found = audit(catalogue, "c")
    assert (found.items, found.recall.value, found.hubs.skewness) == (0, 1.0, 0.0)


def test_what_makes_no_sense_is_refused(catalogue):
    with pytest.raises(UnknownCollection):
        audit(catalogue, "none")
    catalogue.create("c", space=SPACE, dim=3)
    for wrong in ({"k": 0}, {"k": 101}, {"limit": 0}):
        with pytest.raises(BadRequest):
            audit(catalogue, "c", **wrong)


@pytest.mark.parametrize(
    ("rows", "differing", "same"),
    [
        (60, 3, True),
        (60, 5, False),
        (20, 2, True),
        (20, 3, False),
    ],
)
def test_of_less_sound_more_bits_must_agree(catalogue, rows, differing, same):
    """Of each 16 bits so many differ: 3 are 19 %, 5 are 31 %, 2 are 12.5 %."""
    vector, print_ = points(1)[0], random_print(0, rows)
    other = print_ ^ np.uint16((1 << differing) - 1)
    fill(catalogue, [Item("a", vector, heard(fingerprint=printed(print_))),
                     Item("b", near(vector), heard(fingerprint=printed(other)))])  # fmt: skip
    assert audit(catalogue, "c").near_duplicates.count == same


rows = st.lists(st.integers(0, 65535), min_size=10, max_size=40)


@given(rows, rows)
def test_the_bit_error_rate_is_the_least_over_offsets(one, other):
    def plain(offset):
        pairs = [(a, other[n - offset]) for n, a in enumerate(one) if 0 <= n - offset < len(other)]
        pairs = [(a, b) for a, b in pairs if a and b]
        most = max(sum(map(bool, one)), sum(map(bool, other)))
        if len(pairs) < max(0.6 * most, 10):
            return 1.0
        return sum((a ^ b).bit_count() for a, b in pairs) / (16 * len(pairs))

    expected = min(map(plain, range(-8, 9)))
    found = fingerprints.bit_error_rate(np.array(one, np.uint16), np.array(other, np.uint16))
    assert found == pytest.approx(expected)
