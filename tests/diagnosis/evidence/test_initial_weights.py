"""Parameters that are as they were drawn at random, and others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from supervised import LN10, Given, layer, loss, noisy, optimiser, seen
from synthetic import plain, row
from torch import nn

from fastact import summarize
from fastact.diagnosis.evidence.initial_weights import is_drawn
from fastact.diagnosis.finding import Finding
from fastact.history import LayerInfo

Numbers = np.ndarray[Any, np.dtype[np.float32]]


def weight(name: str, x: Numbers, *, rows: int = 3, then: Numbers | None = None, **facts: Any) -> Given:
    """The rows of a weight, which is another one in its last row where that is given."""
    known = {"trainable": True, "optimiser": True, "shape": list(x.shape), "elements": x.size, **facts}
    made = []
    for step in range(rows):
        now = summarize(then if then is not None and step == rows - 1 else x)
        fields = {each: getattr(now, each) for each in ("mean", "std", "min", "max", "abs_mean")}
        made.append(plain(step, count=x.size, zeros=0, **fields))
    return {name: (LayerInfo(name, 0, "Parameter", "float32", facts=known), made)}


def drawn(make: Callable[[], nn.Module]) -> Numbers:
    """The largest weight of a new module."""
    torch.manual_seed(1)
    x: Numbers = max(make().parameters(), key=torch.numel).detach().numpy()
    return x


def view(given: Given) -> Any:
    """The rows as a rule sees them."""
    info, rows = next(iter(given.values()))
    return type("View", (), {"info": info, "first": rows[0], "last": rows[-1]})


MODULES: dict[str, Callable[[], nn.Module]] = {
    "small": lambda: nn.Linear(13, 16), "linear": lambda: nn.Linear(100, 32), "images": lambda: nn.Conv2d(3, 8, 3),
    "series": lambda: nn.Conv1d(16, 16, 5), "lstm": lambda: nn.LSTM(1, 16), "gru": lambda: nn.GRU(8, 12),
    "words": lambda: nn.Embedding(200, 16), "attention": lambda: nn.MultiheadAttention(32, 4),
}  # fmt: skip


@pytest.mark.parametrize("kind", MODULES)
def test_what_pytorch_draws_is_known(kind: str) -> None:
    x, name = drawn(MODULES[kind]), "weight_ih_l0" if kind in ("lstm", "gru") else "weight"
    assert is_drawn(view(weight(name, x)))
    generator = np.random.default_rng(0)
    for other in (0.77 * x, 1.3 * x, x + generator.normal(0.0, 0.3 * x.std(), x.shape).astype(np.float32), 0 * x):
        assert not is_drawn(view(weight(name, other)))
    assert not is_drawn(view(weight(name, x, then=x * 1.0001)))  # it moves
    assert not is_drawn(view(weight(name, x.reshape(-1))))


HIGH, LOW = (loss(noisy(np.full(40, share * LN10))) for share in (0.9, 0.3))
LAYERS = layer("0", [row(s) for s in range(40)]) | layer("2", [row(s) for s in range(40)])
TRUNK, PRETRAINED = drawn(lambda: nn.Linear(16, 16)), 1.7 * drawn(lambda: nn.Linear(16, 16))


def findings(*parts: Given) -> list[tuple[str, str]]:
    found: tuple[Finding, ...] = seen(*parts).diagnose().findings
    return [(f.cause_name, f.severity) for f in found if f.layer == "optimiser"]


def trunk(x: Numbers, **facts: Any) -> Given:
    return weight("0.weight", x, layer="0", **facts) | weight("2.weight", drawn(lambda: nn.Linear(16, 3)), layer="2")


@pytest.mark.parametrize("course", [HIGH, LOW])
def test_a_trunk_that_an_optimiser_holds_and_no_gradient_reaches(course: Given) -> None:
    cut = optimiser(without_gradient=["0.weight"], without_gradient_tensors=1, rows=3)
    moves = {"2.weight:grad": (LayerInfo("2.weight:grad", 0, "ParameterGradient"), [plain(s) for s in range(3)])}
    told = findings(LAYERS, course, trunk(TRUNK, gradient=False) | moves, cut)
    assert told == [("no_gradient", "warning")]
    if course is LOW:  # it may be on purpose
        assert findings(LAYERS, course, trunk(PRETRAINED, gradient=False) | moves, cut) == []


def test_a_trunk_that_is_left_as_it_was_drawn() -> None:
    outside = trunk(TRUNK, optimiser=False)
    assert findings(LAYERS, HIGH, outside, optimiser(rows=3)) == [("not_in_optimiser", "warning")]
    assert findings(LAYERS, LOW, outside, optimiser(rows=3)) == []  # features that are good enough
    assert findings(LAYERS, HIGH, trunk(PRETRAINED, optimiser=False), optimiser(rows=3)) == []
    frozen = trunk(TRUNK, trainable=False)
    assert findings(LAYERS, HIGH, frozen, optimiser(rows=3)) == [("frozen_parameters", "warning")]
    assert findings(LAYERS, LOW, frozen, optimiser(rows=3)) == []
    short = loss(noisy(np.full(25, 0.9 * LN10)))
    assert findings(LAYERS, short, frozen, optimiser(rows=3)) == []  # it may be thawed
    assert findings(LAYERS, HIGH, trunk(PRETRAINED, trainable=False), optimiser(rows=3)) == []


def test_what_an_adapter_knows_to_be_untrained_needs_no_rows() -> None:
    known: dict[str, Any] = {"frozen": ["0/kernel", "0/bias"], "frozen_tensors": 2}
    untrained = optimiser(**known, untrained=["0/kernel", "0/bias"], rows=3)
    assert findings(LAYERS, HIGH, untrained) == [("frozen_parameters", "warning")]
    assert findings(LAYERS, LOW, untrained) == []
    assert findings(LAYERS, HIGH, optimiser(**known, untrained=[], rows=3)) == []
    head = optimiser(frozen=["2/kernel"], frozen_tensors=1, untrained=["2/kernel"], rows=3)
    assert findings(LAYERS, HIGH, head) == []  # nothing comes after it


def test_a_target_network_that_no_optimiser_holds_is_meant() -> None:
    """It is in the model, behind others that learn, and has their numbers from time to time."""
    layers = LAYERS | layer("4", [row(s) for s in range(40)])
    learns = weight("0.weight", TRUNK, layer="0", rows=2) | weight(
        "2.weight", drawn(lambda: nn.Linear(16, 3)), layer="2"
    )
    follows = weight("4.weight", TRUNK, layer="4", optimiser=False, then=PRETRAINED)
    assert findings(layers, LOW, learns, follows, optimiser(rows=3)) == []
    never = weight("4.weight", TRUNK, layer="4", optimiser=False)
    assert findings(layers, LOW, learns, never, optimiser(rows=3)) == []  # not yet
    other = weight("4.weight", PRETRAINED, layer="4", optimiser=False)
    assert findings(layers, LOW, learns, other, optimiser(rows=3)) == [("not_in_optimiser", "warning")]


def test_a_copy_of_what_learns_is_meant() -> None:
    copied = trunk(TRUNK, trainable=False) | weight("online.weight", TRUNK, layer="online")
    assert findings(LAYERS, HIGH, copied, optimiser(rows=3)) == []
