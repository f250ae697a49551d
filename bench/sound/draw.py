"""What a seed draws."""

import math
import random
from typing import Any, Final

from bench.sound.families import COPYING, families
from bench.sound.losses import fitting
from bench.sound.setup import Setup
from bench.sound.sources import SOURCES
from bench.sound.task import SCALES
from bench.sound.training import OPTIMIZERS, SCHEDULES

__all__ = ["ACTIVATIONS", "INITIAL", "draw", "setups"]

#: All of `torch.nn` that work on single numbers, some of which more often, as people take them.
ACTIVATIONS: Final = (
    *("ReLU",) * 8, *("GELU",) * 3, *("LeakyReLU", "SiLU", "Tanh") * 2,
    "CELU", "ELU", "GELU tanh", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LogSigmoid", "Mish", "PReLU",
    "RReLU", "ReLU6", "SELU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanhshrink", "Threshold",
)  # fmt: skip
INITIAL: Final = (
    *("",) * 5, "kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "orthogonal", "trunc_normal",
)  # fmt: skip
#: Families whose layers have places beside features: norms over samples do not fit them.
_PLACED: Final = ("pooling", "transformer", "stock transformer", "mixer", "graph mean", "graph sum", "graph attention")
_CONVOLVED: Final = ("cnn", "residual cnn", "painter")
#: Products of a weight matrix of `width` by `width` that a layer comes to; of others one.
_PRODUCTS: Final = {
    "experts": 4, "cnn": 9, "residual cnn": 9, "painter": 9, "lstm": 12, "gru": 9, "rnn": 4, "transformer": 8,
    "stock transformer": 8, "mixer": 6,
}  # fmt: skip
#: Multiplications of a step's forward pass that are affordable.
_AFFORDABLE: Final = 4e7
#: Layers at most, of families in which each costs several times as much as elsewhere.
_DEEPEST: Final = {
    "experts": 3, "transformer": 4, "stock transformer": 4, "mixer": 4, "lstm": 2, "gru": 2, "painter": 1,
}  # fmt: skip


def setups(seed: int, count: int) -> list[Setup]:
    """So many draws; the first ones are the same however many are asked for."""
    return [draw(seed, at) for at in range(count)]


def draw(seed: int, at: int, source: str = "") -> Setup:
    """One draw; the same for the same seed and number.

    Args:
        seed: of all draws.
        at: number of the draw.
        source: the data, where that is not to be drawn.
    """
    it = random.Random(f"{seed} {at} {source}")  # noqa: S311 (no secret)
    drawn = it.choice(sorted(SOURCES))
    source = source or drawn
    data = SOURCES[source]
    family = it.choice(families(data.form, data.goal))
    scale = it.choices(SCALES, (6, 3, 1))[0]
    odd = data.goal == "numbers" and it.random() < 0.25
    factor, offset = (it.choice((0.01, 0.1, 10.0, 100.0)), it.choice((0.0, 1.0, 5.0))) if odd else (1.0, 0.0)
    depth = it.choice((1, 1, 2, 2, 2, 3, 3, 4, 4, 6, 8, 12))
    depth = min(depth, _DEEPEST.get(family, depth))
    norm = _norm(it, family)
    batch = it.choice((1, 2, 4, 8, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 256))
    if norm == "batch" or data.goal == "pair":
        batch = max(batch, 16)
    accumulate = it.choice((1, 1, 1, 1, 1, 2, 4))
    narrow = 8 if family in _PLACED or family in COPYING or it.random() < 0.9 else 2
    width = round(math.exp(it.uniform(math.log(narrow), math.log(512))))
    if family in ("stock transformer", "transformer"):
        width = max(width // 4 * 4, 8)
    places = 64 if data.form == "image" and family in _CONVOLVED else 16 if family in (*_PLACED, *_PRODUCTS) else 1
    while True:
        cost = depth * width**2 * places * batch * accumulate * _PRODUCTS.get(family, 1)
        if cost < _AFFORDABLE or (accumulate == 1 and width <= 16 and batch <= 16):
            break
        if accumulate > 1:
            accumulate = 1
        elif width > 64 or batch <= 16:
            width //= 2
        else:
            batch //= 2
    optimizer = it.choice(sorted(OPTIMIZERS))
    low, high = OPTIMIZERS[optimizer].rates
    clip = it.choices(("", "norm", "value"), (6, 3, 1))[0]
    return Setup(
        name=f"{seed}-{at}",
        seed=it.randrange(2**31),
        source=source,
        scale=scale,
        factor=factor,
        offset=offset,
        family=family,
        width=width,
        depth=depth,
        activation=it.choice(ACTIVATIONS),
        functional=it.random() < 0.4,
        norm=norm,
        norm_first=it.random() < 0.6,
        dropout=it.choice((0.0, 0.0, 0.0, 0.1, 0.2, 0.5)),
        initial=it.choice(INITIAL),
        loss=it.choice(fitting(data.goal, scale)),
        optimizer=optimizer,
        rate=float(f"{math.exp(it.uniform(math.log(low), math.log(high))):.2g}"),
        decay=it.choice((0.0, 0.0, 0.0, 1e-4, 1e-2)),
        schedule=it.choices(SCHEDULES, (6, *(1,) * (len(SCHEDULES) - 1)))[0],
        clip=clip,
        clip_at=it.choice((0.5, 1.0, 5.0)),
        bfloat16=it.random() < 0.12,
        batch=batch,
        accumulate=accumulate,
        steps=it.randrange(60, 161, 10),
        epochs=it.random() < 0.7,
        evaluate=it.choice((0, 0, 10, 20, 50)),
        watch=_watch(it),
    )


def _norm(it: random.Random, family: str) -> str:
    norms: tuple[str, ...] = ("", "", "batch", "layer", "rms", "group")
    if family in _CONVOLVED:
        norms = ("", "", "batch", "batch", "group", "layer", "instance")
    elif family in _PLACED:
        norms = ("", "", "layer", "rms")
    elif family in COPYING:
        norms = ("", "", "", "batch", "layer")
    return it.choice(norms)


def _watch(it: random.Random) -> dict[str, Any]:
    return {
        "loss": it.choices((None, True, "criterion", False), (4, 3, 2, 1))[0],
        "weights": it.random() < 0.4,
        "gradients": it.choices((False, True, "parameters", "outputs"), (4, 3, 2, 1))[0],
        "updates": it.random() < 0.4,
        "parameters_every": it.choice((1, 5, 10)),
        "every": it.choices((1, 2), (9, 1))[0],
        "sample": it.choices((1.0, 0.25), (9, 1))[0],
        "training_only": it.random() < 0.1,
    }
