"""Norms that are in evaluation mode while the model is trained, by statistics that nobody has ever taken."""

from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import updates
from fastact.diagnosis.layer_types import EVALUATION_SUFFIX
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import number, shown

_MEAN, _STD, _COUNT = (COLUMN[name] for name in ("mean", "std", "count"))
#: Share by which a mean and a deviation are off one that is handed on: its epsilon, and sums of 32 bits.
_ROUNDING: Final = 1e-3
#: How far from 0 the mean, or from 1 the deviation, of what a norm is given must be for it to have something to do.
_RAW: Final = 1.0
#: The same for it to be seen whether it does anything; and rows, those of late, and the share of a constant answer's
#: loss above which little was learned.
_OTHER: Final = 0.2
_LONG: Final = 30
_LATE: Final = 10
_LITTLE: Final = 0.75
#: Steps of the optimiser, by rows, that are no trial.
_ROWS: Final = 2


def idle(network: Network) -> tuple[int, str, Cause] | None:
    """A batch norm that hands on what it is given while the model is trained: with the step, and its name."""
    return network.once(_idle)


def _idle(network: Network) -> tuple[int, str, Cause] | None:
    everything = network.everything
    optimisers = network.typed(layer_types.OPTIMISER)
    if not any(len(view.rows) >= _ROWS for view in optimisers) or updates.parameters(network).never_steps:
        return None
    for name, view in everything.items():
        if "BatchNorm" not in view.info.layer_type or not view.info.mode:
            continue
        base = view.info.name.removesuffix(EVALUATION_SUFFIX)
        in_training = any(
            other.info.name in (base, base + layer_types.TRAINING_SUFFIX) and not other.info.mode
            for other in everything.values()
        )
        trained = any(
            name.startswith((f"{base}.", f"{base}/")) and other.info.layer_type == layer_types.PARAMETER_GRADIENT
            for name, other in everything.items()
        )
        given = everything.get(view.info.source) or everything.get(view.info.source + EVALUATION_SUFFIX)
        if in_training or not trained or given is None or not _hands_on(given, view):
            continue
        if not (_is_raw(given) or _learns_little(network)):
            continue
        before = given.first
        says = (
            "It is in evaluation mode while the model is trained, by a running mean of 0 and a variance of 1 that no "
            "batch has ever changed: it normalises nothing."
        )
        fix = (
            "call model.train() before the training loop, and again after each evaluation",
            "call eval() in training on a norm alone whose running statistics were loaded",
        )
        said = (
            (
                f"what it is given has a mean of {number(before[_MEAN])} and a standard deviation of "
                f"{number(before[_STD])}, and so has what it puts out"
            ),
        )
        return view.start, shown(name, 40), Cause("norm_in_evaluation", says, fix, said, proved=True)
    return None


def _hands_on(given: LayerView, norm: LayerView) -> bool:
    """Whether the first row of a norm is that of its input, which is not of mean 0 and deviation 1."""
    before, after = given.first, norm.first
    size = abs(before[_MEAN]) + before[_STD]
    same = all(abs(before[each] - after[each]) <= _ROUNDING * size for each in (_MEAN, _STD))
    other = abs(before[_MEAN]) >= _OTHER or abs(before[_STD] - 1.0) >= _OTHER
    return bool(same and other and before[_COUNT] == after[_COUNT] and norm.start == given.start)


def _is_raw(given: LayerView) -> bool:
    """Whether what a norm is given is far from what it should make of it."""
    return bool(abs(given.first[_MEAN]) >= _RAW or given.first[_STD] >= 1.0 + _RAW)


def _learns_little(network: Network) -> bool:
    """Whether a loss, whose rows are those of an evaluation too, is still near that of a constant answer."""
    for view in network.everything.values():
        if view.info.layer_type != layer_types.LOSS or not view.info.mode or len(view.rows) < _LONG:
            continue
        name = view.info.name.removesuffix(EVALUATION_SUFFIX) + layer_types.BASELINE_SUFFIX
        constant = network.everything.get(name + EVALUATION_SUFFIX)
        if constant is not None and len(constant.rows):
            worth, now = (float(each.rows["mean"][-_LATE:].mean()) for each in (constant, view))
            if now >= _LITTLE * worth > 0.0:
                return True
    return False
