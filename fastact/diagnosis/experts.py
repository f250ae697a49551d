"""Dead experts: the experts of a mixture to which the router sends nothing any more.

An expert is known by its name, such as ``blocks.1.experts.3.up``. One without a token either has rows without elements
or, where it is not called at all, no rows while its siblings go on having some. One that was never called is not known.
"""

import re
from typing import Any, Final

import numpy as np

from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.rule import COLUMN, Cells, LayerView, Network, Outcome, Track
from fastact.diagnosis.thresholds import Thresholds
from fastact.text import percent

__all__ = ["STARVED", "is_expert", "starved"]

#: What comes before the expert's number, the number, and what comes after it: the same part of its siblings differs in
#: the number alone.
_NAME: Final = re.compile(r"(.*?experts?[._\[]?)(\d+)(.*)", re.IGNORECASE | re.DOTALL)

_COUNT: Final = COLUMN["count"]


def _nothing(cells: Cells) -> Any:
    return cells[_COUNT] == 0


#: Rows without an element.
STARVED: Final = Track("starved", _nothing)


def is_expert(name: str) -> bool:
    """Whether a layer is a part of an expert.

    Example:
        >>> is_expert("blocks.1.experts.3.up"), is_expert("experts.router")
        (True, False)
    """
    return "xpert" in name and _NAME.fullmatch(name) is not None


def starved(layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | Outcome | None:
    """The finding for a part of an expert that gets no tokens; None where it gets some, or is no expert's.

    Formula:
        Found when since its last token its siblings had tokens in at least dead_window (20) recorded steps, and at
        least dead_samples (300) for each expert that there is: by the rule of three it then gets less than 1% of its
        even share, at 95% confidence. Until then there is not enough data.
    """
    match = _NAME.fullmatch(layer.info.name) if "xpert" in layer.info.name else None
    if match is None:
        return None
    everyone = _siblings(network)[match[1], match[3]]
    siblings = [view for view in everyone if view is not layer]
    fed = layer.rows["step"][layer.rows["count"] > 0]
    last = int(fed[-1]) if len(fed) else int(layer.rows[0]["step"]) - 1
    if all(int(sibling.rows[-1]["step"]) <= last for sibling in siblings):
        return None
    steps = []
    tokens = 0.0
    for sibling in siblings:
        rows = sibling.rows[(sibling.rows["step"] > last) & (sibling.rows["count"] > 0)]
        steps.append(rows["step"])
        tokens += float((rows["count"] / np.maximum(rows["neurons"], 1)).sum())
    since = np.unique(np.concatenate(steps))
    if len(since) < thresholds.min_rows:
        return None
    if len(since) < thresholds.dead_window or tokens < thresholds.dead_samples * len(everyone):
        return Outcome.NOT_ENOUGH_DATA
    streak = layer.streaks.get(STARVED.name)
    if streak is not None:
        first = streak.step
    elif any(int(sibling.rows[0]["step"]) <= last for sibling in siblings):
        first = int(since[0])
    else:  # that step has left all windows
        first = last + int(np.diff(since).min())
    return Finding(
        layer=layer.info.name,
        condition="dead",
        severity="warning",
        first_step=first,
        evidence=Evidence(
            expert=match[1] + match[2],
            experts=len(everyone),
            tokens_of_siblings=tokens,
            recorded_steps=len(since),
            even_share=1.0 / len(everyone),
        ),
        message=f"{layer.name} has been dead since step {first}: expert {match[2]} of {len(everyone)} got none of the "
        f"{tokens:,.0f} tokens since then; an even share is {percent(1.0 / len(everyone))}.",
        cause="The router sends all tokens to other experts: what gets none learns nothing, and is chosen even less.",
        remedies=(
            "add a loss that balances the load between the experts, or raise its weight",
            "add noise to the router's scores, or bound how many tokens an expert takes",
            "use fewer experts",
        ),
    )


def _siblings(network: Network) -> dict[tuple[str, str], list[LayerView]]:
    """The layers that are the same part of an expert, by what comes before and after its number."""
    if network.experts is None:
        network.experts = {}
        for view in network.layers:
            match = _NAME.fullmatch(view.info.name) if "xpert" in view.info.name else None
            if match is not None:
                network.experts.setdefault((match[1], match[3]), []).append(view)
    return network.experts
