"""The diagnosis as a whole: it never fails, changes nothing, depends on rows alone, and tells causes from effects."""

import itertools
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import found, nothing_finite, row, watch

import fastact
from fastact.diagnosis import layer_types, onsets
from fastact.diagnosis.diagnoser import Diagnoser, Diagnosis
from fastact.diagnosis.rules import Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import ROW, ROW_DTYPE
from fastact.history import LayerInfo

KINDS = [
    "",
    "Linear",
    "Gradient",
    "Conv2d",
    "ReLU",
    "Tanh",
    "Sigmoid",
    "Dropout",
    "Flatten",
    "BatchNorm1d",
    "Softmax",
    "LogSoftmax",
    "ReLU6",
]

DTYPES = ["float32", "float16", "bfloat16", "float8_e4m3fn"]
dtypes = st.sampled_from(DTYPES)

counts = st.one_of(st.sampled_from([0, 1, 64, 4096, 2**62]), st.integers(0, 5000))
reals = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e-9, 1e5, 1e300, -1e308, 5e-324, math.inf, -math.inf, math.nan]), st.floats()
)


@st.composite
def layers_and_rows(draw: st.DrawFn) -> tuple[list[LayerInfo], list[list[tuple[Any, ...]]]]:
    """Up to five layers, each with runs of equal rows of any numbers, so that conditions last."""
    infos = [
        LayerInfo(f"{draw(st.sampled_from(['layer', 'experts.']))}{i}", i, draw(st.sampled_from(KINDS)), draw(dtypes))
        for i in range(draw(st.integers(0, 5)))
    ]
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


#: What a row can say of a layer: healthy, sick in each way, or that nothing can be told.
SCENES: list[dict[str, float]] = [
    {}, {"nans": 3}, {"neg_infs": 1}, {"saturated": 4000, "min": -1.0, "max": 1.0}, {"dead_neurons": 5},
    {"dead_neurons": 40}, {"within_std": 1e-6}, {"std": 1e-9, "within_std": 1e-9}, {"std": 1e12}, {"std": 5e3},
    {"count": 64 * 3, "within_std": 0.0}, {"count": 0, "neurons": 0, "within_std": math.nan},
    {"zeros": 4096, "mean": 0.0, "std": 0.0, "neurons": 0, "within_std": math.nan},
    {"mean": 1e200, "std": 1e200},
    {"count": 2**62, "saturated": 2**61 - 1, "neurons": 2**61, "dead_neurons": 2**60},
    {"count": 2**62, "neurons": 2**61, "dead_neurons": int(0.05 * 2**61) - 1},
    {"count": 2**60 - 1, "neurons": 2**57, "within_std": 0.0}, {"min": -1e308, "typical_peak": 1e308},
    {"max": 100.0, "typical_peak": 2.4}, {"max": 100.0, "typical_peak": math.nan}, {"abs_mean": 1e-6},
    {"abs_mean": 2.0**-14, "zeros": 2**62, "count": 2**62 + 1},
    {"abs_mean": 0.0, "zeros": 4096, "mean": 0.0, "std": 0.0}, {"std": 3.0}, {"count": 0},
]  # fmt: skip


#: How long each of them lasts, in rows.
stories = st.lists(
    st.tuples(st.sampled_from([*[None] * 6, *SCENES]), st.integers(1, 3) | st.integers(1, 30)), max_size=8
)

#: How rows are handed over: so many at a time, at once or one by one; over and over.
handovers = st.lists(st.tuples(st.integers(1, 5) | st.integers(1, 200), st.booleans()), min_size=1, max_size=5)


def followed(diagnoser: Diagnoser, name: str) -> str:
    """All that is followed of a layer: NaN equals NaN here."""
    view = diagnoser._trackers[name].view(0)
    return repr((view.start, view.first, sorted(view.streaks.items()), view.rows.tolist()))


@settings(max_examples=300)
@given(
    stories, handovers, st.integers(1, 40), st.sampled_from(KINDS), st.sampled_from(DTYPES), st.integers(1, 50),
    st.integers(1, 6),
)  # fmt: skip
@pytest.mark.parametrize("few", [0, 48], ids=["columns only", "the default"])
def test_rows_one_at_a_time_and_many_at_once_are_the_same(
    few: int,
    story: list[tuple[dict[str, float] | None, int]],
    parts: list[tuple[int, bool]],
    window_size: int,
    kind: str,
    dtype: str,
    dead_window: int,
    min_rows: int,
) -> None:
    scenes = [scene for scene, length in story for _ in range(length)]
    rows = [nothing_finite(3 * i) if scene is None else row(3 * i, **scene) for i, scene in enumerate(scenes)]
    one, many = (Diagnoser(window_size, Thresholds(dead_window=dead_window, min_rows=min_rows)) for _ in range(2))
    name = "experts.0"  # which is followed for more than another name
    for diagnoser in (one, many):
        diagnoser.add(LayerInfo(name, 0, kind, dtype))
    turns, place = itertools.cycle(parts), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onsets, "_FEW", few)  # with 0 not even one row goes the way of a single one
        while place < len(rows):
            size, at_once = next(turns)
            part = rows[place : place + size]
            place += size
            for item in part:
                one.append(name, item)
                if not at_once:
                    many.append(name, item)
            if at_once:
                many.extend(name, np.array(part, ROW_DTYPE))
            assert followed(one, name) == followed(many, name)
    assert one.diagnose() == many.diagnose()


@pytest.mark.parametrize("rows", [1, 47, 48, 500])
def test_many_rows_may_be_a_part_of_another_array(rows: int) -> None:
    table = np.array([row(step, saturated=4000, min=-1.0, max=1.0) for step in range(2 * rows)], ROW_DTYPE)
    diagnoser, other = Diagnoser(), Diagnoser()
    for each in (diagnoser, other):
        each.add(LayerInfo("a", 0, "Tanh"))
    diagnoser.extend("a", table[::2])
    table[1::2] = table[::2]
    other.extend("a", table[1::2])
    table["saturated"] = 0  # what was given is not kept
    assert followed(diagnoser, "a") == followed(other, "a")
    assert diagnoser.diagnose().healthy == (rows < 5)


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


def test_kinds() -> None:
    assert layer_types.is_passing("MaxPool2d")
    assert not layer_types.is_passing("ReLU")
    assert not layer_types.is_passing("")
    assert layer_types.is_norm("BatchNorm2d")


def test_dropout_hands_nan_on_and_is_not_where_it_was_born() -> None:
    def broken(since: int) -> list[Any]:
        return [nothing_finite(step) if step >= since else row(step) for step in range(12)]

    # One dropout serves the block after its attention and after its second layer, so it counts as before them.
    block = {"drop": ("Dropout", broken(10)), "fc1": ("Linear", broken(10)), "fc2": ("Linear", broken(10))}
    (first, *rest) = watch({"attn": ("Linear", [row(step) for step in range(12)]), **block}).diagnose().findings
    assert (first.layer, first.consequence_of) == ("fc1", None)
    assert {(finding.layer, finding.consequence_of) for finding in rest} == {("drop", "fc1"), ("fc2", "fc1")}
    # A step earlier it is the first that is seen.
    early = {**block, "drop": ("Dropout", broken(9))}
    assert watch(early).diagnose().findings[0].layer == "drop"
    alone = {"drop": ("Dropout", broken(10)), "act": ("Tanh", [row(step) for step in range(12)])}
    assert watch(alone).diagnose().findings[0].layer == "drop"


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
    (finding,) = run(gradients=True, broken=30).findings
    assert (finding.layer, finding.condition, finding.first_step) == ("b:grad", "non_finite", 30)


def test_what_explodes_with_depth_explains_what_comes_after_it_alone() -> None:
    steps = range(10)
    flat = ("Sigmoid", [row(s, saturated=4000) for s in steps])
    layers = {"in": ("Linear", [row(s) for s in steps]), "before": flat}
    layers |= {"big": ("Linear", [row(s, std=5e4) for s in steps]), "after": flat, "out": layers["in"]}
    diagnosis = watch(layers).diagnose()
    assert {f.layer: f.consequence_of for f in diagnosis.findings} == {"before": None, "big": None, "after": "big"}


def test_an_explosion_long_after_a_nan_follows_from_it() -> None:
    broken = [row(s, nans=int(s >= 10)) for s in range(40)]
    for born, culprit in ((12, "exploding"), (30, "non_finite")):
        large = [row(s, std=1.0 if s < born else 1e5) for s in range(40)]
        layers = {"0": ("Linear", broken), "1": ("Linear", large), "2": ("Linear", [row(s) for s in range(40)])}
        findings = watch(layers).diagnose().findings
        assert [f.condition for f in findings if f.consequence_of is None] == [culprit]
        assert len(findings) == 2


def test_what_fades_later_is_no_reason_for_what_faded_before() -> None:
    def fades(at: int) -> tuple[str, list[Any]]:
        return "Linear", [row(s, within_std=0.9 if s < at else 1e-3) for s in range(60)]

    end = {"norm": ("LayerNorm", [row(s) for s in range(60)])}
    for first, second, culprits in ((20, 22, ["0"]), (20, 40, ["0"]), (40, 20, ["1", "0"])):
        diagnosis = watch({"0": fades(first), "1": fades(second), **end}).diagnose()
        assert [f.layer for f in diagnosis.culprits if f.condition == "vanishing"] == culprits
