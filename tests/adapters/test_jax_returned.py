"""Functions that return what they record: the same rows as by callbacks, and none of these."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fastact import ActivationMonitor
from fastact.jax import Recorder


def train_step(recorder: Recorder, w: Any, x: Any) -> Any:
    """A loss and its gradient."""

    def loss(w: Any) -> Any:
        given = recorder.record("given", x, axis=-1, layer_type="Input")
        hidden = recorder.record("hidden", given @ w, axis=(0, 1), layer_type="Linear")
        act = recorder.record("act", jnp.tanh(hidden).astype(jnp.bfloat16), axis=-1, layer_type="Tanh")
        recorder.record_many({"w": w, "big": jnp.tile(w, (60, 60))}, layer_type="Parameter", axes={"w": 1})
        value = jnp.mean(act.astype(jnp.float32) ** 2)
        return recorder.record_loss(value, predictions=act, targets=x, function="mse")

    return jax.value_and_grad(loss)(w)


@pytest.fixture
def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((4, 3)).astype(np.float32), rng.standard_normal((16, 4)).astype(np.float32)


def rows(recorder: Recorder) -> dict[str, Any]:
    """What was recorded, as far as it does not depend on how the elements were added up."""
    names = ("step", "count", "zeros", "saturated", "neurons", "min", "max")
    history = recorder.monitor.history
    return {name: {key: layer[key].tolist() for key in names} | {"dtype": layer.info.dtype, "facts": layer.info.facts}
            for name, layer in history.items()}  # fmt: skip


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # by their names: no device is needed
def test_rows_are_those_of_callbacks(backend: str, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for returned in (False, True):
        recorder = Recorder(ActivationMonitor(), strict=True)
        with monkeypatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda: backend)
            function = functools.partial(train_step, recorder)
            step: Any = recorder.jit(function) if returned else jax.jit(function)
            for _ in range(3):
                got = step(*data)
                recorder.step()
        want = jax.jit(functools.partial(train_step, Recorder(ActivationMonitor(every=9))))(*data)
        assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-6), got, want))
        assert recorder._calls_back is not returned
        assert recorder.failures == 0
        found.append(rows(recorder))
        means = {name: layer["mean"].tolist() for name, layer in recorder.monitor.history.items()}
        assert means["given"] == pytest.approx([data[1].mean()] * 3, rel=1e-5)
        assert means["hidden"] == pytest.approx([(data[1] @ data[0]).mean()] * 3, rel=1e-4)
    assert list(found[0]) == list(found[1])
    for name, row in found[0].items():
        assert found[1][name] == row, name


def test_steps_that_are_not_recorded_compute_nothing_more(data: Any) -> None:
    recorder = Recorder(ActivationMonitor(every=3), strict=True)
    compiled: list[Any] = []

    def jit(function: Any, **options: Any) -> Any:
        compiled.append(jax.jit(function, **options))
        return compiled[-1]

    step = recorder.jit(functools.partial(train_step, recorder), jit=jit, donate_argnums=())
    for _ in range(7):
        step(*data)
        recorder.step()
    assert recorder.monitor.history["act"]["step"].tolist() == [0, 3, 6]
    with_rows, without = compiled
    outputs = [len(jax.tree.leaves(jax.eval_shape(function, *data))) for function in compiled]
    assert outputs[0] > outputs[1] == 2
    assert "callback" not in without.lower(*data).as_text()
    assert (with_rows._cache_size(), without._cache_size()) == (1, 1)
    recorder.pause()
    step(*data)
    recorder.resume()
    recorder.step()
    assert recorder.monitor.history["act"].total == 3


def test_what_an_inner_trace_records_comes_by_callbacks(data: Any) -> None:
    for every in (1, 2):
        recorder = Recorder(ActivationMonitor(every=every, start_step=every - 1), ordered=False, strict=True)
        inner = jax.jit(lambda x, recorder=recorder: recorder.record("inner", 2 * x))

        def loss(w: Any, x: Any, recorder: Recorder = recorder, inner: Any = inner) -> Any:
            def body(x: Any, _: None) -> tuple[Any, None]:
                recorder.record("constant", w)
                return recorder.record("loop", jnp.tanh(x @ w)), None

            x = jax.vmap(lambda row: recorder.record("vmap", row))(recorder.record("before", x))
            x = jax.checkpoint(lambda x: recorder.record("remat", jnp.sin(x)))(jax.lax.scan(body, x, None, 3)[0])
            return jnp.sum(inner(x))

        step = recorder.jit(jax.grad(loss))
        for _ in range(4):
            step(jnp.eye(4), jnp.asarray(data[1]))
            recorder.step()
        history = recorder.monitor.history
        counts = {name: int(layer["count"][0]) for name, layer in history.items()}
        assert set(counts) == {"before", "vmap", "loop", "constant", "remat", "inner"}
        assert (counts["before"], counts["vmap"], counts["inner"]) == (64, 64, 64)
        assert counts["loop"] == 3 * 64
        assert all(layer.total == 4 // every for layer in history.values())
        assert recorder.failures == 0


def test_conditions_and_calls_within_others(data: Any) -> None:
    recorder = Recorder(ActivationMonitor(), strict=True)

    def function(x: Any, now: Any, *, twice: bool) -> Any:
        return recorder.record("rare", x, when=now) * (2 if twice else 1)

    step: Callable[..., Any] = recorder.jit(function, static_argnames="twice", donate_argnums=0)
    for i in range(4):
        assert step(jnp.ones(3), i == 2, twice=True).tolist() == [2, 2, 2]
        recorder.step()
    assert recorder.monitor.history["rare"]["step"].tolist() == [2]
    assert not recorder._calls_back
    outer = jax.jit(lambda x: step(x, True, twice=False))  # not compiled by us: by a callback
    assert outer(jnp.ones(3)).tolist() == [1, 1, 1]
    recorder.step()
    assert recorder.monitor.history["rare"]["step"].tolist() == [2, 4]
    for _ in range(3):  # of one step, as when gradients are accumulated
        step(jnp.ones(3), True, twice=True)
    assert len(recorder._pending) == 1
    recorder.step()
    assert recorder.monitor.history["rare"]["count"].tolist() == [3, 3, 9]


def test_what_cannot_be_recorded_does_not_end_a_compiled_training(data: Any) -> None:
    recorder = Recorder(ActivationMonitor())
    step = recorder.jit(lambda x: recorder.record("bad", x, axis=5) + recorder.record("good", x))
    with pytest.warns(RuntimeWarning, match="could not record layer 'bad'"):
        step(data[1])
    recorder.step()
    recorder.monitor.close()
    step(data[1])
    recorder.step()
    assert list(recorder.monitor.history) == ["good"]


def test_nnx_models_are_compiled_with_their_rows() -> None:
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")
    import fastact.flax

    model = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.BatchNorm(3, rngs=nnx.Rngs(0)))
    recorder = Recorder(ActivationMonitor(every=2), strict=True)

    def step(model: Any, x: Any) -> Any:
        return nnx.value_and_grad(lambda model: jnp.sum(model(x) ** 2))(model)[0]

    with fastact.flax.watch(model, recorder):
        compiled = recorder.jit(step, jit=nnx.jit)
        for _ in range(4):
            compiled(model, jnp.ones((8, 4)))
            recorder.step()
    assert [layer["step"].tolist() for layer in recorder.monitor.history.values()] == [[0, 2]] * 2
    assert not recorder._calls_back
