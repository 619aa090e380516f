"""What hears learns from sounds, real and synthetic; plain baselines stand beside it; the winner hears new files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from samples.noises import write_tones
from samples.pairs import first_pair
from variorum.compare.baselines.baseline import baselines
from variorum.compare.candidates import candidates
from variorum.compare.measure import score
from variorum.core import Part, entries
from variorum.data.readers.reader import load_task
from variorum.data.spoken_text import PROGRAM, speak
from variorum.data.task import Task
from variorum.models.on_summary import OnSummary
from variorum.runtime.bundle import Bundle, load, save
from variorum.train.recipe import Budget, Run

WORDS = ("yes", "seven", "window")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def test_all_that_hear_take_part() -> None:
    task = load_task("chirps")
    assert task.synthetic and {b.name for b in baselines(task)} == {"linear-on-spectrum", "small-cnn"}
    found, left_out = candidates(task)
    assert {c.name for c in found if not c.baseline} == {s for s, e in entries().items() if "sounds" in e.fits}
    assert len(found) >= 8 and not left_out


def test_every_candidate_answers_packed_rows() -> None:
    task = load_task("chirps")
    rows = next(task.held_out("test", 5))
    for candidate in candidates(task)[0]:
        if candidate.recipe.cls.keeps_spec:
            model = candidate.spec.fill(**task.facts).build().eval()
            together = model(**rows.inputs)
            assert together.shape == (5, 3), candidate.name
            alone = next(task.held_out("test", 1)).inputs
            torch.testing.assert_close(model(**alone)[0], together[0], atol=1e-4, rtol=1e-4)


def test_the_linear_model_says_what_scikit_learn_does(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    task = load_task(write_tones(tmp_path / "tones", each=20, classes=3))
    spec, recipe = first_pair(next(b for b in baselines(task) if b.name == "linear-on-spectrum")(), task)
    model = recipe.but(penalties=(1.0,)).build().train(spec, task, Run(Budget(seconds=20)))
    assert isinstance(model, OnSummary)
    with torch.inference_mode():
        rows = [task.given(task.parts.rows(part), 100) for part in ("train", "test")]
        (train, y), (test, _) = ((model.summary(**b.inputs).numpy(), b.targets.numpy()) for b in map(next, rows))
        ours = torch.cat([model(**batch.inputs) for batch in task.held_out("test", 7)]).softmax(dim=1)
    mean, scale = train.astype(np.float64).mean(axis=0), train.astype(np.float64).std(axis=0)
    plain = LogisticRegression(C=1.0, max_iter=1000).fit((train - mean) / scale, y)
    np.testing.assert_allclose(ours, plain.predict_proba((test - mean) / scale), atol=1e-4)
    assert score(model, task).mean == 1.0, "pitch is told by the mean spectrum"


def learned(task: Task, name: str, steps: int) -> Part:
    candidate = next(c for c in candidates(task)[0] if c.name == name)
    return candidate.recipe.build().train(candidate.spec, task, Run(Budget(steps=steps)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("convnext", 80), ("turner-introduction", 150)])
def test_a_direction_is_learned_that_the_mean_spectrum_does_not_tell(name: str, steps: int) -> None:
    """Synthetic tones: which way a pitch goes is in the order of the frames alone; a third are right by chance."""
    task = load_task("chirps")
    model = learned(task, name, steps)
    assert min(score(model, task).mean, score(model, task, split="valid").mean) > 0.7


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="espeak-ng is not installed")
def test_synthetic_spoken_words_by_voice(tmp_path: Path) -> None:
    """Words said by espeak-ng (synthetic): voices are told by the files' names, and the test's are new ones."""
    folder = tmp_path / "words"
    for word in WORDS:
        (folder / word).mkdir(parents=True)
        for voice in ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-029", "de", "nl", "sv", "it", "pl"):
            for take, (speed, pitch) in enumerate(((130, 30), (160, 50), (190, 70))):
                said = speak(word, voice, speed, pitch)
                soundfile.write(folder / word / f"{voice.replace('-', '')}_{take}.ogg", said.samples.numpy(), said.rate)
    task = load_task(folder)
    assert "10 groups by file name" in task.notes[-1] and task.facts["rate"] == 16000
    model = learned(task, "turner-introduction", 150)
    assert score(model, task).mean > 0.8
    heard = load(save(Bundle.of(model, task), tmp_path / "bundle"))
    told = heard.predict(folder / "seven")
    assert (told["prediction"] == "seven").mean() > 0.8 and len(told) == 30
    sound, rate = soundfile.read(folder / "yes" / "en_0.ogg")
    first = heard.predict((sound, rate))
    np.testing.assert_allclose(
        first["probability"], heard.predict(folder / "yes" / "en_0.ogg")["probability"], atol=1e-4
    )
