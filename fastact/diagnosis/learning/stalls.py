"""A loss that does not go where it should: it stays, falls too slowly, is far off, comes back, rises or cannot move."""

import math
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.inputs import feature_scales, missing_value_codes, same_inputs, targets_not_scaled
from fastact.diagnosis.evidence import baselines, facts, updates
from fastact.diagnosis.evidence.progress import LEAST, Progress, progress, rows_at_last, rows_by_factors, since
from fastact.diagnosis.learning import initial_scale, loss_weight, moving, no_update, rates, reasons
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN

_STEP, _MEAN = COLUMN["step"], COLUMN["mean"]

#: A loss that was below this share of a constant answer's, and is no more, has lost what it had learned.
_LEARNED: Final = 0.8
#: Share of the rows so far: a loss that takes more to a constant answer's, at its pace in factors, is far off. Chosen.
_LONG: Final = 0.7
#: The same of one that takes so many times as many rows as there were, whatever the reason.
_NEVER: Final = 3.0
#: Ratio of updates to weights that leaves a constant answer in half the rows, if anything does: of 362 networks that
#: learn, as long as that with 3,000 samples was enough for each.
_AMPLE: Final = 3e-3
#: A loss below this share of a constant answer's is good, whatever moves. Chosen.
_GOOD: Final = 0.5
#: Samples of a batch that are few, and of all such batches so far that are enough to judge by. Chosen.
_FEW: Final = 8
_SEEN: Final = 1000.0
#: Rows that are enough where weights move so little that a thousand times as many would change nothing.
_AT_ONCE: Final = 12
#: Share of the first loss from which on it has not fallen much; and above which it has, whatever else is in it.
HIGH: Final = 0.9
_FALLEN: Final = 0.7
#: Factor of a constant answer's loss up to which a loss is at it.
_NEAR: Final = 1.15
#: A loss that is surely below a constant answer's by this share has begun to fall.
_BEGUN: Final = 0.005
#: Errors by which a divergence has to be one: its rows were chosen for being high.
_WILD: Final = 4.0
#: Factor of a constant answer's loss, and of the first one, above which a loss that still rises has lost its way.
_UP: Final = 1.2
#: Share of a constant answer's loss below which it is no matter that the rate has been zero for most of the time.
_GOOD_ENOUGH: Final = 0.1
#: Standard errors by which the later half of the rows is below the earlier one where nothing is known to move.
_SURELY: Final = 5.0
#: Rows for which a loss has to stay up before that is more than a spike.
STAYS: Final = 20
#: Factor of its first value from which on a loss has diverged whose constant answer is not known. Where its function is
#: not known either that is a note: the loss of a value that is itself being learned may grow.
_UNKNOWN: Final = 100.0
#: Factor of a constant answer's loss from which on a divergence is critical; and to which one has jumped that has
#: diverged also while it comes back.
FAR: Final = 10.0
#: Factor of its first value above which a loss that rises steadily has lost its way, where its constant answer is not
#: known and its targets stay what they are. Chosen.
_CLIMBED: Final = 3.0


class _Limits(Protocol):
    """Of the thresholds of `not_learning` those that are asked for."""

    @property
    def learn_rows(self) -> int: ...
    @property
    def learn_samples(self) -> int: ...
    @property
    def learn_soon(self) -> int: ...
    @property
    def learn_share(self) -> float: ...
    @property
    def learn_pace(self) -> int: ...
    @property
    def learn_above(self) -> float: ...


class Seen(NamedTuple):
    """A loss that does not go where it should.

    Attributes:
        kind: "stuck" at a constant answer's, "held" there by what is known of weights and dropout, "slow", "above" that
            of a constant answer, "behind" it but on the way, "back" there, "diverged", "rising", "unchanged" to
            the last digit, "still" as nothing can change it.
        at: the place in the window of the first row in which it was so.
        course: how it goes since then.
    """

    kind: str
    at: int
    course: Progress | None


def of_known(
    layer: LayerView, network: Network, values: npt.NDArray[np.float64], course: Progress, constant: float,
    thresholds: _Limits,
) -> Seen | None:  # fmt: skip
    """What a loss does whose constant answer is known."""
    first = layer.first[_MEAN]
    far = thresholds.learn_above * max(constant, first)
    at = since(values, far)
    own = progress(values[at:])
    if own is not None and len(values) - at >= STAYS and own.now - _WILD * own.error > far and own.pace == 0.0:
        return Seen("diverged", at, own)
    if own is not None and at and own.rows >= STAYS and own.least > far and values[at:].max() > FAR * far:
        return Seen("diverged", at, own)  # it comes down from where it jumped to, and is not there yet
    if course.least > _UP * max(constant, first) and _climbs(values, course, constant, thresholds):
        return Seen("rising", 0, course)
    least_rows = _AT_ONCE if moving.moves_nothing(network) else 2 * thresholds.learn_soon // 3
    unmoved = moving.moves_too_little(network) and course.rows >= least_rows and not course.rises
    if unmoved and course.now > _GOOD * constant and course.rows_to(_GOOD * constant) > thresholds.learn_pace:
        return Seen("stuck", 0, course)  # whatever luck it began with
    level = (1.0 - thresholds.learn_share) * constant
    at = since(values, _LEARNED * constant)
    own = progress(values[at:])
    if own is None:
        return None
    held_up = rates.cannot_be_learned(network) and own.rows >= thresholds.learn_soon
    if held_up and own.now >= level and rows_at_last(values[at:], _LEARNED * constant) > thresholds.learn_rows:
        return Seen("held", at, own)
    if own.rows >= thresholds.learn_soon and own.now >= level and loss_weight.made_light(network):
        return Seen("held", at, own)
    if rates.dropped(network) and own.rows >= thresholds.learn_soon and own.least > _LEARNED * constant:
        return Seen("held", at, own)
    if len(values) >= thresholds.learn_soon and values[len(values) // 2 :].min() > FAR * constant:
        # It falls by factors, not by steps, and so it is judged.
        long = rows_by_factors(values, level) > thresholds.learn_rows
        if long and (feature_scales(network).speaks_for or missing_value_codes(network).speaks_for):
            return Seen("behind", at, own)
    # What falls by factors may be there soon.
    late = progress(values[len(values) // 2 :])
    far = late is not None and late.least > thresholds.learn_above * constant and not at
    left = rows_by_factors(values, level)
    far = far and len(values) >= thresholds.learn_soon and left > _LONG * len(values)
    if far and _is_far_off(layer, network, constant):
        return Seen("behind", at, late)
    # Whatever keeps it there: after so many rows it is no plateau, and comes down as slowly as it would never.
    if far and len(values) >= 2 * thresholds.learn_soon and min(left, own.rows_to(level)) > _NEVER * len(values):
        return Seen("behind" if own.pace > 0.0 else "above", at, own)
    stands = len(values) >= thresholds.learn_soon and own.pace == 0.0 and own.now > _LEARNED * constant
    # The noise of batches alone falls at times: after twice as many rows only what is beyond doubt counts.
    stays = len(values) >= 2 * thresholds.learn_soon and course.now >= level and not _fell(values, course)
    if (stays or stands) and reasons.never_moves(network) and _has_gradients(network, thresholds.learn_soon):
        return Seen("stuck", 0, course) if stays else Seen("stuck", at, own)  # whatever the noise of its batches is
    if own.least < level:
        return None
    worse = own.least > thresholds.learn_above * constant
    left = own.rows_to(level)
    pace = len(values) if len(values) >= thresholds.learn_soon and _odd_data(layer, network) else thresholds.learn_pace
    # What is far off falls by factors, not by steps.
    takes = left if own.now <= FAR * constant else max(left, rows_by_factors(values, level))
    off = worse and not at and len(values) >= thresholds.learn_soon and takes > len(values)
    if off and targets_not_scaled(layer, network).speaks_for:
        # Targets far from zero are reached in the end, by way of the last bias: where that takes longer than it took.
        return Seen("behind", at, own)
    # What is below already, and falls of late, is on its way, however far its weights have gone.
    soon = own.most < constant and rows_at_last(values[at:], level) <= thresholds.learn_rows
    soon = soon or left <= _AT_ONCE  # it falls, and is nearly there
    if soon or (left <= pace and not _wandered(layer, network, own.rows, thresholds)):
        return None
    if at and len(values) - at >= thresholds.learn_rows // 2:
        before = progress(values[:at])
        if before is not None and before.most < _LEARNED * constant and own.now - _WILD * own.error > before.most:
            return Seen("back", at, own)
    if at or not _enough(layer, network, thresholds, begun=own.most < (1.0 - _BEGUN) * constant):
        return None
    if own.now > _NEAR * constant and own.now <= _FALLEN * first:
        return None  # what is in the loss besides (a penalty on the weights) has no constant answer
    if worse:
        return Seen("above", at, own)
    return Seen("slow" if own.pace > 0.0 else "stuck", at, own)


def _climbs(values: npt.NDArray[np.float64], course: Progress, level: float, thresholds: _Limits) -> bool:
    """Whether a loss rises steadily: it has nowhere been below a level, and does not turn."""
    if not course.rises or len(values) < thresholds.learn_soon or since(values, level):
        return False
    lately = [progress(part) for part in (values[len(values) // 2 :], values[-max(len(values) // 3, LEAST) :])]
    return all(each is not None and each.rises for each in lately)


def _has_gradients(network: Network, least: int) -> bool:
    """Whether backward passes were run in so many rows: it is a training, and no evaluation."""
    views = network.everything.values()
    return any(view.info.layer_type == layer_types.GRADIENT and len(view.rows) >= least for view in views)


def _is_recurrent(network: Network) -> bool:
    return any(layer_types.is_recurrent(view.info.layer_type) for view in network.everything.values())


def _wandered(layer: LayerView, network: Network, rows: int, thresholds: _Limits) -> bool:
    """Whether weights have gone far on many samples, and the loss may still be on its way to a constant answer's."""
    samples = baselines.samples(layer, network) * max(layer.stride, 1.0) * rows
    return rows >= thresholds.learn_soon and samples >= thresholds.learn_samples and moving.moved_far(network)


def _odd_data(layer: LayerView, network: Network) -> bool:
    """Whether inputs or targets are such that no usual rate suits them."""
    known = feature_scales(network), missing_value_codes(network), targets_not_scaled(layer, network)
    return any(each.speaks_for for each in known)


def _is_far_off(layer: LayerView, network: Network, constant: float) -> bool:
    """Whether it is known why a loss began far from where a constant answer is."""
    odd = feature_scales(network), missing_value_codes(network)
    if any(each.speaks_for for each in odd) or initial_scale.began_large(layer, network, constant):
        return True
    scale = facts.input_scale(network)
    return scale is not None and scale.large and bool(facts.inputs_not_normalised(network).speaks_for)


def _enough(layer: LayerView, network: Network, thresholds: _Limits, *, begun: bool) -> bool:
    """Whether there was time enough to learn something; what has begun to learn gets as long as `learn_pace`."""
    rows = round((layer.last[_STEP] - layer.start) / layer.stride) + 1 if layer.stride > 0.0 else len(layer.rows)
    if min(rows, len(layer.rows)) < thresholds.learn_soon:
        return False
    soon = moving.moves_too_little(network) or reasons.never_moves(network)
    # Of batches of a few samples each pulls its own way, with steps that are large for it.
    batch = baselines.samples(layer, network)
    samples = batch * max(layer.stride, 1.0) * rows
    many = batch >= _FEW or samples >= _SEEN
    soon = soon or (many and moving.moves_too_much(network))
    soon = soon or (reasons.hardly_free(network) and not begun) or rates.cannot_be_learned(network)
    soon = soon or bool(same_inputs(layer, network).speaks_for) or bool(no_update.causes(network))
    soon = soon or (many and _odd_data(layer, network))
    # A recurrent layer finds late what to remember, and a constant answer until then is no rare thing.
    soon = soon or (_wandered(layer, network, rows, thresholds) and not _is_recurrent(network))
    if soon or (reasons.one_answer(layer, network) and not begun):
        return True
    if begun and rows < thresholds.learn_pace:
        return False
    ample = updates.moves(network).ratio > _AMPLE
    enough = thresholds.learn_rows // 2 if ample else thresholds.learn_rows
    # A row in each tenth step stands for ten of them, and a plateau is as long as its steps.
    return rows * max(layer.stride, 1.0) >= enough and samples >= thresholds.learn_samples


def of_unknown(layer: LayerView, network: Network, course: Progress | None, thresholds: _Limits) -> Seen | None:
    """What a loss does of which nobody knows what a constant answer is worth."""
    same = layer.streaks.get("loss_unchanged")
    if same is not None and same.rows >= STAYS and same.step == layer.start and layer.first[_MEAN] != 0.0:
        return Seen("unchanged", 0, course)
    first = layer.first[_MEAN]
    if course is None or first <= 0.0:
        return None
    values = layer.rows["mean"]
    at = since(values, _UNKNOWN * first)
    own = progress(values[at:])
    if own is not None and own.rows >= STAYS and own.least > _UNKNOWN * first and own.pace == 0.0:
        return Seen("diverged", at, own)
    if course.least > _CLIMBED * first and _climbs(values, course, first, thresholds) and _is_given(layer, network):
        return Seen("rising", 0, course)
    if len(layer.rows) < thresholds.learn_rows:
        return None
    flat = course.pace == 0.0 and not course.rises
    high = course.least > (1.0 - thresholds.learn_share) * layer.first[_MEAN]
    return Seen("flat", 0, course) if flat and high else None


def _is_given(loss: LayerView, network: Network) -> bool:
    """Whether a loss is of a known function, and its targets are of the data."""
    known = bool(loss.info.facts.get("function")) and baselines.targets(loss, network) is not None
    return known and not baselines.is_moved(loss, network)


def proved(
    layer: LayerView, network: Network, values: npt.NDArray[np.float64], course: Progress | None,
    constant: float | None,
) -> Seen | None:  # fmt: skip
    """A loss that nothing can change, unless it is low or falls all the same."""
    if not any(cause.proved for cause in reasons.proofs(network)) or not values.any():
        return None
    at = 0
    if (zero := rates.zero_since(network)) is not None:
        at = int(layer.rows["step"].searchsorted(zero + 1))  # the step itself has what the one before it learned
        values, course = values[at:], progress(values[at:])
        if not len(values):
            return None
    now = course.now if course is not None else float(np.mean(values))
    low = _GOOD_ENOUGH if rates.mostly_zero(network) is not None else _LEARNED
    if constant is not None and now < low * constant:
        return None
    return None if course is not None and _fell(values, course) else Seen("still", at, course)


def _fell(values: npt.NDArray[np.float64], course: Progress) -> bool:
    """Whether a loss has fallen beyond doubt: by more than its noise, and from one half of the rows to the other.

    It is asked again and again in a run, and what nothing can change must not seem to by chance.
    """
    if not course.pace * course.rows > 3.0 * course.noise:
        return False
    half = len(values) // 2
    before, after = (float(np.nanmean(part)) for part in (values[:half], values[half:]))
    return before - after > _SURELY * course.noise * math.sqrt(2.0 / half)
