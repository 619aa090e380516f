"""Training on several processes is the training on one."""

import importlib
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch

from train.tiny_decoder import tiny_decoder
from variorum.core import Spec, VariorumError, isolated
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block
from variorum.train.checkpoint import Checkpoint
from variorum.train.descent import Descent
from variorum.train.distributed import Accelerator, Distributed, Strategy
from variorum.train.judge import Keep
from variorum.train.kept import FILE
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Recipe, Run

STEPS = 6
CPU = {"accelerator": "cpu"}
# The gradient of a key's bias is 0 but for rounding; with a smaller eps Adam would make whole steps of that.
ADAM = AdamW.spec(lr=1e-2, eps=1e-4)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module", autouse=True)
def helpers():
    """Modules whose classes are known here only as long as this file's tests run."""
    names = ("train.uneven_task", "train.telling")
    with isolated():
        yield [importlib.import_module(name) for name in names]
    for name in names:
        del sys.modules[name]


@pytest.fixture
def uneven(helpers):
    return helpers[0].UnevenTask


def channels(name):
    """The tiny decoder with channels of this class."""
    mixer = Attention.spec(heads=2, pattern=Causal.spec())
    return tiny_decoder().but(blocks=[Block.spec(mixer=mixer, channels=Spec.from_dict({"part": name, "args": {}}))] * 2)


def train(spec, task, *, together=None, folder=None, steps=STEPS, report=None, **choices):
    """The model and its events."""
    events = []
    recipe = Descent(**{"batch": 7, "evaluations": 2, "report": 1, "optimizer": ADAM, **choices})
    run = Run(Budget(steps=steps), seed=3, folder=folder, report=report or events.append, distributed=together)
    return recipe.train(spec, task, run), events


def check_same(together, alone):
    """Parameters, losses and scores are the same but for rounding."""
    (model, events), (known, others) = together, alone
    assert not model.training and not known.training
    torch.testing.assert_close(dict(model.named_parameters()), dict(known.named_parameters()), **TOLERANCE)
    told = ("step", "loss", "gradient_norm", "lr", "spent", "valid", "auxiliary")
    assert [[e.get(k) for k in told] for e in events] == [
        [pytest.approx(e.get(k), rel=1e-5) if k in e else None for k in told] for e in others
    ]


def test_two_processes_train_what_one_does(spec, uneven):
    alone = train(spec, uneven())
    check_same(train(spec, uneven(), together=Distributed(**CPU)), alone)
    assert len(alone[1]) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize(
    ("processes", "batch", "accumulate"), [(2, 7, 1), (3, 7, 1), (2, 9, 3), (1, 7, 1)], ids=lambda n: str(n)
)
def test_any_number_of_processes_and_pieces(uneven, strategy, processes, batch, accumulate):
    spec = tiny_decoder(depth=2)
    together = Distributed(strategy=strategy, processes=processes, **CPU)
    choices = {"batch": batch, "accumulate": accumulate}
    check_same(train(spec, uneven(), together=together, **choices), train(spec, uneven(), **choices))


def test_the_check_above_can_fail(spec, uneven):
    """Without the last row of each batch, the parameters would be others by far more than allowed."""
    model, _ = train(spec, uneven())
    other, _ = train(spec, uneven(), batch=6)
    difference = max((a - b).abs().max() for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert difference > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(Strategy))
def test_auxiliary_losses_are_added_up(task, strategy):
    """Rows of one length, of which the mean of the processes' means is the mean."""
    alone = train(channels("TellsMean"), task, batch=6)
    check_same(train(channels("TellsMean"), task, batch=6, together=Distributed(strategy=strategy, **CPU)), alone)
    assert alone[1][0]["auxiliary"] > 0


@pytest.mark.slow
def test_parameters_that_only_some_processes_use(uneven):
    """Each gets the gradient of those that use it; one that nobody uses stays as it was drawn, weight decay and all."""
    lengths = [uneven().batch(step, 7, 3).inputs["layout"].lengths for step in range(STEPS)]
    assert any(sum(rows[:3]) % 3 != sum(rows[3:]) % 3 for rows in lengths), "the processes use other parameters"
    spec = channels("UsedByChance")
    (model, events), (other, others) = (
        train(spec, uneven(), together=Distributed(strategy=s, **CPU)) for s in Strategy
    )
    check_same((model, events), (other, others))
    drawn, _ = train(spec, uneven(), optimizer=AdamW.spec(lr=1e-30, weight_decay=0.0))
    moved = {n: not torch.equal(a, b) for (n, a), b in zip(model.named_parameters(), drawn.parameters(), strict=True)}
    assert {n for n, m in moved.items() if "channels.linears" in n and not m} == {
        f"blocks.{i}.channels.linears.3.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(Strategy))
def test_trainings_go_on_in_any_number_of_processes(spec, uneven, tmp_path, strategy):
    together = Distributed(strategy=strategy, **CPU)
    for first, then in ((together, None), (None, together)):
        folder = tmp_path / str(then is None)
        train(spec, uneven(), together=first, folder=folder, steps=3, keep=Keep.BEST)
        assert Checkpoint.read(folder / FILE).record["step"] == 3
        # The longer budget changes the rate from here on only: what is compared goes on from the same place.
        copy = tmp_path / f"{then is None} again"
        copy.mkdir()
        (copy / FILE).write_bytes((folder / FILE).read_bytes())
        parts = [train(spec, uneven(), together=each, folder=where, keep=Keep.BEST)
                 for each, where in ((then, folder), (first, copy))]  # fmt: skip
        check_same(*parts)
        assert [event["step"] for event in parts[0][1]] == [4, 5, 6]
        kept, other = (Checkpoint.read(where / FILE) for where in (folder, copy))
        assert kept.tensors.keys() == other.tensors.keys() and kept.record["step"] == STEPS
        assert all(kept.tensors[n].shape == other.tensors[n].shape for n in kept.tensors)


@pytest.mark.slow
def test_a_finished_training_is_only_read(spec, uneven, tmp_path):
    first, _ = train(spec, uneven(), together=Distributed(**CPU), folder=tmp_path)
    stamp = (tmp_path / FILE).stat().st_mtime_ns
    again, events = train(spec, uneven(), together=Distributed(strategy="fsdp", **CPU), folder=tmp_path)
    assert events == [] and (tmp_path / FILE).stat().st_mtime_ns == stamp
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.slow
def test_dropout_is_drawn_apart(random_spec, uneven):
    """Processes that draw the same numbers would be a training with less of them; each step's are its own."""
    model, events = train(random_spec, uneven(), together=Distributed(**CPU))
    again, _ = train(random_spec, uneven(), together=Distributed(**CPU))
    _, alone = train(random_spec, uneven())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert events[0]["loss"] != alone[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("slow", [0, 1])
def test_all_stop_when_the_seconds_of_the_first_are_over(spec, uneven, strategy, slow):
    recipe, events = Descent(batch=7, evaluations=3, report=1), []
    together = Distributed(strategy=strategy, **CPU)
    run = Run(Budget(seconds=3), seed=3, report=events.append, distributed=together)
    model = recipe.train(spec, uneven("slow", slow), run)
    assert not model.training and 1 < events[-1]["seconds"] < 8 and events[-1]["spent"] == 1
    assert 1 <= sum("valid" in event for event in events) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_process_ends_all_with_that_error(spec, uneven, rank):
    with pytest.raises(VariorumError, match=r"row 3: expected numbers, found words. Repair it."):
        train(spec, uneven("refuse", rank), together=Distributed(**CPU))
    with pytest.raises(RuntimeError, match=f"process {rank} of 2: LookupError: the row is gone") as caught:
        train(spec, uneven("raise", rank), together=Distributed(strategy="fsdp", **CPU))
    assert "uneven_task.py" in caught.value.__notes__[0]
    with pytest.raises(VariorumError, match=f"process {rank} of 2: .*ended with signal SIGKILL"):
        train(spec, uneven("die", rank), together=Distributed(**CPU))
    assert not [p for p in children() if "variorum rank" in p]


def children():
    """Names of the processes that multiprocessing started here and that still run."""
    import multiprocessing

    return [process.name for process in multiprocessing.active_children()]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(Strategy))
def test_ctrl_c_ends_all_and_the_checkpoint_is_kept(spec, uneven, tmp_path, strategy):
    told = []

    def report(event):
        told.append(event)
        if event["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    together = Distributed(strategy=strategy, **CPU)
    with pytest.raises(KeyboardInterrupt, match=f"after step .*{FILE} holds it: run again"):
        train(spec, uneven("slow"), together=together, folder=tmp_path, report=report, steps=300)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and children() == []
    step = Checkpoint.read(tmp_path / FILE).record["step"]
    assert 2 <= step < 300 and told[-1]["step"] <= step
    _, after = train(spec, uneven("slow"), together=together, folder=tmp_path, steps=step + 2)
    assert [event["step"] for event in after] == [step + 1, step + 2]


def test_what_a_report_raises_ends_all(spec, uneven):
    def report(event):
        raise LookupError("pruned")

    with pytest.raises(LookupError, match="pruned"):
        train(spec, uneven(), together=Distributed(**CPU), report=report)
    assert children() == [] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


SCRIPT = """
    import sys
    import torch
    from variorum.core import Spec
    from variorum.train.distributed import Distributed
    from variorum.train.recipe import Budget, Run
    print("once")
    spec, task, recipe = (Spec.from_json(text) for text in sys.argv[1:4])
    run = Run(Budget(steps=2), distributed=Distributed(accelerator="cpu"), report=lambda event: print(event["step"]))
    model = recipe.build().train(spec, task.build(), run)  # not guarded by __name__
    print(type(model).__name__)
"""


@pytest.mark.slow
def test_a_script_that_does_not_guard_itself_runs_once(spec, task, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT), "utf-8")
    source = type(task).spec(source=task.source, length=task.length, valid=0.001, test=0.001)
    recipe = Descent.spec(batch=4, evaluations=0, report=1)
    args = [sys.executable, str(script), *(each.to_json() for each in (spec, source, recipe))]
    done = subprocess.run(args, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["once", "1", "2", "Stack"] and done.stderr == ""


def test_what_cannot_be_is_said_at_once(spec, uneven, task):
    with pytest.raises(VariorumError, match="at least 3 rows at a time, one a process, found 2"):
        train(spec, uneven(), together=Distributed(processes=3, **CPU), batch=8, accumulate=4)
    with pytest.raises(VariorumError, match="at least one process, found 0"):
        Distributed(processes=0)
    with pytest.raises(VariorumError, match=r"strategy: expected one of 'ddp', 'fsdp', found 'dpp'.*'ddp'"):
        Distributed(strategy="dpp")
    with pytest.raises(VariorumError, match="accelerator"):
        Distributed(accelerator="tpu")
    with pytest.raises(VariorumError, match="a positive number of seconds or of steps"):
        train(spec, uneven(), together=Distributed(**CPU), steps=0)
    if not torch.cuda.is_available():
        with pytest.raises(VariorumError, match="2 CUDA devices, one a process, found 0"):
            train(spec, uneven(), together=Distributed(accelerator="cuda"))
    local = uneven()
    local.fault = lambda: None  # cannot be copied to a process
    with pytest.raises(VariorumError, match="task UnevenTask: expected a task that can be handed to another process"):
        train(spec, local, together=Distributed(**CPU))
    assert children() == []


def test_words_and_their_names_are_the_same():
    plain = Distributed("fsdp", 4, "cpu")
    assert plain == Distributed(Strategy.FSDP, 4, Accelerator.CPU) and plain.strategy is Strategy.FSDP
    assert replace(plain, processes=2).processes == 2 and Distributed() == Distributed("ddp", 2, "auto")


def test_a_recipe_that_does_not_descend_refuses(spec, task):
    with isolated():

        class CountsOnly(Recipe):
            def train(self, spec, task, run):
                return spec.fill(**task.facts).build()

        run = Run(Budget(steps=1))
        assert CountsOnly().train(spec, task, run) is not None
        with pytest.raises(VariorumError, match="CountsOnly: expected one process, found Distributed"):
            CountsOnly().train(spec, task, replace(run, distributed=Distributed()))


def test_all_recipes_say_whether_they_can():
    from variorum.core.registry import registered

    able = {name for name, recipe in registered(Recipe).items() if recipe.distributes}
    assert able == {"Descent", "ByLaw", "PriorFitted"}
