"""Sound files of every kind are read alike, and what is no sound is named."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samples.noises import tone
from variorum.core import VariorumError
from variorum.data.recordings import Recording, read_sound, sound_header

SOUND = tone(440, 0.5).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "subtype", "near"),
    [
        ("a.wav", "PCM_U8", 1e-2),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-6),
        ("a.wav", "FLOAT", 0),
        ("a.flac", "PCM_16", 1e-4),
        ("a.aiff", "PCM_16", 1e-4),
        ("a.ogg", "VORBIS", 0.2),
        ("ö 一 'x'.mp3", "MPEG_LAYER_III", 0.4),
    ],
)
def test_kinds_of_files(tmp_path: Path, name: str, subtype: str, near: float) -> None:
    soundfile.write(tmp_path / name, SOUND, 8000, subtype=subtype)
    found = read_sound(tmp_path / name)
    assert found.rate == 8000 and found.samples.dtype == torch.float32
    assert abs(len(found.samples) - len(SOUND)) <= 1200 * (subtype == "MPEG_LAYER_III")
    same = min(len(found.samples), len(SOUND))
    assert np.corrcoef(found.samples[:same], SOUND[:same])[0, 1] > 0.9 or subtype == "MPEG_LAYER_III"
    np.testing.assert_allclose(found.samples[:same].numpy().std(), SOUND.std(), rtol=max(near, 1e-4))


def test_it_hears_what_the_standard_library_does(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([SOUND, 0.5 * SOUND], axis=1), 8000, subtype="PCM_16")
    with wave.open(str(tmp_path / "a.wav")) as file:
        plain = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).mean(axis=1) / 32768
    np.testing.assert_allclose(read_sound(tmp_path / "a.wav").samples, plain, atol=1e-7)
    assert sound_header(tmp_path / "a.wav") == (8000, 2, 0.5)


def test_channels_that_cancel_give_way_to_the_loudest(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([SOUND, -SOUND], axis=1), 8000, subtype="FLOAT")
    np.testing.assert_array_equal(read_sound(tmp_path / "a.wav").samples.numpy(), SOUND)


def test_of_a_long_file_only_the_middle_is_decoded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", SOUND, 8000)
    whole, part = read_sound(tmp_path / "a.flac"), read_sound(tmp_path / "a.flac", longest=0.1)
    torch.testing.assert_close(part.samples, whole.middle(0.1).samples)
    assert len(part.samples) == 800


def test_another_rate_keeps_the_pitch() -> None:
    for rate in (16000, 11025, 4000):
        sound = Recording(torch.from_numpy(tone(440, 1.0, 8000, level=0.5)).float(), 8000).at(rate)
        assert abs(len(sound.samples) - rate) <= 1
        assert np.abs(np.fft.rfft(sound.samples.numpy())).argmax() == pytest.approx(440, abs=1)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_cut_short_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, SOUND, 8000)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(VariorumError, match=rf"a\{suffix}: expected a sound, found a (file that was cut short|broken)"):
        read_sound(path)


def test_a_stream_that_told_no_length_is_whole(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SOUND, 8000, subtype="PCM_16")
    raw = bytearray((tmp_path / "a.wav").read_bytes())
    at = raw.index(b"data")
    raw[4:8] = raw[at + 4 : at + 8] = b"\xff\xff\xff\xff"  # what ffmpeg writes into a pipe
    (tmp_path / "a.wav").write_bytes(raw)
    assert len(read_sound(tmp_path / "a.wav").samples) == len(SOUND)


def test_what_is_no_sound_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan, 0.2], np.float32), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 8000)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "folder.wav").mkdir()
    for name, found in (
        ("nan.wav", "numbers that are not finite"),
        ("none.wav", "an empty file"),
        ("text.wav", "a broken file"),
        ("folder.wav", "a broken file"),
        ("nowhere.wav", "a broken file"),
    ):
        with pytest.raises(VariorumError, match=f"{name}: expected a sound, found {found}"):
            read_sound(tmp_path / name)
    assert sound_header(tmp_path / "text.wav") is None


@settings(max_examples=150)
@given(data=st.data())
def test_changed_bytes_are_a_sound_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from(["wav", "flac", "ogg"]))
    raw = bytearray(FILES[suffix])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, min(len(raw) - 1, 400)))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"changed.{suffix}"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    try:
        found = read_sound(path, longest=1.0)
    except VariorumError as error:
        assert error.subject == str(path)
    else:
        assert found.samples.isfinite().all() and 0 < len(found.samples) <= found.rate + 1


def written(form: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, SOUND, 8000, format=form)
    return buffer.getvalue()


FILES = {form: written(form.upper()) for form in ("wav", "flac", "ogg")}
