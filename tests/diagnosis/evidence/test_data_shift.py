"""What became another in the step in which a layer fell sick: the input's own past tells, whatever its scale."""

import math

import pytest
from supervised import Given, layer, seen
from synthetic import Row, plain, row

from fastact.diagnosis.evidence.data_shift import _BEYOND
from fastact.diagnosis.finding import Finding

#: The step from which on samples are alike.
SINCE = 40


def wave(step: int, size: float = 1.0) -> dict[str, float]:
    """Numbers of an input that swing a little from batch to batch, as those of any data do."""
    swing = 0.05 * math.sin(2.3 * step)
    return {
        "min": -3.0 * size + swing,
        "max": 3.0 * size - swing,
        "typical_peak": 2.4 * size + swing,
        "std": 0.7 + swing,
    }


def sick(inputs: list[Row]) -> Finding:
    """The first finding of a network whose last layer is the same for all samples since a step."""
    same = {"mean": 0.5, "std": 2.0, "within_std": 0.0, "constant_neurons": 64}
    sets: Given = layer("sets", [row(s, count=4096 * 4) for s in range(len(inputs))], "Linear", "input")
    head = layer("head", [row(s, **(same if s >= SINCE else {})) for s in range(len(inputs))], "Linear", "sets")
    return seen(layer("input", inputs, "Input"), sets, head).diagnose().findings[0]


def test_samples_that_became_alike_as_the_input_changed_are_the_datas_doing() -> None:
    told = sick([row(s, count=4096 * 4, **wave(s, 0.5 if s >= SINCE else 1.0)) for s in range(SINCE + 6)])
    assert (told.layer, told.first_step, told.cause_name) == ("input", SINCE, "inputs_equal")
    assert "the input itself changed in that step" in str(told.because)


@pytest.mark.parametrize(
    "inputs",
    [
        [row(s, count=4096 * 4, **wave(s)) for s in range(SINCE + 6)],
        # A step later, and no further than chance.
        [row(s, count=4096 * 4, **wave(s, 0.5 if s > SINCE else 1.0)) for s in range(SINCE + 6)],
        [row(s, count=4096 * 4, **wave(s, 1.0 + 0.04 * _BEYOND * (s >= SINCE))) for s in range(SINCE + 6)],
        # Of more numbers, the extremes are wider.
        [
            row(s, count=4096 * (8 if s >= SINCE else 4), **wave(s, 1.2 if s >= SINCE else 1.0))
            for s in range(SINCE + 6)
        ],
    ],
)
def test_an_input_that_stays_as_it_was_blames_no_data(inputs: list[Row]) -> None:
    assert sick(inputs).cause_name not in ("inputs_equal", "data_changed")


def test_a_table_of_which_one_row_alone_is_looked_up_since_a_step_has_other_data() -> None:
    alike = {"within_std": 0.0, "constant_neurons": 64}
    table = layer("words", [row(s, **(alike if s >= SINCE else {})) for s in range(SINCE + 6)], "Embedding")
    used = [
        plain(s, count=40, neurons=40, zeros=39 if s >= SINCE else 4, mean=10.0, std=50.0, min=0.0, max=400.0)
        for s in range(SINCE + 6)
    ]
    told = seen(table, layer("words:usage", used, "Vocabulary")).diagnose().findings[0]
    assert (told.layer, told.cause_name) == ("words", "data_changed")
