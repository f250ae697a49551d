"""Oscillation: outputs that swing up and down from step to step, as regularly as no noise does."""

import math
from collections.abc import Container, Sequence
from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import changes
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.remedies import LOWER_RATE
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.periods import Period, in_step, likeness, repetitions
from fastact.diagnosis.finding import NOTE, Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, comes_first, upstream
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, positive_field, share_field
from fastact.history import LayerInfo
from fastact.text import number

#: From this correlation with the logarithm of the number of elements on, a layer swings because its batches do:
#: sequences of other lengths, images of other sizes.
_SIZES: Final = 0.8
#: How often a series has to cross the middle between its extremes for it to be worth a look.
_CROSSINGS: Final = 3


class OscillatingThresholds(CommonThresholds):
    """What `Oscillating` compares with."""

    oscillate_rows: int = count_field(20, "rows; oscillating: a layer with fewer is not judged. Chosen")
    oscillate_period: int = count_field(40, "rows; oscillating: the longest period. Chosen")
    oscillate_factor: float = factor_field(
        3.0, "factor; oscillating: the rms swings by this much, up and down. Chosen", "oscillate_note"
    )
    oscillate_note: float = factor_field(
        1.5, "factor; oscillating: an input whose rms swings by this much, and less than the above, is noted. Chosen"
    )
    oscillate_deviations: float = positive_field(
        3.0, "standard deviations of the outputs; oscillating: their mean swings by this many. Chosen"
    )
    oscillate_serious: float = factor_field(
        10.0, "factor; oscillating: serious from such swings of the rms on. Chosen", "oscillate_factor"
    )
    oscillate_regularity: float = share_field(
        0.66, "autocorrelation; oscillating: that at the period is at least this. Chosen"
    )
    oscillate_chance: float = share_field(
        1e-3, "probability; oscillating: the largest chance that noise looks as regular at any period. Chosen"
    )


class Swing(NamedTuple):
    """The swing of one layer: what repeats, of which of its numbers, in which rows of the window."""

    period: Period
    what: str
    known: npt.NDArray[np.intp]
    large: bool


def _swings_into(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """What layers suffer that are given sources of different scales in turns."""
    return cause.cause_name == "sources_in_turns" and upstream(cause, effect, around)


class Oscillating(Rule[OscillatingThresholds]):
    """A layer whose scale or mean goes up and down, over and over, in any form: to and fro, in pulses, in waves.

    Formula:
        Two series over the rows of the window: the logarithm of the rms, and the mean in units of the median standard
        deviation. Found when one repeats itself at the end of the window (`periods.repetitions`): for the shortest
        period P of 2 to oscillate_period (40) rows, three of which must fit, the autocorrelation r(P) is at least
        oscillate_regularity (0.66), after it was lower at a shorter lag, and noise reaches it with a probability of no
        more than oscillate_chance (1e-3), all periods together; and when it swings by a factor oscillate_factor (3) in
        the rms, or oscillate_deviations (3) in the mean. The swing is that from the quantile 1 / (2 P) to 1 - 1 / (2 P)
        of the rows, so that one row in each period may be the only one that differs. The first step is that of the
        first row from which on all repeats. Serious from oscillate_serious (10) on.

    What swings by less than oscillate_serious while the network learns is noted.

    Where the model's input is recorded and swings, the input is the finding, and what follows swings with it; where it
    swings by no more than the above, but by oscillate_note (1.5), or by one standard deviation in the mean, that is
    noted: tasks and sources in turns, of which a network can learn. Sequences that come sorted by length, and sums over
    them, swing with the number of elements: they are left out. Rows of NaN or zeros alone are too. The window is all
    that it knows: what has gone on for longer began at its first row or before.

    Source:
        Factors chosen: no layer of the 140 healthy runs in the zoo's tuning part comes up to 1.5 and one deviation.
        The variance of an autocorrelation: Bartlett, On the theoretical specification and sampling properties of
        autocorrelated time-series, 1946. In 24,000 series of 100 rows of noise, independent to a random walk, it found
        none.
    """

    condition = "oscillating"
    adjective = "oscillating"
    by_harm = True
    passes = True
    only_alone = True
    symptom = True
    explains: ClassVar = {"oscillating": comes_first} | dict.fromkeys(
        (
            "saturated", "dead", "exploding", "vanishing", "constant", "drifting", "outlier_channels", "overflow_risk",
            "underflow_risk", "non_finite",
        ),
        _swings_into,
    )  # fmt: skip

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except probabilities and what hands its input on; the network's input is judged.

        Rows of evaluation are left out: they go through the same batches over and over.
        """
        kind = info.layer_type
        if info.mode or kind in layer_types.PROBABILITIES:
            return False
        return kind == layer_types.INPUT or not layer_types.is_passing(kind)

    def needs(self, thresholds: OscillatingThresholds) -> int:
        """`oscillate_rows`."""
        return thresholds.oscillate_rows

    def suspects(self, network: Network, thresholds: OscillatingThresholds) -> Container[int] | None:
        """Those that swing."""
        few = network.lengths.min() < thresholds.oscillate_rows
        return None if few else network.once(_swings, thresholds)

    def check(self, layer: LayerView, network: Network, thresholds: OscillatingThresholds) -> Finding | Outcome:
        """The swings at the end of the window. Most layers do not move that much at all."""
        if len(layer.rows) < thresholds.oscillate_rows:
            return Outcome.NOT_ENOUGH_DATA
        swings = network.once(_swings, thresholds)
        swing = swings.get(layer.place)
        if swing is None:
            return Outcome.NOT_FOUND
        source = swings.get(network.input.place) if network.input is not None else None
        if layer.info.layer_type == layer_types.INPUT:
            return self._of_input(layer, swing, thresholds)
        along = source is not None and in_step(source.period.rows, swing.period.rows)
        if not swing.large or (along and source is not None and not source.large):
            return Outcome.NOT_FOUND
        return self._of_layer(layer, network, swing, source if along else None, thresholds)

    def _of_input(self, layer: LayerView, swing: Swing, thresholds: OscillatingThresholds) -> Finding:
        step = int(layer.rows["step"][swing.known[swing.period.first]])
        evidence, factor = _told(layer, swing)
        if not swing.large:
            message = f"The {swing.what} of {layer.name} takes turns with a period of {_period(layer, swing)} steps."
            severity = NOTE
        else:
            message = self._message(layer, swing, step, evidence)
            severity = graded(serious=factor >= thresholds.oscillate_serious, critical=False)
        verdict = best([_sources((f"the input itself swings by {_much(swing)}",))._replace(proved=True)])
        return verdict.finding(layer.info.name, self.condition, severity, step, evidence, message)

    def _of_layer(
        self,
        layer: LayerView,
        network: Network,
        swing: Swing,
        source: Swing | None,
        thresholds: OscillatingThresholds,
    ) -> Finding:
        steps = layer.rows["step"]
        place = int(swing.known[swing.period.first])
        step = int(steps[place])
        given = network.input
        first = facts.is_first(layer, network)
        if source is not None and given is not None:
            # Where both began is known within a period: the layer follows.
            began = int(given.rows["step"][source.known[source.period.first]])
            near = int(swing.period.rows + source.period.rows) * max(int(steps[-1] - steps[-2]), 1)
            step = max(step, began) if began - step <= near else step
            in_turns = _sources((f"the input swings with it, by {_much(source)}",))
        elif changes.comes_and_goes(layer, network, step, thresholds.oscillate_serious):
            in_turns = _sources(("the input is on another scale in some steps, and as before in others",))
        elif given is not None and len(given.rows) >= thresholds.oscillate_rows:
            in_turns = _sources(refuted_by=("the recorded input does not swing",))
        elif first and swing.what == "rms":
            in_turns = _sources(("the first layer swings, with weights that no update changes so much",))
        else:
            in_turns = _sources()
        if source is None and step <= layer.start and len(steps) > place + 1:
            step = int(steps[place + 1])  # what updates bring about begins with the first one
        rate = Cause(
            "learning_rate",
            "Each update overshoots and the next one swings back: the learning rate is too high.",
            (LOWER_RATE, "use less momentum"),
            ("the input does not swing",) if in_turns.refuted_by else (),
            ("the input swings too",) if source is not None else (),
        )
        evidence, factor = _told(layer, swing)
        severity = graded(serious=factor >= thresholds.oscillate_serious, critical=False)
        message = self._message(layer, swing, step, evidence)
        return best([in_turns, rate]).finding(layer.info.name, self.condition, severity, step, evidence, message)

    def _message(self, layer: LayerView, swing: Swing, step: int, evidence: Evidence) -> str:
        return (
            f"{layer.name} has been oscillating since step {step}: the {swing.what} of its {layer.elements} swings "
            f"between {number(float(evidence['low']))} and {number(float(evidence['high']))} with a period of "
            f"{_period(layer, swing)} steps."
        )


def _sources(speaks_for: tuple[str, ...] = (), refuted_by: tuple[str, ...] = ()) -> Cause:
    return Cause(
        "sources_in_turns",
        "The batches alternate between different sources, or only some of them are normalised.",
        ("shuffle the sources into each batch", "normalise every batch in the same way"),
        speaks_for,
        refuted_by,
    )


def _period(layer: LayerView, swing: Swing) -> str:
    """The period in steps."""
    steps = layer.rows["step"][swing.known]
    stride = (int(steps[-1]) - int(steps[0])) / max(len(steps) - 1, 1)
    return number(swing.period.rows * stride)


def _much(swing: Swing) -> str:
    gap = swing.period.high - swing.period.low
    return f"a factor of {number(math.exp(gap))}" if swing.what == "rms" else f"{number(gap)} standard deviations"


def _told(layer: LayerView, swing: Swing) -> tuple[Evidence, float]:
    """The evidence, and the factor by which the rms swings (1 where the mean does)."""
    period = swing.period
    factor, low, high = 1.0, period.low, period.high
    if swing.what == "rms":
        factor, low, high = math.exp(min(high - low, 700.0)), math.exp(low), math.exp(high)
    else:
        scale = _middle(layer.rows["std"][swing.known])
        low, high = low * scale, high * scale
    evidence = Evidence(
        low=low, high=high, period_rows=period.rows, rows=len(swing.known) - period.first,
        regularity=period.regularity, chance=period.chance
    )  # fmt: skip
    return evidence, factor


def _middle(values: npt.NDArray[np.float64]) -> float:
    return float(np.sort(values)[len(values) // 2])


def _swings(network: Network, thresholds: OscillatingThresholds) -> dict[int, Swing]:
    """The swings of all layers, by their place: searched for together, since the search is one of arrays.

    Only a layer whose last rows lie so far apart, and not on the way from one level to another, is searched at all.
    """
    at, starts, _ = network.recent(thresholds.oscillate_period)
    mean, std, scale = (moment[at] for moment in network.moments)
    with np.errstate(all="ignore"):
        scale = np.where((scale > 0.0) & (scale < math.inf), scale, math.nan)
        spread = np.where((std > 0.0) & (std < math.inf), std, math.nan)
        level = np.where(np.isfinite(mean), mean, math.nan)
        way = np.fmax.reduceat(scale, starts) / np.fmin.reduceat(scale, starts)
        wander = np.fmax.reduceat(level, starts) - np.fmin.reduceat(level, starts)
        wander /= np.fmin.reduceat(spread, starts)
    loose = np.array([layer.info.layer_type == layer_types.INPUT for layer in network.layers])
    factor = np.where(loose, thresholds.oscillate_note, thresholds.oscillate_factor)
    deviations = np.where(loose, min(1.0, thresholds.oscillate_deviations), thresholds.oscillate_deviations)
    found: dict[int, Swing] = {}
    for what, places, limits in (
        ("rms", np.flatnonzero(way >= factor), np.log(factor)),
        ("mean", np.flatnonzero(wander >= deviations), deviations),
    ):
        searched: dict[int, list[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.float64]]]] = {}
        enough = [
            place
            for place in places.tolist()
            if place not in found and len(network.layers[place].rows) >= thresholds.oscillate_rows
        ]
        for place, (known, series) in _all_series(network, enough, what, thresholds.oscillate_period):
            if len(known) >= thresholds.oscillate_rows:
                searched.setdefault(len(known), []).append((place, known, series))
        for group in searched.values():
            table = np.array([series for _, _, series in group])
            moving = np.flatnonzero(_crosses(table[:, -thresholds.oscillate_period :])).tolist()
            periods = repetitions(
                table[moving], thresholds.oscillate_regularity, thresholds.oscillate_chance, thresholds.oscillate_period
            )
            for (place, known, series), period in zip([group[i] for i in moving], periods, strict=True):
                if period is None or period.high - period.low < limits[place]:
                    continue
                sizes = network.layers[place].rows["count"][known[period.first :]]
                differ = bool((sizes != sizes[0]).any())  # most networks are given batches of one size
                if differ and likeness(series[period.first :], np.log(np.maximum(sizes, 1))) >= _SIZES:
                    continue
                least = math.log(thresholds.oscillate_factor) if what == "rms" else thresholds.oscillate_deviations
                found[place] = Swing(period, what, known, period.high - period.low >= least)
    return found


_Series = tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]


@np.errstate(all="ignore")
def _all_series(network: Network, places: Sequence[int], what: str, period: int) -> list[tuple[int, _Series]]:
    """For each of some layers the rows that have the number, and the logarithm of the rms, or the mean in deviations.

    Those of as many rows, which all have it, are made together, and left out where they go but one way in the end.
    """
    found: dict[int, _Series] = {}
    mean, std, scale = network.moments
    by_rows: dict[int, list[int]] = {}
    for place in places:
        by_rows.setdefault(len(network.layers[place].rows), []).append(place)
    for rows, own in by_rows.items():
        at, every = network.starts[own][:, None] + np.arange(rows), np.arange(rows)
        if what == "rms":
            values = scale[at]
            known = np.isfinite(values) & (values > 0.0)
            series = np.log(values)
        else:
            values, spread = mean[at], std[at]
            known = np.isfinite(values) & (spread > 0.0) & np.isfinite(spread)
            series = values / np.sort(spread, axis=1)[:, rows // 2, None]
        whole = known.all(axis=1)
        for i in np.flatnonzero(whole & _crosses(series[:, -period:])).tolist():
            found[own[i]] = every, series[i]
        for i in np.flatnonzero(~whole).tolist():
            found[own[i]] = _some(network, own[i], what, np.flatnonzero(known[i]))
    if what == "mean":  # sums of squares of what is larger are out of range
        far = [place for place, (_, line) in found.items() if not np.abs(line).max(initial=0.0) < 1e100]
        found |= {place: (found[place][0][:0], found[place][1]) for place in far}
    return [(place, found[place]) for place in places if place in found]


def _some(network: Network, place: int, what: str, known: npt.NDArray[np.intp]) -> _Series:
    """The same of a layer in which some rows alone have the number."""
    mean, std, scale = (moment[network.starts[place] + known] for moment in network.moments)
    if what == "rms":
        return known, np.log(scale)
    return known, mean / _middle(std) if len(known) else mean


def _crosses(table: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each series goes up and down rather than from one level to another."""
    above = table > 0.5 * (table.max(axis=1) + table.min(axis=1))[:, None]
    crossings: npt.NDArray[np.intp] = np.count_nonzero(above[:, 1:] != above[:, :-1], axis=1)
    return crossings >= _CROSSINGS
