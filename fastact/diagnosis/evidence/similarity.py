"""How alike the samples of a layer are, whatever its size: what several rules ask of the state and of the neurons.

No statistic is needed that the sweep does not have. Of all that the elements of a layer differ by (`std`), the samples'
part is `within_std`, since a variance is that within the neurons plus that between their means. So

    likeness = within_std / std

is 1 where the neurons have one mean, and near 0 where every sample has the same outputs. A shift or a factor that all
neurons share changes nothing: outputs in raw units are as unlike as normalised ones. Both merge: `std` as a moment,
`within_std` pooled.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.network import LayerView, Network, medians, row_signal
from fastact.diagnosis.row_conditions import Row
from fastact.fields import COLUMN
from fastact.text import shown

_COUNT, _NEURONS, _STD, _WITHIN = COLUMN["count"], COLUMN["neurons"], COLUMN["std"], COLUMN["within_std"]

#: Neurons. With fewer, a network that has to put out 1000 and 0.1 side by side looks like one whose samples are alike.
LEAST_NEURONS: Final = 8
#: Of the differences between all elements, what is left by float32's rounding: eight times its unit.
_SAME: Final = 1e-6
#: Likeness. Where so little is left of what samples differ by, most was lost before. Chosen.
_LITTLE: Final = 0.01
#: Symbols. Of fewer one alone may be usual.
_SYMBOLS: Final = 8
#: Likeness. An output layer above this tells samples apart.
AT_THE_END: Final = 0.8


def likeness(rows: npt.NDArray[np.void], min_samples: int) -> npt.NDArray[np.float64]:
    """within_std / std of each row; NaN where too few neurons, too few samples or no differences say nothing.

    Args:
        rows: structured array of `fields.ROW_DTYPE`.
        min_samples: samples of each neuron.
    """
    return _likeness(rows["neurons"], rows["count"], rows["std"], rows["within_std"], min_samples)


def _likeness(
    neurons: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
    std: npt.NDArray[np.float64],
    within: npt.NDArray[np.float64],
    min_samples: int,
) -> npt.NDArray[np.float64]:
    known = (neurons >= LEAST_NEURONS) & (count >= float(min_samples) * neurons) & (std > 0.0)
    with np.errstate(all="ignore"):
        result: npt.NDArray[np.float64] = np.where(known, within / std, np.nan)
    return result


def row_likeness(row: Row, min_samples: int) -> float:
    """`likeness` of one row."""
    neurons, std = row[_NEURONS], row[_STD]
    if neurons < LEAST_NEURONS or row[_COUNT] < min_samples * neurons or not std > 0.0:
        return math.nan
    return float(row[_WITHIN] / std)


def recent_likeness(network: Network, recent_rows: int, min_samples: int) -> list[float]:
    """The median likeness of each layer's recent rows; NaN where unknown, and for probabilities and inputs."""
    return network.once(_recent, recent_rows, min_samples)


def _recent(network: Network, recent_rows: int, min_samples: int) -> list[float]:
    recent, starts, lengths = network.recent(recent_rows)
    neurons, count, std, within = (network.table[name][recent] for name in ("neurons", "count", "std", "within_std"))
    values = medians(_likeness(neurons, count, std, within, min_samples), starts, lengths)
    judged = (name not in layer_types.PROBABILITIES and name != layer_types.INPUT for name in network.layer_types)
    return [value if known else math.nan for value, known in zip(values, judged, strict=True)]


def all_alike(network: Network, ratio: float) -> list[bool]:
    """For each layer, whether in all of the window's rows the samples differ by at most `ratio` of what elements do.

    A layer of zeros, or of one value, is alike too; one without rows per neuron is where its elements have one value.
    """
    return network.once(_all_alike, ratio)


@np.errstate(all="ignore")
def _all_alike(network: Network, ratio: float) -> list[bool]:
    table, std = network.table, network.table["std"]
    finite = ~np.isnan(table["mean"])
    spread = np.where(table["neurons"] > 0, table["within_std"], std)
    differ = finite & ~(spread <= ratio * std)
    some, none = np.add.reduceat(finite, network.starts, dtype=int), np.add.reduceat(differ, network.starts, dtype=int)
    return ((some > 0) & (none == 0)).tolist()  # type: ignore[no-any-return]


def little_left(network: Network, recent_rows: int, min_samples: int) -> dict[int, int]:
    """By the place of a layer whose samples were nearly alike already when they came to it, that of the first one.

    What they differed by was lost on the way, little by little, and not by the weights of this layer alone.
    """
    alike = recent_likeness(network, recent_rows, min_samples)
    first: int | None = None
    found: dict[int, int] = {}
    for layer in network.layers:
        feeder = network.feeder(layer)
        weighs = layer_types.has_weights(layer.info.layer_type)
        if first is not None and feeder is not None and weighs and alike[feeder.place] <= _LITTLE:
            found[layer.place] = first
        if first is None and weighs and alike[layer.place] > _LITTLE:
            first = layer.place
    return found


def alike_behind(network: Network, place: int, alike: list[float], limit: float) -> bool:
    """Whether the samples of a hidden layer and of each after it are alike, as far as known: at most `limit`.

    The outputs may differ by more, but not only by what samples differ by (`AT_THE_END`).
    """
    if not place < network.output or not alike[place] <= limit or alike[network.output] > AT_THE_END:
        return False
    return place > network.once_alike(limit, _last_apart, network, alike, limit)


def _last_apart(network: Network, alike: list[float], limit: float) -> int:
    """The place of the last layer before the output whose samples differ by more; -1 where there is none."""
    apart = (place for place, value in enumerate(alike[: max(network.output, 0)]) if value > limit)
    return max(apart, default=-1)


def outputs_differ_more(network: Network, min_samples: int) -> bool:
    """Whether the samples differ in the network's outputs by more than in the first row.

    So they come there: beside a layer that tells them apart no longer, or by what makes its outputs larger again.
    """
    output = network.layers[network.output]
    return network.signal[output.place] > row_signal(output.first, min_samples)


def initial_states(network: Network) -> frozenset[int]:
    """The places of layers that see an initial state, which is the same for all samples: zeros before the first step.

    That is where a module with weights is called again and again in a pass, and tells samples apart when it is called
    later; and what that place alone feeds.
    """
    return network.once(_initial_states)


def _initial_states(network: Network) -> frozenset[int]:
    calls: dict[str, list[int]] = {}
    for layer in network.layers:
        name, _, call = layer.info.name.partition(":")
        if call or layer_types.has_weights(layer.info.layer_type) or layer_types.is_norm(layer.info.layer_type):
            calls.setdefault(name, []).append(layer.place)
    several = {name: places for name, places in calls.items() if len(places) > 1}
    if not several:
        return frozenset()
    alike = _all_alike(network, _SAME)
    found: set[int] = set()
    for layer in network.layers:
        feeder = network.feeder(layer)
        fed = feeder is not None and feeder.place in found
        again = several.get(layer.info.name, ())
        if alike[layer.place] and (fed or not all(alike[place] for place in again)):
            found.add(layer.place)
    return frozenset(found)


def samples(layer: LayerView) -> float:
    """The elements of each neuron in the last row; all of them where neurons were not swept."""
    row = layer.rows[-1]
    return float(row["count"]) / max(int(row["neurons"]), 1)


def first_alike_by_sample(network: Network, ratio: float) -> LayerView | None:
    """The first layer that takes places together (flattening, pooling) and shows that only places, not samples, differ.

    Before it, a neuron of a convolution has its places among its samples.
    """
    alike = all_alike(network, ratio)
    for layer in network.layers:
        if not alike[layer.place] or not layer_types.is_passing(layer.info.layer_type):
            continue
        feeder = network.feeder(layer)
        if feeder is None or alike[feeder.place] or not samples(layer) < samples(feeder):
            continue
        if (layer.rows["std"] > 0.0).all():
            return layer
    return None


def one_symbol(network: Network, step: int) -> str:
    """The table of which the data looks up one row and no other since a step, where it is the only one; else ""."""
    views = network.typed(layer_types.VOCABULARY)
    rows = views[0].rows[views[0].rows["step"] >= step] if len(views) == 1 else None
    if rows is None or not len(rows) or not ((rows["zeros"] == rows["count"] - 1) & (rows["count"] > _SYMBOLS)).all():
        return ""
    return shown(views[0].info.name.removesuffix(layer_types.USAGE_SUFFIX), 40)
