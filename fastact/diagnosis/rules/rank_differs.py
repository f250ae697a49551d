"""One rank unlike the others: of the ranks that train one network, each sees a part of the same batches."""

from collections.abc import Container, Sequence
from typing import ClassVar, Final

from fastact.diagnosis import layer_types
from fastact.diagnosis import rank_differences as ranks
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.finding import Evidence, Finding, Severity, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.ranks import Born, Difference, RankTable, Unequal
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, comes_first, not_after, upstream
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, positive_field, share_field
from fastact.text import number, percent, some_ranks

#: Times the median from which a difference is no warning any more.
_SERIOUS: Final = 10.0
#: Copies that came to be equal again so often are made equal on purpose now and then.
_ON_PURPOSE: Final = 2


class RankDiffersThresholds(CommonThresholds):
    """What `RankDiffers` compares with."""

    rank_rows: int = count_field(10, "rows; rank differs: it has differed for so many rows without a break. Chosen")
    rank_ratio: float = factor_field(
        2.0, "factor; rank differs: its root mean square is so many times the ranks' median, or their median is so "
        "many times its own. Chosen"
    )  # fmt: skip
    rank_shift: float = positive_field(
        0.5, "standard deviations; rank differs: the mean of what the model is given is so far from the ranks' median. "
        "Chosen"
    )  # fmt: skip
    rank_dead: float = share_field(
        0.5, "share of neurons; rank differs: so many more are dead than on the median rank. Chosen"
    )
    rank_deviations: float = positive_field(
        5.0, "times the typical distance of a rank from the median; rank differs: of four ranks or more, a difference "
        "is no less. Chosen"
    )  # fmt: skip


def limits_of(thresholds: RankDiffersThresholds) -> ranks.Limits:
    """What rows of ranks are compared with as they come."""
    return ranks.Limits(thresholds.rank_ratio, thresholds.rank_shift, thresholds.rank_dead, thresholds.rank_deviations)


def _brings(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """NaN of one rank is in all weights after the next update; what else it has alone, it has from there on."""
    if cause.evidence.get("kind") == "nan":
        return comes_first(cause, effect, around) and cause.first_step <= effect.first_step
    alone = bool(effect.ranks) and set(effect.ranks) <= set(cause.ranks)
    return alone and cause.evidence.get("kind") != "copies" and not_after(cause, effect, around)


def _goes_on(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Down the network, on the same ranks; copies of one kind all at once."""
    one, other = cause.evidence.get("kind"), effect.evidence.get("kind")
    if "copies" in (one, other):
        return one == other and set(effect.ranks) <= set(cause.ranks) and comes_first(cause, effect, around)
    if one == other == "nan":
        return comes_first(cause, effect, around)
    return bool(set(cause.ranks) & set(effect.ranks)) and upstream(cause, effect, around)


class RankDiffers(Rule[RankDiffersThresholds]):
    """One rank, of several that see parts of the same batches, unlike the others.

    Formula:
        NaN or Inf: on no more than half of the ranks in the step in which the layer began to have any. Copies: a
        parameter that was the same on all ranks in one row, by the sum of its bits, and is not in the last one; where
        there is no such sum, by its count, extremes and moments. Else rank_rows (10) rows without a break in which the
        rank's rms is rank_ratio (2) times the median of the ranks, or less than the median by that factor; or its share
        of dead neurons is rank_dead (0.5) above the median; or, of what the model is given, its mean is rank_shift
        (0.5) standard deviations from the median, always on the same side. Of four ranks or more each difference is
        also rank_deviations (5) times the typical distance of a rank from the median, which is 1.4826 times the median
        of all distances. Two ranks are compared with each other. A row with fewer than half of the elements of the
        median rank's, such as the last of an epoch, says nothing. Serious where the ratio is at least 10; NaN and
        unequal copies are critical.

    What more than half of the ranks have is no rank's own. Gradients are not judged: with a loss scaler one rank has
    Inf now and then. Copies that become equal again and again are averaged on purpose now and then.

    Source:
        The median and its deviation are those of a robust z-score (Iglewicz and Hoaglin, 1993); factors are chosen.
        That copies of weights should agree between replicas, and betray a faulty device where they do not, is in Dixit
        et al., Silent data corruptions at scale, 2021.
    """

    condition = "rank_differs"
    adjective = "one rank unlike the others"
    judges = frozenset({layer_types.LAYERS, layer_types.PARAMETER, layer_types.LOSSES})
    gradual = True
    explains: ClassVar = {"rank_differs": _goes_on} | dict.fromkeys(
        (
            "exploding", "outlier_channels", "overflow_risk", "non_finite", "saturated", "underflow_risk", "dead",
            "vanishing", "constant", "oscillating", "drifting", "not_learning",
        ),
        _brings,
    )  # fmt: skip

    def needs(self, thresholds: RankDiffersThresholds) -> int:
        """One row."""
        return 1

    def suspects(self, network: Network, thresholds: RankDiffersThresholds) -> Container[int] | None:
        """None where there is one rank."""
        return () if network.ranks is None else None

    def check(self, layer: LayerView, network: Network, thresholds: RankDiffersThresholds) -> Finding | Outcome:
        """Which rank it is, and in what it differs."""
        table = network.ranks
        if table is None:
            return Outcome.NOT_APPLICABLE
        name = layer.info.name
        born = table.born(name)
        if born is not None and born.step >= layer.oldest and 2 * len(born.ranks) <= born.of:
            return self._not_finite(layer, network, table, born)
        unequal = table.unequal(name)
        if unequal is not None and unequal.again < _ON_PURPOSE:
            return self._unequal(layer, unequal)
        for kind in ranks.KINDS:
            found = table.differing(name, kind, thresholds.rank_rows)
            if found and 2 * len(found) <= max(table.of(name), 2):
                return self._unlike(layer, network, table, kind, found)
        return Outcome.NOT_FOUND

    def _not_finite(self, layer: LayerView, network: Network, table: RankTable, born: Born) -> Finding:
        rows = layer.since(born.step)
        now = bool((rows["nans"][-1:] | rows["pos_infs"][-1:] | rows["neg_infs"][-1:]).any())
        spread = " It is on all ranks now." if now and _spread_since(layer, table, born) else ""
        on = some_ranks(born.ranks, born.of)
        message = f"{layer.name} had NaN or Inf on {on} alone, in step {born.step}.{spread}"
        evidence = Evidence(kind="nan", rank=born.ranks[0], ranks=len(born.ranks), of_ranks=born.of)
        told = best(_causes(layer, network, table, born.ranks, born.step, from_updates=True))
        severity = graded(serious=True, critical=now)
        return self._told(told.finding(layer.info.name, self.condition, severity, born.step, evidence, message), born)

    def _unequal(self, layer: LayerView, unequal: Unequal) -> Finding:
        all_of_them = len(unequal.ranks) == unequal.of
        who = (
            f"no more than half of the {unequal.of} ranks have the same"
            if all_of_them
            else f"{some_ranks(unequal.ranks, unequal.of)} {'has' if len(unequal.ranks) == 1 else 'have'} other values"
        )
        message = f"{layer.name} was the same on all ranks and has not been since step {unequal.step}: {who}."
        evidence = Evidence(kind="copies", rank=unequal.ranks[0], ranks=len(unequal.ranks), of_ranks=unequal.of)
        told = best([_NOT_AVERAGED] if all_of_them else [_CHANGED, _NOT_AVERAGED])
        name = layer.info.name
        return self._told(told.finding(name, self.condition, "critical", unequal.step, evidence, message), unequal)

    def _unlike(
        self, layer: LayerView, network: Network, table: RankTable, kind: str, found: Sequence[Difference]
    ) -> Finding:
        of = table.of(layer.info.name)
        which = tuple(each.rank for each in found)
        first = min(found, key=lambda each: (each.step, each.rank))
        on = some_ranks(which, of)
        what, usual = _WORDS[kind]
        shown = percent if kind == ranks.DEAD else number
        than = f"that of rank {_other(table, layer, first)}" if of == 2 else f"{usual} the ranks' median"
        message = (
            f"{layer.name} is unlike the other ranks' on {on} since step {first.step}: {what} is {shown(first.own)}, "
            f"{than} is {shown(first.usual)}."
        )
        ratio = max(first.own, first.usual) / max(min(first.own, first.usual), 1e-300) if kind in _SIZES else None
        evidence = Evidence(
            kind=kind, rank=first.rank, ranks=len(which), of_ranks=of, own=first.own, usual=first.usual, ratio=ratio,
            rows=first.rows,
        )  # fmt: skip
        severity: Severity = graded(serious=ratio is not None and ratio >= _SERIOUS, critical=False)
        told = best(_causes(layer, network, table, which, first.step, from_updates=False))
        finding = told.finding(layer.info.name, self.condition, severity, first.step, evidence, message)
        return finding.on_ranks(which, of)

    def _told(self, finding: Finding, where: Born | Unequal) -> Finding:
        return finding.on_ranks(where.ranks, where.of)


_SIZES: Final = frozenset({ranks.LARGE, ranks.SMALL})
_WORDS: Final = {
    ranks.LARGE: ("its rms", "where"),
    ranks.SMALL: ("its rms", "where"),
    ranks.DEAD: ("its share of dead neurons", "where"),
    ranks.ABOVE: ("its mean", "where"),
    ranks.BELOW: ("its mean", "where"),
}


def _other(table: RankTable, layer: LayerView, found: Difference) -> int:
    there, _ = table.last(layer.info.name)
    return next((rank for rank in there if rank != found.rank), found.rank)


def _spread_since(layer: LayerView, table: RankTable, born: Born) -> bool:
    _, rows = table.last(layer.info.name)
    bad = (rows["nans"] | rows["pos_infs"] | rows["neg_infs"]) != 0
    return len(rows) > len(born.ranks) and bool(bad.all())


def _input_differs(network: Network, table: RankTable, which: Sequence[int], step: int) -> bool | None:
    """Whether what the model is given differs on these ranks, too; None where that was not recorded on several."""
    given = network.input
    if given is None or table.of(given.info.name) < 2:
        return None
    born = table.born(given.info.name)
    if born is not None and born.step <= step and set(born.ranks) & set(which):
        return True
    differ = (each for kind in ranks.KINDS for each in table.differing(given.info.name, kind, 3))
    return any(each.rank in which for each in differ)


def _causes(
    layer: LayerView, network: Network, table: RankTable, which: Sequence[int], step: int, *, from_updates: bool
) -> list[Cause]:
    """Its data, its copy of the weights, or its device."""
    input_too = True if layer.info.layer_type == layer_types.INPUT else _input_differs(network, table, which, step)
    equal = table.equal_copies(which)
    alike = "what the model is given is like that of the other ranks"
    data = Cause(
        "rank_data",
        "The part of the data that it gets differs: another shard, file or preprocessing, or samples that are broken.",
        (
            "look at this rank's batch of that step: the sampler's indices and the file that they come from",
            "shuffle before the data is shared out to ranks",
        ),
        ("what the model is given differs on it, too",) if input_too else (),
        (alike,) if input_too is False and not from_updates else (),
    )
    weights = Cause(
        "rank_weights",
        "Its copy of the weights or of the running statistics is another one.",
        (
            "compare the parameters and buffers between the ranks (weights=True records them)",
            "load the same checkpoint on every rank, or broadcast it from one",
        ),
        (alike,) if input_too is False and not equal else (),
        ("its copies of the weights are those of the others",) if equal else (),
    )
    device = Cause(
        "rank_device",
        "That rank computes something else from the same: a faulty device or memory, or another version of the code.",
        (
            "run this rank's part on another device, and take the device out if the difference stays behind",
            "compare the versions of the libraries and drivers on its machine with the others'",
        ),
        (alike, "its copies of the weights are those of the others") if input_too is False and equal else (),
        ("what the model is given differs on it, too",) if input_too else (),
    )
    return [data, weights, device]


_CHANGED: Final = Cause(
    "silent_corruption",
    "Its copy changed by itself: a bit flipped in memory or on the way, or code that writes to it on this rank alone.",
    (
        "load the last checkpoint from before this step, on all ranks",
        "take the rank's device out and test it",
        "broadcast the parameters from one rank now and then",
    ),
    ("most ranks still have the same",),
)
_NOT_AVERAGED: Final = Cause(
    "not_synchronised",
    "Gradients are not averaged over the ranks: each updates its own copy.",
    (
        "wrap the model in DistributedDataParallel, and call the wrapper, not the module inside",
        "leave no_sync() before the last of the accumulated batches",
        "accept the finding if the copies are averaged now and then on purpose",
    ),
)
