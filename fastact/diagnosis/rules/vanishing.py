"""Vanishing: the differences between samples are lost on the way through the network."""

import math
from collections.abc import Container, Hashable
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import posterior, vanishing
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.similarity import alike_behind, outputs_differ_more, recent_likeness, row_likeness
from fastact.diagnosis.finding import NOTE, Evidence, Finding, Severity, graded
from fastact.diagnosis.network import LayerView, Network, row_signal
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, is_nan
from fastact.diagnosis.rule import (
    Circumstances,
    Outcome,
    Rule,
    comes_first,
    line,
    not_after,
    passes_nothing_back,
    upstream,
)
from fastact.diagnosis.thresholds import CommonThresholds, count_field, positive_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

_COUNT, _NEURONS = COLUMN["count"], COLUMN["neurons"]
_STD, _WITHIN = COLUMN["std"], COLUMN["within_std"]


class VanishingThresholds(CommonThresholds):
    """What `Vanishing` compares with."""

    vanish_ratio: float = share_field(
        1e-3, "factor; vanishing: the spread between samples is at most this share of that in a layer before. Chosen; "
        "AUTOTRAINER uses this ratio of last to first gradient norm", "vanish_serious"
    )  # fmt: skip
    vanish_fade: float = share_field(
        0.05, "factor; vanishing over steps: the spread is at most this share of that in this layer's first row. Chosen"
    )
    vanish_fade_scale: float = positive_field(
        0.1, "standard deviation; a layer with more spread between samples has not vanished over steps. Chosen"
    )
    vanish_serious: float = share_field(
        1e-4, "factor; vanishing: serious from this share down. Chosen", "vanish_critical"
    )
    vanish_critical: float = share_field(1e-6, "factor; vanishing: critical below this share. Chosen")
    vanish_scale: float = positive_field(
        1e-2, "standard deviation; a layer with more spread between samples is not vanishing. Chosen"
    )
    vanish_blur: float = share_field(
        0.06, "share of all differences that are between samples; vanishing: a network whose layers stay below from "
        "the first row on is stuck. Chosen; healthy networks that start so low have grown out of it"
    )  # fmt: skip
    vanish_stuck_rows: int = count_field(100, "rows; vanishing: for so long it must have been stuck. Chosen")
    vanish_prior_rows: int = count_field(
        50, "rows; vanishing: for so long a posterior must have been its prior. Chosen"
    )
    vanish_samples: int = count_field(
        8, "samples; with fewer per neuron in a row, the spread between samples is not judged. Chosen"
    )


def _switches_off(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Where the samples are all alike, each neuron is on for all of them or off.

    What is dead for the most part may as well be the reason, so there it takes a layer before it.
    """
    part = float(effect.evidence.get("dead_ratio", 1.0)) <= 0.5 and cause.layer == effect.layer
    before = (part or upstream(cause, effect, around)) and cause.first_step - around.slack <= effect.first_step
    return before or passes_nothing_back(cause, effect, around)


def _lost_before(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """With depth it is lost in one pass; what fades over steps later than a layer after it was not its reason.

    What makes all layers shrink at once, such as weight decay, has one first layer, wherever that is.
    """
    if cause.cause_name == effect.cause_name and cause.cause_name in vanishing.EVERYWHERE:
        return comes_first(cause, effect, around)
    fades = cause.evidence["reference_layer"] == cause.layer
    before = upstream(cause, effect, around) and (not fades or cause.first_step - around.slack <= effect.first_step)
    return before or passes_nothing_back(cause, effect, around)


class Vanishing(Rule[VanishingThresholds]):
    """A layer from which on the samples can hardly be told apart, or that has collapsed since its first row.

    Formula:
        signal = within_std, the root mean variance of a neuron over the samples (std of all elements where no layer
        was swept per neuron). Found over depth when the median signal of the recent rows is at most vanish_ratio
        (1e-3) times the largest of the layers that feed it, and at most vanish_scale (1e-2), in this layer and in every
        one after it up to the first that draws random numbers (dropout, noise): behind that, noise passes for signal,
        unless its output is added to a skip and normalised, as a transformer's branches are.
        A layer that is small by design, and any layer before a normalisation, is followed by larger ones.
        Found over depth too when, from the first row on and for vanish_stuck_rows (100) rows, a hidden layer and all
        after it have had within_std at most vanish_blur (6%) of std, with no more than twice of that at the end, and a
        signal of at most vanish_blur times that of a layer that feeds it: the network is stuck as it was initialised.
        Found too where all rows of a layer have at most 1e-12 of the rms of what it is given, whatever follows it.
        Found over steps when the signal is at most vanish_fade (5%) of that of the layer's first row, and at most
        vanish_fade_scale (0.1): there a layer is compared with itself, so less is enough. And found in the two heads
        of a variational autoencoder, mean and logarithm of the variance, when both have had an rms of at most 0.05 for
        vanish_prior_rows (50) rows, having begun with more, while the layer after them has ten times their signal: the
        samples' own differences are gone, what is decoded is noise. The first step is the one since which
        the signal has been so small; a run of rows ends when three in a row are larger.

    In the zoo's tuning part no hidden layer of a healthy network fell below 14% of its first row.

    What has faded is noted above vanish_serious while the network's outputs differ by more than in their first row.
    The severity is that of the smallest signal from here on, since the samples have to pass all of it.
    Bits lost = log2(reference / signal). The output layer follows the targets, whose scale can be anything: alone it
    is not judged. Softmax outputs are small by design and left out.

    Source:
        Chosen. The decay of the signal over depth: Glorot and Bengio, Understanding the difficulty of training deep
        feedforward neural networks, 2010; Schoenholz et al., Deep information propagation, 2017. The heads of a
        collapsed posterior are those of its prior: Bowman et al., Generating sentences from a continuous space, 2016.
    """

    condition = "vanishing"
    adjective = "vanishing"
    by_harm = True
    shows = "signal"
    explains: ClassVar = {
        "underflow_risk": upstream, "dead": _switches_off, "vanishing": _lost_before, "constant": not_after,
        "collapsed": not_after
    }  # fmt: skip

    def asked(self, finding: Finding) -> Hashable:
        """Whether it fades over steps."""
        return finding.evidence.get("reference_layer") == finding.layer

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except those that are small by design, tables, and what hands its input on."""
        layer_type = info.layer_type
        given = layer_types.is_passing(layer_type) or layer_type.startswith("Embedding")
        return layer_type not in layer_types.PROBABILITIES and not given

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: VanishingThresholds) -> tuple[Cascade, ...]:
        """Rows whose signal is below the absolute scale, and those far below the first row's as well."""
        samples = float(thresholds.vanish_samples)
        base = row_signal(first, thresholds.vanish_samples)

        def at_most(name: str, limit: float) -> RowCondition:
            def holds(cells: Cells) -> Any:
                neurons = cells[_NEURONS]
                enough = 1.0 * cells[_COUNT] >= samples * neurons
                return ((neurons == 0) & (cells[_STD] <= limit)) | ((neurons != 0) & enough & (cells[_WITHIN] <= limit))

            return RowCondition(name, holds, patience=_PATIENCE)

        def undecided(cells: Cells) -> Any:
            neurons = cells[_NEURONS]
            few = 1.0 * cells[_COUNT] < samples * neurons
            return ((neurons == 0) & is_nan(cells[_STD])) | ((neurons != 0) & (few | is_nan(cells[_WITHIN])))

        cascades = [Cascade((at_most("faint", thresholds.vanish_scale),), undecided)]
        if base > 0.0:
            fade = min(thresholds.vanish_fade_scale, thresholds.vanish_fade * base)
            cascades.append(Cascade((at_most("halved", max(0.5 * base, fade)), at_most("faded", fade)), undecided))
        if row_likeness(first, thresholds.vanish_samples) <= thresholds.vanish_blur:
            blur = thresholds.vanish_blur

            def blurred(cells: Cells) -> Any:
                return (cells[_NEURONS] > 0) & (cells[_WITHIN] <= blur * cells[_STD])

            cascades.append(Cascade((RowCondition("blurred", blurred, patience=_PATIENCE),), undecided))
        if posterior.may_be_prior(first):
            cascades.append(Cascade((RowCondition("prior", posterior.near_prior, patience=_PATIENCE),), undecided))
        if layer_types.has_weights(info.layer_type) and posterior.around_prior(first):
            around = RowCondition("around_prior", posterior.around_prior, patience=_PATIENCE)
            cascades.append(Cascade((around,), undecided))
        return tuple(cascades)

    def limits(self, finding: Finding, thresholds: VanishingThresholds) -> tuple[tuple[float, str], ...]:
        """The signal of the layer that feeds it, and the share of it below which it has vanished."""
        little = line(finding, "reference_signal", "vanishing below", thresholds.vanish_ratio)
        return little + line(finding, "reference_signal", "the signal that feeds it")

    def suspects(self, network: Network, thresholds: VanishingThresholds) -> Container[int] | None:
        """Those whose signal is small now or unknown, and the heads of a collapsed posterior."""
        places = network.begun("faint", "faded", "blurred")
        places |= posterior.head_places(network, thresholds.vanish_prior_rows)
        return places | {place for place, signal in enumerate(network.signal) if math.isnan(signal)}

    def check(self, layer: LayerView, network: Network, thresholds: VanishingThresholds) -> Finding | Outcome:
        """Whether the signal is lost here, compared with the layers before and with the first row."""
        signal = network.signal[layer.place]
        if math.isnan(signal):
            return Outcome.NOT_ENOUGH_DATA
        known = layer.streaks.get
        faint, faded, blurred = known("faint"), known("faded"), known("blurred")
        prior = thresholds.vanish_prior_rows
        if not (faint or faded or blurred or posterior.heads(layer, network, prior)):  # most layers, asked no further
            return Outcome.NOT_FOUND
        least = thresholds.min_rows
        lost = network.once(_lost, thresholds)
        alone = layer.place == network.output and not lost[layer.place - 1]
        over_steps = False
        source = network.once(_chains)[layer.place].source
        small = lost[layer.place] and not alone
        begun = faint is not None and faint.rows >= least and faint.step <= layer.start
        nothing = begun and network.once(_negligible)[layer.place]
        start = small and _from_the_start(layer, network.layers[source], thresholds)
        if faint and faint.rows >= least and small and (start or not faded):
            halved = layer.streaks.get("halved", faint)
            step = faint.step
            if not start:
                step = _since_saturated(layer, network, max(step, halved.step), thresholds)
            spread = layer.rows["std"] if int(layer.rows[-1]["neurons"]) > 1 else np.abs(layer.rows["mean"])
            same = (layer.rows["within_std"] < _NOTHING * spread)[layer.rows["step"] > layer.start]
            if step <= layer.start and len(same) and same.all():
                return Outcome.NOT_FOUND  # `Constant` says that of what is the same, not small
        elif nothing or (
            blurred and blurred.rows >= thresholds.vanish_stuck_rows and _stuck(layer, network, thresholds)
        ):
            step = layer.start
        elif posterior.heads(layer, network, thresholds.vanish_prior_rows):
            since = posterior.heads_since(layer, network, thresholds.vanish_prior_rows)
            source, step, over_steps = layer.place, since, True
        elif faded and faded.rows >= least and not alone and signal <= _FALLEN * row_signal(layer.first, 1):
            alike = recent_likeness(network, thresholds.recent_rows, thresholds.vanish_samples)
            if facts.size(layer, network) >= _KEPT and alike_behind(network, layer.place, alike, _ALIKE):
                return Outcome.NOT_FOUND  # `Collapsed` says that of what keeps its size
            source, step, over_steps = layer.place, _since_saturated(layer, network, faded.step, thresholds), True
        else:
            return Outcome.NOT_FOUND
        name = network.layers[source].info.name
        if over_steps:
            reference, where, left = (
                row_signal(layer.first, thresholds.vanish_samples),
                f"at step {layer.start}",
                signal,
            )
        else:
            reference, where = network.signal[source], f"in {network.layers[source].name}"
            left = min(s for s in network.signal[layer.place :] if not math.isnan(s))
        if over_steps and step <= layer.start and reference < signal:
            reference = signal  # what was small when it was new has not become larger by much
        if not reference > 0.0:
            return Outcome.NOT_FOUND  # what was never there has not vanished
        ratio = signal / reference
        seen = "no differences between samples are left"
        if signal:
            share = f"{percent(ratio)} of the {number(reference)} {where}"
            seen = f"the spread between samples is {number(signal)}, only {share}"
        severity: Severity = graded(
            serious=left / reference <= thresholds.vanish_serious,
            critical=left / reference < thresholds.vanish_critical,
        )
        if over_steps and severity == "warning" and outputs_differ_more(network, thresholds.vanish_samples):
            severity = NOTE
        evidence = Evidence(
            signal=signal, reference_signal=reference, reference_layer=name, ratio=ratio,
            bits_lost=_bits(reference, signal), smallest_signal_after=left, bits_lost_after=_bits(reference, left)
        )  # fmt: skip
        message = f"{layer.name} has been vanishing since step {step}: {seen}."
        if over_steps or step > layer.start:
            verdict = vanishing.over_steps(layer, network, thresholds.vanish_prior_rows, step)
        else:
            verdict = vanishing.over_depth(layer, network, source)
        if verdict.cause.name == "posterior_collapse":
            severity = "serious"
            if step <= layer.start:
                message = f"{layer.name} has been vanishing since step {step}: it stays near its prior for all samples."
        return verdict.finding(layer.info.name, self.condition, severity, step, evidence, message)


#: Share of `vanish_blur`. What is below still tells no samples apart, though it has grown.
_GROWN: Final = 0.2
#: Factor. A first row with more than so many times `vanish_ratio` of the signal before it had not lost it.
_GAP: Final = 3.0
#: Of the size of what a layer is given. Less than that is lost in rounding next to any number of usual size.
_NO_SIZE: Final = 1e-12
#: Of the differences between all elements, what is left by float32's rounding: eight times its unit.
_NOTHING: Final = 1e-6
#: Of its first size a layer that has at least this has kept it; and of all differences, those between samples are few
#: with at most this share (`CollapsedThresholds.collapse_after`).
_KEPT: Final = 0.5
_ALIKE: Final = 0.2
#: Of the spread of its first row a layer that has faded has at most this, whatever single rows are like.
_FALLEN: Final = 0.25
#: Rows in which a layer may be larger before it counts as recovered.
_PATIENCE: Final = 3


class _Chain(NamedTuple):
    """The layers that feed one, back to the first or to what draws random numbers: the one with the most signal."""

    source: int
    signal: float


def _chains(network: Network) -> list[_Chain]:
    """For each layer the largest signal of those that feed it; of equals the first."""
    chains: list[_Chain] = []
    for layer in network.layers:
        feeder = network.feeder(layer)
        chain = _Chain(layer.place, 0.0)
        if feeder is not None and not layer_types.is_random(feeder.info.layer_type):
            signal, before = network.signal[feeder.place], chains[feeder.place]
            chain = _Chain(feeder.place, signal) if signal > before.signal else before
        chains.append(chain)
    return chains


def _lost(network: Network, thresholds: VanishingThresholds) -> list[bool]:
    """For each layer whether it, and all after it up to the first that draws random numbers, has lost the signal."""
    chains = network.once(_chains)
    lost: list[bool] = []
    after = True
    for layer in reversed(network.layers):
        place = layer.place
        layer_type = layer.info.layer_type
        signal, before = network.signal[place], chains[place].signal
        # What a cell keeps for itself is no way on to the next layer.
        beside = layer_type in layer_types.PROBABILITIES or layer_type == "LSTMState"
        judged = not math.isnan(signal) and not beside
        limit = min(thresholds.vanish_scale, thresholds.vanish_ratio * before)
        if layer_types.is_random(layer_type):
            after = after if _is_added(layer, network) else True
            lost.append(False)
            continue
        after = after and (not judged or signal <= limit) and before > 0.0
        lost.append(after and judged)
    return lost[::-1]


def _is_added(layer: LayerView, network: Network) -> bool:
    """Whether a norm follows that is given something else than this layer's output alone: the sum with a skip.

    What is small there is a branch, beside which the samples pass. It is known where layers' sources were seen.
    """
    if not layer.info.source or layer.place + 1 >= len(network.layers):
        return False
    follows = network.layers[layer.place + 1].info
    return layer_types.is_norm(follows.layer_type) and not follows.source


def _from_the_start(layer: LayerView, source: LayerView, thresholds: VanishingThresholds) -> bool:
    """Whether a layer had lost the signal of another one in its first row already."""
    before, first = (row_signal(view.first, thresholds.vanish_samples) for view in (source, layer))
    return not first > _GAP * thresholds.vanish_ratio * before


def _since_saturated(layer: LayerView, network: Network, step: int, thresholds: VanishingThresholds) -> int:
    """The step of an onset; that of a saturation before the layer where this came hardly later, as its reason."""
    last = min(step + thresholds.recent_rows, int(layer.rows["step"][-1]))
    for place, since in network.once(_saturated):
        if place <= layer.place and step < since <= last:
            return since
    return step


def _saturated(network: Network) -> list[tuple[int, int]]:
    """The places of layers at their bounds, and since when each has been there."""
    streaks = ((layer.place, layer.streaks.get("saturated")) for layer in network.layers)
    return [(i, streak.step) for i, streak in streaks if streak is not None and network.saturated[i] >= 0.5]


def _stuck(layer: LayerView, network: Network, thresholds: VanishingThresholds) -> bool:
    """Whether a hidden layer and all after it have been alike since the first row, and are not about to change."""
    output = network.layers[network.output].info.name.partition(":")[0]  # in each place of a model called twice
    if layer.info.name.partition(":")[0] == output or layer.streaks["blurred"].step > layer.start:
        return False
    if layer.place >= network.output:
        return False
    blur, chain = thresholds.vanish_blur, network.once(_chains)[layer.place]
    if not 0.0 < chain.signal >= network.signal[layer.place] / blur:
        return False
    alike = recent_likeness(network, thresholds.recent_rows, thresholds.vanish_samples)
    for other in network.layers[layer.place :]:
        now, first = alike[other.place], row_likeness(other.first, thresholds.vanish_samples)
        if now > blur or now > max(2.0 * first, _GROWN * blur):
            return False
    return alike[layer.place] <= blur


@np.errstate(all="ignore")
def _negligible(network: Network) -> list[bool]:
    """For each layer whether all of its rows are next to nothing beside what it is given, though not zero.

    Whatever follows sees its own biases alone, however much these differ.
    """
    found = []
    for layer in network.layers:
        feeder = network.feeder(layer)
        own, given = network.rms[layer.place], network.rms[feeder.place] if feeder is not None else math.nan
        known = layer.info.layer_type not in layer_types.PROBABILITIES and 0.0 < own <= _NO_SIZE * given < math.inf
        found.append(known and float(network.scale(layer).max()) <= _NO_SIZE * given)
    return found


def _bits(reference: float, signal: float) -> float | None:
    """log2(reference / signal), by logarithms, since the ratio may be out of range; None where nothing is left."""
    return math.log2(reference) - math.log2(signal) if 0.0 < signal < math.inf and reference < math.inf else None
