"""Settings that no training goes well with: momentum that never forgets, weights of 16 bits, a player left frozen."""

from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import baselines, updates
from fastact.diagnosis.network import Network
from fastact.fields import COLUMN
from fastact.text import number, percent

_STEP = COLUMN["step"]
#: Momentum from which on gradients of hundreds of steps ago count as those of now do; in use are 0.9 to 0.99.
_LONG: Final = 0.995
#: The same of an Adam whose two are the wrong way round.
_LONG_OF_ADAM: Final = 0.99
#: Rows of another optimiser since one stopped.
_NEAR: Final = 3
#: Element types whose last digit a step may be less than, and the shares of the numbers of a weight that have a
#: gradient, and do not change by it.
_SHORT: Final = ("bfloat16", "float16")
_TAUGHT: Final = 0.8
_KEPT: Final = 0.75
_ROWS: Final = 3
#: Rows of the loss, and the share of a constant answer's above which little was learned.
_PATIENCE: Final = 30
_LITTLE: Final = 0.5
#: Steps for which an optimiser has been still.
_STOPPED: Final = 30


def momentum(network: Network) -> Cause | None:
    """Momentum that never forgets."""
    for view in network.everything.values():
        if view.info.layer_type != layer_types.OPTIMISER:
            continue
        facts = view.info.facts
        betas = facts.get("betas")
        first, second = betas[:2] if isinstance(betas, list) and len(betas) > 1 else (
            facts.get("beta_1"), facts.get("beta_2")
        )  # fmt: skip
        own = facts.get("momentum")
        if isinstance(first, float) and isinstance(second, float) and first >= _LONG_OF_ADAM and first > second:
            said = f"the optimiser's betas are {number(first)} and {number(second)}, where 0.9 and 0.999 are usual"
            fix = "use betas of (0.9, 0.999), in this order"
        elif isinstance(own, float) and own >= _LONG:
            said = f"the optimiser's momentum is {number(own)}, where 0.9 is usual"
            fix = "use a momentum of 0.9"
        else:
            continue
        says = "Momentum is so high that steps overshoot: gradients of hundreds of steps ago count as those of now do."
        return Cause("momentum", says, (fix,), (said,), proved=True)
    return None


def stopped(network: Network) -> tuple[int, str, Cause] | None:
    """An optimiser of a model of its own that has stopped, while another goes on and its losses are still computed.

    That is one of two players whose parameters were frozen for the turn of the other one, and not thawed again.
    """
    views = network.typed(layer_types.OPTIMISER)
    latest = max((int(view.last[_STEP]) for view in views), default=0)
    for view in views:
        prefix, step = view.info.name.rpartition(".")[0], int(view.last[_STEP])
        beyond = [int((other.rows["step"] > step).sum()) for other in views if other is not view]
        if not prefix or latest - step < _STOPPED or max(beyond, default=0) < _NEAR:
            continue
        own = [
            loss for loss in baselines.losses(network)
            if loss.info.name.startswith(f"{prefix}.") and int(loss.last[_STEP]) >= latest and loss.start <= step
        ]  # fmt: skip
        if len(own) < 2 or not baselines.plays(network):
            continue
        says = "Its parameters were frozen for the turn of the other network, and are not set free again."
        fix = (
            f"set requires_grad = True on the parameters of {prefix!r} before its own loss is computed, in each step",
            "call its optimiser's step() in each step",
        )
        said = f"{len(own)} losses of {prefix!r} are computed in each step, and no step follows from them"
        return step, view.info.name, Cause("frozen_parameters", says, fix, (said,), proved=True)
    return None


def rounded_away(network: Network) -> Cause | None:
    """Weights of 16 bits that most steps do not change, since a step is less than their last digit."""
    return network.once(_rounded_away)


def _rounded_away(network: Network) -> Cause | None:
    kept, kinds = [], set()
    for name in updates.parameters(network).held:
        weight, gradient, update = (
            network.everything.get(name + suffix)
            for suffix in ("", layer_types.GRADIENT_SUFFIX, layer_types.UPDATE_SUFFIX)
        )
        if weight is None or gradient is None or update is None or len(weight.info.facts.get("shape", ())) < 2:
            continue
        kind = str(weight.info.dtype)
        if kind not in _SHORT or min(len(gradient.rows), len(update.rows)) < _ROWS:
            return None
        taught = 1.0 - float(np.median(gradient.rows["zeros"] / np.maximum(gradient.rows["count"], 1)))
        same = float(np.median(update.rows["zeros"] / np.maximum(update.rows["count"], 1)))
        if taught >= _TAUGHT and same < 1.0:
            kept.append(same)
            kinds.add(kind)
    if not kept or not float(np.median(kept)) >= _KEPT or not baselines.hardly_learned(network, _PATIENCE, _LITTLE):
        return None
    kind = min(kinds)
    said = (
        f"{percent(float(np.median(kept)))} of the numbers of a weight are the same after a step, though they have "
        "gradients"
    )
    return Cause(
        "rounded_away",
        f"The weights are kept in {kind}, whose precision is too small: a step is less than their last digit, and is "
        "rounded away.",
        (
            "keep the weights in float32, and compute in 16 bits by torch.autocast or a mixed-precision policy",
            "use a higher learning rate, or an optimiser that rounds at random or keeps the remainder",
        ),
        (said,),
        proved=True,
    )
