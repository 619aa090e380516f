"""Forecasting from a user's table: what is read, how it is split, what is said, what comes out."""

import numpy as np
import pandas as pd
import pytest
import torch

from variorum.core import Spec, VariorumError
from variorum.data.forecast import ForecastTask
from variorum.data.question import Question
from variorum.data.readers.reader import detect, load_task
from variorum.data.time_grid import MonthGrid
from variorum.layers.series_code import bits, code, number


def monthly(n=120, *, noise=0.1, start="2010-01-31", seed=0):
    """A generated series with a trend and a season of twelve months."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    sales = 100 + 0.5 * t + 10 * np.sin(2 * np.pi * t / 12) + noise * rng.standard_normal(n)
    return pd.DataFrame({"month": pd.date_range(start, periods=n, freq="ME").astype(str), "sales": sales})


def stores(lengths=(200, 200, 150), *, noise=1.0):
    """Generated daily sales of stores that open one after another."""
    parts = []
    for i, n in enumerate(lengths):
        rng = np.random.default_rng(i)
        days = pd.date_range(end="2024-06-30", periods=n)
        level = 10.0 ** (i + 1)
        sales = level * (
            1 + 0.3 * np.sin(2 * np.pi * days.day_of_week / 7)
        ) + level * 0.01 * noise * rng.standard_normal(n)
        parts.append(pd.DataFrame({"day": days.astype(str), "store": f"S{i}", "sales": sales, "visits": 2 * sales}))
    return pd.concat(parts, ignore_index=True).sample(frac=1.0, random_state=0)


def everything(task, part):
    batches = list(task.held_out(part, 64)) if part != "train" else [task.batch(0, 256, 0)]
    return torch.cat([b.inputs["inputs"] for b in batches]), *(
        torch.cat([b.targets[i] for b in batches]) for i in (0, 1)
    )


def test_what_is_found_is_said():
    task = ForecastTask("sales.csv", frame=monthly(), horizon=6)
    assert task.facts == {"variables": 1, "calendar": 1, "horizon": 6, "context": 36, "season": 12, "series": 1}
    said = " ".join(task.notes)
    assert "Column 'month' is read as the time." in said
    assert "Steps: every month, repeating after 12 steps. A forecast looks back 36 steps." in said
    assert "validation from 2016-01-31, test from 2018-01-31" in said
    assert task.preprocess["grid"] == MonthGrid.spec(every=1, origin=480, day=31)


def test_a_table_stays_a_table_unless_it_is_asked_for_times(tmp_path):
    path = tmp_path / "sales.csv"
    monthly().to_csv(path, index=False)
    assert detect(path).reads == "table"
    assert detect(path, Question(horizon=3)).reads == detect(path, Question(time="month")).reads == "series"
    (tmp_path / "a.txt").write_text("a text")
    assert detect(tmp_path / "a.txt", Question(horizon=3)).reads == "text"
    assert isinstance(load_task(path, Question(horizon=3, time="month", target="sales")), ForecastTask)
    with pytest.raises(VariorumError, match=r"horizon: expected how many steps to forecast.*Try --horizon 12"):
        load_task(path, Question(time="month"))


@pytest.mark.parametrize(("name", "series"), [("co2", 1), ("sunspots", 1), ("elnino", 1), ("stocks", 6)])
def test_bundled_sets(name, series):
    task = load_task(name)
    assert task.facts["series"] == series and not task.synthetic
    assert task.notes[0].endswith(("(public domain).", "shipped with plotly."))
    assert load_task(name, Question(horizon=3)).horizon == 3


def test_parts_follow_one_another_and_share_no_target():
    frame = monthly(noise=0.0)
    frame["sales"] = np.arange(120.0)
    task = ForecastTask("f", frame=frame, horizon=6, target="sales")
    mean, scale = task.preprocess["means"][0], task.preprocess["scales"][0]
    assert mean == pytest.approx(np.arange(72).mean()) and scale == pytest.approx(np.arange(72).std())
    told = {}
    for part in ("train", "valid", "test"):
        inputs, values, _ = everything(task, part)
        back = (inputs[:, : task.context, 0] * scale + mean).round()
        ahead = (values[..., 0] * scale + mean).round()
        torch.testing.assert_close(ahead[:, 0], back[:, -1] + 1)
        assert (inputs[:, task.context :, 0] == 0).all()
        told[part] = set(ahead.flatten().int().tolist())
    assert (
        told["train"] == set(range(task.context, 72))
        and told["valid"] == set(range(72, 96))
        and told["test"] == set(range(96, 120))
    )


def test_held_out_values_teach_nothing():
    frame = stores()
    first = ForecastTask("f", frame=frame, horizon=5, group="store", target="sales")
    changed = frame.copy()
    late = changed["day"] >= "2024-06-01"
    changed.loc[late, "sales"] = changed.loc[late, "sales"] * 7 + 3
    second = ForecastTask("f", frame=changed, horizon=5, group="store", target="sales")
    assert first.preprocess == second.preprocess
    for step in range(3):
        a, b = first.batch(step, 16, 0), second.batch(step, 16, 0)
        assert torch.equal(a.inputs["inputs"], b.inputs["inputs"]) and torch.equal(a.targets[1], b.targets[1])


def test_a_score_of_one_is_what_repeating_the_season_costs_in_training():
    task = ForecastTask("f", frame=monthly(noise=3.0), horizon=6)
    one = task.series[0]
    values = one.series.values[: one.trained, 0]
    naive = np.abs(values[12:] - values[:-12]).mean()
    batch = next(task.held_out("test", 4))
    off = batch.targets[0] + naive / one.scale[0]
    torch.testing.assert_close(task.scores(off, batch.targets), torch.ones(4))
    objective = task.objective.build()
    assert float(objective(off, batch.targets).mean) == pytest.approx(1.0)


def test_series_of_any_unit_count_alike():
    frame = stores((200, 200))
    other = frame.copy()
    other.loc[other["store"] == "S1", "sales"] *= 1e6
    tasks = [ForecastTask("f", frame=f, horizon=5, group="store", target="sales") for f in (frame, other)]
    a, b = (next(task.held_out("test", 64)) for task in tasks)
    torch.testing.assert_close(a.inputs, b.inputs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(a.targets, b.targets, atol=1e-4, rtol=1e-4)


def test_filled_values_are_never_judged():
    frame = monthly()
    frame.loc[110, "sales"] = np.nan
    frame = frame.drop(index=[50, 112])
    task = ForecastTask("f", frame=frame, horizon=6)
    assert any("3 of 120 values are missing" in note for note in task.notes)
    _, values, weights = everything(task, "test")
    assert int((weights == 0).sum()) > 0 and (values.diff(dim=1)[weights[:, 1:] == 0] == 0).all()
    batch = next(task.held_out("test", 64))
    wild = torch.where(batch.targets[1] == 0, 1e6, batch.targets[0])
    assert float(task.scores(wild, batch.targets).abs().max()) == 0


def test_several_variables_and_series_of_different_lengths():
    task = ForecastTask("f", frame=stores(), horizon=7, group="store")
    assert task.preprocess["targets"] == ("sales", "visits") and task.preprocess["groups"] == ("S0", "S1", "S2")
    assert task.facts["calendar"] == 3 + 2 and task.facts["season"] == 7
    inputs, _, _ = everything(task, "test")
    assert set(number(inputs[:, 0, 2:], 3).tolist()) == {0, 1, 2}
    short = ForecastTask("f", frame=stores((200, 200, 70)), horizon=7, group="store")
    assert short.preprocess["groups"] == ("S0", "S1")
    assert any("1 series are left out, as they have fewer than" in note and "'S2'" in note for note in short.notes)


def test_one_target_of_many_and_several_by_commas():
    task = ForecastTask("f", frame=stores(), horizon=7, group="store", target="visits")
    assert task.preprocess["targets"] == ("visits",)
    assert any("left out, as only the past of the target is looked at: sales" in note for note in task.notes)
    task = ForecastTask("f", frame=stores(), horizon=7, group="store", target="visits, sales")
    assert task.preprocess["targets"] == ("visits", "sales")


def test_doubled_rows_times_with_zones_and_rows_without_times_are_said():
    frame = monthly()
    frame["month"] = pd.to_datetime(frame["month"]).dt.tz_localize("UTC").astype(str)
    frame = pd.concat([frame, frame.iloc[:3], pd.DataFrame({"month": [None, "soon"], "sales": [1.0, 2.0]})])
    said = " ".join(ForecastTask("f", frame=frame, horizon=6).notes)
    for words in ("3 rows share their time", "read as UTC", "2 rows without a time that can be read are left out"):
        assert words in said, said


def test_a_series_that_does_not_move_is_left_out_and_a_variable_not_judged():
    frame = stores()
    frame.loc[frame["store"] == "S1", ["sales", "visits"]] = 5.0
    frame.loc[frame["store"] == "S2", "visits"] = 5.0
    task = ForecastTask("f", frame=frame, horizon=7, group="store")
    assert task.preprocess["groups"] == ("S0", "S2")
    said = " ".join(task.notes)
    assert "1 series are left out, as they are the same in every training row: 'S1'" in said
    assert "1 variables of series are the same in every training row and are not judged" in said


def test_a_series_that_repeats_exactly_is_scaled_by_its_steps():
    frame = monthly(noise=0.0)
    frame["sales"] = np.tile(np.arange(12.0), 10)
    one = ForecastTask("f", frame=frame, horizon=6).series[0]
    assert one.naive[0] == pytest.approx(np.abs(np.diff(frame["sales"][:72])).mean())


def test_predictions_in_the_users_units_and_times():
    frame = stores()
    task = ForecastTask("f", frame=frame, horizon=4, group="store")
    rows = Spec.from_json(task.preprocess.to_json()).build()
    newer = frame[frame["day"] > "2024-04-01"]
    opened = rows.open(newer)
    inputs = [b["inputs"] for b in rows.batches(opened, 2)]
    assert [len(x) for x in inputs] == [2, 1]
    told = rows.answers(opened, [x[:, task.context - 1 : task.context, :2].expand(-1, 4, -1) for x in inputs])
    assert list(told.columns) == ["day", "store", "sales", "visits"] and len(told) == 12
    assert told["day"].tolist()[:4] == list(pd.date_range("2024-07-01", periods=4))
    last = newer[newer["day"] == "2024-06-30"].set_index("store")
    for store in ("S0", "S1", "S2"):
        np.testing.assert_allclose(told[told["store"] == store]["sales"], last.loc[store, "sales"], rtol=1e-5)
        np.testing.assert_allclose(told[told["store"] == store]["visits"], last.loc[store, "visits"], rtol=1e-5)


def test_a_users_newer_rows_are_read_as_the_task_reads_its_own():
    frame = stores()
    task = ForecastTask("f", frame=frame, horizon=4, group="store")
    rows = task.preprocess.build()
    until = frame[frame["day"] <= "2024-06-26"]
    mine = torch.cat([b["inputs"] for b in rows.batches(rows.open(until), 8)])
    inputs, _, _ = everything(task, "test")
    for one in mine:
        assert (inputs - one).abs().amax(dim=(1, 2)).min() < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="sales"), "'sales'"),
        (lambda f: f.assign(store="S9"), "store 'S9': expected a series that the model was trained on"),
        (lambda f: f[f["day"] > "2024-06-25"], "series 'S0': expected at least 21 steps"),
        (lambda f: f.assign(day="soon"), "times written as in training"),
        (lambda f: 7, "rows: expected a path"),
    ],
)
def test_rows_that_cannot_be_forecast_from(change, message):
    frame = stores()
    rows = ForecastTask("f", frame=frame, horizon=4, group="store").preprocess.build()
    with pytest.raises(VariorumError, match=message):
        rows.open(change(frame))


@pytest.mark.parametrize(
    ("frame", "asked", "message"),
    [
        (monthly(30), {"horizon": 20}, "expected at least 76 steps for a horizon of 20, found 30"),
        (monthly(), {"horizon": 0}, "at least 1, found 0"),
        (monthly(), {"horizon": 6, "time": "mnth"}, "time: expected the name of a column.*'month'"),
        (monthly(), {"horizon": 6, "target": "month"}, "beside time and group"),
        (monthly(), {"horizon": 6, "group": "sale"}, "group: expected the name of a column"),
        (monthly().assign(sales="x"), {"horizon": 6, "target": "sales"}, "target 'sales': expected numbers"),
        (monthly().assign(sales="x"), {"horizon": 6}, "a column of numbers to forecast"),
        (monthly().assign(sales=1.0), {"horizon": 6}, "same in every training row"),
        (monthly().rename(columns={"month": "x"}).assign(x="a"), {"horizon": 6}, "the name of the column of times"),
        (stores().drop(columns="store"), {"horizon": 6}, "--group"),
        (pd.concat([monthly(60), monthly(60, start="2030-01-31")]), {"horizon": 3}, "longer ones, after"),
    ],
)  # fmt: skip
def test_faults_say_what_to_do(frame, asked, message):
    with pytest.raises(VariorumError, match=message):
        ForecastTask("f", frame=frame, **asked)


def test_the_shortest_series_that_is_asked_for_is_enough():
    for horizon in (1, 5, 20):
        with pytest.raises(VariorumError, match="expected at least") as caught:
            ForecastTask("f", frame=monthly(3), horizon=horizon)
        least = int(str(caught.value).split("at least ")[1].split()[0])
        assert ForecastTask("f", frame=monthly(least, noise=5.0), horizon=horizon).horizon == horizon
        with pytest.raises(VariorumError):
            ForecastTask("f", frame=monthly(least - 1, noise=5.0), horizon=horizon)


@pytest.mark.parametrize("series", [1, 2, 3, 7, 8, 9, 1000])
def test_numbers_of_series_in_binary(series):
    numbers = torch.arange(series)
    told = code(numbers, series)
    assert told.shape == (series, bits(series)) and set(told.unique().tolist()) <= {-0.5, 0.5}
    assert torch.equal(number(torch.cat([torch.randn(series, 2), told], 1), series), numbers)
