"""The tokenizer of a checkpoint folder: tokenizer.json, or the vocab.txt of older BERTs."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, normalizers, pre_tokenizers

from variorum.core import VariorumError
from variorum.core.spec import read_json
from variorum.data.tokenizer import Tokenizer, bert_template

JSON, SETTINGS, SPECIAL, VOCABULARY = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"
OTHERS = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model", "vocab.json")
ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The folder's tokenizer; None where it has none. One in a layout that is not read raises VariorumError."""
    roles = _roles({**_settings(folder / SPECIAL), **_settings(folder / SETTINGS)})
    if (folder / JSON).is_file():
        return Tokenizer.spec(json=(folder / JSON).read_text(encoding="utf-8"), roles=roles).build()
    if (folder / VOCABULARY).is_file():
        return _wordpiece(folder, dict(roles))
    other = next((name for name in OTHERS if (folder / name).is_file()), None)
    if other is not None:
        raise VariorumError(
            str(folder),
            expected=f"{JSON} or {VOCABULARY}",
            found=f"only {other}",
            do="Convert it: AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers.",
        )
    return None


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, and tokenizer_config.json such that AutoTokenizer takes it as it is.

    AutoTokenizer rebuilds a tokenizer named after a model from its vocabulary with settings of its own; the class
    written here is the one that does not.
    """
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{r}_token": token for r, token in tokenizer.roles.items()},
    }
    (folder / JSON).write_text(tokenizer.json, encoding="utf-8")
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found = read_json(path.read_bytes(), path.name)
    if not isinstance(found, dict):
        raise VariorumError(
            path.name, expected="a JSON object", found=type(found).__name__, do="Save the tokenizer again."
        )
    return found


def _roles(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Special tokens by role; each is written as its text or as an object that has it as ``content``."""
    tokens = [(role, settings.get(f"{role}_token")) for role in ROLES]
    plain = [(role, token.get("content") if isinstance(token, dict) else token) for role, token in tokens]
    return [(role, token) for role, token in plain if isinstance(token, str)]


def _wordpiece(folder: Path, named: dict[str, str]) -> Tokenizer:
    """The tokenizer that a vocab.txt means: one piece a line, its number the id; text cleaned and split as in BERT."""
    settings = _settings(folder / SETTINGS)
    pieces = (folder / VOCABULARY).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    roles = {role: named.get(role, f"[{role.upper()}]") for role in ("pad", "unk", "cls", "sep", "mask")}
    absent = [roles[role] for role in ("unk", "cls", "sep") if roles[role] not in vocabulary]
    if absent or len(vocabulary) != len(pieces):
        raise VariorumError(
            VOCABULARY,
            expected="distinct pieces, among them those for unknown words, begin and end",
            found=f"no {', '.join(absent)}" if absent else "a piece twice",
            do="Name the special tokens in tokenizer_config.json.",
        )
    made = Inner(models.WordPiece(vocab=vocabulary, unk_token=roles["unk"]))
    made.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    known = {role: token for role, token in {**named, **roles}.items() if token in vocabulary}
    made.add_special_tokens(list(known.values()))
    made.post_processor = bert_template(made, roles["cls"], roles["sep"])
    return Tokenizer.spec(json=made.to_str(), roles=list(known.items())).build()
