import pytest
import torch
from transformers import WhisperConfig

from samples.foreign import ids, is_its_own_family, read, refuses_tensors, spread, written
from variorum.core import VariorumError, pack
from variorum.layers.positions.sinusoid_table import SinusoidTable
from variorum.runtime.generate import generate
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.whisper import Whisper

SIZES = {
    "vocab_size": 50, "d_model": 32, "num_mel_bins": 10, "encoder_layers": 2, "decoder_layers": 3,
    "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 40, "decoder_ffn_dim": 48,
    "max_source_positions": 15, "max_target_positions": 24, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
    "decoder_start_token_id": 2, "begin_suppress_tokens": None,
}  # fmt: skip


def frames(rows):
    return torch.randn(rows, 10, 30, generator=torch.Generator().manual_seed(0))


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("cls", ["WhisperForConditionalGeneration", "WhisperModel"])
def test_answers_are_those_of_transformers(cls, tmp_path):
    """Whisper (tiny shape) with uneven targets, packed and in equal rows: within 1e-5; written back, bit for bit."""
    theirs = spread(cls, WhisperConfig(**SIZES))
    model = read(theirs, tmp_path / "theirs")
    source = frames(4)
    _, target, mask = ids([5, 9, 24, 2], 50, seed=1)
    given = {"decoder_input_ids": target, "decoder_attention_mask": mask}
    with torch.no_grad():
        wanted = theirs(source, **given)[0][mask]
        targets, layout = pack(target, mask)
        torch.testing.assert_close(model(source.mT, targets, None, layout), wanted, rtol=0, atol=1e-5)
        equal = theirs(source[:1], decoder_input_ids=target[2:3])[0]
        torch.testing.assert_close(model(source[:1].mT, target[2:3]), equal, rtol=0, atol=1e-5)
        special = {name: SIZES[name] for name in SIZES if name.endswith(("token_id", "tokens"))}
        again = written(model, cls, tmp_path / "ours", model_type="whisper", config=special)
        torch.testing.assert_close(again(source, **given)[0][mask], wanted, rtol=0, atol=0)
    is_its_own_family(model, "whisper")


@pytest.mark.row("hf-transformers", 0)
def test_every_tensor_has_a_place(tmp_path):
    """Whisper: a tensor too many or too few is an error that names it."""
    spread("WhisperForConditionalGeneration", WhisperConfig(**SIZES)).save_pretrained(tmp_path)
    refuses_tensors(tmp_path)


def test_places_of_frames_are_those_of_transformers_and_not_trained(tmp_path):
    model = read(spread("WhisperForConditionalGeneration", WhisperConfig(**SIZES)), tmp_path)
    torch.testing.assert_close(model.encoder.embed.position.table, SinusoidTable(32, 15).table)
    assert not any("table" in name for name, _ in model.named_parameters())


def test_keys_have_no_bias_even_after_training(tmp_path):
    model = read(spread("WhisperForConditionalGeneration", WhisperConfig(**SIZES)), tmp_path / "theirs").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    _, target, _ = ids([6, 6], 50)
    model(frames(2).mT, target).logsumexp(-1).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    optimizer.step()
    special = {name: SIZES[name] for name in SIZES if name.endswith(("token_id", "tokens"))}
    again = written(
        model.eval(), "WhisperForConditionalGeneration", tmp_path / "ours", model_type="whisper", config=special
    )
    with torch.no_grad():
        wanted = again(frames(2), decoder_input_ids=target)[0]
        torch.testing.assert_close(model(frames(2).mT, target), wanted, rtol=0, atol=1e-4)


def test_sounds_are_written_down_as_transformers_does(tmp_path):
    theirs = spread("WhisperForConditionalGeneration", WhisperConfig(**SIZES), scale=0.4)
    model = read(theirs, tmp_path)
    wanted = theirs.generate(frames(6), max_new_tokens=15, do_sample=False, num_beams=1)
    found = generate(model, [torch.tensor([2])] * 6, most=15, ends=1, memory=model.encode(frames(6).mT))
    for row, other in zip(found, wanted.tolist(), strict=True):
        spoken = [token for token in row.tolist() if token != 1]
        assert other == spoken + [0] * (len(other) - len(spoken))  # theirs has padding in place of the end
    assert len({len(row) for row in found}) > 1


def test_what_is_not_built_is_refused():
    with pytest.raises(VariorumError, match="scale_embedding"):
        Whisper().to_spec(Config({**SIZES, "scale_embedding": True}))
    with pytest.raises(VariorumError, match="WhisperForAudioClassification"):
        Whisper().to_spec(Config({**SIZES, "architectures": ["WhisperForAudioClassification"]}))
