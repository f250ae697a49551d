"""Collapse: samples that become alike while their size stays, and softmaxes that look at one place, or at all alike."""

import math
from collections.abc import Container, Hashable, Sequence
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import attention, collapsing, peaked_softmax, siamese
from fastact.diagnosis.causes.cause import Verdict
from fastact.diagnosis.evidence import baselines, softmax
from fastact.diagnosis.evidence.similarity import AT_THE_END, LEAST_NEURONS, likeness, recent_likeness, row_likeness
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, nothing_finite
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, comes_first, not_after, upstream
from fastact.diagnosis.rules.dead import SILENT
from fastact.diagnosis.rules.vanishing import VanishingThresholds
from fastact.diagnosis.thresholds import count_field, positive_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import percent

_COUNT, _NEURONS, _STD, _WITHIN = COLUMN["count"], COLUMN["neurons"], COLUMN["std"], COLUMN["within_std"]
_MEAN = COLUMN["mean"]


class CollapsedThresholds(VanishingThresholds):
    """What `Collapsed` compares with; of vanishing, how many samples are enough."""

    collapse_likeness: float = share_field(
        0.12, "share of all differences that are between samples; collapsed: at most this. Chosen; healthy hidden "
        "layers that have begun to learn keep 0.15 and more, most of them 0.5 to 1"
    )  # fmt: skip
    collapse_after: float = share_field(
        0.2, "share, likewise; collapsed: every layer after it has at most this. Chosen", "collapse_likeness"
    )
    collapse_fall: float = share_field(
        0.35, "factor; collapsed: it has at most this share of the likeness of its first row. Chosen"
    )
    collapse_partly: float = share_field(
        0.3, "share, likewise; collapsed: at most this in a layer and in all after it, outputs too, where what samples "
        "differ by has not grown since the first row. Chosen; networks whose targets have an offset come as low, while "
        "what their samples differ by grows to several times as much"
    )  # fmt: skip
    collapse_raw: float = share_field(
        0.03, "share, likewise; collapsed: at most this in a network whose outputs are few or large. Chosen"
    )
    collapse_serious: float = share_field(
        0.03, "share, likewise; collapsed: serious from here down. Chosen; the half of what is reported as collapsed"
    )
    collapse_raw_scale: float = positive_field(
        10.0,
        "root mean square; collapsed: outputs above are taken for raw units, whose mean hidden layers share. Chosen",
    )
    collapse_rows: int = count_field(20, "rows; collapsed: for so long the samples must have been alike. Chosen")
    collapse_start: float = share_field(
        0.06, "share, likewise; collapsed: at most this where it was so from the first row on. Chosen; four layers "
        "with PyTorch's initialisation begin at 0.1 and learn"
    )  # fmt: skip
    collapse_start_rows: int = count_field(
        100,
        "rows; collapsed: for so long where it was so from the first row on, since many a network starts so. Chosen",
    )
    collapse_sharp: float = share_field(
        0.5, "E[x²]/E[x]; collapsed: from here on where queries and keys are known to make scores that are too large "
        "without the scale, since places that are the same share a row. Chosen"
    )  # fmt: skip
    collapse_one_place: float = share_field(
        0.8, "E[x²]/E[x]; collapsed: from here on rows of a softmax look at one place. Chosen; 0.16 with scores of "
        "standard deviation 1 over 12 places, 0.9 without the scale of 256 neurons", "collapse_sharp"
    )  # fmt: skip
    collapse_uniform: float = share_field(
        1e-3, "factor; collapsed: E[x²]/E[x] is above that of equal weights by less than this share. Chosen"
    )


def _began_first(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """What is alike in one layer ties those before it together too, by the updates."""
    softmaxes = "concentration" in cause.evidence, "concentration" in effect.evidence
    return comes_first(cause, effect, around) and softmaxes[0] == softmaxes[1]


def _silences(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether so many neurons are dead that nothing else than the others' biases is left."""
    return upstream(cause, effect, around) and float(cause.evidence.get("dead_ratio", 0.0)) >= SILENT


class Collapsed(Rule[CollapsedThresholds]):
    """Samples, tokens or nodes that have become alike while their size stays; a softmax that has nothing to choose.

    Formula:
        likeness = within_std / std: of all that the elements of a layer differ by, the part between samples
        (`likeness` says why this is right in raw units too, and merges). Found where a layer has at most
        collapse_likeness (0.12), every hidden layer after it at most collapse_after (0.2), to the end of the network
        or of the module that it is in, and where it has come down to that from three times as much in its first row
        (collapse_fall), for collapse_rows (20) rows, or had at most collapse_start (0.06) from the first row on for
        collapse_start_rows (100) without growing (in a deep stack collapse_likeness is little enough); the output layer
        itself where it came down for as long, and what its samples differ by has not grown, as it does where targets
        have an offset that is learned first. Found too where a layer and all after it, the outputs among them, have
        come down to at most collapse_partly (0.3) without such a growth; and where two networks of one shape end that
        are trained without targets, have been below 0.4 for collapse_start_rows and no more than at first, while the
        loss fell to half. What is not serious is not told while the loss is below 0.95 of a constant answer's, or will
        be within 100 rows at its pace. Serious below collapse_serious (0.03). In a
        network whose output layer has fewer than 8 neurons, or outputs above collapse_raw_scale (10), hidden layers
        share what makes up the outputs' mean: there it takes collapse_raw (0.03), and with few outputs above 3 nothing
        is said. Of a module of its own, its last layer tells how large its outputs are.
        For softmaxes concentration = E[x²]/E[x] (`softmax`): at least collapse_one_place (0.8) over 4 places or more in
        the first row and ever since in most attention layers; collapse_sharp (0.5) is enough where queries and keys are
        known, a quarter of the rows have a weight above 0.99, and the scores' standard deviation is 5 or more; over
        0.99 from the first row on where the softmax is the output; of attention that is called as a function, where its
        scale is 4 times 1/sqrt(features), and the standard deviation of its scores 5 or more; within collapse_uniform
        of that of equal weights in each row of a window of collapse_start_rows or more, while other layers have
        changed.

    Layers with fewer than 8 neurons are left out: in them 1000 and 0.1 side by side look like samples that are alike.
    A sharp attention that was learned, a bias that all neurons share, gates and positions are healthy: what comes after
    them tells samples apart.

    Source:
        Chosen. Collapse: Chen and He, Exploring simple Siamese representation learning, 2021; Dong et al., Attention is
        not all you need: pure attention loses rank doubly exponentially with depth, 2021; Li et al., Deeper insights
        into graph convolutional networks, 2018. The scale 1/sqrt(d): Vaswani et al., Attention is all you need, 2017.
    """

    condition = "collapsed"
    adjective = "collapsed"
    by_harm = True
    passes = True
    shows = "likeness"
    only_alone = True
    explains: ClassVar = {"collapsed": _began_first, "vanishing": not_after, "constant": not_after, "dead": upstream}
    explained_by: ClassVar = {
        "exploding": not_after, "saturated": not_after, "dead": _silences, "vanishing": not_after,
        "non_finite": not_after
    }  # fmt: skip

    def asked(self, finding: Finding) -> Hashable:
        """Whether it is a softmax's."""
        return "concentration" in finding.evidence

    def applies(self, info: LayerInfo) -> bool:
        """Softmaxes, and every type that can have told samples apart."""
        if info.layer_type in layer_types.PROBABILITIES and not info.name.endswith("[0]"):
            return softmax.is_softmax(info) or (info.layer_type == layer_types.ATTENTION and "scale" in info.facts)
        return not layer_types.is_passing(info.layer_type)

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: CollapsedThresholds) -> tuple[Cascade, ...]:
        """Rows in which the samples are alike; rows of a softmax that are one place, or all places alike."""
        if softmax.is_softmax(info):
            sharp, one, equal = thresholds.collapse_sharp, thresholds.collapse_one_place, thresholds.collapse_uniform

            def at_few(cells: Cells) -> Any:
                mean, std = cells[_MEAN], cells[_STD]
                return (mean * mean + std * std >= sharp * mean) & (mean > 0.0)

            def at_one(cells: Cells) -> Any:
                mean, std = cells[_MEAN], cells[_STD]
                return (mean * mean + std * std >= one * mean) & (mean > 0.0)

            def at_all(cells: Cells) -> Any:
                mean, std = cells[_MEAN], cells[_STD]
                return (std * std <= equal * mean * mean) & (mean > 0.0)

            few = (
                RowCondition(peaked_softmax.AT_FEW_PLACES, at_few, patience=_PATIENCE),
                RowCondition(peaked_softmax.AT_ONE_PLACE, at_one, patience=_PATIENCE),
            )
            all_places = (RowCondition(peaked_softmax.AT_ALL_PLACES, at_all, patience=_PATIENCE),)
            return Cascade(few, undecided=nothing_finite), Cascade(all_places, undecided=nothing_finite)
        if info.layer_type == layer_types.ATTENTION:
            return ()
        limit = thresholds.collapse_likeness
        samples = float(thresholds.vanish_samples)

        def alike(cells: Cells) -> Any:
            return (cells[_WITHIN] <= limit * cells[_STD]) & (cells[_NEURONS] >= LEAST_NEURONS) & (cells[_STD] > 0.0)

        def undecided(cells: Cells) -> Any:
            return nothing_finite(cells) | (1.0 * cells[_COUNT] < samples * cells[_NEURONS])

        partly = thresholds.collapse_partly

        def partly_alike(cells: Cells) -> Any:
            return (cells[_WITHIN] <= partly * cells[_STD]) & (cells[_NEURONS] >= LEAST_NEURONS) & (cells[_STD] > 0.0)

        conditions = (
            RowCondition(_PARTLY, partly_alike, patience=_PATIENCE), RowCondition(_ALIKE, alike, patience=_PATIENCE)
        )  # fmt: skip
        return (Cascade(conditions, undecided),)

    def limits(self, finding: Finding, thresholds: CollapsedThresholds) -> tuple[tuple[float, str], ...]:
        """Below where samples are alike."""
        return ((thresholds.collapse_likeness, "alike below"),)

    def suspects(self, network: Network, thresholds: CollapsedThresholds) -> Container[int] | None:
        """Those that are partly alike now, softmaxes and attention, and the ends of two networks of one shape."""
        kinds = network.layer_types
        places = network.begun(_PARTLY).union(siamese.ends(network))
        places.update(place for place, kind in enumerate(kinds) if kind in layer_types.PROBABILITIES)
        return places | {layer.place for layer in network.layers if "gain" in layer.info.facts}

    def check(self, layer: LayerView, network: Network, thresholds: CollapsedThresholds) -> Finding | Outcome:
        """Whether its samples have become alike; of a softmax, whether it chooses at all."""
        if softmax.is_softmax(layer.info):
            least = thresholds.collapse_sharp, thresholds.collapse_one_place
            one = peaked_softmax.at_one_place(layer, network, least, thresholds.min_rows)
            return one or attention.at_all_places(layer, network, thresholds.collapse_start_rows) or Outcome.NOT_FOUND
        if layer.info.layer_type == layer_types.ATTENTION:
            return attention.scaled_up(layer, network, thresholds.min_rows) or Outcome.NOT_FOUND
        if "gain" in layer.info.facts and (found := attention.projected_up(layer, network, thresholds.min_rows)):
            return found
        streak = layer.streaks.get(_PARTLY)
        collapse = None
        if streak is not None and streak.rows >= thresholds.collapse_rows:
            collapse = network.once(_collapses, thresholds).get(layer.place)
        if collapse is None:
            rows, limits = thresholds.collapse_start_rows, (thresholds.recent_rows, thresholds.vanish_samples)
            return siamese.never_apart(layer, network, rows, *limits) or Outcome.NOT_FOUND
        alike = recent_likeness(network, thresholds.recent_rows, thresholds.vanish_samples)
        now, first = alike[layer.place], row_likeness(layer.first, thresholds.vanish_samples)
        feeder = network.feeder(layer)
        before = alike[feeder.place] if feeder is not None else math.nan
        evidence = Evidence(
            likeness=now, likeness_at_first=first, likeness_before=before,
            within_std=float(layer.rows[-1]["within_std"]), std=float(layer.rows[-1]["std"])
        )  # fmt: skip
        at_first = f" ({percent(first)} at step {layer.start})" if collapse.step > layer.start else ""
        message = (
            f"{layer.name} has been collapsed since step {collapse.step}: samples are nearly alike, only "
            f"{percent(now)} of what its outputs differ by lies between samples{at_first}."
        )
        severity = graded(serious=now <= thresholds.collapse_serious, critical=now <= 0.1 * thresholds.collapse_serious)
        known = network.once(_known)
        which = collapse.head, collapse.step
        if which not in known:
            known[which] = collapsing.why(layer, network, collapse.step, network.layers[collapse.head], alike)
        verdict = known[which]
        return verdict.finding(layer.info.name, self.condition, severity, collapse.step, evidence, message)


#: Rows in which samples may differ more before they count as apart again.
_PATIENCE: Final = 20
#: Factor. What has grown by more since its first row is on its way.
_GROWN: Final = 1.5
#: Root mean square. A network with few outputs, above this, is fitted to targets in raw units.
_FEW_RAW: Final = 3.0


class _Collapse(NamedTuple):
    """A layer behind which all is alike: since when, and the first layer of which that holds."""

    step: int
    head: int


def _collapses(network: Network, thresholds: CollapsedThresholds) -> dict[int, _Collapse]:
    """By place, the hidden layers whose samples are alike, and those of all that comes after them.

    That is to the end of the network, or of the module (by the first part of its name) that the layer is in. Of layers
    that collapsed at about the same time the first one says since when.
    """
    alike = recent_likeness(network, thresholds.recent_rows, thresholds.vanish_samples)
    modules: dict[str, list[int]] = {}
    for layer in network.layers:
        modules.setdefault(layer.info.name.partition(".")[0], []).append(layer.place)
    found: dict[int, _Collapse] = {}
    large = [places for places in modules.values() if len(places) >= _LAYERS_OF_A_MODULE]
    for places in (range(len(alike)), *large):
        limit = _limit(network, thresholds, places[-1] if places else -1)
        name, tail = _ALIKE, _tail(network, places, alike, limit, thresholds)
        if not tail and limit == thresholds.collapse_after:
            name, tail = _PARTLY, _partly(network, places, alike, thresholds)
        for place in tail:
            step, head = network.layers[place].streaks[name].step, network.layers[tail[-1]]
            since = head.streaks[name].step
            step = max(step, since) if since - step <= thresholds.collapse_rows else step
            found.setdefault(place, _Collapse(step, tail[-1]))
    return found


#: Layers. A module with fewer is no network of its own.
_LAYERS_OF_A_MODULE: Final = 3
#: The names of the row conditions.
_ALIKE: Final = "alike"
_PARTLY: Final = "partly_alike"


def _tail(
    network: Network, places: Sequence[int], alike: list[float], limit: float, thresholds: CollapsedThresholds
) -> list[int]:
    """The places of the layers whose samples are alike, as those of all after them are; the last one first."""
    tail: list[int] = []
    weighted = 0
    for place in reversed(places):
        if math.isnan(alike[place]):
            continue
        end = place == network.output
        if alike[place] > (AT_THE_END if end else thresholds.collapse_after):
            break
        layer = network.layers[place]
        weighted += layer_types.has_weights(layer.info.layer_type)
        # No target from outside says where outputs should go.
        end = end and not baselines.meets_itself(network)
        if _holds(layer, alike[place], limit, thresholds, end=end, deep=weighted > collapsing.SLOWLY):
            tail.append(place)
    return tail


def _partly(network: Network, places: Sequence[int], alike: list[float], thresholds: CollapsedThresholds) -> list[int]:
    """The same of layers that still tell samples apart by a little, no more than at first, while all else has grown.

    To the very end: where the outputs tell samples apart, what they share by the way does no harm.
    """
    tail: list[int] = []
    for place in reversed(places):
        layer = network.layers[place]
        if math.isnan(alike[place]) and place >= network.output:
            return []
        if math.isnan(alike[place]):
            continue
        if alike[place] > thresholds.collapse_partly:
            break
        streak = layer.streaks.get(_PARTLY)
        fallen = alike[place] <= thresholds.collapse_fall * row_likeness(layer.first, thresholds.vanish_samples)
        rows = thresholds.collapse_start_rows if place == network.output else thresholds.collapse_rows
        if streak is not None and streak.rows >= rows and fallen and not _spread_grew(layer):
            tail.append(place)
    return tail


def _spread_grew(layer: LayerView) -> bool:
    """Whether what samples differ by has grown since the first row, as it does in what learns."""
    return float(np.median(layer.rows["within_std"][-_LATEST:])) > _GROWN * float(layer.first[_WITHIN])


#: Rows that say how large something is now, or was when the window began.
_LATEST: Final = 10


def _holds(
    layer: LayerView, alike: float, limit: float, thresholds: CollapsedThresholds, *, end: bool, deep: bool
) -> bool:
    """Whether a layer's samples have become alike, or were so for long from its first row on."""
    streak = layer.streaks.get(_ALIKE)
    if streak is None or streak.rows < (thresholds.collapse_start_rows if end else thresholds.collapse_rows):
        return False
    first = row_likeness(layer.first, thresholds.vanish_samples)
    if streak.step > layer.start:
        # Outputs go to where the targets are, and then come to tell samples apart.
        return alike <= min(limit, thresholds.collapse_fall * first) and not (end and _spread_grew(layer))
    # The outputs of many a network are alike before it has learned.
    if end or streak.rows < thresholds.collapse_start_rows:
        return False
    if deep and streak.rows >= thresholds.collapse_start_rows + 2 * _LATEST:
        # A deep stack that is alike to its end, and no longer on its way.
        before = float(np.median(likeness(layer.rows[:_LATEST], thresholds.vanish_samples)))
        return alike <= min(thresholds.collapse_likeness, _GROWN * before)
    return alike <= min(thresholds.collapse_start, _GROWN * first)


def _limit(network: Network, thresholds: CollapsedThresholds, last: int) -> float:
    """The likeness at which samples count as having become alike, by what the outputs of the network are.

    Of a module of its own the last layer tells how large its outputs are, whatever a head behind it makes of them.

    Below the threshold of the row condition it has room up to `collapse_after`: what was found does not come and go.
    """
    if network.output < 0:
        return thresholds.collapse_after
    few = int(network.layers[network.output].rows[-1]["neurons"]) < LEAST_NEURONS
    scale = network.rms[min(last, network.output)]
    if few and scale > _FEW_RAW:
        return 0.0
    return thresholds.collapse_raw if few or scale > thresholds.collapse_raw_scale else thresholds.collapse_after


def _known(network: Network) -> dict[tuple[int, int], Verdict]:
    """The causes found so far, by the head and the onset of a collapse: all layers behind a head share them."""
    return {}
