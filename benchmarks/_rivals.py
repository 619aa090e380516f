"""The candidates of models.py: GPT, BERT and ViT of one shape from each library, and the work they are measured on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import _torch
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """One model's shape and batch. ``length``: tokens of a row, or pixels of an image's side."""

    dim: int
    depth: int
    heads: int
    length: int
    batch: int
    vocab: int = 0
    classes: int = 0
    patch: int = 16

    def tiny(self) -> "Shape":
        """The same kind of model, small enough for a test."""
        return replace(self, dim=32, depth=1, heads=2, length=32, batch=2, vocab=min(self.vocab, 100), patch=8)

    def batch_of(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets: images with classes, or tokens with what stands at each of them."""
        if self.vocab:
            labels = self.classes or self.vocab
            rows = (self.batch, self.length)
            return torch.randint(self.vocab, rows), torch.randint(labels, rows)
        return torch.randn(self.batch, 3, self.length, self.length), torch.randint(self.classes, (self.batch,))


SHAPES = {
    "GPT": Shape(dim=384, depth=6, heads=6, length=256, batch=12, vocab=65),
    "BERT": Shape(dim=384, depth=6, heads=12, length=128, batch=8, vocab=30522, classes=9),
    "ViT": Shape(dim=384, depth=12, heads=6, length=224, batch=8, classes=1000),
}
SAYS = {
    "GPT": "GPT (6 layers, 384 wide, 6 heads, 12 rows of 256 tokens, vocabulary of 65)",
    "BERT": "BERT (MiniLM's shape: 6 layers, 384 wide, 12 heads, 8 rows of 128 tokens, vocabulary of 30522, 9 labels)",
    "ViT": "ViT-S/16 (12 layers, 384 wide, 6 heads, 8 images of 224 x 224, 1000 classes)",
}


class Logits(nn.Module):
    """A model of transformers that answers with its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs).logits


def ours(model: str, s: Shape) -> nn.Module:
    """From the catalogue's systems."""
    from variorum.layers.embed.class_token import ClassToken
    from variorum.layers.embed.patches import Patches
    from variorum.layers.heads.unembed import Unembed
    from variorum.layers.positions.learned import LearnedPosition
    from variorum.systems import formal_algorithms_transformers as plain
    from variorum.systems import turner_introduction as turner

    if model == "GPT":
        return plain.decoder(dim=s.dim, depth=s.depth, heads=s.heads, length=s.length).fill(vocab=s.vocab).build()
    if model == "BERT":
        spec = plain.encoder(dim=s.dim, depth=s.depth, heads=s.heads, length=s.length)
        return spec.but(head=Unembed.spec(vocab=s.classes)).fill(vocab=s.vocab).build()
    embed = ClassToken.spec(embed=Patches.spec(patch=s.patch), position=LearnedPosition.spec())
    spec = turner.encoder(dim=s.dim, depth=s.depth, heads=s.heads, embed=embed)
    return spec.fill(channels=3, height=s.length, width=s.length, classes=s.classes).build()


def by_hand(model: str, s: Shape) -> nn.Module:
    """Written by hand in torch (``_torch.py``)."""
    if model == "GPT":
        return _torch.GPT(s.dim, s.depth, s.heads, s.length, s.vocab)
    if model == "BERT":
        return _torch.BERT(s.dim, s.depth, s.heads, s.length, s.vocab, s.classes)
    return _torch.ViT(s.dim, s.depth, s.heads, s.length, s.patch, s.classes)


def transformers(model: str, s: Shape) -> nn.Module:
    """From HuggingFace's transformers, with torch's attention, the exact GELU and no dropout, as the others."""
    import transformers as hf

    if model == "GPT":
        return Logits(hf.GPT2LMHeadModel(hf.GPT2Config(
            vocab_size=s.vocab, n_positions=s.length, n_embd=s.dim, n_layer=s.depth, n_head=s.heads, use_cache=False,
            bos_token_id=None, eos_token_id=None, activation_function="gelu", attn_pdrop=0.0, embd_pdrop=0.0,
            resid_pdrop=0.0, attn_implementation="sdpa")))  # fmt: skip
    common: dict[str, Any] = {"hidden_size": s.dim, "num_hidden_layers": s.depth, "num_attention_heads": s.heads,
                              "intermediate_size": 4 * s.dim, "hidden_dropout_prob": 0.0, "num_labels": s.classes,
                              "attention_probs_dropout_prob": 0.0, "attn_implementation": "sdpa"}  # fmt: skip
    if model == "BERT":
        config = hf.BertConfig(vocab_size=s.vocab, max_position_embeddings=s.length, **common)
        return Logits(hf.BertForTokenClassification(config))
    return Logits(hf.ViTForImageClassification(hf.ViTConfig(image_size=s.length, patch_size=s.patch, **common)))


def x_transformers(model: str, s: Shape) -> nn.Module:
    """From x-transformers, with torch's attention.

    It has no option for biases in attention and none for a class token: its projections are given biases, and its ViT a
    register token, so that all libraries do the same products over the same tokens.
    """
    from x_transformers import Decoder, Encoder, TransformerWrapper, ViTransformerWrapper

    layers: dict[str, Any] = {"dim": s.dim, "depth": s.depth, "heads": s.heads, "attn_flash": True,
                              "attn_dim_head": s.dim // s.heads, "verbose": False}  # fmt: skip
    if model == "GPT":
        return TransformerWrapper(num_tokens=s.vocab, max_seq_len=s.length, attn_layers=_biased(Decoder(**layers)))
    if model == "BERT":
        return TransformerWrapper(num_tokens=s.vocab, max_seq_len=s.length, logits_dim=s.classes,
                                  attn_layers=_biased(Encoder(**layers, pre_norm=False)))  # fmt: skip
    return ViTransformerWrapper(image_size=s.length, patch_size=s.patch, num_classes=s.classes, num_register_tokens=1,
                                attn_layers=_biased(Encoder(**layers)))  # fmt: skip


def _biased(layers: nn.Module) -> nn.Module:
    """The same layers with biases in the projections of attention."""
    for module in layers.modules():
        for name in ("to_q", "to_k", "to_v", "to_out"):
            plain = getattr(module, name, None)
            if isinstance(plain, nn.Linear):
                setattr(module, name, nn.Linear(plain.in_features, plain.out_features))
    return layers


LIBRARIES: dict[str, Callable[[str, Shape], nn.Module]] = {
    "variorum": ours,
    "torch by hand": by_hand,
    "transformers": transformers,
    "x-transformers": x_transformers,
}
