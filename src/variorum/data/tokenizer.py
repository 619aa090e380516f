"""Tokenizers of the tokenizers package, as Specs: byte-level BPE and WordPiece, trained or read."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from variorum.core import Layout, Registered, VariorumError
from variorum.core.errors import nearest

_LETTERS = (
    '{"version":"1.0","added_tokens":[],"model":{"type":"WordLevel","vocab":{"?":0,"a":1,"b":2},"unk_token":"?"}}'
)


class Tokenizer(Registered):
    """Text to ids and back, by the whole of a tokenizer.json: normalising, splitting, model, special tokens, decoding.

    Rows are packed, so what the JSON says of padding is not applied; nor is its truncation: say ``longest``.
    An unreadable JSON raises VariorumError.

    roles: what special tokens are for, such as ``("mask", "[MASK]")``; ask with ``tokenizer.role("mask")``.
    """

    kind: ClassVar[str] = "tokenizer"
    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"json": _LETTERS},)

    def __init__(self, *, json: str, roles: Sequence[tuple[str, str]] = ()) -> None:
        self.json = json
        self.roles = dict(roles)
        self._inner = _parse(json)
        self._inner.no_padding()
        self._inner.no_truncation()

    @property
    def vocab(self) -> int:
        """The number of ids."""
        return self._inner.get_vocab_size()

    def id(self, token: str) -> int:
        """The id of a token, such as ``[MASK]``; an unknown one raises VariorumError."""
        found = self._inner.token_to_id(token)
        if found is None:
            raise VariorumError(
                "token", expected="one of the vocabulary", found=repr(token), do="See tokenizer.tokens."
            )
        return found

    def role(self, name: str) -> int:
        """The id of the token for a role: pad, unk, cls, sep, mask, bos or eos; a role not filled is an error."""
        if name not in self.roles:
            raise VariorumError(
                "tokenizer", expected=f"a token for the role {name!r}", found="none", do=nearest(name, self.roles)
            )
        return self.id(self.roles[name])

    @property
    def tokens(self) -> dict[str, int]:
        """The vocabulary: every token and its id."""
        return self._inner.get_vocab()

    def encode(self, text: str) -> list[int]:
        """The ids of a text, with the special tokens that the tokenizer puts around it."""
        return self._inner.encode(_text(text)).ids

    def decode(self, ids: Sequence[int] | Tensor, *, skip_special: bool = False) -> str:
        """The text of ids; for a byte-level tokenizer that adds no tokens, ``decode(encode(text)) == text``."""
        return self._inner.decode([int(i) for i in ids], skip_special_tokens=skip_special)

    def pack(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, longest: int | None = None
    ) -> tuple[Tensor, Layout]:
        """Packed ids (tokens,) of many texts and their layout, whose segments tell a text (0) from its pair (1).

        longest: cuts rows to this many tokens, special ones included, the longer text of a pair first.
        """
        rows = (
            [_text(t) for t in texts]
            if pairs is None
            else [(_text(a), _text(b)) for a, b in zip(texts, pairs, strict=True)]
        )
        inner = self._inner
        if longest is not None:
            inner = _parse(self.json)
            inner.no_padding()
            inner.enable_truncation(longest)
        found = inner.encode_batch(rows)
        ids = torch.tensor([i for row in found for i in row.ids], dtype=torch.int64)
        segments = torch.tensor([i for row in found for i in row.type_ids], dtype=torch.int64)
        return ids, Layout.ragged([len(row.ids) for row in found], segments=segments)


def train_bpe(
    lines: Iterable[str], *, vocab: int, special: Sequence[str] = ("<|endoftext|>",), least: int = 2
) -> Tokenizer:
    """Byte-level byte pair encoding: any text can be encoded, and comes back exactly.

    Sennrich et al. 2016, arXiv:1508.07909; over bytes, Radford et al. 2019. least: how often a merged pair must occur.
    """
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=least,
        special_tokens=list(special),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    made.train_from_iterator(map(_text, lines), trainer=trainer)
    _fits(made, vocab)
    return Tokenizer(json=made.to_str(), roles=[("bos", special[0]), ("eos", special[0])] if special else [])


def train_wordpiece(
    lines: Iterable[str],
    *,
    vocab: int,
    lowercase: bool = True,
    special: tuple[str, str, str, str, str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    least: int = 2,
) -> Tokenizer:
    """WordPiece as BERT uses it: words split into the longest known pieces, ``[CLS] text [SEP]`` around.

    Schuster & Nakajima 2012; Devlin et al. 2018, arXiv:1810.04805. Pieces are merged by frequency, as in byte pair
    encoding. lowercase: also takes accents off.    special: padding, unknown, first, separating and masking token, in
    this order.    least: how often a merged pair must occur.
    """
    _, unknown, first, last, _ = special
    normalizer, splitter = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    words = [w for line in lines for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(_text(line)))]
    made = tokenizers.Tokenizer(models.WordPiece(vocab=_pieces(words, vocab, special, least), unk_token=unknown))
    made.normalizer, made.pre_tokenizer, made.decoder = normalizer, splitter, decoders.WordPiece()
    made.add_special_tokens(list(special))
    made.post_processor = bert_template(made, first, last)
    roles = zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True)
    return Tokenizer(json=made.to_str(), roles=list(roles))


def _pieces(words: Sequence[str], vocab: int, special: Sequence[str], least: int) -> dict[str, int]:
    """Pieces and their ids: special tokens, characters, characters within words (``##x``), merged ones.

    The package's trainer of WordPiece gives characters within words their ids in the order of a hash table, which is
    another one in every run, and so do its ties. Here every character has one code where it begins a word and another
    where it goes on; byte pair encoding of the codes, which sorts them, finds the same merges in every run.
    """
    letters = sorted({letter for word in words for letter in word})
    begin = {letter: chr(0xF0000 + i) for i, letter in enumerate(letters)}
    go_on = {letter: chr(0x100000 + i) for i, letter in enumerate(letters)}
    plain = {code: letter for codes in (begin, go_on) for letter, code in codes.items()}
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=least,
        special_tokens=list(special),
        show_progress=False,
        initial_alphabet=list(begin.values()),
    )
    coded = tokenizers.Tokenizer(models.BPE())
    coded.train_from_iterator(
        (begin[w[0]] + "".join(go_on[letter] for letter in w[1:]) for w in words), trainer=trainer
    )
    _fits(coded, vocab)

    def piece(token: str) -> str:
        return ("##" if token[0] >= "\U00100000" else "") + "".join(plain[code] for code in token)

    return {token if token in special else piece(token): i for token, i in coded.get_vocab().items()}


def _fits(made: tokenizers.Tokenizer, vocab: int) -> None:
    """Raise VariorumError if special tokens and single characters alone are more than ``vocab``."""
    if made.get_vocab_size() > vocab:
        raise VariorumError(
            "vocab",
            expected=f"room for the {made.get_vocab_size()} special tokens and characters",
            found=str(vocab),
            do="Raise it, or normalise the text.",
        )


def bert_template(made: tokenizers.Tokenizer, first: str, last: str) -> processors.TemplateProcessing:
    """``first A last`` for one text, ``first A last B last`` for a pair, the second's segment being 1."""
    ids = [(token, made.token_to_id(token)) for token in (first, last)]
    return processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0", pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1", special_tokens=ids
    )


def _parse(json: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(json)
    except Exception as error:  # the package raises plain Exception
        raise VariorumError(
            "tokenizer.json",
            expected="a tokenizer of the tokenizers package",
            found=str(error)[:200],
            do="Save the tokenizer again.",
        ) from None


def _text(text: str) -> str:
    if not isinstance(text, str):
        raise VariorumError("text", expected="a string", found=type(text).__name__, do="Convert it with str().")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise VariorumError(
            "text", expected="Unicode text", found=f"a lone surrogate at {error.start}", do="Read the file as UTF-8."
        ) from None
    return text
