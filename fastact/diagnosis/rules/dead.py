"""Dead neurons: outputs that are zero for every sample, so that no gradient moves them any more."""

from typing import Any, Final

import numpy as np

from fastact.diagnosis import experts, layer_types
from fastact.diagnosis.finding import Evidence, Finding, Severity
from fastact.diagnosis.remedies import LOWER_RATE, initialisation, normalisation
from fastact.diagnosis.rule import COLUMN, Cells, Chain, Condition, LayerView, Network, Outcome, Row, Streak, Track
from fastact.diagnosis.thresholds import Thresholds
from fastact.history import LayerInfo
from fastact.text import percent

__all__ = ["Dead"]

_COUNT, _ZEROS, _NEURONS = COLUMN["count"], COLUMN["zeros"], COLUMN["neurons"]
_SILENT, _DEAD = COLUMN["silent_neurons"], COLUMN["dead_neurons"]


class Dead:
    """Neurons that were silent in each of the last `dead_window` rows, or must have been in fewer that are enough.

    Formula:
        ratio = dead_neurons / neurons in the last row. Found when ratio >= dead_warning (5%), serious from
        dead_serious (20%), critical above dead_critical (50%), after dead_samples (300) samples of each neuron; in the
        lowest band it has to last for min_rows rows beyond dead_window. The first step is that since which the share
        has been at least serious, or at least a warning where it is no more than that.
        Where most neurons are silent (above dead_critical), fewer rows tell: of n neurons, of which s_i are silent in
        row i, at least n - sum (n - s_i) are silent in all of these rows, whichever they are. Taken over the fewest
        last rows that hold min_rows rows and dead_samples samples, a bound from dead_serious up is found at once.
        Without per-neuron rows only a layer whose elements are all zero in each of min_rows rows is dead.
        An expert of a mixture is dead when it gets no tokens, as `rules.experts.starved` says.

    A ReLU layer with half of its outputs zero is healthy: other samples wake other neurons.

    Source:
        The bands are those of fastact's public contract. That a neuron active for under 1% of the samples is dead
        is SageMaker Debugger's DeadRelu; that 300 samples are needed to say so is the rule of three (`Thresholds`).
    """

    condition = "dead"

    def applies(self, info: LayerInfo) -> bool:
        """Every type, but for those that are zero by design (a softmax under a mask)."""
        return info.layer_type not in layer_types.PROBABILITIES

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
        silent = Track("mostly_silent", _reaches(thresholds.dead_critical, _SILENT))
        return Chain((some, many)), Chain((silent,)), *fed

    def check(self, layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | Outcome:
        """The share of dead neurons now, if enough samples have been seen."""
        expert = experts.starved(layer, network, thresholds)
        if expert is not None:
            return expert
        if "zero" in layer.streaks:
            return self._all_zero(layer, layer.streaks["zero"], network, thresholds)
        serious, early = layer.streaks.get("seriously_dead"), layer.streaks.get("mostly_silent")
        if serious is None and early is not None:
            finding = self._surely_dead(layer, early, network, thresholds)
            if finding is not None:
                return finding
        warning = layer.streaks.get("dead")
        if warning is None:
            return Outcome.NOT_FOUND
        streak = serious or warning
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
        evidence = Evidence(
            dead_ratio=ratio,
            dead_neurons=dead,
            neurons=neurons,
            dead_ratio_at_window_start=min(float(run[0]["dead_neurons"]) / neurons, 1.0),
            first_step_of_warning=warning.step,
            samples=int(samples),
            zero_ratio=float(last["zeros"]) / max(float(last["count"]), 1.0),
        )
        units = _units(layer, network)
        some = f"{dead:,} of its {neurons:,} {units} ({percent(ratio)})"
        seen = f"none of its {units} ever fires" if ratio == 1.0 else f"{some} never fire"
        return self._finding(layer, network, streak.step, severity, seen, evidence)

    def _surely_dead(
        self, layer: LayerView, streak: Streak, network: Network, thresholds: Thresholds
    ) -> Finding | None:
        """What so many silent neurons in so few rows leave no doubt of, before `dead_window` rows have passed."""
        rows = layer.during(streak)[: -thresholds.dead_window - 1 : -1]  # the last one first
        neurons = int(rows[0]["neurons"])
        samples = np.cumsum(rows["count"].astype(float)) / neurons
        enough = samples >= thresholds.dead_samples
        enough[: thresholds.min_rows - 1] = False
        if not enough.any():
            return None
        count = int(enough.argmax()) + 1
        awake = float(np.maximum(neurons - rows["silent_neurons"][:count].astype(float), 0.0).sum())
        ratio = 1.0 - awake / neurons
        if ratio < thresholds.dead_serious:
            return None
        dead = neurons - int(awake)
        evidence = Evidence(
            dead_ratio=ratio,
            dead_neurons=dead,
            neurons=neurons,
            rows=count,
            samples=int(samples[count - 1]),
            zero_ratio=float(rows[0]["zeros"]) / max(float(rows[0]["count"]), 1.0),
        )
        severity: Severity = "critical" if ratio > thresholds.dead_critical else "serious"
        units = _units(layer, network)
        some = f"at least {dead:,} of its {neurons:,} {units} ({percent(ratio)})"
        seen = f"none of its {units} fired" if ratio == 1.0 else f"{some} did not fire"
        return self._finding(layer, network, streak.step, severity, f"{seen} in the last {count} rows", evidence)

    def _finding(
        self, layer: LayerView, network: Network, step: int, severity: Severity, seen: str, evidence: Evidence
    ) -> Finding:
        state = "dead" if severity == "critical" else "partly dead"
        return Finding(
            layer=layer.info.name,
            condition=self.condition,
            severity=severity,
            first_step=step,
            evidence=evidence,
            message=f"{layer.name} has been {state} since step {step}: {seen}.",
            cause=_cause(layer, step) + (_STILL_LEARNS if severity == "warning" else ""),
            remedies=_remedies(layer, network, step),
        )

    def _all_zero(
        self, layer: LayerView, streak: Streak, network: Network, thresholds: Thresholds
    ) -> Finding | Outcome:
        if streak.rows < thresholds.min_rows:
            return Outcome.NOT_ENOUGH_DATA
        evidence = Evidence(dead_ratio=1.0, zero_ratio=1.0)
        return self._finding(layer, network, streak.step, "critical", "every output is zero", evidence)


def _is_zero(cells: Cells) -> Any:
    return (cells[_ZEROS] >= cells[_COUNT]) & (cells[_COUNT] > 0)


def _reaches(share: float, which: int = _DEAD) -> Condition:
    def reaches(cells: Cells) -> Any:
        return (1.0 * cells[which] >= share * cells[_NEURONS]) & (cells[_NEURONS] > 0)

    return reaches


def _units(layer: LayerView, network: Network) -> str:
    """What the neurons are called: filters in a convolution, and in what takes a convolution's outputs one by one."""
    for layer_type in reversed(network.layer_types[: layer.place + 1]):
        if not (
            layer_types.is_activation(layer_type)
            or layer_types.is_norm(layer_type)
            or layer_types.is_passing(layer_type)
        ):
            return "filters" if layer_types.is_convolution(layer_type) else "neurons"
        if layer_type.startswith("Flatten"):
            break
    return "neurons"


_STILL_LEARNS: Final = " The other neurons go on learning: what is lost is width."


def _cause(layer: LayerView, step: int) -> str:
    layer_type = layer.info.layer_type
    if layer_type in layer_types.GATED:
        return "Its gates are shut, so that nothing passes them: its inputs or its weights are too large."
    if layer_type and not layer_types.is_activation(layer_type):
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
    layer_type = layer.info.layer_type
    inputs = "normalise the inputs to mean 0 and standard deviation 1"
    if layer_type in layer_types.GATED:
        return inputs, initialisation({"Tanh"}), LOWER_RATE
    if layer_type and not layer_types.is_activation(layer_type):
        return (
            "check that its weights were initialised or loaded, and that they are trained",
            "check that what it is fed is not all zero",
            "use less weight decay",
        )
    remedies = ["use leaky ReLU, which keeps a gradient below zero", initialisation({"ReLU"})]
    # What happened during training is a matter of the learning rate first.
    remedies.insert(0 if step > layer.start else 2, LOWER_RATE)
    return *remedies, *normalisation(network.distinct_types), inputs
