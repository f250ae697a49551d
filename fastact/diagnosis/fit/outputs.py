"""Outputs that are not what the loss takes: a softmax too many or too few, over one unit or the wrong axis, a ReLU."""

import math
from typing import Final

import numpy as np

from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.finding import NOTE, Severity
from fastact.diagnosis.fit import fixes
from fastact.diagnosis.network import LayerView
from fastact.fields import COLUMN
from fastact.losses import SUM_ERROR
from fastact.text import number

_NEURONS, _MEAN, _MIN = COLUMN["neurons"], COLUMN["mean"], COLUMN["min"]
#: Rows that say what is so now.
_LATEST: Final = 5
#: Share of a constant answer's loss below which much is learned, by way of a softmax that does not fit.
_MUCH_LEARNED: Final = 0.7
#: Share of the rows that have an output below zero: of a regression whose answers are large a few may have at first.
_OFTEN: Final = 0.5
#: Mean of counts below which rates below 1 are what is to be learned.
_USUAL_RATE: Final = 2.0
#: Beyond rounding, a logarithm of a probability is not above zero, and a probability within zero and one.
_BEYOND: Final = 1e-3


def activated_twice(s: Supervised, learned: float) -> Mismatch | None:
    """A softmax of a softmax, or a sigmoid of a sigmoid, within the network."""
    del learned
    if s.output is None or s.activation != s.given:
        return None
    if s.activation == "Softmax" and s.kind == "softmax" and s.units > 1:
        most = math.e / (math.e + s.units - 1.0)
        says = f"A softmax of probabilities gives no class of {s.units:,} more than {number(most)}."
        name, fix = "double_softmax", "leave one softmax out"
    elif s.activation == "Sigmoid" and s.kind == "sigmoid":
        says = "A sigmoid of probabilities is within 0.5 and 0.73."
        name, fix = "double_sigmoid", "leave one sigmoid out"
    else:
        return None
    what = f"its {s.activation.lower()} is applied to the outputs of another one"
    return Mismatch(name, "serious", what, says, (fix,), (what,))


def over_one_unit(s: Supervised, learned: float) -> Mismatch | None:
    """A softmax over a single unit, in the network or in the loss: it is 1 whatever comes in."""
    del learned
    in_layer = s.kind == "softmax" and s.layer is not None and s.layer.last[_NEURONS] == 1
    in_layer = in_layer or _is_one(s)
    family = s.function.family if s.function is not None else ""
    wants = s.function.predictions if s.function is not None else "values"
    in_loss = family == "categorical" and wants != "values" and s.units == 1
    if in_loss and s.function is not None and s.function.name.startswith("kl_divergence"):
        in_loss = False
    if not (in_layer or in_loss):
        return None
    what = "it is a softmax over one unit" if in_layer else f"{loss_of(s)} compares classes, and there is one unit"
    numbers = s.whole and len(s.distinct)
    if numbers and set(s.distinct) <= {0.0, 1.0}:
        fix = fixes.two_classes(s.framework)
    elif numbers and family != "regression":
        fix = fixes.classes(s.framework, _classes(s))
    elif family == "binary" or not s.targets:
        fix = fixes.two_classes(s.framework)
    elif family == "categorical":
        fix = fixes.classes(s.framework)
    else:
        fix = fixes.values(s.framework)
    return Mismatch(
        "softmax_over_one_unit", "critical", f"{what}, which is 1 whatever comes in",
        "One unit is the whole of its sum: every prediction is 1, every gradient zero, and nothing can be learned.",
        (fix,), (what,),
    )  # fmt: skip


def _is_one(s: Supervised) -> bool:
    """Whether the only unit has been 1 for each sample from the first row on, whatever the layer is called."""
    if s.units != 1 or s.output is None or s.output.last[_NEURONS] != 1 or s.kind not in ("", "softmax"):
        return False
    rows = s.output.rows
    ones = bool(((rows["min"] == 1.0) & (rows["max"] == 1.0)).all()) and s.output.first[_MIN] == 1.0
    return ones and len(rows) >= _LATEST and float(rows["count"].min()) > 1.0


def _classes(s: Supervised) -> int | None:
    """How many classes the first batch of targets tells of, where they are numbered from 0 on."""
    known = s.distinct
    return int(max(known)) + 1 if known and min(known) >= 0.0 and max(known) >= 2.0 else None


def other_axis(s: Supervised, learned: float) -> Mismatch | None:
    """A softmax over samples, or over time, in place of classes."""
    del learned
    wants = s.function is not None and s.function.family == "categorical" and "kl" not in s.function.name
    wants = wants or s.chooses
    sums = s.prediction.get("exp_sums_to_one" if s.activation == "LogSoftmax" else "sums_to_one")
    if not (wants and s.units > 1 and s.samples > 1 and sums is False):
        return None
    named = s.activation in ("Softmax", "LogSoftmax") and bool(s.kind) and (len(s.shape) == 2 or _over_samples(s))
    if not named and not isinstance(s.prediction.get("sums_over"), int):
        return None
    says = "The sum over the classes of a sample is not 1: the softmax runs over another axis, which is the samples'."
    remedies = ("set the axis of the softmax to that of the classes: dim=1, or axis=-1",)
    if s.function is not None and s.function.predictions == "logits":
        remedies = (fixes.no_softmax(s.framework),)
    what = "its softmax does not run over the classes"
    return Mismatch("softmax_axis", "critical", what, says, remedies, ("the classes of a sample do not sum to 1",))


def _over_samples(s: Supervised) -> bool:
    """Whether the softmax is known to run over the first axis of several, that of the samples."""
    axis = s.prediction.get("activation_axis")
    return isinstance(axis, int) and len(s.shape) > 1 and axis % len(s.shape) == 0


def of_logits(s: Supervised, learned: float) -> Mismatch | None:
    """A loss that takes logits is given what an activation has squeezed or cut."""
    if (
        s.function is None
        or s.function.predictions != "logits"
        or (s.units == 1 and s.function.family == "categorical")
    ):
        return None
    one_of_many = s.function.family == "categorical"
    remedy = fixes.no_softmax(s.framework) if one_of_many else fixes.no_sigmoid(s.framework)
    takes = f"{loss_of(s)} takes logits"
    seen = (
        "the predictions of each sample sum to one" if s.kind == "softmax" else f"the last activation is a {s.kind}",
    )
    if s.kind == "softmax":
        name = "double_softmax" if one_of_many else "wrong_output_activation"
        most = math.e / (math.e + s.units - 1.0)
        says = (
            f"The loss applies a softmax to what is one already: no class of {s.units:,} can get more than "
            f"{number(most)}, and gradients are small."
            if one_of_many
            else "The loss takes probabilities for logits: none can be less than a half."
        )
        return Mismatch(name, "serious", f"{takes}, and gets probabilities that sum to one", says, (remedy,), seen)
    if s.kind == "sigmoid":
        says = (
            f"The loss applies a softmax to numbers within 0 and 1: no class of {s.units:,} can get more than "
            f"{number(math.e / (math.e + s.units - 1.0))}."
            if one_of_many
            else "The loss applies a sigmoid to what is one already: all probabilities are within 0.5 and 0.73."
        )
        name = "wrong_output_activation" if one_of_many else "double_sigmoid"
        fix = remedy if not one_of_many else "remove the sigmoid: the loss applies a softmax to logits"
        return Mismatch(name, "serious", f"{takes}, and gets the outputs of a sigmoid", says, (fix,), seen)
    fix = f"remove the {s.kind}: logits are any numbers"
    if s.kind == "ReLU":
        # A class that no sample of the last batches gives a logit gets no gradient any more.
        lost = s.output is not None and int(s.output.rows["silent_neurons"][-_LATEST:].min()) > 0
        severity: Severity = "serious" if lost or not one_of_many else "warning"
        if severity == "warning" and s.share_of_baseline < learned:
            severity = NOTE
        says = (
            "Logits that are never below zero cannot say no: no probability is less than a half."
            if not one_of_many
            else "A class whose logit is cut to zero gets no gradient, and no class can get less than the others cut."
        )
        return Mismatch("relu_output", severity, f"{takes}, and gets the outputs of a ReLU", says, (fix,), seen)
    if s.kind == "tanh":
        severity = NOTE if s.share_of_baseline < learned else "warning"
        says = "Logits within -1 and 1 cannot be sure of anything."
        what = f"{takes}, and gets the outputs of a tanh"
        return Mismatch("wrong_output_activation", severity, what, says, (fix,), seen)
    return None


def of_log_probabilities(s: Supervised, learned: float) -> Mismatch | None:
    """A loss that takes logarithms of probabilities is given probabilities or logits."""
    del learned
    if s.function is None or s.function.predictions != "log-probabilities" or s.output is None or s.units == 1:
        return None
    most = float(s.output.rows["max"].max())
    positive = math.isfinite(most) and most > _BEYOND
    takes = f"{loss_of(s)} takes logarithms of probabilities"
    divergence = s.function.family == "categorical" and "distribution" in s.function.targets
    if s.kind == "softmax":
        what = f"{takes}, and gets probabilities"
        says = "The loss of a probability has next to no gradient where the answer is wrong."
        fix = fixes.logarithms(s.framework) if divergence else fixes.log_softmax(s.framework, softmax=True)
        known = "the predictions of each sample sum to one"
        return Mismatch("missing_log_softmax", "serious", what, says, (fix,), (known,))
    logits = s.kind == "linear" and s.prediction.get("exp_sums_to_one") is False and not divergence
    if positive or logits:
        known = f"the predictions reach {number(most)}" if positive else "their exponentials do not sum to one"
        what = f"{takes}, and gets other numbers: {known}"
        says = "The loss has no least value: it falls for as long as the outputs grow, whatever they say."
        fix = fixes.logarithms(s.framework) if divergence else fixes.log_softmax(s.framework)
        return Mismatch("missing_log_softmax", "critical", what, says, (fix,), (known,))
    return None


def of_probabilities(s: Supervised, learned: float) -> Mismatch | None:
    """A loss that takes probabilities is given other numbers."""
    if s.function is None or s.function.predictions != "probabilities" or s.output is None:
        return None
    low, high = float(s.output.rows["min"].min()), float(s.output.rows["max"].max())
    if not low <= high:
        return None
    outside = low < -_BEYOND or high > 1.0 + _BEYOND
    takes = f"{loss_of(s)} takes probabilities"
    reach = f"the outputs are from {number(low)} to {number(high)}"
    cut = "The loss cuts what is not within 0 and 1, where the gradient is zero."
    if s.function.family == "binary":
        # A last layer that begins at zero has outputs of a half until the first update alone.
        lately = s.output.rows["min"][-_LATEST:]
        if s.kind == "softmax" and s.units > 1 and s.shape == s.target_shape and s.targets.get("sums_to_one") is False:
            return _of_rivals(s, takes)
        if s.kind == "sigmoid" and len(lately) == _LATEST and (lately == 0.5).all() and high > 0.5:
            return _of_a_sigmoid_behind_a_relu(s, takes, learned)
        fix = fixes.sigmoid(s.framework)
        if (known := _is_cut(s)) is not None:
            what = f"{takes}, and gets scores that are cut to these: {known}"
            return Mismatch("missing_sigmoid", "serious", what, _CUT, (fix,), (known,))
        if not outside:
            return None
        if s.kind == "ReLU":
            return Mismatch("relu_output", "serious", f"{takes}, and gets the outputs of a ReLU", cut, (fix,), (reach,))
        name = "wrong_output_activation" if s.kind == "tanh" else "missing_sigmoid"
        return Mismatch(name, "serious", f"{takes}, and {reach}", cut, (fix,), (reach,))
    if s.units == 1 or s.kind == "softmax" or s.prediction.get("sums_to_one") or _sums_to_one(s.output, s.units):
        return None
    if not s.kind and low >= 0.0:  # the loss divides by the sum, of which nothing else is known
        return None
    fix = fixes.softmax(s.framework)
    if s.kind == "sigmoid":
        says = (
            "A sigmoid for each class lets them all be likely: the loss divides by their sum to make them one answer."
        )
        severity: Severity = NOTE if s.share_of_baseline < learned else "warning"
        fix = "use a softmax in the last layer in place of the sigmoid"
        what = f"{takes} that sum to one, and gets a sigmoid of each class"
        return Mismatch("wrong_output_activation", severity, what, says, (fix,), ("the last activation is a sigmoid",))
    if not outside and s.prediction.get("sums_to_one") is not False:
        return None
    name = "relu_output" if s.kind == "ReLU" else "wrong_output_activation" if s.kind == "tanh" else "missing_softmax"
    known = reach if outside else "the outputs of a sample do not sum to one"
    what = f"{takes} of {s.units:,} classes, and {known}" if s.units else f"{takes}, and {known}"
    return Mismatch(name, "serious", what, cut, (fix,), (known,))


def of_positive_numbers(s: Supervised, learned: float) -> Mismatch | None:
    """Keras takes the logarithm of an output as it is, in losses of counts and of logarithms: none is below zero."""
    del learned
    takes = s.function is not None and s.function.name in ("poisson_nll", "mean_squared_logarithmic_error")
    if not takes or s.framework != "keras" or s.output is None or s.kind not in ("linear", "tanh"):
        return None
    low, high = float(s.output.rows["min"].min()), float(s.output.rows["max"].max())
    below = float(np.mean(s.output.rows["min"] < 0.0))
    if not low < 0.0 or below < _OFTEN:
        return None
    reach = f"the outputs are from {number(low)} to {number(high)}"
    what = f"{loss_of(s)} takes the logarithm of its predictions, and {reach}"
    says = "An output below zero has no logarithm: the loss is cut there, without a gradient, or no number."
    fix = "use activation='softplus' or 'exponential' in the last layer"
    return Mismatch("wrong_output_activation", "serious", what, says, (fix,), (reach,))


def of_logarithms_of_rates(s: Supervised, learned: float) -> Mismatch | None:
    """PyTorch's Poisson loss takes logarithms of rates: outputs that are never below zero are rates of 1 and more."""
    del learned
    if s.function is None or s.function.name != "poisson_nll" or s.facts.get("log_input") is not True:
        return None
    if s.output is None or s.activation not in ("Softplus", "ReLU", "Sigmoid", "Softmax", "Exp", "ReLU6"):
        return None
    if not float(s.output.rows["min"].min()) >= 0.0:
        return None
    what = f"{loss_of(s)} takes the logarithms of rates, and gets the outputs of a {s.activation}, never below zero"
    says = "An output of zero or more stands for a rate of 1 or more: rarer events cannot be predicted."
    fix = f"remove the {s.activation}, or keep it and use log_input=False"
    seen = (f"the last activation is a {s.activation}",)
    severity: Severity = "serious" if s.target_number("mean") < _USUAL_RATE else "warning"
    return Mismatch("wrong_output_activation", severity, what, says, (fix,), seen)


def of_margins(s: Supervised, learned: float) -> Mismatch | None:
    """A hinge, for which yes and no are 1 and -1, and outputs that are never below zero."""
    del learned
    if s.function is None or s.function.name != "hinge" or s.kind not in ("sigmoid", "softmax", "ReLU"):
        return None
    what = f"{loss_of(s)} wants outputs of 1 and -1 at least, and gets those of a {s.kind}, which are never below zero"
    says = "An output that is never below zero cannot say no: half of the samples keep a loss of 1 and more."
    fix = f"remove the {s.kind} from the last layer, or use a tanh"
    seen = (f"the last activation is a {s.kind}",)
    return Mismatch("wrong_output_activation", "serious", what, says, (fix,), seen)


_CUT: Final = (
    "A score that is cut to 0 or 1 has no gradient, and where the answer is the other one the loss is as large as it "
    "can be, and stays so."
)


def _is_cut(s: Supervised) -> str | None:
    """That what the loss got is the last layer's scores, cut to 0 and 1, in all of its rows; None where it is not."""
    made, got = s.layer, s.output
    if made is None or got is None or made is got or len(made.rows) != len(got.rows):
        return None
    if (made.rows["step"] != got.rows["step"]).any() or (made.rows["count"] != got.rows["count"]).any():
        return None
    low, high = made.rows["min"], made.rows["max"]
    cut = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    if not (np.array_equal(cut[0], got.rows["min"]) and np.array_equal(cut[1], got.rows["max"])):
        return None
    beyond = bool(low.min() < -_BEYOND) and bool(((cut[0] < cut[1]) & (cut[1] > 0.0)).mean() > _OFTEN)
    return f"they are from {number(float(low.min()))} to {number(float(high.max()))}" if beyond else None


def _of_rivals(s: Supervised, takes: str) -> Mismatch:
    """A softmax where a sample may have several classes, or none."""
    what = f"{takes} of each class by itself, and gets a softmax, whose classes share one probability"
    says = "Classes that hold at once compete: what one of them gets, the others lose, and none can be left out."
    seen = ("the predictions of each sample sum to one, its targets do not",)
    severity: Severity = "warning" if s.share_of_baseline < _MUCH_LEARNED else "serious"
    return Mismatch("wrong_output_activation", severity, what, says, (fixes.multi_label(s.framework),), seen)


def _of_a_sigmoid_behind_a_relu(s: Supervised, takes: str, learned: float) -> Mismatch:
    severity: Severity = NOTE if s.share_of_baseline < learned else "serious"
    what = f"{takes}, and none that it gets is below a half: a ReLU comes before the sigmoid"
    says = "A sigmoid of what is never below zero cannot say no."
    fix = "leave out the ReLU of the last layer with weights: the sigmoid is its activation"
    return Mismatch("relu_output", severity, what, says, (fix,), ("the smallest probability is exactly 0.5",))


def _sums_to_one(output: LayerView, units: int) -> bool:
    """Whether the outputs have the mean that probabilities of so many classes have, where no batch was looked at."""
    mean, low = float(output.last[_MEAN]), float(output.last[_MIN])
    return units > 0 and low >= 0.0 and abs(mean * units - 1.0) < SUM_ERROR


def loss_of(s: Supervised) -> str:
    """The loss by its framework's name."""
    spelled = s.facts.get("spelled") or (s.function.name if s.function is not None else "the loss")
    return str(spelled)[:40]
