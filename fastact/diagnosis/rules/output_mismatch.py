"""An output, a loss and targets that do not fit each other: found at the first batch, before a step is wasted."""

from collections.abc import Callable
from typing import ClassVar, Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.evidence import baselines, supervised, updates
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.finding import NOTE, Evidence, Finding, gravity
from fastact.diagnosis.fit import (
    axes,
    linear,
    losses,
    majority,
    order,
    outputs,
    pairs,
    players,
    scores,
    shapes,
    targets,
)
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.rule import Circumstances, Outcome, Rule
from fastact.diagnosis.thresholds import CommonThresholds, count_field, share_field
from fastact.history import LayerInfo

#: What makes a loss that falls for as long as outputs grow, or is no number: it drives off all that is trained by it.
_DRIVES_OFF: Final = frozenset(
    {
        "target_out_of_range",
        "binary_loss_on_classes",
        "missing_log_softmax",
        "missing_softmax",
        "missing_sigmoid",
        "class_out_of_range",
        "wrong_loss",
        "wrong_sign",
    }
)
#: What makes the outputs all alike, or zero, from the first row on.
_FIXES_OUTPUT: Final = frozenset({"softmax_over_one_unit", "softmax_axis", "relu_output"})
#: What keeps a network from learning whatever its loss is.
_NOT_TRAINED: Final = frozenset({"not_in_optimiser", "frozen_parameters", "no_gradient", "no_update"})


class OutputMismatchThresholds(CommonThresholds):
    """What `OutputMismatch` compares with."""

    mismatch_excess: float = share_field(
        0.25, "share of the range; output mismatch: targets within so much of what an output reaches, or a loss takes, "
        "are near enough: labels of 1.2 are in use. Serious from twice as much. Chosen"
    )  # fmt: skip
    mismatch_learned: float = share_field(
        0.5, "share of the loss of the best constant answer; output mismatch: what is below has learned in spite of an "
        "odd last activation, which is noted then. Chosen"
    )  # fmt: skip
    mismatch_rows: int = count_field(
        20,
        "rows; output mismatch: so many batches whose targets are all one class are no chance; and what may be "
        "meant has had its time to learn. Chosen",
    )


def _in_the_output(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """What the mismatch makes of the last layer itself; of gradients where it leaves none; of all layers later."""
    del around
    if cause.layer == effect.layer and (cause.cause_name in _FIXES_OUTPUT or effect.first_step > cause.first_step):
        return True
    if cause.severity == "critical" and layer_types.GRADIENT_SUFFIX in effect.layer:
        return True
    return cause.cause_name in _DRIVES_OFF and effect.first_step > cause.first_step


def _nothing_learned(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whatever is not learned, unless it is known not to be trained at all, or known better why."""
    del around
    if effect.confidence == "certain" and cause.confidence != "certain":
        return False
    return cause.severity == "critical" or effect.cause_name not in _NOT_TRAINED


class OutputMismatch(Rule[OutputMismatchThresholds]):
    """A last layer, a loss and targets that do not fit each other.

    Formula:
        From the facts of the first batch (shapes, the loss function, whether rows sum to one, the few values of the
        targets), the type of the last activation and the range of its outputs and of the targets. Each loss has what it
        takes for predictions (logits, probabilities, their logarithms, any values) and for targets (`losses.LOSSES`);
        each activation has the range that it reaches. What was given is compared with what is taken: a softmax over
        one unit; a softmax or a sigmoid before a loss that applies one; none before a loss that applies none; a ReLU
        or a tanh on logits, or a ReLU before the softmax; scores that are cut to 0 and 1 for probabilities;
        targets by more than mismatch_excess (a quarter of the range)
        beyond what the activation reaches or the loss takes; classes without a unit; shapes (n,) and (n, 1) that
        broadcast to (n, n); the numbers of classes in a regression; targets of one class in mismatch_rows (20) batches,
        or of one class in each of most of them, which changes now and then; layers with weights and nothing but other
        linear layers between them; a recurrent layer with as many last states as a sample has steps; classes brought
        to their axis by a view; several answers of a sample for one target; weights of samples that broadcast; a
        softmax within the network along the samples; a batch half of which are copies, with extremes that are the same
        to the last bit in nine of ten batches; ten batches that are all the same, where an epoch has several, or the
        loss of what is learned is twice a constant answer's in two evaluations. Padding that is more than half of the
        targets, after 50 rows in which the loss is no less than 0.9 of what guessing among the rest costs; a yes that
        0.5% to 15% of the places want, and none has got in the later half of 50 rows, at 0.75 of a constant answer's
        loss and above. Losses of two players that are all at most 0.05 for 20 rows. Logarithms of probabilities of
        which the largest is less than that of an equal share; a loss of one's own that falls while outputs go 4
        deviations of the targets away.

        A regression whose error is exactly zero from the first of 5 rows on, though its targets differ; a cross entropy
        of which only the targets have a gradient; probabilities where logarithms were announced; labels smoothed until
        the right class has less than half.

    Needs one row. Critical is what cannot learn, serious what learns worse or not reliably. What may be meant is a note
    until the loss shows that it does harm: it stands still, or has not fallen below mismatch_learned (half of what the
    best constant answer comes to) in mismatch_rows rows. What learns in spite of an odd last activation is a note again
    below that. Of a loss that is not known: a softmax over one unit, or over the samples; the logarithm of
        outputs that are no probabilities; a loss that is the plain difference of both means; a log-likelihood without
        its minus sign, or one of the framework's losses with one; differences of each prediction with all targets. A
        loss of one's own that comes to one of the known ones at its first batch is judged as that one is; with a minus
        sign, or where it is an overlap that is 1 where all is right, it is of the wrong sign; that of a yes or no
        only where it is the one loss of one model, since of two players one wants what the other does not.

    Source:
        The definitions of the losses in PyTorch, Keras and Optax. That these are what goes wrong: Humbatova et al.,
        Taxonomy of real faults in deep learning systems, ICSE 2020; Zhang et al., AUTOTRAINER, ICSE 2021.
    """

    condition = "output_mismatch"
    adjective = "unfit for its loss"
    shows = "mean"
    judges = frozenset({layer_types.LOSSES})
    leads = True
    explains: ClassVar = {
        **dict.fromkeys(
            ("constant", "collapsed", "saturated", "dead", "vanishing", "exploding", "overflow_risk", "non_finite"),
            _in_the_output,
        ),
        "not_learning": _nothing_learned,
    }

    def applies(self, info: LayerInfo) -> bool:
        """The rows of losses."""
        return info.layer_type == layer_types.LOSS

    def needs(self, thresholds: OutputMismatchThresholds) -> int:
        """The first batch shows it."""
        return 1

    def check(self, layer: LayerView, network: Network, thresholds: OutputMismatchThresholds) -> Finding | Outcome:
        """The gravest thing that does not fit."""
        if layer.info.layer_type != layer_types.LOSS:
            return Outcome.NOT_APPLICABLE
        s = supervised.of(layer, network)
        learned, excess, rows = thresholds.mismatch_learned, thresholds.mismatch_excess, thresholds.mismatch_rows
        alone = network.once(_losses) == 1
        seen = [
            *(look(s, learned) for look in _OF_OUTPUTS),
            losses.by_form(s, alone=alone and network.once(_models) == 1),
            *(look(s, learned) for look in _OF_ONES_OWN),
            losses.negated(s, network),
            targets.classes_as_numbers(s, learned, rows),
            *(look(s, excess) for look in _OF_TARGETS),
            targets.one_class(s, rows, alone=alone),
            targets.rare_class(s, rows, alone=alone),
            majority.padding_counted(s, network),
            majority.never_named(s, network, alone=alone),
            order.sorted_by_class(s, rows, alone=alone),
            order.one_batch(s, network),
            order.few_samples(s, network),
            linear.no_nonlinearity(s, network, learned, rows),
            scores.relu_before_softmax(s, network, learned, rows),
            axes.recurrence_over_samples(s, network),
            axes.softmax_over_samples(s, network),
            axes.log_softmax_over_others(s, network),
            players.want_the_same(s, network),
        ]
        found = [mismatch for mismatch in seen if mismatch is not None]
        if updates.ascends(network):  # what is made large is to be large
            found = [mismatch for mismatch in found if mismatch.name != "wrong_sign"]
        if not found:
            return Outcome.NOT_FOUND
        worst = max(found, key=lambda mismatch: gravity(mismatch.severity))  # the first of equals
        return _told(worst, s)


_OF_OUTPUTS: Final[tuple[Callable[[Supervised, float], Mismatch | None], ...]] = (
    outputs.over_one_unit,
    outputs.activated_twice,
    outputs.other_axis,
    outputs.of_logits,
    outputs.of_log_probabilities,
    outputs.of_probabilities,
    outputs.of_logarithms_of_rates,
    losses.logarithm_of_scores,
    pairs.swapped,
    pairs.itself,
    pairs.no_logarithms,
    pairs.smoothed_away,
)
_OF_ONES_OWN: Final[tuple[Callable[[Supervised, float], Mismatch | None], ...]] = (
    losses.of_one_direction,
    losses.plain_difference,
    losses.negative_error,
    losses.driven_away,
    losses.turned,
    losses.upside_down,
)
_OF_TARGETS: Final[tuple[Callable[[Supervised, float], Mismatch | None], ...]] = (
    shapes.shapes,
    shapes.many_for_one,
    shapes.viewed,
    targets.beyond_loss,
    targets.beyond_output,
    targets.unknown_class,
    outputs.of_positive_numbers,
    outputs.of_margins,
)


def _losses(network: Network) -> int:
    return len(baselines.losses(network))


def _models(network: Network) -> int:
    """How many models there are that optimisers of their own step, by what their rows begin with."""
    names = [view.info.name for view in network.typed(layer_types.OPTIMISER)]
    return max(len({name.rpartition(".")[0] for name in names}), 1)


def _told(mismatch: Mismatch, s: Supervised) -> Finding:
    """The finding, at the last layer where that is known and is what it is about."""
    layer = s.layer if s.layer is not None else s.loss
    step = s.loss.start if mismatch.step is None else mismatch.step
    whose = "its loss" if s.layer is not None else "what it compares"
    verb = mismatch.verb or (f"may not have fitted {whose}" if mismatch.severity == NOTE else f"has not fitted {whose}")
    message = f"{layer.name} {verb} since step {step}: {mismatch.what}."
    function = s.function.name if s.function is not None else ""
    evidence = Evidence(
        loss=s.loss.info.name, function=function, units=s.units or None,
        prediction_shape="x".join(map(str, s.shape)) or None, target_shape="x".join(map(str, s.target_shape)) or None,
        last_activation=s.kind or None,
        prediction_min=float(s.output.rows["min"].min()) if s.output is not None else None,
        prediction_max=float(s.output.rows["max"].max()) if s.output is not None else None,
        target_min=s.target_number("min"), target_max=s.target_number("max"),
    )  # fmt: skip
    cause = Cause(mismatch.name, mismatch.says, mismatch.remedies, mismatch.because, (), mismatch.proved)
    verdict = best([cause])
    return verdict.finding(layer.info.name, OutputMismatch.condition, mismatch.severity, step, evidence, message)
