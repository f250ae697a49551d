"""Dead neurons: how many, for how long, after how many samples, what harm they do, and what is said of them."""

from typing import Any

import numpy as np
import pytest
from supervised import layer, loss, noisy, seen
from synthetic import found, only, plain, row, watch

from fastact import Thresholds


def dying(dead: int, *, since: int = 0, steps: int = 60, **numbers: float) -> list[Any]:
    """Rows of 100 neurons of which so many are silent from a step on, and told dead 20 rows later."""
    return [
        row(
            step,
            neurons=100,
            count=6400,
            zeros=64 * dead * (step >= since),
            silent_neurons=dead * (step >= since),
            dead_neurons=dead * (step >= since + 19),
            **numbers,
        )
        for step in range(steps)
    ]


def notes(layers: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(note.condition, note.layers) for note in watch(layers).diagnose().notes]


@pytest.mark.parametrize(
    ("dead", "severity"),
    [(20, None), (51, None), (89, None), (90, "warning"), (94, "warning"), (95, "critical"), (100, "critical")],
)
def test_what_was_dead_at_first_is_a_finding_where_most_is(dead: int, severity: str | None) -> None:
    layers = {"act": ("ReLU", dying(dead)), "out": ("Linear", [row(step) for step in range(60)])}
    assert found(watch(layers)) == ([("act", "dead", severity, 0)] if severity else [])
    assert notes(layers) == ([] if severity else [("dead", ("act",))])


@pytest.mark.parametrize(("dead", "since", "severity"), [(50, 60, None), (51, 60, "warning"), (80, 30, None)])
def test_most_neurons_that_fall_silent_at_once_and_late_are_a_finding(
    dead: int, since: int, severity: str | None
) -> None:
    rows = dying(dead, since=since, steps=140)
    grown = [row(0, neurons=100, count=6400, silent_neurons=10), *rows[1:]]
    assert found(watch({"act": ("ReLU", grown), "out": ("Linear", [row(step) for step in range(140)])})) == (
        [("act", "dead", severity, since)] if severity else []
    )


@pytest.mark.parametrize(("level", "severity"), [(0.9, "warning"), (0.55, "warning"), (0.45, None)])
def test_where_the_loss_is_far_below_a_constant_answers_only_width_is_lost(level: float, severity: str | None) -> None:
    rows = [row(0, neurons=100, count=6400, silent_neurons=10), *dying(60, since=60, steps=140)[1:]]
    parts = layer("act", rows, "ReLU"), layer("out", [row(step) for step in range(140)])
    diagnoser = seen(*parts, loss(noisy([level] * 140), 1.0, function="mse"))
    assert found(diagnoser) == ([("act", "dead", severity, 60)] if severity else [])


def test_neurons_that_die_one_after_another_are_noted_while_the_others_learn() -> None:
    rows = [
        row(step, neurons=100, count=6400, silent_neurons=min(step, 80), dead_neurons=max(min(step - 19, 80), 0))
        for step in range(160)
    ]
    layers: Any = {"act": ("ReLU", rows), "out": ("Linear", [row(step) for step in range(160)])}
    assert found(watch(layers)) == []
    assert notes(layers) == [("dead", ("act",))]


def test_where_nothing_shows_that_it_does_no_harm_the_bands_of_the_contract_hold() -> None:
    assert found(watch({"act": ("ReLU", dying(60))})) == [("act", "dead", "critical", 0)]
    assert found(watch({"act": ("ReLU", dying(30))})) == [("act", "dead", "serious", 0)]
    before: Any = {"in": ("Linear", [row(step) for step in range(60)])}
    assert found(watch({**before, "act": ("ReLU", dying(60))})) == [("act", "dead", "critical", 0)]
    assert found(watch({**before, "act": ("ReLU", dying(30))})) == []


@pytest.mark.parametrize(
    ("dead", "width", "outputs", "expected"),
    [(25, 50, 50, True), (60, 50, 50, True), (60, 80, 50, False), (60, 50, 8, False)],
)
def test_features_of_a_dictionary_that_die_are_a_finding(dead: int, width: int, outputs: int, expected: bool) -> None:
    def layer(kind: str, neurons: int) -> tuple[str, list[Any]]:
        return kind, [row(step, neurons=neurons, count=64 * neurons) for step in range(80)]

    layers = {"input": layer("Input", width), "encoder": layer("Linear", 100)}
    layers |= {"act": ("ReLU", dying(dead, since=10, steps=80)), "decoder": layer("Linear", outputs)}
    assert found(watch(layers)) == ([("act", "dead", "warning", 10)] if expected else [])


def test_neurons_before_a_narrow_code_are_width() -> None:
    def layer(kind: str, neurons: int) -> tuple[str, list[Any]]:
        return kind, [row(step, neurons=neurons, count=64 * neurons) for step in range(80)]

    layers = {"input": layer("Input", 64), "encoder": layer("Linear", 100)}
    layers |= {"act": ("ReLU", dying(60, since=10, steps=80)), "mean": layer("Linear", 8), "out": layer("Linear", 64)}
    assert found(watch(layers)) == []


def test_what_is_dead_must_last_to_be_noted() -> None:
    rows = dying(40, since=30, steps=100)
    after: Any = {"out": ("Linear", [row(step) for step in range(60)])}
    assert notes({"act": ("ReLU", rows[: 30 + 39]), **after}) == []
    assert notes({"act": ("ReLU", rows[: 30 + 40]), **after}) == [("dead", ("act",))]


def test_most_neurons_dead_are_serious_where_the_layers_after_them_have_lost_the_signal() -> None:
    lost = [row(step, within_std=1e-4) for step in range(60)]
    layers: Any = {"act": ("ReLU", dying(60)), "out": ("Linear", [row(step) for step in range(60)])}
    assert found(watch(layers)) == []
    diagnosis = watch({**layers, "out": ("Linear", lost)}).diagnose()
    (finding,) = (finding for finding in diagnosis.findings if finding.condition == "dead")
    assert finding.severity == "serious"


def test_a_few_dead_neurons_are_noted_once_for_all_layers() -> None:
    healthy = ("Linear", [row(step) for step in range(60)])
    layers = {"a": ("ReLU", dying(25)), "x": healthy, "b": ("ReLU", dying(30)), "y": healthy}
    diagnosis = watch(layers).diagnose()
    assert diagnosis.healthy
    (note,) = diagnosis.notes
    assert note.message == (
        "a (ReLU) has been partly dead since step 0: 25 of its 100 neurons (25%) never fire; the others do, and only "
        "width is lost. Similar in b."
    )
    assert notes({"a": ("ReLU", dying(19)), "x": healthy}) == []


@pytest.mark.parametrize(
    ("neurons", "dead", "severity"), [(4, 1, None), (4, 3, None), (9, 8, None), (9, 9, "critical")]
)
def test_of_few_neurons_only_all_are_a_finding(neurons: int, dead: int, severity: str | None) -> None:
    rows = [
        row(step, neurons=neurons, count=64 * neurons, silent_neurons=dead, dead_neurons=dead * (step > 18))
        for step in range(60)
    ]
    assert [severity for *_, severity, _ in found(watch({"act": ("ReLU", rows)}))] == ([severity] if severity else [])


def test_half_zeros_and_many_silent_neurons_are_healthy() -> None:
    rows = [row(step, zeros=2100, silent_neurons=30) for step in range(60)]
    diagnosis = watch({"act": ("ReLU", rows)}).diagnose()
    assert diagnosis.healthy
    assert not diagnosis.notes


@pytest.mark.parametrize("total", [175, 400])
def test_death_is_dated_to_the_first_silent_row_even_when_that_has_left_the_window(total: int) -> None:
    # Neurons fall silent at step 10 * 50; each is dead once it was silent for dead_window (20) rows.
    rows = [
        row(10 * i, silent_neurons=40 * (i >= 50), zeros=2100, dead_neurons=40 if i >= 50 + 19 else 0)
        for i in range(total)
    ]
    finding = only({"act": ("ReLU", rows)})
    assert finding.first_step == 500
    assert finding.evidence["dead_ratio"] == 0.625
    assert finding.cause_name == "learning_rate"
    assert finding.remedies[0] == "use a lower learning rate"


def test_death_that_takes_more_rows_than_the_window_has_is_dated_to_before_it() -> None:
    rows = [row(i, neurons=64, count=64, silent_neurons=64, zeros=64, dead_neurons=64 * (i >= 299)) for i in range(500)]
    finding = only({"act": ("ReLU", rows)})
    assert finding.first_step == 0
    assert finding.cause_name == "initialisation"


def test_death_that_grows_is_dated_to_when_most_were_dead() -> None:
    rows = [
        row(step, neurons=100, count=6400, silent_neurons=13 * (step // 20), dead_neurons=13 * (step // 20))
        for step in range(160)
    ]
    finding = only({"act": ("ReLU", rows)}, window_size=200)
    assert (finding.severity, finding.first_step) == ("critical", 80 - 19)
    assert finding.evidence["first_step_of_warning"] == 40 - 19


def test_without_neurons_only_a_layer_of_zeros_is_dead() -> None:
    zero = [plain(step, zeros=4096 if step >= 3 else 4095, mean=0.0, std=0.0) for step in range(8)]
    assert found(watch({"act": ("ReLU", zero)})) == [("act", "dead", "critical", 3)]
    assert found(watch({"act": ("ReLU", [plain(step, zeros=4095) for step in range(8)])})) == []
    few = [plain(step, count=7, zeros=7, mean=0.0, std=0.0) for step in range(43)]
    assert found(watch({"act": ("ReLU", few[:42])})) == []
    assert found(watch({"act": ("ReLU", few)})) == [("act", "dead", "critical", 0)]


def test_zeros_by_design_are_not_dead() -> None:
    rows = [row(step, zeros=2100, dead_neurons=40) for step in range(40)]
    assert found(watch({"mask": ("Softmax", rows)})) == []
    for layer_type in ("Flatten", "Input"):
        layers = {"pixels": (layer_type, rows), "0": ("Linear", [row(step) for step in range(40)])}
        assert found(watch(layers)) == []


def test_the_bound_holds_whichever_neurons_are_silent() -> None:
    random = np.random.default_rng(0)
    told = 0
    for _ in range(300):
        silent = random.random((5, 64)) < random.uniform(0.97, 1.0)
        rows = [row(i, silent_neurons=int(s.sum()), zeros=64 * int(s.sum())) for i, s in enumerate(silent)]
        truly = int(silent.all(axis=0).sum())
        for finding in watch({"act": ("ReLU", rows)}).diagnose().findings:
            if finding.condition == "dead":
                told += 1
                assert 64 * 0.95 <= finding.evidence["dead_neurons"] <= truly  # type: ignore[operator]
    assert told > 30


@pytest.mark.parametrize(("silent", "severity"), [(100, "critical"), (99, "critical"), (98, None)])
def test_a_layer_that_passes_nothing_needs_few_rows(silent: int, severity: str | None) -> None:
    awake = [row(step, neurons=100, count=6400) for step in range(50)]
    sick = [
        row(50 + i, neurons=100, count=6400, silent_neurons=silent, zeros=64 * silent) for i in range(5)
    ]  # 320 samples
    assert found(watch({"act": ("ReLU", [*awake, *sick[:-1]])})) == []
    want = [("act", "dead", severity, 50)] if severity else []
    assert found(watch({"act": ("ReLU", [*awake, *sick])})) == want


def test_few_samples_need_more_rows() -> None:
    rows = [row(step, count=64 * 30, silent_neurons=64, zeros=64 * 30) for step in range(10)]  # 30 samples a row
    assert found(watch({"act": ("ReLU", rows[:9])})) == []
    assert found(watch({"act": ("ReLU", rows)})) == [("act", "dead", "critical", 0)]


def test_one_that_fires_seldom_among_many_that_do_is_sparse_and_not_dead() -> None:
    # 1000 neurons, of which one fires in each row of one sample: rows in which all others are silent.
    rows = [row(i, neurons=1000, count=1000, zeros=999, silent_neurons=999) for i in range(400)]
    assert found(watch({"act": ("ReLU", rows)}, window_size=500)) == []


def test_a_layer_that_was_declared_sparse_needs_more_samples() -> None:
    from fastact.diagnosis.diagnoser import Diagnoser
    from fastact.history import LayerInfo

    def told(rows: int, *, sparse: bool) -> bool:
        diagnoser = Diagnoser()
        diagnoser.add(LayerInfo("act", 0, "ReLU", "float32", sparse=sparse))
        for step in range(rows):
            diagnoser.append("act", row(step, silent_neurons=64, zeros=4096))
        return not diagnoser.diagnose().healthy

    assert [told(5, sparse=False), told(46, sparse=True), told(47, sparse=True)] == [True, False, True]


def test_what_the_neurons_say_themselves_takes_over() -> None:
    rows = [row(i, silent_neurons=64, zeros=4096, dead_neurons=0 if i < 19 else 64) for i in range(40)]
    early, late = only({"act": ("ReLU", rows[:10])}), only({"act": ("ReLU", rows)})
    assert early.message == "act (ReLU) has been dead since step 0: none of its neurons fired in the last 5 rows."
    assert late.message == "act (ReLU) has been dead since step 0: none of its neurons ever fires."


def test_thresholds_move_the_bands() -> None:
    assert found(watch({"act": ("ReLU", dying(40))}, thresholds=Thresholds(dead_critical=0.3, dead_most=0.35))) != []


def test_a_layer_silent_from_the_start_is_dead_since_then_also_with_a_row_of_few_samples() -> None:
    late = [
        row(step, count=320 if step == 14 else 8192, zeros=320 if step == 14 else 8192, neurons=64, silent_neurons=64,
            dead_neurons=64 if step >= 20 else 0, min=0.0, max=0.0, mean=0.0, std=0.0)
        for step in range(40)
    ]  # fmt: skip
    finding = (
        watch({"act": ("ReLU", late), "out": ("Linear", [row(step) for step in range(40)])}).diagnose().findings[0]
    )
    assert (finding.layer, finding.condition, finding.first_step) == ("act", "dead", 0)
