"""The baselines of texts: fitted with care, within their seconds, and the same after they were saved."""

import numpy as np
import pandas as pd
import pytest
import torch

from samples.pairs import first_pair
from variorum.compare.baselines.baseline import baselines
from variorum.compare.baselines.tfidf import TermWeights
from variorum.compare.candidates import candidates
from variorum.compare.measure import score
from variorum.compare.training import recipe
from variorum.data.labelled_texts import LabelledTextTask
from variorum.data.text_pairs import TextPairTask
from variorum.models.bag_of_tokens import BagOfTokens
from variorum.models.word_by_word import WordByWord
from variorum.runtime.bundle import Bundle, load, save
from variorum.train.by_law import ByLaw
from variorum.train.descent import Descent
from variorum.train.recipe import Budget, Run

DRAW = np.random.default_rng(0)


def labelled(rows: int = 300) -> LabelledTextTask:
    words = {"a": ["apple", "pear", "plum"], "b": ["saw", "drill", "nail"]}
    labels = ["ab"[i] for i in DRAW.integers(2, size=rows)]
    texts = [f"number {i} is about one {DRAW.choice(words[label])} of mine" for i, label in enumerate(labels)]
    return LabelledTextTask("t", frame=pd.DataFrame({"text": texts, "label": labels}))


def pairs(rows: int = 300) -> TextPairTask:
    """Each word has one translation."""
    words = {"one": "ein", "house": "haus", "green": "rot", "sea": "meer", "big": "gross"}
    source = [" ".join(DRAW.choice([*words], size=5)) + f" {i}" for i in range(rows)]
    target = [" ".join(words.get(word, word) for word in text.split()) for text in source]
    return TextPairTask("t", frame=pd.DataFrame({"en": source, "xx": target}))


@pytest.mark.parametrize("make", [labelled, pairs])
def test_a_baseline_learns_and_answers_the_same_when_loaded(tmp_path, make):
    torch.set_num_threads(1)
    task, told = make(), []
    (baseline,) = baselines(task)
    spec, how = first_pair(baseline(), task)
    model = how.build().train(spec, task, Run(Budget(seconds=20), report=told.append))
    save(Bundle.of(model, task), tmp_path / "b")
    found = score(load(tmp_path / "b").model, task).mean
    assert found == pytest.approx(score(model, task).mean) and told[-1]["seconds"] < 30
    if isinstance(model, BagOfTokens):
        assert found > 0.95
        said = load(tmp_path / "b").predict(["this pear is mine", "a drill"])
        assert said["prediction"].tolist() == ["a", "b"] and {"p(a)", "p(b)"} < {*said.columns}
        return
    assert isinstance(model, WordByWord)
    alone = [event["valid"] for event in told if event["share"] == 0.1]
    assert found < 1.5 and min(event["valid"] for event in told) <= min(alone)
    said = load(tmp_path / "b").predict(["one house", "sea sea 4"])["prediction"]
    assert len(said) == 2 and all(isinstance(text, str) for text in said)


def test_the_best_of_those_tried_is_kept():
    task, told = labelled(), []
    model = TermWeights().train(BagOfTokens.spec(), task, Run(Budget(seconds=60), report=told.append))
    assert len(told) == 6 and {event["order"] for event in told} == {1, 2}
    assert score(model, task, split="valid").mean == max(event["valid"] for event in told)
    few = []
    TermWeights().train(BagOfTokens.spec(), task, Run(Budget(seconds=0.0), report=few.append))
    assert len(few) == 1, "without time it makes one fit"


def test_systems_that_take_texts_take_part():
    texts, made = candidates(labelled())
    assert {"cct", "elc-bert", "formal-algorithms-transformers", "s4", "turner-introduction", "tf-idf"} <= {
        c.name for c in texts
    }
    assert not made
    both, made = candidates(pairs())
    assert {"formal-algorithms-transformers", "magneto", "depth-adaptive-transformer", "word-by-word"} <= {
        c.name for c in both
    }
    assert not made


def test_only_language_models_learn_by_the_law():
    assert recipe(labelled()).cls is Descent and recipe(pairs()).cls is Descent
    from variorum.data.text import TextTask

    assert recipe(TextTask("shakespeare")).cls is ByLaw


@pytest.mark.parametrize("name", ["turner-introduction", "cct", "s4", "formal-algorithms-transformers", "elc-bert"])
def test_a_few_steps_teach_an_encoder_something(name):
    torch.set_num_threads(1)
    task = labelled(400)
    (chosen,) = [c for c in candidates(task)[0] if c.name == name]
    losses = []
    Descent(evaluations=0, report=1).train(
        chosen.spec, task, Run(Budget(steps=120), report=lambda event: losses.append(event["loss"]))
    )
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_an_encoder_decoder_writes_what_it_has_learned(tmp_path):
    torch.set_num_threads(1)
    task = pairs(200)
    (chosen,) = [c for c in candidates(task)[0] if c.name == "formal-algorithms-transformers"]
    model = Descent(evaluations=0).train(chosen.spec, task, Run(Budget(steps=60)))
    save(Bundle.of(model, task), tmp_path / "b")
    bundle = load(tmp_path / "b")
    said = bundle.predict(["one big sea 3", "house", ""])
    assert list(said.columns) == ["prediction"] and len(said) == 3 and said["prediction"].str.len().max() > 2
    assert score(bundle.model, task).mean < 2.0
