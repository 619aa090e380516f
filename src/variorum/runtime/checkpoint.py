"""A language model of another library, made a bundle: compiled, served and exported like any of ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from variorum.core import Streaming, VariorumError
from variorum.data.continuing import Turns
from variorum.data.text_pieces import TextPieces
from variorum.data.tokenizer import Tokenizer
from variorum.runtime.bundle import Bundle
from variorum.runtime.gguf.load import load_gguf
from variorum.runtime.huggingface.folder import Loaded, load_folder

LENGTHS = ("max_position_embeddings", "n_positions")
"""What configurations call the number of ids that a model looks at."""
DIALOGUES: Mapping[str, Turns] = {
    "<|im_start|>": Turns(
        "<|im_start|>{role}\n{content}<|im_end|>\n", "<|im_start|>assistant\n", ("<|im_end|>",)
    ),
    "<start_of_turn>": Turns(
        "<start_of_turn>{role}\n{content}<end_of_turn>\n", "<start_of_turn>model\n", ("<end_of_turn>",), "model"
    ),
    "<|start_header_id|>": Turns(
        "<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n", ("<|eot_id|>",),
    ),
}  # fmt: skip
"""How dialogues are written down, by the token that a turn begins with: ChatML, Gemma 3, Llama 3."""


def open_checkpoint(path: str | Path, *, accept: str | None = None) -> Loaded:
    """What a GGUF file, or a folder of transformers' ``save_pretrained``, holds; see their readers for what is refused.

    accept: the name of the licence that a GGUF file declares, where it is no open-source licence.
    """
    path = Path(path)
    if path.is_dir():
        return load_folder(path)
    if path.is_file():
        return load_gguf(path, accept=accept)
    raise VariorumError(str(path), expected="a GGUF file or a folder that save_pretrained wrote", found="nothing there",
                        do="Check the path.")  # fmt: skip


def bundle_of(loaded: Loaded, *, source: str) -> Bundle:
    """The bundle of a causal language model with a tokenizer; for another one VariorumError.

    A text ends with the ids that the configuration, or else the tokenizer, calls its end, and a reply with the token
    that ends a turn; dialogues are written down as the tokenizer's own tokens tell (:data:`DIALOGUES`).
    source: where it comes from, for the model card.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    if not (isinstance(model, Streaming) and model.traits.streams):
        raise VariorumError("checkpoint", expected="a language model, which writes texts on",
                            found=str(loaded.config.get("model_type")),
                            do="Use it from Python: load_folder(...).model.")  # fmt: skip
    if tokenizer is None:
        raise VariorumError("checkpoint", expected="a tokenizer beside the weights", found="none",
                            do="Put its tokenizer.json into the folder.")  # fmt: skip
    length = next((loaded.config[name] for name in LENGTHS if name in loaded.config), None)
    if not isinstance(length, int):
        raise VariorumError("checkpoint", expected=f"one of {', '.join(LENGTHS)} in its configuration", found="none",
                            do="Add it to config.json: the ids that the model looks at.")  # fmt: skip
    kept = Tokenizer.spec(json=tokenizer.json, roles=tuple(tokenizer.roles.items()))
    spec = TextPieces.spec(tokenizer=kept, length=length, **_dialogue(tokenizer, _ends(tokenizer, loaded.config)))
    facts = {"system": str(loaded.config["model_type"]), "from": source}
    if loaded.licence:
        facts["licence of the weights"] = loaded.licence
    return Bundle(model, TextPieces.reads, spec, provenance=facts)


def _ends(tokenizer: Tokenizer, config: Mapping[str, Any]) -> list[int]:
    """The ids of the configuration after which a text is over; without any, the tokenizer's."""
    told = config.get("eos_token_id")
    if told is None:
        return [tokenizer.role("eos")] if "eos" in tokenizer.roles else []
    return [int(i) for i in told] if isinstance(told, Sequence) else [int(told)]


def _dialogue(tokenizer: Tokenizer, ends: Sequence[int]) -> dict[str, Any]:
    """What TextPieces is told of ends and dialogues."""
    known = tokenizer.tokens
    turns = next((turns for begin, turns in DIALOGUES.items() if begin in known), None)
    if turns is None:
        return {"ends": tuple(ends)}
    closing = [known[token] for token in turns.ends if token in known]
    return {"ends": tuple(dict.fromkeys([*ends, *closing])), "turn": turns.turn, "reply": turns.reply,
            "reply_ends": turns.ends, "assistant": turns.assistant}  # fmt: skip
