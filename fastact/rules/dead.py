"""Dead neurons: outputs that are zero for every sample, so that no gradient moves them any more."""

from typing import Any, Final

from fastact.history import LayerInfo
from fastact.rules import experts, kinds
from fastact.rules.base import (
    COLUMN,
    Cells,
    Chain,
    Condition,
    Evidence,
    Finding,
    LayerView,
    Network,
    Outcome,
    Row,
    Severity,
    Streak,
    Track,
    percent,
)
from fastact.thresholds import Thresholds

__all__ = ["Dead"]

_COUNT, _ZEROS, _NEURONS, _DEAD = COLUMN["count"], COLUMN["zeros"], COLUMN["neurons"], COLUMN["dead_neurons"]


class Dead:
    """Neurons that were silent in each of the last `dead_window` rows.

    Formula:
        ratio = dead_neurons / neurons in the last row. Found when ratio >= dead_warning (5%), serious from
        dead_serious (20%), critical above dead_critical (50%), after dead_samples (300) samples of each neuron; in the
        lowest band it has to last for min_rows rows beyond dead_window. The first step is that since which the share
        has been at least serious, or at least a warning where it is no more than that.
        Without per-neuron rows only a layer whose elements are all zero in each of min_rows rows is dead.
        An expert of a mixture is dead when it gets no tokens, as `rules.experts.starved` says.

    A ReLU layer with half of its outputs zero is healthy: other samples wake other neurons.

    Source:
        The bands are those of fastact's public contract. That a neuron active for under 1% of the samples is dead
        is SageMaker Debugger's DeadRelu; that 300 samples are needed to say so is the rule of three (`Thresholds`).
    """

    condition = "dead"

    def applies(self, info: LayerInfo) -> bool:
        """Every kind, but for those that are zero by design (a softmax under a mask)."""
        return info.kind not in kinds.PROBABILITIES

    def needs(self, thresholds: Thresholds) -> int:
        """`min_rows`."""
        return thresholds.min_rows

    def tracks(self, info: LayerInfo, first: Row, thresholds: Thresholds) -> tuple[Chain, ...]:
        """Rows whose share of dead neurons reaches the lower two bands; or rows that are all zero."""
        fed = (Chain((experts.STARVED,)),) if experts.is_expert(info.name) else ()
        if not first[_NEURONS]:
            return (Chain((Track("zero", _is_zero),)), *fed)
        # Those that are dead in this row have been silent for as long as the row looks back.
        some = Track("dead", _reaches(thresholds.dead_warning), lookback=thresholds.dead_window)
        many = Track("seriously_dead", _reaches(thresholds.dead_serious), lookback=thresholds.dead_window)
        return (Chain((some, many)), *fed)

    def check(self, layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | Outcome:
        """The share of dead neurons now, if enough samples have been seen."""
        expert = experts.starved(layer, network, thresholds)
        if expert is not None:
            return expert
        if "zero" in layer.streaks:
            return self._all_zero(layer, layer.streaks["zero"], network, thresholds)
        warning = layer.streaks.get("dead")
        if warning is None:
            return Outcome.NOT_FOUND
        streak = layer.streaks.get("seriously_dead", warning)
        run = layer.during(streak)
        last = run[-1]
        neurons, dead = int(last["neurons"]), int(last["dead_neurons"])
        if neurons < 1:
            return Outcome.NOT_ENOUGH_DATA
        samples = float(run["count"].astype(float).sum()) / neurons
        ratio = min(dead / neurons, 1.0)
        severity: Severity = "warning" if streak is warning else "serious"
        if ratio > thresholds.dead_critical:
            severity = "critical"
        # Few neurons may sleep for a while: a share in the lowest band has to last.
        rows = thresholds.dead_window if severity == "warning" else 0
        if streak.rows < rows + thresholds.min_rows:
            return Outcome.NOT_ENOUGH_DATA
        if samples < thresholds.dead_samples and not (run["zeros"] >= run["count"]).all():
            return Outcome.NOT_ENOUGH_DATA
        state = "dead" if severity == "critical" else "partly dead"
        return Finding(
            layer=layer.info.name,
            condition=self.condition,
            severity=severity,
            first_step=streak.step,
            evidence=Evidence(
                dead_ratio=ratio,
                dead_neurons=dead,
                neurons=neurons,
                dead_ratio_at_window_start=min(float(run[0]["dead_neurons"]) / neurons, 1.0),
                first_step_of_warning=warning.step,
                samples=int(samples),
                zero_ratio=float(last["zeros"]) / max(float(last["count"]), 1.0),
            ),
            message=f"{layer.name} has been {state} since step {streak.step}: {dead:,} of its {neurons:,} "
            f"{_units(layer, network)} ({percent(ratio)}) never fire.",
            cause=_cause(layer, streak.step) + (_STILL_LEARNS if severity == "warning" else ""),
            remedies=_remedies(layer, network, streak.step),
        )

    def _all_zero(
        self, layer: LayerView, streak: Streak, network: Network, thresholds: Thresholds
    ) -> Finding | Outcome:
        if streak.rows < thresholds.min_rows:
            return Outcome.NOT_ENOUGH_DATA
        return Finding(
            layer=layer.info.name,
            condition=self.condition,
            severity="critical",
            first_step=streak.step,
            evidence=Evidence(dead_ratio=1.0, zero_ratio=1.0),
            message=f"{layer.name} has been dead since step {streak.step}: every output is zero.",
            cause=_cause(layer, streak.step),
            remedies=_remedies(layer, network, streak.step),
        )


def _is_zero(cells: Cells) -> Any:
    return (cells[_ZEROS] >= cells[_COUNT]) & (cells[_COUNT] > 0)


def _reaches(share: float) -> Condition:
    def reaches(cells: Cells) -> Any:
        return (1.0 * cells[_DEAD] >= share * cells[_NEURONS]) & (cells[_NEURONS] > 0)

    return reaches


def _units(layer: LayerView, network: Network) -> str:
    """What the neurons are called: filters in a convolution, and in what takes a convolution's outputs one by one."""
    for kind in reversed(network.kinds[: layer.place + 1]):
        if not (kinds.is_activation(kind) or kinds.is_norm(kind) or kinds.is_passing(kind)):
            return "filters" if kinds.is_convolution(kind) else "neurons"
        if kind.startswith("Flatten"):
            break
    return "neurons"


_STILL_LEARNS: Final = " The other neurons go on learning: what is lost is width."


def _cause(layer: LayerView, step: int) -> str:
    if layer.info.kind and not kinds.is_activation(layer.info.kind):
        return "Its weights and biases are zero, or what it is fed is zero."
    if step <= layer.start:
        return (
            "It was so from the first recorded row: negative biases, a bad initialisation or data that is not "
            "normalised keeps its inputs below zero, where the gradient is zero too."
        )
    return (
        "It started during training: an update that was too large (a learning rate too high) pushed its inputs below "
        "zero for every sample, where the gradient is zero too."
    )


def _remedies(layer: LayerView, network: Network, step: int) -> tuple[str, ...]:
    remedies = [
        "use leaky ReLU, which keeps a gradient below zero",
        "use He initialisation: weights from N(0, sqrt(2/n_in)), biases zero",
        "use a lower learning rate",
    ]
    if not kinds.has_batch_norm(network.all_kinds):
        remedies.append("add batch normalisation before the activation")
    remedies.append("normalise the inputs to mean 0 and standard deviation 1")
    # What happened during training is a matter of the learning rate first.
    if step > layer.start:
        remedies.insert(0, remedies.pop(2))
    return tuple(remedies)
