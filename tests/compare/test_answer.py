"""The answer says what won, says so if it is a plain baseline, and never claims a difference that was not seen."""

from compare.made import result
from variorum.compare.answer import answer
from variorum.compare.result import State


def test_a_baseline_that_wins_is_said_first() -> None:
    found = answer(
        [result("boosting", 0.9, baseline=True, title="gradient boosting"), result("cct", 0.85)], data="t.csv"
    )
    assert found.startswith(
        "Use gradient boosting, a plain baseline: accuracy 90.0 % on unseen rows of t.csv "
        "(95 % interval 88.0 % to 91.0 %)"
    )
    assert "No Transformer did better." in found


def test_a_system_that_wins_names_what_is_as_good_and_faster() -> None:
    plain = result("linear", 0.89, baseline=True, title="a linear model", equals_best=True, latency_ms=0.1)
    found = answer([result("cct", 0.9, equals_best=True), plain, result("vit", 0.7)], data="digits")
    assert found.startswith("Use cct: ")
    assert "Not distinguishable from it on these rows: a linear model (a plain baseline)." in found
    assert "A linear model predicts 10 times faster." in found
    assert "vit" not in found


def test_a_system_clearly_ahead_stands_alone() -> None:
    found = answer([result("cct", 0.9, equals_best=True), result("linear", 0.5, baseline=True)], data="digits")
    assert "distinguishable" not in found


def test_without_systems_or_results_it_says_so() -> None:
    alone = answer([result("linear", 0.9, baseline=True, title="a linear model")], data="t.csv")
    assert "No Transformer took part." in alone
    failed = result("cct", None, state=State.FAILED)
    assert "No Transformer was trained to its end." in answer([result("linear", 0.9, baseline=True), failed], data="d")
    assert answer([failed], data="d") == "No candidate was trained to its end on d: 1 failed."


def test_a_figure_that_was_not_measured_is_left_out() -> None:
    found = answer([result("cct", 0.9, latency_ms=None, size_bytes=None, low=None)], data="d")
    assert found == "Use cct: accuracy 90.0 % on unseen rows of d."
