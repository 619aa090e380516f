"""A checkpoint of another library as a bundle: it writes what it wrote there, and is compiled and served like ours."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from samples.foreign import spread, transformers
from samples.gemma import gemma_file, needs_gemma
from samples.gguf_files import drawn, write
from variorum.cli import main
from variorum.core import VariorumError
from variorum.data.tokenizer import train_bpe
from variorum.runtime.bundle import load
from variorum.runtime.checkpoint import DIALOGUES, bundle_of, open_checkpoint
from variorum.runtime.generate import generate
from variorum.runtime.huggingface.folder import Loaded
from variorum.runtime.huggingface.tokenizers import write_tokenizer

TEXTS = ["the quick brown fox jumps over the lazy dog", "to be or not to be, that is the question"]


def folder_of(place, *, special=(), **more):
    """A GPT-2 folder of transformers with a tokenizer of its own; special tokens are known to it."""
    tokenizer = train_bpe([*TEXTS, *special], vocab=300)
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=tokenizer.vocab, n_positions=40,
                                     bos_token_id=None, **{"eos_token_id": None, **more})  # fmt: skip
    theirs = spread("GPT2LMHeadModel", config)
    theirs.save_pretrained(place)
    write_tokenizer(tokenizer, place)
    return theirs, tokenizer


def run(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_a_folder_is_imported_compiled_and_used(tmp_path, capsys):
    """By the commands: the bundle writes as transformers does, and keeps the plan that it was compiled by."""
    theirs, tokenizer = folder_of(tmp_path / "theirs", eos_token_id=7)
    assert run("import", tmp_path / "theirs", "--out", tmp_path / "ours") == 0
    assert "gpt2" in capsys.readouterr().out
    bundle = load(tmp_path / "ours")
    ids = torch.tensor(tokenizer.encode("to be or"))
    wanted = theirs.generate(ids[None], max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=None)
    assert torch.equal(generate(bundle.model, [ids], most=12)[0], wanted[0, len(ids) :])
    language = bundle.preprocess.build()
    assert language.length == 40 and language.ends == (7,) and language.decode(language.encode(TEXTS[0])) == TEXTS[0]
    assert len(bundle.predict(TEXTS)) == 2

    assert run("compile", tmp_path / "ours", "--precision", "float32") == 0
    assert "compiled" in capsys.readouterr().out
    again = load(tmp_path / "ours")
    assert again.plan is not None and again.plan.asked == "float32"
    assert torch.equal(generate(again.compile().model, [ids], most=12)[0], wanted[0, len(ids) :])
    for name, value in bundle.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)


def test_faults_are_told_in_one_message(tmp_path, capsys):
    folder_of(tmp_path / "theirs")
    assert run("import", tmp_path / "nowhere", "--out", tmp_path / "ours") == 2
    assert "expected a GGUF file or a folder" in capsys.readouterr().err
    assert run("import", tmp_path / "theirs", "--out", tmp_path / "ours") == 0
    assert run("compile", tmp_path / "ours", "--precision", "int3") == 2
    assert "precision" in capsys.readouterr().err
    assert load(tmp_path / "ours").plan is None


def test_what_writes_no_text_is_refused(tmp_path):
    config = transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                                     vocab_size=50)  # fmt: skip
    spread("BertModel", config).save_pretrained(tmp_path / "bert")
    with pytest.raises(VariorumError, match="a language model"):
        bundle_of(open_checkpoint(tmp_path / "bert"), source="bert")
    write(tmp_path / "m.gguf", "llama", drawn("llama"))
    with pytest.raises(VariorumError, match="a tokenizer"):
        bundle_of(open_checkpoint(tmp_path / "m.gguf"), source="m")


@pytest.mark.parametrize("begin", DIALOGUES)
def test_a_dialogue_is_written_with_the_tokenizer_s_own_tokens(begin, tmp_path):
    folder_of(tmp_path, special=[begin], eos_token_id=[3, 5])
    loaded = open_checkpoint(tmp_path)
    json = loaded.tokenizer
    turns = DIALOGUES[begin]
    known = type("Known", (), {"tokens": {begin: 1, turns.ends[0]: 9}, "json": json.json, "roles": {}, "vocab": 300})
    bundle = bundle_of(Loaded(loaded.model, known(), loaded.config, "Terms of its own"), source="there")
    language = bundle.preprocess.build()
    assert language.ends == (3, 5, 9) and language.turns == turns
    assert language.turns.text([("user", "Hi"), ("assistant", "Yes")]).count(begin) == 3
    assert bundle.provenance["licence of the weights"] == "Terms of its own"


def test_the_assistant_is_called_what_the_model_calls_it():
    assert DIALOGUES["<start_of_turn>"].text([("user", "Hi"), ("assistant", "Yes")]) == (
        "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nYes<end_of_turn>\n<start_of_turn>model\n"
    )


@pytest.mark.slow
@needs_gemma
def test_gemma_is_imported_from_its_file(tmp_path):
    """The licence is asked for and kept with the bundle; a vocabulary of 262,144 pieces goes through it."""
    file = gemma_file(tmp_path)
    assert run("import", file, "--out", tmp_path / "ours") == 2
    assert run("import", file, "--out", tmp_path / "ours", "--accept", "gemma") == 0
    bundle = load(tmp_path / "ours")
    assert "gemma" in bundle.provenance["licence of the weights"]
    language = bundle.preprocess.build()
    ids = torch.tensor(language.encode("Paris is the capital of"))
    assert " France" in language.decode(generate(bundle.model, [ids], most=3)[0].tolist())
