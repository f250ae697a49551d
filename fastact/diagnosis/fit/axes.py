"""What runs over the samples of a batch in place of the time steps, or the places, of each: recurrences, softmaxes."""

import math
from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Row
from fastact.fields import COLUMN
from fastact.text import number, shown

_COUNT: Final = COLUMN["count"]
_NEURONS: Final = COLUMN["neurons"]
_MEAN: Final = COLUMN["mean"]
_MAX: Final = COLUMN["max"]
#: By so much the logarithm of a share is less than it can be, which is no rounding.
_BELOW: Final = 0.05
#: Samples. Batches of fewer, or of one, tell no axis from another.
_LEAST: Final = 2
#: Share by which the mean of a softmax is off one over the length of its axis: half precision.
_ROUNDING: Final = 1e-3


def recurrence_over_samples(s: Supervised, network: Network) -> Mismatch | None:
    """A recurrent layer whose last states are as many as a sample has time steps, not as the batch has samples.

    The outputs of a batch are samples times steps, its last states one for each sample: of which there are as many as
    predictions, unless samples were taken for steps.
    """
    samples = s.shape[0] if s.shape else 0
    # Targets say which axis is that of the samples: CTC, of whose targets nothing is known, wants steps first.
    if samples < _LEAST or not s.target_shape or s.target_shape[0] != samples:
        return None
    for layer in network.everything.values():
        if not layer_types.is_recurrent(layer.info.layer_type) or not layer.info.name.endswith("[0]"):
            continue
        base = layer.info.name.removesuffix("[0]")
        state = next((view for view in network.everything.values() if _is_state(view, base)), None)
        if state is None or layer.info.mode or not (layer.first[_NEURONS] and state.first[_NEURONS]):
            continue
        outputs, states = _places(layer.first), _places(state.first)
        if states < _LEAST or states == samples or outputs != samples * states or states % samples == 0:
            continue
        what = f"{shown(base, 40)} runs over the {samples:,} samples of a batch, as if they were time steps"
        says = (
            "It runs along the batch in place of the time axis: what a sample is answered depends on those before it "
            "in the batch, and not on its own sequence."
        )
        fix = (
            "set batch_first=True where the input is (samples, steps, features)",
            "or give it (steps, samples, features): x.transpose(0, 1)",
        )
        known = f"it ends with {states:,} states for {samples:,} samples of {states:,} steps"
        return Mismatch("batch_axis", "serious", what, says, fix, (known,))
    return None


def _is_state(view: LayerView, base: str) -> bool:
    return view.info.name.startswith(f"{base}[1]") and not view.info.mode


def _places(row: Row) -> int:
    return int(row[_COUNT]) // int(row[_NEURONS])


def softmax_over_samples(s: Supervised, network: Network) -> Mismatch | None:
    """A softmax within the network along the first axis, that of the samples: what one is given hangs on the others.

    Its numbers along that axis sum to one, so that their mean tells how many there are: as many as the batch has
    samples, and several for each of them. Where the other axes have as many as well, these may be the samples.
    """
    samples = s.shape[0] if len(s.shape) > 1 else 0
    if samples < 2 * _LEAST or (s.target_shape and s.target_shape[0] != samples):
        return None
    for layer in network.everything.values():
        if layer.info.layer_type not in ("Softmax", "Softmin") or layer.info.mode or layer is s.layer:
            continue
        row = layer.first
        others = int(row[_COUNT]) // samples
        along = layer.info.facts.get("axis") == 0 and abs(row[_MEAN] * samples - 1.0) < _ROUNDING
        if not along or int(row[_COUNT]) % samples or others < _LEAST or others % samples == 0:
            continue
        name = shown(layer.info.name, 40)
        what = f"{name} is a softmax over the {samples:,} samples of a batch"
        says = (
            "The softmax runs along the batch: what a sample is given depends on the others, which compete with it for "
            "one sum, and alone it gets 1 for all."
        )
        fix = ("set its dim to the axis of the places or classes: dim=1, or dim=-1",)
        known = f"its numbers sum to one along the first axis, which has {samples:,}, as many as the batch has samples"
        return Mismatch("softmax_axis", "serious", what, says, fix, (known,), None, "is given what mixes its samples")
    return None


def log_softmax_over_others(s: Supervised, network: Network) -> Mismatch | None:
    """Logarithms that are all less than that of one over the number of classes: they sum to less than one.

    The likeliest of so many classes has at least an equal share. What is less runs along another axis, and was sorted
    out or put together since, so that no sum of a batch tells it.
    """
    nll = s.function is not None and s.function.name in ("nll", "kl_divergence")
    known = any(view.info.layer_type == "LogSoftmax" and not view.info.mode for view in network.everything.values())
    if not (nll and known) or s.output is None or s.units < _LEAST:
        return None
    most, share = float(s.output.first[_MAX]), -math.log(s.units)
    if not most < share - _BELOW:
        return None
    what = "its log-softmax does not run over the classes"
    says = "The log-softmax runs over another axis than the classes, which is the samples', or the places'."
    fix = ("set the axis of the log-softmax to that of the classes: dim=1, or dim=-1",)
    said = (
        f"the largest of the first batch's logarithms is {number(most)}, and the likeliest of {s.units:,} classes has "
        f"at least {number(share)}"
    )
    return Mismatch("softmax_axis", "critical", what, says, fix, (said,))
