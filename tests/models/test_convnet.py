import torch

from samples.bundles import task
from variorum.models.convnet import ConvNet


def test_learns_real_digits():
    torch.manual_seed(0)
    digits = task("digits")
    model = ConvNet.spec(width=8, stages=2).fill(**digits.facts).build()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    objective = digits.objective.build()
    for step in range(80):
        batch = digits.batch(step, 64, 0)
        optimizer.zero_grad()
        objective(model(**batch.inputs), batch.targets).mean.backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        scores = torch.cat([digits.scores(model(**b.inputs), b.targets) for b in digits.held_out("test", 128)])
    assert len(scores) == len(digits.parts.test) and scores.mean() > 0.93


def test_odd_sizes_are_halved_rounding_up():
    model = ConvNet(3, 5, width=2, stages=4)
    assert model.layers(torch.zeros(2, 3, 7, 9)).shape == (2, 16, 1, 2)
    assert model(torch.zeros(2, 3, 7, 9)).shape == (2, 5)
