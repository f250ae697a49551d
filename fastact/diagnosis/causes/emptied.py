"""What holds nothing any more, though it did: data that became zero, features of which hardly any fires."""

import math
from typing import Any, Final, NamedTuple

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import changes, dead_neurons
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.remedies import LOWER_RATE, SAME_PREPROCESSING
from fastact.diagnosis.evidence import baselines, facts
from fastact.diagnosis.evidence.data_shift import input_moved
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.diagnosis.row_conditions import Cells, Holds, Row, Streak
from fastact.fields import COLUMN
from fastact.text import number, percent

_COUNT, _ZEROS, _NEURONS = COLUMN["count"], COLUMN["zeros"], COLUMN["neurons"]

#: Neurons. Sparse codes have more for each sample: 20 and more in sparse autoencoders. Chosen.
_FEW: Final = 3.0
#: Share of the differences between elements that lay between samples in the row before these were all one.
_DIFFERED: Final = 0.01
#: Factor. What is before them keeps its size from one row to the next within it.
_STEADY: Final = 3.0
#: By so many times must a layer have become sparser; and one that begins as sparse is not judged. Chosen.
_PART: Final = 10


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
    sizes = [changes.change(view, run.step) for view in network.layers[: layer.place]]
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


def hardly_fires(first: Row, least: int) -> Holds | None:
    """Whether in a row hardly any neuron fires for a sample; None where few do in the first row, or neurons are few."""
    active, count, neurons = first[_COUNT] - first[_ZEROS], first[_COUNT], first[_NEURONS]
    if neurons < least or count < neurons or active * _PART < count:
        return None
    limit = min(_FEW, active * neurons / count / _PART)

    def holds(cells: Cells) -> Any:
        return (1.0 * cells[_NEURONS]) * (cells[_COUNT] - cells[_ZEROS]) < limit * cells[_COUNT]

    return holds


def too_sparse(layer: LayerView, network: Network, window: int, recent: int) -> Finding | None:
    """The finding for features of which hardly any fires for a sample, row after row, as many once did.

    In a convolution a neuron has places, most of which may be empty; what has learned has no need of more.
    """
    streak = layer.streaks.get("nothing_fires")
    if (
        streak is None
        or streak.rows < window
        or layer.info.mode
        or dead_neurons.units(layer, network) != "neurons"
        or baselines.has_learned(network)
    ):
        return None
    rows = layer.during(streak)[-recent:]
    neurons, count = int(rows[-1]["neurons"]), float(rows["count"].sum(dtype=float))
    share = 1.0 - float(rows["zeros"].sum(dtype=float)) / max(count, 1.0)
    first = 1.0 - float(layer.first[_ZEROS]) / max(float(layer.first[_COUNT]), 1.0)
    evidence = Evidence(
        active_ratio=share, active_ratio_at_first=first, active_for_a_sample=share * neurons, neurons=neurons,
    )  # fmt: skip
    message = (
        f"{layer.name} has been partly dead since step {streak.step}: {number(share * neurons)} of its {neurons:,} "
        f"neurons fire for a sample on average, where {number(first * neurons)} did at first."
    )
    zeros = f"{percent(1.0 - share)} of its outputs are zero, {percent(1.0 - first)} were at first"
    penalty = Cause(
        "sparsity_penalty",
        "The penalty on its outputs outweighs the rest of the loss: for most samples nothing is put out.",
        (dead_neurons.LESS_SPARSE, LOWER_RATE),
        (zeros, "each neuron still fires for a few samples"),
    )
    rate = Cause(
        "learning_rate", "An update that was too large moved weights or biases below zero.", (LOWER_RATE,), (zeros,),
        facts.before_any_update(layer, streak.step).refuted_by,
    )  # fmt: skip
    told = best([penalty, rate])
    return told.finding(layer.info.name, "dead", "serious", streak.step, evidence, message)
