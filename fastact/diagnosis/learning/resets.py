"""What is learned and lost again: weights that are set anew, or put back to earlier ones, while they are trained."""

import itertools
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import baselines, updates
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import number

_MEAN: Final = COLUMN["mean"]
#: Rows on both sides of a step whose losses are compared; the share of all that was learned which is lost in it; and by
#: how many times the noise of a row the loss is more.
_NEAR: Final = 3
_LOST: Final = 0.5
_NOISE: Final = 4.0
#: The same of noise, for a rise that has to come by the clock.
_RISES: Final = 3.0
#: Such steps, where rows of weights say as much, and where they do not; the steps between them are as many each time.
_TWICE: Final = 2
_OFTEN: Final = 3
_UNEVEN: Final = 1
#: Factor by which a weight changes more between two rows that it was set anew between, than between any others.
_MORE: Final = 2.0
#: Share by which targets and inputs may be other than before in these steps, in units of their usual changes.
_OTHER: Final = 4.0
#: Factor by which a weight's extremes, and its size, have to change more than its update allows; tensors that do so in
#: one step, and share of what the loss had fallen by that it rises again.
_BEYOND: Final = 4.0
_TENSORS: Final = 2
_RISEN: Final = 0.3
_TINY: Final = 1e-6
#: Numbers of a row that are those of one tensor alone, rows of weights of which fewer say nothing, and steps in which
#: they are an earlier step's.
_NUMBERS: Final = ("mean", "std", "min", "max")
_AGAIN: Final = 4
_RETURNS: Final = 2
#: Share of a constant answer's loss below which all is well.
_WELL: Final = 0.25

_SAYS: Final = "Weights are set anew, or loaded, while they are trained, and what was learned is lost."
_FIX: Final = (
    "initialise, build or load the model once, before the loop over epochs and batches",
    "look for apply(init), load_state_dict(), set_weights() or a new model within the loop",
)

Floats = npt.NDArray[np.float64]


def starts_over(network: Network) -> tuple[int, Cause] | None:
    """Losses that go back to where they began, in one step, again and again after as many steps.

    No optimiser unlearns at once, and by the clock: the weights were set anew. Batches of another kind that come by
    turns show in the targets, or in what the model is given.
    """
    return network.once(_starts_over)


def _starts_over(network: Network) -> tuple[int, Cause] | None:
    for loss in baselines.losses(network):
        steps = _falls_back(loss)
        jumped = len(steps) >= _TWICE and _weights_jump(network, steps)
        if len(steps) < (_TWICE if jumped else _OFTEN):
            steps = _at_epochs(loss)
        if not steps or _others_change(loss, network, steps):
            continue
        every = int(np.median(np.diff(steps)))
        said = (
            (
                f"the loss is back near its first value in one step, {len(steps)} times, each {number(every)} steps "
                "after the last"
            ),
            "neither the inputs nor the targets are others in these steps",
        )
        more = ("the weights change more there than elsewhere",) if jumped else ()
        return steps[0], Cause("weights_reset", _SAYS, _FIX, said + more, proved=True)
    return None


def _at_epochs(loss: LayerView) -> list[int]:
    """Such steps, where the framework says how many an epoch has, and each is the first of one; else []."""
    epoch = loss.info.facts.get("steps")
    if not isinstance(epoch, int) or epoch < 2 * _NEAR:
        return []
    steps = _falls_back(loss, _RISES)
    return steps if len(steps) >= _TWICE and not any(step % epoch for step in steps) else []


def _falls_back(loss: LayerView, rises: float = _NOISE) -> list[int]:
    """The steps in which a loss is back near its first value, where they come evenly, each by so much of its noise."""
    values, first = np.asarray(loss.rows["mean"], np.float64), float(loss.first[_MEAN])
    if len(values) < 4 * _NEAR or not np.isfinite(values).all():
        return []
    # Medians, as one odd batch is no level.
    levels = np.median(np.lib.stride_tricks.sliding_window_view(values, _NEAR), axis=1)
    before, after = levels[:-_NEAR], levels[_NEAR:]  # of the rows up to, and from, place + _NEAR
    noise = float(np.median(np.abs(np.diff(values)))) * 1.05
    if rises < _NOISE:
        first = max(first, float(levels.max()))  # the first batch may have been an easy one
    far = (after - before > _LOST * (first - before)) & (first - before > _NOISE * noise)
    places = np.flatnonzero(far & (after - before > rises * noise)) + _NEAR
    groups = np.split(places, np.flatnonzero(np.diff(places) > _NEAR) + 1) if len(places) else []
    # Of each, where the rise from row to row is largest.
    chosen = [int(group[np.argmax(values[group] - values[group - 1])]) for group in groups]
    if len(chosen) < _TWICE:
        return []
    between = np.diff(chosen)
    if between.max() - between.min() > _UNEVEN or between.min() < 2 * _NEAR:
        return []
    # What comes by the clock has not missed its last time.
    if len(values) - chosen[-1] > between.max() + 2 * _NEAR:
        return []
    return [int(loss.rows["step"][place]) for place in chosen]


def _others_change(loss: LayerView, network: Network, steps: list[int]) -> bool:
    """Whether targets, or what the model is given, are others from these steps on than before."""
    wanted = baselines.targets(loss, network)
    views = network.typed(layer_types.INPUT)
    return any(_changes(view, steps) for view in (*views, *((wanted,) if wanted is not None else ())))


def _changes(view: LayerView, steps: list[int]) -> bool:
    for name in ("mean", "std"):
        values = np.asarray(view.rows[name], np.float64)
        usual = float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
        for step in steps:
            at = int(view.rows["step"].searchsorted(step))
            before, after = values[max(at - _NEAR, 0) : at], values[at : at + _NEAR]
            if len(before) and len(after) and abs(float(after.mean() - before.mean())) > _OTHER * usual:
                return True
    return False


def _weights_jump(network: Network, steps: list[int]) -> bool:
    """Whether most weights change more between rows that one of these steps lies between, where there are such rows.

    Where there is no difference, nothing is said: numbers that are drawn anew have the same mean and deviation.
    """
    votes = []
    for name in updates.parameters(network).held:
        view = network.everything.get(name)
        if view is None or len(view.info.facts.get("shape", ())) < 2 or len(view.rows) < 2 * _TWICE:
            continue
        own = view.rows["step"]
        inside = np.array([any(a < step <= b for step in steps) for a, b in itertools.pairwise(own)])
        known = own[1:] >= steps[0] - int(np.diff(steps).min())  # before that, others may have left the window
        moved = np.max([np.abs(np.diff(np.asarray(view.rows[each], np.float64))) for each in _NUMBERS], axis=0)
        if inside.sum() < _TWICE or (known & ~inside).sum() < _TWICE:
            continue
        votes.append(float(np.median(moved[inside])) >= _MORE * float(np.median(moved[known & ~inside])))
    return 2 * sum(votes) > len(votes)


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
            return lost[0], Cause("weights_reset", _SAYS, _FIX, (said, "the loss rose in these steps"), proved=True)
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
    if len(steps) < _RETURNS or baselines.has_learned(network, _WELL):
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
        allowed = _BEYOND * np.maximum(*most) + _TINY * size[following]
        moved = [np.abs(rows[name][following + 1] - rows[name][following]) for name in ("min", "max")]
        far = (np.maximum(*moved) > allowed) & (np.minimum(*moved) > allowed / _BEYOND)
    return [int(step) for step in steps[following + 1][far]]


def _is_lost(loss: LayerView, step: int) -> bool:
    """Whether a loss that had fallen is up again from a step on."""
    steps, values = loss.rows["step"], np.asarray(loss.rows["mean"], np.float64)
    before, after = values[steps < step][-_NEAR:], values[steps >= step][:_NEAR]
    if len(before) < _NEAR or len(after) < _NEAR:
        return False
    was, now, first = float(before.mean()), float(after.mean()), float(loss.first[_MEAN])
    return first > was and now - was > _RISEN * (first - was)
