"""What is never chosen: codes of a codebook, rows of a table, experts of a mixture."""

import math
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import one_lookup, peaked_softmax
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.evidence import baselines
from fastact.diagnosis.experts import expert_of, is_expert
from fastact.diagnosis.finding import NOTE, Evidence, Finding, Severity, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Row, RowCondition, share_at_least
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, not_after
from fastact.diagnosis.rules.dead import DeadThresholds, onset
from fastact.diagnosis.thresholds import count_field, share_field
from fastact.fields import COLUMN
from fastact.history import MAX_WINDOW, LayerInfo
from fastact.text import percent, shown

_COUNT, _NEURONS, _DEAD, _MEAN = COLUMN["count"], COLUMN["neurons"], COLUMN["dead_neurons"], COLUMN["mean"]
_COUNTED: Final = layer_types.COUNTED

#: Rows without an element: an expert that was called without tokens.
_STARVED: Final = RowCondition("starved", lambda cells: cells[_COUNT] == 0)
#: What the reason has for a watched module that never ran.
_NEVER_RAN: Final = "never ran"
#: Experts that a message names.
_MOST: Final = 8
#: An expert that was without tokens for a time, and got some again, may be so again: for this many times as long.
_LONGER: Final = 2


class UnusedThresholds(DeadThresholds):
    """What `Unused` compares with; of dead, how many rows and samples are enough."""

    unused_lookups: int = count_field(
        20,
        "lookups of each row of a table on average; so many must have been seen since a row was chosen. Of rows that "
        "are chosen at a seventh of the average, 1 in 20 is missed by as many (rule of three). Chosen",
    )
    unused_warning: float = share_field(
        0.50, "share of a table's rows, or of a mixture's experts (there: serious from here); unused: warning from "
        "here. Reported as collapse are 40 to 50 of 512 codes in use (bshall/VectorQuantizedVAE issue 3). Chosen"
    )  # fmt: skip
    unused_serious: float = share_field(
        0.80, "share of a table's rows; unused: serious from here. Chosen", "unused_warning"
    )
    unused_noted: float = share_field(
        0.95, "share of a table's rows whose index the data chose (words); unused: noted from here. Chosen"
    )


class _Expert(NamedTuple):
    """An expert of a mixture, by the parts of it that have rows.

    Attributes:
        number: its number among the experts, as the names have it.
        parts: its layers.
        steps: the recorded steps in the window in which it had tokens, rising.
        tokens: how many, in each of them.
        last: the last step in which it had tokens, and -1 where it never had any.
        empty: the step since which it is called without tokens; -1 where it is not called so.
    """

    number: str
    parts: Sequence[LayerView]
    steps: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.float64]
    last: int
    empty: int


class _Starved(NamedTuple):
    """An expert without tokens: since which step, how many steps its mixture had some since, and how many tokens."""

    expert: _Expert
    since: int
    steps: int
    tokens: float


def _of_an_unused_expert(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether the effect is what is left in the layers of an expert that is not called any more."""
    expert = around.expert.get(effect.layer)
    numbers = str(cause.evidence.get("unused", "")).split(", ")
    return expert is not None and cause.evidence.get("mixture") == expert[0] and expert[1] in numbers


def _by_the_choice(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """What is left in an unused expert; the router that chooses others; all that is made of one and the same code."""
    if effect.cause_name == "router":
        return cause.cause_name == "router"
    if cause.cause_name in ("codes_never_chosen", "data_changed", "inputs_equal"):
        return not_after(cause, effect, around)
    return _of_an_unused_expert(cause, effect, around)


def _of_its_router(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """A router that leaves no choice since before its experts went without tokens."""
    return cause.cause_name == effect.cause_name == "router"


class Unused(Rule[UnusedThresholds]):
    """Codes that are never chosen, and experts that get no tokens.

    Formula:
        A table's row is unused when it was not looked up for dead_window (20) rows and until the table was looked up
        unused_lookups (20) times for each of its rows. Found when unused_warning (50%) of a codebook's rows are,
        serious from unused_serious (80%). Rows whose index the data chose (words) are noted from unused_noted (95%).
        An expert is unused when its mixture has had tokens in at least dead_window (20) recorded steps since its last
        one, and at least dead_samples (300) tokens for each expert that there is: by the rule of three it then gets
        less than 1% of its even share, at 95% confidence. Where it had tokens again after a pause in the window, it
        takes twice as long as the longest pause. One that was watched and never called is counted too. All unused
        experts of a mixture are one finding, serious where they are half of the experts or more, else a warning, or a
        note where the loss is far below a constant answer's: then the others do what there is to do.

    Which rows of a table are looked up is recorded under the table's name and ":usage"; codes that are restarted are
    chosen again, and with that in use.

    Source:
        The rule of three: Hanley and Lippman-Hand, JAMA 1983. Codebook collapse: van den Oord et al., Neural discrete
        representation learning, 2017; Dhariwal et al., Jukebox, 2020, restart codes that are hardly used. Experts:
        Shazeer et al., Outrageously large neural networks, 2017, on gates that always choose the same few.
    """

    condition = "unused"
    adjective = "never used"
    shows = "zero_ratio"
    judges = layer_types.OUTPUTS | layer_types.COUNTED
    explains: ClassVar = {
        **dict.fromkeys(("drifting", "oscillating"), _of_an_unused_expert),
        **dict.fromkeys(("dead", "vanishing", "constant", "collapsed"), _by_the_choice),
    }
    explained_by: ClassVar = dict.fromkeys(("constant", "collapsed"), _of_its_router)

    def applies(self, info: LayerInfo) -> bool:
        """Counts of lookups, and parts of experts."""
        return info.layer_type in _COUNTED or is_expert(info.name)

    def needs(self, thresholds: UnusedThresholds) -> int:
        """An expert that was called once has one row."""
        return 1

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: UnusedThresholds) -> tuple[Cascade, ...]:
        """Rows after which that share of the table's rows was not chosen for long."""
        if info.layer_type not in _COUNTED:
            return (Cascade((_STARVED,)),)
        share = thresholds.unused_warning if peaked_softmax.is_codebook(info) else thresholds.unused_noted
        back = _rows_needed(first, thresholds)
        return (Cascade((RowCondition("unused", share_at_least(share, _DEAD, _NEURONS), lookback=back),)),)

    def check(self, layer: LayerView, network: Network, thresholds: UnusedThresholds) -> Finding | Outcome:
        """The share of a table's rows, or the experts of a mixture: told at one layer of it."""
        if layer.info.layer_type in _COUNTED:
            return self._table(layer, network, thresholds)
        known = expert_of(layer.info.name)
        if known is None:
            return Outcome.NOT_APPLICABLE
        told = network.once(_mixtures, thresholds).get(known[0], Outcome.NOT_FOUND)
        if isinstance(told, Finding) and told.layer != layer.info.name:
            return Outcome.NOT_FOUND
        return told

    def _table(self, layer: LayerView, network: Network, thresholds: UnusedThresholds) -> Finding | Outcome:
        """A table's rows that are not chosen."""
        streak = layer.streaks.get("unused")
        if not peaked_softmax.is_codebook(layer.info) and (found := one_lookup.one_index(layer, network)) is not None:
            return found
        if streak is None:
            enough = len(layer.rows) >= _rows_needed(layer.first, thresholds)
            return Outcome.NOT_FOUND if enough else Outcome.NOT_ENOUGH_DATA
        last = layer.rows[-1]
        rows, unused = int(last["neurons"]), int(last["dead_neurons"])
        if rows < 1:
            return Outcome.NOT_ENOUGH_DATA
        with np.errstate(all="ignore"):
            lookups: npt.NDArray[np.float64] = np.cumsum(layer.rows["mean"][::-1] * layer.rows["count"][::-1])
        first = int(np.searchsorted(lookups, thresholds.unused_lookups * rows)) + 1
        taken = min(max(first, thresholds.dead_window), len(lookups))
        seen = float(lookups[taken - 1])
        share = min(unused / rows, 1.0)
        since = onset(layer, streak, _rows_needed(layer.first, thresholds))
        name = layer.info.name.removesuffix(layer_types.USAGE_SUFFIX)
        # A table that is an expert itself may have the finding on its mixture under its own name.
        table = layer if is_expert(name) else network.everything.get(name, layer)
        chosen = peaked_softmax.is_codebook(layer.info)
        evidence = Evidence(
            unused_ratio=share, unused=unused, rows=rows, lookups=seen if math.isfinite(seen) else None,
            recorded_steps=taken
        )  # fmt: skip
        what = f"{unused:,} of its {rows:,} {'codes' if chosen else 'rows'} ({percent(share)}) were never chosen"
        kind = table.name if table is not layer else shown(name)
        message = (
            f"{kind} has been partly unused since step {since}: {what} in the last {taken} rows ({seen:,.0f} lookups)."
        )
        severity: Severity = graded(serious=share >= thresholds.unused_serious, critical=False) if chosen else NOTE
        says = (
            "A code that is not chosen gets no gradient and stays where it is, while the encoder's outputs move away, "
            "so it is chosen even less."
            if chosen
            else "The data has few of the indices: the table is larger than what it is used for."
        )
        remedies = _RESTART if chosen else ("make the table smaller, or look whether the data is complete",)
        cause = Cause("codes_never_chosen" if chosen else "data", says, remedies, (what.split(" (", maxsplit=1)[0],))
        return best([cause]).finding(table.info.name, self.condition, severity, since, evidence, message)


_RESTART: Final = (
    "restart codes that are not chosen at the encoder's outputs of the batch",
    "initialise the codes from the data (k-means of a batch of the encoder's outputs)",
    "normalise codes and encoder's outputs, or update the codes by moving averages",
    "use fewer codes",
)


def _rows_needed(first: Row, thresholds: UnusedThresholds) -> int:
    """Rows with as many lookups as the first that it takes at least to call a table's row unused."""
    each = float(first[_MEAN]) if first[_MEAN] > 0.0 else 1.0
    return max(thresholds.dead_window, math.ceil(min(thresholds.unused_lookups / each, float(MAX_WINDOW))))


def _mixtures(network: Network, thresholds: UnusedThresholds) -> dict[str, Finding | Outcome]:
    """For each mixture, by what comes before the experts' numbers, the finding on those that are not chosen."""
    members: dict[str, dict[str, list[LayerView]]] = {}
    for view in network.layers:
        known = expert_of(view.info.name)
        if known is not None:
            members.setdefault(known[0], {}).setdefault(known[1], []).append(view)
    for name, reason in network.unseen.items():
        known = expert_of(name)
        if known is not None and known[0] in members and _NEVER_RAN in reason:
            members[known[0]].setdefault(known[1], [])
    return {name: _mixture(name, experts, network, thresholds) for name, experts in members.items()}


def _mixture(
    name: str, parts: dict[str, list[LayerView]], network: Network, thresholds: UnusedThresholds
) -> Finding | Outcome:
    experts = [_expert(number, views) for number, views in parts.items()]
    whole = _Whole.of(experts)
    starved = [found for expert in experts if (found := _starved(expert, whole, thresholds)) is not None]
    if len(experts) < 2 or not starved:
        return Outcome.NOT_FOUND
    needed = thresholds.dead_samples * len(experts)
    sure = [each for each in starved if each.steps >= thresholds.dead_window and each.tokens >= needed]
    if not sure:
        return Outcome.NOT_ENOUGH_DATA
    since = max(each.since for each in sure)
    numbers = sorted((each.expert.number for each in sure), key=int)
    tokens = min(each.tokens for each in sure)
    share = len(sure) / len(experts)
    # Where those that are not chosen have rows, the first of them; else the first layer of one that is.
    views = [view for each in sure for view in each.expert.parts] or [view for each in experts for view in each.parts]
    layer = min(views, key=lambda view: view.place)
    mixture = name.rstrip("._[")
    evidence = Evidence(
        mixture=name, experts=len(experts), unused_experts=len(sure), unused=", ".join(numbers),
        never_called=sum(each.expert.last < 0 for each in sure), tokens_of_siblings=tokens,
        recorded_steps=min(each.steps for each in sure), even_share=1.0 / len(experts),
    )  # fmt: skip
    named = ", ".join(numbers[:_MOST]) + (", ..." if len(numbers) > _MOST else "")
    verb = "was" if len(sure) == 1 else "were"
    what = f"{len(sure):,} of {len(experts):,} experts ({named}) {verb} not chosen"
    message = (
        f"{shown(mixture)} has been partly unused since step {since}: {what} for any of {tokens:,.0f} tokens; an even "
        f"share is {percent(1.0 / len(experts))}."
    )
    says = (
        "The router sends all tokens to other experts. An expert without tokens learns nothing, so it is chosen even "
        "less."
    )
    cause = Cause("router", says, peaked_softmax.BALANCE, (what,))
    severity: Severity = graded(serious=share >= thresholds.unused_warning, critical=False)
    if severity == "warning" and baselines.has_learned(network):
        severity = NOTE  # the others do what there is to do, and only width is lost, as with dead neurons
    return best([cause]).finding(layer.info.name, Unused.condition, severity, since, evidence, message)


def _expert(number: str, parts: list[LayerView]) -> _Expert:
    """What an expert's part with the most rows says of its tokens."""
    steps, tokens, last, empty = np.zeros(0, np.int64), np.zeros(0), -1, -1
    for view in parts:
        rows = view.rows[view.rows["count"] > 0]
        if len(rows):
            last = max(last, int(rows["step"][-1]))
            if len(rows) > len(steps):
                steps, tokens = rows["step"], rows["count"] / np.maximum(rows["neurons"], 1)
        starved = view.streaks.get(_STARVED.name)
        if starved is not None and starved.step > view.start:
            empty = starved.step
    return _Expert(number, parts, steps, tokens, max(last, empty - 1), empty)


class _Whole(NamedTuple):
    """What the experts of a mixture have together, so that each of thousands is not compared with each.

    Attributes:
        steps: the recorded steps in the window in which any had tokens, rising.
        tokens: how many all had, in each of these and after it.
        start: the first step of any of their layers.
        first: for each expert with rows, by its number, the first step in the window of any of its layers.
        least: the two least of these.
    """

    steps: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.float64]
    start: int
    first: dict[str, int]
    least: list[int]

    @classmethod
    def of(cls, experts: Sequence[_Expert]) -> "_Whole":
        steps, places = np.unique(np.concatenate([each.steps for each in experts]), return_inverse=True)
        tokens = np.bincount(places, np.concatenate([each.tokens for each in experts]), len(steps))
        first = {each.number: min(int(v.rows["step"][0]) for v in each.parts) for each in experts if each.parts}
        start = min((view.start for each in experts for view in each.parts), default=0)
        return cls(steps, tokens[::-1].cumsum()[::-1], start, first, sorted(first.values())[:2])

    def others_begin_after(self, expert: _Expert) -> bool:
        """Whether all rows of the other experts in the window are of later steps than those with its last tokens."""
        least = list(self.least)
        if self.first.get(expert.number) in least:
            least.remove(self.first[expert.number])
        return not least or least[0] > expert.last


def _starved(expert: _Expert, whole: _Whole, thresholds: UnusedThresholds) -> _Starved | None:
    """For how long an expert has had no tokens while others had some; None where it has some, or had a moment ago."""
    begin = int(whole.steps.searchsorted(expert.last, "right"))
    since = whole.steps[begin:]
    if len(since) < thresholds.min_rows:
        return None
    if len(expert.steps) > 1:
        pause = int(np.diff(whole.steps.searchsorted(expert.steps)).max()) - 1
        if len(since) < _LONGER * pause:
            return None
    first = int(since[0])
    if expert.empty >= 0:
        first = expert.empty
    elif expert.last < 0:
        first = whole.start
    elif len(since) > 1 and whole.others_begin_after(expert):
        # The first step without has left the window: by their distance it came right after the last one with.
        first = expert.last + int(np.diff(since).min())
    return _Starved(expert, first, len(since), float(whole.tokens[begin]))
