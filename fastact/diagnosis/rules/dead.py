"""Dead neurons: outputs that are zero for every sample, so that no gradient moves them any more."""

from typing import ClassVar, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.experts import STARVED, is_expert, starvation
from fastact.diagnosis.finding import Evidence, Finding, Severity, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.remedies import LOWER_RATE, NORMALISE_INPUTS, initialisation, normalisation
from fastact.diagnosis.row_conditions import Cascade, Row, RowCondition, Streak, share_at_least
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, not_after, upstream
from fastact.diagnosis.thresholds import CommonThresholds, count_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import percent

_COUNT, _ZEROS, _NEURONS = COLUMN["count"], COLUMN["zeros"], COLUMN["neurons"]
_SILENT, _DEAD = COLUMN["silent_neurons"], COLUMN["dead_neurons"]

#: The share of dead neurons from which dead layers after it follow: one less the share that is healthy.
_PASSES_NOTHING: Final = 0.95


class DeadThresholds(CommonThresholds):
    """What `Dead` compares with."""

    dead_window: int = count_field(20, "rows; a neuron is dead once it was silent in this many without a break. Chosen")
    dead_samples: int = count_field(
        300,
        "samples; this many must have been seen of each neuron. A neuron that never fired in n samples fires in less "
        "than 3/n of them at 95% confidence (rule of three: Hanley and Lippman-Hand, JAMA 1983), so 300 show the less "
        "than 1% that SageMaker Debugger's DeadRelu calls dead",
    )
    dead_fires: int = count_field(
        10,
        "times; so often a typical neuron of the layer must have fired meanwhile, so that sparse layers get more "
        "samples. Of neurons that fire as often as that, 1 in 20,000 is silent by chance: exp(-10)",
    )
    dead_sparse: int = count_field(
        10,
        "factor; a layer that was declared sparse needs so many times the samples and fires. Features of a tenth of "
        "the typical frequency are common in sparse autoencoders (Gao et al., Scaling and evaluating sparse "
        "autoencoders, 2024). Chosen",
    )
    dead_warning: float = share_field(
        0.05, "share of neurons; dead: warning from here. fastact, the bands of the public contract"
    )
    dead_serious: float = share_field(
        0.20, "share of neurons; dead: serious from here. fastact, the bands of the public contract", "dead_warning"
    )
    dead_critical: float = share_field(
        0.50, "share of neurons; dead: critical above. fastact, the bands of the public contract; "
        "SageMaker Debugger's DeadRelu fires here", "dead_serious"
    )  # fmt: skip


def _starves(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether dead neurons kill those of another layer."""
    before = upstream(cause, effect, around)
    if "expert" in cause.evidence:
        return before and cause.evidence["expert"] == effect.evidence.get("expert")
    if around.source.get(effect.layer) == cause.layer:
        return True
    return before and cause.first_step <= effect.first_step and _passes_nothing(cause)


def _silences(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether so many neurons are dead that samples can no longer be told apart."""
    return cause.severity == "critical" and not_after(cause, effect, around)


class Dead(Rule[DeadThresholds]):
    """Neurons that were silent in each of the last `dead_window` rows, or must have been in fewer that are enough.

    Formula:
        ratio = dead_neurons / neurons in the last row. Found when ratio >= dead_warning (5%), serious from
        dead_serious (20%), critical above dead_critical (50%), after dead_samples (300) samples of each neuron; in the
        lowest band it has to last for min_rows rows beyond dead_window. The first step is the one since which
        the share has been at least serious, or at least a warning where it is no more than that.
        Where most neurons are silent (above dead_critical), fewer rows tell: of n neurons, of which s_i are silent in
        row i, at least n - sum (n - s_i) are silent in all of these rows, whichever they are. Taken over the fewest
        last rows that hold min_rows rows and dead_samples samples, a bound from dead_serious up is found at once.
        Without per-neuron rows only a layer whose elements are all zero in each of min_rows rows is dead.
        An expert of a mixture is dead when since its last token its siblings had tokens in at least dead_window (20)
        recorded steps, and at least dead_samples (300) for each expert that there is: by the rule of three it then
        gets less than 1% of its even share, at 95% confidence. Until then there is not enough data.

    A ReLU layer with half of its outputs zero is healthy: other samples wake other neurons.

    Source:
        The bands are those of fastact's public contract. That a neuron active for under 1% of the samples is dead
        is SageMaker Debugger's DeadRelu; that 300 samples are needed to say so is the rule of three (`dead_samples`).
    """

    condition = "dead"
    adjective = "dead"
    explains: ClassVar = {"dead": _starves, "vanishing": _silences, "constant": _silences}

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except those that are zero by design (a softmax under a mask)."""
        return info.layer_type not in layer_types.PROBABILITIES

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: DeadThresholds) -> tuple[Cascade, ...]:
        """Rows whose share of dead neurons reaches the lower two bands; or rows that are all zero."""
        fed = (Cascade((STARVED,)),) if is_expert(info.name) else ()
        if not first[_NEURONS]:
            return (Cascade((RowCondition("zero", share_at_least(1.0, _ZEROS, _COUNT)),)), *fed)
        # Those that are dead in this row have been silent for as long as the row looks back.
        window = thresholds.dead_window
        some = RowCondition("dead", share_at_least(thresholds.dead_warning, _DEAD, _NEURONS), lookback=window)
        many = RowCondition("seriously_dead", share_at_least(thresholds.dead_serious, _DEAD, _NEURONS), lookback=window)
        silent = RowCondition("mostly_silent", share_at_least(thresholds.dead_critical, _SILENT, _NEURONS))
        return Cascade((some, many)), Cascade((silent,)), *fed

    def check(self, layer: LayerView, network: Network, thresholds: DeadThresholds) -> Finding | Outcome:
        """The share of dead neurons now, if enough samples have been seen."""
        expert = self._expert(layer, network, thresholds)
        if expert is not None:
            return expert
        zero = layer.streaks.get("zero")
        if zero is not None:
            if zero.rows < thresholds.min_rows:
                return Outcome.NOT_ENOUGH_DATA
            evidence = Evidence(dead_ratio=1.0, zero_ratio=1.0)
            return self._finding(layer, network, zero.step, "critical", "every output is zero", evidence)
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
        severity = graded(serious=streak is not warning, critical=ratio > thresholds.dead_critical)
        # Few neurons may sleep for a while: a share in the lowest band has to last.
        rows = thresholds.dead_window if severity == "warning" else 0
        if streak.rows < rows + thresholds.min_rows:
            return Outcome.NOT_ENOUGH_DATA
        if samples < thresholds.dead_samples and not (run["zeros"] >= run["count"]).all():
            return Outcome.NOT_ENOUGH_DATA
        evidence = Evidence(
            dead_ratio=ratio, dead_neurons=dead, neurons=neurons,
            dead_ratio_at_window_start=min(float(run[0]["dead_neurons"]) / neurons, 1.0),
            first_step_of_warning=warning.step, samples=int(samples),
            zero_ratio=float(last["zeros"]) / max(float(last["count"]), 1.0)
        )  # fmt: skip
        units = _units(layer, network)
        some = f"{dead:,} of its {neurons:,} {units} ({percent(ratio)})"
        seen = f"none of its {units} ever fires" if ratio == 1.0 else f"{some} never fire"
        return self._finding(layer, network, streak.step, severity, seen, evidence)

    def stands_alone(self, finding: Finding, layer_type: str) -> bool:
        """Not where a layer hands its input on and no layer that is watched gave it: zeros in the data (pixels)."""
        return not layer_types.is_passing(layer_type) or _passes_nothing(finding)

    def _surely_dead(
        self, layer: LayerView, streak: Streak, network: Network, thresholds: DeadThresholds
    ) -> Finding | None:
        """What so many silent neurons in so few rows leave no doubt of, before `dead_window` rows have passed."""
        rows = layer.during(streak)[: -thresholds.dead_window - 1 : -1]  # the last one first
        neurons = int(rows[0]["neurons"])
        samples = np.cumsum(rows["count"].astype(float)) / neurons
        enough = samples >= thresholds.dead_samples
        enough[: thresholds.min_rows - 1] = False
        if not enough.any():
            return None
        taken = int(enough.argmax()) + 1
        awake = float(np.maximum(neurons - rows["silent_neurons"][:taken].astype(float), 0.0).sum())
        ratio = 1.0 - awake / neurons
        if ratio < thresholds.dead_serious:
            return None
        dead = neurons - int(awake)
        evidence = Evidence(
            dead_ratio=ratio, dead_neurons=dead, neurons=neurons, rows=taken, samples=int(samples[taken - 1]),
            zero_ratio=float(rows[0]["zeros"]) / max(float(rows[0]["count"]), 1.0)
        )  # fmt: skip
        severity = graded(serious=True, critical=ratio > thresholds.dead_critical)
        units = _units(layer, network)
        some = f"at least {dead:,} of its {neurons:,} {units} ({percent(ratio)})"
        seen = f"none of its {units} fired" if ratio == 1.0 else f"{some} did not fire"
        return self._finding(layer, network, streak.step, severity, f"{seen} in the last {taken} rows", evidence)

    def _finding(
        self, layer: LayerView, network: Network, step: int, severity: Severity, seen: str, evidence: Evidence
    ) -> Finding:
        state = "dead" if severity == "critical" else "partly dead"
        message = f"{layer.name} has been {state} since step {step}: {seen}."
        cause = _cause(layer, step) + (_STILL_LEARNS if severity == "warning" else "")
        remedies = _remedies(layer, network, step)
        return Finding(layer.info.name, self.condition, severity, step, evidence, message, cause, remedies)

    def _expert(self, layer: LayerView, network: Network, thresholds: DeadThresholds) -> Finding | Outcome | None:
        """The finding for a part of an expert that gets no tokens; None where it gets some, or is no expert's."""
        found = starvation(layer, network, thresholds.min_rows)
        if found is None:
            return None
        if found.steps < thresholds.dead_window or found.tokens < thresholds.dead_samples * found.experts:
            return Outcome.NOT_ENOUGH_DATA
        even = 1.0 / found.experts
        evidence = Evidence(
            expert=found.expert, experts=found.experts, tokens_of_siblings=found.tokens, recorded_steps=found.steps,
            even_share=even
        )  # fmt: skip
        step = found.first_step
        message = (
            f"{layer.name} has been dead since step {step}: expert {found.number} of {found.experts} has received none "
            f"of the {found.tokens:,.0f} tokens since then; an even share is {percent(even)}."
        )
        cause, remedies = _EXPERT_CAUSE, _EXPERT_REMEDIES
        return Finding(layer.info.name, self.condition, "warning", step, evidence, message, cause, remedies)


_EXPERT_CAUSE: Final = (
    "The router sends all tokens to other experts. An expert without tokens learns nothing, so it is chosen even less."
)
_EXPERT_REMEDIES: Final = (
    "add a load-balancing loss for the experts, or raise its weight",
    "add noise to the router's scores, or limit how many tokens an expert takes",
    "use fewer experts",
)
_STILL_LEARNS: Final = " The other neurons keep learning: only width is lost."


def _passes_nothing(dead: Finding) -> bool:
    return float(dead.evidence.get("dead_ratio", 0.0)) >= _PASSES_NOTHING


def _units(layer: LayerView, network: Network) -> str:
    """What the neurons are called: filters in a convolution, and in what takes a convolution's outputs one by one."""
    for layer_type in reversed(network.layer_types[: layer.place + 1]):
        if not layer_types.follows_input(layer_type):
            return "filters" if layer_types.is_convolution(layer_type) else "neurons"
        if layer_type.startswith("Flatten"):
            break
    return "neurons"


def _cause(layer: LayerView, step: int) -> str:
    layer_type = layer.info.layer_type
    if layer_type in layer_types.GATED:
        return "Its gates are shut, so nothing passes: its inputs or its weights are too large."
    if layer_types.is_passing(layer_type):
        return "Its input is zero, and it only hands that on."
    if layer_type and not layer_types.is_activation(layer_type):
        return "Its weights and biases are zero, or its input is."
    if step <= layer.start:
        return (
            "This was already the case in the first recorded row, which suggests negative biases, a bad "
            "initialisation or unnormalised data. The inputs of these neurons are below zero for every sample, where "
            "the gradient is zero too."
        )
    return (
        "An update that was too large (the learning rate is too high) pushed the inputs of these neurons below zero "
        "for every sample, where the gradient is zero too, so they cannot recover."
    )


def _remedies(layer: LayerView, network: Network, step: int) -> tuple[str, ...]:
    layer_type = layer.info.layer_type
    if layer_type in layer_types.GATED:
        return NORMALISE_INPUTS, initialisation({"Tanh"}), LOWER_RATE
    if layer_type and not layer_types.is_activation(layer_type):
        trained = "check that its weights were initialised or loaded, and that they are trained"
        return trained, "check that its input is not all zero", "use less weight decay"
    remedies = ["use leaky ReLU, which keeps a gradient below zero", initialisation({"ReLU"})]
    # What happened during training is a matter of the learning rate first.
    remedies.insert(0 if step > layer.start else 2, LOWER_RATE)
    return *remedies, *normalisation(network.distinct_types), NORMALISE_INPUTS
