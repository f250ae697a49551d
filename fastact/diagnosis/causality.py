"""When one finding explains another: the vocabulary in which a rule says what it explains (`Rule.explains`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastact.diagnosis.finding import Finding

__all__ = [
    "Circumstances",
    "Explains",
    "comes_first",
    "earlier_and_not_after",
    "key",
    "not_after",
    "same_layer",
    "upstream",
]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a pair of findings is judged by besides the findings themselves.

    Attributes:
        place: each layer's place in forward order.
        order: each finding's place in the order of time, then of layers, then of `RULES`; by `key`.
        source: for each layer whose neurons are those of its input (`layer_types.follows_input`), the layer before it.
        slack: steps; `min_rows` rows of the layer that is recorded least often. Onsets closer than this have no order.
    """

    place: Mapping[str, int]
    order: Mapping[tuple[str, str], int]
    source: Mapping[str, str]
    slack: float


#: Whether the first finding, the cause, explains the second one, the effect.
Explains = Callable[[Finding, Finding, Circumstances], bool]


def key(finding: Finding) -> tuple[str, str]:
    """A finding's layer and condition, which are unique in a diagnosis."""
    return finding.layer, finding.condition


def comes_first(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause began first. Updates tie all layers together, so what comes later follows, wherever it is."""
    return around.order[key(cause)] < around.order[key(effect)]


def upstream(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause is in a layer before the effect's."""
    return around.place[cause.layer] < around.place[effect.layer]


def not_after(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause is in the effect's layer or in one before it."""
    return around.place[cause.layer] <= around.place[effect.layer]


def earlier_and_not_after(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause began no later, in the effect's layer or in one before it."""
    return cause.first_step <= effect.first_step and not_after(cause, effect, around)


def same_layer(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Both are in one layer."""
    del around
    return cause.layer == effect.layer
