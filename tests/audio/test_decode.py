import io
import shutil
import struct
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from soundalike.audio.decode import decode
from soundalike.errors import BadRate, BadSamples, TooLong, UndecodableAudio
from tests.sounds import encoded, noise, tone

LOSSLESS = [
    ("WAV", "PCM_U8", 2 / 2**8),
    ("WAV", "PCM_16", 2 / 2**16),
    ("WAV", "PCM_24", 2 / 2**24),
    ("WAV", "PCM_32", 1e-7),
    ("WAV", "FLOAT", 0),
    ("WAV", "DOUBLE", 0),
    ("WAVEX", "PCM_16", 2 / 2**16),
    ("FLAC", "PCM_24", 2 / 2**24),
    ("AIFF", "PCM_16", 2 / 2**16),
]


@pytest.mark.parametrize(("container", "subtype", "step"), LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_lossless_formats_give_the_samples_back(container, subtype, step, channels):
    samples = tone(0.3, rate=44_100, channels=channels)
    clip = decode(encoded(samples, 44_100, container, subtype))
    assert clip.samples.shape == (channels, len(samples))
    assert clip.samples.dtype == np.float32
    assert clip.sample_rate == 44_100
    assert clip.source_channels == channels
    assert not clip.truncated
    np.testing.assert_allclose(clip.samples.T, samples, atol=step)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "ULAW"), ("WAV", "ALAW"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)],
)
def test_lossy_formats_resemble_the_samples(container, subtype):
    samples = tone(1.0, rate=48_000)
    clip = decode(encoded(samples, 48_000, container, subtype))
    length = min(clip.samples.shape[1], len(samples))
    assert abs(clip.samples.shape[1] - len(samples)) < 0.1 * len(samples)
    heard = np.abs(np.fft.rfft(clip.samples[0, :length]))
    meant = np.abs(np.fft.rfft(samples[:length, 0]))
    assert heard.argmax() == meant.argmax()
    assert not clip.truncated


def test_container_names_are_the_usual_ones():
    assert decode(encoded(tone(), container="WAVEX")).format == "WAV"
    assert decode(encoded(tone(), container="FLAC")).format == "FLAC"


def test_mono_is_the_mean_of_the_channels():
    samples = noise(0.2, seed=1).repeat(3, axis=1) * np.array([1, 2, -1], np.float32)
    clip = decode(encoded(samples, subtype="FLOAT"), mono=True)
    assert clip.samples.shape == (1, len(samples))
    np.testing.assert_allclose(clip.samples[0], samples.mean(axis=1, dtype=np.float64), atol=1e-7)
    assert clip.source_channels == 3


def test_path_bytes_and_file_are_the_same(tmp_path):
    content = encoded(tone())
    path = tmp_path / "some.raw"  # a name that libsndfile would take for headerless samples
    path.write_bytes(content)
    expected = decode(content).samples
    np.testing.assert_array_equal(decode(path).samples, expected)
    np.testing.assert_array_equal(decode(io.BytesIO(content)).samples, expected)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"RIFF",
        b"this is a text and not a sound\n" * 50,
        bytes(5000),
        b"OggS" + bytes(90),
        *(b"RIFF RIFX FORM RF64 OggS riff .snd fLaC".split()),
    ],
)
def test_what_is_not_audio_is_undecodable(content):
    with pytest.raises(UndecodableAudio):
        decode(content)


def test_zero_samples_are_undecodable():
    with pytest.raises(UndecodableAudio, match="no samples"):
        decode(encoded(np.zeros((0, 2), np.float32)))


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("AIFF", "PCM_16"), ("FLAC", None), ("OGG", "VORBIS"),
     ("MP3", None)],
)  # fmt: skip
def test_half_a_file_is_used_and_said_to_be_truncated(container, subtype):
    samples = noise(4.0, 44_100)
    whole = encoded(samples, 44_100, container, subtype)
    clip = decode(whole[: len(whole) // 2])
    assert clip.truncated
    assert 0.2 < clip.seconds < 3.0
    intact = decode(whole)
    assert not intact.truncated


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("RF64", None), ("W64", None), ("AU", None), ("OGG", "OPUS"), ("OGG", "VORBIS")],
)
def test_a_little_missing_at_the_end_is_noticed(container, subtype):
    whole = encoded(noise(3.0, 48_000), 48_000, container, subtype)
    assert not decode(whole).truncated
    assert decode(whole[:-1000]).truncated
    assert decode(whole[: 6 * len(whole) // 10]).truncated


def test_an_ogg_that_lacks_its_last_byte_is_truncated():
    whole = encoded(noise(3.0, 48_000), 48_000, "OGG", "VORBIS")
    assert decode(whole[:-1]).truncated


def test_a_big_endian_wav_that_was_cut_is_truncated():
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(1.0), 16_000, format="WAV", subtype="PCM_16", endian="BIG")
    whole = buffer.getvalue()
    assert whole[:4] == b"RIFX"
    assert not decode(whole).truncated
    assert decode(whole[: len(whole) // 2]).truncated


def test_a_header_without_samples_is_undecodable():
    with pytest.raises(UndecodableAudio):
        decode(encoded(tone())[:44])


def test_wav_written_to_a_pipe_does_not_count_as_truncated():
    content = bytearray(encoded(tone()))
    content[4:8] = content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    clip = decode(bytes(content))
    assert clip.samples.shape == (1, 16_000)
    assert not clip.truncated


@pytest.mark.parametrize("rate", [1, 99, 768_001])
def test_rates_nobody_records_at_are_refused(rate):
    with pytest.raises(BadRate) as caught:
        decode(encoded(tone(), rate))
    assert caught.value.facts["got"] == rate


@pytest.mark.parametrize("rate", [100, 8_000, 384_000, 768_000])
def test_unusual_rates_are_taken(rate):
    assert decode(encoded(tone(), rate)).sample_rate == rate


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(value):
    samples = tone()
    samples[500] = value
    with pytest.raises(BadSamples, match="1 of 16000"):
        decode(encoded(samples, subtype="FLOAT"))


def test_samples_louder_than_any_sound_are_refused():
    with pytest.raises(BadSamples, match="beyond any sound"):
        decode(encoded(noise(0.1) * 1e20, subtype="FLOAT"))
    in_the_range_of_sixteen_bits = noise(0.1) * 32768
    assert decode(encoded(in_the_range_of_sixteen_bits, subtype="FLOAT")).clipped > 0.9


def test_clipped_share_counts_samples_at_full_scale():
    samples = tone(amplitude=0.5)
    samples[:160] = 1.0
    assert decode(encoded(samples)).clipped == pytest.approx(0.01)
    assert decode(encoded(tone())).clipped == 0


def test_seconds_are_limited():
    content = encoded(tone(2.0))
    assert decode(content, max_seconds=2.0).seconds == 2.0
    with pytest.raises(TooLong) as caught:
        decode(content, max_seconds=1.9)
    assert caught.value.facts["limit"] == pytest.approx(1.9)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_the_beginning_alone_is_read(container):
    content = encoded(noise(3.0), container=container)
    first = decode(content, first_s=1.25)
    assert first.seconds == 1.25
    assert not first.truncated
    np.testing.assert_array_equal(first.samples, decode(content).samples[:, :20_000])
    assert decode(content, first_s=10).seconds == 3.0
    with pytest.raises(TooLong):
        decode(content, first_s=1, max_seconds=2)


def test_ten_silent_hours_are_refused_without_being_unpacked(monkeypatch):
    # FLAC packs silence so well that the file is a few kilobytes
    content = _silent_flac(hours=10)
    assert len(content) < 2_000_000
    reads = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda *a, **k: reads.append(1) or read(*a, **k)
    )
    with pytest.raises(TooLong):
        decode(content, max_seconds=1200)
    assert not reads


def test_a_header_that_lies_does_not_pass_the_limit():
    content = bytearray(_silent_flac(hours=1))
    # total samples: the last 36 bits of 8 bytes at offset 18; 0 means unknown
    packed = struct.unpack(">Q", content[18:26])[0]
    content[18:26] = struct.pack(">Q", packed & ~0xFFFFFFFFF)
    with pytest.raises(TooLong):
        decode(bytes(content), max_seconds=60)


def test_high_rates_shorten_the_limit_so_that_memory_is_bounded():
    content = encoded(np.zeros((768_000, 1), np.float32), 768_000, subtype="PCM_U8")
    with pytest.raises(TooLong) as caught:
        decode(content, max_seconds=2)
    assert caught.value.facts["limit"] == pytest.approx(0.5)


def _silent_flac(hours):
    buffer = io.BytesIO()
    block = np.zeros(8_000 * 600, np.int16)
    with soundfile.SoundFile(buffer, "w", 8_000, 1, format="FLAC") as file:
        for _ in range(hours * 6):
            file.write(block)
    return buffer.getvalue()


@pytest.fixture
def ffmpeg_on_path(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "ffmpeg"


@pytest.mark.parametrize(
    ("suffix", "name"), [("m4a", "M4A"), ("wma", "WMA"), ("aac", "AAC"), ("webm", "WEBM")]
)
def test_other_containers_go_through_ffmpeg(ffmpeg_on_path, tmp_path, suffix, name):
    samples = tone(2.0, 440, 48_000, channels=2)
    (tmp_path / "in.wav").write_bytes(encoded(samples, 48_000))
    out = tmp_path / f"out.{suffix}"
    subprocess.run([ffmpeg_on_path, "-v", "error", "-i", tmp_path / "in.wav", out], check=True)
    clip = decode(out, max_seconds=10)
    assert clip.format == name
    assert clip.source_channels == 2
    assert clip.seconds == pytest.approx(2.0, abs=0.1)
    peak_hz = np.abs(np.fft.rfft(clip.samples[0])).argmax() / clip.seconds
    assert peak_hz == pytest.approx(440, abs=2)
    with pytest.raises(TooLong):
        decode(out, max_seconds=1)


def test_without_ffmpeg_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(UndecodableAudio, match="M4A is decoded by ffmpeg, which is not installed"):
        decode(b"\0\0\0\x20ftypM4A " + bytes(500))


def test_a_playlist_makes_nothing_open_another_file(ffmpeg_on_path, tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded(tone()))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    with pytest.raises(UndecodableAudio):
        decode(playlist.encode())


def test_broken_m4a_is_undecodable(ffmpeg_on_path):
    with pytest.raises(UndecodableAudio, match="ffmpeg cannot decode this M4A"):
        decode(b"\0\0\0\x20ftypM4A " + bytes(500))
