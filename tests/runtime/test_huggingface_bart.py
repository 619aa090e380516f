import pytest
import torch
from transformers import BartConfig

from samples.foreign import ids, is_its_own_family, read, refuses_tensors, spread, written
from variorum.core import VariorumError, pack
from variorum.runtime.huggingface.bart import Bart
from variorum.runtime.huggingface.config import Config

SIZES = {
    "vocab_size": 50, "d_model": 32, "max_position_embeddings": 24, "encoder_layers": 2, "decoder_layers": 3,
    "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 40, "decoder_ffn_dim": 48,
}  # fmt: skip
VARIANTS = {
    "plain": ("BartForConditionalGeneration", {}),
    "bare": ("BartModel", {}),
    "relu, inner dropout": ("BartForConditionalGeneration", {"activation_function": "relu", "activation_dropout": 0.1}),
}


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("name", VARIANTS)
def test_answers_are_those_of_transformers(name, tmp_path):
    """BART with uneven sources and targets, packed and in equal rows: within 1e-5; written back, bit for bit."""
    cls, more = VARIANTS[name]
    theirs = spread(cls, BartConfig(**SIZES, **more))
    model = read(theirs, tmp_path / "theirs")
    _, source, source_mask = ids([17, 3, 12, 1], 50)
    _, target, mask = ids([5, 9, 24, 2], 50, seed=1)
    given = {"attention_mask": source_mask, "decoder_input_ids": target, "decoder_attention_mask": mask}
    (packed, lie), (written_, layout) = pack(source, source_mask), pack(target, mask)
    with torch.no_grad():
        wanted = theirs(source, **given)[0][mask]
        torch.testing.assert_close(model(packed, written_, lie, layout), wanted, rtol=0, atol=1e-5)
        equal = theirs(source[:1], decoder_input_ids=target[2:3])[0]
        torch.testing.assert_close(model(source[:1], target[2:3]), equal, rtol=0, atol=1e-5)
        again = written(model, cls, tmp_path / "ours")
        torch.testing.assert_close(again(source, **given)[0][mask], wanted, rtol=0, atol=0)
    is_its_own_family(model, "bart")


@pytest.mark.row("hf-transformers", 0)
def test_every_tensor_has_a_place(tmp_path):
    """BART: a tensor too many or too few is an error that names it."""
    spread("BartForConditionalGeneration", BartConfig(**SIZES)).save_pretrained(tmp_path)
    refuses_tensors(tmp_path)


def test_the_offset_of_the_logits_is_not_trained(tmp_path):
    model = read(spread("BartForConditionalGeneration", BartConfig(**SIZES)), tmp_path)
    assert model.decoder.head.offset.abs().max() > 0
    assert not any("offset" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize(
    ("name", "value"),
    [("scale_embedding", True), ("normalize_before", True), ("activation_dropout", 0.05), ("encoder_layerdrop", 0.1)],
)
def test_what_is_not_built_is_refused(name, value):
    with pytest.raises(VariorumError, match=name):
        Bart().to_spec(Config({**SIZES, name: value}))
