"""The parameters of this library's plain models in the notation of the two papers that define them."""

import numpy as np
from torch import Tensor, nn

from variorum.explain.formal import turner
from variorum.explain.formal.parameters import ContextLayer, DTheta, EDTheta, ETheta, Head, Layer, MultiHead


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()


def multi_head(attention: nn.Module) -> MultiHead:
    """Our fused qkv matrix, cut into the paper's heads."""
    weights = attention.qkv.weight.unflatten(0, (3, attention.heads, -1))
    biases = attention.qkv.bias.unflatten(0, (3, attention.heads, -1))
    heads = tuple(
        Head(*(array(t) for part in range(3) for t in (weights[part, h], biases[part, h])))
        for h in range(attention.heads)
    )
    return MultiHead(W_qkv=heads, W_o=array(attention.out.weight), b_o=array(attention.out.bias))


def norm(part: nn.Module, number: int) -> dict[str, np.ndarray]:
    return {f"gamma_{number}": array(part.weight), f"beta_{number}": array(part.bias)}


def mlp(part: nn.Module, first: int) -> dict[str, np.ndarray]:
    up, down = f"mlp{first}", f"mlp{first + 1}"
    return {
        f"W_{up}": array(part.up.weight), f"b_{up}": array(part.up.bias),
        f"W_{down}": array(part.down.weight), f"b_{down}": array(part.down.bias),
    }  # fmt: skip


def layer(block: nn.Module) -> Layer:
    norms = norm(block.mixer_residual.norm, 1) | norm(block.channels_residual.norm, 2)
    return Layer(W=multi_head(block.mixer), **norms, **mlp(block.channels, 1))


def context_layer(block: nn.Module) -> ContextLayer:
    norms = (
        norm(block.mixer_residual.norm, 3) | norm(block.cross_residual.norm, 4) | norm(block.channels_residual.norm, 5)
    )
    return ContextLayer(W_dec=multi_head(block.mixer), W_ed=multi_head(block.cross), **norms, **mlp(block.channels, 3))


def tokens(embed: nn.Module) -> dict[str, np.ndarray]:
    return {"W_e": array(embed.token.weight.T), "W_p": array(embed.position.weight.T)}


def d_theta(model: nn.Module) -> DTheta:
    return DTheta(**tokens(model.embed), layers=tuple(map(layer, model.blocks)), gamma=array(model.norm.weight),
                  beta=array(model.norm.bias), W_u=array(model.head.linear.weight))  # fmt: skip


def e_theta(model: nn.Module) -> ETheta:
    head = model.head
    return ETheta(**tokens(model.embed), layers=tuple(map(layer, model.blocks)), W_f=array(head.transform.weight),
                  b_f=array(head.transform.bias), gamma=array(head.norm.weight), beta=array(head.norm.bias),
                  W_u=array(head.linear.weight))  # fmt: skip


def ed_theta(model: nn.Module) -> EDTheta:
    assert np.array_equal(array(model.encoder.embed.token.weight), array(model.decoder.embed.token.weight))
    return EDTheta(**tokens(model.decoder.embed), encoder=tuple(map(layer, model.encoder.blocks)),
                   decoder=tuple(map(context_layer, model.decoder.blocks)),
                   W_u=array(model.decoder.head.linear.weight))  # fmt: skip


def turner_block(block: nn.Module) -> turner.Block:
    """Our block in Turner's notation, which has no biases in attention: they must be zero, or absent."""
    q, k, v = block.mixer.qkv.weight.unflatten(0, (3, block.mixer.heads, -1))
    out = block.mixer.out.weight.unflatten(1, (block.mixer.heads, -1))
    heads = tuple(
        turner.Head(array(q[h]), array(k[h]), array(v[h]), array(out[:, h])) for h in range(block.mixer.heads)
    )
    channels = block.channels
    return turner.Block(
        heads=heads, **norm(block.mixer_residual.norm, 1), **norm(block.channels_residual.norm, 2),
        W_1=array(channels.up.weight), b_1=array(channels.up.bias),
        W_2=array(channels.down.weight), b_2=array(channels.down.bias),
    )  # fmt: skip
