"""No cause is told that the rows of its own layer, or of the input, speak against."""

import math
from typing import Any

from any_rows import fill, layers_and_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from fastact.diagnosis import layer_types
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.history import LayerInfo

#: Causes that need an update, and those that are there before the first one.
_OF_TRAINING = {"learning_rate", "weight_decay", "not_finite_update", "optimizer_epsilon", "data_changed"}
_OF_THE_START = {"initialisation", "uninitialised_memory"}


@settings(max_examples=100)
@given(layers_and_rows(), st.integers(1, 30))
def test_no_cause_contradicts_its_rows(given_rows: tuple[list[LayerInfo], list[list[Any]]], window_size: int) -> None:
    diagnoser = fill(*given_rows, window_size)
    for finding in diagnoser.diagnose().findings:
        assert not contradictions(finding, diagnoser), (finding, contradictions(finding, diagnoser))


def contradictions(finding: Finding, diagnoser: Diagnoser) -> list[str]:
    """What the rows say against a finding's cause."""
    history = diagnoser.history
    cause, layer = finding.cause_name, history[finding.layer]
    start = next(each.first_step for each in diagnoser.diagnose().layers if each.name == finding.layer)
    assert start is not None
    against = []
    at_start = finding.first_step <= start
    if cause in _OF_TRAINING and at_start and finding.condition != "eval_shift":  # that compares with training
        against.append("it was so in the first row")
    if cause in _OF_THE_START and not at_start:
        against.append("it began later")
    inputs = [each for each in history.values() if each.info.layer_type == layer_types.INPUT]
    same = [each for each in inputs if each.info.mode == layer.info.mode] or inputs
    if same and len(same[0]) and cause == "inputs_not_normalised":
        rows = same[0].rows
        scale = [math.hypot(mean, std) for mean, std in zip(rows["mean"].tolist(), rows["std"].tolist(), strict=True)]
        if all(0.1 < each < 2.0 for each in scale):
            against.append("the recorded input is normalised")
    if same and 0 < len(same[0]) == same[0].total and cause == "inputs_not_finite":
        rows = same[0].rows
        if not (rows["nans"] | rows["pos_infs"] | rows["neg_infs"]).any():
            against.append("the recorded input is finite")
    if cause == "recurrent_unbounded" and layer.info.layer_type not in layer_types.RECURRENT:
        against.append("it is not recurrent")
    return against
