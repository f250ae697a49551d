"""Gates of recurrent layers that are open or shut for most inputs: by what they are given, or by how they began.

And what looks like the outputs of such a layer, where its type is not known.
"""

from typing import Final

from fastact.diagnosis.evidence import baselines
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.text import number

#: The root mean square of an input from which on the gates of LSTM and GRU hardly follow it: their weights start near
#: 0.1, and a sigmoid of 10 is 1.
_RAW: Final = 30.0

#: The root mean square of cell states that gates near one half do not let them reach.
_KEPT_STATE: Final = 1.0

#: The root mean square of outputs that have not learned anything: usual initialisations make less than 0.6, which they
#: do of what is normalised, and targets are larger, or logits that tell classes apart.
_UNTRAINED: Final = 0.65


def is_given_raw_values(layer: LayerView, network: Network) -> bool:
    """Whether the recorded input, which no other layer has touched, is far too large for gates."""
    given = network.input
    direct = given is not None and network.feeder(layer) in (given, *_places_of(layer, network))
    return direct and given is not None and network.rms[given.place] >= _RAW


def is_new_lstm(layer: LayerView, network: Network) -> bool:
    """Whether it is an LSTM in a network that had learned nothing when it was first recorded: its outputs were small.

    Its outputs are a tanh times a gate, near 0.5 at first; they come near 1 where three gates at once are at their
    ends. A trained one has some there too.
    """
    outputs = row_rms(network.layers[network.output].first)
    return layer.info.layer_type in ("LSTM", "LSTMCell") and layer.place < network.output and outputs < _UNTRAINED


def is_open(layer: LayerView, network: Network) -> bool:
    """Whether the cell states of a new LSTM were so large in their first row that its gates do not forget.

    A gate near one half keeps half of a state in each step, and adds at most one half: that comes to no more than 1.
    """
    return bool(kept_states(layer, network)) and not baselines.has_learned(network)


def kept_states(layer: LayerView, network: Network) -> tuple[str, ...]:
    """What the first row of a new LSTM's cell states says of gates that do not forget."""
    if not is_new_lstm(layer, network):
        return ()
    states = [each for each in _places_of(layer, network) if each.info.layer_type == "LSTMState"]
    size = max((row_rms(each.first) for each in states), default=0.0)
    if not size >= _KEPT_STATE:
        return ()
    return (f"its cell states had an rms of {number(size)} in the first row, which gates near one half keep below 1",)


def looks_like_tanh(layer: LayerView) -> bool:
    """Whether it is within [-1, 1] and at both saturated ends: pixels in [0, 1], masks and probabilities are not."""
    low, high = layer.info.saturation
    least, most = float(layer.rows["min"].min()), float(layer.rows["max"].max())
    return -1.0 <= least < low and high < most <= 1.0


def _places_of(layer: LayerView, network: Network) -> list[LayerView]:
    """The outputs of one layer that has several: "lstm[0]", "lstm[1][0]"."""
    base = layer.info.name.partition("[")[0]
    return [view for view in network.layers if view.info.name.partition("[")[0] == base]
