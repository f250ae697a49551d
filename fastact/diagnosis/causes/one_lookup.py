"""Data that looks up one and the same row of a table, or hardly another: symbols that no vocabulary knows, blanks."""

from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.other_data import CHECK_LOADER
from fastact.diagnosis.evidence import baselines
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import percent, shown

_COUNT, _DEAD = COLUMN["count"], COLUMN["dead_neurons"]
#: Rows of a table: of fewer, one or two may be all that there is.
_TABLE: Final = 16
#: Rows that are as good as one: a blank, and what stands for all that is not known.
_ONE: Final = 2
#: Share of a table's rows that are hardly any, where one of them takes nearly all lookups in each step.
_HARDLY: Final = 0.2
#: Rows that were in use before, and recorded steps for which it must have been so before and since.
_MANY: Final = 8
_STEPS: Final = 5
#: Share of the lookups that one row takes which has always been the only one; and the steps that it takes to say so.
_ALL: Final = 0.9
_LONG: Final = 20
#: Share of a constant answer's loss above which hardly anything was learned without.
_LEARNED: Final = 0.5


def one_index(counts: LayerView, network: Network) -> Finding | None:
    """The finding for a table of which one row alone, or two, are looked up now.

    Args:
        counts: how often each row of the table was looked up, in each recorded step.
        network: all layers.
    """
    rows = counts.rows
    size = int(counts.last[_COUNT])
    used = rows["count"] - rows["zeros"]
    few = used <= _ONE
    if size < _TABLE:
        return None
    if not few[-1]:  # nearly one: of a table that is large enough for all that a batch looks up
        few = (used <= _HARDLY * size) & (size <= counts.rows["mean"] * counts.rows["count"])
        if not few.all() or counts.last[_DEAD] < (1.0 - _HARDLY) * size:
            return None
    other = np.flatnonzero(~few)
    since = int(other[-1]) + 1 if len(other) else 0
    taken = rows[since:]
    with np.errstate(over="ignore", invalid="ignore"):
        share = float((taken["max"] / np.maximum(taken["mean"] * taken["count"], 1.0)).min())
    before = used[max(since - _LONG, 0) : since]
    changed = len(before) >= _STEPS and float(np.median(before)) >= _MANY
    if changed:
        if len(taken) < _STEPS:
            return None
    elif since or len(taken) < _LONG or not share >= _ALL or not baselines.hardly_learned(network, _LONG, _LEARNED):
        return None
    name = counts.info.name.removesuffix(layer_types.USAGE_SUFFIX)
    table = network.everything.get(name, counts)
    kind = table.name if table is not counts else shown(name)
    step = int(taken["step"][0]) if since else counts.start
    now = int(used[-1])
    what = f"{'one' if now == 1 else now} of its {size:,} rows {'is' if now == 1 else 'are'} looked up"
    if changed:
        seen = f"{int(np.median(before))} rows were in use before step {step}, and {now} since"
        cause = _other_symbols(seen)
    else:
        cause = Cause(
            "inputs_equal",
            "All samples have one and the same symbol: a join, a mapping or a vocabulary that does not fit the data.",
            ("look at the indices that the data loader returns, and at what makes them",),
            (f"{percent(share)} of the lookups are of one row",), proved=True,
        )  # fmt: skip
    message = f"{kind} has been partly unused since step {step}: {what}."
    evidence = Evidence(rows=size, used=now, recorded_steps=len(taken))
    return best([cause]).finding(table.info.name, "unused", "serious", step, evidence, message)


def one_symbol(table: str, *, later: bool) -> Cause:
    """The data has one symbol and no other, of the only table; `later`: it was not so from the first row on."""
    if later:
        return _other_symbols(f"of {table} one row alone is looked up since then")
    says = "The input is the same everywhere: one and the same symbol, in all samples and at all places."
    check = "look at the vocabulary: as it is, no symbol of the data may be in it"
    said = (f"of {table} one row alone was ever looked up",)
    return Cause("inputs_constant", says, (check, CHECK_LOADER), said, proved=True)


def _other_symbols(seen: str) -> Cause:
    return Cause(
        "data_changed",
        "The data has other symbols since then, which the table does not have: all become one.",
        ("look at the vocabulary that the data was encoded with", "look at what reads, joins or masks the data"),
        (seen,),
        proved=True,
    )
