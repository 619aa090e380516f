"""config.json read so that nothing in it is dropped in silence: a key is used, known to be harmless, or refused."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from variorum.core import VariorumError
from variorum.core.errors import nearest
from variorum.core.spec import says_value

T = TypeVar("T")

_ABSENT: Any = object()

HARMLESS = {
    "where the file came from": (
        "_name_or_path", "transformers_version", "torch_dtype", "dtype", "_commit_hash", "name", "language",
        "directionality", "finetuning_task", "auto_map", "_attn_implementation", "_attn_implementation_autoset",
    ),
    "what a call returns, or how much memory it takes": (
        "use_cache", "return_dict", "output_attentions", "output_hidden_states", "output_past",
        "gradient_checkpointing", "chunk_size_feed_forward", "torchscript", "use_bfloat16", "use_return_dict",
    ),
    "how new weights are drawn": ("initializer_range", "initializer_factor", "init_std"),
    "training, or the meaning of a class": (
        "id2label", "label2id", "num_labels", "_num_labels", "problem_type", "tf_legacy_loss", "classifier_dropout",
        "classifier_dropout_prob", "qa_dropout",
    ),
    "how text is drawn from the scores": (
        "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty",
        "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
        "return_dict_in_generate", "remove_invalid_values", "exponential_decay_length_penalty",
    ),
    "what reads or writes tokens": (
        "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "unk_token_id",
        "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "tokenizer_class", "prefix",
        "suppress_tokens", "begin_suppress_tokens", "task_specific_params", "model_max_length",
    ),
}  # fmt: skip
"""Keys that change no number of the forward pass, by what they are about. A family may still read one where they do."""

NEUTRAL: Mapping[str, Any] = {
    "is_decoder": False, "add_cross_attention": False, "is_encoder_decoder": False, "cross_attention_hidden_size": None,
    "pruned_heads": {}, "sparse_attention": False, "tie_encoder_decoder": False, "quantization_config": None,
    "position_embedding_type": "absolute", "peft_config": None,
}  # fmt: skip
"""Keys that would change the model, and the value with which they do not. A family may still read one."""


class Config:
    """The values of a config.json. Each family reads what it honours; ``close`` refuses what nobody has read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self._read = {"model_type", "architectures"}

    @property
    def architecture(self) -> str:
        """The model class that the weights were saved from; empty where the file does not say."""
        names = self.values.get("architectures") or [""]
        if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
            raise VariorumError("config.json: architectures", expected="a list of one name", found=says_value(names),
                                do="Name the class that the weights belong to.")  # fmt: skip
        return names[0]

    def integer(self, name: str, default: int = _ABSENT) -> int:
        """A whole number."""
        return self._typed(name, int, "a whole number", default)

    def size(self, name: str, default: int = _ABSENT, *, most: int = 2**24) -> int:
        """A whole number from 1 to ``most``: a length, a width or a count."""
        value = self.integer(name, default)
        if not 1 <= value <= most:
            raise self._fault(name, f"a number from 1 to {most}", value)
        return value

    def number(self, name: str, default: float = _ABSENT, *, least: float = 0.0, most: float = math.inf) -> float:
        """A number from ``least`` to ``most``."""
        value = self._typed(name, (int, float), "a number", default)
        if not least <= value <= most:
            raise self._fault(name, f"a number from {least} to {most}", value)
        return float(value)

    def probability(self, name: str, default: float = _ABSENT) -> float:
        """A number from 0 to 1."""
        return self.number(name, default, most=1.0)

    def flag(self, name: str, default: bool = _ABSENT) -> bool:
        """true or false."""
        return self._typed(name, bool, "true or false", default)

    def integers(self, name: str, default: tuple[int, ...] = _ABSENT) -> tuple[int, ...]:
        """A list of whole numbers from 1 on."""
        value = self._take(name, default)
        if not isinstance(value, list | tuple) or not all(type(v) is int and 1 <= v <= 2**24 for v in value):
            raise self._fault(name, "a list of whole numbers, 1 or greater", value)
        return tuple(value)

    def choice(self, name: str, table: Mapping[str, T], default: str = _ABSENT) -> T:
        """What ``table`` has for the name that is the value; a name that it has not is refused."""
        value = self._take(name, default)
        if not isinstance(value, str) or value not in table:
            raise self._fault(name, f"one of {', '.join(map(repr, table))}", value)
        return table[value]

    def only(self, name: str, value: Any, default: Any = _ABSENT) -> None:
        """Refuse every value but the one that this family computes."""
        found = self._take(name, default)
        if found != value or type(found) is not type(value):
            raise self._fault(name, f"{value!r}, the only value that is built", found)

    def optional(self, name: str) -> Any:
        """The raw value, or None."""
        return self._take(name, None)

    def has(self, name: str) -> bool:
        """Is the key there, with a value that is not null?"""
        return self.values.get(name) is not None

    @property
    def classes(self) -> int:
        """The number of classes of a classifier: as many as are named, 2 if none is."""
        names = self._take("id2label", None)
        if names is None:
            return self.integer("num_labels", 2)
        if not isinstance(names, dict) or not names:
            raise self._fault("id2label", "an object of class names", names)
        return len(names)

    def close(self, harmless: Mapping[str, str]) -> None:
        """Refuse every key that was not read, is not harmless, and has not its neutral value."""
        known = {key for keys in HARMLESS.values() for key in keys} | harmless.keys() | self._read
        for name, value in self.values.items():
            if name in known or (name in NEUTRAL and value == NEUTRAL[name]):
                continue
            if name in NEUTRAL:
                raise self._fault(name, f"{NEUTRAL[name]!r}, the only value that is built", value)
            raise VariorumError(
                f"config.json: {name!r}",
                expected="a setting that this family knows",
                found=says_value(value),
                do=f"{nearest(name, known)} If it changes nothing in the model, remove it.",
            )

    def _typed(self, name: str, kind: Any, says: str, default: Any) -> Any:
        value = self._take(name, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._fault(name, says, value)
        return value

    def _take(self, name: str, default: Any) -> Any:
        self._read.add(name)
        value = self.values.get(name, default)
        if value is _ABSENT:
            raise VariorumError("config.json", expected=f"a value for {name!r}", found="none", do="Add it.")
        return value

    def _fault(self, name: str, expected: str, value: Any) -> VariorumError:
        return VariorumError(f"config.json: {name!r}", expected=expected, found=says_value(value),
                             do="The model it describes would compute something else.")  # fmt: skip
