"""What loss functions want: of the predictions, of the targets, and what the best constant answer comes to.

The one table that adapters, the monitor and the rules share. Frameworks spell one function in many ways, so it is
found by what its names have in common: ``CrossEntropyLoss``, ``F.cross_entropy`` and optax's ``softmax_cross_entropy``
are one.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

#: How far from 1 the sum of probabilities may be: they may come from bfloat16, which has 8 bits.
SUM_ERROR: Final = 0.02

#: Newton's steps to the best constant answer of a loss that is not quite a square.
_STEPS: Final = 12

#: What a loss takes for predictions.
Predictions = Literal["logits", "log-probabilities", "probabilities", "values"]
#: What it takes for targets: the number of a class, a probability for each class (one-hot among them), a probability of
#: its own for each unit, -1 or 1, or any numbers.
Targets = Literal["classes", "distribution", "probability", "sign", "values"]
Family = Literal["categorical", "binary", "regression", "count", "hinge", "distance"]


class Loss(NamedTuple):
    """A loss function.

    Attributes:
        name: its name here, such as "cross_entropy".
        family: whether it is about one class of many, a yes or no for each unit, numbers, how often something occurs,
            margins, or how far apart samples are.
        predictions: what it takes for predictions.
        targets: what it takes for targets, the usual kind first.
        constant: for targets float64[samples, units] (class numbers are one unit), the least mean loss that the same
            answer for every sample can have; None where no short formula gives it. Where the loss has a margin, as a
            share of it.
        margin: the margin where nobody says another; None for a loss without one.
    """

    name: str
    family: Family
    predictions: Predictions
    targets: tuple[Targets, ...]
    constant: Callable[[npt.NDArray[np.float64]], float] | None = None
    margin: float | None = None


def _entropy(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """-p ln p of each, 0 for 0."""
    return -shares * np.log(np.where(shares > 0.0, shares, 1.0))


def _of_classes(targets: npt.NDArray[np.float64]) -> float:
    """The entropy of the classes' shares, in nats: the cross entropy of the answer that has just these shares."""
    if targets.shape[1] == 1:
        known = targets[targets >= 0.0]  # -100 and the like are left out
        shares = np.unique(known, return_counts=True)[1] / max(known.size, 1)
    else:
        shares = targets.mean(axis=0)
    return float(_entropy(shares).sum())


def _of_probabilities(targets: npt.NDArray[np.float64]) -> float:
    shares = targets.mean(axis=0)
    return float((_entropy(shares) + _entropy(1.0 - shares)).mean())


def _of_squares(targets: npt.NDArray[np.float64]) -> float:
    return float(targets.var(axis=0).mean())


def _of_distances(targets: npt.NDArray[np.float64]) -> float:
    return float(np.abs(targets - np.median(targets, axis=0)).mean())


def _of_bounded_squares(targets: npt.NDArray[np.float64]) -> float:
    """The least mean Huber loss, that of a width of 1, by Newton's steps from the median."""
    answer = np.median(targets, axis=0)
    for _ in range(_STEPS):
        error = targets - answer
        answer = answer + np.clip(error, -1.0, 1.0).mean(axis=0) / np.maximum((np.abs(error) <= 1.0).mean(axis=0), 0.1)
    size = np.abs(targets - answer)
    return float(np.where(size <= 1.0, 0.5 * size * size, size - 0.5).mean())


def _of_log_cosh(targets: npt.NDArray[np.float64]) -> float:
    """The least mean logarithm of the hyperbolic cosine, by Newton's steps from the median."""
    answer = np.median(targets, axis=0)
    for _ in range(_STEPS):
        slope = np.tanh(targets - answer)
        answer = answer + slope.mean(axis=0) / np.maximum((1.0 - slope * slope).mean(axis=0), 0.1)
    error = targets - answer
    return float((np.logaddexp(error, -error) - np.log(2.0)).mean())


def _of_logarithms(targets: npt.NDArray[np.float64]) -> float:
    return _of_squares(np.log1p(targets)) if (targets > -1.0).all() else math.nan


def _of_divergence(targets: npt.NDArray[np.float64]) -> float:
    """How far distributions are from their mean, in nats: its entropy without theirs."""
    return float(_entropy(targets.mean(axis=0)).sum() - _entropy(targets).sum(axis=1).mean())


def _of_counts(targets: npt.NDArray[np.float64]) -> float:
    """Of the rate that is the mean of the counts."""
    mean = targets.mean(axis=0)
    return float((mean + _entropy(mean)).mean()) if (targets >= 0.0).all() else math.nan


def _of_deviations(targets: npt.NDArray[np.float64]) -> float:
    """Of the normal distribution that has the mean and the variance of the targets."""
    variance = targets.var(axis=0)
    return float(0.5 * (1.0 + np.log(variance)).mean()) if (variance > 0.0).all() else math.nan


def _shares_of_signs(targets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share of the rarer one of -1 and 1 in each unit; NaN where targets are others."""
    if not np.isin(targets, (-1.0, 1.0)).all():
        return np.full(targets.shape[1], math.nan)
    share = (targets > 0.0).mean(axis=0)
    rarer: npt.NDArray[np.float64] = np.minimum(share, 1.0 - share)
    return rarer


def _of_signs(targets: npt.NDArray[np.float64]) -> float:
    """The logistic loss of -1 and 1: the entropy of their shares."""
    share = _shares_of_signs(targets)
    return float((_entropy(share) + _entropy(1.0 - share)).mean())


def _of_hinges(targets: npt.NDArray[np.float64]) -> float:
    return float((2.0 * _shares_of_signs(targets)).mean())


def _of_squared_hinges(targets: npt.NDArray[np.float64]) -> float:
    share = _shares_of_signs(targets)
    return float((4.0 * share * (1.0 - share)).mean())


def _of_pairs(targets: npt.NDArray[np.float64]) -> float:
    """Of a distance that is the same for all pairs: nothing, or the margin."""
    return float(_shares_of_signs(targets).mean())


def _of_equals(targets: npt.NDArray[np.float64]) -> float:
    """Samples that are all alike are no distance from each other, and the whole margin is missing."""
    del targets
    return 1.0


_CLASSES: Final[tuple[Targets, ...]] = ("classes", "distribution")

LOSSES: Final = {
    loss.name: loss
    for loss in (
        Loss("cross_entropy", "categorical", "logits", _CLASSES, _of_classes),
        Loss("nll", "categorical", "log-probabilities", ("classes",), _of_classes),
        # Keras has two: its sparse one takes classes, the other distributions.
        Loss("categorical_crossentropy", "categorical", "probabilities", ("distribution",), _of_classes),
        Loss("categorical_crossentropy_of_logits", "categorical", "logits", ("distribution",), _of_classes),
        Loss("sparse_categorical_crossentropy", "categorical", "probabilities", ("classes",), _of_classes),
        Loss("sparse_categorical_crossentropy_of_logits", "categorical", "logits", ("classes",), _of_classes),
        Loss("kl_divergence", "categorical", "log-probabilities", ("distribution",), _of_divergence),
        Loss("kl_divergence_of_probabilities", "categorical", "probabilities", ("distribution",), _of_divergence),
        Loss("binary_cross_entropy", "binary", "probabilities", ("probability",), _of_probabilities),
        Loss("binary_cross_entropy_with_logits", "binary", "logits", ("probability",), _of_probabilities),
        Loss("mean_squared_error", "regression", "values", ("values",), _of_squares),
        Loss("mean_absolute_error", "regression", "values", ("values",), _of_distances),
        Loss("huber", "regression", "values", ("values",), _of_bounded_squares),
        Loss("log_cosh", "regression", "values", ("values",), _of_log_cosh),
        Loss("mean_squared_logarithmic_error", "regression", "values", ("values",), _of_logarithms),
        Loss("mean_absolute_percentage_error", "regression", "values", ("values",)),
        Loss("gaussian_nll", "regression", "values", ("values",), _of_deviations),
        Loss("poisson_nll", "count", "values", ("values",), _of_counts),
        Loss("hinge", "hinge", "values", ("sign",), _of_hinges),
        Loss("soft_margin", "hinge", "values", ("sign",), _of_signs),
        Loss("squared_hinge", "hinge", "values", ("sign",), _of_squared_hinges),
        Loss("hinge_embedding", "hinge", "values", ("sign",), _of_pairs, 1.0),
        Loss("margin_ranking", "hinge", "values", ("sign",), _of_equals, 0.0),
        Loss("cosine_embedding", "hinge", "values", ("sign",), _of_pairs, 0.0),
        Loss("triplet_margin", "distance", "values", (), _of_equals, 1.0),
        Loss("categorical_hinge", "categorical", "values", ("distribution",)),
        Loss("multi_margin", "categorical", "values", ("classes",)),
    )
}

#: Other spellings, in small letters without underscores and without what ends in "loss".
_SPELLINGS: Final = {
    "crossentropy": "cross_entropy", "softmaxcrossentropy": "cross_entropy",
    "softmaxcrossentropywithintegerlabels": "cross_entropy", "nll": "nll",
    "kldiv": "kl_divergence", "bce": "binary_cross_entropy", "binarycrossentropy": "binary_cross_entropy",
    "bcewithlogits": "binary_cross_entropy_with_logits",
    "sigmoidbinarycrossentropy": "binary_cross_entropy_with_logits",
    "binarycrossentropyoflogits": "binary_cross_entropy_with_logits",
    "mse": "mean_squared_error", "meansquarederror": "mean_squared_error", "squarederror": "mean_squared_error",
    "mae": "mean_absolute_error", "l1": "mean_absolute_error", "meanabsoluteerror": "mean_absolute_error",
    "absoluteerror": "mean_absolute_error", "smoothl1": "huber", "huber": "huber", "logcosh": "log_cosh",
    "poissonnll": "poisson_nll", "poisson": "poisson_nll",
    "msle": "mean_squared_logarithmic_error", "mape": "mean_absolute_percentage_error",
    "squaredhinge": "squared_hinge", "hinge": "hinge", "gaussiannll": "gaussian_nll",
    "tripletmargin": "triplet_margin", "tripletmarginwithdistance": "triplet_margin",
    "multimargin": "multi_margin", "softmargin": "soft_margin",
    "hingeembedding": "hinge_embedding", "marginranking": "margin_ranking", "cosineembedding": "cosine_embedding",
    "multilabelsoftmargin": "binary_cross_entropy_with_logits",
}  # fmt: skip
_SPELLED: Final = {name.replace("_", ""): name for name in LOSSES} | _SPELLINGS


def find(function: str) -> Loss | None:
    """The loss of this name in any framework's spelling; None for one that is not known.

    Example:
        >>> find("CrossEntropyLoss").name, find("mse_loss").name, find("my_loss")
        ('cross_entropy', 'mean_squared_error', None)
    """
    plain = function.lower().replace("_", "").removesuffix("loss")
    return LOSSES.get(_SPELLED.get(plain, ""))


def constant_answer(loss: Loss, targets: npt.NDArray[Any], options: Mapping[str, Any] | None = None) -> float | None:
    """The least mean loss of an answer that is the same for every sample; None where that is not known.

    Args:
        loss: the loss function.
        targets: shape (samples, ...), as the loss takes them: of classes any shape; of distributions the classes are on
            the last axis, or on axis 1, where `cross_entropy` has them. Of a loss without targets whatever it is.
        options: of the facts of a loss those that its value depends on: "margin", "width", "log_target"; and, where
            "weights_told" says that these are all, "class_weights", "positive_weight", "label_smoothing",
            "ignore_index" and "beta". "units": how many classes there are.

    Example:
        >>> constant_answer(LOSSES["triplet_margin"], np.array([]), {"margin": 0.3})
        0.3
    """
    known = options or {}
    if loss.constant is None or not (targets.size or not loss.targets):
        return None
    values = targets.astype(np.float64)
    values = np.exp(values) if known.get("log_target") else values
    if not np.isfinite(values).all() or (loss.family == "binary" and not ((values >= 0.0) & (values <= 1.0)).all()):
        return None
    table = values.reshape(len(values), -1) if values.ndim and values.size else values.reshape(-1, 1)
    if loss.family == "categorical":
        axis = 1 if "classes" in loss.targets else -1
        if values.ndim > 1 and values.shape[axis] > 1 and are_probabilities(values, axis):
            table = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
        elif "classes" in loss.targets and (values == np.floor(values)).all() and not _is_multi_hot(targets):
            table = values.reshape(-1, 1)
        else:
            return None
    if known.get("weights_told"):
        return _of_weighted(loss, table, known)
    width = float(known.get("width", 1.0))
    found = loss.constant(table / width) * width**2
    if loss.margin is not None:
        margin = float(known.get("margin", loss.margin))
        found *= 1.0 - margin if loss.name == "cosine_embedding" else margin
    return found if math.isfinite(found) else None


def _of_weighted(loss: Loss, table: npt.NDArray[np.float64], known: Mapping[str, Any]) -> float | None:
    """The same where terms count unequally, or targets are smoothed: as PyTorch's and Keras's losses do that.

    Formula:
        A loss that is the sum over answers c of masses m[c] times -ln q[c] is least where q is m / sum m.

    Args:
        loss: the loss function.
        table: float64[samples, units], or the numbers of classes in one column.
        known: see `constant_answer`.
    """
    smoothing = float(known.get("label_smoothing", 0.0))
    if loss.constant is _of_bounded_squares and "beta" in known:
        beta = float(known["beta"])
        return _of_bounded_squares(table / beta) * beta if beta > 0.0 else _of_distances(table)
    if loss.constant is _of_probabilities and "class_weights" not in known:
        yes = table.mean(axis=0) * (1.0 - smoothing) + 0.5 * smoothing
        weight = np.asarray(known.get("positive_weight", 1.0), np.float64)
        if weight.size not in (1, yes.size):
            return None
        return float(_least(np.stack([weight * yes, 1.0 - yes])).mean())
    if loss.constant is not _of_classes or "positive_weight" in known:
        return None
    numbered = table.shape[1] == 1
    if numbered:
        kept = table[(table >= 0.0) & (table != known.get("ignore_index", -1.0))].astype(np.int64)
        if not kept.size:
            return None
        counts = np.bincount(kept, minlength=int(known.get("units", 0)))
        shares = counts / kept.size
    else:
        shares = table.mean(axis=0)
    weights = np.asarray(known.get("class_weights", np.ones(shares.size)), np.float64)
    if weights.size != shares.size or not (weights >= 0.0).all() or not float(weights @ shares) > 0.0:
        return None
    masses = weights * (shares * (1.0 - smoothing) + smoothing / shares.size)
    # PyTorch's mean is one by the weights of the samples' classes, where targets are numbers of classes.
    return float(_least(masses / float(weights @ shares) if numbered else masses))


def _least(masses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The least sum over the first axis of masses times -ln q, over all q that sum to one."""
    total = masses.sum(axis=0)
    least: npt.NDArray[np.float64] = _entropy(masses).sum(axis=0) - _entropy(total)
    return least


def _is_multi_hot(targets: npt.NDArray[Any]) -> bool:
    """Whether each sample seems to have a yes or no for each class, as a loss of one class for each cannot have."""
    return targets.ndim == 2 and targets.shape[1] > 1 and bool(np.isin(targets, (0.0, 1.0)).all())


def are_probabilities(values: npt.NDArray[np.float64], axis: int) -> bool:
    """Whether the numbers along an axis are above zero and sum to one.

    Example:
        >>> are_probabilities(np.array([[0.2, 0.8], [1.0, 0.0]]), -1)
        True
    """
    return bool((values >= 0.0).all() and (np.abs(values.sum(axis=axis) - 1.0) < SUM_ERROR).all())
