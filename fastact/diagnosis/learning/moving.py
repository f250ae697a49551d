"""Whether weights move as they should, and why not: rates that are too high or too low, and signs that are wrong."""

import math
from typing import Final, NamedTuple

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.remedies import CLIP_GRADIENTS, LOWER_RATE
from fastact.diagnosis.evidence import baselines, updates
from fastact.diagnosis.evidence.learning_rate import NORMALISED
from fastact.diagnosis.learning import loops, loss_weight, rates
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import number

#: Ratio of updates to weights. The usual one is 1e-3 (Karpathy, CS231n, "Neural networks part 3", 2015: "should be
#: somewhere around 1e-3"); within a factor of ten of it no rate is the cause, and fifty away it surely may be.
_SMALL: Final = 2e-5
_NOTHING: Final = 2e-6
#: Rows. A warm-up that takes more until updates are as usual is one in name alone: those in use take some hundred.
_WARM_UP: Final = 2000.0
_NOT_SMALL: Final = 1e-4
_NOT_LARGE: Final = 1e-2
_LARGE: Final = 1e-1
#: Learning rates that no usual optimiser learns anything with: plain SGD takes 1e-3 to 1, Adam 1e-5 to 1e-2. Chosen.
_LOW_RATE: Final = 1e-6
_HIGH_RATE: Final = 2.0
#: Path of the weights in units of themselves: after learn_samples whatever can be learned from the data has begun to
#: be. Chosen: sound networks have been at a constant answer's loss there for 2000 samples, and gone twice as far.
_FAR: Final = 1.0
#: Rows that are one level, levels of which fewer tell no course, the factor from one to the next that is a jump, and
#: the share of steps from level to level that go up where a loss rises throughout.
_BLOCK: Final = 5
_BLOCKS: Final = 4
_JUMP: Final = 3.0
_RISING: Final = 0.8
#: Rows of targets and answers that tell whether both grow, and by how much from their first third to their last.
_GROWING_ROWS: Final = 30
_GROWN: Final = 5.0
#: Steps after which all together should show, and what hardly shows in weights of 0.1. Chosen.
_MANY: Final = 60
_NEAR: Final = 5e-3
_RAISE: Final = "use a higher learning rate: ten times as high, then again, for as long as the loss falls faster"


class Course(NamedTuple):
    """What the loss does, as far as causes ask for it.

    Attributes:
        slow: it falls, but so slowly that it takes very long.
        above: it is worse than that of a constant answer.
        diverged: it has risen far above its first value, or has been below and came back up.
        first_step: since when.
        steady: whether it has risen from its first row on.
    """

    slow: bool
    above: bool
    diverged: bool
    first_step: int
    steady: bool = False


def moves_too_little(network: Network) -> bool:
    """Whether updates are far too small for their weights, and not about to grow."""
    known = updates.moves(network)
    stays = not known.warming or known.left > _WARM_UP
    return (known.ratio < _SMALL and stays) or (math.isnan(known.ratio) and bool(rates.too_small(network)))


def moves_nothing(network: Network) -> bool:
    """Whether they are so small that in a thousand steps no weight changes by a hundredth."""
    return moves_too_little(network) and 0.0 < updates.moves(network).ratio < _NOTHING


def moved_far(network: Network) -> bool:
    """Whether the weights have gone so far, step by step, that nothing needs to be left of what they were."""
    return updates.moves(network).path >= _FAR


def moves_too_much(network: Network) -> bool:
    """Whether updates are far too large for their weights."""
    return updates.moves(network).ratio > _LARGE


def of_sign(loss: LayerView, network: Network, course: Course) -> list[Cause]:
    """A loss that is made large: it rises from the first rows on, step by step; too large a rate makes it jump."""
    values, ratio = np.asarray(loss.rows["mean"], np.float64), updates.moves(network).ratio
    if not course.diverged or math.isnan(ratio) or ratio > _LARGE or int(loss.rows["step"][0]) != loss.start:
        return []
    blocks = values[: len(values) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(axis=1)
    if len(blocks) < _BLOCKS or not np.isfinite(blocks).all() or blocks[0] > _JUMP * values[0]:
        return []
    if float((np.diff(blocks) > 0.0).mean()) < _RISING or not (blocks[1:] < _JUMP * blocks[:-1]).all():
        return []
    return [
        Cause(
            "wrong_sign",
            "The loss is made large in place of small: a minus sign is missing, or one too many.",
            ("minimise the loss itself, not its negative", "set maximize=False in the optimiser",
             f"where the sign is right: {LOWER_RATE}"),
            ("the loss rises from the first rows on, without a jump or a fall", updates.ratio_said(ratio)),
        )
    ]  # fmt: skip


def of_targets(loss: LayerView, network: Network) -> list[Cause]:
    """Targets that grow with the answers, as those do that are made of the network's own."""
    wanted = baselines.targets(loss, network)
    ours = network.everything.get(loss.info.name + layer_types.PREDICTION_SUFFIX) or network.everything.get(
        loss.info.source
    )
    if wanted is None or ours is None or wanted.info.facts.get("whole", False) or len(wanted.rows) < _GROWING_ROWS:
        return []
    with np.errstate(all="ignore"):
        sizes = [np.hypot(view.rows["mean"], view.rows["std"]) for view in (wanted, ours)]
    third = len(wanted.rows) // 3
    # What they began with may have left the window, in which they grow no faster than a rate lets them.
    left = int(wanted.rows["step"][0]) != wanted.start
    began = [math.hypot(view.first[COLUMN["mean"]], view.first[COLUMN["std"]]) for view in (wanted, ours)]
    thirds = [
        (first if left else float(np.median(each[:third])), float(np.median(each[-third:])))
        for first, each in zip(began, sizes, strict=True)
    ]
    if not all(math.isfinite(now) and now >= _GROWN * was > 0.0 for was, now in thirds):
        return []
    said = tuple(
        f"the {what} have grown {number(now / was)} times"
        for what, (was, now) in zip(("targets", "answers"), thirds, strict=True)
    )
    return [
        Cause(
            "moving_targets",
            "The targets are made of the network's own answers, and run away with them: each is asked to be larger "
            "than the one before.",
            (
                "take the targets from a copy of the network that is updated slowly, without a gradient",
                "no value follows the end of an episode: r + gamma * (1 - done) * max Q, with gamma below 1",
                LOWER_RATE,
            ),
            (*said, "the loss rose"),
            proved=True,
        )
    ]


def _stays_near(network: Network) -> str:
    """That all steps together can have moved no weight by what shows; "" where they may have.

    A step of a normalised optimiser is about the rate, and those of Adagrad fall with the root of their number: T of
    them come to 2 rate sqrt(T) at most.
    """
    views, said = network.typed(layer_types.OPTIMISER), ""
    for view in views:
        function = str(view.info.facts.get("function", "")).lower()
        steps = int(view.last[COLUMN["step"]]) - view.start + 1
        rate = float(view.rows["max"].max())
        far = 2.0 * rate * math.sqrt(steps) if function == "adagrad" else rate * steps
        known = function in NORMALISED or function == "adagrad"
        if not known or steps < _MANY or view.oldest > view.start + _MANY or not 0.0 < far <= _NEAR:
            return ""
        said = f"{steps:,} steps at {number(rate)} move a weight by about {number(far)} at most"
    return said


def of_rate(network: Network, course: Course) -> list[Cause]:
    """A rate that does not fit, or what makes any rate not fit: gradients that are cut, a loss that hardly counts."""
    rate, ratio = updates.parameters(network).rate, updates.moves(network).ratio
    said = updates.ratio_said(ratio)
    large, small, against_large, against_small = [], [], [], []
    if ratio > _LARGE:
        large.append(said)
    elif ratio < _NOT_LARGE:
        against_large.append(said)
    if 0.0 < ratio < _SMALL:  # none at all has other causes
        small.append(said)
    elif ratio > _NOT_SMALL:
        against_small.append(said)
    if not ratio > _NOT_SMALL and (near := _stays_near(network)):
        small.append(near)
    low = rates.too_small(network)
    if low or 0.0 < rate <= _LOW_RATE:
        (small if math.isnan(ratio) or low else against_large).append(low or f"the learning rate is {number(rate)}")
    elif rate >= _HIGH_RATE:
        (large if math.isnan(ratio) else against_small).append(f"the learning rate is {number(rate)}")
    if course.diverged:
        if course.steady and not ratio > _LARGE:
            against_large.append("the loss has risen steadily, from its first step on")
        large.append("the loss rose")
        against_small.append("the loss rose")
    if course.slow:
        small.append("the loss falls all the time, and hardly at all")
        against_large.append("the loss falls steadily")
    cut = loops.clipped(network) if ratio < _NOT_SMALL else ""
    light = "" if course.diverged else loss_weight.made_light(network)
    weighed, odd = light or rates.loss_weights(network), not _SMALL <= ratio <= _LARGE
    if cut or weighed:
        against_small.append(cut or weighed)
    if weighed and ratio > _LARGE:
        against_large.append(weighed)
    causes = [
        Cause(
            "loss_scaled",
            "The loss is multiplied by so small, or so large, a number that updates do not fit.",
            ("leave out the weight of the only loss; of several, weigh the largest with 1",),
            (weighed,) if weighed and (light or math.isnan(ratio)) else (said, weighed) if weighed and odd else (),
        ),
        Cause(
            "clipped",
            "Gradients are clipped to so small a norm that the weights hardly move.",
            ("clip gradients to a norm of about 1, or not at all: it is there for the few that are far too large",),
            (said, cut) if cut else (),
        ),
        Cause(
            "rate_too_large",
            "The learning rate is too high: each update overshoots, and undoes what the one before it learned.",
            (f"{LOWER_RATE}: a tenth, then a tenth of that", "warm it up over the first steps", CLIP_GRADIENTS),
            tuple(large),
            tuple(against_large),
        ),
        Cause(
            "rate_too_small",
            "The learning rate is too low: the weights hardly move.",
            (_RAISE, "use Adam in place of plain SGD"),
            tuple(small),
            tuple(against_small),
        ),
    ]
    causes = [each for each in causes if each.speaks_for or each.name.startswith("rate")]
    return causes if course.diverged or course.above else causes[::-1] if course.slow else [
        cause for cause in causes if cause.speaks_for
    ]  # fmt: skip
