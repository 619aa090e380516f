import torch

from samples.bundles import TABLE, task
from variorum.layers.embed.columns import ColumnEmbed
from variorum.layers.heads.regressor import Regressor


def test_tokens_by_hand():
    torch.manual_seed(0)
    embed = ColumnEmbed(4, columns=(0, 3, 0, 2))
    x = torch.tensor([[1.5, 2.0, float("nan"), 0.0], [-1.0, 0.0, 2.0, 1.0]])
    tokens, layout = embed(x)
    assert tokens.shape == (2, 4, 4) and layout is None
    w, m, b, codes = embed.weight, embed.missing, embed.bias, embed.codes
    wanted = [[b[0] + 1.5 * w[0], b[1] + codes[2], b[2] + m[1], b[3] + codes[3]],
              [b[0] - w[0], b[1] + codes[0], b[2] + 2 * w[1], b[3] + codes[4]]]  # fmt: skip
    torch.testing.assert_close(tokens, torch.stack([torch.stack(row) for row in wanted]))


def test_gradients_of_rows_with_gaps_are_finite_and_reach_everything():
    embed = ColumnEmbed(4, columns=(0, 3, 0))
    x = torch.tensor([[float("nan"), 2.0, 1.0], [1.0, 0.0, float("nan")], [1.0, 1.0, 1.0]])
    embed(x)[0].square().sum().backward()
    for parameter in embed.parameters():
        assert parameter.grad.isfinite().all() and (parameter.grad != 0).all()


def test_only_numbers_and_only_categories():
    for columns in ((0, 0), (3, 2)):
        tokens, _ = ColumnEmbed(4, columns=columns)(torch.ones(5, 2))
        assert tokens.shape == (5, 2, 4)


def test_built_without_memory():
    with torch.device("meta"):
        embed = ColumnEmbed(8, columns=(0, 3, 0, 2))
    assert embed.codes.shape == (5, 8) and embed.weight.shape == (2, 8)


def test_the_plain_transformer_learns_a_real_table():
    torch.manual_seed(0)
    wine = task("wine")
    model = TABLE.but(dim=16).fill(**wine.facts).build()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    objective = wine.objective.build()
    for step in range(150):
        batch = wine.batch(step, 32, 0)
        optimizer.zero_grad()
        objective(model(**batch.inputs), batch.targets).mean.backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        scores = torch.cat([wine.scores(model(**b.inputs), b.targets) for b in wine.held_out("test", 64)])
    assert scores.mean() > 0.85


def test_regressor_is_a_value_for_each_row():
    head = Regressor(6)
    x = torch.randn(3, 5, 6)
    torch.testing.assert_close(head(x), x.mean(1) @ head.linear.weight[0] + head.linear.bias)
