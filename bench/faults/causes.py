"""What can be at fault: a sentence for each cause, the conditions that tell it, and how a finding may name it."""

import re
from typing import Final, NamedTuple

__all__ = ["CAUSES", "KINDS", "Cause"]


class Cause(NamedTuple):
    """One cause.

    Attributes:
        kind: the kind of fault, by which results are told apart.
        says: a sentence.
        conditions: those that a fair judge may name.
        also: other names that say the same, as a finding's `cause_name`; its own name always does. Those that rules
            turned out to use were added by what they told of the part for tuning.
        words: a pattern that the sentence of a finding's cause matches if it tells this cause in words of its own.
    """

    kind: str
    says: str
    conditions: frozenset[str]
    also: frozenset[str]
    words: str

    def told(self, cause: str) -> bool:
        """Whether a finding's sentence on the cause tells this one."""
        return re.search(self.words, cause, re.IGNORECASE) is not None


OUTPUT, LOSS, SHAPE = "output activation", "loss of another form", "shapes and classes"
RATE, PARAMETERS, LOOP, DEPTH = "rate and schedule", "parameters left out", "loop and graph", "initialisation and depth"
INPUTS, TARGETS, NUMBERS = "inputs", "targets", "numerics"
#: All kinds of fault.
KINDS: Final = (OUTPUT, LOSS, SHAPE, RATE, PARAMETERS, LOOP, DEPTH, INPUTS, TARGETS, NUMBERS)

_NOT_LEARNING: Final = "not_learning"
#: A network whose output does not fit learns nothing either: both may be said.
_UNFIT: Final = "output_mismatch not_learning"
_WILD: Final = "not_learning exploding non_finite saturated dead drifting oscillating overflow_risk constant"
_FADED: Final = "not_learning dead saturated vanishing constant collapsed"
_FED: Final = f"{_WILD} output_mismatch outlier_channels collapsed"
#: No gradient comes to what should learn.
_UNTAUGHT: Final = (
    r"no gradient|without a gradient|gradients? (is|are) (zero|none)|never chang|unchanged|do(es)? not change"
)
#: Inputs or targets that are not finite; not weights that an update has spoilt.
_FED_ONES: Final = r"\b(input|feature|target|label|data\b)"
_NOT_FINITE: Final = r"\b(nan|missing|not finite|non-finite)"
#: A rate, an update or a step that is too large, or too small; not weights or inputs that are.
_TOO_LARGE: Final = r"(rate|update|step)s?\b.*too (large|high)|too (large|high)\b.*(rate|update|step)"
_TOO_SMALL: Final = r"(rate|update|step)s?\b.*too (small|low)|too (small|low)\b.*(rate|update|step)"

#: name: kind, sentence, conditions, other names, words.
_TABLE: Final[dict[str, tuple[str, str, str, str, str]]] = {
    "softmax_over_one_unit": (
        OUTPUT, "A softmax over a single unit is 1 whatever comes in.",
        f"{_UNFIT} constant", "softmax_of_one", r"softmax\b.*\b(one|single|1) (unit|output|class|neuron|number)",
    ),
    "double_softmax": (
        OUTPUT, "Probabilities go into a loss that takes logits and applies a softmax itself.",
        _UNFIT, "softmax_twice",
        r"softmax\b.*\b(twice|again|already|itself|too)|(already|twice)\b.*softmax|takes logits",
    ),
    "double_sigmoid": (
        OUTPUT, "A sigmoid's output goes into a loss that takes logits and applies a sigmoid itself.",
        _UNFIT, "sigmoid_twice",
        r"sigmoid\b.*\b(twice|again|already|itself|too)|(already|twice)\b.*sigmoid|takes logits",
    ),
    "missing_log_softmax": (
        OUTPUT, "A negative log-likelihood is given what are no log-probabilities.",
        _UNFIT, "no_log_softmax", r"log[ _-]?softmax|log[ -]?probabilit|logarithms? of",
    ),
    "logits_into_probability_loss": (
        OUTPUT, "A loss that takes probabilities is given logits.",
        _UNFIT, "logits_as_probabilities missing_softmax missing_sigmoid",
        r"logits|(no|not|without).*(softmax|sigmoid|probabilit)|from_logits",
    ),
    "wrong_output_activation": (
        OUTPUT, "The last activation is not what the loss and the task want.",
        _UNFIT, "missing_softmax missing_sigmoid relu_output",
        r"(sigmoid|relu|tanh|linear|activation)\b.*\b(output|last|loss|cross entropy|softmax|probabilit)",
    ),
    "relu_on_output": (
        OUTPUT, "A ReLU after the last layer cuts off the negative half of what it should say.",
        f"{_UNFIT} dead", "relu_output",
        r"relu\b.*(output|last|negative|target|loss)|never negative|(target|answer|prediction)s?\b.*below zero",
    ),
    "bounded_output": (
        OUTPUT, "Targets lie outside of what the last activation can reach.",
        f"{_UNFIT} saturated", "target_out_of_range",
        r"(target|label)s?\b.*(range|bound|beyond|outside|reach)|can(not)? reach",
    ),
    "targets_outside_loss_range": (
        LOSS, "Targets lie outside of the range that the loss is made for, such as 0 to 1.",
        f"{_UNFIT} {_WILD}", "target_out_of_range",
        r"(target|label)s?\b.*(range|outside|beyond|between|0 (to|and|\.\.) 1|0\.\.1)",
    ),
    "regression_loss_on_labels": (
        LOSS, "A regression loss compares one unit with the numbers of classes.",
        _UNFIT, "regression_on_classes",
        r"(regression|squared|mse|l1)\b.*(label|class)|(label|class)\w*\b.*(regression|squared|mse)",
    ),
    "binary_loss_on_classes": (
        LOSS, "A binary loss is used for one choice among several classes.",
        _UNFIT, "", r"(binary|bce|sigmoid)\b.*(class|label)|class\w*\b.*(binary|bce|sigmoid)",
    ),
    "wrong_loss": (
        LOSS, "The loss does not measure what is wanted: its form, or what it compares.",
        f"{_UNFIT} {_WILD}", "compares_itself swapped_arguments label_smoothing",
        r"loss\b.*(compar|measur|wrong|without (a )?(lower )?bound|falls)",
    ),
    "wrong_sign": (
        LOSS, "The loss has the wrong sign: what should grow is made small, or the other way round.",
        f"{_UNFIT} {_WILD}", "wrong_loss", r"\bsigns?\b|\bminus\b|negative|maximi|climb",
    ),
    "several_labels_for_one": (
        LOSS, "Several labels may hold for a sample, and the last activation or the loss is for one of them.",
        _UNFIT, "multi_label_targets", r"several (label|class)|multi-?label|more than one (label|class)",
    ),
    "term_outweighs": (
        LOSS, "One term of the loss outweighs the others, and what those ask for is not learned.",
        f"{_UNFIT} {_FADED}", "posterior_collapse representation_collapse penalty",
        r"\bterms?\b|outweigh|divergence|\bkl\b|posterior|penalty",
    ),
    "adversary_wins": (
        LOSS, "Of two networks that play against each other one is so far ahead that the other learns nothing.",
        f"{_WILD} vanishing collapsed", "discriminator_wins",
        r"discriminator|critic|adversar|generator|opponent|two networks",
    ),
    "no_nonlinearity": (
        LOSS, "Several layers without any nonlinearity between them are one linear layer.",
        _UNFIT, "", r"non-?linear|without (an )?activation|no activation|one linear|single linear",
    ),
    "class_index_beyond_units": (
        SHAPE, "The labels do not fit the number of units: indices beyond, or too few units.",
        _UNFIT, "class_out_of_range classes_not_whole",
        r"(class|label|ind(ex|ices))\w*\b.*unit|unit\w*\b.*(class|label)",
    ),
    "one_hot_against_sparse": (
        SHAPE, "One-hot targets meet a loss for class indices, or the other way round.",
        _UNFIT, "one_hot_or_classes", r"one[ -]?hot|sparse|class (index|indices|numbers)",
    ),
    "broadcast": (
        SHAPE, "Shapes such as (n,) and (n, 1) broadcast to a matrix (n, n), silently.",
        _UNFIT, "broadcast_shapes", r"broadcast",
    ),
    "wrong_axis": (
        SHAPE, "A softmax, or a loss, goes along the samples or the time, not along the classes.",
        _UNFIT, "softmax_axis", r"\baxis|\bdim\b|along the (batch|samples|time)|over the (batch|samples)",
    ),
    "rate_too_small": (
        RATE, "The learning rate is too small for anything to change in this many steps.",
        _NOT_LEARNING, "updates_too_small rate_zero", rf"{_TOO_SMALL}|raise the (learning )?rate|hardly (chang|mov)",
    ),
    "rate_too_large": (
        RATE, "The learning rate is so large that the loss jumps, diverges or stays high.",
        f"{_WILD} vanishing collapsed", "learning_rate updates_too_large diverging",
        rf"{_TOO_LARGE}|lower the (learning )?rate|diverg|overshoot",
    ),
    "rate_zero": (
        RATE, "The learning rate is zero, or has become zero by a schedule.",
        _NOT_LEARNING, "scheduler", r"rate\b.*zero|zero\b.*rate|schedule",
    ),
    "momentum": (
        RATE, "Momentum is so high that steps overshoot.",
        f"{_WILD} vanishing collapsed", "learning_rate updates_too_large diverging rate_too_large",
        rf"momentum|overshoot|{_TOO_LARGE}|diverg",
    ),
    "weight_decay": (
        RATE, "Weight decay, or a penalty, is stronger than the gradient, and weights go to zero.",
        _FADED, "weights_shrinking", r"decay|penalty|regulari[sz]|weights\b.*(shrink|to zero)",
    ),
    "loss_scaled": (
        RATE, "The loss is multiplied by so small or so large a number that updates do not fit.",
        f"{_WILD} vanishing", "", r"loss\b.*(scale|multipl|divid)|gradients?\b.*(tiny|too small|too large)",
    ),
    "clipped": (
        RATE, "Gradients are clipped to so small a norm that nothing changes.",
        _NOT_LEARNING, "updates_too_small", r"clip",
    ),
    "missing_from_optimiser": (
        PARAMETERS, "Parameters that the network uses are not in the optimiser.",
        _NOT_LEARNING, "not_in_optimiser missing_from_optimizer not_in_optimizer",
        r"optimi[sz]er|(plain|python) (list|dict|tensor)|modulelist|weights that the model does not have",
    ),
    "frozen": (
        PARAMETERS, "Parameters that should learn are frozen: they require no gradient.",
        _NOT_LEARNING, "frozen_parameters", r"fr(o|ee)ze|requires_grad|require (a |no )?gradient|trainable",
    ),
    "detached": (
        PARAMETERS, "The graph is cut: a detach, an item, NumPy or no_grad lies between loss and parameters.",
        _NOT_LEARNING, "no_gradient graph_cut", rf"detach|no_grad|graph|{_UNTAUGHT}",
    ),
    "non_differentiable": (
        PARAMETERS, "A round, an argmax or a comparison lies on the way, through which no gradient goes.",
        _NOT_LEARNING, "no_gradient zero_gradients detached graph_cut",
        rf"differentia|round|argmax|step function|{_UNTAUGHT}",
    ),
    "trained_a_copy": (
        PARAMETERS, "What is trained is not what is asked: a copy, or a model that was built anew.",
        _NOT_LEARNING, "missing_from_optimiser not_in_optimiser missing_from_optimizer not_in_optimizer no_update",
        rf"\bcopy|optimi[sz]er|another model|{_UNTAUGHT}",
    ),
    "no_zero_grad": (
        LOOP, "Gradients are never cleared and pile up from step to step.",
        f"{_WILD} vanishing collapsed", "zero_grad gradients_pile_up",
        r"zero_grad|not cleared|never cleared|pile|accumulat",
    ),
    "gradients_cleared": (
        LOOP, "Gradients are cleared between the backward pass and the step.",
        _NOT_LEARNING, "zero_grad zero_gradients no_update", rf"zero_grad|cleared|{_UNTAUGHT}",
    ),
    "no_step": (
        LOOP, "The optimiser never makes a step.",
        _NOT_LEARNING, "no_optimiser_step no_optimizer_step no_update", r"\bstep\(\)|(no|not|never)\b.*\bstep",
    ),
    "no_backward": (
        LOOP, "There is no backward pass, so there are no gradients.",
        _NOT_LEARNING, "no_gradient detached no_update", rf"backward|{_UNTAUGHT}",
    ),
    "set_anew": (
        LOOP, "Weights are set anew, or loaded, while it trains, and what was learned is lost.",
        "not_learning oscillating exploding drifting", "weights_reset reinitialised weights_replaced",
        r"\banew\b|\bagain\b|re-?initiali|\breset|start(s|ed)? over|restored|loaded|overwritten|replaced",
    ),
    "dropout": (
        LOOP, "Dropout takes away so much that next to nothing is left to learn from.",
        f"{_FADED} exploding eval_shift", "dropout_of_everything dropout_left_on", r"dropout",
    ),
    "norm_in_eval": (
        LOOP, "A norm, or a whole model, is in evaluation mode while it trains, or its statistics are stale.",
        f"{_WILD} eval_shift vanishing", "stale_statistics running_statistics mode_dependence",
        r"\beval|running (mean|stat)|stale|\bmode\b",
    ),
    "stale_statistics": (
        LOOP, "What a norm remembers for evaluation is far from what it saw while it trained.",
        "eval_shift not_learning", "norm_in_eval running_statistics mode_dependence",
        r"running (mean|var|stat)|statistics|stale|momentum|evaluation",
    ),
    "zero_initialisation": (
        DEPTH, "Weights begin at zero, or all alike, so that all units stay the same.",
        _FADED, "initialisation weights_zero symmetric_initialisation",
        r"(initial|weights)\w*\b.*(zero|alike|same|equal|one number)|symmetr",
    ),
    "initialisation_too_large": (
        DEPTH, "Weights begin so large that outputs saturate or the loss is enormous.",
        f"{_WILD} outlier_channels collapsed", "initialisation", r"initial|weights\b.*(large|scale)",
    ),
    "initialisation_too_small": (
        DEPTH, "Weights begin so small that signals fade from layer to layer.",
        _FADED, "initialisation depth", r"initial|weights\b.*(small|scale)|fade",
    ),
    "dead_units": (
        DEPTH, "Units are dead: their gradients are zero for good.",
        _FADED, "initialisation dead", r"\bdead|bias|initial",
    ),
    "vanishing_depth": (
        DEPTH, "Many squashing layers, or steps in time, let the gradient vanish on the way.",
        _FADED, "depth activation_slope vanishing", r"vanish|depth|deep|squash|layer (after|by) layer|slope",
    ),
    "oversmoothing": (
        DEPTH, "Rounds of averaging, over neighbours or tokens, make all of them alike.",
        _FADED, "depth representation_collapse", r"averag|\bsmooth|\balike\b|depth|deep",
    ),
    "exploding_depth": (
        DEPTH, "Many layers, or steps in time, let signals or gradients grow on the way.",
        _WILD, "depth initialisation gain recurrence recurrent_unbounded",
        r"\bdepth|\bgain|initial|recurr|multiplies|\bbound",
    ),
    "unscaled_inputs": (
        INPUTS, "Inputs are far from unit scale, such as pixels from 0 to 255.",
        f"{_FED} vanishing", "inputs_not_normalised input_scale",
        r"(input|feature|pixel)s?\b.*(scale|normali|standardi|unit|reach)",
    ),
    "unequal_features": (
        INPUTS, "Features differ in scale by a thousand and more.",
        _FED, "inputs_not_normalised input_scale feature_scales",
        r"(input|feature|column)s?\b.*(scale|normali|standardi|differ)",
    ),
    "missing_values": (
        INPUTS, "Inputs contain NaN.",
        _FED, "inputs_not_finite",
        rf"{_FED_ONES}\w*\b.*{_NOT_FINITE}|{_NOT_FINITE}\b.*{_FED_ONES}",
    ),
    "missing_codes": (
        INPUTS, "Missing values are coded by a number such as -999.",
        _FED, "inputs_not_normalised input_scale missing_value_code",
        r"\bcode|missing|-9{3,}|(input|feature)s?\b.*(scale|normali|outlier)",
    ),
    "empty_inputs": (
        INPUTS, "Inputs are all zero, or constant, and say nothing.",
        f"{_FED} vanishing", "inputs_zero inputs_constant constant_input inputs_equal",
        r"(input|feature)s?\b.*(zero|constant|same|blank|empty|equal|alike)",
    ),
    "same_batch": (
        INPUTS, "The same batch, or the same few samples, come again and again.",
        f"{_UNFIT} constant collapsed", "repeated_batch inputs_equal",
        r"same (batch|samples?|inputs?)|again and again|repeat|identical",
    ),
    "sorted_data": (
        TARGETS, "The data is in the order of its classes and never shuffled, so that batches are of one class each.",
        f"{_UNFIT} oscillating drifting exploding eval_shift", "sorted_by_class sources_in_turns data_changed",
        r"\bsorted|\bin turns?|alternat|one class each|not shuffled",
    ),
    "constant_labels": (
        TARGETS, "All labels that come are the same.",
        f"{_UNFIT} constant collapsed saturated", "constant_targets",
        r"(label|target|class)\w*\b.*(same|constant|alike|only one|single)",
    ),
    "unbalanced_labels": (
        TARGETS, "One class is so rare that always answering the other is all that is learned.",
        f"{_UNFIT} constant collapsed", "imbalance class_imbalance unbalanced",
        r"balance|rare|majority|commonest|most (frequent|common)",
    ),
    "shuffled_labels": (
        TARGETS, "Labels, or inputs, were shuffled by themselves and no longer belong together.",
        _NOT_LEARNING, "constant_answer unrelated_targets",
        r"shuffl|belong|unrelated|nothing to do with|no (relation|signal)|constant answer",
    ),
    "target_scale": (
        TARGETS, "Targets of a regression are far from unit scale.",
        _FED, "targets_not_normalised", r"targets?\b.*(scale|normali|standardi|unit|large)",
    ),
    "padding_counted": (
        TARGETS, "Most targets are padding, which counts like all others, so that padding is all that is answered.",
        f"{_UNFIT} constant collapsed", "imbalance class_imbalance unbalanced unbalanced_labels",
        r"padd|ignore_index|balance|majority|commonest|most (frequent|common)",
    ),
    "bootstrapped_targets": (
        TARGETS, "Targets are made of the network's own answers, and run away with them.",
        _FED, "moving_targets target_scale diverging",
        r"bootstrap|own (answer|output|prediction|value)|target network|targets?\b.*(grow|run|drift|diverg|large|move)",
    ),
    "undefined_operation": (
        NUMBERS, "A root, a logarithm or a quotient meets zero, and it or its gradient is not finite.",
        f"{_WILD} underflow_risk", "numerics not_finite_update",
        r"\broot|sqrt|\blog(arithm)?s?\b|divi[ds]|quotient|epsilon|arccos|derivative|gradient\b.*(not finite|nan|inf)",
    ),
    "masked_rows": (
        NUMBERS, "A row of attention is masked altogether, and a softmax over nothing is NaN.",
        "non_finite not_learning", "masked_row numerics", r"mask|softmax over nothing|empty row|-inf",
    ),
    "exponential_overflows": (
        NUMBERS, "An exponential of what is too large is infinite.",
        _WILD, "log_variance dtype_range numerics overflow", r"exponential|\bexp\b|overflow",
    ),
    "number_range": (
        NUMBERS, "Numbers leave the range of the type that they are kept in, such as float16.",
        f"{_WILD} underflow_risk outlier_channels", "dtype_range optimizer_epsilon overflow underflow",
        r"float16|overflow|underflow|dtype|precision|epsilon|too (large|small) for|range of (a|the|its) (d?type|float)",
    ),
}  # fmt: skip

#: By name.
CAUSES: Final[dict[str, Cause]] = {
    name: Cause(kind, says, frozenset(conditions.split()), frozenset(also.split()) | {name}, words)
    for name, (kind, says, conditions, also, words) in _TABLE.items()
}
