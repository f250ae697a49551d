"""The diagnosis as a whole: it never fails, changes nothing, depends on rows alone, and tells causes from effects."""

import json
import math
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import found, nothing_finite, row, watch

from fastact.diagnosis import Diagnoser, Diagnosis
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import ROW
from fastact.history import LayerInfo
from fastact.rules import kinds

KINDS = ["", "Linear", "ReLU", "Tanh", "Sigmoid", "Dropout", "Flatten", "BatchNorm1d", "Softmax", "LogSoftmax", "ReLU6"]

counts = st.one_of(st.sampled_from([0, 1, 64, 4096, 2**62]), st.integers(0, 5000))
reals = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e-9, 1e5, 1e300, -1e308, 5e-324, math.inf, -math.inf, math.nan]), st.floats()
)


@st.composite
def layers_and_rows(draw: st.DrawFn) -> tuple[list[LayerInfo], list[list[tuple[Any, ...]]]]:
    """Up to five layers, each with runs of equal rows of any numbers, so that conditions last."""
    infos = [LayerInfo(f"layer{i}", i, draw(st.sampled_from(KINDS)), "float32") for i in range(draw(st.integers(0, 5)))]
    rows = []
    for info in infos:
        mine: list[tuple[Any, ...]] = []
        for _ in range(draw(st.integers(0, 3))):
            numbers = [draw(counts if field.kind == "int64" else reals) for field in ROW[3:]]
            length = draw(st.integers(1, 12))
            mine += [(len(mine) + i, info.order, 0, *numbers) for i in range(length)]
        rows.append(mine)
    return infos, rows


def fill(infos: list[LayerInfo], rows: list[list[tuple[Any, ...]]], window_size: int) -> Diagnoser:
    diagnoser = Diagnoser(window_size)
    for info in infos:
        diagnoser.add(info)
    for info, mine in zip(infos, rows, strict=True):
        for one in mine:
            diagnoser.append(info.name, one)
    return diagnoser


def strict(text: str) -> Any:
    """The JSON value; NaN and Infinity are refused."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@settings(max_examples=300)
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
    assert diagnosis.healthy == (not diagnosis.findings)

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
    assert other.diagnose() == diagnosis


@settings(max_examples=100)
@given(layers_and_rows(), st.integers(1, 30))
def test_consequences_follow_their_culprit(
    given_rows: tuple[list[LayerInfo], list[list[tuple[Any, ...]]]], window_size: int
) -> None:
    findings = fill(*given_rows, window_size).diagnose().findings
    assert len({(f.layer, f.condition) for f in findings}) == len(findings)
    culprit = None
    for finding in findings:
        if finding.consequence_of is None:
            assert culprit is None or culprit.first_step <= finding.first_step
            culprit = finding
        else:
            assert culprit is not None
            assert finding.consequence_of == culprit.layer


def healthy(steps: int = 30) -> list[Any]:
    return [row(step) for step in range(steps)]


def test_a_layer_that_hands_on_dead_inputs_is_a_consequence() -> None:
    dead = [row(step, dead_neurons=40) for step in range(30)]
    findings = watch(
        {
            "0": ("Conv2d", healthy()),
            "1": ("ReLU", dead),
            "2": ("MaxPool2d", dead),
            "3": ("ReLU", dead),
            "4": ("Linear", healthy()),
            "5": ("ReLU", dead),
        }
    ).diagnose().findings  # fmt: skip
    assert [(f.layer, f.consequence_of) for f in findings] == [("1", None), ("2", "1"), ("3", "1"), ("5", None)]


def test_all_that_dies_after_a_layer_without_living_neurons_follows_from_it() -> None:
    layers = {
        "0": ("ReLU", [row(step, dead_neurons=64) for step in range(30)]),
        "1": ("Linear", healthy()),
        "2": ("ReLU", [row(step, dead_neurons=30) for step in range(30)]),
    }
    assert [(f.layer, f.consequence_of) for f in watch(layers).diagnose().findings] == [("0", None), ("2", "0")]


def test_vanishing_after_saturation_and_dying_in_an_explosion_are_consequences() -> None:
    saturated = [row(step, saturated=4000, min=-1.0, max=1.0) for step in range(10)]
    layers = {"0": ("Linear", healthy(10)), "1": ("Tanh", saturated)}
    layers |= {str(i): ("Linear", [row(step, within_std=1e-6) for step in range(10)]) for i in (2, 3)}
    assert [(f.layer, f.condition, f.consequence_of) for f in watch(layers).diagnose().findings] == [
        ("1", "saturated", None),
        ("2", "vanishing", "1"),
        ("3", "vanishing", "1"),
    ]
    scales = [1.0, 10.0, 1e4, 1e8, 1e12, 1e16, 1e20, 1e24]
    layers = {
        "0": ("ReLU", [row(step, dead_neurons=60 if step >= 1 else 0) for step in range(8)]),
        "1": ("Linear", [row(step, std=scale) for step, scale in enumerate(scales)]),
        "2": ("Linear", [row(0), row(1), *(nothing_finite(step) for step in range(2, 8))]),
    }
    assert [(f.layer, f.condition, f.consequence_of) for f in watch(layers).diagnose().findings] == [
        ("1", "exploding", None),
        ("0", "dead", "1"),
        ("2", "non_finite", "1"),
    ]


def test_nan_explains_what_comes_after_it_not_what_was_so_before_it_in_the_same_step() -> None:
    flat = [row(step, saturated=4000, min=-1.0, max=1.0) for step in range(9)]
    broken = [row(step, nans=3) for step in range(9)]
    layers = {"0": ("Tanh", flat), "1": ("Linear", broken), "2": ("Tanh", flat), "3": ("Linear", healthy(9))}
    assert [(f.layer, f.condition, f.consequence_of) for f in watch(layers).diagnose().findings] == [
        ("0", "saturated", None),
        ("1", "non_finite", None),
        ("2", "saturated", "1"),
    ]


def test_neurons_that_are_off_for_samples_that_are_all_alike_are_a_consequence() -> None:
    def faint(dead: int) -> tuple[str, list[Any]]:
        return "ReLU", [row(step, within_std=1e-6, dead_neurons=dead) for step in range(30)]

    layers = {"0": ("Linear", healthy()), "1": faint(6), "2": faint(20), "3": faint(40)}
    assert [(f.layer, f.condition, f.consequence_of) for f in watch(layers).diagnose().findings][:4] == [
        ("1", "vanishing", None),
        ("1", "dead", "1"),
        ("2", "dead", "1"),
        ("2", "vanishing", "1"),
    ]
    layers = {"0": ("Linear", healthy()), "1": faint(40), "2": faint(40)}
    first = watch(layers).diagnose().findings[0]
    assert (first.layer, first.condition) == ("1", "dead")  # nothing gets through


def test_the_first_culprit_is_first_in_time_then_in_forward_order() -> None:
    def tanh(onset: int) -> list[Any]:
        return [row(s, saturated=4000 if s >= onset else 0, min=-1.0, max=1.0) for s in range(30)]

    layers = {"0": ("Tanh", tanh(12)), "1": ("Tanh", tanh(7)), "2": ("Tanh", tanh(7)), "3": ("Linear", healthy())}
    assert [(layer, step) for layer, _, _, step in found(watch(layers))] == [("1", 7), ("2", 7), ("0", 12)]


def test_the_onset_is_exact_long_after_it_left_the_window() -> None:
    rows = [row(3 * i, saturated=4000 if i >= 41 else 0, min=-1.0, max=1.0) for i in range(1000)]
    assert found(watch({"act": ("Tanh", rows)}, window_size=10)) == [("act", "saturated", "critical", 123)]


def test_unknown_is_not_healthy() -> None:
    assert [layer.status for layer in watch({"a": ("ReLU", healthy(4))}).diagnose().layers] == ["not enough data"]
    assert [layer.status for layer in watch({"a": ("ReLU", healthy(5))}).diagnose().layers] == ["healthy"]
    empty = Diagnoser()
    empty.add(LayerInfo("a", 0))
    (layer,) = empty.diagnose().layers
    assert (layer.status, layer.rows, layer.mean, layer.first_step) == ("not enough data", 0, None, None)


def test_the_table_tells_the_state_now() -> None:
    rows = [row(step, saturated=2048, dead_neurons=16, mean=0.25, std=0.5) for step in range(10)]
    (layer,) = watch({"act": ("Tanh", rows)}).diagnose().layers
    assert (layer.mean, layer.std, layer.dead, layer.saturated) == (0.25, 0.5, 0.25, 0.5)
    assert (layer.status, layer.severity, layer.rows, layer.first_step, layer.last_step) == (
        "dead",
        "serious",
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
    with pytest.raises(ArgumentValueError, match="window_size"):
        Diagnoser(0)
    with pytest.raises(ArgumentTypeError, match="thresholds"):
        Diagnoser(thresholds={})  # type: ignore[arg-type]


def test_kinds() -> None:
    assert kinds.is_passing("MaxPool2d")
    assert not kinds.is_passing("ReLU")
    assert not kinds.is_passing("")
    assert kinds.is_norm("BatchNorm2d")
