"""No cause that is told contradicts the rows that it is told of, whatever the rows are."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from any_rows import fill, layers_and_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sick_networks import sick_networks

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.remedies import LOWER_RATE, NORMALISE_INPUTS
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.network import LayerView
from fastact.history import LayerInfo

Views = Mapping[str, LayerView]


def _input(finding: Finding, views: Views) -> Any:
    """The finite rows of the input in the finding's mode; None where it was not recorded, or none is finite."""
    for view in views.values():
        if view.info.layer_type == layer_types.INPUT and view.info.mode == views[finding.layer].info.mode:
            rows = view.rows[~np.isnan(view.rows["mean"])]
            return rows if len(rows) else None
    return None


def _middle(values: Any) -> float:
    return float(np.sort(values)[len(values) // 2])


def _broken(rows: Any) -> Any:
    return (rows["nans"] | rows["pos_infs"] | rows["neg_infs"]) != 0


def input_is_broken(finding: Finding, views: Views) -> bool:
    inputs = [view for view in views.values() if view.info.layer_type == layer_types.INPUT]
    return not inputs or any(bool(_broken(view.rows).any()) for view in inputs)


def no_finite_gradient_before(finding: Finding, views: Views) -> bool:
    gradients = [view.rows for view in views.values() if view.info.layer_type == layer_types.GRADIENT]
    before = [rows[rows["step"] < finding.first_step] for rows in gradients]
    known = [rows for rows in before if len(rows)]
    return not known or any(bool(_broken(rows).any()) for rows in known)


def may_have_weights(finding: Finding, views: Views) -> bool:
    kind = views[finding.layer].info.layer_type
    without = layer_types.is_activation(kind) or layer_types.is_passing(kind) or kind in layer_types.PROBABILITIES
    return not without


def after_an_update(finding: Finding, views: Views) -> bool:
    return finding.first_step > min(view.start for view in views.values())


def from_the_first_rows(finding: Finding, views: Views) -> bool:
    view = views[finding.layer]
    return finding.first_step <= view.start + 5 * max(int(np.diff(view.rows["step"]).max(initial=1)), 1)


def input_is_not_normalised(finding: Finding, views: Views) -> bool:
    rows = _input(finding, views)
    return rows is None or not 0.06 < _middle(np.hypot(rows["mean"], rows["std"])) < 2.9


def input_is_equal(finding: Finding, views: Views) -> bool:
    rows = _input(finding, views)
    if rows is None:
        return True
    spread = np.where(rows["neurons"] > 0, rows["within_std"], rows["std"])
    return not bool((spread > 1e-3 * (np.abs(rows["mean"]) + rows["std"])).all())


def input_is_zero(finding: Finding, views: Views) -> bool:
    rows = _input(finding, views)
    return rows is None or bool((rows["zeros"] >= rows["count"]).any())


def input_changes(finding: Finding, views: Views) -> bool:
    """Whether the input is not on one scale; in evaluation it may be what is on another one."""
    rows = _input(finding, views)
    if rows is None or finding.condition == "eval_shift" or finding.first_step <= int(rows["step"][0]):
        return True  # what it was before has left the window
    with np.errstate(all="ignore"):
        scale = np.hypot(rows["mean"], rows["std"])
        way = float(rows["mean"].max() - rows["mean"].min())
        return bool(scale.max() / scale.min() > 1.5) or not way <= _middle(rows["std"])


def a_normalisation_is_there(finding: Finding, views: Views) -> bool:
    return any(layer_types.is_norm(view.info.layer_type) for view in views.values())


def is_recurrent(finding: Finding, views: Views) -> bool:
    return layer_types.is_recurrent(views[finding.layer].info.layer_type)


def half_precision(finding: Finding, views: Views) -> bool:
    return any(view.info.dtype in ("float16", "bfloat16") for view in views.values())


#: What the rows must not contradict, by the cause's name.
HOLDS: Final[Mapping[str, tuple[Callable[[Finding, Views], bool], ...]]] = {
    "activation_slope": (from_the_first_rows,),
    "data_changed": (input_changes,),
    "depth": (from_the_first_rows,),
    "initialisation": (from_the_first_rows,),
    "inputs_equal": (input_is_equal,),
    "inputs_not_finite": (input_is_broken,),
    "inputs_not_normalised": (input_is_not_normalised,),
    "inputs_zero": (input_is_zero,),
    "learning_rate": (after_an_update,),
    "loss_scale": (half_precision,),
    "not_finite_update": (after_an_update, no_finite_gradient_before),
    "optimizer_epsilon": (after_an_update,),
    "recurrent_unbounded": (is_recurrent,),
    "running_statistics": (a_normalisation_is_there,),
    "sources_in_turns": (input_changes,),
    "uninitialised_memory": (from_the_first_rows,),
    "weight_decay": (after_an_update,),
    "weights_replaced": (after_an_update,),
    "weights_zero": (may_have_weights,),
}

#: What the rows must not contradict where a remedy is among the first three.
REMEDIES: Final[Mapping[str, Callable[[Finding, Views], bool]]] = {
    LOWER_RATE: after_an_update,
    NORMALISE_INPUTS: input_is_not_normalised,
    "use an activation of the ReLU family": lambda finding, views: (
        not any(view.info.layer_type in layer_types.RELU_FAMILY for view in views.values())
    ),
}


def check(diagnoser: Diagnoser, *, remedies: bool = True) -> None:
    views = diagnoser.views()
    diagnosis = diagnoser.diagnose()
    culprit = None
    for finding in diagnosis.findings:
        said = finding.layer, finding.condition, finding.first_step, finding.cause_name, finding.because
        for holds in HOLDS.get(finding.cause_name, ()):
            assert holds(finding, views), (holds.__name__, *said)
        for remedy in finding.remedies[:3] if remedies and finding.cause_name else ():
            assert remedy not in REMEDIES or REMEDIES[remedy](finding, views), (remedy, *said)
        if finding.confidence == "unknown":
            assert finding.cause_name == "", said
        if finding.consequence_of is None:
            culprit = finding
        assert culprit is not None
        assert culprit.first_step <= finding.first_step, said


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None, derandomize=True)
@given(sick_networks())
def test_no_cause_contradicts_the_rows_of_a_sick_network(diagnoser: Diagnoser) -> None:
    check(diagnoser)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(layers_and_rows(), st.integers(5, 40))
def test_no_cause_contradicts_any_rows(
    given_rows: tuple[list[LayerInfo], list[list[tuple[Any, ...]]]], window_size: int
) -> None:
    check(fill(*given_rows, window_size), remedies=False)
