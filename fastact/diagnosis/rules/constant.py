"""Constant outputs: a layer whose output is the same for every sample."""

from collections.abc import Container
from typing import Any, ClassVar, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import (
    constant_softmax,
    initial_weights,
    one_lookup,
    other_data,
    peaked_softmax,
    vanishing,
)
from fastact.diagnosis.causes.cause import Cause, Verdict, best
from fastact.diagnosis.causes.inputs import far_inputs
from fastact.diagnosis.causes.remedies import (
    LOWER_RATE,
    NORMALISE_INPUTS,
    ONE_ELEMENT,
    ONE_ELEMENT_REMEDIES,
    initialisation,
)
from fastact.diagnosis.evidence import data_shift, facts, softmax
from fastact.diagnosis.evidence.learning_rate import reckless
from fastact.diagnosis.evidence.similarity import (
    all_alike,
    first_alike_by_sample,
    initial_states,
    little_left,
    one_symbol,
    samples,
)
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, Streak, nothing_finite, share_at_least
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, upstream
from fastact.diagnosis.rules.vanishing import VanishingThresholds
from fastact.diagnosis.thresholds import share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

_NEURONS, _CONSTANT = COLUMN["neurons"], COLUMN["constant_neurons"]
_STD, _WITHIN, _MEAN = COLUMN["std"], COLUMN["within_std"], COLUMN["mean"]
_ZEROS, _COUNT = COLUMN["zeros"], COLUMN["count"]

#: Times `vanish_samples`. So many must have been alike to another one where a row has fewer.
_FEW_SAMPLES: Final = 5
#: Layers with weights. After so many, what a convolution's places differ by hides that its samples no longer do.
_DEEP: Final = 6
#: Rows. An update or two changes what starts at zero.
_FIRST_UPDATES: Final = 3
#: Batches' worth of samples that have to be alike where a share of each is drawn: within two of them each place of a
#: batch had its turn, wherever the run begins.
_ROUNDS: Final = 2
#: Rows. For so long an output must have said one class of all samples, since a batch may be of one class.
_ONE_CLASS_ROWS: Final = 20


class ConstantThresholds(VanishingThresholds):
    """What `Constant` compares with; of vanishing, how many samples are enough, and how little of a signal is none."""

    constant_warning: float = share_field(0.5, "share of neurons; constant: warning from here. Chosen")
    constant_serious: float = share_field(
        0.8, "share of neurons; constant: serious from here. Chosen", "constant_warning"
    )
    constant_ratio: float = share_field(
        1e-6,
        "factor; constant: the spread between samples is less than this share of the standard deviation over all "
        "elements. Chosen, eight times float32's rounding unit",
    )


def _switches_off(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Each neuron after a constant layer is on for all samples, or off for all of them.

    Weights that are always 1 hand on what they weight.
    """
    return cause.cause_name != "softmax_of_one" and upstream(cause, effect, around)


class Constant(Rule[ConstantThresholds]):
    """A layer that has collapsed: all samples are alike after it.

    Formula:
        Found when in each of the last `min_rows` rows constant_neurons >= constant_warning (50%) of the neurons, each
        with one and the same value other than zero for every sample, or within_std < constant_ratio (1e-6) times the
        std over all elements: next to the differences between neurons, those between samples are no larger than
        float32's rounding. Serious from constant_serious (80%) of the neurons, critical where all samples are alike.
        A softmax is constant where every output is exactly 1 in every row that it ever had: it runs over one element.
        One that comes last is where for 20 rows all samples had one and the same class, with a probability of 1.

        One within a mixture of experts is where that holds of the expert that it chooses.

    The model's input is constant too where every value has been zero for min_rows rows, and none was before.

    Needs rows swept per neuron and `vanish_samples` samples of each neuron in a row; where all of fewer are alike, five
    times as many over the rows. Where a share of the samples is drawn, those of two batches over the rows.

    What became constant is judged everywhere. What was constant from its first row on is judged where samples should
    differ: the model's own input, unless another input differs; the first layer, if nothing behind it tells samples
    apart; what computes (weights, a normalisation, an activation) after a layer whose samples differ, or after one that
    is judged; a codebook, whose rows a layer chose. Positions, masks, class tokens and the like are the same for all
    samples by design. All zero is `Dead`'s, small is `Vanishing`'s matter.

    Neurons that are all alike are not judged: after a batch normalisation all neurons have one mean and one variance,
    so that a row has the numbers of a layer whose neurons all compute the same.

    Source:
        Chosen; 1e-6 is eight times float32's rounding unit. SageMaker Debugger's TensorVariance (variance below 1e-5)
        finds this on an absolute scale, which a layer that is small by design fails.
    """

    condition = "constant"
    adjective = "constant"
    shows = "likeness"
    only_alone = True
    explains: ClassVar = {
        "constant": upstream, "dead": _switches_off, "vanishing": _switches_off, "saturated": upstream,
        "collapsed": upstream
    }  # fmt: skip

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except what hands its input on; of probabilities, softmax alone."""
        layer_type = info.layer_type
        if layer_type in layer_types.PROBABILITIES:
            return softmax.is_softmax(info) or layer_type == "LogSoftmax"
        return layer_type == layer_types.INPUT or not layer_types.is_passing(layer_type)

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: ConstantThresholds) -> tuple[Cascade, ...]:
        """Rows in which the samples are alike, in all or in many neurons."""
        if info.layer_type in layer_types.PROBABILITIES:
            value = float(softmax.is_softmax(info))
            one, same = RowCondition("of_one", softmax.of_one(value)), RowCondition("one_class", softmax.one_class, 3)
            return Cascade((one,), undecided=nothing_finite), Cascade((same,), undecided=nothing_finite)
        blank: tuple[Cascade, ...] = ()
        if info.layer_type == layer_types.INPUT and info.dtype.startswith(("float", "bfloat")) and not info.source:
            blank = (Cascade((RowCondition("blank", share_at_least(1.0, _ZEROS, _COUNT)),)),)
        if not first[_NEURONS]:
            return blank
        share, ratio = thresholds.constant_warning, thresholds.constant_ratio
        if info.layer_type == layer_types.INPUT:  # pixels at the borders are one and the same, and harmless
            share = 2.0

        def holds(cells: Cells) -> Any:
            # Strictly less: in a layer of zeros both are zero.
            alike = cells[_WITHIN] < ratio * cells[_STD]
            return (cells[_NEURONS] > 0) & (alike | (1.0 * cells[_CONSTANT] >= share * cells[_NEURONS]))

        return *blank, Cascade((RowCondition("constant", holds),), undecided=nothing_finite)

    def shown(self, finding: Finding) -> str:
        """Where neurons were counted, the share of constant ones."""
        return "constant_ratio" if "constant_neurons" in finding.evidence else "likeness"

    def limits(self, finding: Finding, thresholds: ConstantThresholds) -> tuple[tuple[float, str], ...]:
        """From where it is a finding."""
        if self.shown(finding) == "constant_ratio":
            return ((thresholds.constant_warning, "constant from here"),)
        return ((thresholds.constant_ratio, "constant below"),)

    def suspects(self, network: Network, thresholds: ConstantThresholds) -> Container[int] | None:
        """Those that are alike now, and the input."""
        places = network.begun("constant", "blank", "of_one", "one_class")
        return places if network.input is None else places | {network.input.place}

    def check(self, layer: LayerView, network: Network, thresholds: ConstantThresholds) -> Finding | Outcome:
        """The share of constant neurons now, if there are samples enough to say so."""
        if layer.info.layer_type in layer_types.PROBABILITIES:
            return (
                constant_softmax.over_one(layer, network, thresholds.min_rows)
                or constant_softmax.one_class(layer, network, _ONE_CLASS_ROWS)
                or Outcome.NOT_FOUND
            )
        streak, blank = layer.streaks.get("constant"), layer.streaks.get("blank")
        if blank is not None and blank.rows >= thresholds.min_rows and blank.step > layer.start:
            return other_data.blank(layer, blank, network) or Outcome.NOT_FOUND
        if layer is network.input and (same := other_data.one_sample(layer, network, thresholds.min_rows)):
            return same
        if streak is None:
            return Outcome.NOT_FOUND
        step = _since(layer, streak)
        if int(np.count_nonzero(layer.rows["step"] >= step)) < thresholds.min_rows:
            return Outcome.NOT_FOUND
        last = layer.rows[-1]
        alike = bool(last["within_std"] < thresholds.constant_ratio * last["std"])
        if not _enough(layer, streak, alike, thresholds):
            return Outcome.NOT_ENOUGH_DATA
        if _choice_is_open(layer, streak, network):
            return Outcome.NOT_ENOUGH_DATA
        if step <= layer.start and not network.once(_to_be_judged, thresholds)[layer.place]:
            return Outcome.NOT_APPLICABLE
        neurons, constant = int(last["neurons"]), int(last["constant_neurons"])
        if neurons < 1:  # NaN alone
            return Outcome.NOT_ENOUGH_DATA
        share = 1.0 if alike else min(constant / neurons, 1.0)
        severity = graded(serious=share >= thresholds.constant_serious, critical=share == 1.0)
        evidence = Evidence(
            constant_ratio=share, constant_neurons=constant, neurons=neurons, within_std=float(last["within_std"]),
            std=float(last["std"])
        )  # fmt: skip
        what = "it" if layer.info.layer_type == layer_types.INPUT else "its output"
        seen = f"{what} is the same for every sample"
        if share < 1.0:
            seen = f"{percent(share)} of its {neurons:,} neurons have the same output for every sample"
        message = f"{layer.name} has been constant since step {step}: {seen}{layer.looked_at}."
        verdict = _why(layer, network, thresholds, step, share)
        return verdict.finding(layer.info.name, self.condition, severity, step, evidence, message)


def _enough(layer: LayerView, streak: Streak, alike: bool, thresholds: ConstantThresholds) -> bool:
    """Whether there are samples enough: in each row, or where all of a few are alike, over the rows of the run."""
    during = layer.during(streak)
    swept, left_out = int(during["count"].sum()), int(during["left_out"].sum())
    if streak.rows * swept < _ROUNDS * (swept + left_out) and layer.part:
        return False
    recent = during[-thresholds.min_rows :]
    least = float(thresholds.vanish_samples)
    if (recent["count"] >= least * recent["neurons"]).all():
        return True
    more = float((recent["count"] / recent["neurons"]).min()) - 1.0
    return alike and more >= 1.0 and streak.rows * more >= _FEW_SAMPLES * least


def _since(layer: LayerView, streak: Streak) -> int:
    """The first step of a run; that of the first row where it was all zero until a first update, as a shift is."""
    zero = layer.first[_STD] == 0.0 and layer.first[_MEAN] == 0.0
    return layer.start if zero and streak.step - layer.start <= _FIRST_UPDATES * layer.stride else streak.step


def _to_be_judged(network: Network, thresholds: ConstantThresholds) -> list[bool]:
    """For each layer, whether its samples should differ, if it has been constant since its first row."""
    alike = all_alike(network, thresholds.constant_ratio)
    inputs = [i for i, layer in enumerate(network.layers) if layer.info.layer_type == layer_types.INPUT]
    judged: list[bool] = []
    states = initial_states(network)
    for place, layer in enumerate(network.layers):
        layer_type = layer.info.layer_type
        if place in states:
            judged.append(False)
            continue
        if layer_type == layer_types.INPUT:
            judged.append(all(alike[i] for i in inputs))
            continue
        feeder = network.feeder(layer)
        if layer_type.startswith("Embedding"):
            judged.append(feeder is not None and not alike[feeder.place] and _is_codebook(layer, network))
        elif not (layer_types.has_weights(layer_type) or layer_types.follows_input(layer_type)):
            judged.append(False)
        elif feeder is None:
            judged.append(layer_types.has_weights(layer_type) and _nothing_differs(network, place, alike))
        elif judged[feeder.place]:
            judged.append(True)
        else:
            differs = network.signal[feeder.place] > thresholds.vanish_ratio * network.rms[feeder.place]
            # Where its feeder was not seen, a layer on a way of its own (a token that all share) is left out.
            known = bool(layer.info.source) or place + 1 == len(alike) or not alike[place] or alike[place + 1]
            judged.append(differs and known)
    return judged


def _nothing_differs(network: Network, place: int, alike: list[bool]) -> bool:
    """Whether all behind a layer is alike, to the end of the network or of the module that the layer is in."""
    if all(alike[place:]):
        return True
    module = network.layers[place].info.name.partition(".")[0]
    inside = [i for i, layer in enumerate(network.layers) if layer.info.name.partition(".")[0] == module]
    return len(inside) > 1 and all(alike[i] for i in inside)


def _is_codebook(layer: LayerView, network: Network) -> bool:
    """Whether a layer chose the rows of a table, rather than the data."""
    usage = network.everything.get(layer.info.name + layer_types.USAGE_SUFFIX)
    return peaked_softmax.is_codebook(layer.info if usage is None else usage.info)


def _choice_is_open(layer: LayerView, streak: Streak, network: Network) -> bool:
    """Whether codes are looked up before a layer, and not yet for long enough to say which are never chosen."""
    tables = network.once(_codebooks)
    return bool(tables) and tables[0] < layer.place and streak.rows < _ONE_CLASS_ROWS and streak.step > layer.start


def _codebooks(network: Network) -> list[int]:
    """The places of tables whose rows a layer chose, and whose look-ups were counted."""
    return [
        view.place
        for view in network.layers
        if view.info.name + layer_types.USAGE_SUFFIX in network.everything and _is_codebook(view, network)
    ]


def _why(layer: LayerView, network: Network, thresholds: ConstantThresholds, step: int, share: float) -> Verdict:
    """The likeliest of what can have made the samples alike."""
    layer_type = layer.info.layer_type
    feeder = network.feeder(layer)
    fed = feeder is not None and not all_alike(network, thresholds.constant_ratio)[feeder.place]
    differs = (f"the samples of {facts.named(feeder)} differ",) if fed and feeder is not None else ()
    later = facts.after_updates(layer, step).refuted_by
    check_data = other_data.CHECK_LOADER
    said: tuple[str, ...]
    if layer_type == layer_types.INPUT:
        cause = "The model is given one sample over and over: each row of a batch is the same."
        said = ("every row of the recorded input is the same",)
        return best([Cause("inputs_equal", cause, (check_data,), said, proved=True)])
    if (same := other_data.repeated(network, thresholds.min_rows)) and same.layer is layer:
        return best([other_data.same_samples(same, network)])
    table = network.once_for(one_symbol, step)
    if table and not _is_codebook(layer, network):
        return best([one_lookup.one_symbol(table, later=step > layer.start)])
    if layer_type.startswith("Embedding"):
        cause = "All samples are given one and the same code of the table."
        restart = "restart codes that are never chosen at outputs of the encoder"
        remedies = restart, "initialise the codes by k-means over the encoder's outputs", "normalise what is compared"
        name = "codes_never_chosen" if differs else "representation_collapse"
        return best([Cause(name, cause, remedies, differs, proved=bool(differs))])
    equal = facts.inputs_equal(network)
    zero = facts.inputs_zero(network)
    causes = [network.once_for(other_data.other_data, step)]
    if layer_types.is_norm(layer_type):
        shape = facts.norm_of_one_element(layer, network)
        if shape.speaks_for and differs:
            said = shape.speaks_for + differs
            return best([Cause("norm_of_one_element", ONE_ELEMENT, ONE_ELEMENT_REMEDIES, said, proved=True)])
        if feeder is not None and feeder.info.name in network.once(initial_weights.alike_outputs):
            return best([initial_weights.symmetric(network)])
    if zero.speaks_for and not differs:
        cause = "The input is zero, so that only biases are left."
        return best([Cause("inputs_zero", cause, ("check what the data loader returns",), zero.speaks_for, later)])
    first = feeder is not None and feeder.info.layer_type == layer_types.INPUT
    if (flat := _one_value(network, step)) and (first or not differs):
        said = (flat,)
        return best([Cause("inputs_equal", "All samples of a batch are the same.", (check_data,), said, proved=True)])
    place = network.once(first_alike_by_sample, thresholds.constant_ratio)
    weighted = [view.place for view in network.layers[: layer.place] if layer_types.has_weights(view.info.layer_type)]
    # Before it a neuron has the places of a sample among its samples.
    places = place is not None or (feeder is not None and samples(feeder) > samples(layer))
    if places and len(weighted) >= _DEEP and step <= layer.start and not equal.speaks_for:
        return vanishing.over_depth(layer, network, weighted[0])
    if place is not None and place.place < layer.place and step <= layer.start:
        said = (f"what {facts.named(place)} hands on is the same for every sample, though not at every place of one",)
        return best([Cause("inputs_equal", "All samples of a batch are the same.", (check_data,), said, proved=True)])
    if not differs and not equal.refuted_by:
        said = equal.speaks_for or (("no layer before it was recorded",) if feeder is None else ())
        causes.append(Cause("inputs_equal", "All samples of a batch are the same.", (check_data,), said))
    small = facts.inputs_negligible(network)
    if small.speaks_for and step <= layer.start:
        cause = "The inputs are so small that only biases are left next to them."
        name = "dtype_range" if _half(network) else "inputs_not_normalised"
        check = "check the units of the data, and the dtype that it was computed in"
        causes.append(Cause(name, cause, (NORMALISE_INPUTS, check), small.speaks_for, proved=True))
    none = () if differs or feeder is None else (f"the samples of {facts.named(feeder)} are alike already",)
    if layer_types.has_weights(layer_type):
        cause = "Only its biases are left in its output: its weights are zero, or negligible next to them."
        trained = "check that its weights were initialised or loaded, and are not pruned or decayed away"
        before = network.once(little_left, thresholds.recent_rows, thresholds.vanish_samples).get(layer.place)
        if before is not None and step <= layer.start:
            return vanishing.over_depth(layer, network, before)
        causes.append(Cause("weights_zero", cause, (trained, "use less weight decay"), differs, none))
    elif layer_types.is_norm(layer_type):
        cause = "Only its shift is left: its scale is zero."
        trained = "check that its scale was initialised or loaded, and is trained"
        causes.append(Cause("weights_zero", cause, (trained,), differs, none))
    if layer.info.dtype in ("float16", "bfloat16") and share < 1.0:
        cause = f"What its samples differ by is less than {layer.info.dtype} resolves next to the outputs."
        causes.append(Cause("dtype_range", cause, ("compute this layer in float32",), differs, none))
    if layer_type in layer_types.BOUNDED:
        causes += far_inputs(network, "so that it is given numbers for which it is flat.", differs)
    cause = "An update that was too large left outputs that no longer depend on the input."
    rate = (LOWER_RATE, initialisation(network.distinct_types))
    refuted = data_shift.not_by_an_update(layer, network, step).refuted_by
    causes.append(
        Cause("learning_rate", cause, rate, (*later, *differs, *reckless(network)) if later else (), refuted + none)
    )
    return best(causes, (check_data,))


def _one_value(network: Network, step: int) -> str:
    """That all values of the recorded input are one and the same since a step, if so."""
    given = facts.model_input(network)
    rows = None if given is None else given.rows[given.rows["step"] >= step]
    if rows is None or not len(rows) or (rows["min"] != rows["max"]).any():
        return ""
    return f"every value of the recorded input is {number(float(rows[-1]['max']))} since step {step}"


def _half(network: Network) -> bool:
    given = facts.model_input(network)
    return given is not None and given.info.dtype == "float16"
