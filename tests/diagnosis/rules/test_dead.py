"""Dead neurons: how many, for how long, after how many samples, and what is said of them."""

import numpy as np
import pytest
from synthetic import found, only, plain, row, watch


@pytest.mark.parametrize(
    ("dead", "severity"),
    [(4, None), (5, "warning"), (19, "warning"), (20, "serious"), (50, "serious"), (51, "critical")],
)
def test_dead_neurons_fall_into_the_bands_of_the_contract(dead: int, severity: str | None) -> None:
    rows = [row(step, neurons=100, count=6400, zeros=3200, dead_neurons=dead) for step in range(40)]
    assert found(watch({"act": ("ReLU", rows)})) == ([("act", "dead", severity, 0)] if severity else [])


def test_half_zeros_and_many_silent_neurons_are_healthy() -> None:
    rows = [row(step, zeros=2100, silent_neurons=30) for step in range(40)]
    assert found(watch({"act": ("ReLU", rows)})) == []


def test_dead_waits_for_enough_samples_of_each_neuron() -> None:
    rows = [row(step, count=64 * 8, dead_neurons=40) for step in range(60)]  # 8 samples a row
    few = watch({"act": ("ReLU", rows[:37])}).diagnose()  # 296 samples
    assert few.healthy
    assert "dead" in few.layers[0].not_judged
    assert found(watch({"act": ("ReLU", rows[:38])})) == [("act", "dead", "critical", 0)]


def test_a_small_share_must_last_and_a_large_one_need_not() -> None:
    small = [row(step, dead_neurons=6) for step in range(25)]
    assert found(watch({"act": ("ReLU", small[:24])})) == []
    assert found(watch({"act": ("ReLU", small)})) == [("act", "dead", "warning", 0)]
    assert found(watch({"act": ("ReLU", [row(step, dead_neurons=40) for step in range(5)])})) != []


def test_a_small_share_that_comes_late_counts_from_the_first_silent_row() -> None:
    rows = [row(i, dead_neurons=6 if i >= 50 + 19 else 0) for i in range(75)]
    assert found(watch({"act": ("ReLU", rows[:74])})) == []
    assert found(watch({"act": ("ReLU", rows)})) == [("act", "dead", "warning", 50)]


@pytest.mark.parametrize("total", [75, 400])
def test_death_is_dated_to_the_first_silent_row_even_when_that_has_left_the_window(total: int) -> None:
    # Neurons fall silent at step 10 * 50; each is dead once it was silent for dead_window (20) rows.
    rows = [row(10 * i, zeros=2100, dead_neurons=40 if i >= 50 + 19 else 0) for i in range(total)]
    finding = only({"act": ("ReLU", rows)})
    assert finding.first_step == 500
    assert finding.evidence["dead_ratio"] == 0.625
    assert "learning rate" in finding.cause
    assert finding.remedies[0] == "use a lower learning rate"


def test_death_that_grows_is_dated_to_when_it_became_serious() -> None:
    rows = [row(step, neurons=100, count=6400, dead_neurons=10 + 10 * (step // 20)) for step in range(100)]
    finding = only({"act": ("ReLU", rows)})
    assert (finding.severity, finding.first_step) == ("serious", 20 - 19)
    assert finding.evidence["first_step_of_warning"] == 0


def test_death_from_the_start_is_blamed_on_the_initialisation() -> None:
    finding = only({"act": ("ReLU", [row(step, dead_neurons=60) for step in range(10)])})
    assert "negative bias" in finding.cause
    assert [word for word in ("leaky ReLU", "N(0, sqrt(2/n_in))", "lower learning rate", "batch normalisation")
            if word in " ".join(finding.remedies)] == [
                "leaky ReLU", "N(0, sqrt(2/n_in))", "lower learning rate", "batch normalisation"]  # fmt: skip


def test_a_few_dead_neurons_cost_width_and_more_than_a_few_cost_more() -> None:
    for dead, told in ((6, True), (20, False), (60, False)):
        finding = only({"act": ("ReLU", [row(step, dead_neurons=dead) for step in range(30)])})
        assert ("only width is lost" in finding.cause) is told
        assert "normalise the inputs to mean 0 and standard deviation 1" in finding.remedies


def test_without_neurons_only_a_layer_of_zeros_is_dead() -> None:
    zero = [plain(step, zeros=4096 if step >= 3 else 4095, mean=0.0, std=0.0) for step in range(8)]
    assert found(watch({"act": ("ReLU", zero)})) == [("act", "dead", "critical", 3)]
    assert found(watch({"act": ("ReLU", [plain(step, zeros=4095) for step in range(8)])})) == []


def test_zeros_by_design_are_not_dead() -> None:
    rows = [row(step, zeros=2100, dead_neurons=40) for step in range(40)]
    assert found(watch({"mask": ("Softmax", rows)})) == []
    assert found(watch({"pixels": ("Flatten", rows), "0": ("Linear", [row(step) for step in range(40)])})) == []


def test_the_bound_holds_whichever_neurons_are_silent() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        silent = random.random((5, 64)) < random.uniform(0.7, 1.0)
        rows = [row(i, silent_neurons=int(s.sum()), zeros=64 * int(s.sum())) for i, s in enumerate(silent)]
        truly = int(silent.all(axis=0).sum())
        for finding in watch({"act": ("ReLU", rows)}).diagnose().findings:
            assert 64 * 0.2 <= finding.evidence["dead_neurons"] <= truly  # type: ignore[operator]


@pytest.mark.parametrize(("silent", "severity"), [(64, "critical"), (58, "critical"), (57, "serious"), (53, None)])
def test_many_silent_neurons_need_few_rows(silent: int, severity: str | None) -> None:
    awake = [row(step) for step in range(50)]
    rows = [*awake, *(row(50 + i, silent_neurons=silent, zeros=64 * silent) for i in range(5))]  # 320 samples
    assert found(watch({"act": ("ReLU", rows[:-1])})) == []
    assert found(watch({"act": ("ReLU", rows)})) == ([("act", "dead", severity, 50)] if severity else [])


def test_few_samples_need_more_rows() -> None:
    rows = [row(step, count=64 * 30, silent_neurons=64, zeros=64 * 30) for step in range(10)]  # 30 samples a row
    assert found(watch({"act": ("ReLU", rows[:9])})) == []
    assert found(watch({"act": ("ReLU", rows)})) == [("act", "dead", "critical", 0)]


def test_what_the_neurons_say_themselves_takes_over() -> None:
    rows = [row(i, silent_neurons=60, zeros=3840, dead_neurons=0 if i < 20 else 59) for i in range(40)]
    early, late = only({"act": ("ReLU", rows[:10])}), only({"act": ("ReLU", rows)})
    assert "at least 44 of its 64 neurons (69%) did not fire in the last 5 rows" in early.message
    assert "59 of its 64 neurons (92%) never fire" in late.message
