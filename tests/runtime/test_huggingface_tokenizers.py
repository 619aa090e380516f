"""Tokenizers of checkpoint folders, and folders of sentence-transformers."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers.implementations import BertWordPieceTokenizer

from samples.checkpoints import saved, transformers
from samples.scripts import lines
from variorum.core import VariorumError
from variorum.data.tokenizer import Tokenizer, train_bpe, train_wordpiece
from variorum.runtime.huggingface.sentences import load_sentences
from variorum.runtime.huggingface.tokenizers import read_tokenizer, write_tokenizer

TEXT = lines(300, seed=3)


@pytest.mark.parametrize("made", [train_wordpiece(TEXT, vocab=2600, lowercase=False), train_bpe(TEXT, vocab=500)])
def test_what_is_written_is_what_autotokenizer_reads(made: Tokenizer, tmp_path: Path) -> None:
    saved("BertModel", tmp_path)
    write_tokenizer(made, tmp_path)
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert peer(TEXT)["input_ids"] == [made.encode(line) for line in TEXT]
    assert {role: getattr(peer, f"{role}_token") for role in made.roles} == made.roles
    again = read_tokenizer(tmp_path)
    assert again is not None and (again.json, again.roles) == (made.json, made.roles)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    assert read_tokenizer(tmp_path) is None


@pytest.mark.parametrize("lowercase", [True, False])
def test_vocab_txt_means_the_tokenizer_of_bert(tmp_path: Path, lowercase: bool) -> None:
    pieces = train_wordpiece(TEXT, vocab=2600, lowercase=lowercase).tokens
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(pieces, key=pieces.__getitem__)) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    peer = BertWordPieceTokenizer(vocab=pieces, lowercase=lowercase)
    found = read_tokenizer(tmp_path)
    assert found is not None and found.tokens == pieces
    assert [found.encode(line) for line in TEXT] == [row.ids for row in peer.encode_batch(TEXT)]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"spiece.model": "x"}, r"only spiece\.model.*save_pretrained"),
        ({"vocab.json": "{}", "merges.txt": ""}, r"only vocab\.json"),
        ({"tokenizer.json": "{}"}, r"tokenizer\.json: expected a tokenizer"),
        ({"tokenizer.json": '{"version":"9.0"}'}, r"tokenizer\.json: expected a tokenizer"),
        ({"vocab.txt": "[PAD]\na\nb\n"}, r"vocab\.txt.*found no \[UNK\], \[CLS\], \[SEP\]"),
        ({"vocab.txt": "[UNK]\n[CLS]\n[SEP]\na\na\n"}, "a piece twice"),
        ({"vocab.txt": "[UNK]\n", "tokenizer_config.json": "[]"}, "a JSON object"),
    ],
)
def test_what_is_no_tokenizer_is_an_error(tmp_path: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(VariorumError, match=told):
        read_tokenizer(tmp_path)


def test_rows_are_packed_cut_and_never_padded() -> None:
    made = train_wordpiece(["a b c d e f"], vocab=30)
    ids, layout = made.pack(["a b c", "", "d"], longest=4)
    assert layout.lengths == [4, 2, 3]
    assert [made.decode(row) for row in ids.split(layout.lengths)] == [
        "[CLS] a b [SEP]",
        "[CLS] [SEP]",
        "[CLS] d [SEP]",
    ]
    assert made.decode(ids[:4], skip_special=True) == "a b"
    assert made.pack(["a b c"])[1].lengths == [5]
    assert made.role("mask") == made.id("[MASK]")
    padded = json.loads(made.json)
    padded["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                         "pad_type_id": 0, "pad_token": "[PAD]"}  # fmt: skip
    assert Tokenizer(json=json.dumps(padded)).encode("a") == made.encode("a")


def test_faults_in_text_and_roles_are_named() -> None:
    made = train_bpe(["abc"], vocab=300)
    with pytest.raises(VariorumError, match="a lone surrogate at 1"):
        made.encode("a\ud800")
    with pytest.raises(VariorumError, match="text: expected a string, found int"):
        made.encode(3)
    with pytest.raises(VariorumError, match="the role 'mask'"):
        made.role("mask")
    with pytest.raises(VariorumError, match=r"'\[MASK\]'"):
        made.id("[MASK]")
    with pytest.raises(VariorumError, match="room for the 257"):
        train_bpe(["abc"], vocab=100)
    with pytest.raises(VariorumError, match="vocab: expected room for the 10"):
        train_wordpiece(["abc"], vocab=7)


def test_a_tokenizer_is_a_spec() -> None:
    spec = Tokenizer.spec(json=train_bpe(["abc abc"], vocab=260).json, roles=[("eos", "<|endoftext|>")])
    again = type(spec).from_json(spec.to_json())
    assert again == spec and again.build().encode("abc") == spec.build().encode("abc")
    assert again.build().role("eos") == 0


def sentence_folder(folder: Path, **changes: object) -> Path:
    saved("BertModel", folder)
    write_tokenizer(train_wordpiece(["the cat sat on a mat"], vocab=40), folder)
    files = {
        "modules.json": [{"type": f"sentence_transformers.models.{k}", "path": p} for k, p in
                         (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))],
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
        "sentence_bert_config.json": {"max_seq_length": 5, "do_lower_case": False},
    }  # fmt: skip
    (folder / "1_Pooling").mkdir()
    for name, value in {**files, **changes}.items():
        (folder / name).write_text(json.dumps(value))
    return folder


def test_the_pooling_and_length_of_the_folder_are_honoured(tmp_path: Path) -> None:
    found = load_sentences(sentence_folder(tmp_path / "first"))
    texts = ["the cat sat on a mat", "a"]
    vectors = found.embed(texts)
    ids, layout = found.tokenizer.pack(texts, longest=5)
    tokens = found.model.hidden(ids, layout)[0].detach()
    first = torch.nn.functional.normalize(tokens[layout.offsets[:-1]], dim=-1)
    assert layout.lengths == [5, 3] and torch.allclose(vectors, first, atol=1e-6)
    assert found.embed([]).shape == (0, 16)
    assert torch.allclose(found.embed(texts, size=1), vectors, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"modules.json": [{"type": "x.Transformer"}, {"type": "x.Dense"}]}, "found Transformer, Dense"),
        ({"modules.json": {}}, "a JSON list"),
        ({"1_Pooling/config.json": {"pooling_mode_max_tokens": True}}, "one pooling of mean, cls"),
        ({"1_Pooling/config.json": {"pooling_mode": "lasttoken"}}, "one pooling of mean, cls"),
        ({"1_Pooling/config.json": {"pooling_mode": "mean", "include_prompt": False}}, "one pooling of mean, cls"),
    ],
)
def test_modules_that_are_not_built_are_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(VariorumError, match=told):
        load_sentences(sentence_folder(tmp_path / "other", **changes))
