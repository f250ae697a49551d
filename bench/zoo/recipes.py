"""The table of the zoo: networks that train well, and what is done to them.

The two parts were fixed before anything was tuned: no rule and no threshold was ever chosen by what the held-out part
says. It has other networks, other data and other seeds.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = ["NETWORKS", "SICK", "Network", "Part", "Recipe", "Sick", "recipes"]

Part = Literal["tuning", "held-out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network and a training that suits it: a healthy control, as often as it has seeds.

    Attributes:
        name: its name in the zoo.
        part: the part that it belongs to.
        task: the name in `data.TASKS` of what it learns.
        net: the name in `nets.NETS` of what makes it.
        options: what that is called with, besides the task's sizes.
        optimizer: the class name in `torch.optim`.
        rate: learning rate; `momentum` is that of SGD.
        steps, batch: training steps, and samples in each.
        warmup: steps over which the learning rate rises to its full value.
        cosine: whether it falls to zero by the last step.
        clip: the norm to which gradients are clipped; 0: not at all.
        precision: "bfloat16" or "float16" autocast; float16 with a gradient scaler.
        before: training steps before those that are watched, as of a network that was trained elsewhere.
        seeds: of its weights and its order of samples.
    """

    name: str
    part: Part
    task: str
    net: str
    options: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "Adam"
    rate: float = 3e-3
    momentum: float = 0.9
    steps: int = 300
    batch: int = 64
    warmup: int = 1
    cosine: bool = False
    clip: float = 0.0
    precision: str = ""
    before: int = 0
    seeds: tuple[int, ...] = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sick:
    """A fault in a network.

    Attributes:
        network: the name of the network that it is planted in.
        fault: its name.
        says: what was done, in words.
        conditions: the conditions that a fair judge may name.
        layers: patterns of the layers that a fair judge may call the first culprit; empty where the fault is in all
            of them, and no layer is right or wrong.
        changes: fields of `Network` that are other than in the healthy one.
        plants: names in `faults.FAULTS`, each with its arguments.
        at: the step before which it is planted.
        slow: whether what it does builds up. Its onset is then the step from which on the loss is worse than the
            healthy twin's, otherwise it is `at`.
        seeds: a part of the network's; empty for its first two.
    """

    network: str
    fault: str
    says: str
    conditions: frozenset[str]
    layers: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    plants: tuple[tuple[str, dict[str, Any]], ...] = ()
    at: int = 0
    slow: bool = False
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


def _tuning(name: str, task: str, net: str, **settings: Any) -> Network:
    return Network(name=name, part="tuning", task=task, net=net, **settings)


def _held_out(name: str, task: str, net: str, **settings: Any) -> Network:
    return Network(name=name, part="held-out", task=task, net=net, **{"seeds": (10, 11, 12, 13, 14, 15), **settings})


_SGD: Final[dict[str, Any]] = {"optimizer": "SGD", "rate": 0.05}

NETWORKS: Final = (
    _tuning("mlp-relu", "digits", "mlp", **_SGD),
    _tuning("mlp-tanh", "digits", "mlp", options={"act": "Tanh", "init": "xavier"}, **_SGD),
    _tuning("mlp-sigmoid", "digits", "mlp", options={"act": "Sigmoid", "init": "xavier", "depth": 2}, rate=0.01),
    _tuning("mlp-dropout", "digits", "mlp", options={"width": 128, "depth": 2, "dropout": 0.5}),
    _tuning("mlp-deep-batchnorm", "digits", "mlp", options={"depth": 6, "norm": "batch"}, **_SGD),
    _tuning("mlp-deep-relu", "digits", "mlp", options={"depth": 10}, optimizer="SGD", rate=0.01),
    _tuning("mlp-fine-tuned", "digits", "mlp", options={"act": "GELU"}, rate=3e-4, before=300, steps=120),
    _tuning("mlp-bfloat16", "digits", "mlp", options={"act": "GELU"}, precision="bfloat16", rate=2e-3),
    _tuning(
        "mlp-leaky", "diabetes", "mlp",
        options={"act": "LeakyReLU", "depth": 2, "width": 24}, rate=1e-3, steps=150, seeds=(1, 2, 4, 5),
    ),
    _tuning("mlp-seabed", "seabed", "mlp", options={"act": "Tanh", "init": "xavier"}, rate=3e-3, steps=300),
    _tuning("cnn-relu", "digit_images", "cnn", steps=150),
    _tuning("cnn-batchnorm", "digit_images", "cnn", options={"norm": True, "dropout": 0.3}, **_SGD, steps=150),
    _tuning(
        "lstm-rows", "digit_rows", "recurrent",
        options={"cell": "LSTM", "symbols": False, "each": False}, rate=0.01,
    ),
    _tuning("gru-text", "reference_text", "recurrent", options={"width": 48}, rate=0.01, batch=32, clip=1.0),
    _tuning(
        "transformer-text", "reference_text", "transformer",
        optimizer="AdamW", rate=5e-3, batch=32, warmup=20, cosine=True, clip=1.0,
    ),
    _tuning("mixture", "seabed", "mixture", options={"hidden": 8, "top": 1}, batch=256, rate=0.01, steps=400),
    _tuning("resnet", "digits", "resnet"),
    _tuning("resnet-zero", "digits", "resnet", options={"blocks": 8, "gain": 0.0, "act": "ReLU"}, cosine=True),
    _tuning("mlp-small-batch", "digits", "mlp", options={"act": "ReLU", "depth": 2}, batch=4, rate=1e-3, steps=400),
    _tuning("mlp-raw-target", "diabetes_raw", "mlp", options={"depth": 2, "width": 24}, rate=0.01),
    _tuning("copier", "digit_copies", "mlp", options={"act": "Tanh", "init": "xavier", "last": "Sigmoid"}, steps=400),
    _tuning("mlp-metres", "seabed_raw", "mlp", options={"act": "ReLU", "depth": 3}, rate=0.02, steps=400),
    _tuning("mlp-hardtanh", "digits", "mlp", options={"act": "Hardtanh", "init": "xavier"}, **_SGD),
    _tuning("mlp-float16", "digits", "mlp", options={"act": "ReLU", "width": 80}, precision="float16", rate=2e-3),
    _tuning("mlp-long", "digits", "mlp", options={"act": "ReLU", "depth": 2}, rate=1e-3, steps=1200, cosine=True),
    _tuning("separable", "digit_images", "separable", options={"groups": 2}, rate=0.01),
    _tuning("mixer", "digit_images", "mixer", options={"places": 4, "act": "ReLU"}),
    _tuning("unet", "digit_denoise", "unet", options={"act": "ReLU"}, rate=5e-3, batch=32, steps=160),
    _tuning("rnn-rows", "digit_rows", "recurrent", options={"cell": "RNN", "symbols": False, "each": False}),
    _tuning(
        "postnorm-text", "text_or_code", "transformer",
        options={"pre": False, "each": False, "blank": True, "blocks": 1}, rate=2e-3, warmup=20, batch=24, steps=120,
    ),
    _tuning("highway", "seabed", "highway", options={"act": "ReLU", "blocks": 3}, rate=5e-3),
    _tuning("coder-narrow", "digit_copies", "coder", options={"code": 16, "act": "SiLU"}, steps=400),
    _tuning("cnn-squeeze", "digit_images", "cnn", options={"squeeze": True}, steps=200),
    _tuning("bag-text", "text_or_code", "bag", rate=0.02),
    _tuning("coder", "digits", "coder"),

    _held_out("elu-cancer", "cancer", "mlp", options={"act": "ELU", "depth": 4, "width": 40}, **_SGD),
    _held_out("relu-wide-cancer", "cancer", "mlp", options={"width": 256}, optimizer="AdamW", rate=1e-3, cosine=True),
    _held_out("softsign-wine", "wine", "mlp", options={"act": "Softsign", "init": "xavier"}, **_SGD, batch=32),
    _held_out("mish-wine", "wine", "mlp", options={"act": "Mish", "norm": "layer", "depth": 5, "width": 32}, batch=32),
    _held_out("cancer-float16", "cancer", "mlp", options={"act": "SiLU", "width": 48}, precision="float16", rate=2e-3),
    _held_out("separable-patches", "patches", "separable", rate=5e-3, batch=48, steps=160),
    _held_out("selu-patches", "patches", "cnn", options={"act": "SELU", "channels": (12, 24)}, steps=160, rate=2e-3),
    _held_out("mixer-patches", "patches", "mixer", steps=160, rate=3e-3),
    _held_out("unet-denoise", "denoise", "unet", rate=5e-3, batch=32, steps=160),
    _held_out(
        "rnn-source", "source_text", "recurrent",
        options={"cell": "RNN", "layers": 2, "width": 56}, rate=3e-3, batch=32, clip=1.0,
    ),
    _held_out(
        "bilstm-modules", "which_module", "recurrent",
        options={"cell": "LSTM", "both": True, "each": False, "width": 32}, rate=0.01, batch=32,
    ),
    _held_out(
        "postnorm-modules", "which_module", "transformer",
        options={"pre": False, "act": "ReLU", "each": False, "blank": True, "dropout": 0.1},
        rate=1e-3, batch=24, warmup=20, steps=250,
    ),
    _held_out(
        "transformer-source-bfloat16", "source_text", "transformer",
        options={"blocks": 4, "act": "SiLU", "width": 24}, rate=4e-3, batch=24, warmup=20, precision="bfloat16",
        clip=1.0,
    ),
    _held_out("highway-fault-line", "fault_line", "highway", rate=5e-3, steps=300),
    _held_out(
        "resnet-fault-line", "fault_line", "resnet",
        options={"act": "ReLU", "norm": "batch", "blocks": 8, "width": 32}, rate=3e-3,
    ),
    _held_out(
        "mixture-fault-line", "fault_line", "mixture",
        options={"experts": 6, "act": "ReLU", "hidden": 8, "top": 1}, batch=192, rate=0.01, steps=400,
    ),
    _held_out("metres-fault-line", "fault_line_raw", "mlp", options={"act": "SiLU", "depth": 2}, rate=0.03, steps=400),
    _held_out(
        "squeeze-patches", "patches", "cnn",
        options={"squeeze": True, "norm": True, "act": "LeakyReLU"}, steps=160,
    ),
    _held_out(
        "small-batch-cancer", "cancer", "mlp", options={"act": "GELU", "depth": 2}, batch=6, rate=1e-3, steps=400
    ),
    _held_out("fine-tuned-wine", "wine", "mlp", options={"act": "ReLU"}, rate=3e-4, before=200, steps=150),
    _held_out(
        "coder-wine", "wine", "coder", options={"act": "Softplus", "width": 32, "code": 4}, batch=48, rate=0.01
    ),
)  # fmt: skip


def _sick(network: str, fault: str, says: str, conditions: str, layers: str = "", **rest: Any) -> Sick:
    return Sick(
        network=network,
        fault=fault,
        says=says,
        conditions=frozenset(conditions.split()),
        layers=tuple(layers.split()),
        **rest,
    )


#: What a learning rate that is far too high ends in, by what the network is made of.
_RATE_RELU: Final = "dead exploding non_finite"
_RATE_BOUNDED: Final = "saturated exploding non_finite"
_RATE_SMOOTH: Final = "exploding non_finite saturated dead vanishing constant"
#: What is left where the samples can be told apart no more.
_LOST: Final = "vanishing constant dead"

_TUNING_SICK: Final = (
    _sick("mlp-relu", "bias", "the second layer's biases start at -10", "dead", "fc2 act2",
          plants=(("shift", {"layers": "fc2", "value": -10.0}),)),
    _sick("mlp-relu", "most-biases", "nine tenths of the second layer's biases start at -10", "dead", "fc2 act2",
          plants=(("shift", {"layers": "fc2", "value": -10.0, "share": 0.95}),)),
    _sick("mlp-relu", "late-bias", "the third layer's biases become -20 at step 100", "dead", "fc3 act3",
          plants=(("shift", {"layers": "fc3", "value": -20.0}),), at=100),
    _sick("mlp-relu", "adam-rate", "Adam with a learning rate of 0.2", _RATE_RELU,
          changes={"optimizer": "Adam", "rate": 0.2}, slow=True),
    _sick("mlp-relu", "adam-rate-mild", "Adam with a learning rate of 0.05", _RATE_RELU,
          changes={"optimizer": "Adam", "rate": 0.05}, slow=True),
    _sick("mlp-relu", "sgd-rate", "SGD with a learning rate of 2", _RATE_RELU + " constant vanishing",
          changes={"rate": 2.0}, slow=True),
    _sick("mlp-relu", "raw-rate", "pixels times 100, not standardised", _RATE_RELU + " constant vanishing",
          plants=(("units", {"factor": 100.0, "offset": 300.0}),), slow=True),
    _sick("mlp-relu", "climb", "the loss is maximised", "exploding non_finite dead",
          plants=(("climb", {}),), at=60, slow=True),
    _sick("mlp-relu", "missing", "one input is NaN from step 100 on", "non_finite", "fc1",
          plants=(("missing", {}),), at=100),
    _sick("mlp-relu", "distance", "a penalty with a root of zero on the second layer at step 80", "non_finite", "fc2",
          plants=(("distance", {"layers": "fc2"}),), at=80),
    _sick("mlp-relu", "blank", "inputs are zero from step 100 on", "constant vanishing dead drifting", "fc1 act1",
          plants=(("blank", {}),), at=100),
    _sick("mlp-tanh", "spread", "weights from N(0, 1)", "saturated", "fc1 act1",
          plants=(("spread", {"layers": "fc*", "std": 1.0}),)),
    _sick("mlp-tanh", "spread-mild", "weights from N(0, 0.6)", "saturated", "fc1 act1",
          plants=(("spread", {"layers": "fc*", "std": 0.6}),)),
    _sick("mlp-tanh", "middle-scale", "the second layer's weights times 40", "saturated", "fc2 act2",
          plants=(("scale", {"layers": "fc2", "factor": 40.0}),)),
    _sick("mlp-tanh", "units", "inputs times 200 from step 100 on", "saturated drifting", "fc1 act1",
          plants=(("units", {"factor": 200.0}),), at=100),
    _sick("mlp-tanh", "small", "weights times 0.01", "vanishing constant",
          plants=(("scale", {"layers": "fc*", "factor": 0.01}),)),
    _sick("mlp-sigmoid", "deep", "12 layers of sigmoid", "vanishing constant",
          changes={"options": {"depth": 12}}),
    _sick("mlp-sigmoid", "deep-6", "6 layers of sigmoid", "vanishing constant", changes={"options": {"depth": 6}}),
    _sick("mlp-sigmoid", "rate", "a learning rate of 1", "saturated exploding non_finite constant",
          changes={"rate": 1.0}, slow=True),
    _sick("mlp-deep-relu", "rate", "a learning rate of 1 after a warm-up", _RATE_RELU + " constant vanishing",
          changes={"rate": 1.0, "warmup": 80}, slow=True),
    _sick("mlp-deep-relu", "small", "weights times 0.2", _LOST,
          plants=(("scale", {"layers": "fc*", "factor": 0.2}),)),
    _sick("mlp-deep-relu", "large-mild", "weights times 2", "exploding non_finite dead",
          plants=(("scale", {"layers": "fc*", "factor": 2.0}),)),
    _sick("mlp-deep-relu", "large", "weights times 4", "exploding non_finite dead",
          plants=(("scale", {"layers": "fc*", "factor": 4.0}),)),
    _sick("mlp-deep-batchnorm", "no-norm-rate", "without batch normalisation and at ten times the rate",
          _RATE_RELU + " constant vanishing", changes={"options": {"norm": ""}, "rate": 0.5}, slow=True),
    _sick("mlp-dropout", "decay", "a weight decay of 5", _LOST, plants=(("decay", {"value": 5.0}),), slow=True),
    _sick("mlp-bfloat16", "rate", "a learning rate of 1", _RATE_SMOOTH, changes={"rate": 1.0}, slow=True),
    _sick("mlp-bfloat16", "late-bias", "the second layer's biases become -100 at step 80", "dead", "fc2 act2",
          plants=(("shift", {"layers": "fc2", "value": -100.0}),), at=80),
    _sick("mlp-leaky", "pile", "gradients are never cleared", "exploding non_finite drifting",
          plants=(("pile", {}),), changes={"optimizer": "SGD", "rate": 0.05}, slow=True),
    _sick("mlp-seabed", "spread", "weights from N(0, 2)", "saturated", "fc1 act1",
          plants=(("spread", {"layers": "fc*", "std": 2.0}),)),
    _sick("cnn-relu", "rate", "a learning rate of 0.3", _RATE_RELU + " constant vanishing",
          changes={"rate": 0.3}, slow=True),
    _sick("cnn-relu", "bias", "the second convolution's biases start at -30", "dead", "conv2 act2",
          plants=(("shift", {"layers": "conv2", "value": -30.0}),)),
    _sick("cnn-relu", "frozen", "the first convolution is zero and frozen", "dead constant vanishing",
          "conv1 act1", plants=(("zero", {"layers": "conv1"}),)),
    _sick("lstm-rows", "units", "inputs times 500", "saturated exploding", "embed rnn*",
          plants=(("units", {"factor": 500.0}),)),
    _sick("gru-text", "rate", "a learning rate of 3, gradients not clipped", _RATE_BOUNDED,
          changes={"rate": 3.0, "clip": 0.0}, slow=True),
    _sick("gru-text", "root", "a penalty on the root of the head's weights", "non_finite", "head",
          plants=(("root", {"layers": "head"}),), changes={"clip": 0.0}, at=60),
    _sick("transformer-text", "no-norm", "no normalisation and ten times the rate, gradients not clipped",
          _RATE_SMOOTH, changes={"options": {"norm": False}, "rate": 0.1, "clip": 0.0}, slow=True),
    _sick("transformer-text", "embedding", "all symbols have the same embedding, which is frozen",
          "constant vanishing dead", "embed", plants=(("zero", {"layers": "embed"}),)),
    _sick("mixture", "experts", "all experts' biases become -40 at step 150", "dead", "experts.*.up experts.*.act",
          plants=(("shift", {"layers": "experts.*.up", "value": -40.0}),), at=150),
    _sick("resnet", "no-skip", "20 blocks without the residual sum and without normalisation", _LOST,
          changes={"options": {"skip": False, "norm": "", "blocks": 20}}),
    _sick("bag-text", "rate", "a learning rate of 30", _RATE_RELU + " constant", changes={"rate": 30.0}, slow=True),
    _sick("mlp-float16", "units", "inputs times 50,000 from step 100 on", "non_finite overflow_risk exploding",
          "fc1 act1 fc2", plants=(("units", {"factor": 50000.0}),), at=100),
    _sick("separable", "rate", "a learning rate of 5", _RATE_RELU + " saturated constant vanishing",
          changes={"rate": 5.0}, slow=True),
    _sick("rnn-rows", "spread", "recurrent weights from N(0, 2)", "saturated", "rnn*",
          plants=(("spread", {"layers": "rnn", "std": 2.0}),)),
    _sick("unet", "frozen", "the way in is zero and frozen at step 60", "dead constant vanishing", "enter act1",
          plants=(("zero", {"layers": "enter"}),), at=60),
    _sick("mixer", "missing", "one input is NaN from step 50 on", "non_finite", "embed",
          plants=(("missing", {}),), at=50),
    _sick("highway", "rate", "a learning rate of 2", _RATE_RELU + " constant vanishing saturated",
          changes={"rate": 2.0}, slow=True),
    _sick("postnorm-text", "rate", "a learning rate of 0.5", _RATE_SMOOTH, changes={"rate": 0.5}, slow=True),
    _sick("transformer-text", "distance", "a penalty with a root of zero on a layer at step 100", "non_finite",
          "blocks.1.fc1", plants=(("distance", {"layers": "blocks.1.fc1"}),), at=100, changes={"clip": 0.0}),
    _sick("cnn-batchnorm", "frozen", "the second convolution is zero and frozen", "dead constant vanishing",
          "conv2 norm2", plants=(("zero", {"layers": "conv2"}),)),
    _sick("mlp-deep-batchnorm", "shift", "the third norm's offsets start at -20", "dead", "norm3 act3",
          plants=(("shift", {"layers": "norm3", "value": -20.0}),)),
    _sick("mlp-hardtanh", "spread", "weights from N(0, 2)", "saturated", "fc1 act1",
          plants=(("spread", {"layers": "fc*", "std": 2.0}),)),
    _sick("gru-text", "embedding", "the embedding is zero and frozen", "dead constant vanishing", "embed",
          plants=(("zero", {"layers": "embed"}),)),
    _sick("mlp-leaky", "climb", "the loss is maximised from step 60 on", "exploding non_finite drifting",
          plants=(("climb", {}),), at=60, slow=True),
    _sick("mixer", "blank", "inputs are zero from step 60 on", "constant vanishing dead drifting", "embed",
          plants=(("blank", {}),), at=60),
    _sick("mlp-metres", "late-bias", "the second layer's biases become -5000 at step 200", "dead exploding",
          "fc2 act2",
          plants=(("shift", {"layers": "fc2", "value": -5000.0}),), at=200),
    _sick("coder", "decay", "a weight decay of 5", _LOST, plants=(("decay", {"value": 5.0}),), slow=True),
    _sick("highway", "spread", "weights of the branches from N(0, 30)", "exploding dead saturated",
          "block*",
          plants=(("spread", {"layers": "block*.fc", "std": 30.0}),)),
    _sick("mlp-bfloat16", "channel", "one neuron's weights of the second layer become 1000 times as large at step 40",
          "outlier_channels exploding", "fc2", plants=(("channel", {"layers": "fc2", "factor": 1000.0}),), at=40),
    _sick("transformer-text", "channel", "a channel's weights in the first block become 1000 times as large at step 80",
          "outlier_channels exploding", "blocks.0.fc2",
          plants=(("channel", {"layers": "blocks.0.fc2", "factor": 1000.0}),), at=80),
    _sick("mlp-bfloat16", "turns", "every second batch is 20 times as large from step 60 on", "oscillating", "fc1",
          plants=(("take_turns", {"factor": 20.0}),), at=60),
    _sick("resnet", "turns", "every second batch is 20 times as large from step 60 on", "oscillating", "stem",
          plants=(("take_turns", {"factor": 20.0}),), at=60),
    _sick("coder", "deviation", "the logarithm of the variance starts at 200", "non_finite exploding", "logvar exp",
          plants=(("shift", {"layers": "logvar", "value": 200.0}),)),
)  # fmt: skip

_HELD_OUT_SICK: Final = (
    _sick("elu-cancer", "rate", "a learning rate of 20", _RATE_SMOOTH, changes={"rate": 20.0}, slow=True),
    _sick("elu-cancer", "rate-mild", "a learning rate of 3", _RATE_SMOOTH, changes={"rate": 3.0}, slow=True),
    _sick("elu-cancer", "raw", "features as they are loaded, from thousandths to thousands", _RATE_SMOOTH,
          changes={"task": "cancer_raw"}, slow=True),
    _sick("relu-wide-cancer", "bias", "the third layer's biases start at -15", "dead", "fc3 act3",
          plants=(("shift", {"layers": "fc3", "value": -15.0}),)),
    _sick("relu-wide-cancer", "rate", "a learning rate of 1", _RATE_RELU + " constant vanishing",
          changes={"rate": 1.0}, slow=True),
    _sick("relu-wide-cancer", "rate-mild", "a learning rate of 0.1", _RATE_RELU + " constant vanishing",
          changes={"rate": 0.1}, slow=True),
    _sick("relu-wide-cancer", "most-biases", "95% of the second layer's biases start at -15", "dead", "fc2 act2",
          plants=(("shift", {"layers": "fc2", "value": -15.0, "share": 0.95}),)),
    _sick("relu-wide-cancer", "late-bias", "the first layer's biases become -50 at step 120", "dead", "fc1 act1",
          plants=(("shift", {"layers": "fc1", "value": -50.0}),), at=120, seeds=(10, 12)),
    _sick("relu-wide-cancer", "frozen", "the second layer is zero and frozen", "dead constant vanishing", "fc2 act2",
          plants=(("zero", {"layers": "fc2"}),)),
    _sick("relu-wide-cancer", "distance", "a penalty with a root of zero on the third layer at step 90",
          "non_finite", "fc3", plants=(("distance", {"layers": "fc3"}),), at=90),
    _sick("softsign-wine", "spread", "weights from N(0, 30)", "saturated", "fc1 act1",
          plants=(("spread", {"layers": "fc*", "std": 30.0}),)),
    _sick("softsign-wine", "spread-mild", "weights from N(0, 8)", "saturated", "fc1 act1",
          plants=(("spread", {"layers": "fc*", "std": 8.0}),)),
    _sick("softsign-wine", "raw", "features as they are loaded, and weights ten times as large", "saturated",
          "fc1 act1", changes={"task": "wine_raw"}, plants=(("scale", {"layers": "fc1", "factor": 10.0}),)),
    _sick("softsign-wine", "small", "weights times 0.01", "vanishing constant",
          plants=(("scale", {"layers": "fc*", "factor": 0.01}),)),
    _sick("mish-wine", "frozen", "the third layer is zero and frozen", "dead constant vanishing", "fc3 norm3",
          plants=(("zero", {"layers": "fc3"}),)),
    _sick("mish-wine", "missing", "one input is NaN from step 70 on", "non_finite", "fc1",
          plants=(("missing", {}),), at=70),
    _sick("cancer-float16", "units", "inputs times 30,000 from step 100 on", "non_finite overflow_risk exploding",
          "fc1 act1 fc2", plants=(("units", {"factor": 30000.0}),), at=100),
    _sick("cancer-float16", "large", "weights times 60", "non_finite overflow_risk exploding", "fc2 fc3 head",
          plants=(("scale", {"layers": "*", "factor": 60.0}),)),
    _sick("separable-patches", "rate", "a learning rate of 3", _RATE_RELU + " saturated constant vanishing",
          changes={"rate": 3.0}, slow=True),
    _sick("separable-patches", "shift", "the last norm's offsets start at -20", "dead",
          "norm3 act3", plants=(("shift", {"layers": "norm3", "value": -20.0}),)),
    _sick("selu-patches", "climb", "the loss is maximised from step 60 on", "exploding non_finite drifting",
          plants=(("climb", {}),), at=60, slow=True),
    _sick("selu-patches", "large", "weights times 100", "exploding non_finite overflow_risk",
          plants=(("scale", {"layers": "*", "factor": 100.0}),)),
    _sick("mixer-patches", "rate", "a learning rate of 3", _RATE_SMOOTH, changes={"rate": 3.0}, slow=True),
    _sick("mixer-patches", "blank", "inputs are zero from step 80 on", "constant vanishing dead drifting", "embed",
          plants=(("blank", {}),), at=80),
    _sick("unet-denoise", "rate", "a learning rate of 3", _RATE_SMOOTH + " drifting", changes={"rate": 3.0},
          slow=True),
    _sick("unet-denoise", "frozen", "the way in is zero and frozen", "dead constant vanishing", "enter act1",
          plants=(("zero", {"layers": "enter"}),)),
    _sick("unet-denoise", "missing", "one input is NaN from step 50 on", "non_finite", "enter",
          plants=(("missing", {}),), at=50),
    _sick("rnn-source", "spread", "recurrent weights from N(0, 3)", "saturated", "rnn*",
          plants=(("spread", {"layers": "rnn", "std": 3.0}),)),
    _sick("rnn-source", "spread-mild", "recurrent weights from N(0, 1)", "saturated", "rnn*",
          plants=(("spread", {"layers": "rnn", "std": 1.0}),)),
    _sick("rnn-source", "rate", "a learning rate of 1, gradients not clipped", _RATE_BOUNDED,
          changes={"rate": 1.0, "clip": 0.0}, slow=True),
    _sick("bilstm-modules", "embedding", "the embedding is zero and frozen", "dead constant vanishing", "embed",
          plants=(("zero", {"layers": "embed"}),)),
    _sick("bilstm-modules", "root", "a penalty on the root of the head's weights", "non_finite",
          "head", plants=(("root", {"layers": "head"}),), at=100),
    _sick("postnorm-modules", "rate", "a learning rate of 0.3", _RATE_SMOOTH, changes={"rate": 0.3}, slow=True),
    _sick("postnorm-modules", "no-norm-rate", "no normalisation, at 300 times the rate", _RATE_SMOOTH,
          changes={"options": {"norm": False}, "rate": 0.3}, slow=True),
    _sick("transformer-source-bfloat16", "no-norm", "no normalisation, at 25 times the rate, not clipped",
          _RATE_SMOOTH, changes={"options": {"norm": False}, "rate": 0.1, "clip": 0.0}, slow=True),
    _sick("transformer-source-bfloat16", "distance", "a penalty with a root of zero on a layer at step 100",
          "non_finite", "blocks.1.fc1", plants=(("distance", {"layers": "blocks.1.fc1"}),), at=100,
          changes={"clip": 0.0}),
    _sick("highway-fault-line", "spread", "weights of the branches from N(0, 30)", "saturated",
          "block1.fc block1.act", plants=(("spread", {"layers": "block*.fc", "std": 30.0}),)),
    _sick("highway-fault-line", "units", "inputs times 300 from step 150 on", "saturated drifting exploding",
          "stem block1.*", plants=(("units", {"factor": 300.0}),), at=150),
    _sick("resnet-fault-line", "no-skip", "24 blocks without residual sums and normalisation", _LOST,
          changes={"options": {"skip": False, "norm": "", "blocks": 24}}),
    _sick("resnet-fault-line", "no-skip-mild", "12 blocks without residual sums and normalisation", _LOST,
          changes={"options": {"skip": False, "norm": "", "blocks": 12}}),
    _sick("resnet-fault-line", "rate", "no normalisation, at 100 times the rate", _RATE_RELU + " constant vanishing",
          changes={"options": {"norm": ""}, "rate": 0.3}, slow=True),
    _sick("mixture-fault-line", "experts", "all experts' biases start at -40", "dead", "experts.*.up experts.*.act",
          plants=(("shift", {"layers": "experts.*.up", "value": -40.0}),)),
    _sick("mixture-fault-line", "bias", "the stem's biases start at -40", "dead", "stem act",
          plants=(("shift", {"layers": "stem", "value": -40.0}),)),
    _sick("coder-wine", "deviation", "the logarithm of the variance becomes 200 at step 90", "non_finite exploding",
          "logvar exp", plants=(("shift", {"layers": "logvar", "value": 200.0}),), at=90),
    _sick("coder-wine", "decay", "a weight decay of 5", _LOST, plants=(("decay", {"value": 5.0}),), slow=True),
)  # fmt: skip

SICK: Final = (*_TUNING_SICK, *_HELD_OUT_SICK)


def recipes(part: Part | None = None) -> Iterator[Recipe]:
    """All runs, or those of a part: each network healthy with all its seeds, then with its faults."""
    known = {network.name: network for network in NETWORKS}
    for network in NETWORKS:
        if part in (None, network.part):
            yield from (Recipe(network, seed) for seed in network.seeds)
    for sick in SICK:
        if part in (None, known[sick.network].part):
            yield from (Recipe(known[sick.network], seed, sick) for seed in sick.seeds or known[sick.network].seeds[:2])
