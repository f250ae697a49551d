"""Shapes that fit by broadcasting, or by a view, alone: what is compared is not what belongs together."""

import math

import numpy as np

from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.fit import fixes


def shapes(s: Supervised, excess: float) -> Mismatch | None:
    """Shapes that broadcast: each prediction is compared with the targets of all samples."""
    del excess
    if s.function is None and (what := _by_graph(s, "broadcast")):
        return _of_broadcast(what, s.framework)
    if what := _by_graph(s, "weights_broadcast"):
        return _of_weights(what)
    compares = s.function is not None and s.function.family in ("regression", "binary", "hinge")
    ours, other = s.shape, s.target_shape
    squeezes = s.facts.get("squeezes", s.framework == "keras")
    if not compares or squeezes or len(ours) == len(other) or 0 in (len(ours), len(other)):
        return None
    same = [size for size in ours if size > 1] == [size for size in other if size > 1]
    try:
        together = math.prod(np.broadcast_shapes(ours, other))
    except ValueError:
        return None
    if not same or together <= max(math.prod(ours), math.prod(other)):
        return None
    broadcast = _shape(np.broadcast_shapes(ours, other))
    what = f"predictions of shape {_shape(ours)} and targets of shape {_shape(other)} broadcast to {broadcast}"
    return _of_broadcast(what, s.framework)


def _of_broadcast(what: str, framework: str) -> Mismatch:
    says = (
        "Every prediction is compared with the targets of all samples, so that the mean of the targets is best for all."
    )
    return Mismatch("broadcast_shapes", "critical", what, says, (fixes.same_shape(framework),), (what,))


def _of_weights(what: str) -> Mismatch:
    says = (
        "By broadcasting, the error of every sample is multiplied by the weights of all samples, so that all weigh the "
        "same."
    )
    fix = ("give both one shape: the weights as weights.unsqueeze(1), or the errors as errors.squeeze(1)",)
    return Mismatch("broadcast_shapes", "serious", what, says, fix, (what,))


def _by_graph(s: Supervised, fact: str) -> str:
    """What the graph of a loss that was written by hand tells of shapes that broadcast; "" for nothing."""
    known = s.facts.get(fact)
    if not isinstance(known, list) or len(known) != 2 or not all(isinstance(each, list) for each in known):
        return ""
    ours, both = (tuple(int(size) for size in each if isinstance(size, int)) for each in known)
    other = "(n, 1)" if len(ours) == 1 else "(n,)"
    first, second = ("predictions", "targets") if fact == "broadcast" else ("errors", "weights")
    return f"{first} of shape {_shape(ours)} and {second} of shape {other} broadcast to {_shape(both)}"


def _shape(sizes: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def many_for_one(s: Supervised, excess: float) -> Mismatch | None:
    """A number for each time step of a sample, or for each place, under a loss with one target for the sample."""
    del excess
    ours, other = s.shape, s.target_shape
    known = s.function is not None and s.function.family in ("regression", "binary") and not s.facts.get("form")
    known = known and len(other) < len(ours)
    if not known or len(ours) < 3 or not other or ours[0] != other[0] or ours[-1] != other[-1] or s.facts.get("view"):
        return None
    each = math.prod(ours[1:-1])
    if not each > 1 or math.prod(other[1:-1]) != 1 or math.prod(other) != ours[0] * ours[-1]:
        return None
    what = f"predictions of shape {_shape(ours)} are compared with targets of shape {_shape(other)}"
    says = (
        f"Shapes broadcast: each of the {each:,} answers of a sample, the first among them, which have seen next to "
        "nothing, is to be the one target."
    )
    fix = ("return the last step's answer alone: return_sequences=False in the last recurrent layer",)
    return Mismatch("broadcast_shapes", "serious", what, says, fix, (what,))


def viewed(s: Supervised, excess: float) -> Mismatch | None:
    """Classes that are brought to their axis by a view, which leaves numbers where they are in memory."""
    del excess
    before, ours = s.prediction.get("view"), s.shape
    if not s.prediction.get("viewed") or not isinstance(before, list) or len(before) != len(ours) or len(ours) < 3:
        return None
    if before == list(ours) or sorted(before) != sorted(ours) or s.layer is None:
        return None
    turned = f"({', '.join(map(str, before))})"
    what = f"its outputs of shape {turned} are viewed as {_shape(ours)}, which does not change their order"
    says = (
        "A view cuts the same row of numbers anew: along the axis of the classes lie numbers of other places, or of "
        "other samples."
    )
    axes = [before.index(size) if before.count(size) == 1 else place for place, size in enumerate(ours)]
    fix = (f"turn the axes: x.permute({', '.join(map(str, axes))}) in place of view or reshape",)
    return Mismatch("axes_viewed", "serious", what, says, fix, (what,))
