"""NaN and Inf: where they came up first, and where -inf is meant."""

from synthetic import found, row, watch


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
