"""The diagnosis as a whole: it never fails, changes nothing, and depends on rows alone."""

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from any_rows import fill, layers_and_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import nothing_finite, row, watch

import fastact
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.report import Diagnosis
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import ROW, ROW_DTYPE
from fastact.history import LayerInfo


def healthy(steps: int = 30) -> list[Any]:
    return [row(step) for step in range(steps)]


def strict(text: str) -> Any:
    """The JSON value; NaN and Infinity are refused."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@settings(max_examples=150)
@given(layers_and_rows(), st.integers(1, 30), st.randoms(use_true_random=False))
def test_any_rows_give_a_diagnosis_that_depends_on_them_alone(
    given_rows: tuple[list[LayerInfo], list[list[tuple[Any, ...]]]], window_size: int, random: Any
) -> None:
    infos, rows = given_rows
    diagnoser = fill(infos, rows, window_size)
    diagnosis = diagnoser.diagnose()
    assert diagnosis == diagnoser.diagnose()
    assert strict(diagnosis.to_json()) == diagnosis.to_dict()
    assert str(diagnosis)
    assert [layer.name for layer in diagnosis.layers] == [info.name for info in infos]
    assert diagnosis.healthy == (not diagnosis.findings and any(rows))

    # Another order of layers, other interleavings, and looking in between change nothing.
    other = Diagnoser(window_size)
    for info in random.sample(infos, len(infos)):
        other.add(info)
    turns = [info for info, mine in zip(infos, rows, strict=True) for _ in mine]
    random.shuffle(turns)
    sources = {info.name: iter(mine) for info, mine in zip(infos, rows, strict=True)}
    for info in turns:
        other.append(info.name, next(sources[info.name]))
        if random.random() < 0.1:
            other.diagnose()
    # The timeline is that of layers which go on step by step.
    assert replace(other.diagnose(), timeline=()) == replace(diagnosis, timeline=())


def test_unknown_is_not_healthy() -> None:
    assert [layer.status for layer in watch({"a": ("ReLU", healthy(4))}).diagnose().layers] == ["not enough data"]
    assert [layer.status for layer in watch({"a": ("ReLU", healthy(5))}).diagnose().layers] == ["healthy"]
    empty = Diagnoser()
    empty.add(LayerInfo("a", 0))
    (layer,) = empty.diagnose().layers
    assert (layer.status, layer.rows, layer.mean, layer.first_step) == ("not enough data", 0, None, None)


def test_the_table_tells_the_state_now() -> None:
    rows = [row(step, saturated=2048, dead_neurons=62, mean=0.25, std=0.5) for step in range(10)]
    (layer,) = watch({"act": ("Tanh", rows)}).diagnose().layers
    assert (layer.mean, layer.std, layer.dead, layer.saturated) == (0.25, 0.5, 0.96875, 0.5)
    assert (layer.status, layer.severity, layer.rows, layer.first_step, layer.last_step) == (
        "dead",
        "critical",
        10,
        0,
        9,
    )
    (layer,) = watch({"act": ("Linear", [nothing_finite(0)])}).diagnose().layers
    assert (layer.mean, layer.std, layer.saturated, layer.status) == (None, None, None, "non_finite")


def test_a_diagnosis_can_be_kept_sent_and_compared() -> None:
    diagnosis = watch({"act": ("Tanh", [row(s, saturated=4000, min=-1.0, max=1.0) for s in range(9)])}).diagnose()
    copy = pickle.loads(pickle.dumps(diagnosis))
    assert copy == diagnosis
    assert hash(copy) == hash(diagnosis)
    assert diagnosis != Diagnosis((), diagnosis.layers)
    with pytest.raises(TypeError):
        diagnosis.findings[0].evidence["saturated_ratio"] = 0.0  # type: ignore[index]


def test_misuse_is_told_by_name() -> None:
    with pytest.raises(ArgumentValueError, match="name: got 'nobody'"):
        Diagnoser().append("nobody", row(0))
    diagnoser = Diagnoser()
    diagnoser.add(LayerInfo("a", 0))
    with pytest.raises(ArgumentValueError, match=f"row: got 2 numbers, want {len(ROW)}"):
        diagnoser.append("a", (0, 0))
    with pytest.raises(ArgumentValueError, match="name: got 'nobody'"):
        diagnoser.extend("nobody", np.zeros(1, ROW_DTYPE))
    with pytest.raises(ArgumentTypeError, match="rows: got list"):
        diagnoser.extend("a", [row(0)])  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="rows: got an array of float64"):
        diagnoser.extend("a", np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match=r"rows: got shape \(2, 2\), want \(rows,\)"):
        diagnoser.extend("a", np.zeros((2, 2), ROW_DTYPE))
    with pytest.raises(ArgumentValueError, match="window_size"):
        Diagnoser(0)
    with pytest.raises(ArgumentTypeError, match="thresholds"):
        Diagnoser(thresholds={})  # type: ignore[arg-type]


def test_gradients_are_judged_as_gradients() -> None:
    def run(*, gradients: bool, broken: int | None = None) -> fastact.Diagnosis:
        random, other = np.random.default_rng(0), np.random.default_rng(1)
        with fastact.ActivationMonitor() as monitor:
            for step in range(40):
                for name in ("a", "b"):
                    monitor.record(name, random.standard_normal((64, 8)), axis=-1, kind="Linear")
                if gradients:
                    for name in ("b:grad", "a:grad"):  # tiny, and zero for half of the neurons
                        x = 1e-9 * other.standard_normal((64, 8))
                        x[:, :4] = np.inf if step == broken and name == "b:grad" else 0.0
                        monitor.record(name, x, axis=-1, kind="Gradient")
                monitor.step()
            return monitor.diagnose()

    healthy = run(gradients=True)
    assert healthy.findings == ()
    assert healthy.layers[:2] == run(gradients=False).layers
    assert [layer.status for layer in healthy.layers] == ["healthy"] * 4
    (note,) = run(gradients=True, broken=30).notes  # the update was skipped, or did no harm
    assert (note.layers, note.condition, note.first_step) == (("b:grad",), "non_finite", 30)
    (finding,) = run(gradients=True, broken=39).findings
    assert (finding.layer, finding.condition, finding.first_step) == ("b:grad", "non_finite", 39)
