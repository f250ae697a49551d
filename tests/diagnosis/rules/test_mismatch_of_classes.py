"""Classes that batches have too few of, in turns or alone."""

from typing import Any

import numpy as np
import pytest
from mismatch import BINARY, CLASSES, OF_1, OF_3, said
from synthetic import loss_rows, plain

import fastact
from fastact.history import LayerInfo


def test_one_class_alone_is_found_after_enough_batches() -> None:
    one = {**CLASSES, "distinct": [2.0], "rows": {"min": 2.0, "max": 2.0, "mean": 2.0, "std": 0.0}}
    assert said(loss_rows("cross_entropy", OF_3, one, steps=19)) == []
    assert said(loss_rows("cross_entropy", OF_3, one, steps=20)) == [("constant_labels", "serious")]
    yes = {**BINARY, "distinct": [1.0], "rows": {"min": 1.0, "mean": 1.0, "std": 0.0}}
    assert said(loss_rows("bce_with_logits", OF_1, yes, steps=20)) == [("constant_labels", "serious")]
    critic = loss_rows("bce_with_logits", OF_1, yes, steps=20)
    critic.add(LayerInfo("loss:2", 9, "Loss"))  # of what is made up
    critic.append("loss:2", plain(0, count=1))
    assert said(critic) == []
    # The first of its candidates is the one that is looked for, by the product of two towers: no layer's output.
    assert said(loss_rows("cross_entropy", OF_3, one, ("", {}), steps=30)) == []


def test_batches_of_one_class_here_and_there_are_those_of_sorted_data() -> None:
    def batches(share: float, size: int = 32) -> list[tuple[str, str]]:
        diagnoser = loss_rows("cross_entropy", OF_3, CLASSES, steps=1)
        for step in range(1, 30):
            one = float(3 * step // 30)
            alike = {"min": one, "max": one, "mean": one, "std": 0.0} if step % 10 < 10 * share else {}
            diagnoser.append("loss:target", plain(step, **{"min": 0.0, "max": 2.0, **alike, "count": size}))
            for name in ("out", "loss"):
                diagnoser.append(name, plain(step))
        return said(diagnoser)

    assert batches(0.5) == [("sorted_by_class", "serious")]
    assert batches(0.1) == []
    assert batches(0.5, size=2) == []  # of two samples they often are


@pytest.mark.parametrize(("kinds", "odd", "told"), [(3, False, ["sorted_by_class"]), (2, False, []), (3, True, [])])
@pytest.mark.parametrize("columns", [True, False])
def test_classes_that_take_turns_batch_by_batch_are_those_of_sorted_data(
    kinds: int, odd: bool, told: list[str], columns: bool
) -> None:
    with fastact.ActivationMonitor() as monitor:
        for step in range(24):
            classes = np.full(8, step % kinds)
            classes[0] = (step + odd) % kinds
            logits = np.random.default_rng(step).normal(size=(8, 3))
            targets = np.eye(3)[classes] if columns else classes
            monitor.record_loss(1.0, predictions=logits, targets=targets, function="cross_entropy")
            monitor.step()
        assert [finding.cause_name for finding in monitor.diagnose().findings] == told


@pytest.mark.parametrize(
    ("share", "level", "known", "told"),
    [
        (0.99, 1.1, {}, [("unbalanced_labels", "warning")]),
        (0.99, 0.3, {}, []),  # the rare ones are told
        (0.9, 1.1, {}, []),
        (0.99, 1.1, {"weighted": True}, []),
    ],
)
def test_a_class_that_is_too_rare_to_be_learned(share: float, level: float, known: Any, told: Any) -> None:
    target = {**BINARY, "rows": {"mean": share, "min": 0.0, "max": 1.0}}
    given = {"values": [0.06 * level] * 30, "constant": 0.06, "known": known}
    assert said(loss_rows("bce_with_logits", OF_1, target, steps=30, **given)) == told
    assert said(loss_rows("bce_with_logits", OF_1, target, steps=29, **given)) == []
    alike = {**target, "rows": {"mean": share, "min": share, "max": share}}  # smoothed ones, as a critic has them
    assert said(loss_rows("bce_with_logits", OF_1, alike, steps=30, **given)) == []


@pytest.mark.parametrize(("steps", "told"), [(40, [("same_batch", "warning")]), (1, []), (None, [])])
def test_an_epoch_of_batches_that_are_all_the_same(steps: int | None, told: Any) -> None:
    known = {} if steps is None else {"steps": steps}
    diagnoser = loss_rows("cross_entropy", OF_3, CLASSES, steps=12, framework="keras", known=known)
    diagnoser.add(LayerInfo("input", 9, "Input", "float32"))
    for step in range(12):
        diagnoser.append("input", plain(step, mean=0.1, std=1.0))
    assert said(diagnoser) == told
