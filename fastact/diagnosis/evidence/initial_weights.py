"""Whether parameters are still as a framework draws them at random: known by their range and their deviation.

Each default initialisation draws from a distribution whose width follows from the shape. Weights that were trained, by
whomever, leave its bounds, or its deviation. So what stays as it was, and is as it was drawn, has never been trained.
"""

import math
import re
from collections.abc import Iterable
from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence import updates
from fastact.diagnosis.evidence.facts import For
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.text import number, shown

_COUNT, _MEAN, _STD, _MIN, _MAX = (COLUMN[name] for name in ("count", "mean", "std", "min", "max"))
_NEURONS: Final = COLUMN["neurons"]
#: Numbers of which fewer tell no distribution: those of the usual one of PyTorch, and of any other.
_FEW: Final = 48
_MANY: Final = 1000
#: Standard errors by which a mean and a deviation may be off.
_SURE: Final = 4.0
#: Of how many numbers the largest of so many lies this share of the bound below it: once in e to the half of it.
_GAP: Final = 24.0
#: Gain: the root mean square of a sum of inputs of unit size. Glorot's and He's are 1 and 1.4; chosen.
_WIDE: Final = 5.0
#: The same that is far too little, where all weights have no more: N(0, 0.02) of sixteen inputs has 0.08. And matrices
#: through which it has to go.
_NARROW: Final = 0.05
_BOTH: Final = 2
#: Rounding of a bound.
_ROUNDING: Final = 1e-5
#: What frameworks call what they multiply by.
_MULTIPLIES: Final = re.compile("weight|kernel|proj|^[wW]([_0-9]|$)")
#: The weights of recurrent layers, which have those of all gates one below the other.
_RECURRENT: Final = ("weight_ih", "weight_hh")
#: Deviations of an embedding, and of the weights of Transformers.
_NORMALS: Final = (1.0, 0.02)


def is_drawn(view: LayerView) -> bool:
    """Whether the last row of a parameter is one of numbers as they are drawn, and so was its first row.

    Args:
        view: the rows of a parameter, with its shape among its facts; of a vector nothing is said.
    """
    shape = view.info.facts.get("shape", ())
    if len(shape) < 2 or not all(isinstance(size, int) and size > 0 for size in shape):
        return False
    last, count = view.last, math.prod(shape)
    if last[_COUNT] != count or count < _FEW:
        return False
    same = all(last[column] == view.first[column] for column in (_MEAN, _STD, _MIN, _MAX))
    return same and (
        any(_is_uniform(view, bound) for bound in _bounds(view.info.name, shape, count))
        or (count >= _MANY and any(_is_normal(view, std) for std in _deviations(shape)))
    )


def _bounds(name: str, shape: list[int], count: int) -> list[float]:
    """The bounds that a weight of this shape is drawn within: by PyTorch; of enough numbers, by Glorot's and He's."""
    fan = math.prod(shape[1:])
    units = [shape[0] // gates for gates in (1, 3, 4)] if name.rpartition(".")[2].startswith(_RECURRENT) else []
    bounds = [1.0 / math.sqrt(size) for size in (fan, *units) if size]
    if count < _MANY:
        return bounds
    sums = [_fans(shape), (math.prod(shape[:-1]), shape[-1] * math.prod(shape[:-2]))]
    return [*bounds, *(math.sqrt(6.0 / (given + made)) for given, made in sums), math.sqrt(6.0 / fan)]


def _fans(shape: list[int]) -> tuple[int, int]:
    return math.prod(shape[1:]), shape[0] * math.prod(shape[2:])


def _deviations(shape: list[int]) -> list[float]:
    given, made = _fans(shape)
    return [*_NORMALS, *(math.sqrt(2.0 / size) for size in (given, made, given + made))]


def _is_uniform(view: LayerView, bound: float) -> bool:
    row = view.last
    count, std = row[_COUNT], bound / math.sqrt(3.0)
    least = bound * (1.0 - min(_GAP / count, 1.0))
    inside = all(least <= size <= bound * (1.0 + _ROUNDING) for size in (row[_MAX], -row[_MIN]))
    off = math.sqrt(0.8 / (4.0 * count))  # of a deviation: the fourth moment of a uniform distribution is 1.8
    return inside and abs(row[_STD] / std - 1.0) <= _SURE * off and abs(row[_MEAN]) <= _SURE * std / math.sqrt(count)


def _is_normal(view: LayerView, std: float) -> bool:
    row = view.last
    count = row[_COUNT]
    usual = std * math.sqrt(2.0 * math.log(count))  # the largest of so many
    inside = all(0.75 * usual <= size <= 1.6 * usual for size in (row[_MAX], -row[_MIN]))
    off = 1.0 / math.sqrt(2.0 * count)
    return inside and abs(row[_STD] / std - 1.0) <= _SURE * off and abs(row[_MEAN]) <= _SURE * std / math.sqrt(count)


def too_wide(network: Network) -> For:
    """What the rows say of weights that began so large that what they are given grows many times over."""
    return network.once(_too_wide)


def _gains(network: Network) -> dict[str, float]:
    """By name of a weight: the root mean square of its sums of inputs of unit size, as it began.

    A parameter of a module's own may be added, as places are, rather than multiplied by.
    """
    gains = {}
    for name, view in network.everything.items():
        shape = view.info.facts.get("shape", ())
        row = view.first
        if view.info.layer_type != layer_types.PARAMETER or len(shape) < 2 or not row[_NEURONS]:
            continue  # what is looked up is no sum
        if not _MULTIPLIES.search(name.replace("/", ".").rpartition(".")[2]):
            continue
        fan = math.prod(shape[:-1]) if name.endswith("kernel") else math.prod(shape[1:])
        gains[name] = row_rms(row) * math.sqrt(max(fan, 1))
    return gains


def too_narrow(network: Network) -> For:
    """What the rows say of weights that all began so small that hardly anything comes through two layers of them."""
    return network.once(_too_narrow)


def _too_narrow(network: Network) -> For:
    gains = _gains(network)
    if len(gains) < _BOTH or not 0.0 < max(gains.values()) <= _NARROW:
        return For()
    least = number(max(gains.values()))
    said = f"all {len(gains)} weight matrices began so small that they make at most {least} of 1, where 1 is usual"
    return For((said,))


def all_zero(network: Network) -> For:
    """What the rows say of weights that all began at zero, so that none of several layers gets a gradient."""
    gains = network.once(_gains)
    if len(gains) < _BOTH or any(gains.values()):
        return For()
    return For((f"all numbers of all {len(gains)} weight matrices were zero at first",))


def _too_wide(network: Network) -> For:
    gains = _gains(network)
    if not gains:
        return For()
    widest = max(gains, key=lambda name: gains[name])
    said = f"the weights of {shown(widest, 40)} began so large that they make {number(gains[widest])} of 1"
    if gains[widest] >= _WIDE:
        return For((f"{said}, where 1 to 1.4 is usual",))
    return For(refuted_by=(f"{said}, as is usual",))


def never_trained(names: Iterable[str], network: Network) -> tuple[str, ...]:
    """Those of these parameters that are as they were drawn, in layers that are used before others that learn.

    A copy of what learns, such as a target network or an average over steps, begins with the same numbers, and is none.

    Args:
        names: parameters that stay as they are.
        network: any.
    """
    everything = network.everything
    chosen = set(names)
    told = {  # by an adapter that knows the initialisers
        name for view in network.typed(layer_types.OPTIMISER) for name in view.info.facts.get("untrained", ())
    }
    learns = {
        _key(view) for name, view in everything.items()
        if view.info.layer_type == layer_types.PARAMETER and name not in chosen
    }  # fmt: skip
    places = [
        (_module(name), view.place)
        for name, view in everything.items()
        if layer_types.group_of(view.info.layer_type, view.info.mode) == layer_types.LAYERS
    ]
    found = []
    for name in chosen:
        weight = everything.get(name)
        has_rows = weight is not None and weight.info.layer_type == layer_types.PARAMETER
        if name not in told and not (has_rows and weight is not None and is_drawn(weight)):
            continue
        owner = updates.layer_of(name, network)
        own = [place for module, place in places if module == owner]
        behind = [place for module, place in places if own and place > min(own)]
        if own and behind and (weight is None or not has_rows or _key(weight) not in learns):
            found.append(name)
    return tuple(name for name in names if name in found)


def copies(names: Iterable[str], network: Network) -> frozenset[str]:
    """Those of these parameters that began as copies of others, or change though no optimiser holds them.

    Target networks and averages over steps are such: they follow what learns.
    """
    everything = network.everything
    chosen = set(names)
    others = {
        _key(view) for name, view in everything.items()
        if view.info.layer_type == layer_types.PARAMETER and name not in chosen
    }  # fmt: skip
    found = []
    for name in chosen:
        view = everything.get(name)
        if view is not None and view.info.layer_type == layer_types.PARAMETER:
            same = all(view.last[column] == view.first[column] for column in (_MEAN, _STD, _MIN, _MAX))
            if not same or (view.first[_STD] > 0.0 and _key(view) in others):
                found.append(name)
    return frozenset(found)


def _module(name: str) -> str:
    """The module that a row is of: the places of its outputs follow its name."""
    return name.partition("[")[0].partition(":")[0]


def _key(view: LayerView) -> tuple[object, ...]:
    return tuple(view.first[column] for column in (_COUNT, _MEAN, _STD, _MIN, _MAX))
