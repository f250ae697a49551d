"""The experts of a mixture, known by their layers' names, and those to which the router has stopped sending tokens.

An expert's layer has a name such as ``blocks.1.experts.3.up``. An expert without a token either has rows without
elements or, where it is not called at all, no rows while its siblings still get some. One that was never called is not
known.
"""

import re
from typing import Final, NamedTuple

import numpy as np

from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import RowCondition
from fastact.fields import COLUMN

#: What comes before the expert's number, the number, and what comes after it: the corresponding layer of each sibling
#: differs in the number alone.
_NAME: Final = re.compile(r"(.*?experts?[._\[]?)(\d+)(.*)", re.IGNORECASE | re.DOTALL)

#: Rows without an element.
STARVED: Final = RowCondition("starved", lambda cells: cells[COLUMN["count"]] == 0)


class Starvation(NamedTuple):
    """An expert's time without tokens.

    Attributes:
        expert: its layers' common name, such as ``blocks.1.experts.3``.
        number: its number among the experts, as the name has it.
        experts: how many there are.
        steps: recorded steps in which its siblings had tokens since its last one.
        first_step: the first step without.
        tokens: how many its siblings had since then.
    """

    expert: str
    number: str
    experts: int
    steps: int
    first_step: int
    tokens: float


def _match(name: str) -> re.Match[str] | None:
    return _NAME.fullmatch(name) if "xpert" in name else None


def is_expert(name: str) -> bool:
    """Whether a layer is a part of an expert.

    Example:
        >>> is_expert("blocks.1.experts.3.up"), is_expert("experts.router")
        (True, False)
    """
    return _match(name) is not None


def expert_of(name: str) -> tuple[str, str] | None:
    """The mixture that a layer's expert belongs to and the expert's number; None for a layer that is no expert's.

    Example:
        >>> expert_of("blocks.1.experts.3.up")
        ('blocks.1.experts.', '3')
    """
    match = _match(name)
    return None if match is None else (match[1], match[2])


def side_by_side(one: tuple[str, str] | None, other: tuple[str, str] | None) -> bool:
    """Whether two layers are parts of different experts of one mixture (`expert_of`): neither is fed by the other."""
    return one is not None and other is not None and one[0] == other[0] and one != other


def starvation(layer: LayerView, network: Network, min_steps: int) -> Starvation | None:
    """For how long a part of an expert has had no tokens while its siblings had some.

    Args:
        layer: any layer.
        network: all layers.
        min_steps: recorded steps; None is returned for a shorter time.

    Returns:
        None for a layer that is no expert's, or that had tokens within the last `min_steps` steps of its siblings.
    """
    match = _match(layer.info.name)
    if match is None:
        return None
    everyone = network.once(_siblings)[match[1], match[3]]
    siblings = [view for view in everyone if view is not layer]
    fed = layer.rows["step"][layer.rows["count"] > 0]
    last = int(fed[-1]) if len(fed) else int(layer.rows[0]["step"]) - 1
    if all(int(sibling.rows[-1]["step"]) <= last for sibling in siblings):
        return None
    fed_rows = [sibling.rows[(sibling.rows["step"] > last) & (sibling.rows["count"] > 0)] for sibling in siblings]
    since = np.unique(np.concatenate([rows["step"] for rows in fed_rows]))
    if len(since) < min_steps:
        return None
    tokens = 0.0
    for rows in fed_rows:
        tokens += float((rows["count"] / np.maximum(rows["neurons"], 1)).sum())
    streak = layer.streaks.get(STARVED.name)
    if streak is not None:
        first = streak.step
    elif len(since) == 1 or any(int(sibling.rows[0]["step"]) <= last for sibling in siblings):
        first = int(since[0])
    else:  # the first step without has left all windows: by their distance it came right after the last one with
        first = last + int(np.diff(since).min())
    return Starvation(match[1] + match[2], match[2], len(everyone), len(since), first, tokens)


def _siblings(network: Network) -> dict[tuple[str, str], list[LayerView]]:
    """The layers that are the corresponding parts of experts, by what comes before and after the expert's number."""
    groups: dict[tuple[str, str], list[LayerView]] = {}
    for view in network.layers:
        match = _match(view.info.name)
        if match is not None:
            groups.setdefault((match[1], match[3]), []).append(view)
    return groups
