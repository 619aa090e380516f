"""Tiny random checkpoints of transformers, saved as its users save them.

Tests take ``transformers`` itself from here: it must not be imported before it is told to stay offline.
"""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from torch import Tensor

transformers.utils.logging.disable_progress_bar()

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
DISTILBERT = {"vocab_size": 50, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40}
DEBERTA = {**SIZES, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 16,
    "patch_size": 4,
}
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
TASKS = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")

TEXT: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"Bert{task}": ("Bert", SIZES) for task in TASKS},
    "BertForMaskedLM untied, tanh gelu": ("Bert", {**SIZES, "tie_word_embeddings": False, "hidden_act": "gelu_new"}),
    "BertForSequenceClassification 5 classes": ("Bert", {**SIZES, "num_labels": 5}),
    **{f"Roberta{task}": ("Roberta", SIZES) for task in TASKS},
    **{f"DistilBert{task}": ("DistilBert", DISTILBERT) for task in TASKS},
    "DistilBertForMaskedLM untied": ("DistilBert", {**DISTILBERT, "tie_word_embeddings": False, "activation": "relu"}),
    **{f"Albert{task}": ("Albert", {**SIZES, "embedding_size": 8}) for task in TASKS},
    "AlbertModel 2 groups of 2": (
        "Albert",
        {**SIZES, "embedding_size": 8, "num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2},
    ),
    **{f"Electra{task}": ("Electra", {**SIZES, "embedding_size": 8}) for task in (*TASKS, "ForPreTraining")},
    "ElectraForMaskedLM as wide, untied": ("Electra", {**SIZES, "embedding_size": 16, "tie_word_embeddings": False}),
    **{f"DebertaV2{task}": ("DebertaV2", DEBERTA) for task in TASKS},
    "DebertaV2ForMaskedLM as third version": (
        "DebertaV2",
        {
            **DEBERTA,
            "position_buckets": 4,
            "max_relative_positions": 9,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
        },
    ),
    "DebertaV2Model convolution, narrow words": (
        "DebertaV2",
        {**DEBERTA, "type_vocab_size": 2, "embedding_size": 8, "conv_kernel_size": 3, "conv_act": "gelu"},
    ),
    "DebertaV2Model one term": ("DebertaV2", {**DEBERTA, "pos_att_type": "c2p", "max_relative_positions": 3}),
}
"""Model classes of text, each with the settings that a name may add."""

IMAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "ViTModel": ("ViT", VIT),
    "ViTForImageClassification": ("ViT", VIT),
    "ViTForImageClassification tall, grey": (
        "ViT",
        {**VIT, "image_size": [16, 8], "num_channels": 1, "qkv_bias": False, "num_labels": 3},
    ),
    "SwinModel": ("Swin", SWIN),
    "SwinForImageClassification": ("Swin", SWIN),
    "SwinModel windows that do not fit": (
        "Swin",
        {**SWIN, "window_size": 3, "depths": [3, 2, 2], "num_heads": [2, 2, 4], "mlp_ratio": 2.5, "qkv_bias": False},
    ),
    "SwinForImageClassification tall, absolute places": (
        "Swin",
        {**SWIN, "image_size": [40, 24], "num_channels": 1, "window_size": 3, "use_absolute_embeddings": True},
    ),
}


def saved(name: str, folder: Path, *, dtype: torch.dtype = torch.float32) -> Any:
    """The model of that name with all its parameters random, after ``save_pretrained`` into the folder."""
    family, settings = {**TEXT, **IMAGES}[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**settings)
    model = getattr(transformers, name.split()[0])(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.to(dtype).save_pretrained(folder)
    return model


def answers(model: Any, **inputs: Tensor) -> list[Tensor]:
    """What a model of transformers says: tokens and pooled vector, or logits."""
    with torch.no_grad():
        out = model(**inputs)
    return [out[key] for key in ("last_hidden_state", "pooler_output", "logits") if out.get(key) is not None]
