"""Why samples became alike while their size stayed: the hypotheses of `rules.Collapsed`."""

from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import vanishing
from fastact.diagnosis.causes.cause import Cause, Verdict, best, refuted
from fastact.diagnosis.causes.inputs import feature_scales
from fastact.diagnosis.causes.other_data import other_data
from fastact.diagnosis.causes.remedies import LOWER_RATE, NORMALISE_INPUTS, initialisation, normalisation
from fastact.diagnosis.evidence import baselines, data_shift, facts
from fastact.diagnosis.evidence.learning_rate import reckless
from fastact.diagnosis.evidence.similarity import row_likeness
from fastact.diagnosis.network import LayerView, Network
from fastact.text import number, percent

#: Factor. An offset of so many standard deviations is more than what the data is about.
_OFFSET: Final = 5.0
#: Layers with weights from which on a network is deep.
_DEEP: Final = 12
#: Layers. What takes so many to become alike does so a little in each.
SLOWLY: Final = 6
_APART_BY: Final = "add what keeps samples apart: a stop-gradient, negative samples or a variance term"
#: Of its first size a layer has at most this that has not kept it.
_SHRUNK: Final = 0.5
#: By so many times have samples become more alike than they were in the first row.
_FALLEN: Final = 5.0
#: Likeness of samples that are told apart.
_APART: Final = 0.5


def why(layer: LayerView, network: Network, step: int, head: LayerView, alike: list[float]) -> Verdict:
    """What may have made the samples of a layer alike since `step`.

    Args:
        layer: the layer.
        network: all layers.
        step: since when.
        head: the first layer from which on all are alike.
        alike: the likeness of each layer now.
    """
    types, before = network.distinct_types, network.layer_types[: head.place + 1]
    attention = any("Attention" in layer_type for layer_type in network.distinct_types)
    norm = facts.has_norm(network)
    # With targets, it is they that tell samples apart: what a loss of pairs lacks is no remedy.
    supervised = baselines.are_told_apart(network)
    relu = () if facts.uses_relu(network) else ("use an activation of the ReLU family in the hidden layers",)
    warm_up = ("warm the learning rate up",) if attention else ()
    depth = sum(layer_types.has_weights(name) for name in network.layer_types)
    over = _falls_over(alike, head.place)
    slowly = over >= SLOWLY and (attention or step <= layer.start)
    sigmoids = sum(name in layer_types.GATES for name in before)
    from_start = at_first = facts.before_any_update(layer, step).refuted_by
    later = facts.after_updates(layer, step).refuted_by
    first = row_likeness(head.first, 2)
    if from_start and first >= _FALLEN * alike[head.place] > 0.0:  # never far apart, and much less so now
        from_start, later = (), (f"{facts.named(head)} told samples {number(first / alike[head.place])} times better",)
    raw, scale = facts.inputs_not_normalised(network), facts.input_scale(network)
    offset = scale is not None and abs(scale.mean) > _OFFSET * scale.std
    uneven = feature_scales(network)
    here, size = facts.named(head), facts.size(head, network)
    # What the network puts out is compared with what it puts out: to give all samples one answer is to be right.
    met = baselines.meets_itself(network)
    itself = ("what the loss compares with is what the network puts out itself",) if met else ()
    shrunk, layers, most = vanishing.shrunk_layers(network)
    smaller = (f"{here} has shrunk to {percent(size)} of its first size",) if size <= _SHRUNK else ()
    return best(
        [
            _given_nothing(head, network),
            Cause(
                "learning_rate" if supervised else "representation_collapse",
                f"All samples are mapped to nearly the same point{'' if itself else ', whose size is kept'}: "
                + (
                    "updates that were too large drove them together."
                    if supervised
                    else "nothing in the loss keeps them apart, or an update drove them together."
                ),
                (LOWER_RATE, *warm_up, *normalisation(types))
                if supervised
                else (_APART_BY, *normalisation(types), LOWER_RATE),
                ((f"{here} told them apart at first, and has {number(size)} times its first size",) if later else ())
                + (reckless(network) if supervised else itself),
                from_start
                + (() if itself else smaller)
                + (() if itself else data_shift.not_by_an_update(layer, network, step).refuted_by),
            ),
            network.once_for(other_data, step),
            Cause(
                "weight_decay",
                "The weights shrink with every update, until only the biases are left: there is too much weight decay.",
                ("use less weight decay", "leave biases and normalisations out of it"),
                (f"the outputs of {shrunk} of {layers} layers with weights have shrunk, to half or so", *smaller)
                if most
                else (),
                at_first + (() if most else ("the layers keep their size",)),
            ),
            Cause(
                "depth",
                "Each block averages over tokens, neighbours or what all samples share, and the network is too deep "
                "for anything else to be left.",
                (
                    *(("normalise before each block, not after it (norm_first=True)",) if attention and norm else ()),
                    *warm_up,
                    *(() if attention else ("add residual connections",)),
                    "use fewer layers",
                ),
                ((f"the network has {depth} layers with weights",) if depth >= _DEEP else ())
                + ((f"the samples become alike little by little, over {over} layers",) if slowly else ()),
                () if depth >= _DEEP or slowly else (f"the network has {depth} layers with weights, not many",),
            ),
            Cause(
                "inputs_not_normalised",
                "All samples share an offset that is large next to what they differ by.",
                (NORMALISE_INPUTS,),
                raw.speaks_for if offset else (),
                raw.refuted_by or (later if offset else ("the input has no large offset, or was not recorded",)),
            ),
            Cause(
                "feature_scales",
                "One feature is so much larger than the others that it is all that is seen of a sample, and in it "
                "samples hardly differ.",
                ("scale each feature to mean 0 and standard deviation 1",),
                uneven.speaks_for if from_start else (),
                uneven.refuted_by or (() if uneven.speaks_for else ("the scales of the features are not known",)),
            ),
            Cause(
                "activation_slope",
                "The slope of the activation is small (a sigmoid's is at most 1/4): each layer shrinks the differences "
                "between samples, and what is left is the same for all of them.",
                (*relu, *normalisation(types), initialisation(types)),
                (f"{sigmoids} sigmoids lie before it",) if sigmoids > 1 else (),
                later if sigmoids else ("no sigmoid lies before it",),
            ),
            Cause(
                "initialisation",
                "Weights are too small next to the biases.",
                (initialisation(types), "initialise biases with zero"),
                (),
                later,
            ),
        ],
        (LOWER_RATE,) if supervised else ("add what keeps samples apart", LOWER_RATE),
    )


def _given_nothing(head: LayerView, network: Network) -> Cause:
    """What the first layer of a model is given is zero, in all rows: of its outputs only biases are left."""
    given = network.feeder(head)
    is_input = given is not None and given.info.layer_type == layer_types.INPUT
    if given is None or not is_input or not bool((given.rows["zeros"] >= given.rows["count"]).all()):
        return refuted("inputs_zero", "what it is given is not zero")
    return Cause(
        "inputs_zero",
        "What it is given is zero, so that of its outputs only the biases are left.",
        ("look at what is given to this model: noise that is multiplied by zero, a mask, a loader",),
        (f"all values of {facts.named(given)} are zero in each row",),
        proved=True,
    )


def _falls_over(alike: list[float], head: int) -> int:
    """How many layers lie between the last one that tells samples apart well and the head of a collapse."""
    apart = [place for place, value in enumerate(alike[:head]) if value >= _APART]
    return head - (apart[-1] if apart else 0)
