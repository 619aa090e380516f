import pytest
import torch
from transformers import T5Config

from samples.foreign import ids, is_its_own_family, read, refuses_tensors, spread, written
from variorum.core import VariorumError, pack
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.folder import load_folder
from variorum.runtime.huggingface.t5 import T5

SIZES = {
    "vocab_size": 50, "d_model": 32, "d_kv": 6, "d_ff": 40, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20, "decoder_start_token_id": 0,
}  # fmt: skip
VARIANTS = {
    "first version": ("T5ForConditionalGeneration", {}),
    "version 1.1": ("T5ForConditionalGeneration", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "gated by silu": ("T5ForConditionalGeneration", {"feed_forward_proj": "gated-silu"}),
    "bare": ("T5Model", {"feed_forward_proj": "gated-gelu"}),
    "default distances": (
        "T5ForConditionalGeneration",
        {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128},
    ),
}
SOURCES, TARGETS = [150, 3, 12, 1], [5, 9, 140, 2]


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("name", VARIANTS)
def test_answers_are_those_of_transformers(name, tmp_path):
    """T5 and T5 1.1, uneven sources and targets, and equal rows: within 1e-5; written back, bit for bit."""
    cls, more = VARIANTS[name]
    theirs = spread(cls, T5Config(**{**SIZES, **more}), scale=0.15)
    model = read(theirs, tmp_path / "theirs")
    _, source, source_mask = ids(SOURCES, 50)
    _, target, mask = ids(TARGETS, 50, seed=1)
    given = {"attention_mask": source_mask, "decoder_input_ids": target, "decoder_attention_mask": mask}
    (packed, lie), (written_, layout) = pack(source, source_mask), pack(target, mask)
    with torch.no_grad():
        wanted = theirs(source, **given)[0][mask]
        torch.testing.assert_close(model(packed, written_, lie, layout), wanted, rtol=0, atol=1e-5)
        equal = theirs(source[:1], decoder_input_ids=target[2:3])[0]
        torch.testing.assert_close(model(source[:1], target[2:3]), equal, rtol=0, atol=1e-5)
        again = written(model, cls, tmp_path / "ours")
        torch.testing.assert_close(again(source, **given)[0][mask], wanted, rtol=0, atol=0)
    is_its_own_family(model, "t5")


@pytest.mark.row("hf-transformers", 0)
def test_every_tensor_has_a_place(tmp_path):
    """T5: a tensor too many or too few is an error that names it."""
    spread("T5ForConditionalGeneration", T5Config(**SIZES)).save_pretrained(tmp_path)
    refuses_tensors(tmp_path)


def test_an_output_matrix_of_its_own_is_read_and_written(tmp_path):
    theirs = spread("T5ForConditionalGeneration", T5Config(**SIZES, tie_word_embeddings=False))
    theirs.lm_head.weight = torch.nn.Parameter(torch.randn_like(theirs.lm_head.weight))
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    told = path.read_text()
    assert '"scale_decoder_outputs": false' in told and '"tie_word_embeddings": true' in told
    with pytest.raises(VariorumError, match=r"lm_head.weight.*tie_word_embeddings"):
        load_folder(tmp_path)
    path.write_text(told.replace('"tie_word_embeddings": true', '"tie_word_embeddings": false'))
    model = load_folder(tmp_path).model
    _, source, _ = ids([6], 50)
    with torch.no_grad():
        wanted = theirs(source, decoder_input_ids=source)[0]
        torch.testing.assert_close(model(source, source), wanted, rtol=0, atol=1e-5)
        again = written(model, "T5ForConditionalGeneration", tmp_path / "ours")
        torch.testing.assert_close(again(source, decoder_input_ids=source)[0], wanted, rtol=0, atol=0)


def test_all_layers_of_a_side_share_one_table(tmp_path):
    model = read(spread("T5ForConditionalGeneration", T5Config(**SIZES)), tmp_path)
    tables = [block.mixer.bias.table for block in model.encoder.blocks]
    assert all(table is tables[0] for table in tables)
    assert model.decoder.blocks[0].mixer.bias.table is not tables[0]


def test_what_is_not_built_is_refused():
    with pytest.raises(VariorumError, match="scale_decoder_outputs"):
        T5().to_spec(Config({**SIZES, "tie_word_embeddings": False, "scale_decoder_outputs": True}))
    with pytest.raises(VariorumError, match="feed_forward_proj"):
        T5().to_spec(Config({**SIZES, "feed_forward_proj": "gated-mish"}))
    with pytest.raises(VariorumError, match="T5EncoderModel"):
        T5().to_spec(Config({**SIZES, "architectures": ["T5EncoderModel"]}))
