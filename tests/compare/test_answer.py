"""The answer says what won, says so if it is a plain baseline, and never claims a difference that was not seen."""

from compare.made import result
from variorum.compare.answer import answer, limits_in_words, winner
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


OVER = {"state": State.OUT, "over": "9.1 ms a prediction, over the limit of 5 ms"}


def test_one_over_a_limit_never_wins_and_is_said() -> None:
    results = [result("swin", 0.99, **OVER), result("cct", 0.9), result("vit", 0.7, **OVER)]
    best = winner(results)
    assert best is not None and best.name == "cct"
    found = answer(results, data="d", limits={"latency_ms": 5.0, "memory_mb": None, "size_bytes": 2_000_000})
    assert found.startswith("Use cct: ")
    assert "Limits: at most 5.00 ms a prediction and 2.0 MB on disk." in found
    assert "Over a limit, so not chosen: swin (9.1 ms a prediction, over the limit of 5 ms) and vit (9.1" in found


def test_if_all_are_over_a_limit_nothing_is_recommended() -> None:
    found = answer([result("swin", 0.99, **OVER), result("cct", None, state=State.FAILED)], data="d")
    assert winner([result("swin", 0.99, **OVER)]) is None
    assert found.startswith("No candidate keeps within the limits on d. The best of them, swin, has accuracy 99.0 %")
    assert "Use " not in found


def test_a_baseline_that_wins_because_all_systems_are_over_says_so() -> None:
    linear = result("linear", 0.8, baseline=True, title="a linear model")
    found = answer([result("swin", 0.99, **OVER), linear], data="d")
    assert found.startswith("Use a linear model, a plain baseline: ")
    assert "No Transformer kept within the limits." in found


def test_seeds_are_said() -> None:
    final = result("cct", 0.9, finalist=True, seeds=3, spread=0.01)
    assert "95 % interval 88.0 % to 91.0 %, mean of 3 seeds)" in answer([final], data="d")
    outside = result("vit", 0.95, finalist=False, seeds=1)
    assert "It did not reach the final: its score is that of one seed." in answer([outside, final], data="d")


def test_many_over_a_limit_are_counted() -> None:
    found = answer([result("cct", 0.9), *(result(f"s{i}", 0.5, **OVER) for i in range(9))], data="d")
    assert "and 6 more." in found


def test_limits_in_words() -> None:
    assert limits_in_words({}) == "" == limits_in_words({"latency_ms": None})
    assert limits_in_words({"memory_mb": 64.0}) == "at most 64.0 MiB of memory"
