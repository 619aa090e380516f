"""Mixture-of-Transformers: weights by modality, attention over all."""

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from house.kept import bears_out
from variorum.core import Layout, VariorumError, find_entry
from variorum.data.captioned_shapes import CaptionedShapes
from variorum.layers.by_segment import BySegment
from variorum.layers.dispatch import dispatch, every
from variorum.layers.embed.vocabularies import Vocabularies
from variorum.layers.mixers.attention import Attention
from variorum.layers.residuals.layer_scale import LayerScale
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.untied import Untied
from variorum.systems.mixture_of_transformers import CHAMELEON_IDS, Norms, mixture_of_transformers

SLUG = "mixture-of-transformers"
SMALL = {"dim": 16, "depth": 2, "heads": 2, "hidden": 24}
VOCAB, BORDERS = 20, (8, 14)


def small(*, borders: tuple[int, ...] = BORDERS, **more) -> nn.Module:
    return mixture_of_transformers(**SMALL, borders=borders, **more).fill(vocab=VOCAB).build().double().eval()


def ids(batch: int = 3, n: int = 11, seed: int = 0) -> Tensor:
    return torch.randint(VOCAB, (batch, n), generator=torch.Generator().manual_seed(seed))


def tied(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """Every copy of the model given the weights of a dense one."""
    own = model.state_dict()
    for name in own:
        dense = name.replace(".layer.", ".").split(".copies.")
        source = dense[0] + ("." + dense[1].split(".", 1)[1] if len(dense) == 2 else "")
        own[name] = weights[source]
    model.load_state_dict(own)
    return model


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("norms", Norms)
@pytest.mark.parametrize("borders", [(), (8,), (8, 14)])
def test_equal_copies_are_the_dense_model(norms, borders):
    """With all copies equal, and with one modality only, logits equal the dense model's to 1e-12, whatever the ids."""
    torch.manual_seed(0)
    dense = small(borders=borders, norms=norms, untied=False)
    ours = tied(small(borders=borders, norms=norms), dense.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(ids()), dense(ids()), atol=1e-12, rtol=0)


@pytest.mark.row(SLUG, 0)
def test_equals_llama():
    """With norms before, all copies equal and random ids, logits equal those of transformers' Llama on copied weights
    to 1e-5."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False, pad_token_id=None,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
    given = theirs.state_dict()
    weights = {"embed.token.weight": given["model.embed_tokens.weight"], "head.linear.weight": given["lm_head.weight"],
               "blocks.2.residual.norm.weight": given["model.norm.weight"]}  # fmt: skip
    for i in range(2):
        get = {name: given[f"model.layers.{i}.{name}.weight"] for name in (
            "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
            "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm")}  # fmt: skip
        weights |= {
            f"blocks.{i}.mixer.qkv.weight": torch.cat([get[f"self_attn.{n}_proj"] for n in "qkv"]),
            f"blocks.{i}.mixer.out.weight": get["self_attn.o_proj"],
            f"blocks.{i}.channels.gate_up.weight": torch.cat([get["mlp.gate_proj"], get["mlp.up_proj"]]),
            f"blocks.{i}.channels.down.weight": get["mlp.down_proj"],
            f"blocks.{i}.mixer_residual.norm.weight": get["input_layernorm"],
            f"blocks.{i}.channels_residual.norm.weight": get["post_attention_layernorm"],
        }
    ours = tied(small(norms=Norms.BEFORE, qk_norm=False).float(), weights)
    with torch.no_grad():
        wanted = theirs(ids()).logits
        torch.testing.assert_close(ours(ids()), wanted, atol=1e-5, rtol=1e-5)
    assert wanted.std() > 0.1


@pytest.mark.row(SLUG, 1)
def test_gradients_stay_with_their_modality():
    """A loss of text tokens only, without images in the row, has a gradient of exactly 0 for all image weights."""
    torch.manual_seed(0)
    model = small(borders=(8,))
    row = ids() % 8
    model(row).square().mean().backward()
    copies = [m for m in model.modules() if isinstance(m, BySegment)]
    assert len(copies) == 2 * 7 + 1, "per layer: qkv, out, norms of q and k, two norms, channels; and the last norm"
    for part in copies:
        assert all(p.grad.abs().max() > 0 for p in part.copies[0].parameters())
        assert all(p.grad is None or not p.grad.any() for p in part.copies[1].parameters())


@pytest.mark.row(SLUG, 1)
def test_image_channels_learn_nothing_from_text():
    """With images in the row that only attention reads, a loss of the last layer's text trains image keys and values,
    but neither image channels nor image outputs of that layer."""
    torch.manual_seed(0)
    model = small(borders=(8,))
    row = ids()
    model(row)[row < 8].square().mean().backward()
    block = model.blocks[1].layer
    images = {name: part.copies[1] for name, part in block.named_modules() if isinstance(part, BySegment)}
    assert images["mixer.qkv"].weight.grad.any()
    for name in ("mixer.out", "channels"):
        assert not any(p.grad is not None and p.grad.any() for p in images[name].parameters())


@pytest.mark.row(SLUG, 1)
def test_order_of_gathering_does_not_matter():
    """Modalities in another order, with their weights, give the same outputs; so does every copy on all tokens."""
    torch.manual_seed(0)
    layer = Untied.spec(layer=mixture_of_transformers(**SMALL, borders=(8,), untied=False)["blocks"][0], count=3)
    first, second = (layer.build(dim=16).double().eval() for _ in range(2))
    turn = torch.tensor([2, 0, 1])
    own = first.state_dict()
    second.load_state_dict(
        {name: own[name.replace(f"copies.{k}.", f"copies.{turn[k]}.")] for name in own for k in range(3)
         if f"copies.{k}." in name}
    )  # fmt: skip
    x, segments = torch.randn(2, 9, 16).double(), torch.randint(3, (2, 9))
    one = first(x, Layout(segments=turn[segments]))
    torch.testing.assert_close(second(x, Layout(segments=segments)), one, atol=1e-12, rtol=0)
    parts = [nn.Linear(16, 5).double() for _ in range(3)]
    rows, chosen = x.flatten(0, 1), segments.flatten()
    torch.testing.assert_close(dispatch(parts, chosen, rows), every(parts, chosen, rows), atol=1e-12, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_no_token_to_come_is_seen():
    """Other ids later in the row, of whatever modality, leave earlier logits as they are; token by token, too."""
    torch.manual_seed(0)
    model = small()
    first, second = ids(seed=0), ids(seed=1)
    with torch.no_grad():
        whole = model(first)
        for t in range(1, 11):
            mixed = torch.cat([first[:, :t], second[:, t:]], dim=1)
            torch.testing.assert_close(model(mixed)[:, :t], whole[:, :t], atol=1e-12, rtol=0)
        state, steps = model.start(3), []
        for t in range(11):
            out, state = model.step(first[:, t], state)
            steps.append(out)
        torch.testing.assert_close(torch.stack(steps, dim=1), whole, atol=1e-10, rtol=0)


@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize(
    ("size", "millions"), [("37m", 37), ("94m", 94), ("443m", 443), ("880m", 880), ("1.5b", 1500), ("7b", 7000)]
)
def test_published_size(size, millions):
    """The dense model of each size has the millions it is named after within 1%; the untied one exactly embeddings plus
    twice the rest."""
    counts = []
    for untied in (False, True):
        with torch.device("meta"):
            model = find_entry(SLUG).spec(size, untied=untied).fill(vocab=CHAMELEON_IDS).build()
        counts.append(sum(p.numel() for p in model.parameters()))
    embeddings = 2 * CHAMELEON_IDS * find_entry(SLUG).spec(size)["dim"]
    assert counts[0] == pytest.approx(millions * 1e6, rel=0.01)
    assert counts[1] == embeddings + 2 * (counts[0] - embeddings)


@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize("borders", [(8,), (8, 14)])
def test_arithmetic_of_a_token(borders):
    """Multiplications and additions for a token are exactly the dense model's; parameters beside embeddings M times."""
    counts, flops = [], []
    for untied in (False, True):
        model = small(borders=borders, untied=untied)
        counts.append(sum(p.numel() for p in model.parameters()) - 2 * VOCAB * 16)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(ids())
        flops.append(counter.get_total_flops())
    assert counts[1] == (len(borders) + 1) * counts[0] and flops[1] == flops[0]


def test_segments_are_vocabularies():
    """An id's segment is its vocabulary; borders that do not rise, and segments beyond the copies, are refused."""
    embed = Vocabularies.spec(borders=(4, 9)).build(dim=4, vocab=12)
    _, layout = embed(torch.tensor([[0, 3, 4, 8, 9, 11]]))
    assert layout.segments.tolist() == [[0, 0, 1, 1, 2, 2]]
    with pytest.raises(VariorumError, match="rising"):
        Vocabularies.spec(borders=(9, 4)).build(dim=4, vocab=12)
    layer = Untied.spec(layer=mixture_of_transformers(**SMALL, borders=(8,), untied=False)["blocks"][0], count=2)
    with pytest.raises(VariorumError, match="0 to 1"):
        layer.build(dim=16)(torch.randn(1, 2, 16), Layout(segments=torch.tensor([[0, 2]])))


def test_what_cannot_be_untied_is_refused():
    """A parameter that belongs to no pointwise part, as a layer scale, cannot be told apart by token."""
    block = mixture_of_transformers(**SMALL, borders=(8,), untied=False)["blocks"][0]
    with pytest.raises(VariorumError, match="LayerScale"):
        Untied.spec(layer=block.but(residual=LayerScale.spec(inner=PreNorm.spec())), count=2).build(dim=16)
    with pytest.raises(VariorumError, match="no memory"):
        Untied.spec(layer=block.but(mixer=Attention.spec(heads=2)), count=2).build(dim=16)(
            torch.randn(1, 2, 16), None, torch.randn(1)
        )


def test_pictures_are_what_captions_say():
    """Without grain a picture follows from its caption alone: drawing the same words again paints the same codes."""
    task = CaptionedShapes(side=8, shapes=1, grain=0.0)
    inputs = task.batch(0, 4000, 0).inputs["inputs"]
    words, codes = inputs[:, 1:6], inputs[:, 7:]
    _, same = words.unique(dim=0, return_inverse=True)
    first = torch.zeros(int(same.max()) + 1, codes.shape[1], dtype=codes.dtype)
    first[same] = codes
    assert torch.equal(first[same], codes) and len(first) > 1000
    assert (codes >= task.border).all() and (words < task.border).all()


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_untied_modalities() -> None:
    """A fresh run of UntiedModalities comes out as CLAIMS.md has it."""
    bears_out("UntiedModalities")
