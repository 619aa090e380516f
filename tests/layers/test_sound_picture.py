"""A sound seen as a picture: the same, packed or not, alone or beside others, here or in an ONNX file."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from samples.noises import tone
from variorum.core import Layout, VariorumError, find_entry
from variorum.data.sounds import SoundSamples
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.sound_picture import SoundPicture, middle, picture_frames, sound_picture
from variorum.layers.embed.spectrogram import log_mel
from variorum.layers.embed.subsampled_frames import SubsampledFrames
from variorum.models.seen_sound import SeenSound
from variorum.runtime.bundle import Bundle
from variorum.runtime.export import to_onnx

FRAMES = picture_frames(8000, 0.01, 16, window=None, centre=-8.0, spread=5.0)
FACTS = {"classes": 3, "rate": 8000, "hop": 0.01, "channels": 1, "height": 64, "width": 32}


def test_the_window_stands_in_the_middle() -> None:
    row = torch.arange(1.0, 8.0)
    assert middle(row, 3).tolist() == [3, 4, 5]
    assert middle(row, 7).tolist() == row.tolist()
    assert middle(row, 11).tolist() == [0, 0, *row.tolist(), 0, 0]


@pytest.mark.parametrize("length", [1, 79, 80, 500, 1280, 1281, 5000])
def test_it_is_the_log_mel_of_that_window(length: int) -> None:
    torch.manual_seed(0)
    row, window = torch.randn(length) / 10, 16 * 80
    if length < window:
        wanted = F.pad(row, ((window - length) // 2, (window - length + 1) // 2))
    else:
        first = (length - window) // 2
        wanted = row[first : first + window]
    found = sound_picture(row[None, :, None], None, FRAMES, 16)
    assert found.shape == (1, 1, 16, 16)
    edge = (length < window) and (window - length) % 2  # half a sample is rounded one way or the other
    torch.testing.assert_close(found[0, 0].T, log_mel(wanted.roll(int(edge)) if edge else wanted, FRAMES))


def test_packed_rows_are_seen_as_alone() -> None:
    rows = [torch.randn(n, 1) / 10 for n in (100, 1280, 4000)]
    packed = sound_picture(torch.cat(rows), Layout.ragged([len(r) for r in rows]), FRAMES, 16)
    alone = torch.cat([sound_picture(row[None], None, FRAMES, 16) for row in rows])
    torch.testing.assert_close(packed, alone, rtol=0, atol=0)


def test_a_tone_stands_in_its_band() -> None:
    brightest = []
    for pitch in (200, 1000, 3000):
        picture = sound_picture(torch.from_numpy(tone(pitch)).float()[None, :, None], None, FRAMES, 16)[0, 0]
        brightest.append(int(picture.mean(dim=1).argmax()))
    assert brightest == sorted(set(brightest)), "higher tones stand in higher bands"


def test_it_asks_for_an_embed_of_images() -> None:
    with pytest.raises(VariorumError, match="expected an embed that reads images, found frames"):
        SoundPicture.spec(embed=SubsampledFrames.spec(bins=8), rate=8000, hop=0.01, height=8, width=12).build(dim=8)
    embed = SoundPicture.spec(embed=Patches.spec(patch=4), rate=8000, hop=0.01, height=8, width=12).build(dim=8)
    assert embed.tokens == 2 * 3 and embed.embed.project.in_channels == 1


@pytest.mark.slow
@pytest.mark.parametrize("slug", ["cct", "crossvit", "turner-introduction"])
def test_a_model_that_hears_samples_is_exported_whole(slug: str, tmp_path) -> None:
    import onnxruntime

    model = find_entry(slug).fit("sounds").fill(**FACTS).build().eval()
    samples = SoundSamples.spec(rate=8000, gain=1.0, longest=5.0, labels=("a", "b", "c"))
    done = to_onnx(Bundle(model, "sounds", samples, ("a", "b", "c")), tmp_path / "m.onnx")
    assert done.inputs == {"inputs": ["batch", "samples", 1]}
    row = tone(440, 0.37)[None, :, None].astype(np.float32)
    (found,) = onnxruntime.InferenceSession(done.path).run(None, {"inputs": row})
    with torch.inference_mode():
        wanted = model(torch.from_numpy(row))
        packed = model(torch.from_numpy(row[0]), Layout.ragged([row.shape[1]]))
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
    torch.testing.assert_close(packed, wanted, atol=1e-5, rtol=1e-5)


def test_the_small_cnn_sees_one_channel() -> None:
    from variorum.models.convnet import ConvNet

    model = SeenSound.spec(model=ConvNet.spec(width=4, stages=2)).fill(**FACTS).build().eval()
    rows = [torch.randn(n, 1) / 10 for n in (900, 2560, 4000)]
    packed = model(torch.cat(rows), Layout.ragged([len(r) for r in rows]))
    torch.testing.assert_close(packed, torch.cat([model(row[None]) for row in rows]))
