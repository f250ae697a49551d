"""Data that became another: from another source, all zero, or one sample in place of a batch."""

import math
from typing import Final, NamedTuple

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.remedies import SAME_PREPROCESSING
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.data_shift import change, input_moved
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.diagnosis.row_conditions import Streak
from fastact.fields import COLUMN

_COUNT, _ZEROS, _NEURONS = COLUMN["count"], COLUMN["zeros"], COLUMN["neurons"]
#: Share of the differences between elements that lay between samples in the row before these were all one.
_DIFFERED: Final = 0.01
#: Factor. What is before them keeps its size from one row to the next within it.
_STEADY: Final = 3.0

CHECK_LOADER: Final = "check that the data loader returns different samples in a batch"


def other_data(network: Network, step: int) -> Cause:
    """Samples that are all the same since a step; where these are seen to differ, data that is another one since then.

    Args:
        network: all layers.
        step: since when a layer is sick.
    """
    said = input_moved(network, step)
    if facts.inputs_equal(network).refuted_by or not said:
        against = () if said else ("the recorded input is as before",)
        return data_changed()._replace(speaks_for=(said,) if said else (), refuted_by=against)
    says = "Since then all samples of a batch are the same, or nearly so."
    return Cause("inputs_equal", says, (CHECK_LOADER, SAME_PREPROCESSING), (said,))


def data_changed(*, proved: bool = False) -> Cause:
    """Other data since then; `proved` where that is the input itself."""
    return Cause(
        "data_changed",
        "The data changed at that step: another source, another part of it, or another preprocessing.",
        ("look at what changed in the data at that step", SAME_PREPROCESSING),
        ("the input itself changed",) if proved else (),
        (),
        proved,
    )


def blank(layer: LayerView, streak: Streak, network: Network) -> Finding | None:
    """The finding for data that has been all zero since a step; not for one of several inputs, such as a mask."""
    others = [view for view in network.layers if view.info.layer_type == layer_types.INPUT and view is not layer]
    before = layer.rows[: max(len(layer.rows) - streak.rows, 0)]
    now_and_then = bool((before["zeros"] >= before["count"]).any())
    if now_and_then or any(view.last[_ZEROS] < view.last[_COUNT] for view in others):
        return None
    message = f"{layer.name} has been constant since step {streak.step}: every value is zero, and was not before."
    cause = "The data is zero since then: what reads, masks or scales it gives nothing more."
    check = f"look at what the data loader returns from step {streak.step} on"
    said = (f"all values of the recorded input are zero since step {streak.step}",)
    verdict = best([Cause("inputs_zero", cause, (check, SAME_PREPROCESSING), said, proved=True)])
    evidence = Evidence(zero_ratio=1.0, rows=streak.rows, rms_first=row_rms(layer.first))
    return verdict.finding(layer.info.name, "constant", "critical", streak.step, evidence, message)


class Repeated(NamedTuple):
    """One sample in place of a batch: since when, and the layer that shows it."""

    step: int
    layer: LayerView


def repeated(network: Network, min_rows: int) -> Repeated | None:
    """Since when all samples of the one recorded input must have been the same, though its rows do not show it.

    A neuron of an input of several places has these among its samples, which differ where all samples are one. A layer
    that has fewer, such as one behind a pooling over the places, then has no differences left, from one row to the
    next, while nothing before it changes its size, as it would by weights that were spoilt, and what the input's own
    rows have in common left its past in that step.
    """
    return network.once(_repeated, min_rows)


def _repeated(network: Network, min_rows: int) -> Repeated | None:
    given = network.input
    if given is None or sum(kind == layer_types.INPUT for kind in network.layer_types) > 1:
        return None
    alike = [view for view in network.layers if (run := view.streaks.get("constant")) and run.step > view.start]
    layer = next((view for view in alike if _fewer(view, given)), None)
    if layer is None or alike[0] is not layer:
        return None
    run = layer.streaks["constant"]
    place = int(layer.rows["step"].searchsorted(run.step))
    before = layer.rows[place - 1] if 0 < place < len(layer.rows) else None
    if run.rows < min_rows or before is None or before["within_std"] < _DIFFERED * before["std"]:
        return None
    sizes = [change(view, run.step) for view in network.layers[: layer.place]]
    known = [size for size in sizes if not math.isnan(size)]
    steady = bool(known) and all(1.0 / _STEADY <= size <= _STEADY for size in known)
    return Repeated(run.step, layer) if steady and input_moved(network, run.step) else None


def _fewer(layer: LayerView, given: LayerView) -> bool:
    """Whether a neuron has fewer samples in a row of a layer than in one of the input, which has several places."""
    own, whole = layer.last, given.last
    if not (own[_NEURONS] and whole[_NEURONS]):
        return False
    return bool(own[_COUNT] * whole[_NEURONS] < whole[_COUNT] * own[_NEURONS] and own[COLUMN["std"]] > 0.0)


def one_sample(given: LayerView, network: Network, min_rows: int) -> Finding | None:
    """The finding for an input that has been one sample again and again since a step (`repeated`)."""
    known = repeated(network, min_rows)
    if known is None or given is not network.input:
        return None
    message = (
        f"{given.name} has been constant since step {known.step}: all samples of a batch are the same, as "
        f"{facts.named(known.layer)} tells none apart since then."
    )
    evidence = Evidence(
        within_std=float(known.layer.last[COLUMN["within_std"]]), std=float(known.layer.last[COLUMN["std"]])
    )
    told = best([same_samples(known, network)])
    return told.finding(given.info.name, "constant", "critical", known.step, evidence, message)


def same_samples(known: Repeated, network: Network) -> Cause:
    """Of `repeated`, as a cause."""
    check = f"look at what the data loader returns from step {known.step} on: its samples have to differ"
    name = facts.named(known.layer)
    said = (
        f"the samples of {name} differed, and are the same to the last digit since step {known.step}",
        "no layer before it changed its size in that step, as spoilt weights would have",
        input_moved(network, known.step),
    )
    return Cause("inputs_equal", "All samples of a batch are the same since then.", (check,), said, proved=True)
