"""Losses in traced code: their rows are those that the arrays themselves would have given on the host."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="JAX is not installed")
import jax
import jax.numpy as jnp

from fastact import ActivationMonitor
from fastact.jax import Recorder
from fastact.jax.samples import MOST

FUNCTION = "softmax_cross_entropy_with_integer_labels"
SMALL, LARGE = (8, 3), (300, 7, 10)  # the second has more elements than leave the device


def _batch(shape: tuple[int, ...]) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape, np.float32), rng.integers(0, shape[-1], shape[:-1]).astype(np.int32)


def _losses(logits: Any, classes: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), classes[..., None], -1)[..., 0]


@pytest.mark.parametrize(("shape", "ordered"), [(SMALL, True), (LARGE, False)])
def test_the_rows_are_those_of_the_arrays(shape: tuple[int, ...], ordered: bool) -> None:
    logits, classes = _batch(shape)
    assert (logits.size > MOST) == (shape == LARGE)
    recorder = Recorder(ActivationMonitor(), ordered=ordered, strict=True)

    def loss(logits: Any) -> Any:
        values = recorder.record_loss(
            _losses(logits, classes),
            predictions=logits,
            targets=classes,
            function=FUNCTION,
            facts={"reduction": "none"},
        )
        return values.mean()

    gradient = jax.jit(jax.grad(loss))
    monitor = ActivationMonitor()
    for scale in (1.0, 2.0):
        gradient(logits * scale)
        recorder.step()
        value = np.asarray(_losses(logits * scale, classes), np.float32)
        monitor.record_loss(value, predictions=logits * scale, targets=classes, function=FUNCTION)
        monitor.step()
    got, want = recorder.monitor.history, monitor.history
    assert list(got) == list(want) == ["loss:prediction", "loss:target", "loss", "loss:baseline"]
    for name, layer in want.items():
        for column in ("count", "min", "max", "zeros", "saturated", "neurons", "dead_neurons"):
            np.testing.assert_allclose(got[name][column], layer[column], rtol=1e-5, err_msg=f"{name} {column}")
        # Of a large batch the constant answer is that to the first samples.
        rtol = 2e-2 if name == "loss:baseline" and shape == LARGE else 1e-5
        np.testing.assert_allclose(got[name]["mean"], layer["mean"], rtol=rtol, err_msg=name)
    facts = dict(got["loss"].info.facts)
    assert (facts.pop("framework"), facts.pop("reduction")) == ("jax", "none")
    assert facts == dict(want["loss"].info.facts)
    assert got["loss:target"].info.facts == want["loss:target"].info.facts


def test_the_layer_that_gave_the_predictions_is_not_swept_once_more() -> None:
    recorder = Recorder(ActivationMonitor(), strict=True)

    @jax.jit
    def step(logits: Any, classes: Any) -> Any:
        logits = recorder.record("logits", logits * 2, axis=-1, layer_type="Linear")
        recorder.record_loss(_losses(logits, classes).mean(), predictions=logits, targets=classes, function=FUNCTION)
        recorder.record_loss(logits.sum(), predictions=logits + 1, name="other")

    step(*_batch(SMALL))
    recorder.step()
    history = recorder.monitor.history
    assert list(history) == ["logits", "loss:target", "loss", "loss:baseline", "other:prediction", "other"]
    assert (history["loss"].info.source, history["other"].info.source) == ("logits", "other:prediction")
    assert history["loss"].info.facts["prediction"]["units"] == 3


def test_a_loss_that_cannot_be_recorded_ends_no_training() -> None:
    recorder = Recorder(ActivationMonitor())
    step = jax.jit(lambda x: recorder.record_loss(x.sum(), predictions=x, axis=5))
    logits, _ = _batch(SMALL)
    assert step(logits) == pytest.approx(logits.sum(), rel=1e-5)
    with pytest.warns(RuntimeWarning, match="could not record 'loss' and continues without it"):
        recorder.step()
    assert recorder.failures == 1
