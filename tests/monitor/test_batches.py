"""What a first batch shows of inputs, targets and predictions."""

import numpy as np
import pytest

from fastact.monitor.batches import facts_of_inputs, facts_of_predictions, facts_of_targets

RANDOM = np.random.default_rng(0)


def test_columns_are_told_by_their_scales() -> None:
    x = RANDOM.normal(size=(200, 5)) * (1.0, 1000.0, 1.0, 1.0, 0.0)
    x[:, 3] = x[:, 0]
    facts = facts_of_inputs(x)
    assert (facts["shape"], facts["features"], facts["dtype"]) == ([200, 5], 5, "float64")
    assert (facts["constant_features"], facts["duplicate_features"]) == (1, 1)
    assert facts["feature_std"] == sorted(facts["feature_std"])
    assert facts["feature_std"][0] == pytest.approx(1.0, rel=0.2)
    assert facts["feature_std"][2] == pytest.approx(1000.0, rel=0.2)
    assert "code" not in facts


def test_channels_are_columns_where_the_axis_says_so() -> None:
    x = RANDOM.normal(size=(4, 3, 8, 8)) * np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
    assert facts_of_inputs(x, 1)["features"] == 3
    assert facts_of_inputs(x, 1)["feature_std"][1] == pytest.approx(10.0, rel=0.2)
    assert facts_of_inputs(x, None)["features"] == 1
    assert facts_of_inputs(x[:, 0, 0, 0], -1)["features"] == 1


@pytest.mark.parametrize("code", [-999.0, 9999.0, -1e6])
def test_a_value_that_stands_for_missing_is_seen(code: float) -> None:
    x = RANDOM.normal(size=(100, 8))
    x[RANDOM.random(x.shape) < 0.1] = code
    seen = facts_of_inputs(x)["code"]
    assert seen["value"] == code
    assert seen["share"] == pytest.approx(0.1, abs=0.03)
    assert seen["std_without"] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "x",
    [
        RANDOM.integers(0, 256, (100, 8)) * (RANDOM.random((100, 8)) < 0.5),  # pixels, half of them black
        (RANDOM.random((100, 8)) < 0.1) * 255.0,  # black and white
        np.where(RANDOM.random((100, 8)) < 0.001, -999.0, RANDOM.normal(size=(100, 8))),  # one of a thousand
        RANDOM.standard_cauchy((100, 8)),  # far from all others, but once
        np.ones((100, 8)),
        np.full((100, 8), np.nan),
        np.zeros((0, 8)),
        RANDOM.normal(size=(2, 8)),
    ],
)
def test_what_looks_like_it_is_no_code_for_missing(x: np.ndarray) -> None:
    assert "code" not in facts_of_inputs(x)


def test_the_share_of_the_commonest_target_is_told() -> None:
    assert facts_of_targets(np.array([0, 0, 0, 1]))["commonest"] == 0.75
    assert facts_of_targets(np.eye(4)[[0, 0, 0, 1]])["commonest"] == 0.75
    assert "commonest" not in facts_of_targets(RANDOM.normal(size=100))
    assert facts_of_targets(np.full(3, np.nan))["distinct"] == []


def test_probabilities_are_told_from_logits() -> None:
    logits = RANDOM.normal(size=(6, 5, 2))
    soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    of = {name: facts_of_predictions(x, 1) for name, x in (("soft", soft), ("log", np.log(soft)), ("raw", logits))}
    assert [of[name]["sums_to_one"] for name in of] == [True, False, False]
    assert [of[name]["exp_sums_to_one"] for name in of] == [False, True, False]
    assert {facts["units"] for facts in of.values()} == {5}


def test_sums_over_another_axis_are_a_fact() -> None:
    x = np.random.default_rng(0).normal(size=(16, 4, 3))
    logits = np.exp(x)
    for axis in (0, 1):
        sums = logits / logits.sum(axis=axis, keepdims=True)
        assert facts_of_predictions(sums)["sums_over"] == axis
        assert facts_of_predictions(np.log(sums))["sums_over"] == axis
    of_classes = logits / logits.sum(axis=-1, keepdims=True)
    for fits in (x, of_classes, np.log(of_classes), of_classes[:1], np.eye(4)):
        assert "sums_over" not in facts_of_predictions(fits)
    # Of many samples the first are looked at, whose sums say nothing of all.
    many = np.full((20_000, 2), 1.0 / 8192)
    assert "sums_over" not in facts_of_predictions(many)


def _sequences(ends_at: np.ndarray, fill: float) -> np.ndarray:
    words = RANDOM.integers(1, 9, (len(ends_at), 12)).astype(float)
    words[np.arange(12) >= ends_at[:, None]] = fill
    return words


def test_what_sequences_are_filled_up_with_is_told_at_either_end_and_of_flat_ones() -> None:
    words = _sequences(np.arange(3, 11).repeat(2), 0.0)
    share = float((words == 0.0).mean())
    assert facts_of_targets(words)["padding"] == {"value": 0.0, "share": pytest.approx(share)}
    assert facts_of_targets(words[:, ::-1])["padding"]["value"] == 0.0
    assert facts_of_targets(words.ravel(), view=(16, 12))["padding"]["share"] == pytest.approx(share)
    assert "padding" not in facts_of_targets(words.ravel())


@pytest.mark.parametrize(
    "targets",
    [
        _sequences(np.full(16, 6), 0.0),  # all of one length: a column that is zero
        RANDOM.integers(0, 3, (16, 12)).astype(float),  # zeros also between the others
        RANDOM.random((16, 12)) < 0.2,  # a yes or no for each column
        _sequences(np.arange(3, 7), 0.0),  # few
        RANDOM.normal(size=(16, 12)),
    ],
)
def test_what_looks_like_it_is_no_padding(targets: np.ndarray) -> None:
    assert "padding" not in facts_of_targets(targets)


def test_samples_that_come_several_times_in_a_batch_are_counted() -> None:
    x = RANDOM.normal(size=(4, 1, 64))[np.arange(40) % 4]
    facts = facts_of_inputs(x, 1)
    assert (facts["duplicate_samples"], facts["whole"]) == (pytest.approx(0.9), False)
    assert facts_of_inputs(np.eye(5)[np.arange(20) % 5])["whole"] is True
    assert "duplicate_samples" not in facts_of_inputs(RANDOM.normal(size=(40, 64)))
