"""What the families that write text share: causal blocks in their settings, their heads, their names."""

from collections.abc import Mapping
from typing import Any

from variorum.core import Head, Spec, VariorumError
from variorum.runtime.huggingface.config import Config
from variorum.runtime.huggingface.encoder import Kind
from variorum.runtime.huggingface.mapping import Copy

GENERATION = {
    name: "how text is generated, not the model"
    for name in (
        "do_sample", "early_stopping", "force_bos_token_to_be_generated", "length_penalty", "max_length", "min_length",
        "no_repeat_ngram_size", "num_beams", "num_beam_groups", "num_return_sequences", "repetition_penalty",
        "temperature", "top_k", "top_p", "typical_p", "diversity_penalty", "bad_words_ids",
        "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "output_scores", "remove_invalid_values",
        "return_dict_in_generate", "forced_decoder_ids",
    )
}  # fmt: skip
"""Settings of older configs that moved to generation_config.json."""


def whole(config: Config, name: str, default: int) -> int:
    """A whole number; null says as little as a key that is not there."""
    return default if config.optional(name) is None else config.integer(name)


def architecture(name: str, head: Spec[Head], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The key that names the model class, told by the head: ``kinds`` says which."""
    if head.part not in kinds:
        raise VariorumError("head", expected=f"one of {', '.join(kinds)}", found=head.part, do="Replace the head.")
    return {"architectures": [name + kinds[head.part]]}


def tied_output(theirs: str, embedding: str, *, tied: bool) -> tuple[Copy, ...]:
    """Some files hold a tied output matrix a second time."""
    return (Copy(theirs, embedding),) if tied else ()
