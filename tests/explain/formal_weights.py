"""The weights of torch and transformers models in the papers' notation: rows become columns, blocks become heads."""

import numpy as np
import torch
from torch import Tensor, nn

from variorum.explain.formal import turner
from variorum.explain.formal.parameters import ContextLayer, DTheta, EDTheta, ETheta, Head, Layer, MultiHead


def randomize(model: nn.Module, *, seed: int, scale: float = 0.3) -> None:
    """Draw every parameter anew, biases and gains too, so that none is hidden by being 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * scale)


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()


def joined(q: tuple, k: tuple, v: tuple, o: tuple, *, heads: int) -> MultiHead:
    """One attention from four (weight, bias) pairs whose weights map columns and whose rows lie head after head."""
    parts = [[np.split(array(t), heads) for t in pair] for pair in (q, k, v)]
    qkv = tuple(Head(*(part[h] for pair in parts for part in pair)) for h in range(heads))
    return MultiHead(W_qkv=qkv, W_o=array(o[0]), b_o=array(o[1]))


def linear(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias


def gpt2_theta(model: nn.Module) -> DTheta:
    body, heads = model.transformer, model.config.n_head
    layers = []
    for block in body.h:
        weights, biases = block.attn.c_attn.weight.T.chunk(3), block.attn.c_attn.bias.chunk(3)
        q, k, v = zip(weights, biases, strict=True)
        o = (block.attn.c_proj.weight.T, block.attn.c_proj.bias)
        layers.append(
            Layer(
                W=joined(q, k, v, o, heads=heads),
                gamma_1=array(block.ln_1.weight),
                beta_1=array(block.ln_1.bias),
                gamma_2=array(block.ln_2.weight),
                beta_2=array(block.ln_2.bias),
                W_mlp1=array(block.mlp.c_fc.weight.T),
                b_mlp1=array(block.mlp.c_fc.bias),
                W_mlp2=array(block.mlp.c_proj.weight.T),
                b_mlp2=array(block.mlp.c_proj.bias),
            )
        )
    return DTheta(
        W_e=array(body.wte.weight.T), W_p=array(body.wpe.weight.T), layers=tuple(layers),
        gamma=array(body.ln_f.weight), beta=array(body.ln_f.bias), W_u=array(model.lm_head.weight),
    )  # fmt: skip


def bert_theta(model: nn.Module) -> ETheta:
    """BERT's one segment is part of every position; its output bias is moved into the last β, as W_u β' = W_u β + b."""
    embeddings, transform = model.bert.embeddings, model.cls.predictions.transform
    layers = []
    for block in model.bert.encoder.layer:
        own, output = block.attention.self, block.attention.output
        layers.append(
            Layer(
                W=joined(
                    linear(own.query),
                    linear(own.key),
                    linear(own.value),
                    linear(output.dense),
                    heads=model.config.num_attention_heads,
                ),
                gamma_1=array(output.LayerNorm.weight),
                beta_1=array(output.LayerNorm.bias),
                gamma_2=array(block.output.LayerNorm.weight),
                beta_2=array(block.output.LayerNorm.bias),
                W_mlp1=array(block.intermediate.dense.weight),
                b_mlp1=array(block.intermediate.dense.bias),
                W_mlp2=array(block.output.dense.weight),
                b_mlp2=array(block.output.dense.bias),
            )
        )
    W_u, bias = array(model.cls.predictions.decoder.weight), array(model.cls.predictions.decoder.bias)
    shift, *_ = np.linalg.lstsq(W_u, bias, rcond=None)
    assert np.allclose(W_u @ shift, bias, atol=1e-12), "the vocabulary must be no larger than the width"
    segment = embeddings.token_type_embeddings.weight[0]
    return ETheta(
        W_e=array(embeddings.word_embeddings.weight.T),
        W_p=array((embeddings.position_embeddings.weight + segment).T),
        gamma_0=array(embeddings.LayerNorm.weight), beta_0=array(embeddings.LayerNorm.bias), layers=tuple(layers),
        W_f=array(transform.dense.weight), b_f=array(transform.dense.bias),
        gamma=array(transform.LayerNorm.weight), beta=array(transform.LayerNorm.bias) + shift, W_u=W_u,
    )  # fmt: skip


def attention_weights(mha: nn.MultiheadAttention) -> MultiHead:
    q, k, v = zip(mha.in_proj_weight.chunk(3), mha.in_proj_bias.chunk(3), strict=True)
    return joined(q, k, v, linear(mha.out_proj), heads=mha.num_heads)


class TorchEncoderDecoder(nn.Module):
    """torch.nn.Transformer without the final norms that it adds by default, between the paper's embeddings."""

    def __init__(self, *, vocabulary: int, dim: int, heads: int, mlp: int, depth: int, positions: int) -> None:
        super().__init__()
        sizes = {"d_model": dim, "nhead": heads, "dim_feedforward": mlp, "dropout": 0.0, "batch_first": True}
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**sizes), depth, enable_nested_tensor=False)
        decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**sizes), depth)
        self.body = nn.Transformer(**sizes, custom_encoder=encoder, custom_decoder=decoder)
        self.tokens, self.positions = nn.Embedding(vocabulary, dim), nn.Embedding(positions, dim)
        self.out = nn.Linear(dim, vocabulary, bias=False)
        self.double()

    def embed(self, x: Tensor) -> Tensor:
        return (self.tokens(x) + self.positions(torch.arange(len(x))))[None]

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(len(x), dtype=torch.float64)
        return self.out(self.body(self.embed(z), self.embed(x), tgt_mask=causal, tgt_is_causal=True))[0]

    def theta(self) -> EDTheta:
        encoder = tuple(
            Layer(
                W=attention_weights(layer.self_attn),
                gamma_1=array(layer.norm1.weight), beta_1=array(layer.norm1.bias),
                gamma_2=array(layer.norm2.weight), beta_2=array(layer.norm2.bias),
                W_mlp1=array(layer.linear1.weight), b_mlp1=array(layer.linear1.bias),
                W_mlp2=array(layer.linear2.weight), b_mlp2=array(layer.linear2.bias),
            )
            for layer in self.body.encoder.layers
        )  # fmt: skip
        decoder = tuple(
            ContextLayer(
                W_dec=attention_weights(layer.self_attn), W_ed=attention_weights(layer.multihead_attn),
                gamma_3=array(layer.norm1.weight), beta_3=array(layer.norm1.bias),
                gamma_4=array(layer.norm2.weight), beta_4=array(layer.norm2.bias),
                gamma_5=array(layer.norm3.weight), beta_5=array(layer.norm3.bias),
                W_mlp3=array(layer.linear1.weight), b_mlp3=array(layer.linear1.bias),
                W_mlp4=array(layer.linear2.weight), b_mlp4=array(layer.linear2.bias),
            )
            for layer in self.body.decoder.layers
        )  # fmt: skip
        return EDTheta(W_e=array(self.tokens.weight.T), W_p=array(self.positions.weight.T), encoder=encoder,
                       decoder=decoder, W_u=array(self.out.weight))  # fmt: skip


def turner_block(layer: nn.TransformerEncoderLayer) -> turner.Block:
    """The note has no biases in its attention, so those of the layer must be 0."""
    attention = layer.self_attn
    assert not attention.in_proj_bias.any() and not attention.out_proj.bias.any(), "set the attention's biases to 0"
    U_q, U_k, V_in = ([np.ascontiguousarray(part) for part in np.split(array(weight), attention.num_heads)]
                      for weight in attention.in_proj_weight.chunk(3))  # fmt: skip
    V_out = np.split(array(attention.out_proj.weight), attention.num_heads, axis=1)
    return turner.Block(
        heads=tuple(map(turner.Head, U_q, U_k, V_in, V_out)),
        gamma_1=array(layer.norm1.weight), beta_1=array(layer.norm1.bias),
        gamma_2=array(layer.norm2.weight), beta_2=array(layer.norm2.bias),
        W_1=array(layer.linear1.weight), b_1=array(layer.linear1.bias),
        W_2=array(layer.linear2.weight), b_2=array(layer.linear2.bias),
    )  # fmt: skip
