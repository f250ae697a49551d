"""Experts of a mixture that get no tokens, and filters, called by name."""

from typing import Any

import pytest
from synthetic import NO_NEURONS, row, watch

from fastact.diagnosis.report import Diagnosis

STEPS = range(60)
PARTS = ("up", "act", "down")


def empty(step: int) -> Any:
    """A row of an expert that was called with no tokens."""
    nothing = {"mean": float("nan"), "std": float("nan"), "abs_mean": float("nan"), "min": float("inf")}
    return row(step, **{**NO_NEURONS, **nothing, "count": 0, "max": -float("inf")})


def mixture(last: int, *, called: bool, tokens: int = 64, every: int = 1, steps: int = 60) -> dict[str, Any]:
    """Four experts; number 2 gets tokens up to step `last` alone."""
    layers: dict[str, Any] = {}
    for expert in range(4):
        for part in PARTS:
            rows = []
            for step in range(0, steps * every, every):
                if expert != 2 or step <= last:
                    rows.append(row(step, count=64 * tokens))
                elif called:
                    rows.append(empty(step))
            kind = "GELU" if part == "act" else "Linear"
            layers[f"block.experts.{expert}.{part}"] = (kind, rows)
    return layers


def dead(diagnosis: Diagnosis) -> list[tuple[str, str, int, str | None]]:
    return [(f.layer, f.severity, f.first_step, f.consequence_of) for f in diagnosis.findings if f.condition == "dead"]


@pytest.mark.parametrize("called", [True, False])
@pytest.mark.parametrize("every", [1, 5])
def test_an_expert_without_tokens_is_dead_since_its_last_one(called: bool, every: int) -> None:
    layers = mixture(20 * every, called=called, every=every)
    name, first = "block.experts.2.up", 21 * every
    want: list[Any] = [(name, "warning", first, None)]
    want += [(f"block.experts.2.{part}", "warning", first, name) for part in PARTS[1:]]
    assert dead(_watch(layers).diagnose()) == want
    # That step may have left the window.
    assert dead(_watch(layers, window_size=25).diagnose()) == want
    (finding, *_) = _watch(layers).diagnose().findings
    assert finding.message == (
        f"{name} (Linear) has been dead since step {first}: expert 2 of 4 has received none of the 7,488 tokens "
        "since then; an even share is 25%."
    )
    assert finding.evidence["expert"] == "block.experts.2"


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
        assert dead(diagnosis) == []
        return next(layer for layer in diagnosis.layers if layer.name == "block.experts.2.up")

    assert "dead" in layer(steps=40).not_judged  # 19 steps
    assert "dead" in layer(tokens=10).not_judged  # 1170 tokens
    assert "dead" not in layer(steps=24).not_judged  # three steps without are nothing
    assert "dead" not in layer(steps=21).not_judged


def test_what_fires_now_and_then_is_alive_and_what_wakes_up_is_too() -> None:
    layers = mixture(20, called=True)
    kind, rows = layers["block.experts.2.up"]
    layers["block.experts.2.up"] = kind, [*rows[:45], row(45, count=64), *rows[46:]]
    diagnosis = _watch(layers).diagnose()
    assert "block.experts.2.up" not in [layer for layer, *_ in dead(diagnosis)]


def test_other_layers_that_are_not_called_are_no_experts() -> None:
    for name in ("auxiliary.2", "expert_router", "experts"):
        layers = {name: ("Linear", [row(0)]), "other": ("Linear", [row(step) for step in STEPS])}
        assert _watch(layers).diagnose().healthy
    alone = {"experts.0": ("Linear", [row(0)]), "other": ("Linear", [row(step) for step in STEPS])}
    assert _watch(alone).diagnose().healthy


def test_a_dead_expert_explains_no_other_layer() -> None:
    layers = mixture(20, called=True)
    layers["block.experts.3.act"] = "ReLU", [row(step, dead_neurons=40 * (step > 30)) for step in STEPS]
    culprits = [(f.layer, f.evidence.get("expert")) for f in _watch(layers).diagnose().culprits]
    assert culprits == [("block.experts.3.act", None), ("block.experts.2.up", "block.experts.2")]


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
    sick = [row(step, dead_neurons=40) for step in STEPS]
    healthy = [row(step) for step in STEPS]
    layers = {str(i): (kind, sick if i == len(kinds) - 1 else healthy) for i, kind in enumerate(kinds)}
    (finding,) = watch(layers).diagnose().findings
    assert f"40 of its 64 {unit} (62%) never fire" in finding.message
