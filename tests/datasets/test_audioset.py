"""Records of AudioSet: as others wrote them, as we write them, and however they are damaged."""

import gzip
import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundalike.datasets import audioset, tfrecord
from soundalike.datasets.audioset import Record
from soundalike.datasets.sequence_example import Malformed
from soundalike.errors import BadRecord, BadRequest, SoundalikeError
from soundalike.pooling import POOLINGS

LABEL = st.integers(0, 526)
SECOND = st.integers(0, 3600).map(float)
ROWS = st.integers(1, 12).flatmap(
    lambda count: st.binary(min_size=128 * count, max_size=128 * count)
)


def record(number=0, rows=1):
    octets = np.random.default_rng(number).integers(0, 256, (rows, 128), np.uint8)
    return Record(f"video-{number:05}", 30.0, 40.0, (number, 137), octets)


def written(*records):
    file = io.BytesIO()
    audioset.write(file, records)
    return file.getvalue()


def read(content):
    """The records of a file, and the faults that were told."""
    told = []
    return list(audioset.read(io.BytesIO(content), told.append)), told


def same(one, other):
    return replace(one, rows=None) == replace(other, rows=None) and np.array_equal(
        one.rows, other.rows
    )


def assert_same(found, expected):
    assert len(found) == len(expected)
    assert all(map(same, found, expected))


THREE = [record(number) for number in range(3)]
FILE = written(*THREE)
STARTS = [0, len(FILE) // 3, 2 * len(FILE) // 3]


def framed(data, length=None):
    """A record around data by the format's definition, its length a lie where one is given."""
    checksum = tfrecord.masked_checksum()
    size = struct.pack("<Q", len(data) if length is None else length)
    return b"".join(
        [size, struct.pack("<I", checksum(size)), data, struct.pack("<I", checksum(data))]
    )


def test_the_checksum_is_castagnolis_masked():
    crc = 0xE3069283  # of "123456789", as CRC-32C's catalogue entry has it
    rotated = crc >> 15 | crc << 17 & 0xFFFFFFFF
    assert tfrecord.masked_checksum()(b"123456789") == (rotated + 0xA282EAD8) % 2**32


class TestMessages:
    def test_another_writers_order_and_unpacked_numbers_are_read(self):
        """Bytes laid out by hand: lists before context, keys reversed, a field a number."""

        def field(number, content):
            size = len(content)
            length = [size] if size < 128 else [size & 127 | 128, size >> 7]
            return bytes([number << 3 | 2, *length]) + content

        def entry(name, feature):
            return field(1, field(2, feature) + field(1, name))

        row = bytes(range(128))
        seconds = field(1, field(1, field(1, row)))
        features = b"".join(
            [
                entry(b"labels", field(3, b"\x08\x00" + b"\x08\x89\x01")),
                entry(b"end_time_seconds", field(2, b"\x0d" + struct.pack("<f", 16))),
                entry(b"start_time_seconds", field(2, b"\x0d" + struct.pack("<f", 6))),
                entry(b"video_id", field(1, field(1, b"abc-_12345Z"))),
            ]
        )
        data = field(2, entry(b"audio_embedding", seconds)) + field(1, features)
        found = audioset.parse(data + b"\x18\x05\x21" + bytes(8))  # then fields nobody knows
        expected = Record("abc-_12345Z", 6.0, 16.0, (0, 137), np.frombuffer(row, np.uint8)[None])
        assert same(found, expected)

    @given(st.lists(LABEL, max_size=4), SECOND, SECOND, ROWS)
    def test_what_is_written_is_read(self, labels, start, seconds, octets):
        rows = np.frombuffer(octets, np.uint8).reshape(-1, 128)
        one = Record("abcdefghijk", start, start + seconds, tuple(labels), rows)
        assert same(audioset.parse(audioset.encode(one)), one)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_malformed(self, data):
        with pytest.raises(Malformed):
            audioset.parse(data)

    @given(st.data())
    def test_a_changed_message_is_a_record_or_malformed(self, data):
        message = bytearray(audioset.encode(THREE[0]))
        at = data.draw(st.integers(0, len(message) - 1))
        message[at : at + 1] = data.draw(st.binary(max_size=3))
        try:
            found = audioset.parse(bytes(message))
        except Malformed:
            return
        assert found.rows.shape[1] == 128

    @pytest.mark.parametrize(
        "changes",
        [
            {"video_id": "short"},
            {"video_id": "../../etc/x"},
            {"start_s": 41.0},
            {"start_s": -1.0},
            {"end_s": float("inf")},
            {"start_s": float("nan")},
            {"labels": (-1,)},
            {"rows": np.empty((0, 128), np.uint8)},
            {"rows": np.zeros((2, 127), np.uint8)},
        ],
    )
    def test_what_no_record_has_is_malformed(self, changes):
        with pytest.raises(Malformed):
            audioset.parse(audioset.encode(replace(THREE[0], **changes)))


class TestDamage:
    """Whatever happens to a file: clear faults, never another record than was written."""

    def test_whole_files_are_read_and_joined_ones_too(self):
        found, told = read(FILE + written(record(3, rows=10)))
        assert_same(found, [*THREE, record(3, rows=10)])
        assert not told
        assert read(b"") == ([], [])

    def test_every_changed_byte_costs_its_record_alone(self):
        for at in range(len(FILE)):
            content = bytearray(FILE)
            content[at] ^= 1 << at % 8
            hit = sum(start <= at for start in STARTS) - 1
            found, told = read(bytes(content))
            assert_same(found, THREE[:hit] + THREE[hit + 1 :])
            assert [(one.facts["record"], one.facts["offset"]) for one in told] == [
                (hit + 1, STARTS[hit])
            ]

    def test_a_file_cut_anywhere_gives_what_is_whole(self):
        for size in range(12, len(FILE)):
            whole = THREE[: size // STARTS[1]]
            found, told = read(FILE[:size])
            assert_same(found, whole)
            assert len(told) == (size not in STARTS)
            assert all("cut off" in one.detail for one in told)

    def test_a_record_that_is_none_is_named_and_passed_over(self):
        found, told = read(framed(b"hello") + FILE)
        assert_same(found, THREE)
        assert "Record 1 at byte 0 is no record of AudioSet" in told[0].detail

    @pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**31, 2**20])
    def test_a_length_beyond_reason_is_passed_over_though_its_checksum_holds(self, length):
        found, told = read(FILE + framed(b"data", length) + FILE)
        assert_same(found, THREE * 2)
        assert [one.facts["record"] for one in told] == [4]

    def test_reading_goes_on_behind_zeros_and_says_where(self):
        found, told = read(FILE + bytes(100_000) + FILE)
        assert_same(found, THREE * 2)
        assert told[0].detail == (
            f"Record 4 at byte {len(FILE):,} has a damaged length; "
            f"what lies before byte {len(FILE) + 100_000:,} is lost."
        )

    def test_reading_stops_where_nothing_follows_for_long(self):
        content = FILE + bytes(1_200_000) + FILE
        found = []
        with pytest.raises(BadRecord, match=r"Record 4 .* cannot be read") as caught:
            found.extend(audioset.read(io.BytesIO(content)))
        assert caught.value.facts == {"record": 4, "offset": len(FILE)}

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (gzip.compress(FILE), "gunzip"),
            (bytes(5000), "no TFRecord file"),
            (b"RIFF" + bytes(range(256)) * 40, "no TFRecord file"),
            (b"\n", "no TFRecord file"),
            (framed(b"", 2**63), "no TFRecord file"),
        ],
    )
    def test_another_kind_of_file_is_refused(self, content, said):
        with pytest.raises(BadRecord, match=said):
            read(content)

    def test_damage_is_logged_where_nobody_asks(self, caplog):
        content = FILE[:-1]
        assert len(list(audioset.read(io.BytesIO(content)))) == 2
        assert "Record 3" in caplog.text

    def test_without_the_checksums_package_it_is_said_what_to_install(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "google_crc32c", None)
        with pytest.raises(SoundalikeError, match=r"soundalike\[audioset\]"):
            read(FILE)


class TestItems:
    def test_vectors_are_the_bytes_as_numbers(self):
        one = record(rows=4)
        wide = one.rows.astype(np.float64)
        expected = np.concatenate([wide.mean(axis=0), wide.std(axis=0)])
        assert audioset.vector(one, "meanstd") == pytest.approx(expected, abs=1e-4)
        flat = audioset.vector(one, "flatten10")
        assert np.array_equal(flat, [*one.rows.ravel(), *[0] * (6 * 128)])

    def test_each_pooling_is_a_space_of_its_own(self):
        spaces = {str(audioset.space(pooling)) for pooling in POOLINGS}
        assert len(spaces) == len(POOLINGS)
        assert all(space.startswith("audioset-vggish/") for space in spaces)

    def test_a_video_that_occurs_again_is_told_apart_by_its_start(self):
        again = replace(THREE[0], start_s=62.5, end_s=70.0)
        found = audioset.items([THREE[0], THREE[1], again])
        assert [one.id for one in found] == ["video-00000", "video-00001", "video-00000@62.5"]

    def test_metadata_hold_labels_by_name_and_a_link_to_the_second(self):
        (item,) = audioset.items([THREE[1]], names={137: "Music"})
        assert item.metadata == {
            "youtube_id": "video-00001",
            "url": "https://www.youtube.com/watch?v=video-00001&t=30s",
            "start_seconds": 30.0,
            "end_seconds": 40.0,
            "labels": ["1", "Music"],
        }

    def test_labels_are_read_by_number(self, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_text('index,mid,display_name\n0,/m/1,Speech\n7,/m/2,"Bark, howl"\n')
        assert audioset.read_labels(path) == {0: "Speech", 7: "Bark, howl"}

    @pytest.mark.parametrize(
        "text", [b"", b"a,b\n1,2\n", b"index,display_name\nx,y\n", b"\xff\xfe"]
    )
    def test_another_table_is_refused(self, tmp_path, text):
        path = tmp_path / "labels.csv"
        path.write_bytes(text)
        with pytest.raises(BadRequest, match=r"labels\.csv"):
            audioset.read_labels(path)


def test_the_released_features_are_read_whole_and_written_again(shared):
    with (shared / "audioset" / "bal_train.tfrecord").open("rb") as file:
        found = list(audioset.read(file, pytest.fail))
    names = audioset.read_labels(shared / "audioset" / "class_labels_indices.csv")
    assert len(found) == 22_160
    assert sum(len(one.rows) == 10 for one in found) == 21_782
    assert sum(137 in one.labels for one in found) == 6_244
    assert {label for one in found for label in one.labels} == names.keys()
    some = found[::100]
    assert_same(read(written(*some))[0], some)
