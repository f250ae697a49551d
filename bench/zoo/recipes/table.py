"""What the table of the zoo is made of: networks, faults, and the runs that they make together."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = [
    "LOST", "ONE_EXPERT", "RATE_BOUNDED", "RATE_RELU", "RATE_SMOOTH", "SGD",
    "Network", "Part", "Recipe", "Sick", "sick",
]  # fmt: skip

Part = Literal["tuning", "held-out", "tuning-2", "opened", "opened-3", "opened-4", "opened-5", "opened-6", "held-out-7"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network and a training that suits it: a healthy control, as often as it has seeds.

    Attributes:
        name: its name in the zoo.
        part: the part that it belongs to.
        task: the name in `data.TASKS` of what it learns; "" where its program brings its own data.
        net: the name in `nets.NETS` of what makes it; "" where its program does.
        program: the name in `programs.PROGRAMS` of how it is trained.
        good: the skill from which on it counts as trained; None: the task's.
        options: what the network, or its program, is called with, besides the task's sizes.
        optimizer: the class name in `torch.optim`.
        rate: learning rate; `momentum` is that of SGD.
        steps, batch: training steps, and samples in each.
        warmup: steps over which the learning rate rises to its full value.
        cosine: whether it falls to zero by the last step.
        waves: times that it falls to a tenth and rises again; 0: never.
        clip: the norm to which gradients are clipped; 0: not at all.
        precision: "bfloat16" or "float16" autocast, float16 with a gradient scaler; "half": weights in float16.
        before: training steps before those that are watched, as of a network that was trained elsewhere.
        passes: forward and backward passes to one update.
        evaluate: steps from one pass in evaluation mode to the next; 0: none.
        gradients: whether gradients are watched as well.
        ways: faults that are none here, in its data or its weights: names in `faults.FAULTS`, with their arguments.
        flaws: conditions and patterns of layers of which it is true, though it learns well: a gate over one expert is
            always 1.
        seeds: of its weights and its order of samples.
    """

    name: str
    part: Part
    task: str = ""
    net: str = ""
    program: str = "supervised"
    good: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "Adam"
    rate: float = 3e-3
    momentum: float = 0.9
    steps: int = 300
    batch: int = 64
    warmup: int = 1
    cosine: bool = False
    waves: int = 0
    clip: float = 0.0
    precision: str = ""
    before: int = 0
    passes: int = 1
    evaluate: int = 0
    gradients: bool = False
    ways: tuple[tuple[str, dict[str, Any]], ...] = ()
    flaws: tuple[tuple[str, str], ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sick:
    """A fault in a network.

    Attributes:
        network: the name of the network that it is planted in.
        fault: its name.
        says: what was done, in words.
        kind: of fault, by which the results are told apart.
        conditions: the conditions that a fair judge may name.
        causes: the names of causes that a fair judge may give; "" is that it is unknown. Empty: any.
        layers: patterns of the layers that a fair judge may call the first culprit; empty where the fault is in all
            of them, and no layer is right or wrong.
        changes: fields of `Network` that are other than in the healthy one.
        plants: names in `faults.FAULTS`, each with its arguments.
        at: the step before which it is planted.
        slow: whether what it does builds up. Its onset is then the step from which on the loss is worse than the
            healthy twin's, otherwise it is `at`.
        certain: whether a part does nothing, by how it is made, though the network learns around it: it is sick
            whatever its skill and loss say.
        seeds: a part of the network's; empty for its first two.
    """

    network: str
    fault: str
    says: str
    conditions: frozenset[str]
    kind: str = ""
    causes: frozenset[str] = frozenset()
    layers: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    plants: tuple[tuple[str, dict[str, Any]], ...] = ()
    at: int = 0
    slow: bool = False
    certain: bool = False
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """One run: a network with one seed, healthy or with a fault."""

    network: Network
    seed: int
    sick: Sick | None = None

    @property
    def name(self) -> str:
        """Unique in the zoo."""
        fault = f"-{self.sick.fault}" if self.sick else ""
        return f"{self.network.name}{fault}-{self.seed}"

    @property
    def twin(self) -> "Recipe":
        """The same run without the fault."""
        return Recipe(self.network, self.seed)

    @property
    def training(self) -> Network:
        """The network with what the fault changes in it."""
        if self.sick is None:
            return self.network
        changes = dict(self.sick.changes)
        options = {**self.network.options, **changes.pop("options", {})}
        return dataclasses.replace(self.network, options=options, **changes)


#: A gate that shares out a sample among one expert: its softmax runs over one element, and nothing teaches the router.
ONE_EXPERT: Final = (("constant", "gate*"), ("dead", "gate*"))

SGD: Final[dict[str, Any]] = {"optimizer": "SGD", "rate": 0.05}

#: What a learning rate that is far too high ends in, by what the network is made of.
RATE_RELU: Final = "dead exploding non_finite"
RATE_BOUNDED: Final = "saturated exploding non_finite"
RATE_SMOOTH: Final = "exploding non_finite saturated dead vanishing constant collapsed"
#: What is left where the samples can be told apart no more.
LOST: Final = "vanishing constant dead collapsed"

#: What a rate that is too high, a loss that is climbed and gradients that pile up show in, whatever the network.
_TOO_FAST: Final = f"{RATE_SMOOTH} not_learning drifting oscillating overflow_risk"

#: By what was planted: the kind of fault, the causes that are right, and those as well where it comes under way.
_PLANTED: Final[dict[str, tuple[str, str, str]]] = {
    "spread": ("initialisation", "initialisation", "-"),
    "scale": ("initialisation", "initialisation depth", "-"),
    "shift": ("dead units", "initialisation", "-"),
    "channel": ("outlier channel", "learning_rate initialisation", ""),
    "alike": ("initialisation", "symmetric_initialisation initialisation", ""),
    "uniform": ("initialisation", "symmetric_initialisation initialisation", ""),
    "zero": ("frozen at zero", "weights_zero frozen initialisation", ""),
    "rate": ("learning rate", "learning_rate", ""),
    "decay": ("weight decay", "weight_decay", ""),
    "units": ("inputs", "inputs_not_normalised", "data_changed"),
    "take_turns": ("data under way", "sources_in_turns inputs_not_normalised data_changed", ""),
    "blank": ("data under way", "inputs_zero inputs_equal data_changed", ""),
    "missing": ("not finite", "inputs_not_finite", ""),
    "empty": ("attention", "masked_row numerics", ""),
    "distance": ("not finite", "not_finite_update numerics", ""),
    "root": ("not finite", "not_finite_update numerics", ""),
    # A lower rate mends neither a loss that is climbed nor gradients that pile up.
    "climb": ("learning rate", "wrong_sign wrong_loss -", ""),
    "pile": ("learning rate", "no_zero_grad", ""),
    "wipe": ("not learning", "gradients_cleared zero_gradients no_gradient no_update", ""),
    "repeat": ("inputs", "inputs_equal same_batch", "data_changed"),
    "shrink": ("number range", "dtype_range inputs_zero inputs_equal inputs_not_normalised", ""),
    "stale": ("evaluation", "running_statistics", ""),
    "garbage": ("not finite", "uninitialised_memory initialisation", ""),
    "sources": ("data under way", "sources_in_turns inputs_not_normalised data_changed", ""),
    "creep": ("data under way", "data_changed inputs_not_normalised", ""),
    "wrapped": ("inputs", "inputs_not_normalised", ""),
    "logarithms": ("not finite", "inputs_not_finite numerics", ""),
}

#: By what was planted: conditions that are as true of it, beside those that its recipe names. The loss tells what the
#: whole training suffers from; what ails a layer alone is told of that layer.
_TRUE_TOO: Final[dict[str, str]] = {
    "decay": f"{LOST} not_learning",
    "units": "exploding saturated not_learning",
    "creep": "not_learning",
    "wrapped": "not_learning",
    "take_turns": "oscillating exploding drifting",
    "sources": "oscillating exploding drifting",
    **dict.fromkeys(("blank", "repeat", "shrink"), f"{LOST} not_learning"),
    **dict.fromkeys(("missing", "logarithms", "distance", "root", "unknown", "wipe", "uniform"), "not_learning"),
}

#: Other names of causes that say the same, or say it of the loss.
_SAME: Final[dict[str, str]] = {
    "learning_rate": "rate_too_large updates_too_large diverging",
    "rate_too_small": "updates_too_small",
    "no_zero_grad": "zero_grad gradients_pile_up",
    "weight_decay": "weights_shrinking",
    "weights_replaced": "set_anew weights_reset",
    "not_in_optimiser": "missing_from_optimiser trained_a_copy",
    "inputs_not_normalised": "input_scale unscaled_inputs",
    "inputs_zero": "empty_inputs",
    "inputs_equal": "inputs_constant",
    "inputs_not_finite": "missing_values",
    "posterior_collapse": "term_outweighs",
    "sparsity_penalty": "term_outweighs",
    "discriminator_wins": "adversary_wins",
    "softmax_of_one": "softmax_over_one_unit",
    "running_statistics": "stale_statistics",
    "dropout": "dropout_of_everything",
}

#: What sets weights, where it comes under way.
_REPLACED: Final = frozenset({"spread", "scale", "shift", "channel", "zero"})
#: What is planted in the data: the model's input is then a right place too.
_FED: Final = frozenset({
    "units", "take_turns", "blank", "missing", "empty", "repeat", "shrink", "sources", "creep", "unknown", "wrapped",
    "logarithms",
})  # fmt: skip


def sick(network: str, fault: str, says: str, conditions: str, layers: str = "", **rest: Any) -> Sick:
    """A fault, its conditions, layers and causes as words; what is planted tells `kind` and `causes`, if not given."""
    kind, causes = rest.pop("kind", ""), set(rest.pop("causes", "").split())
    planted = [name for name, _ in rest.get("plants", ())]
    late, changes = bool(rest.get("at")), rest.get("changes", {})
    for name in planted:
        usual, from_start, under_way = _PLANTED.get(name, ("", "", ""))
        kind = kind or usual
        causes = causes or {*from_start.split(), *(under_way.split() if late else ())}
        if late and name in _REPLACED:
            # Weights that were set by hand at a step, and what they put out from then on: no better word for it. They
            # began sound, and no other rate mends it: an update that is too large moves all layers. But of one channel
            # it is said by "initialisation" that its weights are far larger than the others'.
            causes |= {"weights_replaced", *under_way.split()}
            causes -= {"learning_rate"} if name == "channel" else {"learning_rate", "initialisation", "depth"}
            conditions += " drifting"
        conditions += " " + _TRUE_TOO.get(name, "")
    if not causes and "rate" in changes:
        kind, causes = kind or "learning rate", {"learning_rate"}
    fed = "task" in changes or any(name in _FED for name in planted)
    told = {*conditions.split()}
    if "task" in changes:
        told |= {*_TRUE_TOO["units"].split()}
    if late and fed and not {"missing", "empty"} & {*planted}:
        told |= {"drifting"}
    if "shift" in planted and "dead" in told:
        told |= {"constant", "vanishing"}  # biases alone come out, or nothing does
    if kind == "learning rate":
        told |= {*_TOO_FAST.split()}
    if kind == "depth" or (not layers and kind != "evaluation"):
        told |= {"not_learning"}  # the fault is in all of the training
    if {"vanishing", "constant"} <= told and not layers:
        told |= {"collapsed"}
    causes = causes.union(*(_SAME.get(name, "").split() for name in causes))
    places = layers.split()
    if places and fed:
        places += ["input*", "*.input*"]  # of the model, or of the part that is given the data
    if places and "not_learning" in told:
        places += ["loss*"]  # which is where it is told
    return Sick(
        network=network,
        fault=fault,
        says=says,
        conditions=frozenset(told),
        kind=kind,
        causes=frozenset("" if name == "-" else name for name in causes),
        layers=tuple(places),
        **rest,
    )
