"""Dead neurons: outputs that are zero for every sample, so that no gradient moves them any more."""

import math
from collections.abc import Container, Hashable
from typing import ClassVar, Final, NamedTuple

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import dead_activation, dead_neurons, sparsity
from fastact.diagnosis.evidence import baselines
from fastact.diagnosis.evidence.similarity import initial_states
from fastact.diagnosis.finding import NOTE, Evidence, Finding, Severity
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Row, RowCondition, Streak, share_at_least
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, not_after, passes_nothing_back, upstream
from fastact.diagnosis.thresholds import CommonThresholds, count_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import percent

_COUNT, _ZEROS, _NEURONS = COLUMN["count"], COLUMN["zeros"], COLUMN["neurons"]
_SILENT, _DEAD = COLUMN["silent_neurons"], COLUMN["dead_neurons"]

#: Types that have zeros by design, or are no layer: probabilities under a mask, and what was counted or came in.
_EXEMPT: Final = layer_types.PROBABILITIES | {layer_types.INPUT}

#: The share of dead neurons from which nothing is left but the biases of the others: what makes all samples alike.
SILENT: Final = 0.9
#: Layers after a dead one that are asked whether anything still gets through.
_AFTER: Final = 3
#: The spread between samples, as a share of the root mean square, from which a layer has a signal.
_SIGNAL: Final = 1e-3


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
    dead_small: int = count_field(
        10,
        "neurons; of a layer with fewer, only all being dead is a finding: one more or less is a large share. Chosen",
    )
    dead_warning: float = share_field(
        0.20,
        "share of neurons; dead: noted from here. Measured: up to 19% of the neurons of 12 networks of default "
        "initialisation died on scikit-learn's digits, all of which learned them to 97%",
    )
    dead_serious: float = share_field(
        0.20,
        "share of neurons; dead: a finding from here of a sparse autoencoder's features; and a layer that fell silent "
        "from below this to above dead_critical within dead_window rows did so at once. fastact, the bands of the "
        "public contract",
        "dead_warning",
    )
    dead_critical: float = share_field(
        0.50, "share of neurons; dead: a finding above where it does harm, else noted. fastact, the bands of the "
        "public contract; SageMaker Debugger's DeadRelu fires here. Up to 52% of the neurons of healthy layers in the "
        "zoo's tuning parts are dead", "dead_serious"
    )  # fmt: skip
    dead_most: float = share_field(
        0.90, "share of neurons; dead: a finding from here, whatever gets through. Chosen", "dead_critical"
    )
    dead_nothing: float = share_field(
        0.95, "share of neurons; dead: critical from here, as the layer passes nothing. One less the share of dead "
        "neurons that is healthy", "dead_most"
    )  # fmt: skip
    dead_late: int = count_field(50, "rows; dead: what falls silent after so many had begun to learn. Chosen")


class _Seen(NamedTuple):
    """How many neurons are dead, and since when."""

    dead: int
    neurons: int
    step: int
    ratio: float


def _starves(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether dead neurons kill those of another layer."""
    if around.source.get(effect.layer) == cause.layer:
        return True
    critical = cause.severity == "critical"
    return (critical and upstream(cause, effect, around)) or passes_nothing_back(cause, effect, around)


def _silences(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether so many neurons are dead that samples can no longer be told apart."""
    silent = cause.severity in ("serious", "critical") and not_after(cause, effect, around)
    return silent or passes_nothing_back(cause, effect, around)


class Dead(Rule[DeadThresholds]):
    """Neurons that have been silent for so long that they are not only rare, and the harm that this does.

    Formula:
        ratio = dead_neurons / neurons in the last row. A neuron is dead when it has not fired for dead_window (20)
        rows, dead_samples (300) samples, and for as long as a typical neuron of its layer took to fire dead_fires (10)
        times; dead_sparse (10) times the samples and fires where the layer was declared sparse.
        A finding needs harm. Critical from dead_nothing (95%), where the layer passes nothing. Above dead_critical
        (50%) serious where the layers after it have lost the signal that it was given, and a warning where it fell
        silent at once (from dead_serious, 20%, of the neurons within dead_window rows) and late (after dead_late, 50,
        rows). A warning from dead_most (90%) in any case, and of a sparse autoencoder's features from dead_serious
        where as many fired in the first row. Where no layer after it was recorded, nothing shows that it does no harm:
        critical above dead_critical, and in a layer on its own serious from dead_serious.
        Serious too where, in twice dead_window rows, less than 3 neurons fire for a sample, and ten times as many did
        in the first row: samples are put out as next to nothing, though most neurons are woken now and then.
        All else from dead_warning (20%) is a note, for dead_window rows: width is lost, and the others keep learning.
        So is a warning where the loss is below half of what the best constant answer gets. Of layers with fewer than
        dead_small (10) neurons only all is more than a note.
        Fewer rows tell that (almost) all are: of n neurons, of which s_i are silent in row i, at least
        n - sum (n - s_i) are silent in all of these rows, whichever they are. Taken over the fewest last rows that hold
        min_rows rows, dead_samples samples and dead_fires fires of those that fired, a bound from dead_nothing up is
        found at once.
        Without per-neuron rows only a layer whose elements are all zero in each of min_rows rows is dead.
        The first step is the one since which the share has been above the band that was told.

    A ReLU layer with half of its outputs zero is healthy: other samples wake other neurons.

    Source:
        The bands are those of fastact's public contract. That a neuron active for under 1% of the samples is dead
        is SageMaker Debugger's DeadRelu; that 300 samples are needed to say so is the rule of three (`dead_samples`).
    """

    condition = "dead"
    adjective = "dead"
    shows = "dead_ratio"
    explains: ClassVar = {"dead": _starves, "vanishing": _silences, "constant": _silences}

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except those that are zero by design (a softmax under a mask), and what is no layer."""
        if info.layer_type == "MultiheadAttention":  # its outputs are no probabilities
            return not info.name.endswith("[1]")
        return info.layer_type not in _EXEMPT

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: DeadThresholds) -> tuple[Cascade, ...]:
        """Rows whose share of dead neurons reaches the bands; or rows that are all zero."""
        if not first[_NEURONS]:
            return (Cascade((RowCondition("zero", share_at_least(1.0, _ZEROS, _COUNT)),)),)
        # Those that are dead in this row have been silent for as long as it took to say so.
        back = _rows_needed(info, first[_COUNT] // first[_NEURONS], thresholds)
        bands = {
            "dead": thresholds.dead_warning,
            "seriously_dead": thresholds.dead_serious,
            "mostly_dead": thresholds.dead_critical,
        }
        conditions = tuple(
            RowCondition(name, share_at_least(share, _DEAD, _NEURONS), lookback=back) for name, share in bands.items()
        )
        silent = (
            RowCondition("some_silent", share_at_least(thresholds.dead_serious, _SILENT, _NEURONS)),
            RowCondition("mostly_silent", share_at_least(thresholds.dead_critical, _SILENT, _NEURONS)),
        )
        cascades = Cascade(conditions), Cascade(silent)
        hardly = sparsity.hardly_fires(first, thresholds.dead_small)
        if layer_types.is_activation(info.layer_type) and hardly is not None:
            return *cascades, Cascade((RowCondition("nothing_fires", hardly, patience=3),))
        return cascades

    def shown(self, finding: Finding) -> str:
        """Where no neurons were counted, the share of zeros."""
        return "dead_ratio" if "dead_neurons" in finding.evidence else "zero_ratio"

    def limits(self, finding: Finding, thresholds: DeadThresholds) -> tuple[tuple[float, str], ...]:
        """From where so many dead neurons do harm."""
        return ((thresholds.dead_critical, "a finding where it does harm"),)

    def suspects(self, network: Network, thresholds: DeadThresholds) -> Container[int] | None:
        """Those of which enough is silent now."""
        return network.begun("zero", "dead", "mostly_silent", "nothing_fires")

    def check(self, layer: LayerView, network: Network, thresholds: DeadThresholds) -> Finding | Outcome:
        """The share of dead neurons now, and what harm it does."""
        known = layer.streaks.get
        zero, some, silent = known("zero"), known("dead"), known("mostly_silent")
        if zero is None and some is None and silent is None and "nothing_fires" not in layer.streaks:
            return Outcome.NOT_FOUND
        if layer.place in initial_states(network):
            return Outcome.NOT_APPLICABLE
        if zero is not None:
            run = layer.during(zero)
            if zero.rows < thresholds.min_rows or float(run["count"].astype(float).sum()) < thresholds.dead_samples:
                return Outcome.NOT_ENOUGH_DATA
            evidence = Evidence(dead_ratio=1.0, zero_ratio=1.0)
            return self._finding(layer, network, zero.step, "critical", "every output is zero", evidence)
        most = layer.streaks.get("mostly_dead")
        if most is None and silent is not None:
            finding = self._surely_dead(layer, silent, network, thresholds)
            if finding is not None:
                return finding
        if some is None:
            window = 2 * thresholds.dead_window
            return sparsity.too_sparse(layer, network, window, thresholds.recent_rows) or Outcome.NOT_FOUND
        many = layer.streaks.get("seriously_dead")
        streak = most or many or some
        last = layer.last
        neurons, dead = last[_NEURONS], last[_DEAD]
        if neurons < 1:
            return Outcome.NOT_ENOUGH_DATA
        samples = int(layer.first[_COUNT]) // max(int(layer.first[_NEURONS]), 1)
        back = _rows_needed(layer.info, samples, thresholds)
        since = onset(layer, streak, back)
        if dead == neurons:  # a row of few samples, such as the last of an epoch, makes it take longer
            since = _silent_since(layer, since)
        seen = _Seen(dead, neurons, since, min(dead / neurons, 1.0))
        lasting = streak.rows >= min(back, len(layer.rows)) + thresholds.dead_window
        severity = self._severity(layer, network, seen, lasting, thresholds)
        if severity == NOTE and neurons < thresholds.dead_small and seen.ratio <= thresholds.dead_critical:
            return Outcome.NOT_FOUND
        if severity == NOTE and not lasting:
            return Outcome.NOT_ENOUGH_DATA
        first = layer.first
        evidence = Evidence(
            dead_ratio=seen.ratio, dead_neurons=dead, neurons=neurons,
            silent_ratio_at_first=float(first[_SILENT]) / max(first[_NEURONS], 1),
            first_step_of_warning=onset(layer, some, back),
            zero_ratio=last[_ZEROS] / max(last[_COUNT], 1)
        )  # fmt: skip
        units = dead_neurons.units(layer, network)
        few = f"{dead:,} of its {neurons:,} {units} ({percent(seen.ratio)})"
        said = f"none of its {units} ever fires" if seen.ratio == 1.0 else f"{few} never fire"
        if severity == NOTE:
            said += "; the others do, and only width is lost"
        return self._finding(layer, network, seen.step, severity, said, evidence)

    def asked(self, finding: Finding) -> Hashable:
        """Whether next to nothing is left but the biases of others."""
        return float(finding.evidence.get("dead_ratio", 0.0)) >= SILENT

    def stands_alone(self, finding: Finding, layer_type: str) -> bool:
        """Not where a layer hands its input on and no layer that is watched gave it: zeros in the data (pixels)."""
        return not layer_types.is_passing(layer_type) or finding.severity == "critical"

    def _severity(
        self, layer: LayerView, network: Network, seen: _Seen, lasting: bool, thresholds: DeadThresholds
    ) -> Severity:
        """What harm the dead neurons do."""
        if seen.ratio == 1.0:
            return "critical"
        if seen.neurons < thresholds.dead_small:
            return NOTE
        if seen.ratio >= thresholds.dead_nothing:
            return "critical"
        many = seen.ratio > thresholds.dead_critical
        after = _after(layer, network)
        if not after:  # nothing shows that it does no harm: the bands of the contract hold
            alone = len(network.layers) == 1 and seen.ratio >= thresholds.dead_serious
            return "critical" if many else "serious" if alone else NOTE
        if many and not _gets_through(layer, network, after):
            return "serious"
        harm = seen.ratio >= thresholds.dead_most or (many and _fell_silent(layer, thresholds))
        harm = harm or (lasting and _lost_features(layer, network, seen, thresholds))
        # Half of a regression's units often die while it finds the scale of its targets; it learns them all the same.
        return "warning" if harm and not baselines.has_learned(network) else NOTE

    def _surely_dead(
        self, layer: LayerView, streak: Streak, network: Network, thresholds: DeadThresholds
    ) -> Finding | None:
        """What so many silent neurons in so few rows leave no doubt of, before `dead_window` rows have passed."""
        rows = layer.during(streak)[::-1]  # the last one first
        neurons = int(rows[0]["neurons"])
        if neurons < 1 or (rows["neurons"] != neurons).any():
            return None
        factor = thresholds.dead_sparse if layer.info.sparse else 1
        firing = np.maximum(neurons - rows["silent_neurons"].astype(float), 0.0)
        nonzero = np.maximum(rows["count"].astype(float) - rows["zeros"], 0.0)
        # As `arithmetic.silence.next_density` has it: those that fired tell what is typical where they did so often.
        typical = np.where(nonzero >= 2.0 * firing, firing, float(neurons))
        fires = np.cumsum(nonzero / np.maximum(typical, 1.0))
        samples = np.cumsum(rows["count"].astype(float)) / neurons
        awake = np.cumsum(firing)
        enough = (samples >= factor * thresholds.dead_samples) & (
            (fires >= factor * thresholds.dead_fires) | (awake == 0.0)
        )
        enough[: thresholds.min_rows - 1] = False
        if not enough.any():
            return None
        taken = int(enough.argmax()) + 1
        ratio = 1.0 - float(awake[taken - 1]) / neurons
        if ratio < thresholds.dead_nothing or (ratio < 1.0 and neurons < thresholds.dead_small):
            return None
        dead = neurons - int(awake[taken - 1])
        evidence = Evidence(
            dead_ratio=ratio, dead_neurons=dead, neurons=neurons, rows=taken, samples=int(samples[taken - 1]),
            zero_ratio=float(rows[0]["zeros"]) / max(float(rows[0]["count"]), 1.0)
        )  # fmt: skip
        units = dead_neurons.units(layer, network)
        some = f"at least {dead:,} of its {neurons:,} {units} ({percent(ratio)})"
        seen = f"none of its {units} fired" if ratio == 1.0 else f"{some} did not fire"
        return self._finding(layer, network, streak.step, "critical", f"{seen} in the last {taken} rows", evidence)

    def _finding(
        self, layer: LayerView, network: Network, step: int, severity: Severity, seen: str, evidence: Evidence
    ) -> Finding:
        state = "dead" if severity == "critical" else "partly dead"
        message = f"{layer.name} has been {state} since step {step}: {seen}{layer.looked_at}."
        verdict = dead_neurons.verdict(layer, network, step)
        return verdict.finding(layer.info.name, self.condition, severity, step, evidence, message)


def _rows_needed(info: LayerInfo, samples: int, thresholds: DeadThresholds) -> int:
    """Rows with so many samples of each neuron that it takes at least to call a neuron dead."""
    needed = thresholds.dead_samples * (thresholds.dead_sparse if info.sparse else 1)
    return max(thresholds.dead_window, -(-needed // max(samples, 1)))


def onset(layer: LayerView, streak: Streak, lookback: int) -> int:
    """The first step of a run, also where a row condition looks back on more rows than the window has."""
    beyond = lookback - len(layer.rows)
    if beyond <= 0 or len(layer.rows) < 2:
        return streak.step
    return max(layer.start, streak.step - round(beyond * layer.stride))


def _silent_since(layer: LayerView, step: int) -> int:
    """The first step of the rows up to `step` in which no neuron fired."""
    if step <= layer.oldest:
        return step
    rows = layer.rows[layer.rows["step"] < step][::-1]
    silent = rows["silent_neurons"] >= rows["neurons"]
    run = len(silent) if silent.all() else int(silent.argmin())
    return int(rows["step"][run - 1]) if run else step


def _fell_silent(layer: LayerView, thresholds: DeadThresholds) -> bool:
    """Whether most neurons fell silent at once, long after the first row."""
    some, most = layer.streaks.get("some_silent"), layer.streaks.get("mostly_silent")
    if some is None or most is None or some.rows - most.rows > thresholds.dead_window:
        return False
    return some.step - layer.start >= thresholds.dead_late * layer.stride


def _lost_features(layer: LayerView, network: Network, seen: _Seen, thresholds: DeadThresholds) -> bool:
    """Whether neurons that fired in the first row are features, as those of a sparse autoencoder, and no mere width."""
    silent = float(layer.first[_SILENT]) / max(layer.first[_NEURONS], 1)
    return seen.ratio - silent >= thresholds.dead_serious and dead_activation.is_features(layer, network)


def _after(layer: LayerView, network: Network) -> list[int]:
    """The places of the next layers after this one that do more than hand on, and whose signal is known."""
    after: list[int] = []
    seen = 0
    for place in range(layer.place + 1, len(network.layers)):
        if not layer_types.is_passing(network.layer_types[place]):
            seen += 1
            if not math.isnan(network.signal[place]) and not math.isnan(network.rms[place]):
                after.append(place)
        if seen == _AFTER:
            break
    return after


def _gets_through(layer: LayerView, network: Network, after: list[int]) -> bool:
    """Whether samples still differ in the layers after this one, if they did before it.

    Where they were alike before, each neuron is on for all of them or off: that it is dead follows.
    """
    given = network.feeder(layer)
    if given is not None and layer_types.is_activation(layer.info.layer_type):
        given = network.feeder(given) or given
    if given is not None and network.signal[given.place] <= _SIGNAL * network.rms[given.place]:
        return True
    return all(network.signal[place] > _SIGNAL * network.rms[place] for place in after)
