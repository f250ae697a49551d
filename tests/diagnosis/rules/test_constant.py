"""Constant outputs: of neurons and of layers, and what is constant by design."""

from typing import Any

import pytest
from synthetic import found, row, watch

STEPS = range(30)


def constant(neurons: int, **more: float) -> list[Any]:
    return [row(step, constant_neurons=neurons, **more) for step in STEPS]


def after(signal: str, kind: str, rows: list[Any]) -> dict[str, Any]:
    """A layer after another one whose samples differ or do not."""
    first = [row(step, within_std=0.9 if signal == "differs" else 0.0) for step in STEPS]
    return {"0": ("Linear", first), "1": (kind, rows)}


@pytest.mark.parametrize(("neurons", "severity"), [(31, None), (32, "warning"), (52, "serious"), (64, "critical")])
def test_neurons_that_say_the_same_of_every_sample_are_constant(neurons: int, severity: str | None) -> None:
    assert found(watch(after("differs", "Linear", constant(neurons)))) == (
        [("1", "constant", severity, 0)] if severity else []
    )


def test_what_differs_by_rounding_alone_is_constant_though_the_output_layer() -> None:
    alike = [row(step, within_std=0.5 if step < 9 else 9e-7) for step in STEPS]
    assert found(watch(after("differs", "Linear", alike))) == [("1", "constant", "critical", 9)]
    faint = [row(step, within_std=2e-6) for step in STEPS]
    assert found(watch(after("differs", "Linear", faint))) == []


def test_what_is_constant_by_design_is_healthy() -> None:
    assert found(watch(after("differs", "PositionalEncoding", constant(64)))) == []
    assert found(watch(after("differs", "Softmax", constant(64)))) == []
    assert found(watch(after("differs", "Linear", constant(64, count=64 * 7)))) == []  # few samples
    turned = [row(step, constant_neurons=64 if step >= 9 else 0) for step in STEPS]
    assert found(watch(after("differs", "PositionalEncoding", turned))) == [("1", "constant", "critical", 9)]
    zero = constant(0, mean=0.0, std=0.0, within_std=0.0, zeros=4096)
    assert "constant" not in {condition for _, condition, _, _ in found(watch(after("differs", "Linear", zero)))}


def test_data_that_are_all_alike_are_no_fault_of_the_layers() -> None:
    layers = {str(i): ("Linear", constant(64, within_std=0.0)) for i in range(3)}
    assert found(watch(layers)) == []


def test_a_constant_layer_follows_from_what_starves_it() -> None:
    dead = [row(step, dead_neurons=64) for step in STEPS]
    layers = {"0": ("Linear", [row(s) for s in STEPS]), "1": ("ReLU", dead), "2": ("BatchNorm1d", constant(64))}
    findings = watch(layers | {"3": ("Linear", constant(64))}).diagnose().findings
    assert [(f.layer, f.condition, f.consequence_of) for f in findings] == [
        ("1", "dead", None),
        ("2", "constant", "1"),
        ("3", "constant", "1"),
    ]
