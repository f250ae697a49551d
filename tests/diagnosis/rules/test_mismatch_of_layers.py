"""Layers that are all linear, and what a mismatch explains of others."""

import pytest
from mismatch import BINARY, CLASSES, OF_1, OF_3, ONE, PIXELS, said
from synthetic import loss_rows

from fastact.diagnosis.finding import Evidence, Finding, Severity
from fastact.diagnosis.rule import Circumstances
from fastact.diagnosis.rules.output_mismatch import OutputMismatch

CHAIN = {"input": ("Input", ""), "0": ("Linear", "input"), "1": ("Dropout", "0"), "2": ("Linear", "1")}


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (CHAIN, True),
        ({**CHAIN, "1": ("ReLU", "0")}, False),
        ({**CHAIN, "1": ("BatchNorm1d", "0")}, True),
        ({**CHAIN, "1": ("LayerNorm", "0")}, False),
        ({**CHAIN, "2": ("Linear", "")}, False),  # what lies between was not seen
        ({**CHAIN, "side": ("GELU", "0")}, False),  # an activation somewhere: some of it is linear on purpose
        ({"input": ("Input", "")}, False),  # one layer
    ],
)
def test_linear_layers_in_a_row_are_noted_and_found_where_the_loss_stands_still(
    layers: dict[str, tuple[str, str]], told: bool
) -> None:
    order = dict(layers)
    if "2" in order:
        order["2"] = order.pop("2")  # the last one feeds the output
    flat, falling = [0.7] * 80, [0.7 * 0.95**step for step in range(80)]
    for values, severe in ((flat, True), (falling, False)):
        rows = loss_rows("cross_entropy", OF_3, CLASSES, values=values, constant=0.8, steps=80, before=order)
        assert said(rows) == ([("no_nonlinearity", "serious")] if told and severe else [])
        notes = [note for note in rows.diagnose().notes if note.condition == "output_mismatch"]
        assert len(notes) == int(told and not severe)


def test_linear_layers_beside_an_activation_that_never_ran_are_found_though_the_loss_falls() -> None:
    falling = [0.7 * 0.95**step for step in range(80)]
    before = {"0": ("Linear", ""), "2": ("Linear", "0")}
    for name, reason, told in (
        ("act", "its hook never ran: it was not called", True),
        ("2", "its hook never ran: it was not called", False),  # it has rows
        ("act", "its output holds no tensor", False),
    ):
        rows = loss_rows("cross_entropy", OF_3, CLASSES, values=falling, constant=0.8, steps=80, before=before)
        rows.unseen = {name: reason}
        assert said(rows) == [("no_nonlinearity", "warning")] * told


def test_a_linear_autoencoder_is_linear_on_purpose() -> None:
    wide = {"shape": [32, 64]}
    rows = loss_rows("mse_loss", wide, {**PIXELS}, before=CHAIN, constant=0.1, values=[0.09] * 80, steps=80)
    assert rows.diagnose().findings == ()
    assert rows.diagnose().notes == ()


def test_what_follows_from_a_softmax_of_one_is_its_consequence() -> None:
    diagnosis = loss_rows("BCELoss", OF_1, BINARY, ONE, steps=30, values=[30.0] * 30, constant=0.69).diagnose()
    led, *rest = diagnosis.findings
    assert (led.condition, led.consequence_of) == ("output_mismatch", None)
    assert {finding.condition for finding in rest} >= {"constant"}
    assert {finding.consequence_of for finding in rest} == {"out"}


@pytest.mark.parametrize(("cause", "effect", "layer", "step", "explained"), [
    ("double_softmax", "saturated", "act", 7, False),  # which has a reason of its own
    ("target_out_of_range", "saturated", "act", 7, True),
    ("target_out_of_range", "saturated", "act", 0, False),  # before any update
    ("double_softmax", "collapsed", "out", 0, False),
    ("double_softmax", "collapsed", "out", 7, True),
    ("relu_output", "dead", "out", 0, True),
    ("softmax_over_one_unit", "vanishing", "act:grad", 0, True),
])  # fmt: skip
def test_a_mismatch_explains_what_it_can_have_brought_about(
    cause: str, effect: str, layer: str, step: int, explained: bool
) -> None:
    told = Finding("out", "output_mismatch", "critical", 0, Evidence(), "", "", (), None, cause)
    other = Finding(layer, effect, "serious", step, Evidence(), "", "", ())
    around = Circumstances({"act": 0, "out": 1}, {}, {}, 5.0, 20.0, {})
    assert OutputMismatch.explains[effect](told, other, around) == explained


@pytest.mark.parametrize(("severity", "cause", "explained"), [
    ("serious", "constant_answer", True), ("serious", "not_in_optimiser", False), ("critical", "no_gradient", True),
])  # fmt: skip
def test_what_is_not_trained_at_all_is_not_for_its_output(severity: Severity, cause: str, explained: bool) -> None:
    told = Finding("out", "output_mismatch", severity, 0, Evidence(), "", "", (), None, "double_softmax")
    other = Finding("loss", "not_learning", "critical", 0, Evidence(), "", "", (), None, cause)
    around = Circumstances({"out": 0, "loss": 1}, {}, {}, 5.0, 20.0, {})
    assert OutputMismatch.explains["not_learning"](told, other, around) == explained
