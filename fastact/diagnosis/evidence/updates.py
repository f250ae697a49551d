"""What the rows say of parameters, their gradients and their updates: whether anything moves, and how much of itself.

All is computed once for a diagnosis. A parameter is asked for by the rows that it has: its own, those of its gradient
and those of its update, of which any may be missing.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.experts import is_expert
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.text import number, shown

#: What the row of an optimiser is called, after the model's prefix.
_OPTIMISER: Final = "optimiser"
#: What is not seen of it where gradients are not cleared between two steps, and where they are before a step.
_ZERO_GRAD: Final = "optimiser.zero_grad"
_GRADIENTS: Final = "optimiser.gradients"
_BACKWARD: Final = "optimiser.backward"
#: Rows that say how large an update is now.
_LATEST: Final = 3
#: Rows of gradients, and of updates, that have to be zero to say that they always are: a warm-up may begin at a rate of
#: zero, and a loss scaler skips some steps in its search for a scale, so that updates take one more.
_STILL_GRADIENTS: Final = 2
_STILL: Final = 3
#: Factor by which updates must have grown within the window to be those of a warm-up.
_WARMING: Final = 1.5
#: The usual ratio of updates to weights, as in `learning`; and the share of the window from its first third to now.
_USUAL: Final = 1e-3
_BETWEEN: Final = 5.0 / 6.0
#: Parameters that are named.
_NAMED: Final = 3
#: Share of their size that the mean of a gradient and an update is, for its sign to tell; and share of the parameters.
_LEANS: Final = 0.03
_MOST: Final = 0.75
_ZEROS, _COUNT, _MAX, _STEP, _MEAN = (COLUMN[name] for name in ("zeros", "count", "max", "step", "mean"))


class Parameters(NamedTuple):
    """What is known of a model's parameters; each list has their names, in the order of the model.

    Attributes:
        trainable: those that require a gradient.
        frozen: those that do not.
        outside: trainable ones that no optimiser holds, though one holds others, or there are none others.
        held: trainable ones that an optimiser holds.
        without_gradient: held ones whose gradient has never been there.
        zero_gradient: held ones whose gradient has been zero in each row of the window.
        unmoved: held ones whose update has been zero in each row of the window, while their gradient was not, or is not
            known.
        updated: how many have enough rows of updates to tell.
        measured: how many have enough rows of gradients to tell.
        rate: the largest learning rate of the optimisers' last rows; NaN where it is not known.
        never_steps: whether no optimiser has stepped since the model has been watched.
        foreign: whether the optimisers hold tensors, none of which is one of the model's.
        total: how many trainable tensors there are.
        free: the share of the elements that is trainable, and in an optimiser; 1 where that is not known.
        missing: how many of these no optimiser holds; `outside` may name fewer.
        strays: how many trainable tensors the output is computed from that are neither the model's nor an optimiser's.
        stray_elements: how many numbers these have.
        strays_inside: whether they are known to be used within the model.
        never_cleared: whether the gradients of a step were seen in the next one.
        cleared_early: whether gradients came and were gone when the optimiser stepped.
        thrown_away: whether gradients were cleared several times between two steps of the optimiser.
        elements: how many numbers the model's own trainable parameters have; 0 where that is not known.
    """

    trainable: tuple[str, ...]
    frozen: tuple[str, ...]
    outside: tuple[str, ...]
    held: tuple[str, ...]
    without_gradient: tuple[str, ...]
    zero_gradient: tuple[str, ...]
    unmoved: tuple[str, ...]
    updated: int
    measured: int
    rate: float
    never_steps: bool
    foreign: bool
    total: int
    free: float
    missing: int
    strays: int
    stray_elements: int
    strays_inside: bool
    never_cleared: bool
    cleared_early: bool
    thrown_away: bool
    elements: int


def parameters(network: Network) -> Parameters:
    """What is known of the parameters; computed once for a diagnosis."""
    return network.once(_parameters)


def _parameters(network: Network) -> Parameters:
    everything = network.everything
    known: dict[str, dict[str, Any]] = {}
    optimisers = []
    for name, view in everything.items():
        layer_type = view.info.layer_type
        if layer_type == layer_types.PARAMETER:
            known.setdefault(name, {}).update(view.info.facts)
        elif layer_type in (layer_types.PARAMETER_GRADIENT, layer_types.UPDATE):
            known.setdefault(name.rpartition(":")[0], {}).update(view.info.facts)
        elif layer_type == layer_types.OPTIMISER:
            optimisers.append(view)
    for view in optimisers:  # their facts name those that have no rows
        for name in view.info.facts.get("missing", ()):
            known.setdefault(name, {}).setdefault("trainable", True)
            known[name].setdefault("optimiser", False)
        for name in view.info.facts.get("frozen", ()):
            known.setdefault(name, {}).setdefault("trainable", False)
    no_gradient = [name.removesuffix(layer_types.GRADIENT_SUFFIX) for name in network.unseen
                   if name.endswith(layer_types.GRADIENT_SUFFIX)]  # fmt: skip
    no_gradient += [name for name in _never_graded(optimisers, everything) if name not in no_gradient]
    # Experts without a token have none: that they are not chosen is a finding of its own, and may be over soon.
    no_gradient = [name for name in no_gradient if not is_expert(layer_of(name, network))]
    never_steps = any(name.endswith(_OPTIMISER) for name in network.unseen) and not optimisers
    for name in no_gradient:
        known.setdefault(name, {}).setdefault("trainable", True)
    trainable = [name for name, facts in known.items() if facts.get("trainable", True)]
    outside = [name for name in trainable if known[name].get("optimiser") is False]
    moved = [name for name in outside if _rows_of(everything.get(name + layer_types.UPDATE_SUFFIX)) >= 1]
    outside = [name for name in outside if name not in moved]
    held = [name for name in trainable if name not in outside]
    zero, unmoved = [], []
    updated = measured = 0
    for name in held:
        gradient = everything.get(name + layer_types.GRADIENT_SUFFIX)
        update = everything.get(name + layer_types.UPDATE_SUFFIX)
        is_zero = False
        if gradient is not None and _rows_of(gradient) >= _STILL_GRADIENTS:
            measured += 1
            is_zero = _all_zero(gradient)
            if is_zero:
                zero.append(name)
        if update is None or _rows_of(update) < _STILL:
            continue
        updated += 1
        # Of a table's rows an update takes those that a batch looked up, and a sample of it may miss them all.
        sampled = update.info.facts.get("sampled")
        partial = sampled is not None and sampled < update.info.facts.get("elements", sampled)
        if not is_zero and not partial and _all_zero(update):
            unmoved.append(name)
    rates = [float(view.last[_MAX]) for view in optimisers]
    facts_of = [view.info.facts for view in optimisers]

    def most(fact: str, least: int = 0) -> int:
        """What optimisers say of the whole model, of which one may know more than another."""
        return max([least, *(int(facts.get(fact, 0)) for facts in facts_of)])

    total = most("trainable", len(trainable))
    return Parameters(
        trainable=tuple(trainable),
        frozen=tuple(name for name, facts in known.items() if not facts.get("trainable", True)),
        outside=tuple(outside),
        held=tuple(held),
        without_gradient=tuple(name for name in no_gradient if name in held),
        zero_gradient=tuple(zero),
        unmoved=tuple(unmoved),
        updated=updated,
        measured=measured,
        rate=max(rates, default=math.nan),
        never_steps=never_steps,
        foreign=bool(facts_of) and all(facts.get("parameters", 1) == 0 for facts in facts_of),
        total=total,
        free=_free(known, facts_of),
        missing=min(most("missing_tensors", len(outside)), total),
        strays=most("strays_tensors"),
        stray_elements=most("strays_elements"),
        strays_inside=any(facts.get("strays_inside") is True for facts in facts_of),
        never_cleared=any(name.endswith(_ZERO_GRAD) for name in network.unseen),
        cleared_early=any(name.endswith(_GRADIENTS) for name in network.unseen),
        thrown_away=any(name.endswith(_BACKWARD) for name in network.unseen),
        elements=most("elements"),
    )


def _never_graded(optimisers: list[LayerView], everything: Mapping[str, LayerView]) -> list[str]:
    """Parameters without a gradient in an optimiser's first step, and without a row of one since, as others have."""
    gradients = [view for view in everything.values() if view.info.layer_type == layer_types.PARAMETER_GRADIENT]
    if not any(_rows_of(view) >= _STILL for view in gradients):
        return []
    named = [name for view in optimisers for name in view.info.facts.get("without_gradient", ())]
    return [name for name in named if name + layer_types.GRADIENT_SUFFIX not in everything]


def _free(known: dict[str, dict[str, Any]], optimisers: list[Mapping[str, Any]]) -> float:
    sizes = {name: int(facts.get("elements", 0)) for name, facts in known.items()}
    if not all(sizes.values()):  # those that have no rows; what optimisers say of each other's is all one
        for facts in optimisers:
            elements, frozen = int(facts.get("elements", 0)), int(facts.get("frozen_elements", 0))
            if elements and frozen:
                return (elements - int(facts.get("missing_elements", 0))) / (elements + frozen)
        return 1.0
    free = sum(
        size
        for name, size in sizes.items()
        if known[name].get("trainable", True) and known[name].get("optimiser") is not False
    )
    return free / max(sum(sizes.values()), 1)


class Moves(NamedTuple):
    """How much parameters move.

    Attributes:
        ratio: the root mean square of the update in units of that of the weight, as the median over the weights
            (tensors of two axes and more) that move; 0 where none does, NaN where it is not known.
        warming: whether updates have grown much within the window, as in a warm-up.
        left: steps until the ratio is a usual one, 1e-3, at the pace at which it grows; inf where it does not grow.
        path: how far they have gone since the first row, update after update, in units of the weights; 0 where that is
            not known.
    """

    ratio: float
    warming: bool
    left: float
    path: float


def moves(network: Network) -> Moves:
    """How much the parameters move that an optimiser holds; computed once for a diagnosis, where it is asked for."""
    return network.once(_moves)


def _moves(network: Network) -> Moves:
    ratios, growths, paces, paths = [], [], [], []
    now_at = max((view.last[_STEP] for view in network.everything.values()), default=0.0)
    for name in parameters(network).held:
        weight = network.everything.get(name)
        update = network.everything.get(name + layer_types.UPDATE_SUFFIX)
        if weight is None or update is None or len(weight.info.facts.get("shape", (0, 0))) < 2:
            continue
        size, now = row_rms(weight.last), _scale(update, slice(-_LATEST, None))
        if not now >= 0.0 or not size > 0.0 or not math.isfinite(now / size):
            continue
        ratios.append(now / size)
        mean = float(np.nan_to_num(np.hypot(update.rows["mean"], update.rows["std"])).mean())
        paths.append(mean / size * (now_at - update.start + 1.0))
        early = _scale(update, slice(None, max(len(update.rows) // 3, 1)))
        if now > 0.0:
            growths.append(now / early if early > 0.0 else math.inf)
            steps = max((update.last[_STEP] - update.oldest) * _BETWEEN, 1.0)
            paces.append((now - early) / size / steps)
    if not ratios:
        return Moves(math.nan, False, math.inf, 0.0)
    # What gets no gradient says nothing of the rate.
    moving = [ratio for ratio in ratios if ratio > 0.0]
    ratio, pace = (float(np.median(each)) if each else 0.0 for each in (moving, paces))
    left = max(_USUAL - ratio, 0.0) / pace if pace > 0.0 else math.inf
    warming = bool(growths) and float(np.median(growths)) >= _WARMING
    return Moves(ratio, warming, left, float(np.median(paths)))


def ascends(network: Network) -> bool:
    """Whether updates go where gradients point, as those of an optimiser do that is told to maximise."""
    return network.once(_ascends)


def _ascends(network: Network) -> bool:
    signs = []
    for name in parameters(network).held:
        gradient, update = (
            network.everything.get(name + suffix) for suffix in (layer_types.GRADIENT_SUFFIX, layer_types.UPDATE_SUFFIX)
        )
        if gradient is None or update is None or gradient.start != update.start:
            continue
        ours, theirs = (view.first[_MEAN] / max(row_rms(view.first), 1e-300) for view in (gradient, update))
        if min(abs(ours), abs(theirs)) > _LEANS:  # a mean of next to nothing has any sign
            signs.append(ours * theirs > 0.0)
    return bool(signs) and sum(signs) > len(signs) * _MOST


def _rows_of(view: LayerView | None) -> int:
    return 0 if view is None else len(view.rows)


def _all_zero(view: LayerView) -> bool:
    """Whether every element of every row in the window is zero."""
    return bool(view.last[_ZEROS] >= view.last[_COUNT]) and bool((view.rows["zeros"] >= view.rows["count"]).all())


def _scale(view: LayerView, part: slice) -> float:
    """The median root mean square of some rows; NaN where none has finite elements."""
    rows = view.rows[part]
    scales = np.hypot(rows["mean"], rows["std"])
    scales = scales[~np.isnan(scales)]
    return float(np.median(scales)) if len(scales) else math.nan


def layer_of(name: str, network: Network) -> str:
    """The name of the layer that a parameter belongs to, whether it has rows or not.

    Keras separates names by slashes, PyTorch by dots.
    """
    for suffix in ("", layer_types.GRADIENT_SUFFIX, layer_types.UPDATE_SUFFIX):
        view = network.everything.get(name + suffix)
        layer = view.info.facts.get("layer") if view is not None else None
        if isinstance(layer, str) and layer:
            return layer
    return name.rpartition("/")[0] or name.rpartition(".")[0]


def weighs(view: LayerView) -> bool:
    """Whether a layer multiplies its input by weights: also one of Keras's that ends in an activation."""
    own = view.info.facts.get("layer", "")
    return layer_types.has_weights(view.info.layer_type) or layer_types.has_weights(str(own))


def few(names: tuple[str, ...]) -> str:
    """Some parameters by name: the first ones, and how many more.

    Example:
        >>> few(("0.weight", "0.bias", "2.weight", "2.bias", "4.weight"))
        '0.weight, 0.bias, 2.weight and 2 more'
    """
    first = ", ".join(shown(name, 40) for name in names[:_NAMED])
    return first if len(names) <= _NAMED else f"{first} and {len(names) - _NAMED} more"


def ratio_said(ratio: float) -> str:
    """The ratio of updates to weights as a clause."""
    return f"an update is {number(ratio)} of the weights, where 0.001 is usual"
