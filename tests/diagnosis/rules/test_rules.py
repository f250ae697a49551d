"""Each condition: when it is found, when it is not, and what is said about it."""

import math
from dataclasses import fields
from typing import Any

import pytest
from synthetic import found, nothing_finite, plain, row, watch

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.rule import Network
from fastact.diagnosis.rules import RULES, Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError


def only(layers: dict[str, Any], **more: Any) -> Finding:
    """The one finding there is."""
    (finding,) = watch(layers, **more).diagnose().findings
    return finding


# --- dead


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
        assert ("lost is width" in finding.cause) is told
        assert "normalise the inputs to mean 0 and standard deviation 1" in finding.remedies


def test_without_neurons_only_a_layer_of_zeros_is_dead() -> None:
    zero = [plain(step, zeros=4096 if step >= 3 else 4095, mean=0.0, std=0.0) for step in range(8)]
    assert found(watch({"act": ("ReLU", zero)})) == [("act", "dead", "critical", 3)]
    assert found(watch({"act": ("ReLU", [plain(step, zeros=4095) for step in range(8)])})) == []


def test_zeros_by_design_are_not_dead() -> None:
    rows = [row(step, zeros=2100, dead_neurons=40) for step in range(40)]
    assert found(watch({"mask": ("Softmax", rows)})) == []
    assert found(watch({"pixels": ("Flatten", rows), "0": ("Linear", [row(step) for step in range(40)])})) == []


# --- saturated


def saturated(share: float, steps: range = range(10), **more: float) -> list[Any]:
    return [row(step, saturated=int(4096 * share), min=-1.0, max=1.0, **more) for step in steps]


@pytest.mark.parametrize(
    ("share", "severity"), [(0.49, None), (0.51, "warning"), (0.7, "serious"), (0.9, "critical")]
)  # fmt: skip
def test_saturation_by_share(share: float, severity: str | None) -> None:
    assert found(watch({"act": ("Tanh", saturated(share))})) == (
        [("act", "saturated", severity, 0)] if severity else []
    )


@pytest.mark.parametrize(
    ("kind", "numbers", "judged"),
    [
        ("Sigmoid", {}, True),
        ("Linear", {}, False),
        ("Softmax", {}, False),
        ("ReLU", {}, False),
        ("", {}, True),  # looks like a tanh
        ("", {"max": 1.5}, False),
        ("", {"min": 0.0}, False),  # pixels
    ],
)
def test_saturation_knows_what_is_bounded(kind: str, numbers: dict[str, float], judged: bool) -> None:
    rows = [row(step, **{"saturated": 4000, "min": -1.0, "max": 1.0, **numbers}) for step in range(10)]
    assert bool(found(watch({"act": (kind, rows)}))) is judged


def test_what_a_layer_learned_to_saturate_is_sick_only_when_hardly_any_gradient_is_left() -> None:
    def rising(rows: int, to: float) -> list[Any]:
        """From 20% to 50% within so many rows, then held at `to`."""
        ramp = [row(i, saturated=int(4096 * (0.2 + 0.3 * i / rows)), min=-1.0, max=1.0) for i in range(rows)]
        return ramp + saturated(to, range(rows, rows + 10))

    # Half of the warning (25%) is reached after a sixth of the ramp.
    assert found(watch({"act": ("Tanh", rising(36, 0.7))})) == []
    assert found(watch({"act": ("Tanh", rising(36, 0.9))})) == [("act", "saturated", "critical", 36)]
    assert found(watch({"act": ("Tanh", rising(12, 0.7))})) == [("act", "saturated", "serious", 12)]
    soon = Thresholds(saturated_rows=5)
    assert found(watch({"act": ("Tanh", rising(12, 0.7))}, thresholds=soon)) == []
    # It was so from the first row: nobody learned it.
    assert found(watch({"act": ("Tanh", saturated(0.4, range(30)) + saturated(0.7, range(30, 40)))})) == []
    assert found(watch({"act": ("Tanh", saturated(0.6, range(40)))})) == [("act", "saturated", "warning", 0)]


def test_a_sigmoid_among_other_activations_is_a_gate_that_may_open_and_shut() -> None:
    hidden = ("Linear", [row(step) for step in range(30)])
    shut = saturated(0.0, range(5)) + saturated(0.9, range(5, 30))
    for other, judged in (("ReLU", False), ("Tanh", False), ("Linear", True), ("Sigmoid", True), ("BatchNorm1d", True)):
        layers = {"act": (other, [row(step) for step in range(30)]), "gate": ("Sigmoid", shut), "out": hidden}
        assert bool(found(watch(layers))) is judged
        born = {**layers, "gate": ("Sigmoid", saturated(0.9, range(30)))}
        assert found(watch(born)) == [("gate", "saturated", "critical", 0)]


def test_saturation_must_be_there_in_each_of_the_last_rows() -> None:
    rows = saturated(0.9, range(20)) + saturated(0.1, range(20, 21)) + saturated(0.9, range(21, 25))
    assert found(watch({"act": ("Tanh", rows)})) == []
    rows += saturated(0.9, range(25, 26))
    assert found(watch({"act": ("Tanh", rows)})) == [("act", "saturated", "critical", 21)]


def test_outputs_near_the_bounds_are_good_predictions() -> None:
    hidden = ("Linear", [row(step) for step in range(20)])
    assert found(watch({"0": hidden, "out": ("Sigmoid", saturated(0.9))})) == []
    learned = saturated(0.0, range(5)) + saturated(0.9, range(5, 20))
    assert found(watch({"0": hidden, "out": ("Tanh", learned)})) == []
    assert found(watch({"0": hidden, "out": ("Tanh", saturated(0.9))})) != []
    assert found(watch({"act": ("Tanh", learned), "0": hidden})) == [("act", "saturated", "critical", 5)]


# --- exploding


def scaled(*scales: float, first: int = 0) -> list[Any]:
    return [row(first + i, mean=0.0, std=scale, within_std=scale) for i, scale in enumerate(scales)]


def test_explosion_is_found_in_five_rows_and_survives_nan() -> None:
    rows = [*scaled(1.0, 30.0, 1e5, 1e12), nothing_finite(4)]
    findings = watch({"0": ("Linear", rows)}).diagnose().findings
    assert [(f.condition, f.first_step, f.consequence_of) for f in findings] == [
        ("exploding", 2, None),
        ("non_finite", 4, "0"),
    ]
    assert findings[0].evidence["growth"] == 1e12
    later = rows + [nothing_finite(step) for step in range(5, 300)]
    assert [f.first_step for f in watch({"0": ("Linear", later)}).diagnose().findings] == [2, 4]


@pytest.mark.parametrize(
    "scales",
    [
        [0.1 * 1.05**i for i in range(110)],  # logits that grow 200 times
        [*[1.0] * 20, 1e9, *[1.0] * 20],  # one odd batch
        [*[1.0] * 20, 1e9],  # one odd batch, so far
        [2e4] * 20,  # inputs that nobody normalised
        [1e-9, *[0.5] * 20],  # a branch that starts at zero
    ],
)
def test_growth_that_is_no_explosion(scales: list[float]) -> None:
    assert found(watch({"0": ("Linear", scaled(*scales)), "1": ("Linear", scaled(*[1.0] * len(scales)))})) == []


def test_the_output_may_follow_the_scale_of_the_targets() -> None:
    hidden = ("Linear", scaled(*[1.0] * 12))
    regression = scaled(0.1, 1.0, 1e2, *[1e4] * 9)
    assert found(watch({"0": hidden, "1": ("Linear", regression)})) == []
    assert found(watch({"0": ("Linear", regression), "1": hidden})) != []


def test_explosion_over_depth() -> None:
    layers = {str(i): ("Linear", scaled(*[10.0**i] * 10)) for i in range(8)}
    findings = watch(layers).diagnose().findings
    assert [(f.layer, f.condition, f.consequence_of) for f in findings] == [
        ("4", "exploding", None),
        ("5", "exploding", "4"),
        ("6", "exploding", "4"),
    ]
    assert findings[0].evidence["growth_per_layer"] == pytest.approx(10.0)
    assert "initialis" in findings[0].remedies[0]


def test_growth_is_measured_from_the_first_finite_row() -> None:
    rows = [nothing_finite(0), *scaled(500.0, *[5000.0] * 9, first=1)]
    assert {f.condition for f in watch({"0": ("Linear", rows)}).diagnose().findings} == {"non_finite"}


# --- vanishing


def signals(*values: float, kinds: str = "Linear", rows: int = 10, **more: float) -> dict[str, Any]:
    return {str(i): (kinds, [row(s, within_std=v, **more) for s in range(rows)]) for i, v in enumerate(values)}


def test_vanishing_over_depth_names_the_layer_where_the_signal_is_lost() -> None:
    findings = watch(signals(0.5, 0.1, 0.02, 4e-4, 1e-6, 1e-9)).diagnose().findings
    assert [(f.layer, f.consequence_of) for f in findings] == [("3", None), ("4", "3"), ("5", "3")]
    first = findings[0]
    assert first.severity == "critical"  # by what reaches the end
    assert first.evidence["bits_lost"] == pytest.approx(math.log2(0.5 / 4e-4))
    assert first.evidence["bits_lost_after"] == pytest.approx(math.log2(0.5 / 1e-9))
    assert first.evidence["reference_layer"] == "0"


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 1e-6, 0.5, 0.4],  # small by design, or before a normalisation
        [0.5, 0.1, 0.02, 1e-6],  # the output alone follows its targets
        [2e4, 2e4, 1.0, 1.0],  # large inputs
        [1e-5, 1e-5, 1e-5, 1e-5],  # small inputs
        [0.0, 0.0, 0.0, 0.0],
        [0.26, 0.06, 0.033, 0.0076, 0.0044],  # two sigmoid layers as PyTorch initialises them
    ],
)
def test_what_is_small_has_not_vanished(values: list[float]) -> None:
    assert found(watch(signals(*values))) == []


def test_a_batch_of_few_samples_says_nothing_of_what_they_differ_by() -> None:
    layers = signals(0.5, 0.5, 0.0, 0.0, count=64 * 7)
    diagnosis = watch(layers).diagnose()
    assert diagnosis.healthy
    assert all("vanishing" in layer.not_judged for layer in diagnosis.layers)


def test_collapse_over_steps() -> None:
    rows = [row(step, within_std=1.0 if step < 20 else 1e-4) for step in range(40)]
    layers = {"0": ("Linear", rows), "1": ("LayerNorm", [row(step) for step in range(40)])}
    assert found(watch(layers)) == [("0", "vanishing", "serious", 20)]


def test_std_stands_in_where_no_layer_was_swept_per_neuron() -> None:
    values = (1.0, 1e-2, 1e-4, 1e-6)
    layers = {str(i): ("Tanh", [plain(step, std=value) for step in range(10)]) for i, value in enumerate(values)}
    assert [f.layer for f in watch(layers).diagnose().culprits] == ["2"]


# --- non_finite


def test_the_first_layer_at_the_first_step_is_the_culprit() -> None:
    layers = {
        "0": ("Linear", [row(s, nans=5 if s >= 8 else 0) for s in range(12)]),
        "1": ("ReLU", [row(s, pos_infs=3 if s >= 7 else 0) for s in range(12)]),
        "2": ("Linear", [row(s, nans=9 if s >= 7 else 0) for s in range(12)]),
    }
    findings = watch(layers).diagnose().findings
    assert [(f.layer, f.first_step, f.consequence_of) for f in findings] == [
        ("1", 7, None),
        ("2", 7, "1"),
        ("0", 8, "1"),
    ]
    assert "Inf" in findings[0].message
    assert "NaN" not in findings[0].message


def test_a_nan_that_went_is_still_told_until_it_leaves_the_window() -> None:
    rows = [row(step, nans=1 if step in (30, 33) else 0) for step in range(200)]
    assert found(watch({"0": ("Linear", rows[:35])}, window_size=20)) == [("0", "non_finite", "serious", 30)]
    assert found(watch({"0": ("Linear", rows[:53])}, window_size=20)) == [("0", "non_finite", "serious", 30)]
    assert found(watch({"0": ("Linear", rows[:54])}, window_size=20)) == []


def test_minus_infinity_is_meant_in_a_log_softmax() -> None:
    rows = [row(step, neg_infs=9) for step in range(6)]
    assert found(watch({"0": ("LogSoftmax", rows)})) == []
    assert found(watch({"0": ("Linear", rows)})) == [("0", "non_finite", "critical", 0)]
    worse = [row(step, neg_infs=9, nans=int(step == 4)) for step in range(6)]
    assert found(watch({"0": ("LogSoftmax", worse)})) == [("0", "non_finite", "serious", 4)]


# --- recurrent layers


def test_a_recurrent_layer_at_the_ends_of_tanh_is_saturated() -> None:
    flat = [row(step, saturated=3000, min=-1.0, max=1.0) for step in range(9)]
    unbounded = [row(step, saturated=3000, min=-1.0, max=2.0) for step in range(9)]
    end = ("Linear", [row(step) for step in range(9)])
    finding = only({"rnn[0]": ("RNN", flat), "head": end})
    assert (finding.condition, finding.severity) == ("saturated", "serious")
    assert not any("ReLU" in remedy for remedy in finding.remedies)
    assert found(watch({"lstm[1][1]": ("LSTM", unbounded), "head": end})) == []


# --- remedies and thresholds


def test_no_remedy_that_the_network_has() -> None:
    norm = ("BatchNorm1d", [row(step) for step in range(10)])
    layer_norm = ("LayerNorm", [row(step) for step in range(10)])
    linear = ("Linear", [row(step) for step in range(10)])
    for sick in (("ReLU", [row(s, dead_neurons=60) for s in range(10)]), ("Tanh", saturated(0.9))):
        assert any("batch norm" in r for r in only({"0": sick, "1": linear}).remedies)
        assert not any("batch norm" in r for r in only({"0": sick, "1": norm}).remedies)
    explosion = ("Linear", scaled(*[10.0**i for i in range(9)]))
    assert any("layer norm" in r for r in only({"0": explosion, "1": norm}).remedies)
    assert not any("layer norm" in r for r in only({"0": explosion, "1": layer_norm}).remedies)
    for kind, has in (("Sigmoid", True), ("GELU", False)):
        culprit = watch(signals(0.5, 1e-6, 1e-9, kinds=kind)).diagnose().culprits[0]
        assert any("ReLU family" in r for r in culprit.remedies) is has


def test_causes_and_remedies_fit_the_layer_and_the_network() -> None:
    dead = [row(s, dead_neurons=64, zeros=4096) for s in range(10)]
    relu, linear = only({"0": ("ReLU", dead)}), only({"0": ("Conv2d", dead)})
    assert any("leaky ReLU" in remedy for remedy in relu.remedies)
    assert not any("ReLU" in remedy for remedy in linear.remedies)
    assert "initialised or loaded" in linear.remedies[0]

    steps = range(40)
    fading = [row(s, within_std=0.9 if s < 20 else 1e-3) for s in steps]
    fed = watch(
        {"0": ("Linear", [row(s) for s in steps]), "1": ("Linear", fading), "2": ("LayerNorm", scaled(*[1] * 40))}
    )
    assert "weight decay" in fed.diagnose().culprits[0].remedies[0]
    blank = watch({"1": ("Linear", [row(s, within_std=0.9 if s < 20 else 0.0) for s in steps]), "2": ("ReLU", fading)})
    assert "the data differs" in blank.diagnose().culprits[0].remedies[0]

    for kind, words in (("Tanh", "Xavier"), ("ReLU", "He init"), ("Linear", "keeps the scale")):
        lost = watch(signals(0.5, 1e-6, 1e-9, kinds=kind)).diagnose().culprits[0]
        assert words in " ".join(lost.remedies)

    bad = [row(s, nans=4) for s in range(3)]
    first, later = only({"0": ("Linear", bad)}), only({"0": ("ReLU", [row(0)]), "1": ("Linear", bad)})
    assert "check the inputs" in first.remedies[0]
    assert "epsilon" in later.remedies[0]
    assert "Its weights hold NaN" in later.cause


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.condition)
def test_every_rule_states_formula_and_source(rule: Any) -> None:
    assert "Formula" in (type(rule).__doc__ or "")
    assert "Source:" in (type(rule).__doc__ or "")


@pytest.mark.parametrize("name", [item.name for item in fields(Thresholds)])
def test_thresholds_refuse_what_makes_no_sense_by_name(name: str) -> None:
    for value in (-1, 0, "1", None, True, math.nan, math.inf):
        with pytest.raises(FastactError, match=rf"^{name}: got"):
            Thresholds(**{name: value})  # type: ignore[arg-type]
    assert name in Thresholds.describe()


def test_thresholds_refuse_bands_out_of_order_and_are_used() -> None:
    for wrong in (
        {"dead_warning": 0.6},
        {"saturated_critical": 0.1},
        {"explode_critical": 2.0},
        {"vanish_serious": 0.5},
    ):
        with pytest.raises(ArgumentValueError, match="want"):
            Thresholds(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="min_rows"):
        Thresholds(min_rows=2.5)  # type: ignore[arg-type]
    low = Thresholds(saturated_warning=0.1)
    assert found(watch({"act": ("Tanh", saturated(0.2))}, thresholds=low)) == [("act", "saturated", "warning", 0)]


# --- drifting


def scales(*parts: tuple[int, float], noise: float = 0.02) -> list[Any]:
    """Rows whose rms holds a level for so many rows each, but for a little noise."""
    levels = [level for rows, level in parts for _ in range(rows)]
    return [row(i, mean=0.0, std=level * (1.0 + noise * math.sin(7.0 * i))) for i, level in enumerate(levels)]


@pytest.mark.parametrize("factor", [200.0, 5.0, 0.2, 1e-3])
def test_a_sudden_change_that_lasts_is_drift(factor: float) -> None:
    rows = scales((60, 1.0), (18, factor))
    # 60 rows against 18 are a chance of 9.5e-7 by Pettitt's formula; 2 rows before may look as if they were after.
    assert found(watch({"fc": ("Linear", rows[:75])})) == []
    finding = only({"fc": ("Linear", rows)})
    assert (finding.condition, finding.severity) == ("drifting", "warning")
    assert 58 <= finding.first_step <= 60
    assert finding.evidence["factor"] == pytest.approx(factor, rel=0.1)
    assert ("rose" if factor > 1.0 else "fell") in finding.message


def test_what_is_small_slow_early_or_over_is_no_drift() -> None:
    for rows in (
        scales((60, 1.0), (40, 3.5)),
        scales((15, 1.0), (60, 10.0)),
        scales((50, 1.0), (20, 10.0), (10, 1.0)),
        scales((60, 1.0), (40, 6.0), noise=0.6),
        [row(i, mean=0.0, std=math.exp(0.05 * i)) for i in range(100)],
    ):
        assert found(watch({"fc": ("Linear", rows)})) == []


def test_the_end_of_a_plateau_is_no_drift() -> None:
    def learning(rows: int) -> list[Any]:
        """A plateau, a rise to eight times within so many rows, and a plateau."""
        ramp = tuple((1, math.exp(math.log(8.0) * i / rows)) for i in range(rows))
        return scales((45, 1.0), *ramp, (55 - rows, 8.0))

    assert found(watch({"fc": ("Linear", learning(16))})) == []
    assert [what[1] for what in found(watch({"fc": ("Linear", learning(2))}))] == ["drifting"]


def test_drift_leaves_rows_of_nan_out() -> None:
    rows = scales((60, 1.0), (25, 50.0))
    rows[30] = row(30, nans=4096, mean=math.nan, std=math.nan, within_std=math.nan, min=math.inf, max=-math.inf)
    # Some NaN somewhere explains all that comes later, so the rule is asked alone.
    diagnoser = watch({"fc": ("Linear", rows)})
    conditions = [finding.condition for finding in diagnoser.diagnose().findings]
    assert conditions == ["non_finite"]
    rule = next(rule for rule in RULES if rule.condition == "drifting")
    view = diagnoser._followers["fc"].view(0)
    finding = rule.check(view, Network([view], diagnoser.thresholds), diagnoser.thresholds)
    assert isinstance(finding, Finding)
    assert finding.first_step == 60
