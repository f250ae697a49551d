"""NaN and Inf: where they came up first, and where -inf is meant."""

from typing import Any

import pytest
from synthetic import Row, found, nothing_finite, row, watch

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.report import Diagnosis
from fastact.history import LayerInfo


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


def diagnose(layers: dict[str, tuple[str, list[Row]]], dtype: str = "float32", **dtypes: str) -> Diagnosis:
    """What is said of layers, `dtypes` naming those that differ."""
    diagnoser = Diagnoser()
    for order, (name, (layer_type, rows)) in enumerate(layers.items()):
        diagnoser.add(LayerInfo(name, order, layer_type, dtypes.get(name, dtype)))
        for each in rows:
            diagnoser.append(name, each)
    return diagnoser.diagnose()


def culprit(layers: dict[str, tuple[str, list[Row]]], dtype: str = "float32", **dtypes: str) -> Finding:
    """The one finding that nothing else explains."""
    (finding,) = diagnose(layers, dtype, **dtypes).culprits
    return finding


def good(steps: int = 20, **more: Any) -> list[Row]:
    return [row(s, **more) for s in range(steps)]


def broken(since: int, nans: int = 4096, steps: int = 20) -> list[Row]:
    """Rows that are healthy at first, and have so many NaN since a step."""
    return [row(s) if s < since else nothing_finite(s) if nans == 4096 else row(s, nans=nans) for s in range(steps)]


def test_nan_in_the_recorded_input_is_the_datas_and_no_layer_is_blamed() -> None:
    once = [row(s, nans=2 if s == 7 else 0) for s in range(20)]
    finding = culprit({"input": ("Input", once), "0": ("Linear", broken(7)), "1": ("ReLU", broken(7))})
    assert (finding.layer, finding.cause_name, finding.confidence) == ("input", "inputs_not_finite", "certain")
    # Long after the row has left the window the weights are still not blamed.
    steps = 300
    once = [row(s, nans=2 if s == 7 else 0) for s in range(steps)]
    finding = culprit({"input": ("Input", once), "0": ("Linear", broken(7, steps=steps))})
    assert (finding.layer, finding.first_step, finding.cause_name) == ("0", 7, "inputs_not_finite")


def test_all_weights_that_became_nan_in_one_step_were_written_by_an_update() -> None:
    layers = {
        "input": ("Input", good()),
        "0": ("Linear", broken(7)),
        "1": ("ReLU", broken(7)),
        "2": ("Linear", broken(7)),
    }
    finding = culprit(layers)
    assert (finding.layer, finding.cause_name) == ("0", "not_finite_update")
    assert "epsilon in" in finding.remedies[0] or "epsilon where the loss" in finding.remedies[0]
    assert not any(remedy.startswith("clip") for remedy in finding.remedies)
    # Adam's epsilon is zero in float16; autocast keeps the weights in float32.
    assert culprit(layers, "float16").cause_name == "optimizer_epsilon"
    assert culprit(layers, "float16", input="float32").cause_name == "not_finite_update"


@pytest.mark.parametrize(("bad", "cause"), [(6, "numerics"), (7, "optimizer_epsilon")])
def test_finite_gradients_are_not_said_to_have_been_not_finite(bad: int, cause: str) -> None:
    layers = {
        "input": ("Input", good()),
        "0": ("Linear", broken(7)),
        "2": ("Linear", broken(7)),
        "2:grad": ("Gradient", broken(bad)),
        "0:grad": ("Gradient", broken(bad)),
    }
    finding = culprit(layers, "float16" if bad == 7 else "float32")
    assert (finding.layer, finding.cause_name) == ("2:grad" if bad == 6 else "0", cause)


def test_infinite_gradients_of_a_loss_scaler_are_told_only_if_they_do_not_end() -> None:
    def scaled_loss(infinite: int) -> dict[str, tuple[str, list[Row]]]:
        grads = [row(s, pos_infs=9 if s < infinite else 0) for s in range(infinite if infinite > 15 else 30)]
        return {"0": ("Linear", good(len(grads))), "0:grad": ("Gradient", grads)}

    assert diagnose(scaled_loss(9), "float16").findings == ()
    assert diagnose(scaled_loss(19), "float16").findings == ()
    stuck = culprit(scaled_loss(20), "float16")
    assert (stuck.layer, stuck.cause_name) == ("0:grad", "loss_scale")
    # Without float16 nothing scales the loss; what has gone and did no harm is a note.
    assert culprit(scaled_loss(20)).cause_name == "numerics"
    assert [note.condition for note in diagnose(scaled_loss(9)).notes] == ["non_finite"]


def test_what_is_born_in_a_layer_of_the_users_own() -> None:
    def born(nans: int, since: int = 0, kind: str = "Scorer", **more: Any) -> Finding:
        rows = [row(s, nans=nans if s >= since else 0, **more) for s in range(20)]
        return culprit({"input": ("Input", good()), "0": ("Linear", good()), "1": (kind, rows), "2": ("Linear", rows)})

    assert born(3 * 64).cause_name == "uninitialised_memory"  # three neurons of 64, for every one of 64 samples
    assert born(7, since=5).cause_name == "numerics"
    assert born(64, count=64).cause_name == "norm_of_one_element"
    assert born(128, kind="Softmax").cause_name == "masked_row"
    assert born(128, kind="ReLU").cause_name == "numerics"
    assert {born(64, kind=kind).layer for kind in ("Scorer", "Softmax", "ReLU")} == {"1"}


def test_the_layer_whose_exponential_overflowed_is_named_and_not_the_one_where_inf_appeared() -> None:
    grows = [row(s, max=2.0 * 1.3**s, std=0.5 * 1.3**s, mean=0.0) for s in range(16)]
    late = [row(s, pos_infs=5 if s >= 15 else 0) for s in range(20)]
    layers = {
        "encoder": ("Linear", good()),
        "logvar": ("Linear", [*grows, *(nothing_finite(s) for s in range(16, 20))]),
        "decoder": ("Linear", late),
    }
    finding = culprit(layers)
    assert (finding.layer, finding.condition, finding.cause_name) == ("logvar", "exploding", "log_variance")
    assert "clamp" in finding.remedies[0]


def test_scores_of_a_softmax_have_no_exponential_that_overflows() -> None:
    for source, expected in (("scores", False), ("", True)):
        diagnoser = Diagnoser()
        kinds = {"encoder": "Linear", "scores": "Linear", "probabilities": "Softmax"}
        for order, (name, kind) in enumerate(kinds.items()):
            diagnoser.add(LayerInfo(name, order, kind, source=source if name == "probabilities" else ""))
        for step in range(20):
            wide = row(step, max=2.0 * 1.3**step, std=0.5 * 1.3**step, mean=0.0)
            for name in kinds:
                diagnoser.append(name, nothing_finite(step) if step > 15 else wide if name == "scores" else row(step))
        causes = {each.cause_name for each in diagnoser.diagnose().findings}
        assert ("log_variance" in causes) is expected


def test_an_update_that_followed_a_divergence_is_the_learning_rates() -> None:
    grows = [row(s, max=3.0 * 4.0**s, std=4.0**s, within_std=4.0**s) for s in range(4)]
    rows = [*grows, *(nothing_finite(s) for s in range(4, 12))]
    causes = [f.cause_name for f in diagnose({"0": ("Linear", rows), "1": ("Linear", rows)}).findings]
    assert "not_finite_update" not in causes


def test_minus_infinity_that_goes_no_further_is_a_mask() -> None:
    scores = ("Scores", good(neg_infs=500))
    diagnosis = diagnose({"0": ("Linear", good()), "scores": scores, "softmax": ("Softmax", good())})
    assert diagnosis.findings == ()


def test_a_penalty_on_one_layers_weights_makes_that_layer_nan_first() -> None:
    layers = {
        "0": ("Linear", broken(8)),
        "1": ("Tanh", broken(8)),
        "2": ("Linear", broken(7)),
        "3": ("Tanh", broken(7)),
    }
    finding = culprit({"input": ("Input", good()), **layers})
    assert (finding.layer, finding.cause_name) == ("2", "not_finite_update")
