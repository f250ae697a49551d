"""Settings of optimisers that no training goes well with, and weights that something else than an optimiser sets."""

from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import baselines, updates
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import number

_MEAN, _STEP = COLUMN["mean"], COLUMN["step"]
#: Momentum from which on gradients of hundreds of steps ago count as those of now do; in use are 0.9 to 0.99.
_LONG: Final = 0.995
#: The same of an Adam whose two are the wrong way round.
_LONG_OF_ADAM: Final = 0.99
#: Factor by which a weight's extremes, and its size, have to change more than its update allows; tensors that do so in
#: one step, and share of what the loss had fallen by that it rises again.
_MORE: Final = 4.0
_TENSORS: Final = 2
_LOST: Final = 0.3
#: Rows around a step whose losses are compared.
_NEAR: Final = 3
#: Numbers of a row that are those of one tensor alone, rows of weights of which fewer say nothing, and steps in which
#: they are an earlier step's.
_NUMBERS: Final = ("mean", "std", "min", "max")
_AGAIN: Final = 4
_OFTEN: Final = 2
#: Share of a constant answer's loss below which all is well.
_WELL: Final = 0.25
#: Steps for which an optimiser has been still.
_STOPPED: Final = 30
_TINY: Final = 1e-6


def momentum(network: Network) -> Cause | None:
    """Momentum that never forgets."""
    for view in network.everything.values():
        if view.info.layer_type != layer_types.OPTIMISER:
            continue
        facts = view.info.facts
        betas = facts.get("betas")
        first, second = betas[:2] if isinstance(betas, list) and len(betas) > 1 else (
            facts.get("beta_1"), facts.get("beta_2")
        )  # fmt: skip
        own = facts.get("momentum")
        if isinstance(first, float) and isinstance(second, float) and first >= _LONG_OF_ADAM and first > second:
            said = f"the optimiser's betas are {number(first)} and {number(second)}, where 0.9 and 0.999 are usual"
            fix = "use betas of (0.9, 0.999), in this order"
        elif isinstance(own, float) and own >= _LONG:
            said = f"the optimiser's momentum is {number(own)}, where 0.9 is usual"
            fix = "use a momentum of 0.9"
        else:
            continue
        says = "Momentum is so high that steps overshoot: gradients of hundreds of steps ago count as those of now do."
        return Cause("momentum", says, (fix,), (said,), proved=True)
    return None


def set_anew(network: Network) -> tuple[int, Cause] | None:
    """Weights that are set anew while they are trained, with the step since which, where the loss is lost by it."""
    return network.once(_set_anew)


def _set_anew(network: Network) -> tuple[int, Cause] | None:
    counts: dict[int, int] = {}
    seen = 0
    for name in updates.parameters(network).held:
        weight, update = (network.everything.get(name + suffix) for suffix in ("", layer_types.UPDATE_SUFFIX))
        if weight is None or update is None or len(weight.info.facts.get("shape", ())) < 2:
            continue
        seen += 1
        for step in _jumps(weight, update):
            counts[step] = counts.get(step, 0) + 1
    steps = sorted(step for step, count in counts.items() if count >= max(_TENSORS, (seen + 1) // 2))
    if not steps:
        return None
    for loss in baselines.losses(network):
        lost = [step for step in steps if _is_lost(loss, step)]
        if lost and 2 * len(lost) >= len(steps):
            often = f"{len(steps):,} times" if len(steps) > 1 else "once"
            said = f"the weights of several layers changed by more than their updates, {often}, first in step {lost[0]}"
            says = "Weights are set anew, or loaded, while they are trained, and what was learned is lost."
            fix = (
                "initialise, build or load the model once, before the loop over epochs and batches",
                "look for apply(init), load_state_dict(), set_weights() or a new model within the loop",
            )
            return lost[0], Cause("weights_reset", says, fix, (said, "the loss rose in these steps"), proved=True)
    return None


def restored(network: Network) -> tuple[int, Cause] | None:
    """Weights that are those of one earlier step again and again, to the last bit, though they were others in between.

    No optimiser finds back to the very numbers: they were kept and put back. Whoever goes back to the best ones once
    and goes on, or tries several ways from one place, means it; where it is one place for half of the training,
    nothing is kept of what was learned.
    """
    return network.once(_restored)


def _restored(network: Network) -> tuple[int, Cause] | None:
    times: dict[int, int] = {}
    seen = 0
    for name in updates.parameters(network).held:
        weight, update = (network.everything.get(name + suffix) for suffix in ("", layer_types.UPDATE_SUFFIX))
        if weight is None or update is None or len(weight.info.facts.get("shape", ())) < 2 or len(weight.rows) < _AGAIN:
            continue
        seen += 1
        for step in _returns(weight):
            times[step] = times.get(step, 0) + 1
    steps = sorted(step for step, count in times.items() if 2 * count > seen)
    if len(steps) < _OFTEN or baselines.has_learned(network, _WELL):
        return None
    said = (
        f"the weights are those of an earlier step again, to the last bit, in {len(steps):,} of the recorded steps, "
        f"first in {steps[0]}"
    )
    says = "Earlier weights are loaded over and over while they are trained, and what was learned since is lost."
    fix = (
        "load the best weights once, after the training, not within the loop",
        "begin with a best loss of infinity (of an accuracy, -1), so that the first weights are not the best for ever",
        "keep a copy when they are best: copy.deepcopy(model.state_dict())",
    )
    return steps[0], Cause("weights_reset", says, fix, (said,), proved=True)


def _returns(weight: LayerView) -> list[int]:
    """The steps in which a weight is again what it was in one earlier step, where these span half of its rows."""
    places: dict[tuple[float, ...], list[int]] = {}
    last: tuple[float, ...] = ()
    for place, row in enumerate(weight.rows):
        numbers = tuple(float(row[field]) for field in _NUMBERS)
        if numbers != last:  # otherwise nothing has changed it
            places.setdefault(numbers, []).append(place)
        last = numbers
    most = max(places.values(), key=len)
    if 2 * (most[-1] - most[0]) < len(weight.rows):
        return []
    return [int(weight.rows["step"][place]) for place in most[1:]]


def stopped(network: Network) -> tuple[int, str, Cause] | None:
    """An optimiser of a model of its own that has stopped, while another goes on and its losses are still computed.

    That is one of two players whose parameters were frozen for the turn of the other one, and not thawed again.
    """
    views = [view for view in network.everything.values() if view.info.layer_type == layer_types.OPTIMISER]
    latest = max((int(view.last[_STEP]) for view in views), default=0)
    for view in views:
        prefix, step = view.info.name.rpartition(".")[0], int(view.last[_STEP])
        beyond = [int((other.rows["step"] > step).sum()) for other in views if other is not view]
        if not prefix or latest - step < _STOPPED or max(beyond, default=0) < _NEAR:
            continue
        own = [
            loss for loss in baselines.losses(network)
            if loss.info.name.startswith(f"{prefix}.") and int(loss.last[_STEP]) >= latest and loss.start <= step
        ]  # fmt: skip
        if len(own) < 2 or not baselines.plays(network):
            continue
        says = "Its parameters were frozen for the turn of the other network, and are not set free again."
        fix = (
            f"set requires_grad = True on the parameters of {prefix!r} before its own loss is computed, in each step",
            "call its optimiser's step() in each step",
        )
        said = f"{len(own)} losses of {prefix!r} are computed in each step, and no step follows from them"
        return step, view.info.name, Cause("frozen_parameters", says, fix, (said,), proved=True)
    return None


def _jumps(weight: LayerView, update: LayerView) -> list[int]:
    """The steps before which a weight has changed by more than the update of the step before allows."""
    steps, place = np.unique(weight.rows["step"], return_index=True)
    rows = weight.rows[place]
    own, places = np.unique(update.rows["step"], return_index=True)
    if len(steps) < _NEAR or len(own) < _NEAR:
        return []
    following = np.flatnonzero(np.diff(steps) == 1)
    following = following[np.isin(steps[following], own) & np.isin(steps[following + 1], own)]
    at = [places[np.searchsorted(own, steps[following + by])] for by in (0, 1)]
    with np.errstate(all="ignore"):
        most = [np.maximum(np.abs(update.rows["min"][each]), np.abs(update.rows["max"][each])) for each in at]
        size = np.hypot(rows["mean"], rows["std"])
        allowed = _MORE * np.maximum(*most) + _TINY * size[following]
        moved = [np.abs(rows[name][following + 1] - rows[name][following]) for name in ("min", "max")]
        far = (np.maximum(*moved) > allowed) & (np.minimum(*moved) > allowed / _MORE)
    return [int(step) for step in steps[following + 1][far]]


def _is_lost(loss: LayerView, step: int) -> bool:
    """Whether a loss that had fallen is up again from a step on."""
    steps, values = loss.rows["step"], np.asarray(loss.rows["mean"], np.float64)
    before, after = values[steps < step][-_NEAR:], values[steps >= step][:_NEAR]
    if len(before) < _NEAR or len(after) < _NEAR:
        return False
    was, now, first = float(before.mean()), float(after.mean()), float(loss.first[_MEAN])
    return first > was and now - was > _LOST * (first - was)
