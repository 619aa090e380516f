from collections import Counter
from functools import cache

import pytest
import torch
from transformers import GPT2Config, T5Config
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from samples.foreign import ids, read, spread
from variorum.core import Layout, Memory, VariorumError, pack
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.delta import Delta
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack
from variorum.runtime.decoding.beam import Beam
from variorum.runtime.decoding.flight import rows_of
from variorum.runtime.decoding.steps import Greedy, Sampling
from variorum.runtime.generate import generate

VOCAB, MOST, PROMPTS = 61, 16, 50
ROWS, RIGHT, MASK = ids([1 + i % 11 for i in range(PROMPTS)], VOCAB, seed=5)
LEFT, LEFT_MASK = (
    torch.stack([row.roll(12 - 1 - len(p)) for row, p in zip(t, ROWS, strict=True)]) for t in (RIGHT, MASK)
)
WAYS = {
    "greedy": ({"num_beams": 1}, Greedy()),
    "beam-4": ({"num_beams": 4}, Beam(width=4)),
}
STOPS = {
    "likely": (2.0, False),
    "full": (2.0, True),
    "never": (0.5, "never"),
}


@cache
def pair(name, folder):
    """A random model of transformers and ours, whose logits are far from ties."""
    if name == "gpt2":
        config = GPT2Config(
            vocab_size=VOCAB, n_positions=32, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1
        )
        theirs = spread("GPT2LMHeadModel", config, scale=0.35)
    else:
        config = T5Config(
            vocab_size=VOCAB, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, relative_attention_num_buckets=8,
            relative_attention_max_distance=12, decoder_start_token_id=0, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        )  # fmt: skip
        theirs = spread("T5ForConditionalGeneration", config, scale=0.3)
    return theirs, read(theirs, folder)


@pytest.fixture(scope="module", params=["gpt2", "t5"])
def models(request, tmp_path_factory):
    return pair(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return pair("gpt2", tmp_path_factory.mktemp("gpt2"))


def theirs_write(theirs, ends, **how):
    """What transformers writes after each prompt, without the padding after an end."""
    paired = theirs.config.is_encoder_decoder
    given = (RIGHT, MASK) if paired else (LEFT, LEFT_MASK)
    out = theirs.generate(
        given[0],
        attention_mask=given[1].long(),
        do_sample=False,
        max_new_tokens=MOST,
        pad_token_id=0,
        eos_token_id=list(ends),
        **how,
    )
    new = out[:, 1 if paired else LEFT.shape[1] :].tolist()
    first = [next((i for i, token in enumerate(row) if token in ends), len(row)) for row in new]
    return [row[: i + 1] for row, i in zip(new, first, strict=True)]


def ours_write(model, ends, decoding, **how):
    """The same rows by ours: prompts of uneven length, or a source of uneven length and a start token."""
    if model.inputs.keys() == {"inputs"}:
        return [row.tolist() for row in generate(model, ROWS, most=MOST, ends=ends, decoding=decoding, **how)]
    with torch.no_grad():
        memory = model.encode(*pack(RIGHT, MASK))
    start = [torch.tensor([0])] * PROMPTS
    return [r.tolist() for r in generate(model, start, most=MOST, ends=ends, decoding=decoding, memory=memory, **how)]


@cache
def common(model):
    """Two tokens that about half of the rows have, so that some end early, some late, and some never."""
    written = ours_write(model, (), Greedy())
    counts = Counter(token for row in written for token in set(row))
    return tuple(sorted(counts, key=lambda token: (abs(counts[token] - PROMPTS // 2), token))[:2])


@pytest.mark.row("hf-transformers", 1)
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "recomputed"])
@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_of_transformers(models, way, cached):
    """Greedy and beam-4 of GPT-2 and T5, 50 prompts of uneven length, with and without cache: all tokens the same."""
    theirs, model = models
    how, decoding = WAYS[way]
    ends = common(model)[:1]
    found = ours_write(model, ends, decoding, cache=cached)
    assert found == theirs_write(theirs, ends, use_cache=cached, **how)
    lengths = [len(row) for row in found]
    assert len(set(lengths)) > 3 and max(lengths) == MOST, "some rows should end early, some not at all"


@pytest.mark.row("hf-transformers", 1)
@pytest.mark.parametrize("stop", STOPS)
def test_length_penalty_and_early_stopping_are_those_of_transformers(models, stop):
    """Beam search with other length penalties, ways to stop and two end tokens gives the tokens of transformers."""
    theirs, model = models
    penalty, early = STOPS[stop]
    ends = common(model)
    for width, sign in ((4, 1), (3, -1)):
        found = ours_write(model, ends, Beam(width=width, length_penalty=sign * penalty, stop=stop))
        how = {"num_beams": width, "length_penalty": sign * penalty, "early_stopping": early}
        assert found == theirs_write(theirs, ends, **how)


def test_a_batch_gives_what_each_row_gives_alone(gpt2):
    _, model = gpt2
    ends = common(model)
    for decoding in (Greedy(), Beam(width=4)):
        whole = generate(model, ROWS[:8], most=MOST, ends=ends, decoding=decoding)
        alone = [generate(model, [row], most=MOST, ends=ends, decoding=decoding)[0] for row in ROWS[:8]]
        assert [row.tolist() for row in whole] == [row.tolist() for row in alone]


def test_every_streaming_model_writes_with_and_without_its_state():
    torch.manual_seed(0)
    embed, head = TokenEmbed.spec(vocab=VOCAB, std=1.0), Unembed.spec(vocab=VOCAB)
    blocks = [Block.spec(mixer=Delta.spec(heads=2), channels=MLP.spec())] * 2
    model = Stack.spec(dim=16, embed=embed, blocks=blocks, head=head).build().eval()
    for decoding in (Greedy(), Beam(width=3), Sampling(top_p=0.9)):
        fast, naive = (
            generate(model, ROWS[:6], most=6, decoding=decoding, cache=cached, ends=common(model))
            for cached in (True, False)
        )
        assert [row.tolist() for row in fast] == [row.tolist() for row in naive]


def test_the_head_looks_at_the_last_token_of_a_prompt_alone():
    """A vocabulary times a prompt is most of what a small model with many words would do."""
    blocks = [Block.spec(mixer=Delta.spec(heads=2), channels=MLP.spec())] * 2
    model = Stack.spec(dim=16, embed=TokenEmbed.spec(vocab=9), blocks=blocks, head=Unembed.spec(vocab=9)).build().eval()
    seen = []
    model.head.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    prompts = [torch.tensor([1, 2, 3]), torch.tensor([4]), torch.tensor([5, 6])]
    wanted = generate(model, prompts, most=4, cache=False)
    assert set(seen) == {(3, 16)}
    found = generate(model, prompts, most=4)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    x, layout = torch.cat(prompts), Layout.ragged([3, 1, 2])
    with torch.no_grad():
        scores, _ = model.advance(x, model.start(3), layout)
        torch.testing.assert_close(model.conclude(x, model.start(3), layout)[0], scores[[2, 3, 5]])


def test_sampling_draws_from_the_probabilities_of_transformers():
    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3
    settings = [(0.7, None, 1.0), (1.5, 7, 1.0), (1.0, None, 0.8), (2.0, 20, 0.6), (1.0, 1, 0.01)]
    for temperature, top_k, top_p in settings:
        wanted = TemperatureLogitsWarper(temperature)(None, logits)
        wanted = TopKLogitsWarper(top_k)(None, wanted) if top_k else wanted
        wanted = TopPLogitsWarper(top_p)(None, wanted) if top_p < 1 else wanted
        found = Sampling(temperature=temperature, top_k=top_k, top_p=top_p).probabilities(logits)
        torch.testing.assert_close(found, wanted.softmax(-1), rtol=1e-5, atol=1e-7)


def test_sampled_tokens_are_as_frequent_as_they_are_probable(gpt2):
    _, model = gpt2
    decoding, prompt = Sampling(temperature=3.0, top_k=5, seed=1), ROWS[5]
    drawn = Counter(int(row) for row in generate(model, [prompt] * 4000, most=1, decoding=decoding))
    with torch.no_grad():
        wanted = decoding.probabilities(model(prompt[None])[:, -1])[0]
    assert drawn.keys() == set(wanted.nonzero().flatten().tolist())
    for token, count in drawn.items():
        p = wanted[token].item()
        assert abs(count / 4000 - p) < 4 * (p * (1 - p) / 4000) ** 0.5 + 1e-9


def test_a_seed_gives_the_same_tokens_whenever_other_rows_end(gpt2):
    _, model = gpt2
    decoding = Sampling(temperature=2.0, seed=3)
    free = generate(model, ROWS[:9], most=MOST, decoding=decoding)
    ends = common(model)
    stopped = generate(model, ROWS[:9], most=MOST, decoding=decoding, ends=ends)
    assert len({len(row) for row in stopped}) > 2
    for row, other in zip(stopped, free, strict=True):
        assert row.tolist() == other.tolist()[: len(row)]
    again = generate(model, ROWS[:9], most=MOST, decoding=Sampling(temperature=2.0, seed=4))
    assert [r.tolist() for r in again] != [r.tolist() for r in free]
    only_best = generate(model, ROWS[:9], most=MOST, decoding=Sampling(top_k=1))
    assert [r.tolist() for r in only_best] == [r.tolist() for r in generate(model, ROWS[:9], most=MOST)]


def test_rows_of_a_memory_in_either_form():
    x, index = torch.randn(3, 4, 2), torch.tensor([2, 0, 0])
    assert torch.equal(rows_of(Memory(x), index).x, x[index])
    lengths = [1, 0, 3]
    packed = Memory(torch.arange(4.0)[:, None], Layout.ragged(lengths, segments=torch.tensor([5, 6, 7, 8])))
    taken = rows_of(packed, index)
    assert taken.x[:, 0].tolist() == [1, 2, 3, 0, 0] and taken.layout.lengths == [3, 1, 1]
    assert taken.layout.segments.tolist() == [6, 7, 8, 5, 5]


def test_faults_are_named(gpt2):
    _, model = gpt2
    assert generate(model, [], most=3) == []
    with pytest.raises(VariorumError, match=r"prompt 1.*whole numbers"):
        generate(model, [ROWS[0], ROWS[0][:0]], most=3)
    with pytest.raises(VariorumError, match="most"):
        generate(model, ROWS[:1], most=0)
    with pytest.raises(VariorumError, match=r"memory.*2 rows.*found 3"):
        generate(model, ROWS[:2], most=1, memory=Memory(torch.zeros(3, 4, 2)))
    with pytest.raises(VariorumError, match="eval mode"):
        generate(Stack.spec(**dict(model.built_from.args)).build().train(), ROWS[:1], most=3)
    with pytest.raises(VariorumError, match="width"):
        generate(model, ROWS[:1], most=3, decoding=Beam(width=40))
    with pytest.raises(VariorumError, match=r"stop.*Did you mean 'full'"):
        Beam(stop="ful")
    with pytest.raises(VariorumError, match="temperature"):
        Sampling(temperature=0.0)
    blind = Stack.spec(dim=8, embed=TokenEmbed.spec(vocab=9), head=Unembed.spec(vocab=9),
                       blocks=[Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())])  # fmt: skip
    with pytest.raises(VariorumError, match="streams"):
        generate(blind.build().eval(), ROWS[:1], most=3)
