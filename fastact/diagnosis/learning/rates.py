"""What optimisers are set to: rates that change nothing, decay that outweighs what is learned.

Each is a clause for a cause, "" where the rows do not say so. A setting is a fact, so that it takes few rows; whether
it does harm is for the loss to say.
"""

import math
from typing import Any, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import initial_weights
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.vanishing import decays
from fastact.diagnosis.evidence import baselines, facts, updates
from fastact.diagnosis.evidence.learning_rate import NORMALISED
from fastact.diagnosis.network import LayerView, Network, rms, row_rms
from fastact.fields import COLUMN
from fastact.text import number, percent

#: Rates. Of a normalised step no weight of usual size (0.01 and more) takes notice of the first, nor of plain
#: descent, whose gradients are rarely more than 1 where the inputs are normalised, of the second. Chosen.
_ADAPTIVE: Final = 1e-6
_PLAIN: Final = 1e-5
#: What all steps of a normalised optimiser together move a weight by at most, and the fewest steps: next to weights of
#: 0.01 it is nothing, whatever the gradients are.
_NOWHERE: Final = 3e-6
_LONG: Final = 60
#: Share of its largest so far, below which a rate has been taken away.
_TAKEN: Final = 1e-3
#: Rows of rates of zero that are more than the beginning of a warm-up.
_ZERO_ROWS: Final = 3
#: Rows of rates of zero, and their share of all steps, from which on a schedule has ended far too soon.
_ZERO_LONG: Final = 15
_ZERO_SHARE: Final = 0.6
#: Factor below which weights, or what comes out of layers, have faded.
_FADED: Final = 0.5
_FAINT: Final = 0.3
#: Share of what predictions differed by at first, below which they have become alike.
_ALIKE: Final = 0.05
#: Share of the elements that a dropout leaves out, from which on it is no regularisation. Chosen.
_DROPPED: Final = 0.9
#: The same of the answers themselves, which no dropout should touch.
_DROPPED_OUTPUT: Final = 0.05
#: Weights of a loss that no usual rate goes with.
_LIGHT: Final = 1e-3
_HEAVY: Final = 1e3
#: Ratio of updates to weights at which a head on good features leaves a constant answer within a few dozen steps.
_MOVES: Final = 3e-3
#: Rows before anything can be said to have faded.
_ROWS: Final = 10
_WITHIN, _STEP = COLUMN["within_std"], COLUMN["step"]


def zero_since(network: Network) -> int | None:
    """The step since which the learning rate of each optimiser is zero, for several rows; None where one is not."""
    views = network.typed(layer_types.OPTIMISER)
    since = []
    for view in views:
        rows = view.rows
        moved = np.flatnonzero(rows["zeros"] < rows["count"])
        first = int(moved[-1]) + 1 if len(moved) else 0
        if len(rows) - first < _ZERO_ROWS or rows["step"][-1] - rows["step"][first] < _ROWS:
            return None
        since.append(int(rows["step"][first]))
    return max(since, default=None)


def mostly_zero(network: Network) -> int | None:
    """The step since which each rate is zero, where that is most of the training; no schedule is meant to do so."""
    since = zero_since(network)
    if since is None:
        return None
    views = network.typed(layer_types.OPTIMISER)
    long = all(int((view.rows["step"] >= since).sum()) >= _ZERO_LONG for view in views)
    most = all(view.last[_STEP] - since >= _ZERO_SHARE * (view.last[_STEP] - view.start) for view in views)
    return since if long and most else None


def too_small(network: Network) -> str:
    """That the rates are so small that no weight takes notice, and do not rise; for want of rows of updates."""
    views = network.typed(layer_types.OPTIMISER)
    said = [_too_small(view, network) for view in views]
    return said[0] if said and all(said) else ""


def nowhere(network: Network) -> Cause | None:
    """Rates so small that all steps together have moved no weight by what matters; None where that is not proved."""
    views = network.typed(layer_types.OPTIMISER)
    steps = min((int(view.last[_STEP]) - view.start + 1 for view in views), default=0)
    if steps < _LONG or not all(_stays_put(view) for view in views):
        return None
    most = max(float(view.rows["max"].max()) for view in views)
    says = "The learning rate is so small that no weight has changed by an amount that matters."
    remedies = (
        "use a usual learning rate: 1e-3 for Adam",
        "see that the rate was not meant as its logarithm or a factor",
    )
    moved = f"{steps:,} steps at {number(most)} move a weight by {number(steps * most)} at most"
    return Cause("rate_too_small", says, remedies, (moved,), proved=True)


def _stays_put(view: LayerView) -> bool:
    rates = view.rows["max"]
    known = view.oldest == view.start and str(view.info.facts.get("function", "")).lower() in NORMALISED
    steps = int(view.last[_STEP]) - view.start + 1
    return known and 0.0 < float(rates.max()) * steps <= _NOWHERE and float(rates[-1]) <= float(rates[0])


def _too_small(view: LayerView, network: Network) -> str:
    rates = view.rows["max"]
    now, most = float(rates[-1]), float(rates.max())
    if not math.isfinite(now) or (now > rates[0] and now >= most):
        return ""  # it warms up
    if len(rates) >= _ZERO_ROWS and now <= _TAKEN * most and now < most:
        late = float(np.median(rates[len(rates) // 3 :]))
        if late <= _TAKEN * most:
            return f"the learning rate has fallen from {number(most)} to {number(now)}"
        return ""
    known = view.info.facts
    scale = facts.input_scale(network)
    function = str(known.get("function", "")).lower()
    momentum = known.get("momentum")
    reach = 1.0 / max(1.0 - momentum, 0.01) if isinstance(momentum, float) else 1.0
    adaptive = function in NORMALISED and now <= _ADAPTIVE
    plain = function == "sgd" and now * reach <= _PLAIN and scale is not None and scale.normalised
    return f"the learning rate is {number(now)}" if adaptive or plain else ""


def fading(network: Network) -> tuple[str, ...]:
    """That weights, or what comes out of all layers, have become far smaller, as decay or a penalty makes them."""
    return network.once(_fading)


def _fading(network: Network) -> tuple[str, ...]:
    said = []
    known = updates.parameters(network)
    ratios = []
    for name in known.held:
        view = network.everything.get(name)
        if view is None or len(view.info.facts.get("shape", ())) < 2 or len(view.rows) < 2:
            continue
        if (first := row_rms(view.first)) > 0.0:  # what began at zero has not shrunk
            ratios.append(row_rms(view.last) / first)
    if ratios and float(np.median(ratios)) < _FADED and max(ratios) < 1.0:
        said.append(f"the weights have shrunk to {percent(float(np.median(ratios)))} of what they were")
    elif not ratios and (least := _faded_outputs(network)):
        said.append(f"what comes out of the layers has shrunk to {percent(least)} of what it was")
    if not said:
        return ()
    return (*said, *decays(network))


def _faded_outputs(network: Network) -> float:
    """How much of their size hidden layers have left, where the output has become the same for all samples; else 0."""
    outputs = [view for view in network.outputs if view.info.layer_type != layer_types.INPUT]
    views = [view for view in outputs if layer_types.has_weights(view.info.layer_type)] or outputs
    if len(views) < 2 or any(len(view.rows) < _ROWS for view in views):
        return 0.0
    given = facts.input_scale(network)
    source = facts.model_input(network)
    if given is None or given.changed_at is not None or source is None:
        return 0.0
    if not float(np.median(rms(source.rows)[-3:])) > 0.5 * row_rms(source.first):
        return 0.0  # the data has become small, or zero, and all layers by it
    spreads = [float(np.median(v.rows["within_std"][-3:])) / max(v.first[_WITHIN], 1e-30) for v in views]
    sizes = [float(np.median(rms(view.rows)[-3:])) / max(row_rms(view.first), 1e-30) for view in views[:-1]]
    if not spreads[-1] < _ALIKE or not all(spread < _FAINT for spread in spreads):
        return 0.0
    return max(sizes) if all(size < _FAINT for size in sizes) else 0.0


def dropped(network: Network) -> str:
    """That a dropout leaves next to nothing."""
    return network.once(_dropped)


def _dropped(network: Network) -> str:
    outputs = network.outputs
    answers = {view.info.source for view in network.typed(layer_types.LOSS)}
    for place, view in enumerate(outputs):
        if "Dropout" not in view.info.layer_type:
            continue
        before = network.everything.get(view.info.source) or (outputs[place - 1] if place else None)
        if before is None or before.info.layer_type == layer_types.INPUT:
            continue  # to fill in what is left out of an input can be the task
        zeros = _zeros(view)
        kept = 1.0 - _zeros(before)
        share = 1.0 - (1.0 - zeros) / kept if kept > 0.0 else 0.0
        if share >= _DROPPED or (share >= _DROPPED_OUTPUT and view.info.name in answers):
            what = "the answers" if view.info.name in answers else "its inputs"
            return f"{view.name} sets {percent(share)} of {what} to zero"
    return ""


def _zeros(view: LayerView) -> float:
    rows: Any = view.rows
    return float(rows["zeros"].sum(dtype=float)) / max(float(rows["count"].sum(dtype=float)), 1.0)


def loss_weights(network: Network) -> str:
    """That all losses are multiplied by tiny, or by huge numbers, as far as a framework tells; else ""."""
    weights = [view.info.facts.get("weight") for view in baselines.losses(network)]
    known = [abs(float(weight)) for weight in weights if isinstance(weight, int | float)]
    if not known or len(known) < len(weights) or _LIGHT < max(known) < _HEAVY:
        return ""
    return f"the loss is multiplied by {number(max(known))}"


def hidden(network: Network) -> str:
    """That the output is computed from weights that the model does not have and no optimiser holds, and from many."""
    known = updates.parameters(network)
    if not known.strays or (known.stray_elements < known.elements and not known.strays_inside):
        return ""
    one = "tensor" if known.strays == 1 else "tensors"
    return (
        f"its output is computed from {known.strays} trainable {one} ({known.stray_elements:,} numbers) that are not "
        "among its parameters, and in no optimiser"
    )


def cannot_be_learned(network: Network) -> bool:
    """Whether any of this is so strong that a loss that stays needs no long wait."""
    if (
        fading(network)
        or dropped(network)
        or initial_weights.all_alike(network)
        or initial_weights.all_zero(network).speaks_for
    ):
        return True
    # A head on features that are kept by another model learns, if it moves as it should.
    return bool(hidden(network)) and updates.moves(network).ratio > _MOVES


def causes(network: Network) -> list[Cause]:
    """Those of these that the rows speak for."""
    made = [
        Cause(
            "not_in_optimiser",
            "Layers are kept where the model does not find them, so that the optimiser was never given their weights.",
            (
                "keep layers in nn.ModuleList or nn.ModuleDict, and weights as nn.Parameter, not in a list or dict",
                "give the optimiser all that should learn; compute the rest under torch.no_grad()",
            ),
            (said,) if (said := hidden(network)) else (),
        ),
        Cause(
            "dropout",
            "Dropout takes away so much that next to nothing is left to learn from.",
            (
                "use a dropout of 0.1 to 0.5: its argument is the share that is set to zero, not the one that is kept",
                "put it between hidden layers: no dropout belongs behind the last one",
            ),
            (said,) if (said := dropped(network)) else (),
        ),
        Cause(
            "weight_decay",
            "Weight decay, or a penalty on the weights, is stronger than what the loss teaches them.",
            (
                "use a weaker weight decay: 0.01 to 0.1 for AdamW, 1e-5 to 1e-3 for an L2 penalty",
                "leave it out, and see whether the loss falls",
            ),
            fading(network),
        ),
        *initial_weights.causes(network),
    ]
    return [cause for cause in made if cause.speaks_for]


def zero_gradients(known: updates.Parameters) -> Cause:
    """The gradient of some parameters is zero."""
    return Cause(
        "zero_gradients",
        "What lies between some parameters and the loss is flat.",
        (
            "look for rounding, argmax, comparisons or a clamp behind them; a straight-through estimator passes these",
            "look for an activation whose gradient is zero: a dead ReLU, a saturated sigmoid",
        ),
        (f"the gradient of {len(known.zero_gradient)} of {known.total} parameters was zero in every recorded step",),
    )
