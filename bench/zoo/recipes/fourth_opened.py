"""The fourth part: networks, tasks and programs of its own. Held out until 2026-11-30, open for tuning since.

Written on 2026-11-30 by one who wrote no rule and knew none, after what people report in questions, forums and issues,
and before any rule was run on it. What each fault may be called, where and why, follows from what was done.
"""

from typing import Any, Final

from bench.zoo.recipes.table import LOST, RATE_BOUNDED, RATE_RELU, RATE_SMOOTH, SGD, Network, sick

__all__ = ["NETWORKS", "SICK"]


def _network(name: str, task: str = "", net: str = "", **settings: Any) -> Network:
    fields = {"seeds": (40, 41), "steps": 150, "batch": 32, **settings}
    return Network(name=name, part="opened-4", task=task, net=net, **fields)


NETWORKS: Final = (
    # Features.
    _network("pyramid", "board", "pyramid", rate=0.02, steps=200),
    _network("pyramid-sgd", "arm", "pyramid", options={"sizes": (64, 32)}, **{**SGD, "rate": 0.1}),
    _network("crossed", "arm", "crossed", rate=5e-3),
    _network("skipping", "arm", "skipping", optimizer="AdamW", rate=5e-3),
    _network("fourier", "board", "fourier", rate=0.01),
    _network("snakes", "board", "snakes", rate=0.01),
    _network("squares", "arm", "squares", rate=5e-3),
    _network("squares-half", "arm", "squares", options={"depth": 1}, precision="half", **{**SGD, "rate": 0.05},
             good=0.5),
    _network("doors", "arm", "doors", optimizer="RMSprop", rate=2e-3),
    _network("menu", "orders", "menu", rate=0.02, batch=96),
    _network("two-experts", "board", "two_experts", options={"count": 4}, program="balanced", rate=0.03, batch=96,
             steps=120),
    # Images.
    _network("fires", "cloth", "fires", rate=5e-3),
    _network("tower", "cloth", "tower", rate=5e-3, evaluate=20, steps=100),
    _network("tower-plates", "plates", "tower", options={"width": 12}, rate=5e-3),
    _network("cleaner", "scratched", "cleaner", rate=0.01, batch=16, steps=120),
    _network("heat-maps", "cloth", "heat_maps", rate=0.01),
    _network("looking-round", "plates", "looking_round", rate=5e-3),
    # Sequences.
    _network("both-ways", "chirps", "both_ways", rate=0.01),
    _network("gated-waves", "echoes", "gated_waves", rate=5e-3),
    _network("leaky", "echoes", "leaky", rate=5e-3, clip=1.0, good=0.4),
    _network("memory", "lists", "memory", rate=0.02, batch=64, steps=200),
    _network("causal", "melodies", "causal", rate=5e-3, warmup=10),
    _network("shared-keys", "chirps", "shared_keys", rate=5e-3),
    # Programs of their own.
    _network("decorrelated", program="decorrelated", good=0.5, rate=3e-3, batch=48, steps=100),
    _network("earth", program="earth", good=0.5, rate=8e-3, batch=64),
    _network("codes", program="codes", good=0.3, rate=5e-3, batch=48),
    _network("weaver", program="weaver", good=0.5, rate=3e-3),
    _network("glider", program="glider", good=0.5, rate=5e-3, batch=64, steps=200),
    _network("translator", program="translator", good=0.5, rate=0.01, batch=64),
)  # fmt: skip

_DEAD: Final = "dead constant"
_ALIKE: Final = "collapsed constant vanishing"

SICK: Final = (
    # Vanishing: deep, small, shrunk.
    sick("snakes", "small", "twelve layers whose weights are a third as large as they should be", LOST,
         kind="initialisation", causes="initialisation depth", changes={"options": {"depth": 12}},
         plants=(("scale", {"layers": "coil*", "factor": 0.33}),)),
    sick("pyramid", "deep", "fourteen layers by Softsign, of weights half as large", LOST + " saturated",
         kind="depth", causes="depth initialisation activation_slope",
         changes={"options": {"sizes": (32,) * 14, "times": 0.5}}),
    sick("skipping", "decay", "a weight decay of 0.5 in Adam", LOST + " not_learning", changes={"optimizer": "Adam"},
         plants=(("decay", {"value": 0.5}),), slow=True),
    # Exploding.
    sick("crossed", "deep", "twenty crossings, and weights three times as large", "exploding non_finite", kind="depth",
         causes="depth initialisation", changes={"options": {"depth": 20}},
         plants=(("scale", {"layers": "cross.*", "factor": 3.0}),)),
    sick("skipping", "no-norms", "twelve branches without their norms, with weights six times as large",
         "exploding non_finite", "wide.* back.* norms.* gelu*", kind="depth", causes="depth initialisation",
         changes={"options": {"depth": 12, "norm": False}},
         plants=(("scale", {"layers": "back.*", "factor": 6.0}),)),
    sick("squares", "no-levels", "six squares of ReLUs without norms between, features 12 times as large",
         "exploding non_finite overflow_risk", "flat* square* level* input*", kind="depth",
         causes="depth initialisation inputs_not_normalised",
         changes={"options": {"depth": 6, "norm": False}}, plants=(("units", {"factor": 12.0}),)),
    sick("gated-waves", "large-late", "the skips' weights become 3,000 times as large at step 70",
         "exploding drifting outlier_channels", "skip.*", plants=(("scale", {"layers": "skip.*", "factor": 3000.0}),),
         at=70),
    # The learning rate, either way.
    sick("fires", "rate", "Adam with a learning rate of 0.5", RATE_RELU + " constant vanishing collapsed not_learning",
         changes={"rate": 0.5}, slow=True),
    sick("doors", "rate-late", "the learning rate is 2,000 times as large from step 60 on",
         RATE_SMOOTH + " not_learning drifting", plants=(("rate", {"factor": 2000.0}),), at=60, slow=True),
    sick("pyramid-sgd", "rate", "SGD with a learning rate of 60", RATE_BOUNDED + " constant not_learning collapsed",
         changes={"rate": 60.0}, slow=True),
    sick("menu", "climb", "the loss is maximised from step 60 on", "exploding non_finite drifting not_learning",
         plants=(("climb", {}),), at=60, slow=True),
    sick("causal", "slow", "a learning rate of ten millionths of a thousandth", "not_learning", kind="not learning",
         causes="rate_too_small no_update", changes={"rate": 1e-8}),
    # Dead.
    sick("tower-plates", "offsets", "the second norms' offsets start at -12", _DEAD, "bn2 relu2",
         plants=(("shift", {"layers": "bn2", "value": -12.0}),)),
    sick("looking-round", "bias-late", "the last convolution's biases become -80 at step 60", _DEAD, "after relu:2",
         plants=(("shift", {"layers": "after", "value": -80.0}),), at=60),
    sick("fires", "frozen", "what squeezes first is zero and frozen", "dead constant vanishing", "fire1.squeeze "
         "fire1.relu6*", plants=(("zero", {"layers": "fire1.squeeze"}),)),
    # Saturated.
    sick("pyramid", "large", "weights start 60 times as large", "saturated constant collapsed", "narrow* bend*",
         kind="initialisation", causes="initialisation", changes={"options": {"times": 60.0}}),
    sick("doors", "shut", "the first doors are shut: biases of -30 before a hard sigmoid", "dead saturated constant "
         "vanishing", "door1 open1", kind="saturation", causes="initialisation gates_shut",
         plants=(("shift", {"layers": "door1", "value": -30.0}),)),
    sick("leaky", "units", "inputs are 400 times as large", "saturated exploding", "read unit* input*", kind="inputs",
         causes="inputs_not_normalised", plants=(("units", {"factor": 400.0}),)),
    # Collapse.
    sick("decorrelated", "no-push", "nothing keeps features apart: two views shall be alike, and are", _ALIKE,
         "code see* silu*", kind="collapse", causes="representation_collapse", changes={"options": {"apart": 0.0}}),
    sick("weaver", "beta", "the divergence counts 200 times as much", _ALIKE, "middle width", kind="collapse",
         causes="posterior_collapse", changes={"options": {"beta": 60.0}}),
    sick("earth", "no-noise", "the generator begins with zeros", _ALIKE + " dead", "maker.* input*", kind="collapse",
         causes="inputs_zero inputs_equal representation_collapse", changes={"options": {"noise": 0.0}}),
    sick("snakes", "alike", "all weights of the layers start at 0.05: no two units ever differ",
         "collapsed constant vanishing not_learning", "coil* snake* top", kind="initialisation",
         causes="symmetric_initialisation initialisation",
         plants=(("uniform", {"layers": "coil?", "value": 0.05}),)),
    # Lookup and routing.
    sick("codes", "far", "codes start 20 times as far out and are never renewed", "unused dead constant collapsed",
         "codes narrow inward", kind="lookup and routing", causes="codes_never_chosen initialisation",
         changes={"options": {"start": 6.0, "renew": False}}),
    sick("two-experts", "one", "the router's first biases start at 25, and nothing shares out",
         "unused dead constant saturated", "router experts* softmax", kind="lookup and routing",
         causes="router initialisation", changes={"options": {"even": 0.0}},
         plants=(("shift", {"layers": "router", "value": 25.0, "share": 0.3}),)),
    sick("menu", "unknown", "dishes of three columns are all unknown: one row of the table for all",
         "constant unused dead collapsed", "dishes bias", kind="lookup and routing",
         causes="inputs_equal inputs_zero codes_never_chosen", plants=(("unknown", {"known": 3}),)),
    # Attention.
    sick("memory", "sharp", "scores are 400 times as large", "saturated constant collapsed", "over ask keys",
         kind="attention", causes="attention_scale initialisation", changes={"options": {"scale": 80.0}}),
    sick("memory", "flat", "scores are divided by ten millions: each place is looked at alike", "constant collapsed "
         "vanishing not_learning", "over ask keys top", kind="attention", causes="attention_scale initialisation",
         changes={"options": {"scale": 2e-8}}),
    sick("looking-round", "sharp", "scores are 300 times as large, and nothing divides them",
         "saturated constant collapsed exploding", "round theta phi", kind="attention",
         causes="attention_scale initialisation", changes={"options": {"scale": 90.0}}, certain=True),
    # Evaluation.
    sick("tower", "stale", "batch norms follow at 0.0005: evaluation sees the first batch", "eval_shift", "bn?*",
         kind="evaluation", causes="running_statistics mode_dependence",
         plants=(("stale", {"momentum": 0.0005}),)),
    # Underflow, overflow, not finite.
    sick("squares-half", "units", "features become 600 times as large at step 70, squared in float16",
         "overflow_risk non_finite exploding dead constant vanishing", "flat1 square1 level1", kind="number range",
         causes="dtype_range data_changed inputs_not_normalised", plants=(("units", {"factor": 600.0}),), at=70),
    sick("fourier", "shrink", "features in units in which float16 has them as zero", "constant dead collapsed",
         "waves mix", plants=(("shrink", {"factor": 1e-9}),)),
    sick("cleaner", "missing", "one pixel is NaN from step 50 on", "non_finite", "near",
         plants=(("missing", {}),), at=50),
    sick("gated-waves", "root", "a penalty on the root of the weights that come in, from step 50 on", "non_finite",
         "into", plants=(("root", {"layers": "into"}),), at=50),
    sick("weaver", "deviation", "the logarithm of the deviation becomes 95 at step 60", "exploding non_finite",
         "width", kind="not finite", causes="log_variance learning_rate initialisation -",
         plants=(("shift", {"layers": "width", "value": 95.0}),), at=60),
    sick("translator", "garbage", "some of what the writer's top holds was never initialised",
         "exploding non_finite outlier_channels", "top", plants=(("garbage", {"layers": "top", "value": 1e10}),)),
    # Adversaries.
    sick("earth", "free", "nothing bounds the critic, which learns 30 times as fast",
         "exploding drifting saturated non_finite", "critic.* maker.*", kind="adversaries",
         causes="learning_rate discriminator_wins -", changes={"options": {"penalty": 0.0, "faster": 30.0}}),
    sick("glider", "rudder", "the rudder's bias becomes 25 at step 80", "saturated constant drifting dead",
         "actor.full3 actor.rudder", kind="saturation", causes="learning_rate initialisation -",
         plants=(("shift", {"layers": "actor.full3", "value": 25.0}),), at=80),
    # Data under way.
    sick("both-ways", "blank", "readings are zero from step 70 on", "constant dead vanishing collapsed drifting",
         "up gru*", plants=(("blank", {}),), at=70),
    sick("gated-waves", "units", "numbers become 300 times as large at step 70: a loader that does not normalise",
         "exploding drifting saturated", "into filter.* gate.* tanh* sigmoid*", kind="data under way",
         causes="data_changed inputs_not_normalised", plants=(("units", {"factor": 300.0}),), at=70),
    sick("crossed", "repeat", "all samples of a batch are its first, from step 60 on", "constant collapsed", "lift",
         plants=(("repeat", {}),), at=60),
    # Oscillating, drifting.
    sick("shared-keys", "turns", "every second batch is 60 times as large from step 60 on",
         "oscillating exploding drifting", "into hop", plants=(("take_turns", {"factor": 60.0}),), at=60),
    sick("cleaner", "creep", "pixels grow by 6% from batch to batch, from step 40 on", "drifting exploding",
         "near input*", kind="data under way", causes="data_changed inputs_not_normalised",
         plants=(("creep", {"factor": 1.06}),), at=40, slow=True),
    sick("looking-round", "channel", "a channel's weights become 100,000 times as large at step 60",
         "outlier_channels exploding drifting", "after", plants=(("channel", {"layers": "after", "factor": 1e5}),),
         at=60),
    # Recurrent.
    sick("leaky", "unbounded", "no tanh bounds the states, and recurrent weights are seven times as large",
         "exploding non_finite", "unit* again* read", kind="recurrent", causes="recurrent_unbounded initialisation",
         changes={"options": {"act": "none"}}, plants=(("scale", {"layers": "again", "factor": 7.0}),)),
    sick("both-ways", "gates", "recurrent weights from N(0, 4)", "saturated", "gru*", kind="recurrent",
         causes="initialisation", plants=(("spread", {"layers": "gru", "std": 4.0}),)),
)  # fmt: skip
