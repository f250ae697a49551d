"""Losses and targets as rows: what they hold, what is known of them, what is refused; none of it ends a training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fastact
from fastact.monitor import batches, supervision

CLASSES = np.array([0, 2, 1, 2])
LOGITS = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-1.0, 0.5, 0.0], [4.0, 0.0, 1.0]], np.float32)
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def test_a_loss_with_all_that_belongs_to_it_has_four_rows() -> None:
    with fastact.ActivationMonitor() as monitor:
        monitor.record_loss(1.5, predictions=LOGITS, targets=CLASSES, function="CrossEntropyLoss")
        monitor.step()
    rows = {name: layer.rows[0] for name, layer in monitor.history.items()}
    assert list(rows) == ["loss:prediction", "loss:target", "loss", "loss:baseline"]
    assert rows["loss"]["mean"] == 1.5
    assert (rows["loss:prediction"]["neurons"], rows["loss:prediction"]["saturated"]) == (3, 4)
    assert (rows["loss:target"]["min"], rows["loss:target"]["max"]) == (0.0, 2.0)
    assert rows["loss:baseline"]["mean"] == pytest.approx(-(0.5 * np.log(0.25) + 0.5 * np.log(0.5)))
    info = monitor.history["loss"].info
    assert (info.layer_type, info.source) == ("Loss", "loss:prediction")
    assert info.facts["function"] == "cross_entropy"
    assert info.facts["prediction"]["units"] == 3


@pytest.mark.parametrize(
    ("x", "sums", "exp_sums"),
    [
        (LOGITS, False, False),
        (SOFTMAX, True, False),
        (np.log(SOFTMAX), False, True),
        (torch.from_numpy(SOFTMAX).bfloat16(), True, False),
    ],
)
def test_predictions_that_are_probabilities_are_known(x: object, sums: bool, exp_sums: bool) -> None:
    facts = batches.facts_of_predictions(x)
    assert (facts["sums_to_one"], facts["exp_sums_to_one"]) == (sums, exp_sums)


def test_classes_may_be_on_another_axis() -> None:
    facts = batches.facts_of_predictions(np.moveaxis(np.broadcast_to(SOFTMAX, (2, 4, 3)), -1, 1), axis=1)
    assert (facts["units"], facts["sums_to_one"]) == (3, True)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (CLASSES, {"shape": [4], "dtype": "int64", "whole": True, "distinct": [0.0, 1.0, 2.0]}),
        (np.eye(3, dtype=np.float32), {"whole": True, "sums_to_one": True, "one_hot": True}),
        (np.full((4, 2), 0.5), {"whole": False, "sums_to_one": True, "one_hot": False, "distinct": [0.5]}),
        (np.eye(3) - 1.0, {"sums_to_one": False, "one_hot": False}),
        (np.linspace(0.0, 1.0, 40), {"whole": False}),
        (torch.tensor([[0.0], [1.0]]), {"shape": [2, 1], "dtype": "float32", "distinct": [0.0, 1.0]}),
        (np.array([np.nan, 1.0]), {"whole": True, "distinct": [1.0]}),
        (np.float64(3.0), {"shape": [], "distinct": [3.0]}),
    ],
)
def test_what_targets_show_at_the_first_batch(targets: object, expected: dict[str, Any]) -> None:
    facts = batches.facts_of_targets(targets)
    assert {name: facts[name] for name in expected} == expected
    assert len(facts.get("distinct", ())) <= 16


def test_a_summed_loss_is_compared_with_a_summed_constant_answer() -> None:
    with fastact.ActivationMonitor() as monitor:
        for name, targets in {"classes": CLASSES, "one_hot": np.eye(3)[CLASSES]}.items():
            options = {"function": "cross_entropy", "name": name, "targets": targets}
            monitor.record_loss(1.0, **options)
            monitor.record_loss(4.0, **options | {"name": name + "_sum"}, facts={"reduction": "sum"})
        monitor.step()
    for name in ("classes", "one_hot"):
        one, whole = (monitor.history[f"{name}{end}:baseline"]["mean"][0] for end in ("", "_sum"))
        assert whole == pytest.approx(4 * one)


def test_a_weighted_loss_has_no_known_constant_answer() -> None:
    with fastact.ActivationMonitor() as monitor:
        monitor.record_loss(1.0, targets=CLASSES, function="cross_entropy", facts={"weighted": True})
        monitor.step()
    assert list(monitor.history) == ["loss:target", "loss"]


def test_the_constant_answer_is_that_of_all_batches_so_far() -> None:
    with fastact.ActivationMonitor() as monitor:
        for targets in (np.zeros(10), np.ones(10)):
            monitor.record_loss(1.0, targets=targets, function="mse_loss")
            monitor.step()
    assert monitor.history["loss:baseline"]["mean"].tolist() == [0.0, 0.25]


def test_only_the_targets_of_the_first_batches_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_BATCHES", 3)
    with fastact.ActivationMonitor() as monitor:
        for step in range(6):
            monitor.record_loss(1.0, targets=np.full(4, float(step)), function="mse_loss")
            monitor.step()
        assert not monitor._pools["loss"]._parts
    assert monitor.history["loss:baseline"]["mean"][-1] == monitor.history["loss:baseline"]["mean"][2] > 0.0


def test_predictions_that_a_layer_has_recorded_are_not_swept_again() -> None:
    with fastact.ActivationMonitor() as monitor:
        monitor.record("fc", LOGITS, axis=-1, layer_type="Linear")
        monitor.record_loss(1.0, predictions=LOGITS, source="fc", function="cross_entropy")
        monitor.step()
    assert list(monitor.history) == ["fc", "loss"]
    assert (monitor.history["loss"].info.source, monitor.history["loss"].info.facts["prediction"]["units"]) == ("fc", 3)


def test_a_loss_in_evaluation_has_rows_of_its_own() -> None:
    with fastact.ActivationMonitor() as monitor:
        for training in (True, False):
            monitor.record_loss(1.0, targets=CLASSES, function="cross_entropy", training=training)
        monitor.step()
    ends = ["loss:target", "loss", "loss:baseline"]
    assert list(monitor.history) == ends + [end + ":eval" for end in ends]
    assert {monitor.history[end + ":eval"].info.mode for end in ends} == {"evaluation"}
    assert monitor.history["loss:eval"].info.facts["function"] == "cross_entropy"


def test_facts_survive_the_log(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path) as monitor:
        monitor.record_loss(1.0, predictions=LOGITS, targets=CLASSES, function="cross_entropy")
        monitor.step()
    kept = {layer.name: layer.facts for layer in fastact.open_log(tmp_path).layers}
    assert kept == {name: layer.info.facts for name, layer in monitor.history.items()}
    assert kept["loss"]["prediction"]["shape"] == [4, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": "1.0"}, "value: "),
        ({"value": None}, "value: "),
        ({"targets": ["a"]}, "targets: "),
        ({"predictions": "x"}, "predictions: "),
        ({"function": 3}, "function: got int"),
        ({"name": 3}, "name: got int"),
        ({"source": 3, "predictions": LOGITS}, "source: got int"),
    ],
)
def test_what_cannot_be_recorded_is_refused_by_its_name(options: dict[str, Any], message: str) -> None:
    with fastact.ActivationMonitor() as monitor:
        with pytest.raises((fastact.ArgumentTypeError, fastact.ArgumentValueError)) as caught:
            monitor.record_loss(**{"value": 1.0} | options)
        assert str(caught.value).startswith(message)


def test_nothing_is_recorded_between_recorded_steps_and_after_the_end() -> None:
    monitor = fastact.ActivationMonitor(every=2)
    for _ in range(4):
        monitor.record_loss(1.0, targets=CLASSES)
        monitor.step()
    monitor.close()
    assert len(monitor.history["loss"]) == len(monitor.history["loss:target"]) == 2
    with pytest.raises(fastact.FastactError, match="closed"):
        monitor.record_loss(1.0)
    with pytest.raises(fastact.FastactError, match="closed"):
        monitor.record_targets(CLASSES)


def test_a_tensor_that_requires_grad_is_read_and_a_vector_of_losses_has_its_mean() -> None:
    value = torch.tensor([1.0, 3.0], requires_grad=True)
    with fastact.ActivationMonitor() as monitor:
        monitor.record_loss(value * 2.0)
        monitor.step()
    assert monitor.history["loss"]["mean"].tolist() == [4.0]


def test_of_a_single_sample_no_answer_is_constant() -> None:
    with fastact.ActivationMonitor() as monitor:
        for target in (1.0, 3.0, 3.0, 3.0):
            monitor.record_loss(1.0, targets=np.array([target]), function="mse_loss")
            monitor.step()
    assert monitor.history["loss:baseline"]["mean"].tolist() == [1.0, 1.0, 0.75]


def test_a_loss_of_one_s_own_that_compares_all_with_all_is_known_at_the_first_batch() -> None:
    random = np.random.default_rng(0)
    x, y = (random.standard_normal((16, 1)).astype(np.float32) for _ in range(2))
    for error, found in ((x - y.ravel(), ["broadcast_shapes"]), (x - y, [])):
        with fastact.ActivationMonitor() as monitor:
            monitor.record_loss(float(np.square(error).mean()), predictions=x, targets=y, facts={"framework": "keras"})
            monitor.step()
            facts = monitor.history["loss"].info.facts
            assert facts.get("broadcast") == ([[16, 1], [16, 16]] if found else None)
            assert [each.cause_name for each in monitor.diagnose().findings] == found
