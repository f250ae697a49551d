"""What a network begins with that keeps it from learning: outputs far too large, units alike, symbols that are one."""

from typing import Any

import numpy as np
import pytest
from supervised import LN10, Given, layer, loss, noisy, optimiser, parameter, seen
from synthetic import plain, row, scaled

from fastact.diagnosis.finding import Finding

STEPS = 40
FLAT = noisy(np.full(STEPS, LN10))
LEARNS = noisy(LN10 * (0.2 + 0.8 * np.exp(-np.arange(STEPS) / 5.0)))
#: From 400 times a constant answer's loss: slowly, and at once.
SLOW = list(np.linspace(400.0, 380.0, STEPS) * LN10)
SOON = list(LN10 * (0.3 + 400.0 * np.exp(-np.arange(STEPS) / 2.0)))
DETACHED = "an optimiser holds the parameter and it never had a gradient"


def culprits(*parts: Given, **more: Any) -> list[tuple[str, str, str]]:
    found: tuple[Finding, ...] = seen(*parts, **more).diagnose().culprits
    return [(each.condition, each.layer, each.cause_name) for each in found]


def logits(values: list[float], size: float, hidden: float = 1.0, table: float = 0.0) -> list[Given]:
    first = (
        layer("signs", scaled(*[table] * STEPS), "Embedding")
        if table
        else layer("input", scaled(*[1.0] * STEPS), "Input")
    )
    given = loss(values)
    info, rows = given["loss"]
    made = type(info)("loss", 0, "Loss", "float64", source="head", facts=info.facts)
    return [
        first,
        layer("hidden", scaled(*[hidden] * STEPS), source=next(iter(first))),
        layer("head", scaled(*[size] * STEPS), source="hidden"),
        given | {"loss": (made, rows)},
    ]


@pytest.mark.parametrize(
    ("sizes", "where"), [({"size": 300.0}, "head"), ({"size": 900.0, "hidden": 80.0}, "hidden"),
                         ({"size": 900.0, "hidden": 60.0, "table": 30.0}, "signs")]
)  # fmt: skip
def test_the_layer_at_which_outputs_began_too_large_is_named(sizes: dict[str, float], where: str) -> None:
    assert culprits(*logits(SLOW, **sizes)) == [("exploding", where, "initialisation")]
    assert culprits(*logits(SOON, **sizes)) == []  # which soon are as they should be
    assert culprits(*logits(LEARNS, **sizes)) == []


def normed(within: float, given: float = 0.8, later: float | None = None) -> list[Given]:
    units = layer("patch", [row(step, mean=0.1, std=1.0, within_std=given) for step in range(STEPS)])
    spread = [within] * 3 + [within if later is None else later] * (STEPS - 3)
    after = [row(step, mean=0.0, std=1.0, within_std=each) for step, each in enumerate(spread)]
    return [units, layer("norm", after, "LayerNorm", "patch"), optimiser(rows=STEPS)]


def test_units_that_differ_by_a_number_each_leave_a_norm_nothing_to_tell_samples_by() -> None:
    alike = culprits(*normed(1e-7), loss(FLAT))
    assert [cause for *_, cause in alike] == ["symmetric_initialisation"]
    assert culprits(*normed(1e-7, later=0.3), loss(FLAT)) == [("not_learning", "loss", "symmetric_initialisation")]
    # Units that differ, samples that were alike before, and what is learned all the same.
    for healthy in (normed(0.3), normed(1e-7, given=1e-3)):
        assert "symmetric_initialisation" not in [cause for *_, cause in culprits(*healthy, loss(FLAT))]
    assert "symmetric_initialisation" not in [cause for *_, cause in culprits(*normed(1e-7, later=0.3), loss(LEARNS))]


def stack(left: str) -> list[Given]:
    names = "past.0", "past.1", "past.2", "head"
    rows = [row(step) for step in range(STEPS)]
    parameters = [parameter(f"{name}.weight", rows=STEPS, gradient=None if name == left else 1e-3, layer=name,
                            update=None if name == left else 1e-4) for name in names]  # fmt: skip
    return [*(layer(name, rows) for name in names), *parameters, optimiser(rows=STEPS)]


def test_the_last_way_past_a_block_goes_nowhere_and_a_cut_one_in_the_middle_does_harm() -> None:
    for left, severity in (("past.2", []), ("past.1", ["warning"])):
        unseen = {f"{left}.weight:grad": DETACHED}
        found = seen(*stack(left), loss(LEARNS), unseen=unseen).diagnose()
        assert [each.severity for each in found.findings if each.cause_name == "no_gradient"] == severity, left
    found = seen(*stack("past.2"), loss(FLAT), unseen={"past.2.weight:grad": DETACHED}).diagnose()
    assert "no_gradient" in [each.cause_name for each in found.findings]


def looked_up(used: list[int], top: float, values: list[float]) -> list[Given]:
    """A table of 80 rows, of which so many are in use in each step; one has this share of 128 lookups."""
    rows = []
    for step, each in enumerate(used):
        most = 128 if each == 1 else int(128 * top)
        counts = {"count": 80, "zeros": 80 - each, "mean": 1.6, "max": most, "min": 0, "neurons": 80}
        rows.append(row(step, **counts, silent_neurons=80 - each, dead_neurons=0, within_std=0.0))
    table = layer("films", [row(step) for step in range(len(used))], "Embedding")
    return [table, layer("films:usage", rows, "Vocabulary"), loss(values)]


def test_a_table_of_which_one_row_is_looked_up() -> None:
    assert culprits(*looked_up([1] * STEPS, 1.0, FLAT)) == [("unused", "films", "inputs_equal")]
    assert culprits(*looked_up([2] * STEPS, 0.98, FLAT)) == [("unused", "films", "inputs_equal")]
    # Two symbols that are both in use, several, and what is learned all the same.
    for used, top, values in ((2, 0.5, FLAT), (4, 0.95, FLAT), (1, 1.0, LEARNS)):
        assert "unused" not in [what for what, *_ in culprits(*looked_up([used] * STEPS, top, values))]


def test_symbols_that_become_one_under_way() -> None:
    for now in (1, 2):
        assert ("unused", "films", "data_changed") in culprits(*looked_up([30] * 30 + [now] * 10, 0.5, LEARNS))
    assert "unused" not in [what for what, *_ in culprits(*looked_up([30] * 38 + [1] * 2, 0.5, LEARNS))]
    assert "unused" not in [what for what, *_ in culprits(*looked_up([30] * 30 + [5] * 10, 0.5, LEARNS))]
    assert "unused" not in [what for what, *_ in culprits(*looked_up([4] * 30 + [1] * 10, 0.5, LEARNS))]


def test_data_that_grows_row_after_row_throws_the_loss_off() -> None:
    grows = scaled(*np.r_[np.ones(30), 1.06 ** np.arange(60)])
    rises = noisy(np.r_[np.full(40, 0.3 * LN10), np.geomspace(0.3, 30.0, 50) * LN10])
    found = culprits(layer("input", grows, "Input"), layer("fc", grows, source="input"), loss(rises))
    assert found[0] == ("drifting", "input", "data_changed")
    assert "not_learning" not in [what for what, *_ in found]
    # Data that varies, that grew once and a little, and that does no harm.
    varies = scaled(*np.exp(np.random.default_rng(0).normal(0.0, 1.0, 90)))
    for rows, values in (
        (varies, FLAT),
        (scaled(*np.linspace(1.0, 5.0, 90)), FLAT),
        (grows, LEARNS + LEARNS[-1:] * 50),
    ):
        found = culprits(layer("input", rows, "Input"), layer("fc", scaled(*[1.0] * 90), source="input"), loss(values))
        assert "drifting" not in [what for what, *_ in found]


def test_swings_that_have_died_away_are_none() -> None:
    time = np.arange(100)
    swing = np.where(time < 60, 5.0 * np.cos(2.0 * np.pi * time / 10.0) * np.exp(-time / 30.0), 0.0)
    noise = np.random.default_rng(1).normal(0.0, 1.5, 100) * (time >= 60)
    rows = [plain(step, mean=float(x), std=1.0) for step, x in enumerate(swing + noise)]
    for end in range(60, 101, 4):
        found = culprits(layer("fc", rows[:end]), layer("out", [row(step) for step in range(end)]))
        assert end < 76 or "oscillating" not in [what for what, *_ in found], end


def regression(values: list[float], means: Any, worth: float, std: float = 1.0, **facts: Any) -> Given:
    """A squared error with targets of these means."""
    given = loss(values, worth, function="mean_squared_error")
    info = given["loss"][0]
    given["loss"] = (
        type(info)("loss", 0, "Loss", "float64", source="head", facts={**info.facts, **facts}),
        given["loss"][1],
    )
    wanted = given["loss:target"][0]
    shape = {"shape": [64, 1], "whole": False}
    rows = [plain(step, count=64, mean=float(x), std=std, min=x - std, max=x + std) for step, x in enumerate(means)]
    given["loss:target"] = type(wanted)("loss:target", 0, "Target", "float32", facts=shape), rows
    return given


def test_a_constant_answer_is_no_standard_for_targets_that_move_or_errors_that_others_weigh() -> None:
    high = noisy(np.full(120, 0.12))
    head = layer("head", scaled(*[1.0] * 120))
    assert [what for what, *_ in culprits(head, regression(high, np.zeros(120), 0.017, std=0.1))] == ["not_learning"]
    assert culprits(head, regression(high, np.linspace(-0.9, -3.0, 120), 0.017, std=0.1)) == []
    assert culprits(head, regression(high, np.zeros(120), 0.017, std=0.1, reduction="none")) == []


def test_targets_that_are_next_to_nothing_are_a_standard_all_the_same() -> None:
    falls = noisy(0.01 * np.exp(-np.arange(120) / 40.0))
    head = layer("head", scaled(*[0.05] * 120))
    for size in (4e-5, 1e-6):
        targets = np.random.default_rng(0).normal(0.0, 0.2 * size, 120)
        assert ("not_learning", "loss", "targets_not_scaled") in culprits(
            head, regression(falls, targets, size**2, std=size)
        )
    # What is learned to that, and targets that are all one.
    assert culprits(head, regression([1e-10] * 120, np.zeros(120), 1e-9, std=3e-5)) == []
    assert culprits(head, regression(falls, np.full(120, 1.0), 1e-12, std=1e-6)) == []


def test_dropout_behind_the_last_layer() -> None:
    high = noisy(np.full(60, 3.5))
    for share, told in ((0.5, True), (0.1, True), (0.0, False)):
        drops = layer("drop", [row(s, zeros=int(4096 * share)) for s in range(60)], "Dropout", "head")
        parts = layer("fc", scaled(*[1.0] * 60)), layer("head", [row(s) for s in range(60)]), drops
        given = regression(high, np.zeros(60), 2.0)
        info = given["loss"][0]
        given["loss"] = type(info)("loss", 0, "Loss", "float64", source="drop", facts=info.facts), given["loss"][1]
        assert ("dropout" in [cause for *_, cause in culprits(*parts, given)]) is told, share
        low = regression(noisy(np.full(60, 0.5)), np.zeros(60), 2.0)
        assert "dropout" not in [cause for *_, cause in culprits(*parts, low)]
