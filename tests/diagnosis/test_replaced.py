"""A layer that grows at once, out of the blue, while all before it stay: something changed its weights."""

import pytest
from supervised import layer, seen
from synthetic import scaled

CALM = [1.0] * 30


def cause(first: list[float], second: list[float]) -> str:
    """Of the growth of the second layer, of three."""
    parts = layer("fc0", scaled(*first), "Linear"), layer("fc1", scaled(*second), "Linear", "fc0")
    out = layer("out", scaled(*second), "Linear", "fc1")
    found = seen(layer("input", scaled(*[1.0] * len(first)), "Input"), *parts, out).diagnose().findings
    return next(each.cause_name for each in found if each.layer == "fc1")


def test_a_layer_that_grows_alone_and_at_once_has_other_weights() -> None:
    assert cause([*CALM, *[1.1] * 6], [*CALM, *[1e5] * 6]) == "weights_replaced"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([*CALM, *[4.0] * 6], [*CALM, *[1e5] * 6]),
        ([1.0] * 9, [*[1.0] * 3, *[1e5] * 6]),
        ([*CALM, *[1.0] * 6], [*CALM, 5.0, 25.0, 125.0, 625.0, 3e3, 1.5e4]),
    ],
    ids=("those before it too", "the first updates", "from step to step"),
)
def test_an_update_moves_those_before_it_or_comes_early_or_again(first: list[float], second: list[float]) -> None:
    assert cause(first, second) == "learning_rate"
