import pytest
import torch
from transformers import GPT2Config

from samples.foreign import ids, is_its_own_family, read, refuses_tensors, spread, written
from variorum.core import VariorumError, pack
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.gpt2 import GPT2

SIZES = {
    "vocab_size": 50,
    "n_positions": 32,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
VARIANTS = {
    "plain": ("GPT2LMHeadModel", {}),
    "bare": ("GPT2Model", {}),
    "narrow, relu": ("GPT2LMHeadModel", {"n_inner": 40, "activation_function": "relu"}),
    "untied": ("GPT2LMHeadModel", {"tie_word_embeddings": False}),
    "scores not scaled": ("GPT2LMHeadModel", {"scale_attn_weights": False}),
    "scores scaled by depth": ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}),
}


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("name", VARIANTS)
def test_answers_are_those_of_transformers(name, tmp_path):
    """GPT-2, its head and the bare model: uneven and equal rows agree to 1e-5; written back, bit for bit."""
    cls, more = VARIANTS[name]
    theirs = spread(cls, GPT2Config(**SIZES, **more))
    model = read(theirs, tmp_path / "theirs")
    _, padded, mask = ids([7, 3, 12, 1], 50)
    with torch.no_grad():
        wanted = theirs(padded, attention_mask=mask)[0][mask]
        torch.testing.assert_close(model(*pack(padded, mask)), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(model(padded[2:3]), theirs(padded[2:3])[0], rtol=0, atol=1e-5)
        again = written(model, cls, tmp_path / "ours")
        torch.testing.assert_close(again(padded, attention_mask=mask)[0][mask], wanted, rtol=0, atol=0)
    is_its_own_family(model, "gpt2")


@pytest.mark.row("hf-transformers", 0)
def test_every_tensor_has_a_place(tmp_path):
    """GPT-2: a tensor too many or too few is an error that names it."""
    spread("GPT2LMHeadModel", GPT2Config(**SIZES)).save_pretrained(tmp_path)
    refuses_tensors(tmp_path)


def test_what_is_not_built_is_refused():
    with pytest.raises(VariorumError, match="GPT2DoubleHeadsModel"):
        GPT2().to_spec(Config({**SIZES, "architectures": ["GPT2DoubleHeadsModel"]}))
    config = Config({**SIZES, "add_cross_attention": True})
    GPT2().to_spec(config)
    with pytest.raises(VariorumError, match="add_cross_attention"):
        config.close(GPT2.harmless)
