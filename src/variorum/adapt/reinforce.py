"""Reinforcement of answers by a reward: PPO with or without a critic. Schulman et al. 2017; Ouyang et al. 2022."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from variorum.adapt.advantages import generalised, group_relative
from variorum.adapt.answers import Answered, answered, of_answers, token_log_probabilities
from variorum.core import Part, VariorumError
from variorum.objectives.clipped_policy import ClippedPolicy, Taken
from variorum.objectives.log_probabilities import by_row
from variorum.train.optimizer import Optimizer

Write = Callable[[Part, Sequence[Tensor], int], list[Tensor]]
"""(policy, prompts, step) -> an answer drawn for each: ``runtime.generate`` with ``Sampling`` and the step as seed."""
Reward = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""(prompts, answers) -> (rows,): a rule that verifies, or a reward model's scores."""


class Round(NamedTuple):
    """What came of one round. reward: mean.  kl: mean over answers of log p / p_reference.  length: mean tokens."""

    reward: float
    kl: float
    length: float


def reinforce(
    policy: Part,
    reference: Part,
    *,
    ask: Callable[[int], Sequence[Tensor]],
    write: Write,
    reward: Reward,
    rounds: int,
    optimizer: Optimizer,
    objective: ClippedPolicy,
    group: int = 8,
    epochs: int = 2,
    critic: Part | None = None,
    critic_optimizer: Optimizer | None = None,
) -> list[Round]:
    """``rounds`` times: draw ``group`` answers to each prompt of ``ask(round)``, and take ``epochs`` steps of
    ``objective`` on all of their tokens. The policy trains in place and is left in eval mode.

    Without a critic the advantage of all tokens of an answer is its reward relative to its group. With one, a decoder
    that tells a value at each token (``Readout``), it is the generalised advantage of the reward, which comes with the
    last token; the critic learns the returns beside.
    Raises VariorumError for a group of one without a critic, and a critic without an optimiser.
    """
    if critic is None and group < 2:
        raise VariorumError("reinforce group", expected="two answers to a prompt at least, or a critic",
                            found=str(group), do="Draw more, or pass critic=.")  # fmt: skip
    if (critic is None) != (critic_optimizer is None):
        raise VariorumError("reinforce", expected="a critic and its optimiser, or neither", found="one of them",
                            do="Pass both.")  # fmt: skip
    stepping = optimizer.over(policy)
    valuing = critic_optimizer.over(critic) if critic is not None and critic_optimizer is not None else None
    told = []
    for number in range(rounds):
        prompts = [prompt for prompt in ask(number) for _ in range(group)]
        answers = write(policy.eval(), prompts, number)
        given, rewards = answered(prompts, answers), reward(prompts, answers)
        with torch.no_grad():
            before = token_log_probabilities(policy, given)
            anchor = token_log_probabilities(reference, given)
        advantages, returns = _advantages(critic, given, rewards, group)
        taken = Taken(before, anchor, advantages)
        for _ in range(epochs):
            _step(policy, stepping, objective(token_log_probabilities(policy.train(), given), taken).mean)
            if critic is not None and valuing is not None:
                error = of_answers(critic, given).squeeze(-1) - returns
                _step(critic, valuing, error.square().mean())
        away = by_row(before - anchor, given.layout).mean()
        told.append(Round(float(rewards.mean()), float(away), sum(map(len, answers)) / len(answers)))
    policy.eval()
    return told


@torch.no_grad()
def _advantages(critic: Part | None, given: Answered, rewards: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Advantages of all tokens, and the returns that a critic is to tell."""
    rows = given.layout.row_of
    if critic is None:
        each = group_relative(rewards.view(-1, group)).flatten()[rows]
        return each, each
    values = of_answers(critic, given).squeeze(-1)
    paid = torch.zeros_like(values).index_put((given.layout.ends,), rewards.to(values.dtype))
    raw = generalised(paid, values, given.layout)
    return (raw - raw.mean()) / (raw.std(correction=0) + 1e-6), raw + values


def _step(model: Part, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
