"""Onsets: rows one at a time and many at once leave the same state, exact long after the window has passed."""

import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from any_rows import DTYPES, LAYER_TYPES
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import found, nothing_finite, row, watch

from fastact.diagnosis import onsets
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.row_conditions import Row, Streak
from fastact.diagnosis.rule import Rule
from fastact.diagnosis.rules import Thresholds
from fastact.fields import COLUMN, ROW_DTYPE
from fastact.history import LayerHistory, LayerInfo

#: What a row can say of a layer: healthy, sick in each way, or that nothing can be told.
SCENES: list[dict[str, float]] = [
    {}, {"nans": 3}, {"neg_infs": 1}, {"saturated": 4000, "min": -1.0, "max": 1.0}, {"dead_neurons": 5},
    {"dead_neurons": 40}, {"within_std": 1e-6}, {"std": 1e-9, "within_std": 1e-9}, {"std": 1e12}, {"std": 5e3},
    {"count": 64 * 3, "within_std": 0.0}, {"count": 0, "neurons": 0, "within_std": math.nan},
    {"zeros": 4096, "mean": 0.0, "std": 0.0, "neurons": 0, "within_std": math.nan},
    {"mean": 1e200, "std": 1e200},
    {"count": 2**62, "saturated": 2**61 - 1, "neurons": 2**61, "dead_neurons": 2**60},
    {"count": 2**62, "neurons": 2**61, "dead_neurons": int(0.05 * 2**61) - 1},
    {"count": 2**60 - 1, "neurons": 2**57, "within_std": 0.0}, {"min": -1e308, "typical_peak": 1e308},
    {"max": 100.0, "typical_peak": 2.4}, {"max": 100.0, "typical_peak": math.nan}, {"abs_mean": 1e-6},
    {"abs_mean": 2.0**-14, "zeros": 2**62, "count": 2**62 + 1},
    {"abs_mean": 0.0, "zeros": 4096, "mean": 0.0, "std": 0.0}, {"std": 3.0}, {"count": 0},
]  # fmt: skip


#: How long each of them lasts, in rows.
stories = st.lists(
    st.tuples(st.sampled_from([*[None] * 6, *SCENES]), st.integers(1, 3) | st.integers(1, 30)), max_size=8
)

#: How rows are handed over: so many at a time, at once or one by one; over and over.
handovers = st.lists(st.tuples(st.integers(1, 5) | st.integers(1, 200), st.booleans()), min_size=1, max_size=5)


class OneByOne:
    """What is followed, by definition: one condition of one row of one layer after the other, on Python's numbers."""

    def __init__(self, layer: LayerHistory, rules: Sequence[Rule[Any]], thresholds: Thresholds) -> None:
        self.layer, self.rules, self.thresholds = layer, rules, thresholds
        self.first: Row | None = None
        self.runs: dict[str, dict[str, int]] = {}

    def append(self, row: Row) -> None:
        finite = not math.isnan(row[COLUMN["mean"]])
        if self.first is None or (finite and math.isnan(self.first[COLUMN["mean"]])):
            self.first = row
        self.layer.append(row)
        number = self.layer.total
        for rule in self.rules:
            for conditions, undecided in rule.row_conditions(self.layer.info, self.first, self.thresholds):
                for condition in conditions:
                    patience = condition.patience or self.layer.window_size
                    run = self.runs.setdefault(condition.name, {"last": -patience})
                    run["patience"] = patience
                    if condition.holds(row):
                        if number - run["last"] > patience:
                            run["rows before"] = number - min(condition.lookback, len(self.layer))
                            run["step"] = self.layer.step_of(run["rows before"] + 1)
                        run["last"] = number
                    elif run["last"] == number - 1 and undecided is not None and undecided(row):
                        run["last"] = number
                    else:
                        break

    def streaks(self) -> dict[str, Streak]:
        total = self.layer.total
        return {
            name: Streak(run["step"], total - run["rows before"])
            for name, run in self.runs.items()
            if 0 < run["last"] > total - run["patience"]
        }


def one_by_one(diagnoser: Diagnoser, name: str) -> OneByOne:
    """Beside what a diagnoser follows of a layer, the same by definition."""
    tracker = diagnoser._trackers[name]
    window_size = tracker.layer.window_size
    return OneByOne(LayerHistory(tracker.layer.info, window_size), tracker.rules, diagnoser.thresholds)


def followed(diagnoser: Diagnoser, name: str) -> str:
    """All that is followed of a layer: NaN equals NaN here."""
    view = diagnoser.views()[name]
    return repr((view.start, view.first, sorted(view.streaks.items()), view.rows.tolist()))


@settings(max_examples=60)
@given(
    stories, handovers, st.integers(1, 40), st.sampled_from(LAYER_TYPES), st.sampled_from(DTYPES), st.integers(1, 50),
    st.integers(1, 6),
)  # fmt: skip
@pytest.mark.parametrize("together", [1, 7, 4096], ids=["each alone", "few together", "the default"])
def test_rows_one_at_a_time_and_many_at_once_are_the_same(
    together: int,
    story: list[tuple[dict[str, float] | None, int]],
    parts: list[tuple[int, bool]],
    window_size: int,
    kind: str,
    dtype: str,
    dead_window: int,
    min_rows: int,
) -> None:
    scenes = [scene for scene, length in story for _ in range(length)]
    rows = [nothing_finite(3 * i) if scene is None else row(3 * i, **scene) for i, scene in enumerate(scenes)]
    one, many = (Diagnoser(window_size, Thresholds(dead_window=dead_window, min_rows=min_rows)) for _ in range(2))
    name = "experts.0"  # which is followed for more than another name
    for diagnoser in (one, many):
        diagnoser.add(LayerInfo(name, 0, kind, dtype))
    plain = one_by_one(one, name)
    turns, place = itertools.cycle(parts), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onsets, "_MANY", together)
        patch.setattr(onsets, "_MANY_EACH", 1)
        while place < len(rows):
            size, at_once = next(turns)
            part = rows[place : place + size]
            place += size
            for item in part:
                one.append(name, item)
                plain.append(item)
                if not at_once:
                    many.append(name, item)
            if at_once:
                many.extend(name, np.array(part, ROW_DTYPE))
            assert followed(one, name) == followed(many, name)
            assert repr(sorted(plain.streaks().items())) in followed(one, name)
    assert one.diagnose() == many.diagnose()


@pytest.mark.parametrize("rows", [1, 47, 48, 500])
def test_many_rows_may_be_a_part_of_another_array(rows: int) -> None:
    table = np.array([row(step, saturated=4000, min=-1.0, max=1.0) for step in range(2 * rows)], ROW_DTYPE)
    diagnoser, other = Diagnoser(), Diagnoser()
    for each in (diagnoser, other):
        each.add(LayerInfo("a", 0, "Tanh"))
    diagnoser.extend("a", table[::2])
    table[1::2] = table[::2]
    other.extend("a", table[1::2])
    table["saturated"] = 0  # what was given is not kept
    assert followed(diagnoser, "a") == followed(other, "a")
    assert diagnoser.diagnose().healthy == (rows < 5)


def test_the_onset_is_exact_long_after_it_left_the_window() -> None:
    rows = [row(3 * i, saturated=4000 if i >= 41 else 0, min=-1.0, max=1.0) for i in range(1000)]
    assert found(watch({"act": ("Tanh", rows)}, window_size=10)) == [("act", "saturated", "critical", 123)]


@pytest.mark.parametrize("together", [10, 4096])
def test_layers_followed_together_are_followed_as_each_alone(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of several kinds, which come and go, some of them sick for a while, each at its own time."""
    monkeypatch.setattr(onsets, "_MANY", together)
    monkeypatch.setattr(onsets, "_MANY_EACH", 1)
    chance = random.Random(0)
    diagnoser = Diagnoser(window_size=20)
    infos = [LayerInfo(f"layer{i}", i, LAYER_TYPES[i % 5], DTYPES[i % 2]) for i in range(40)]
    for info in infos:
        diagnoser.add(info)
    alone = {info.name: one_by_one(diagnoser, info.name) for info in infos}
    scenes: dict[str, dict[str, float] | None] = {}
    for step in range(80):
        for info in infos:
            if chance.random() < 0.1:
                scenes[info.name] = chance.choice([{}, {}, {"std": 2.0 + info.order}, None, *SCENES])
            if chance.random() < 0.8:
                scene = scenes.setdefault(info.name, {"std": 1.0 + info.order})
                item = nothing_finite(step) if scene is None else row(step, **scene)
                diagnoser.append(info.name, item)
                alone[info.name].append(item)
        if step % 37 == 36:
            for name, plain in alone.items():
                assert repr(sorted(plain.streaks().items())) in followed(diagnoser, name), (name, step)
    held = set()
    for name, plain in alone.items():
        assert repr(sorted(plain.streaks().items())) in followed(diagnoser, name), name
        held |= set(plain.streaks())
    assert len(held) > 8
