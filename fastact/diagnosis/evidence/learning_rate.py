"""Learning rates that no usual training has, known from the optimiser itself: what speaks for steps that are too large.

Many rules have a learning rate that is too high among their causes, for want of another. Where the rate is known to be
beyond reason, that is a fact, whatever it did to the layers.
"""

from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.network import LayerView, Network
from fastact.text import number

#: Optimisers whose step is about the rate for each element, however small its gradient.
NORMALISED: Final = (
    "adam", "adamw", "adamax", "nadam", "radam", "rmsprop", "adafactor", "lion", "lamb", "sparseadam", "adabelief",
)  # fmt: skip
#: The largest usual rates: of a step that is about the rate for each weight, and of plain descent, momentum counted in;
#: and the least that are beyond reason. Chosen.
_USUAL_ADAPTIVE, _USUAL_PLAIN = 0.01, 1.0
_ADAPTIVE: Final = 0.1
_PLAIN: Final = 10.0
#: Factor by which a rate rises from one row to the next, as no warm-up or cycle makes it.
_JUMP: Final = 20.0


def reckless(network: Network) -> tuple[str, ...]:
    """That a learning rate is far higher than any usual one, or rose at once; empty where the rows do not say so."""
    return network.once(_reckless)


def _reckless(network: Network) -> tuple[str, ...]:
    views = network.typed(layer_types.OPTIMISER)
    return next((said for view in views if (said := _said(view))), ())


def _said(view: LayerView) -> tuple[str, ...]:
    known = view.rows["max"]
    function, momentum = str(view.info.facts.get("function", "")), view.info.facts.get("momentum")
    most = float(np.nanmax(known)) if np.isfinite(known).any() else 0.0
    normalised, plain = function.lower() in NORMALISED, function.lower() == "sgd"
    reach = most / max(1.0 - momentum, 0.01) if plain and isinstance(momentum, float) else most
    if (normalised and most >= _ADAPTIVE) or (plain and reach >= _PLAIN):
        usual = _USUAL_ADAPTIVE if normalised else _USUAL_PLAIN
        return (f"the learning rate of {function} is {number(most)}; usual ones go up to {number(usual)}",)
    rises = known[1:] / np.maximum(known[:-1], 1e-300)
    place = int(rises.argmax()) + 1 if len(rises) else 0
    if place and float(known[place - 1]) > 0.0 and float(rises[place - 1]) >= _JUMP:
        by, step = number(float(rises[place - 1])), int(view.rows["step"][place])
        return (f"the learning rate rose {by} times at step {step}",)
    return ()
