"""Rates so small that all steps of a training together move nothing."""

import pytest
from supervised import Given, loss, noisy, seen, values

from fastact.history import LayerInfo

ROWS = 90


def told(levels: list[float], rates: list[float], function: str = "Adam") -> list[str]:
    """The causes of what is told of a loss without a known constant answer."""
    facts = {"function": function, "parameters": 2, "trainable": 2}
    own: Given = {"optimiser": (LayerInfo("optimiser", 0, "Optimiser", "float64", facts=facts), values(rates))}
    return [found.cause_name for found in seen(loss(levels, None), own).diagnose().culprits]


def test_a_loss_stays_where_all_steps_together_move_no_weight() -> None:
    assert told(noisy([4.7] * ROWS), [1e-8] * ROWS) == ["rate_too_small"]


@pytest.mark.parametrize(
    ("levels", "rates", "function"),
    [
        ([4.7] * ROWS, [1e-4] * ROWS, "Adam"),
        ([4.7] * 40, [1e-8] * 40, "Adam"),
        ([4.7 - 0.02 * step for step in range(ROWS)], [1e-8] * ROWS, "Adam"),
        ([4.7] * ROWS, [1e-10 * step for step in range(ROWS)], "Adam"),
        ([4.7] * ROWS, [1e-8] * ROWS, "SGD"),
        ([4.7] * ROWS, [1e-3] + [1e-8] * (ROWS - 1), "Adam"),
    ],
    ids=("a usual rate", "too soon", "it falls", "a warm-up", "steps as large as gradients", "it learned before"),
)
def test_what_may_have_moved_weights_or_is_no_proof(levels: list[float], rates: list[float], function: str) -> None:
    assert "rate_too_small" not in told(noisy(levels), rates, function)
