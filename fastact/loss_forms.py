"""Losses that are written by hand: which of the known ones it is, by the number that it comes to.

A loss that a program computes by itself has no name. But of its first batch the predictions, the targets and the value
are known, and no two losses come to the same number there but by chance: so it is computed anew by the formula of each.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.losses import LOSSES, Loss, are_probabilities

#: Elements of a batch, and of the matrix that shapes broadcast to, beyond which a loss is not looked at.
MOST: Final = 1 << 21
#: Share by which a value may be off: sums of 32 bits and small numbers under a logarithm; and those of 16 bits.
_ROUNDING: Final = 5e-5
_HALF: Final = 5e-3
#: Pairs of a prediction and a target, of fewer samples than four, that tell nothing.
_LEAST: Final = 16
#: What keeps a logarithm finite.
_TINY: Final = 1e-12

Floats = npt.NDArray[np.float64]


class Form(NamedTuple):
    """What a loss comes to.

    Attributes:
        function: its name in `losses.LOSSES`; "difference" for the mean of the differences themselves, "dice",
            "overlap" and "agreement" for what is 1 where all is right.
        factor: the loss is so many times the mean over the samples, or over the terms of a regression; below zero where
            it is made large.
        summed: whether it is so many times their sum.
        root: whether it is the root of that.
    """

    function: str
    factor: float = 1.0
    summed: bool = False
    root: bool = False

    @property
    def loss(self) -> Loss | None:
        """The loss function; None for what is none, or is turned."""
        return LOSSES.get(self.function) if self.factor > 0.0 else None

    def worth(self, constant: float, terms: int) -> float:
        """What a constant answer comes to that has a mean loss of `constant`, in a batch of so many terms."""
        value = self.factor * constant * (terms if self.summed else 1)
        return float(np.sqrt(value)) if self.root else value


def recognise(
    value: float, predictions: npt.NDArray[Any], targets: npt.NDArray[Any], *, axis: int = -1, half: bool = False
) -> Form | None:
    """Which loss comes to this value; None for none that is known.

    Args:
        value: the loss of a batch.
        predictions: what it compares, of shape (samples, ...).
        targets: what it is compared with: numbers of classes, or numbers of a shape that broadcasts.
        axis: that of the classes in the predictions.
        half: whether it was computed with 16 bits.

    Example:
        >>> x, y = np.array([[1.0], [3.0]]), np.array([[0.0], [1.0]])
        >>> recognise(2.5, x, y), recognise(-5.0, x, y)
        (Form(function='mean_squared_error', factor=1.0, summed=False, root=False), \
Form(function='mean_squared_error', factor=-1.0, summed=True, root=False))
    """
    if not np.isfinite(value) or value == 0.0 or max(predictions.size, targets.size) > MOST or predictions.size < 2:
        return None
    ours, wanted = predictions.astype(np.float64), targets.astype(np.float64)
    if not (np.isfinite(ours).all() and np.isfinite(wanted).all()):
        return None
    if ours.ndim > 1 and -ours.ndim <= axis < ours.ndim and axis % ours.ndim != ours.ndim - 1:
        wanted = np.moveaxis(wanted, axis, -1) if wanted.shape == ours.shape else wanted
        ours = np.moveaxis(ours, axis, -1)
    near = _HALF if half else _ROUNDING
    with np.errstate(all="ignore"):
        found = [each for each in _means(ours, wanted) if np.isfinite(each[1]) and abs(each[1]) > _TINY]
    for factor, summed, root in _WAYS:
        for function, mean, terms, units in found:
            own = mean * (terms if summed else 1)
            for sign in (1.0, -1.0):
                for times in (factor, factor * units) if units > 1 and not summed else (factor,):
                    got = sign * (np.sqrt(own) if root and own > 0.0 else times * own)
                    if abs(got - value) <= near * abs(value):
                        return Form(function, sign * (1.0 if root else times), summed, root)
    return None


def over_all_pairs(value: float, predictions: npt.NDArray[Any], targets: npt.NDArray[Any]) -> bool:
    """Whether a loss comes to what the errors of each prediction against the targets of all samples do.

    So it does where shapes such as (n,) and (n, 1) broadcast.

    Args:
        value: the loss of a batch.
        predictions: a number for each sample.
        targets: as many.

    Example:
        >>> x, y = np.array([[0.1], [0.4], [0.7], [0.9]]), np.array([[0.0], [1.0], [3.0], [0.0]])
        >>> over_all_pairs(float(np.square(x - y.ravel()).mean()), x, y), over_all_pairs(1.0, x, y)
        (True, False)
    """
    ours, wanted = predictions.astype(np.float64).ravel(), targets.astype(np.float64).ravel()
    if len(ours) != len(wanted) or not _LEAST <= len(ours) ** 2 <= MOST or not np.isfinite(value) or value == 0.0:
        return False
    error = ours[:, None] - wanted
    if not np.isfinite(error).all() or (error == error[:1]).all() or (error == error[:, :1]).all():
        return False  # where all are the same, pairs and rows come to one number
    means = float(np.square(error).mean()), float(np.abs(error).mean())
    return any(abs(mean - value) <= _ROUNDING * abs(value) for mean in (*means, means[0] ** 0.5))


#: Factors, whether a sum is taken, and a root: the usual ones first.
_WAYS: Final = (
    (1.0, False, False),
    (1.0, True, False),
    (0.5, False, False),
    (0.5, True, False),
    (1.0, False, True),
    (1.0, True, True),
)


def _means(ours: Floats, wanted: Floats) -> Iterator[tuple[str, float, int, int]]:
    """Each loss with its mean, how many terms that is of, and by how many units a sum over a sample's would be more."""
    units = ours.shape[-1] if ours.ndim > 1 else 1
    chosen = _of_classes(ours, wanted) if units > 1 else None
    if chosen is not None:
        samples = len(chosen)
        if not are_probabilities(ours, -1):  # the mean of the right one's probability is a loss of its own
            yield "nll", -float(chosen.mean()), samples, 1
        yield "cross_entropy", float((_log_sum(ours).ravel() - chosen).mean()), samples, 1
        if (ours >= 0.0).all():
            own = float(-np.log(np.maximum(chosen, _TINY)).mean())
            yield "sparse_categorical_crossentropy", own, samples, 1
        if wanted.shape != ours.shape:
            return
    same = ours.shape == wanted.shape
    if same and units > 1:
        samples = ours.size // units
        if (ours >= 0.0).all():
            own = float(-(wanted * np.log(np.maximum(ours, _TINY))).sum(axis=-1).mean())
            yield "categorical_crossentropy", own, samples, 1
        if (wanted >= 0.0).all() and ours.ndim == 2:
            logarithms = ours if (ours <= 0.0).all() else ours - _log_sum(ours)
            yield "cross_entropy", float(-(wanted * logarithms).sum(axis=-1).mean()), samples, 1
    if same:
        yield from _of_yes_and_no(ours, wanted, units)
        if (ours >= 0.0).all() and (ours <= 1.0).all() and np.isin(wanted, (0.0, 1.0)).all():
            yield from _of_overlap(ours.reshape(len(ours), -1), wanted.reshape(len(ours), -1))
    try:
        shape = np.broadcast_shapes(ours.shape, wanted.shape)
    except ValueError:
        return
    if int(np.prod(shape)) > MOST:
        return
    error = ours - wanted
    last = error.shape[-1] if error.ndim > 1 else 1
    size = np.abs(error)
    yield "mean_squared_error", float((error * error).mean()), error.size, last
    yield "mean_absolute_error", float(size.mean()), error.size, last
    yield "huber", float(np.where(size <= 1.0, 0.5 * size * size, size - 0.5).mean()), error.size, last
    yield "log_cosh", float((np.logaddexp(error, -error) - np.log(2.0)).mean()), error.size, last
    yield "difference", float(error.mean()), error.size, last
    if same and (ours >= 0.0).all() and (ours <= 1.0).all() and np.isin(wanted, (0.0, 1.0)).all():
        yield "agreement", float(1.0 - size.mean()), 1, 1


def _of_yes_and_no(ours: Floats, wanted: Floats, units: int) -> Iterator[tuple[str, float, int, int]]:
    """The losses of a yes or no for each unit."""
    yield "binary_cross_entropy_with_logits", float((np.logaddexp(0.0, ours) - wanted * ours).mean()), ours.size, units
    if (ours >= 0.0).all() and (ours <= 1.0).all():
        yes, no = np.log(np.maximum(ours, _TINY)), np.log(np.maximum(1.0 - ours, _TINY))
        yield "binary_cross_entropy", float(-(wanted * yes + (1.0 - wanted) * no).mean()), ours.size, units
    yield "hinge", float(np.maximum(1.0 - ours * wanted, 0.0).mean()), ours.size, units


def _of_overlap(ours: Floats, wanted: Floats) -> Iterator[tuple[str, float, int, int]]:
    """How much masks overlap, over all samples and as the mean over them, with what keeps the fraction finite."""
    for axis in (None, 1):
        both, total = (ours * wanted).sum(axis=axis), ours.sum(axis=axis) + wanted.sum(axis=axis)
        squares = (ours * ours).sum(axis=axis) + wanted.sum(axis=axis)
        for small in (0.0, 1.0):
            yield "dice", float(((2.0 * both + small) / (total + small)).mean()), 1, 1
            yield "dice", float(((2.0 * both + small) / (squares + small)).mean()), 1, 1
            yield "overlap", float(((both + small) / (total - both + small)).mean()), 1, 1


def _of_classes(ours: Floats, wanted: Floats) -> Floats | None:
    """What is predicted for the class of each sample, where the targets number classes."""
    places = ours.reshape(-1, ours.shape[-1])
    numbers = wanted.ravel()
    numbered = len(numbers) == len(places) and bool((numbers == np.floor(numbers)).all())
    if not numbered or numbers.min() < 0.0 or numbers.max() >= places.shape[1]:
        return None
    found: Floats = places[np.arange(len(places)), numbers.astype(np.int64)]
    return found


def _log_sum(ours: Floats) -> Floats:
    """The logarithm of the sum of the exponentials of each sample's numbers."""
    most = ours.max(axis=-1, keepdims=True)
    summed: Floats = most + np.log(np.exp(ours - most).sum(axis=-1, keepdims=True))
    return summed
