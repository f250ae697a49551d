"""What a first batch shows that no summary of it does: shapes, few values, sums, columns; as facts of its row.

A few numbers are kept, never the data. The first batch alone is looked at, and some 16,000 elements of it.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.losses import are_probabilities

#: Elements of a first batch that are looked at for facts, and distinct values that are listed.
_LOOKED_AT: Final = 16_384
_DISTINCT: Final = 16
#: Samples. Of fewer, columns that are constant or alike say nothing.
_LEAST_SAMPLES: Final = 8
#: Elements, and their share. A value that stands for "missing" comes again and again.
_LEAST_CODES: Final = 3
_CODES: Final = 0.005
#: Places of a sequence of which fewer tell no padding; the share of all that it has at least; and of the other places
#: the share that may have its value all the same.
_LEAST_PLACES: Final = 4
_PADDED: Final = 0.2
_BESIDES: Final = 0.02


def numbers(x: Any, most: int) -> npt.NDArray[np.float64]:
    """The first samples of a tensor, some `most` elements, as float64[samples, ...] on the host."""
    shape = tuple(getattr(x, "shape", ()))
    if shape:
        x = x[: max(1, most // max(math.prod(shape[1:]), 1))]
    if hasattr(x, "detach"):  # a torch tensor: NumPy knows none of its small types
        x = x.detach().cpu().double().numpy()
    return np.asarray(x).astype(np.float64)


def _shape_and_dtype(x: Any) -> dict[str, Any]:
    shape = [int(size) for size in getattr(x, "shape", ())]
    return {"shape": shape, "dtype": str(getattr(x, "dtype", "")).removeprefix("torch.")}


def facts_of_targets(targets: Any, view: Sequence[int] = ()) -> dict[str, Any]:
    """What a batch of targets shows that its row does not.

    Args:
        targets: an array or tensor of numbers.
        view: the shape that they had, of samples and places, where they have been made flat.

    Returns:
        shape, dtype; whole: whether all are whole numbers; distinct: the distinct values, where they are few, and
        commonest: the share of the most common one; of several columns sums_to_one and one_hot, and commonest is of
        the columns then; padding: of sequences that are filled up to one length by a value, that value and its share.
    """
    facts = _shape_and_dtype(targets)
    values = numbers(targets, _LOOKED_AT)
    finite = values[np.isfinite(values)]
    distinct, counts = np.unique(finite, return_counts=True)
    facts["whole"] = bool(finite.size) and bool((finite == np.floor(finite)).all())
    if distinct.size <= _DISTINCT:
        facts["distinct"] = distinct.tolist()
        if distinct.size:
            facts["commonest"] = float(counts.max()) / finite.size
    if values.ndim > 1 and values.shape[-1] > 1:
        facts["sums_to_one"] = are_probabilities(values, -1)
        facts["one_hot"] = facts["sums_to_one"] and bool(np.isin(distinct, (0.0, 1.0)).all())
        if facts["one_hot"]:
            facts["commonest"] = float(values.reshape(-1, values.shape[-1]).mean(axis=0).max())
    elif values.ndim == 1 and len(view) == 2 and view[1] > 0 and values.size % view[1] == 0:
        values = values.reshape(-1, view[1])
    padding = _padding(values) if facts["whole"] and values.ndim == 2 else None
    return facts | ({"padding": padding} if padding else {})


def _padding(values: npt.NDArray[np.float64]) -> dict[str, float] | None:
    """The value that fills sequences up at one of their ends, where they are of several lengths, and its share."""
    if len(values) < _LEAST_SAMPLES or values.shape[1] < _LEAST_PLACES or not np.isfinite(values).all():
        return None
    for table in (values, values[:, ::-1]):
        ends, counts = np.unique(table[:, -1], return_counts=True)
        value = float(ends[counts.argmax()])
        other = table[:, ::-1] != value
        runs = np.where(other.any(axis=1), other.argmax(axis=1), values.shape[1])
        filled, all_of_it = int(runs.sum()), int((table == value).sum())
        alone = all_of_it - filled <= _BESIDES * (values.size - filled)
        if _PADDED * values.size <= filled < values.size and alone and len(np.unique(runs)) > 1:
            return {"value": value, "share": filled / values.size}
    return None


def facts_of_predictions(predictions: Any, axis: int = -1) -> dict[str, Any]:
    """What a batch of predictions shows that its row does not.

    Returns:
        shape, dtype; units: how many there are along `axis`; sums_to_one and exp_sums_to_one: whether the numbers of
        each sample along it are probabilities, or the logarithms of probabilities; sums_over: another axis, along which
        they are instead, where there is one.
    """
    facts = _shape_and_dtype(predictions)
    shape = facts["shape"]
    axis = axis if -len(shape) <= axis < len(shape) else -1
    facts["units"] = shape[axis] if len(shape) > 1 else 1
    values = numbers(predictions, _LOOKED_AT)
    if values.ndim > 1 and np.isfinite(values).all() and values.size:
        facts["sums_to_one"] = are_probabilities(values, axis)
        with np.errstate(over="ignore"):
            facts["exp_sums_to_one"] = are_probabilities(np.exp(values), axis)
        if not facts["sums_to_one"] and not facts["exp_sums_to_one"]:
            own = axis % values.ndim
            whole = [other for other in range(values.ndim) if other != own and values.shape[other] == shape[other] > 1]
            facts |= next(({"sums_over": other} for other in whole if _sum_to_one(values, other)), {})
    return facts


def _sum_to_one(values: npt.NDArray[np.float64], axis: int) -> bool:
    """Whether the numbers along an axis, or their exponentials, sum to one."""
    if (values >= 0.0).all():
        return are_probabilities(values, axis)
    return not (values > 0.0).any() and are_probabilities(np.exp(values), axis)


def facts_of_inputs(x: Any, axis: int | None = -1) -> dict[str, Any]:
    """What a batch of inputs shows that its row does not.

    Args:
        x: an array or tensor of numbers of shape (samples, ...), on any device; never a traced one.
        axis: that of the features or channels; None where there is none.

    Returns:
        shape, dtype, features; feature_std: the least, the (lower) median and the largest standard deviation of the
        features that are not constant; constant_features and duplicate_features: how many of them are;
        duplicate_samples: the share of the samples that are equal to another one before them, where there are any, and
        whole: whether all are whole numbers; code: for a value that stands for "missing" and lies far from all others,
        its value, its share, and std_without, the standard deviation of the others.

    Example:
        >>> small, large = np.tile([0.0, 2.0], 10), np.repeat([0.0, 2000.0], 10)
        >>> facts = facts_of_inputs(np.stack([small, large, np.ones(20)], axis=1))
        >>> facts["constant_features"], facts["feature_std"]
        (1, [1.0, 1.0, 1000.0])
    """
    facts = _shape_and_dtype(x)
    values = numbers(x, _LOOKED_AT)
    if values.ndim < 2 or axis is None or not -values.ndim <= axis < values.ndim:
        table = values.reshape(-1, 1)
    else:
        table = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    facts["features"] = table.shape[1]
    finite = np.isfinite(table)
    with np.errstate(all="ignore"):
        if len(table) >= _LEAST_SAMPLES and finite.all():
            varies = np.ptp(table, axis=0) > 0.0
            facts["constant_features"] = int(np.count_nonzero(~varies))
            stds = np.sort(table[:, varies].std(axis=0))
            if stds.size and np.isfinite(stds).all():
                # The lower of two in the middle: of two features the larger one drowns the other.
                facts["feature_std"] = [float(stds[at]) for at in (0, (stds.size - 1) // 2, -1)]
            columns = np.ascontiguousarray(table[:, varies].T)
            facts["duplicate_features"] = len(columns) - len({column.tobytes() for column in columns})
        code = _code(np.sort(table[finite]))
    if values.ndim and len(values) >= _LEAST_SAMPLES and finite.all() and (share := _duplicates(values)):
        facts |= {"duplicate_samples": share, "whole": bool((values == np.floor(values)).all())}
    return facts | ({"code": code} if code else {})


def _duplicates(values: npt.NDArray[np.float64]) -> float:
    """The share of the samples that are equal to one before them."""
    rows = np.ascontiguousarray(values.reshape(len(values), -1))
    return 1.0 - len({row.tobytes() for row in rows}) / len(rows)


def _code(values: npt.NDArray[np.float64]) -> dict[str, float] | None:
    """The least or the largest value, where it is one that stands for "missing"; of sorted ones."""
    if values.size < _LEAST_SAMPLES or values[0] == values[-1]:
        return None
    for value, rest in ((values[0], values[values > values[0]]), (values[-1], values[values < values[-1]])):
        times = values.size - rest.size
        gap = abs(float(value) - float(rest[0] if value < rest[0] else rest[-1]))
        often = times >= max(_LEAST_CODES, _CODES * values.size)
        if often and value == np.floor(value) and abs(value) > 1.0 and gap > 3.0 * float(rest[-1] - rest[0]) > 0.0:
            share = times / values.size
            return {"value": float(value), "share": share, "std_without": float(rest.std())}
    return None
