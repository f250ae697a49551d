"""What is learned and lost again, steps that are rounded away, norms in evaluation, frozen parameters, one symbol."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from supervised import LN10, Given, layer, loss, noisy, optimiser, parameter, seen
from synthetic import plain, row

from fastact.diagnosis.finding import Finding
from fastact.history import LayerInfo, Mode

STEPS = np.arange(92)
ROWS = range(len(STEPS))


def sawtooth(every: int, low: float = 0.4) -> list[float]:
    """A loss that is back at its first value after so many steps."""
    return noisy(LN10 * (low + (1.0 - low) * np.exp(-(STEPS % every) / 6.0)))


def findings(*parts: Given, **more: Any) -> list[Finding]:
    return [f for f in seen(*parts, **more).diagnose().findings if f.condition == "not_learning"]


def causes(*parts: Given, **more: Any) -> list[str]:
    return [f.cause_name for f in findings(*parts, **more)]


def told_by_turns(every: int) -> Given:
    """The targets' rows, whose mean is another one after so many steps."""
    return {
        "loss:target": (
            LayerInfo("loss:target", 0, "Target", "int64", facts={"shape": [64]}),
            [plain(s, count=64, mean=4.5 + s % 7 / 50 + s // every % 2, std=2.9, min=0.0, max=9.0) for s in ROWS],
        )
    }


def test_a_loss_that_begins_again_by_the_clock() -> None:
    (finding,) = findings(loss(sawtooth(23)), optimiser())
    assert (finding.cause_name, finding.severity, finding.first_step) == ("weights_reset", "warning", 23)
    assert "3 times, each 23 steps" in finding.because[0]
    assert causes(loss(noisy(LN10 * (0.4 + 0.6 * np.exp(-STEPS / 6.0)))), optimiser()) == []
    assert causes(loss(sawtooth(46)), optimiser()) == []  # once
    over = [*sawtooth(12)[:48], *noisy(LN10 * 0.4 * np.ones(50))]  # it has missed its last times
    assert causes(loss(over), optimiser()) == []
    uneven = np.concatenate([np.arange(12), np.arange(30), np.arange(17), np.arange(33)])
    assert causes(loss(noisy(LN10 * (0.4 + 0.6 * np.exp(-uneven / 6.0)))), optimiser()) == []
    assert causes(loss(sawtooth(23)) | told_by_turns(23), optimiser()) == []  # other tasks by turns
    assert causes(loss(sawtooth(23, 0.9)), optimiser()) == []  # noise
    odd = noisy(LN10 * (0.4 + 0.6 * np.exp(-STEPS / 6.0)))
    for step in (23, 46, 69):
        odd[step] = 3.0 * LN10  # one batch of odd samples is no level
    assert causes(loss(odd), optimiser()) == []


def half(name: str, kept: float, dtype: str = "bfloat16", zeros: float = 0.0) -> Given:
    """A weight of which so many numbers stay in a step, and so many have no gradient."""
    given = parameter(name)
    for suffix, share in ((":update", kept), (":grad", zeros)):
        info, rows = given[name + suffix]
        given[name + suffix] = info, [plain(s, count=1000, zeros=int(1000 * share), std=1e-3) for s in range(len(rows))]
    return {key: (replace(info, dtype=dtype), rows) for key, (info, rows) in given.items()}


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        (half("0.weight", 0.97), True),
        (half("0.weight", 0.5), False),
        (half("0.weight", 0.97, "float32"), False),
        (half("0.weight", 0.97, zeros=0.9), False),  # a table of which few rows are looked up
    ],
)
def test_steps_that_are_less_than_the_last_digit(weight: Given, told: bool) -> None:
    high, low = (loss(noisy(np.full(60, share * LN10))) for share in (0.8, 0.3))
    assert causes(high, weight, optimiser()) == ["rounded_away"] * told
    assert causes(low, weight, optimiser()) == []


def norm(given: dict[str, float], put_out: dict[str, float], mode: Mode = "evaluation") -> Given:
    """A batch norm behind an input, while its parameters have gradients."""
    name = "norm" + (":eval" if mode else "")
    there = layer("input", [row(s, **given) for s in range(20)], "Input")
    there |= layer(name, [row(s, **put_out) for s in range(20)], "BatchNorm1d", "input")
    there[name] = replace(there[name][0], mode=mode), there[name][1]
    return there | parameter("norm.weight", shape=[64])


RAW, SCALED = {"mean": 40.0, "std": 30.0, "max": 200.0}, {"mean": 0.0, "std": 1.0}


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (norm(RAW, RAW), True),
        (norm(RAW, RAW, ""), False),  # in training, whatever its numbers
        (norm(RAW, SCALED), False),  # statistics that were loaded
        (norm(SCALED, SCALED), False),  # nothing to do
        (norm(RAW, RAW) | layer("norm", [row(s, **SCALED) for s in range(20)], "BatchNorm1d", "input"), False),
    ],
)
def test_a_norm_that_is_in_evaluation_while_it_is_trained(there: Given, told: bool) -> None:
    assert causes(there, optimiser()) == ["norm_in_evaluation"] * told


def frozen(course: list[float], **adapter: Any) -> list[str]:
    """What is said of a layer that is frozen as it was drawn, as an adapter knows, before a head that learns."""
    known: dict[str, Any] = {"frozen": ["block.base/kernel"], "frozen_tensors": 1, "untrained": ["block.base/kernel"]}
    there = layer("block.base", [row(s) for s in ROWS]) | layer("head", [row(s) for s in ROWS])
    head = parameter("head/kernel", layer="head")
    return causes(loss(course), there, head, optimiser(**known, rows=10), *adapter.values())


def test_what_is_frozen_as_it_was_drawn_and_serves() -> None:
    flat, falls = noisy(np.full(92, 0.9 * LN10), 0.01), noisy(LN10 * (1.0 - 0.002 * STEPS), 0.01)
    assert frozen(flat) == ["frozen_parameters"]
    assert frozen(falls) == []
    up = parameter("block.up/kernel", layer="block.up")
    info, rows = up["block.up/kernel"]
    zero = up | {"block.up/kernel": (info, [plain(0, count=32, zeros=32, mean=0.0, std=0.0), *rows[1:]])}
    assert frozen(flat, adapter=zero) == []
    assert frozen(flat, adapter=up) == ["frozen_parameters"]


def test_inputs_of_one_symbol() -> None:
    def table(used: int) -> Given:
        rows = [plain(s, count=40, zeros=40 - used, mean=2.0, std=9.0, min=0.0, max=60.0) for s in ROWS]
        return {"emb:usage": (LayerInfo("emb:usage", 0, "Vocabulary"), rows)}

    there = loss(noisy(np.full(92, LN10))), parameter("0.weight", update=1e-3), optimiser()
    (finding,) = findings(*there, table(2))
    assert (finding.cause_name, finding.confidence) == ("inputs_equal", "certain")
    assert causes(*there, table(9)) == ["constant_answer"]


def test_a_choice_that_what_it_is_made_by_never_learns_from() -> None:
    cut = optimiser(without_gradient=["scores.weight"], without_gradient_tensors=1, rows=92)
    there = layer("scores", [row(s) for s in ROWS]) | layer("out", [row(s) for s in ROWS])
    learns = loss(noisy(LN10 * (0.6 + 0.4 * np.exp(-STEPS / 9.0)))), there, parameter("out.weight", layer="out"), cut
    table = {"codes:usage": (LayerInfo("codes:usage", 0, "Usage"), [plain(s, count=8, mean=64.0) for s in ROWS])}
    assert causes(*learns, table) == ["no_gradient"]
    assert causes(*learns) == []


def test_weights_that_are_put_back_at_the_start_of_each_epoch() -> None:
    """Two returns are enough where they are by the epochs, whatever luck the first batch had."""

    def told(epoch: int, every: int = 38) -> list[str]:
        levels = noisy(LN10 * (0.8 + 0.2 * np.exp(-(np.arange(100) % every) / 8.0)), 0.012)
        given = loss([0.85 * LN10, *levels[1:]])
        info, rows = given["loss"]
        given["loss"] = replace(info, facts={**info.facts, "steps": epoch}), rows
        return causes(given, optimiser())

    assert told(38) == ["weights_reset"]
    assert told(30) == []
