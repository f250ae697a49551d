"""What the table of the zoo is made of: networks, faults, and the runs that they make together."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = [
    "LOST", "ONE_EXPERT", "RATE_BOUNDED", "RATE_RELU", "RATE_SMOOTH", "SGD",
    "Network", "Part", "Recipe", "Sick", "sick",
]  # fmt: skip

Part = Literal["tuning", "held-out", "tuning-2", "opened", "opened-3", "opened-4", "opened-5", "held-out-6"]


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

#: By what was planted: the kind of fault, the causes that are right, and those as well where it comes under way.
_PLANTED: Final[dict[str, tuple[str, str, str]]] = {
    "spread": ("initialisation", "initialisation", "learning_rate"),
    "scale": ("initialisation", "initialisation activation_slope depth", "learning_rate"),
    "shift": ("dead units", "initialisation", "learning_rate"),
    "channel": ("outlier channel", "learning_rate initialisation", ""),
    "alike": ("initialisation", "initialisation weights_zero", ""),
    "zero": ("frozen at zero", "weights_zero", ""),
    "rate": ("learning rate", "learning_rate", ""),
    "decay": ("weight decay", "weight_decay", ""),
    "units": ("inputs", "inputs_not_normalised", "data_changed"),
    "take_turns": ("data under way", "sources_in_turns inputs_not_normalised data_changed", ""),
    "blank": ("data under way", "inputs_zero inputs_equal data_changed", ""),
    "missing": ("not finite", "inputs_not_finite", ""),
    "empty": ("attention", "masked_row numerics", ""),
    "distance": ("not finite", "not_finite_update numerics", ""),
    "root": ("not finite", "not_finite_update numerics", ""),
    # That the loss is climbed, or gradients pile up, no activation tells from a rate that is too high.
    "climb": ("learning rate", "learning_rate", ""),
    "pile": ("learning rate", "learning_rate", ""),
    "repeat": ("inputs", "inputs_equal", ""),
    "shrink": ("number range", "dtype_range inputs_zero inputs_equal inputs_not_normalised", ""),
    "stale": ("evaluation", "running_statistics", ""),
    "garbage": ("not finite", "uninitialised_memory initialisation", ""),
    "sources": ("data under way", "sources_in_turns inputs_not_normalised data_changed", ""),
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
    unknown = "-" in causes
    for name, _ in rest.get("plants", ()):
        usual, from_start, under_way = _PLANTED.get(name, ("", "", ""))
        kind = kind or usual
        if not causes:
            # What happened to weights under way nobody who sees activations alone can tell for certain.
            causes = {*from_start.split()} if not rest.get("at") else {*from_start.split(), *under_way.split()}
            unknown = bool(rest.get("at")) and under_way == "learning_rate"
    if not causes and "rate" in rest.get("changes", {}):
        kind, causes = kind or "learning rate", {"learning_rate"}
    if rest.get("at") and any(name in _REPLACED for name, _ in rest.get("plants", ())):
        # Weights that were set by hand at a step, and what they put out from then on: no better word for it.
        conditions += " drifting"
        causes.add("weights_replaced")
    if "learning_rate" in causes:
        causes.add("rate_too_large")  # the same, as it is told of a loss
    places = layers.split()
    if places and any(name in _FED for name, _ in rest.get("plants", ())):
        places += ["input*", "*.input*"]  # of the model, or of the part that is given the data
    return Sick(
        network=network,
        fault=fault,
        says=says,
        conditions=frozenset(conditions.split()),
        kind=kind,
        causes=frozenset((causes - {"-"}) | ({""} if unknown else set())),
        layers=tuple(places),
        **rest,
    )
