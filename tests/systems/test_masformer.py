"""MASFormer: full attention in a few layers, local attention in the others."""

import statistics
from time import process_time

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from house.kept import bears_out
from variorum.core import Layout, Spec, State, find_entry, listen
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.window import Window
from variorum.systems.masformer import Placement, Span, masformer, places

SLUG = "masformer"
VOCAB = 61
PLACEMENTS = list(Placement)


def tiny(**changes) -> Spec:
    chosen = {"dim": 32, "depth": 4, "heads": 4, "full": 2, "window": 8, "length": 128, "span": Span.SLIDING}
    return masformer(**{**chosen, **changes}).fill(vocab=VOCAB)


def built(spec: Spec) -> nn.Module:
    torch.manual_seed(0)
    return spec.build().eval()


def neo(model: nn.Module, spec: Spec, window: int) -> nn.Module:
    """GPT-Neo of the same shape, with the weights of ours."""
    kinds = ["global" if block["mixer"]["pattern"].part == "Causal" else "local" for block in spec["blocks"]]
    config = transformers.GPTNeoConfig(
        vocab_size=VOCAB, hidden_size=32, num_layers=4, num_heads=4, max_position_embeddings=128, window_size=window,
        attention_types=[[[kind], 1] for kind in kinds],
    )  # fmt: skip
    theirs = transformers.GPTNeoForCausalLM(config).eval()
    own = {"transformer.wte.weight": model.embed.token.weight, "transformer.wpe.weight": model.embed.position.weight,
           "lm_head.weight": model.embed.token.weight, **named("transformer.ln_f", model.norm)}  # fmt: skip
    for i, block in enumerate(model.blocks):
        at = f"transformer.h.{i}"
        for name, rows in zip("qkv", block.mixer.qkv.weight.split(32), strict=True):
            own[f"{at}.attn.attention.{name}_proj.weight"] = rows
        own |= named(f"{at}.attn.attention.out_proj", block.mixer.out)
        own |= named(f"{at}.mlp.c_fc", block.channels.up) | named(f"{at}.mlp.c_proj", block.channels.down)
        own |= named(f"{at}.ln_1", block.mixer_residual.norm) | named(f"{at}.ln_2", block.channels_residual.norm)
    theirs.load_state_dict(own)
    return theirs


def named(place: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{place}.{name}": value for name, value in module.named_parameters()}


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_it_equals_gpt_neo(placement):
    """With GPT-Neo's weights and its global and local layers in each of four orders, logits agree to 1e-4."""
    spec = tiny(placement=placement)
    model = built(spec)
    ids = torch.randint(VOCAB, (3, 60))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), neo(model, spec, 8)(ids).logits, atol=1e-4, rtol=0)


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("span", list(Span))
def test_a_window_as_long_as_the_row_is_full_attention(span):
    """Where the window is at least the row, the logits are those of full attention everywhere, to 1e-6."""
    model, full = built(tiny(window=60, span=span)), built(tiny(full=4))
    full.load_state_dict(model.state_dict())
    ids = torch.randint(VOCAB, (3, 60))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), full(ids), atol=1e-6, rtol=0)


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize("span", list(Span))
def test_decoding_with_a_rolling_cache_equals_the_parallel_form(span):
    """Token by token over 64 tokens, eight windows long, the logits are those of the whole text to 1e-4."""
    model = built(tiny(span=span))
    ids = torch.randint(VOCAB, (3, 64))
    with torch.no_grad():
        whole, state = model(ids), model.start(3)
        for t in range(64):
            logits, state = model.advance(ids[:, t : t + 1], state)
            torch.testing.assert_close(logits[:, 0], whole[:, t], atol=1e-4, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_the_cache_is_as_large_as_it_must_be():
    """After 64 tokens keys and values are exactly 2 * (l * n + (L - l) * w) numbers a channel, 4 bytes each."""
    model = built(tiny())
    with torch.no_grad():
        _, state = model.advance(torch.randint(VOCAB, (3, 64)), model.start(3))
    layers = [state.child(str(i)) for i in range(4)]
    held = sum(layer.tensor(name).nbytes for layer in layers for name in ("keys", "values"))
    assert held == 4 * 3 * 32 * 2 * (2 * 64 + 2 * 8)


def test_uneven_rows_go_on_from_their_rolling_caches():
    """Packed rows of 0 to 40 tokens, then 16 more each, give what each row gives alone."""
    model = built(tiny())
    lengths = [0, 3, 8, 40]
    rows = [torch.randint(VOCAB, (n + 16,)) for n in lengths]
    with torch.no_grad():
        first = torch.cat([row[:n] for row, n in zip(rows, lengths, strict=True)])
        _, state = model.advance(first, model.start(4), Layout.ragged(lengths))
        more, _ = model.advance(torch.stack([row[-16:] for row in rows]), state)
        for row, found in zip(rows, more, strict=True):
            torch.testing.assert_close(found, model(row[None])[0, -16:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("span", list(Span))
def test_blocks_are_the_linear_twin_of_a_mask(span):
    """Local attention computed in blocks equals the readable form, which masks all pairs, also for 61 tokens."""
    mixer = built(tiny(span=span)).blocks[3].mixer
    x = torch.randn(2, 61, 32)
    with torch.no_grad():
        found = mixer(x)
        with listen(mixer, "weights") as told:
            torch.testing.assert_close(found, mixer(x), atol=1e-5, rtol=0)
    seen = told["weights"][0][0, 0] > 0
    i, j = torch.arange(61)[:, None], torch.arange(61)
    wanted = (i - j < 8) if span is Span.SLIDING else (i // 8 - j // 8 <= 1)
    assert torch.equal(seen, wanted & (j <= i))


def attention_work(spec: Spec, n: int) -> int:
    """Operations of scores and mixing, without projections: what is spent beyond the matrices' own work."""
    with torch.device("meta"):
        mixer = spec.build(dim=64)
        x = torch.empty(1, n, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        mixer(x)
    return counter.get_total_flops() - 2 * n * sum(p.numel() for p in mixer.parameters() if p.dim() == 2)


@pytest.mark.row(SLUG, 2)
def test_attention_costs_what_the_formula_says():
    """At 8,192 tokens, window 1,024, 8 of 24 layers full: 4 dim (8 n^2 + 16 n 2w) within 2%, 50% of all full.

    A query's block of w tokens is scored against its own and the one before, 2w keys, of which the window leaves w.
    """
    n, window = 8192, 1024
    full = attention_work(Attention.spec(heads=4, pattern=Causal.spec()), n)
    local = attention_work(Attention.spec(heads=4, pattern=Window.spec(size=window)), n)
    found = 8 * full + 16 * local
    assert found == pytest.approx(4 * 64 * (8 * n**2 + 16 * n * 2 * window), rel=0.02)
    assert found / (24 * full) == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
@pytest.mark.row(SLUG, 2)
def test_attention_is_faster_than_full():
    """At 4,096 tokens, window 128, 2 of 6 layers full, attention layers take at most 1 / 1.5 of the time of all full.

    Dim 256, 8 heads, projections included, the median of 7 rounds.

    With the row's window of 1,024 a block's 2,048 keys are half of the row's, which the fused causal kernel, skipping
    the upper half, does as fast: the ratio is then about 1, and grows again with longer rows.
    """
    args = {"dim": 256, "depth": 6, "heads": 8, "length": 4096, "window": 128}
    pair = [[block.mixer for block in built(tiny(full=full, **args)).blocks] for full in (2, 6)]
    x = torch.randn(1, 4096, 256)
    ratios = []
    with torch.no_grad():
        for _ in range(8):
            taken = []
            for mixers in pair:
                began = process_time()
                for mixer in mixers:
                    mixer(x)
                taken.append(process_time() - began)
            ratios.append(taken[1] / taken[0])
    assert statistics.median(ratios[1:]) >= 1.5, ratios


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_placements_share_their_weights(placement):
    """A model with its full layers elsewhere takes the same weights: the published way to start from GPT-Neo."""
    model, other = built(tiny()), built(tiny(placement=placement))
    other.load_state_dict(model.state_dict())


def test_where_full_layers_stand():
    """Two of six layers: at the bottom, in the middle, at the top, or spread."""
    found = {placement.value: places(2, 6, placement) for placement in PLACEMENTS}
    assert found == {"bottom": {0, 1}, "middle": {2, 3}, "top": {4, 5}, "spread": {0, 3}}


def test_published_size():
    """GPT-Neo 1.3B, the backbone, has 1,315,575,808 parameters; positions to 8,192 add 12,582,912."""
    for size, wanted in (("gpt-neo-1.3b", 1_315_575_808), ("1.3b", 1_328_158_720)):
        with torch.device("meta"):
            model = find_entry(SLUG).spec(size).fill(vocab=50257).build()
        assert sum(p.numel() for p in model.parameters()) == wanted


def test_the_state_is_rows():
    """The state of a stream is a State whose rows can be taken alone."""
    model = built(tiny())
    _, state = model.advance(torch.randint(VOCAB, (3, 20)), model.start(3))
    assert isinstance(state.rows(torch.tensor([1])), State)


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_few_full_layers() -> None:
    """A fresh run of FewFullLayers comes out as CLAIMS.md has it."""
    bears_out("FewFullLayers")
