"""Sparse features of which hardly any fires any more, though many did."""

from typing import Any, Final

from fastact.diagnosis.causes import dead_activation, dead_neurons
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.remedies import LOWER_RATE
from fastact.diagnosis.evidence import baselines, facts
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cells, Holds, Row
from fastact.fields import COLUMN
from fastact.text import number, percent

_COUNT, _ZEROS, _NEURONS = COLUMN["count"], COLUMN["zeros"], COLUMN["neurons"]

#: Neurons. Sparse codes have more for each sample: 20 and more in sparse autoencoders. Chosen.
_FEW: Final = 3.0
#: By so many times must a layer have become sparser; and one that begins as sparse is not judged. Chosen.
_PART: Final = 10


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
        (dead_activation.LESS_SPARSE, LOWER_RATE),
        (zeros, "each neuron still fires for a few samples"),
    )
    rate = Cause(
        "learning_rate", "An update that was too large moved weights or biases below zero.", (LOWER_RATE,), (zeros,),
        facts.before_any_update(layer, streak.step).refuted_by,
    )  # fmt: skip
    told = best([penalty, rate])
    return told.finding(layer.info.name, "dead", "serious", streak.step, evidence, message)
