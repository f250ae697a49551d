"""Why nothing is learned: what could keep a loss where it is, each with what the rows say for it and against it.

Those of the first group are proved by parameters and their optimiser, whatever the loss does; of the others the rows
make one likelier than the rest.
"""

from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.inputs import causes_of_data, causes_of_inputs
from fastact.diagnosis.causes.remedies import LOWER_RATE
from fastact.diagnosis.evidence import baselines, updates
from fastact.diagnosis.learning import initial_scale, loops, loss_sign, moving, no_update, rates, structure
from fastact.diagnosis.learning.moving import Course, of_rate, of_sign
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.losses import LOSSES
from fastact.text import percent

#: Share of the weights that a new head on features that are kept has, at least; chosen.
_FREE: Final = 0.02
#: Factor of its first value above which a loss has risen, whatever its batches. Chosen.
_HIGHER: Final = 1.2
#: Predictions whose spread over the samples is less than this share of their size are one answer.
_ALIKE: Final = 1e-4

_MEAN, _WITHIN, _NEURONS = COLUMN["mean"], COLUMN["within_std"], COLUMN["neurons"]
_ZEROS, _COUNT = COLUMN["zeros"], COLUMN["count"]

_THAW: Final = (
    "set requires_grad = True (trainable = True in Keras, before compile) for what should learn",
    "leave frozen only what is meant to stay as it is",
)

_NO_ONE_RATE: Final = ("feature_scales", "missing_value_codes")


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
                # Where none steps, no parameter has a row; and outputs that stay as they are say as much.
                proved=bool(known.total or no_update.still(network)),
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
    others = loops.cleared_early(network), loops.put_back(network), rates.nowhere(network)
    causes += [cause for cause in others if cause is not None]
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
        causes += [cause for cause in (_zeros(known.zero_gradient, network),) if cause is not None]
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


def _zeros(names: tuple[str, ...], network: Network) -> Cause | None:
    """Weights that are zero on both sides of a product, so that neither ever gets a gradient."""
    views = [(name, network.everything.get(name)) for name in names]
    zero = [
        name for name, view in views
        if view is not None and len(view.info.facts.get("shape", ())) > 1 and view.last[_ZEROS] >= view.last[_COUNT]
    ]  # fmt: skip
    if len(zero) < 2:
        return None
    return Cause(
        "weights_zero",
        "Weights begin at zero on both sides of a product: each multiplies the other, and neither gets a gradient.",
        ("draw all weights at random but those of the last layer of a branch, which may begin at zero",),
        (f"all numbers of {updates.few(tuple(zero))} are zero, and so are their gradients",),
        proved=True,
    )


def never_moves(network: Network) -> bool:
    """Whether no optimiser has been seen to step."""
    return updates.parameters(network).never_steps


def hardly_free(network: Network) -> bool:
    """Whether nearly all weights are frozen, or in no optimiser."""
    known = updates.parameters(network)
    return bool(known.frozen or known.outside) and known.total > 0 and known.free < _FREE


def causes(loss: LayerView, network: Network, course: Course) -> list[Cause]:
    """What may keep a loss where it is, the likeliest first."""
    of_data = causes_of_data(loss, network)
    return [
        *proofs(network),
        *(cause for cause in (loops.never_cleared(network),) if cause is not None),
        *_left_behind(network),
        *(moving.of_targets(loss, network) if course.diverged else ()),
        *(loss_sign.causes(loss, network) or of_sign(loss, network, course)),
        *rates.causes(network),
        # Data that no one rate suits, whatever the updates are: that they are small, or large, follows from it.
        *(cause for cause in of_data if cause.name in _NO_ONE_RATE and not course.diverged),
        *of_rate(network, course),
        *([] if one_answer(loss, network) else no_update.causes(network)),
        *(() if course.diverged else causes_of_inputs(loss, network)),
        # One batch over and over is learned by heart: a loss that stays has another cause.
        *(cause for cause in of_data if cause.name != "same_batch"),
        *structure.causes(network),
        *(initial_scale.causes(loss, network, baselines.constant(loss, network)) if course.above else ()),
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


def _rose(loss: LayerView) -> bool:
    """Whether a loss is higher than at first."""
    later = loss.rows["mean"][len(loss.rows) // 2 :]
    return float(np.mean(later)) > _HIGHER * abs(float(loss.first[_MEAN]))


def _one_answer(loss: LayerView, network: Network, course: Course) -> Cause:
    if course.above or course.diverged:
        return Cause(
            "loss_diverges",
            "The network has moved away from what it should learn.",
            (LOWER_RATE, "make sure that the loss is minimised: no minus sign, and no gradient ascent",
             "make sure that each input has its own target"),
            ("it rises steadily, as a loss does that is maximised",) if course.steady else (),
            () if course.diverged or _rose(loss) else ("it was as high at first",),
        )  # fmt: skip
    same = one_answer(loss, network)
    known = LOSSES.get(str(loss.info.facts.get("function", "")))
    if known is not None and known.margin is not None:
        return Cause(
            "representation_collapse",
            "Samples are no further apart where they should be than where they should not: all are mapped to nearly "
            "one point, or pairs are put together that say nothing.",
            (
                "look whether positives are of the same class as their anchor, and negatives of another",
                "take negatives at random, or semi-hard ones, at first: the hardest ones drive all to one point",
                LOWER_RATE,
            ),
        )
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
