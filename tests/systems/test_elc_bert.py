"""ELC-BERT: each layer chooses its input among the outputs of all before it."""

import math

import pytest
import torch
from torch import Tensor, nn
from transformers.models.deberta_v2 import modeling_deberta_v2 as deberta

from house.kept import bears_out
from variorum.core import Spec, find_entry
from variorum.layers.mixers.disentangled import Disentangled, log_buckets
from variorum.layers.norms.layernorm import LayerNorm
from variorum.systems.elc_bert import Variant, elc_bert

SLUG = "elc-bert"
VOCAB = 31
VARIANTS = list(Variant)


def tiny(variant: Variant = Variant.BASE, *, depth: int = 6) -> Spec:
    return elc_bert(dim=24, depth=depth, heads=4, hidden=40, variant=variant).fill(vocab=VOCAB)


def built(spec: Spec) -> nn.Module:
    torch.manual_seed(0)
    return spec.build().eval()


def choose(model: nn.Module, chosen: int) -> None:
    """Make every choice all but certain: the output at this index, -1 the newest."""
    with torch.no_grad():
        for choice in model.choices:
            choice.weight.fill_(-1e4)
            choice.weight[min(chosen, len(choice.weight) - 1)] = 1e4


def inputs_of(model: nn.Module, layer: int, ids: Tensor) -> Tensor:
    """What a layer is given."""
    heard = []
    handle = model.blocks[layer].register_forward_pre_hook(lambda _, args: heard.append(args[0].clone()))
    with torch.no_grad():
        model(ids)
    handle.remove()
    return heard[0]


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize(("size", "vocab", "wanted"), [("small", 6144, 23_799_630), ("base", 16384, 98_229_838)])
def test_published_size(size, vocab, wanted):
    """23,799,630 parameters (small) and 98,229,838 (base) but one: the first layer's weight for its only input.

    The softmax of one number is 1 whatever it is: no gradient ever reaches that parameter of the authors' code.
    """
    with torch.device("meta"):
        model = find_entry(SLUG).spec(size).fill(vocab=vocab).build()
    assert sum(p.numel() for p in model.parameters()) == wanted - 1


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("variant", VARIANTS)
def test_choosing_the_newest_output_is_a_plain_stack(variant):
    """With all weight on the newest output the model equals the same layers one after another, to 1e-6."""
    spec = tiny(variant)
    model, plain = built(spec), built(spec.but(choices=()))
    choose(model, -1)
    ids = torch.randint(VOCAB, (3, 17))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), plain(ids), atol=1e-6, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_choosing_the_embedding_cuts_the_layers_off():
    """With all weight on the embedding, other weights in layer 3 leave the input of layer 5 unchanged, bit for bit."""
    model = built(tiny())
    choose(model, 0)
    ids = torch.randint(VOCAB, (3, 17))
    before = inputs_of(model, 5, ids)
    with torch.no_grad():
        for name, parameter in model.blocks[3].named_parameters():
            if "relative" not in name and "mixer.norm" not in name:  # those are every layer's
                parameter.normal_()
    assert torch.equal(inputs_of(model, 5, ids), before)
    choose(model, 4)
    assert not torch.equal(inputs_of(model, 5, ids), before)


@pytest.mark.parametrize("variant", [Variant.BASE, Variant.ZERO, Variant.NORMALISED])
def test_a_layer_is_what_the_paper_says(variant):
    """a = attention(x), then a + FFN(a) in the released base model and a + FFN(x + a) in the others, to 1e-5."""
    layer = built(tiny(variant)).blocks[2]
    block = layer if variant is Variant.BASE else layer.layer
    x = torch.randn(2, 9, 24)

    def plain(y: Tensor) -> Tensor:
        return (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 1e-7).sqrt()

    def attend(y: Tensor) -> Tensor:
        after = block.mixer_residual.after
        return plain(block.mixer(plain(y))) * after.weight + after.bias

    def feed(y: Tensor) -> Tensor:
        gate, up = (plain(y) @ block.channels.gate_up.weight.T).chunk(2, dim=-1)
        return plain(nn.functional.gelu(gate, approximate="tanh") * up) @ block.channels.down.weight.T

    with torch.no_grad():
        a = attend(x)
        wanted = a + feed(a if variant is Variant.BASE else x + a)
        wanted = plain(wanted) if variant is Variant.NORMALISED else wanted
        torch.testing.assert_close(layer(x), wanted, atol=1e-5, rtol=0)


def bucket(apart: int) -> int:
    """The published bucket of a distance, 32 buckets up to 512, in float32 as computed there."""
    if abs(apart) <= 16:
        return apart
    steps = torch.log(torch.tensor(abs(apart) / 16)) / torch.log(torch.tensor(511 / 16)) * 15
    return int(math.copysign(int(torch.ceil(steps)) + 16, apart))


def naive(x: Tensor, mixer: Disentangled) -> Tensor:
    """Disentangled attention, pair by pair and head by head. x: (n, dim)."""
    dim, size = x.shape[1], mixer.head_dim
    weights, biases = mixer.qkv.weight.split(dim), mixer.qkv.bias.split(dim)
    q, k, v = (x @ w.T + b for w, b in zip(weights, biases, strict=True))
    places = mixer.norm(mixer.relative)
    place_q, place_k = (places @ w.T + b for w, b in zip(weights[:2], biases[:2], strict=True))
    heads = []
    for h in range(mixer.heads):
        part = slice(h * size, (h + 1) * size)
        scores = x.new_zeros(len(x), len(x))
        for i in range(len(x)):
            for j in range(len(x)):
                place = bucket(i - j) + 31
                terms = q[i, part] @ k[j, part] + q[i, part] @ place_k[place, part] + k[j, part] @ place_q[place, part]
                scores[i, j] = terms / math.sqrt(3 * size)
        heads.append(scores.softmax(-1) @ v[:, part])
    return torch.cat(heads, dim=-1) @ mixer.out.weight.T + mixer.out.bias


@pytest.mark.row(SLUG, 2)
def test_attention_equals_a_loop_over_pairs():
    """Disentangled attention over 40 tokens equals its equation written pair by pair in float64, to 1e-9."""
    torch.manual_seed(0)
    spec = Disentangled.spec(heads=2, furthest=512, buckets=32, vectors=63, norm=LayerNorm.spec(eps=1e-7))
    mixer = spec.build(dim=12).double()
    nn.init.normal_(mixer.relative)
    x = torch.randn(40, 12, dtype=torch.float64)
    torch.testing.assert_close(mixer(x[None])[0], naive(x, mixer), atol=1e-9, rtol=0)


@pytest.mark.row(SLUG, 2)
def test_buckets_are_those_of_deberta():
    """All distances from -511 to 511 fall into the buckets of transformers' DeBERTa-v2 (32 buckets, at most 512)."""
    apart = torch.arange(-511, 512)
    theirs = deberta.make_log_bucket_position(apart, 32, 512).to(torch.int64)
    assert torch.equal(log_buckets(apart, 32, 512), theirs)
    assert theirs.min() == -31 and theirs.max() == 31


def test_layers_share_their_distances():
    """All layers have one table of 63 distance vectors and one norm of it."""
    for variant in VARIANTS:
        model = built(tiny(variant))
        blocks = [block if variant is Variant.BASE else block.layer for block in model.blocks]
        assert blocks[0].mixer.relative.shape == (63, 24)
        assert len({id(block.mixer.relative) for block in blocks}) == 1
        assert len({id(block.mixer.norm.weight) for block in blocks}) == 1


def test_initial_values():
    """Std sqrt(2 / 5d), in the channels of layer i less by sqrt(2 (1 + i)); no value beyond two of them; alpha."""
    torch.manual_seed(0)
    model = elc_bert(dim=128, depth=3, heads=2, hidden=256).fill(vocab=200).build()
    std = math.sqrt(2 / (5 * 128))
    shrunk = 0.8796  # std of a standard normal cut at two
    for tensor, wanted in [
        (model.embed.embed.token.weight, std),
        (model.blocks[0].mixer.relative, std),
        *((block.mixer.qkv.weight, std) for block in model.blocks),
        *((block.channels.down.weight, std / math.sqrt(2 * (1 + i))) for i, block in enumerate(model.blocks)),
    ]:
        assert float(tensor.detach().std()) == pytest.approx(wanted * shrunk, rel=0.03)
        assert float(tensor.detach().abs().max()) <= 2 * wanted + 1e-6
    assert not model.blocks[1].mixer.qkv.bias.any() and not model.head.linear.bias.any()
    assert [choice.weight.tolist() for choice in model.choices] == [[0, 1], [0, 0, 1]]
    zero = built(tiny(Variant.ZERO))
    assert not any(choice.weight.any() for choice in zero.choices)
    assert len(built(tiny(Variant.WEIGHTED)).choices) == 6 and len(zero.choices) == 5


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_every_layer_counts() -> None:
    """A fresh run of EveryLayerCounts comes out as CLAIMS.md has it."""
    bears_out("EveryLayerCounts")
