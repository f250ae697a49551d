"""Why nothing is learned: what could keep a loss where it is, each with what the rows say for it and against it.

Those of the first group are proved by parameters and their optimiser, whatever the loss does; of the others the rows
make one likelier than the rest.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from fastact.diagnosis import beginnings, layer_types, loops, rates, standards, updates
from fastact.diagnosis.causes import Cause
from fastact.diagnosis.inputs import causes_of_data, causes_of_inputs
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.diagnosis.remedies import CLIP_GRADIENTS, LOWER_RATE
from fastact.fields import COLUMN
from fastact.text import number, percent

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
#: Share of the weights that a new head on features that are kept has, at least; chosen.
_FREE: Final = 0.02
#: Predictions whose spread over the samples is less than this share of their size are one answer.
_ALIKE: Final = 1e-4
#: Rows that are one level, levels of which fewer tell no course, the factor from one to the next that is a jump, and
#: the share of steps from level to level that go up where a loss rises throughout.
_BLOCK: Final = 5
_BLOCKS: Final = 4
_JUMP: Final = 3.0
_RISING: Final = 0.8
_WITHIN, _NEURONS = COLUMN["within_std"], COLUMN["neurons"]

_THAW: Final = (
    "set requires_grad = True (trainable = True in Keras, before compile) for what should learn",
    "leave frozen only what is meant to stay as it is",
)
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


def proofs(network: Network) -> list[Cause]:
    """Why no parameter at all can change, where parameters or their optimiser prove it."""
    known = updates.parameters(network)
    causes = []
    if known.never_steps:
        causes.append(
            Cause(
                "no_update",
                "No optimiser has made a step, so no parameter has changed.",
                (
                    "call optimizer.step() after loss.backward(), in each step of the training",
                    "build the optimiser on the parameters of this model: torch.optim.Adam(model.parameters())",
                ),
                ("no step of an optimiser was seen since the model is watched",),
                proved=bool(known.total),
            )
        )
    if known.frozen and not known.trainable and not known.total:
        causes.append(
            Cause(
                "frozen_parameters",
                "All parameters are frozen: none requires a gradient.",
                _THAW,
                (f"all of its {len(known.frozen)} parameters are frozen",),
                proved=True,
            )
        )
    if (known.total and known.missing >= known.total) or (known.foreign and not known.updated):
        causes.append(
            Cause(
                "not_in_optimiser",
                "The optimiser does not hold the parameters of this model, so its steps change something else.",
                (
                    "build the optimiser on this model's parameters: torch.optim.Adam(model.parameters())",
                    "build it after the model has been replaced, copied or wrapped, not before",
                ),
                (f"no optimiser holds any of its {known.total or ''} parameters".replace("  ", " "),),
                proved=True,
            )
        )
    causes += [cause for cause in (loops.cleared_early(network), loops.put_back(network)) if cause is not None]
    if known.held and len(known.without_gradient) >= known.total > 0:
        causes.append(
            Cause(
                "no_gradient",
                "No parameter ever gets a gradient, so the optimiser changes nothing.",
                (
                    "call loss.backward() before optimizer.step()",
                    "look for .detach(), .item(), .data, torch.no_grad() or NumPy between the parameters and the loss",
                ),
                ("the gradient of each parameter has been None in every step",),
                proved=True,
            )
        )
    if known.rate == 0.0:
        since = rates.zero_since(network)
        causes.append(
            Cause(
                "no_update",
                "The learning rate is zero, so no parameter changes.",
                (
                    "set a learning rate above zero",
                    "look at the scheduler: how many steps it expects, and when it is stepped",
                ),
                (f"the learning rate of the optimiser is 0{'' if since is None else f' since step {since}'}",),
                proved=since is not None
                or (known.updated > 0 and len(known.unmoved) + len(known.zero_gradient) >= known.updated),
            )
        )
    elif known.measured and len(known.zero_gradient) == known.measured:
        causes.append(
            Cause(
                "zero_gradients",
                "The gradient of every parameter is zero: the loss does not depend on them, or what lies between is "
                "flat.",
                (
                    "look for rounding, argmax, comparisons or a clamp between the output and the loss",
                    "look for an activation whose gradient is zero: a dead ReLU, a saturated sigmoid, hinge losses",
                    "make sure that zero_grad() is not called between backward() and step()",
                ),
                (f"the gradients of all {known.measured} parameters were zero in every recorded step",),
                proved=True,
            )
        )
    elif known.updated and len(known.unmoved) == known.updated:
        causes.append(
            Cause(
                "no_update",
                "The optimiser's steps change no parameter, though there are gradients.",
                (
                    "set a learning rate above zero",
                    "call optimizer.step(), on the optimiser that holds this model's parameters",
                    "keep the weights in float32 where the updates are too small for a 16-bit type",
                ),
                (f"the updates of all {known.updated} parameters were zero in every recorded step",),
                proved=True,
            )
        )
    return causes


def moves_too_little(network: Network) -> bool:
    """Whether updates are far too small for their weights, and not about to grow."""
    known = updates.moves(network)
    stays = not known.warming or known.left > _WARM_UP
    return (known.ratio < _SMALL and stays) or (math.isnan(known.ratio) and bool(rates.too_small(network)))


def moves_nothing(network: Network) -> bool:
    """Whether they are so small that in a thousand steps no weight changes by a hundredth."""
    return moves_too_little(network) and 0.0 < updates.moves(network).ratio < _NOTHING


def never_moves(network: Network) -> bool:
    """Whether no optimiser has been seen to step."""
    return updates.parameters(network).never_steps


def hardly_free(network: Network) -> bool:
    """Whether nearly all weights are frozen, or in no optimiser."""
    known = updates.parameters(network)
    return bool(known.frozen or known.outside) and known.total > 0 and known.free < _FREE


def moves_too_much(network: Network) -> bool:
    """Whether updates are far too large for their weights."""
    return updates.moves(network).ratio > _LARGE


def causes(loss: LayerView, network: Network, course: Course) -> list[Cause]:
    """What may keep a loss where it is, the likeliest first."""
    return [
        *proofs(network),
        *(cause for cause in (loops.never_cleared(network),) if cause is not None),
        *_left_behind(network),
        *_of_sign(loss, network, course),
        *rates.causes(network),
        *_of_rate(network, course),
        *causes_of_inputs(loss, network),
        # One batch over and over is learned by heart: a loss that stays has another cause.
        *(cause for cause in causes_of_data(loss, network) if cause.name != "same_batch"),
        *(beginnings.causes(loss, network, standards.constant(loss, network)) if course.above else ()),
        _one_answer(loss, network, course),
    ]


def _left_behind(network: Network) -> list[Cause]:
    """Parameters that others leave behind, as far as they are known."""
    known = updates.parameters(network)
    causes = []
    if known.outside and known.missing < known.total:
        causes.append(not_in_optimiser(known))
    if known.without_gradient and len(known.without_gradient) < known.total:
        causes.append(no_gradient(known))
    if known.frozen and hardly_free(network):
        frozen = f"only {percent(known.free)} of the weights are trainable"
        causes.append(
            Cause("frozen_parameters", "Nearly all parameters are frozen, and what is left is too little.",
                  _THAW, (frozen, f"{len(known.frozen)} parameters are frozen"))
        )  # fmt: skip
    return causes


def not_in_optimiser(known: updates.Parameters) -> Cause:
    """Some parameters are in no optimiser."""
    count = max(known.missing, len(known.outside))
    return Cause(
        "not_in_optimiser",
        "The optimiser was given other parameters, or was built before these were made.",
        (
            "give the optimiser all of them: torch.optim.Adam(model.parameters())",
            "build it after the last layer has been added or replaced",
            "set requires_grad = False for what is meant to stay as it is",
        ),
        (f"{count} of {known.total} parameters that require a gradient are in no optimiser",),
    )


def no_gradient(known: updates.Parameters) -> Cause:
    """Some parameters never get a gradient."""
    return Cause(
        "no_gradient",
        "The loss does not depend on some parameters, or the way back to them is cut.",
        (
            "look for .detach(), .item(), .data or torch.no_grad() between them and the loss",
            "make sure that what they compute is used",
            "leave out what is not used",
        ),
        (f"the gradient of {len(known.without_gradient)} of {known.total} parameters has been None in every step",),
    )


def frozen_as_drawn(names: tuple[str, ...], known: updates.Parameters) -> Cause:
    """Some parameters are frozen that nobody has ever trained."""
    return Cause(
        "frozen_parameters",
        "Parameters are frozen that were never trained: their numbers are as they were drawn at random.",
        ("load the trained weights before they are frozen", *_THAW),
        (f"{len(names)} of {len(known.frozen)} frozen parameters are as an initialisation draws them",),
    )


def _of_sign(loss: LayerView, network: Network, course: Course) -> list[Cause]:
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


def _of_rate(network: Network, course: Course) -> list[Cause]:
    rate, ratio = updates.parameters(network).rate, updates.moves(network).ratio
    said = updates.ratio_said(ratio)
    large, small, against_large, against_small = [], [], [], []
    if ratio > _LARGE:
        large.append(said)
    elif ratio < _NOT_LARGE:
        against_large.append(said)
    if ratio < _SMALL:
        small.append(said)
    elif ratio > _NOT_SMALL:
        against_small.append(said)
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
    cut = loops.clipped(network) if ratio < _SMALL else ""
    if cut:
        against_small.append(cut)
    causes = [
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
    causes = causes if cut else causes[1:]
    return causes if course.diverged or course.above else causes[::-1] if course.slow else [
        cause for cause in causes if cause.speaks_for
    ]  # fmt: skip


def predictions_of(loss: LayerView, network: Network) -> LayerView | None:
    """The row of what the loss was given, or of the layer that put it out."""
    own = network.everything.get(loss.info.name + layer_types.PREDICTION_SUFFIX)
    return own or network.everything.get(loss.info.source)


def one_answer(loss: LayerView, network: Network) -> bool:
    """Whether the predictions are the same for every sample of a batch, now."""
    view = predictions_of(loss, network)
    if view is None or not view.last[_NEURONS] or view.last[COLUMN["count"]] <= view.last[_NEURONS]:
        return False
    within, size = view.last[_WITHIN], row_rms(view.last)
    return bool(within <= _ALIKE * size)


def _would_tell(network: Network) -> tuple[str, ...]:
    """What to record that would tell more, where it is not recorded and can be."""
    types = {view.info.layer_type for view in network.everything.values()}
    if layer_types.OPTIMISER not in types or layer_types.UPDATE in types:
        return ()
    return ("record parameters too, which tells whether they move: weights=True, gradients=True, updates=True",)


def _one_answer(loss: LayerView, network: Network, course: Course) -> Cause:
    if course.above or course.diverged:
        return Cause(
            "loss_diverges",
            "The network has moved away from what it should learn.",
            (LOWER_RATE, "make sure that the loss is minimised: no minus sign, and no gradient ascent",
             "make sure that each input has its own target"),
            ("it rises steadily, as a loss does that is maximised",) if course.steady else (),
        )  # fmt: skip
    same = one_answer(loss, network)
    return Cause(
        "constant_answer",
        "The network has learned no more than how often each target occurs, and gives one answer, or any, whatever "
        "comes in.",
        (
            *_would_tell(network),
            "make sure that each input has its own target: the same order, the same shuffle, the same index",
            "train on one batch alone: where its loss stays, look at model and rate; where it falls, at the data",
            "try a learning rate ten times as high, and one ten times as low",
        ),
        ("its predictions are the same for all samples",) if same else (),
    )
