"""Experts of a mixture that get no tokens, and filters, called by name."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from supervised import LN10, loss
from synthetic import NO_NEURONS, row, watch

from fastact.diagnosis.experts import expert_of, side_by_side
from fastact.diagnosis.network import Network
from fastact.diagnosis.report import Diagnosis

STEPS = range(60)
PARTS = ("up", "act", "down")


def empty(step: int) -> Any:
    """A row of an expert that was called with no tokens."""
    nothing = {"mean": float("nan"), "std": float("nan"), "abs_mean": float("nan"), "min": float("inf")}
    return row(step, **{**NO_NEURONS, **nothing, "count": 0, "max": -float("inf")})


def mixture(
    last: int,
    *,
    called: bool,
    tokens: int = 64,
    every: int = 1,
    steps: int = 60,
    experts: int = 4,
    fed: Any = frozenset({0, 1, 3}),
) -> dict[str, Any]:
    """Experts of which those that are not `fed` get tokens up to step `last` alone."""
    layers: dict[str, Any] = {}
    for expert in range(experts):
        for part in PARTS:
            rows = []
            for step in range(0, steps * every, every):
                if expert in fed or step <= last:
                    rows.append(row(step, count=64 * tokens))
                elif called:
                    rows.append(empty(step))
            kind = "GELU" if part == "act" else "Linear"
            layers[f"block.experts.{expert}.{part}"] = (kind, rows)
    return layers


def unused(diagnosis: Diagnosis) -> list[tuple[str, str, int]]:
    return [(f.layer, f.severity, f.first_step) for f in diagnosis.findings if f.condition == "unused"]


@pytest.mark.parametrize("called", [True, False])
@pytest.mark.parametrize("every", [1, 5])
def test_an_expert_without_tokens_is_unused_since_its_last_one(called: bool, every: int) -> None:
    layers = mixture(20 * every, called=called, every=every)
    first = 21 * every
    want = [("block.experts.2.up", "warning", first)]
    assert unused(_watch(layers).diagnose()) == want
    # That step may have left the window.
    assert unused(_watch(layers, window_size=25).diagnose()) == want
    (finding,) = _watch(layers).diagnose().findings
    assert finding.message == (
        f"block.experts has been partly unused since step {first}: 1 of 4 experts (2) was not chosen for any of 7,488 "
        "tokens; an even share is 25%."
    )
    assert finding.cause_name == "router"


@pytest.mark.parametrize("unfed", [1, 2, 3])
@pytest.mark.parametrize("level", [0.01, 0.9])
def test_fewer_than_half_are_a_note_where_all_is_learned_without_them(unfed: int, level: float) -> None:
    diagnoser = _watch(mixture(20, called=False, fed=set(range(unfed, 4))))
    for name, (info, rows) in loss([LN10 * level] * 60).items():
        diagnoser.add(replace(info, order=100 + info.order))
        for one in rows:
            diagnoser.append(name, one)
    diagnosis = diagnoser.diagnose()
    noted = [f for f in diagnosis.notes if f.condition == "unused"]
    assert len(noted) + len(unused(diagnosis)) == 1
    assert bool(noted) is (unfed == 1 and level < 0.1)
    assert all(severity == ("warning" if unfed == 1 else "serious") for _, severity, _ in unused(diagnosis))


@pytest.mark.parametrize("called", [True, False])
def test_all_experts_that_are_not_chosen_are_one_finding(called: bool) -> None:
    layers = mixture(20, called=called, experts=8, fed={5})
    (finding,) = _watch(layers).diagnose().findings
    assert "7 of 8 experts (0, 1, 2, 3, 4, 6, 7) were not chosen" in finding.message
    assert (finding.layer, finding.severity, finding.first_step) == ("block.experts.0.up", "serious", 21)


def test_those_that_were_watched_and_never_called_are_counted() -> None:
    layers = {name: given for name, given in mixture(60, called=False).items() if "experts.1" in name}
    diagnoser = _watch(layers)
    assert diagnoser.diagnose().healthy
    diagnoser.unseen = {f"block.experts.{i}.{part}": "its hook never ran: ..." for i in (0, 2, 3) for part in PARTS}
    (finding,) = diagnoser.diagnose().findings
    assert "3 of 4 experts (0, 2, 3) were not chosen" in finding.message
    assert (finding.layer, finding.first_step) == ("block.experts.1.up", 0)
    diagnoser.unseen = {"block.experts.0.up": "it returns no tensor"}
    assert diagnoser.diagnose().healthy


def _watch(layers: dict[str, Any], window_size: int = 100) -> Any:
    # Rows of layers that are not called come when they come.
    from fastact.diagnosis.diagnoser import Diagnoser
    from fastact.history import LayerInfo

    diagnoser = Diagnoser(window_size)
    for order, (name, (kind, rows)) in enumerate(layers.items()):
        diagnoser.add(LayerInfo(name, order, kind, "float32"))
        for one in rows:
            diagnoser.append(name, one)
    return diagnoser


@pytest.mark.parametrize("called", [True, False])
def test_until_much_was_seen_there_is_not_enough_data(called: bool) -> None:
    def layer(**options: Any) -> Any:
        diagnosis = _watch(mixture(20, called=called, **options)).diagnose()
        assert unused(diagnosis) == []
        return next(layer for layer in diagnosis.layers if layer.name == "block.experts.2.up")

    assert "unused" in layer(steps=40).not_judged  # 19 steps
    assert "unused" in layer(tokens=10).not_judged  # 1170 tokens
    assert "unused" not in layer(steps=24).not_judged  # three steps without are nothing
    assert "unused" not in layer(steps=21).not_judged


def test_what_gets_tokens_now_and_then_is_in_use() -> None:
    layers = mixture(20, called=True)
    kind, rows = layers["block.experts.2.up"]
    layers["block.experts.2.up"] = kind, [*rows[:45], row(45, count=64), *rows[46:]]
    assert unused(_watch(layers).diagnose()) == []
    # After a pause of 24 steps another one takes twice as long.
    assert unused(_watch(longer(layers, 93)).diagnose()) == []
    assert unused(_watch(longer(layers, 95)).diagnose()) != []


def longer(layers: dict[str, Any], steps: int) -> dict[str, Any]:
    more = mixture(-1, called=True, steps=steps)
    return {name: (kind, rows + more[name][1][len(rows) :]) for name, (kind, rows) in layers.items()}


def test_top_k_routing_by_an_even_router_is_healthy() -> None:
    rng = np.random.default_rng(0)
    for tokens in (1, 4, 64):
        layers: dict[str, Any] = {f"moe.experts.{i}.up": ("Linear", []) for i in range(8)}
        for step in range(200):
            chosen = rng.permuted(np.tile(np.arange(8), (tokens, 1)), axis=1)[:, :2]
            for i, count in enumerate(np.bincount(chosen.ravel(), minlength=8)):
                if count:
                    layers[f"moe.experts.{i}.up"][1].append(row(step, count=64 * int(count)))
            if step % 20 == 19:
                assert unused(_watch(layers).diagnose()) == []


def test_other_layers_that_are_not_called_are_no_experts() -> None:
    for name in ("auxiliary.2", "expert_router", "experts"):
        layers = {name: ("Linear", [row(0)]), "other": ("Linear", [row(step) for step in STEPS])}
        assert _watch(layers).diagnose().healthy
    alone = {"experts.0": ("Linear", [row(0)]), "other": ("Linear", [row(step) for step in STEPS])}
    assert _watch(alone).diagnose().healthy


def test_an_unused_expert_explains_what_is_left_in_it_and_nothing_else() -> None:
    layers = mixture(20, called=True)
    sick = [row(step, dead_neurons=64 * (step > 30), silent_neurons=64 * (step > 11), zeros=4096) for step in STEPS]
    layers["block.experts.3.act"] = "ReLU", sick
    culprits = {(f.layer, f.condition) for f in _watch(layers).diagnose().culprits}
    assert culprits == {("block.experts.3.act", "dead"), ("block.experts.2.up", "unused")}
    layers = mixture(20, called=False)
    left = [row(step, dead_neurons=64, silent_neurons=64, zeros=4096) for step in range(21)]
    layers["block.experts.2.act"] = "ReLU", left
    found = {(f.layer, f.condition): f.consequence_of for f in _watch(layers).diagnose().findings}
    assert ("block.experts.2.act", "dead") in found


def test_an_expert_is_not_fed_by_its_neighbour() -> None:
    names = ["router", "experts.0.up", "experts.0.down", "experts.1.up", "experts.1.down", "out"]
    rows = {name: ("Linear", [row(step) for step in range(6)]) for name in names}
    views = list(_watch(rows).views().values())
    network = Network(views, recent_rows=5, min_samples=2)
    fed = {view.info.name: feeder.info.name for view in views if (feeder := network.feeder(view)) is not None}
    assert fed == {
        "experts.0.up": "router",
        "experts.0.down": "experts.0.up",
        "experts.1.up": "router",
        "experts.1.down": "experts.1.up",
        "out": "experts.1.down",
    }


@pytest.mark.parametrize(
    ("kinds", "unit"),
    [
        (("Conv2d", "ReLU"), "filters"),
        (("Conv", "BatchNorm2d", "ReLU"), "filters"),
        (("Linear", "ReLU"), "neurons"),
        (("Conv2d", "Flatten", "ReLU"), "neurons"),
        (("Conv2d", "Linear", "ReLU"), "neurons"),
        (("Conv2d",), "filters"),
        (("ReLU",), "neurons"),
    ],
)
def test_the_neurons_of_a_convolution_are_filters(kinds: tuple[str, ...], unit: str) -> None:
    sick = [row(step, dead_neurons=60) for step in STEPS]
    healthy = [row(step) for step in STEPS]
    layers = {str(i): (kind, sick if i == len(kinds) - 1 else healthy) for i, kind in enumerate(kinds)}
    (finding,) = (f for f in watch(layers).diagnose().findings if f.condition == "dead")
    assert f"60 of its 64 {unit} (94%) never fire" in finding.message


def test_what_feeds_an_expert_is_found_past_any_siblings() -> None:
    random = np.random.default_rng(0)
    kinds = ("m.experts.{}.up", "n.experts.{}.up", "plain.{}", "m.experts.{}.down")
    names = list(dict.fromkeys(kinds[i].format(n) for i, n in random.integers(0, 4, (60, 2)).tolist()))
    diagnoser = watch({name: ("Linear", [row(0)]) for name in names})
    views = list(diagnoser.views().values())
    network = Network(views, recent_rows=5, min_samples=2)
    for view in views:
        own, place = expert_of(view.info.name), view.place - 1
        while place >= 0 and side_by_side(own, expert_of(names[place])):
            place -= 1
        assert network.feeder(view) is (views[place] if place >= 0 else None), view.info.name
