"""Losses by hand that do not measure what they should."""

from typing import Any

import pytest
from mismatch import CLASSES, OF_1, ONE_HOT, ROWS, SOFTMAX, SUMS, VALUES, found, said
from synthetic import loss_rows, plain

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.history import LayerInfo


def test_a_likelihood_without_its_minus_sign_is_found_once_it_is_driven() -> None:
    def judged(values: list[float], target: dict[str, Any] = CLASSES) -> list[tuple[str, str]]:
        return said(loss_rows("", SUMS, target, SOFTMAX, values=values, constant=None, steps=len(values)))

    falling = [-1.1 - 0.5 * step for step in range(8)]
    assert judged(falling) == [("wrong_sign", "critical")]
    assert judged(falling, ONE_HOT) == [("wrong_sign", "critical")]
    assert judged(falling[:4]) == []  # too soon to tell
    assert judged(falling, VALUES) == []  # a density's logarithm may be above zero
    assert judged([-0.4 - 0.07 * step for step in range(8)]) == []  # minus the share of right answers
    assert judged([-value for value in falling]) == []


@pytest.mark.parametrize(
    ("power", "sign", "told"), [(2, -1.0, True), (1, -1.0, True), (2, 1.0, False), (2, -1.3, False)]
)
def test_minus_an_error_is_made_large_without_end(power: int, sign: float, told: bool) -> None:
    """The outputs run away from targets around zero, and the loss is minus what that comes to."""
    diagnoser = loss_rows("", OF_1, VALUES, steps=1, values=[sign * 1.4], framework="keras")
    for step in range(1, 12):
        away = 2.0**step
        size = away**power + (1.0 if power == 2 else 0.0)
        diagnoser.append("out", plain(step, mean=away, std=0.1, min=away - 1.0, max=away + 1.0, count=32))
        diagnoser.append("loss", plain(step, mean=sign * size, std=0.0, count=1))
        diagnoser.append("loss:target", plain(step, **ROWS, count=32))
    assert said(diagnoser) == ([("wrong_sign", "critical")] if told else [])


def by_hand(values: list[float], **facts: Any) -> Diagnoser:
    """A loss of one's own, of which only its values and its graph are known."""
    diagnoser = Diagnoser()
    diagnoser.add(LayerInfo("loss", 0, "Loss", "float32", facts={"function": "", "framework": "torch", **facts}))
    for step, value in enumerate(values):
        diagnoser.append("loss", plain(step, count=1, mean=value, std=0.0, min=value, max=value))
    return diagnoser


def test_a_difference_by_hand_that_broadcasts() -> None:
    (finding,) = found(by_hand([2.0], broadcast=[[32], [32, 32]]))
    assert (finding.layer, finding.cause_name, finding.severity) == ("loss", "broadcast_shapes", "critical")
    assert "predictions of shape (32,) and targets of shape (n, 1) broadcast to (32, 32)" in finding.message
    assert said(by_hand([2.0], broadcast=[])) == []


def test_a_likelihood_that_is_made_small() -> None:
    assert said(by_hand([-1.1], turned="log-probability")) == [("wrong_sign", "serious")]
    assert said(by_hand([-1.1, -1.5, -2.0, -2.6, -3.3], turned="log-probability")) == [("wrong_sign", "critical")]
    assert said(by_hand([-1.1, -1.5, -2.0, -2.6, -3.3])) == []


@pytest.mark.parametrize(("function", "sign", "told"), [
    ("cross_entropy", -1.0, [("wrong_sign", "critical")]), ("cross_entropy", 1.0, []),
    ("binary_cross_entropy_with_logits", -1.0, []),  # as a generator has it
])  # fmt: skip
def test_a_loss_with_a_minus_sign(function: str, sign: float, told: Any) -> None:
    values = [1.1, 1.3, 1.2, 1.5, 1.9, 2.2]
    diagnoser = by_hand([sign * value for value in values], terms=1)
    part = {"function": function, "spelled": function, "part": True}
    diagnoser.add(LayerInfo(f"loss:{function}", 1, "Loss", "float32", facts=part))
    for step, value in enumerate(values):
        diagnoser.append(f"loss:{function}", plain(step, count=1, mean=value, std=0.0, min=value, max=value))
    assert said(diagnoser) == told
