"""What a loss is measured by: that of the best answer that is the same for every sample, where that is fair."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence.progress import progress, rows_at_last
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import shown

_COUNT: Final = COLUMN["count"]
#: Share of a constant answer's loss above which hardly anything was learned.
_NEAR: Final = 0.9
#: Share of it below which much was learned, and the rows that say so.
_FAR: Final = 0.5
_RECENT: Final = 10
#: Factors: above the least that a loss has been it has risen again, above a constant answer's it fails.
_RISEN: Final = 1.5
_FAILS: Final = 2.0
#: Share of it that a loss is below once something was learned, and in how many rows it gets there that is on its way.
_BELOW: Final = 0.95
_SOON: Final = 100.0
_TOO_SOON: Final = 40
#: Nats, or squares. Targets that are all alike leave a constant answer nothing to do wrong.
_NOTHING: Final = 1e-6
#: Standard deviations of a batch by which targets that move have moved, in so many rows; share of their mean that
#: targets which differ differ by.
_MOVES: Final = 2.0
_MOVES_ROWS: Final = 12
_UNLIKE: Final = 1e-3


def constant(loss: LayerView, network: Network) -> float | None:
    """What the best constant answer to the targets so far would get; None where it is no standard.

    It is none where targets are made up in each step: the labels of a generator and its critic, which are all the same
    in one call of the loss, the places of positives in a batch, as contrastive losses have them, and values that a
    network estimates, which move away from what they were, or are what a layer of it puts out. Nor is it one where the
    loss leaves the errors of samples to be weighed by others.
    """
    view = network.everything.get(loss.info.name + layer_types.BASELINE_SUFFIX)
    if view is None or is_moved(loss, network):
        return None
    if loss.info.facts.get("reduction") == "none":
        return None
    wanted = targets(loss, network)
    worth = float(np.median(view.rows["mean"]))  # of a sum, the last batch may have fewer terms
    return worth if math.isfinite(worth) and (worth > _NOTHING or (worth > 0.0 and _differ(wanted))) else None


def is_moved(loss: LayerView, network: Network) -> bool:
    """Whether targets are made up as the training goes on, so that what a loss was at first is no standard either."""
    wanted = targets(loss, network)
    return network.once(_adversarial) or _counts_up(wanted) or _move(wanted) or is_made(loss, network)


def _move(wanted: LayerView | None) -> bool:
    """Whether numbers that are to be met go away from where they were, by more than samples of one batch differ by."""
    if wanted is None or wanted.info.facts.get("whole", True) or len(wanted.rows) < _MOVES_ROWS:
        return False
    mean, std = wanted.rows["mean"], wanted.rows["std"]
    third = len(mean) // 3
    away = abs(float(np.median(mean[-third:])) - float(np.median(mean[:third])))
    return away > _MOVES * float(np.median(std)) > 0.0


def is_made(loss: LayerView, network: Network) -> bool:
    """Whether what a loss wants is what a layer of the network puts out."""
    wanted = targets(loss, network)
    return wanted is not None and network.once_for(_made, wanted)


def _made(network: Network, wanted: LayerView) -> bool:
    """Whether numbers that are to be met are what a layer puts out: codes, another view, a teacher that is watched.

    To the last digit: in most rows the extremes are the same. What the model is given is none of its own.
    """
    if wanted.info.facts.get("whole", True):
        return False
    rows = wanted.rows[-_RECENT:]
    makers = []
    for view in network.everything.values():
        group = layer_types.group_of(view.info.layer_type, view.info.mode)
        given = view.info.layer_type == layer_types.INPUT
        if (given or group == layer_types.LAYERS) and _same_extremes(view.rows[-_RECENT:], rows):
            if given:
                return False
            makers.append(view)
    return bool(makers)


def are_told_apart(network: Network) -> bool:
    """Whether targets from outside tell samples apart, such as labels: not what the network itself puts out."""
    return network.once(_are_told_apart)


def _are_told_apart(network: Network) -> bool:
    wanted = network.typed(layer_types.TARGET)
    return any(not network.once_for(_made, view) for view in wanted)


def meets_itself(network: Network) -> bool:
    """Whether all that is to be met is what the network itself puts out, as of another view."""
    known = bool(network.typed(layer_types.TARGET))
    return known and not are_told_apart(network)


def _same_extremes(made: npt.NDArray[np.void], wanted: npt.NDArray[np.void]) -> bool:
    if len(made) != len(wanted) or (made["step"] != wanted["step"]).any() or (wanted["min"] >= wanted["max"]).any():
        return False
    least, most = made["min"] == wanted["min"], made["max"] == wanted["max"]
    # The smallest or the largest number alone may be a bound that many have, such as 0.
    return bool((least | most).mean() > 0.5 and least.any() and most.any())


def _differ(wanted: LayerView | None) -> bool:
    """Whether targets differ, however small they are: units in which they are next to nothing."""
    if wanted is None:
        return False
    rows = wanted.rows
    return bool((rows["std"] > _UNLIKE * np.abs(rows["mean"])).all())


def targets(loss: LayerView, network: Network) -> LayerView | None:
    """The rows of a loss's targets, where they were recorded."""
    return network.everything.get(loss.info.name + layer_types.TARGET_SUFFIX)


def samples(loss: LayerView, network: Network) -> float:
    """How many samples a row of a loss is about; inf where that is not known, so that it asks for no more rows."""
    view = targets(loss, network)
    if view is None:
        return math.inf
    shape = view.info.facts.get("shape") or [int(view.last[_COUNT])]
    return float(max(shape[0], 1))


def losses(network: Network) -> list[LayerView]:
    """The losses in training."""
    views = network.everything.values()
    return [view for view in views if view.info.layer_type == layer_types.LOSS and not view.info.mode]


def hardly_learned(network: Network, rows: int, share: float = _NEAR) -> bool:
    """Whether a loss is at least this share of a constant answer's, after so many rows."""
    for view in losses(network):
        if len(view.rows) >= rows:
            worth = constant(view, network)
            if worth is not None and float(np.mean(view.rows["mean"][-max(rows // 2, 1) :])) >= share * worth:
                return True
    return False


def has_learned(network: Network, share: float = _FAR) -> bool:
    """Whether each loss whose constant answer is known is at most this share of it, and there is such a loss."""
    return network.once_for(_has_learned, share)


def _has_learned(network: Network, share: float) -> bool:
    known = [(view, worth) for view in losses(network) if (worth := constant(view, network)) is not None]
    return bool(known) and all(float(np.mean(view.rows["mean"][-_RECENT:])) <= share * worth for view, worth in known)


def rises_again(network: Network) -> bool:
    """Whether a loss whose constant answer is known is well above the least that it has been, by blocks of rows."""
    return network.once(_rises_again)


def _rises_again(network: Network) -> bool:
    for view in losses(network):
        values = view.rows["mean"]
        blocks = [float(np.median(values[at : at + _RECENT])) for at in range(len(values) - _RECENT, -1, -_RECENT)]
        if len(blocks) > 1 and constant(view, network) is not None and blocks[0] >= _RISEN * min(blocks):
            return True
    return False


def fails_in_evaluation(network: Network, rows: int) -> bool:
    """Whether a loss that has been learned is, in its last so many evaluations, far above a constant answer's."""
    for view in losses(network):
        tried, worth = network.evaluation(view), constant(view, network)
        if tried is None or worth is None or len(tried.rows) < rows:
            continue
        learned = float(np.mean(view.rows["mean"][-_RECENT:])) <= _FAR * worth
        if learned and float(tried.rows["mean"][-rows:].min()) >= _FAILS * worth:
            return True
    return False


def is_learning(network: Network) -> bool:
    """Whether each loss whose constant answer is known is below it, or will soon be at its pace; and there is one.

    What samples share is learned first, so that for some rows all are answered alike on the way; before it can be
    told, that goes for learning.
    """
    return network.once(_is_learning)


def _is_learning(network: Network) -> bool:
    known = [(view, worth) for view in losses(network) if (worth := constant(view, network)) is not None]
    if known and min(len(view.rows) for view, _ in known) < _TOO_SOON:
        return True
    values = [(view.rows["mean"], _BELOW * worth) for view, worth in known]
    return bool(values) and all(_is_below(each, level) or rows_at_last(each, level) <= _SOON for each, level in values)


def learns(network: Network) -> bool:
    """Whether each of these losses is below it by now."""
    return network.once(_learns)


def _learns(network: Network) -> bool:
    known = [(view, worth) for view in losses(network) if (worth := constant(view, network)) is not None]
    return bool(known) and all(_is_below(view.rows["mean"], _BELOW * worth) for view, worth in known)


def _is_below(values: npt.NDArray[np.float64], level: float) -> bool:
    course = progress(values)
    return course is not None and course.most <= level


def shown_name(loss: LayerView) -> str:
    """A loss as a message shows it: ``loss (CrossEntropyLoss)``."""
    spelled = str(loss.info.facts.get("spelled") or loss.info.facts.get("function") or "")
    return shown(loss.info.name) + (f" ({shown(spelled, 40)})" if spelled else "")


def plays(network: Network) -> bool:
    """Whether two networks play against each other, by losses whose targets are all alike in each row."""
    return network.once(_adversarial)


def _adversarial(network: Network) -> bool:
    """Whether any loss of yes and no has, in every row, targets that are all alike."""
    views = network.typed(layer_types.TARGET)
    for view in views:
        loss = network.everything.get(view.info.name.removesuffix(layer_types.TARGET_SUFFIX))
        binary = loss is not None and str(loss.info.facts.get("function", "")).startswith(("binary", "mean_squared"))
        rows = view.rows
        if binary and (rows["count"] > 1).all() and (rows["std"] == 0.0).all() and len(rows):
            return True
    return False


def _counts_up(view: LayerView | None) -> bool:
    """Whether the targets of each row are 0, 1, 2 to the last of the batch."""
    if view is None:
        return False
    rows, count = view.rows, view.rows["count"]
    last = count - 1.0
    return bool(
        (count > 2).all()
        and (rows["min"] == 0.0).all()
        and (rows["max"] == last).all()
        and np.allclose(rows["mean"], last / 2.0, rtol=1e-9)
        and np.allclose(rows["std"], np.sqrt((count * 1.0 * count - 1.0) / 12.0), rtol=1e-6)
    )
