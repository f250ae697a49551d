"""What a training loop does to gradients and weights besides teaching: never cleared, cleared too soon, put back.

Each is proved by rows of parameters, or by what an adapter saw of gradients from one step to the next.
"""

import math
from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import updates
from fastact.diagnosis.network import LayerView, Network
from fastact.text import number

#: Rows in which what is the same each time is no chance.
_ROWS: Final = 3
#: Settings by which Keras's optimisers clip gradients, and the factor by which these are larger where it matters.
_LIMITS: Final = ("clipnorm", "global_clipnorm", "clipvalue")
_CUT: Final = 100.0
#: Share by which norms differ that are cut to one length: the norm is summed in 32 bits, and of a cut one a small
#: number is taken off.
_ROUNDING: Final = 1e-3


def never_cleared(network: Network) -> Cause | None:
    """Gradients that pile up from step to step."""
    if not updates.parameters(network).never_cleared:
        return None
    return Cause(
        "no_zero_grad",
        "Gradients are never cleared, so that each step is made by the sum of those of all steps before.",
        ("call optimizer.zero_grad() in each step, before loss.backward()",),
        ("the gradients of a step were still there, unchanged, when the next backward pass added its own",),
        proved=True,
    )


def cleared_early(network: Network) -> Cause | None:
    """Gradients that are gone before they are used."""
    known = updates.parameters(network)
    if not known.cleared_early:
        return None
    return Cause(
        "gradients_cleared",
        "Gradients are cleared between the backward pass and the step, so that the optimiser has none.",
        ("call zero_grad() before loss.backward(), or after optimizer.step(), not in between",),
        ("the backward pass made gradients, and they were gone when the optimiser stepped",),
        proved=True,
    )


def thrown_away(network: Network) -> Cause | None:
    """Gradients that are cleared though no step has used them."""
    if not updates.parameters(network).thrown_away:
        return None
    return Cause(
        "no_step",
        "optimizer.step() comes far more seldom than backward passes, and most gradients are cleared unused.",
        (
            "call optimizer.step() after each loss.backward(): look at the indentation",
            "to add gradients up over batches, call zero_grad() after the step alone",
        ),
        ("gradients were cleared and made anew several times between two steps of the optimiser",),
        proved=True,
    )


def put_back(network: Network) -> Cause | None:
    """Weights that are the same before each step, though the steps change them."""
    known = updates.parameters(network)
    steps = 0
    for name in known.held:
        weight, update = (network.everything.get(name + suffix) for suffix in ("", layer_types.UPDATE_SUFFIX))
        if weight is None or update is None or min(len(weight.rows), len(update.rows)) < _ROWS:
            continue
        if bool((update.rows["zeros"][:-1] >= update.rows["count"][:-1]).all()):
            continue  # it is not changed
        if not _same(weight):
            return None
        steps = max(steps, len(weight.rows))
    if not steps:
        return None
    return Cause(
        "no_update",
        "What the optimiser changes is put back: the weights do not change from one step to the next.",
        (
            "look for load_state_dict(), a copy or an average that is written over the model in each step",
            "load the best weights once, after the training, and copy them (copy.deepcopy) when they are kept",
        ),
        (f"the weights were the same, to the last bit, before each of {steps:,} steps that changed them",),
        proved=True,
    )


def _same(view: LayerView) -> bool:
    return all(bool((view.rows[name] == view.rows[name][0]).all()) for name in ("mean", "std", "min", "max"))


def clipped(network: Network) -> str:
    """That all gradients together have one norm in each step, as where they are clipped to it; else ""."""
    return network.once(_clipped)


def _told_to_clip(network: Network) -> str:
    """That an optimiser is set to clip gradients, which are many times as large; of one that clips them itself."""
    limits = {
        key: float(value)
        for view in network.typed(layer_types.OPTIMISER)
        for key in _LIMITS
        if isinstance(value := view.info.facts.get(key), int | float) and value > 0.0
    }
    views = network.typed(layer_types.PARAMETER_GRADIENT)
    for key, limit in limits.items():
        sizes = []
        for view in views:
            row = view.rows[-1]
            most = max(-float(row["min"]), float(row["max"]))
            sizes.append(most if key == "clipvalue" else math.hypot(row["mean"], row["std"]) * math.sqrt(row["count"]))
        size = math.hypot(*sizes) if key == "global_clipnorm" else max(sizes, default=0.0)
        if size > _CUT * limit:
            return f"the optimiser clips gradients to {number(limit)} ({key}), and they are up to {number(size)}"
    return ""


def _clipped(network: Network) -> str:
    if told := _told_to_clip(network):
        return told
    views = network.typed(layer_types.PARAMETER_GRADIENT)
    if not views or len(views[0].rows) < _ROWS:
        return ""
    steps = views[0].rows["step"]
    if any(len(view.rows) != len(steps) or (view.rows["step"] != steps).any() for view in views):
        return ""
    with np.errstate(all="ignore"):
        squares = [view.rows["count"] * (view.rows["mean"] ** 2 + view.rows["std"] ** 2) for view in views]
        norms = np.sqrt(np.sum(squares, axis=0))
    least, most = float(norms.min()), float(norms.max())
    if not least > 0.0 or not most - least <= _ROUNDING * least:  # NaN is none
        return ""
    return f"all gradients together have a norm of {number(most)} in every step, as if clipped to it"
