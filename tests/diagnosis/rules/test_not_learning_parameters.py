"""Parameters that nothing moves, or that stay behind, and what optimisers tell of them."""

from typing import Any

import numpy as np
import pytest
from not_learning import FLAT, falling, findings, only
from supervised import LN10, Given, layer, loss, noisy, optimiser, parameter, seen
from synthetic import row


@pytest.mark.parametrize(
    ("update", "cause"), [(1e-7, "rate_too_small"), (0.02, "rate_too_large"), (5e-5, "constant_answer")]
)
def test_updates_say_sooner_and_why(update: float, cause: str) -> None:
    early = findings(loss(FLAT[:40]), parameter("fc.weight", update=update))
    assert [f.cause_name for f in early] == ([] if cause == "constant_answer" else [cause])
    finding = only(loss(FLAT), parameter("fc.weight", update=update))
    assert finding.cause_name == cause
    assert (finding.confidence == "likely") == (cause != "constant_answer")


def test_nearly_all_frozen() -> None:
    bias = parameter("0.bias", elements=10) | parameter(
        "0.weight", trainable=False, gradient=None, update=None, elements=640
    )
    finding = only(loss(FLAT[:30]), bias)
    assert (finding.cause_name, finding.confidence) == ("frozen_parameters", "likely")
    assert finding.because[0] == "only 2% of the weights are trainable"
    head = parameter("2.weight", elements=100) | parameter("0.weight", trainable=False, update=None, elements=640)
    assert findings(loss(FLAT[:30]), head) == []


@pytest.mark.parametrize(
    ("trainable", "elements", "told"),
    [(4, 400, []), (4, 4, [("frozen_parameters", "likely")]), (0, 0, [("frozen_parameters", "certain")])],
)
def test_without_rows_of_parameters_the_optimiser_tells_how_much_is_frozen(
    trainable: int, elements: int, told: list[tuple[str, str]]
) -> None:
    frozen: dict[str, Any] = {"frozen": ["1.alpha"], "frozen_tensors": 1, "frozen_elements": 320}
    holds = optimiser(rows=40, trainable=trainable, elements=elements, **frozen)
    assert [(each.cause_name, each.confidence) for each in findings(loss(FLAT[:40]), holds)] == told


@pytest.mark.parametrize("name", ["block.2", "experts.2"])
def test_an_expert_that_nobody_asks_for_is_not_cut_off(name: str) -> None:
    network = layer("0", [row(s) for s in range(10)]) | layer(name, [row(s) for s in range(10)])
    told = findings(network, parameter("0.weight"), optimiser(), unseen={f"{name}.weight:grad": "None"})
    assert any(f.cause_name == "no_gradient" for f in told) is ("experts" not in name)


def test_a_warm_up_is_waited_for() -> None:
    assert findings(loss(FLAT[:40]), parameter("fc.weight", update=1e-7, growth=10.0)) == []


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"update": 0.0}, "no_update"),
        ({"gradient": 0.0, "update": 0.0}, "zero_gradients"),
        ({"trainable": False, "gradient": None, "update": None}, "frozen_parameters"),
        ({"optimiser": False, "update": None}, "not_in_optimiser"),
    ],
)
def test_what_nothing_can_move_is_found_at_once(facts: dict[str, Any], cause: str) -> None:
    weights = parameter("0.weight", **facts) | parameter("2.weight", **facts)
    finding = only(loss(FLAT[:8]), weights)
    assert (finding.severity, finding.cause_name, finding.confidence) == ("critical", cause, "certain")
    assert findings(loss(FLAT[:4]), weights) == []
    assert findings(loss(noisy(np.full(40, 0.2))), weights) == []  # it has learned, and is done
    assert findings(loss(noisy(falling(40), 0.01), None), weights) == []  # something moves that was not recorded
    moving = parameter("0.weight") | parameter("2.weight", **facts)
    assert findings(loss(FLAT[:8]), moving) == []


def test_weights_that_have_gone_far_to_no_avail() -> None:
    """Labels that belong to other inputs: the loss falls to a constant answer's from above, and no further."""
    settles = loss(noisy(LN10 * (1.0 + 0.12 * np.exp(-np.arange(45) / 12.0)), 0.01), batch=80)

    def told(steps: int, update: float, given: Given = settles) -> list[tuple[str, str]]:
        far = {name: (info, rows[:steps]) for name, (info, rows) in given.items()}
        found = findings(far, parameter("fc.weight", rows=5, update=update), optimiser(rate=0.01, rows=steps))
        return [(f.cause_name, f.severity) for f in found]

    assert told(45, 3e-3) == [("constant_answer", "warning")]  # 45 steps of a thirtieth of a weight of 0.1
    assert told(28, 3e-3) == []
    assert told(45, 1e-3) == []
    # Sound networks stay on a plateau for 2000 samples, however far their weights go meanwhile.
    few = loss(noisy(LN10 * (1.0 + 0.03 * np.exp(-np.arange(45) / 12.0)), 0.01), batch=45)
    assert told(45, 3e-3, few) == []
    # What a recurrent layer is to remember it finds late.
    memory = layer("lstm", [row(step) for step in range(45)], layer_type="LSTM")
    assert told(45, 3e-3, settles | memory) == []


def test_weights_that_began_too_large() -> None:
    wide = parameter("fc/kernel", weight=5.0, gradient=0.0, update=0.0, shape=[64, 32])
    per_unit = {"count": 2048, "zeros": 0, "mean": 0.0, "std": 5.0, "min": -20.0, "max": 20.0, "neurons": 32}
    wide["fc/kernel"] = wide["fc/kernel"][0], [row(step, **per_unit) for step in range(10)]
    found = only(loss(noisy(np.full(120, 6.0 * LN10))), wide, parameter("out/kernel", update=1e-4))
    assert found.cause_name == "initialisation"
    assert found.because == ("the weights of fc/kernel began so large that they make 40 of 1, where 1 to 1.4 is usual",)


def test_what_was_never_seen_is_a_proof_too() -> None:
    finding = only(loss(FLAT[:8]), parameter("0.weight", gradient=None, update=None), unseen={"optimiser": "no step"})
    assert (finding.cause_name, finding.confidence) == ("no_update", "certain")
    unseen = {"0.weight:grad": "None in every step"}
    weight = parameter("0.weight", gradient=None, update=0.0)
    finding = only(loss(FLAT[:8]), weight, optimiser(trainable=1), unseen=unseen)
    assert (finding.cause_name, finding.confidence) == ("no_gradient", "certain")
    stopped = only(loss(FLAT[:8]), parameter("0.weight", update=0.0), optimiser(0.0, trainable=1))
    assert stopped.cause == "The learning rate is zero, so no parameter changes."


def test_without_a_loss_the_optimiser_tells() -> None:
    finding = only(parameter("0.weight", update=0.0), optimiser(trainable=1))
    assert (finding.layer, finding.severity, finding.cause_name) == ("optimiser", "critical", "no_update")
    assert findings(parameter("0.weight"), optimiser(trainable=1)) == []


def test_a_layer_left_behind_is_a_warning_and_a_head_on_features_a_note() -> None:
    network = layer("0", [row(s) for s in range(10)]) | layer("2", [row(s) for s in range(10)])
    adam = optimiser(missing=["2.weight"], missing_tensors=1)
    finding = only(network, parameter("0.weight"), adam)
    assert (finding.layer, finding.severity, finding.cause_name) == ("optimiser", "warning", "not_in_optimiser")
    assert finding.message == "Parameters that no optimiser holds have stayed as they were since step 0: 2.weight."
    diagnosis = seen(network, parameter("2.weight"), optimiser(missing=["0.weight"], missing_tensors=1)).diagnose()
    assert diagnosis.healthy
    assert [note.condition for note in diagnosis.notes] == ["not_learning"]
    head = network, parameter("2.weight"), optimiser(missing=["0.weight"], missing_tensors=1)
    assert findings(*head, loss(noisy(np.full(100, 0.5 * LN10)))) == []
    assert [f.severity for f in findings(*head, loss(noisy(np.full(100, 0.93 * LN10))))] == ["warning"]
    assert findings(*head, loss(noisy(np.full(99, 0.93 * LN10)))) == []
    cut = findings(network, parameter("0.weight"), optimiser(), unseen={"2.weight:grad": "None"})
    assert [(f.severity, f.cause_name) for f in cut] == [("warning", "no_gradient")]


def test_few_rows_of_parameters_are_enough_and_fewer_are_not() -> None:
    def causes(rows: int, **facts: Any) -> list[str]:
        return [f.cause_name for f in findings(loss(FLAT[:12]), parameter("0.weight", rows=rows, **facts))]

    assert (causes(1, gradient=0.0, update=0.0), causes(2, gradient=0.0, update=0.0)) == ([], ["zero_gradients"])
    assert (causes(2, update=0.0), causes(3, update=0.0)) == ([], ["no_update"])
    sampled = {"elements": 100_000, "sampled": 2048}  # an embedding whose few rows the sample may have missed
    assert causes(9, update=0.0, **sampled) == []
