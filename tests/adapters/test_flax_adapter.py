"""Flax models, NNX and Linen: which layers are recorded, and what is left behind."""

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fastact import ActivationMonitor, ArgumentTypeError, ArgumentValueError
from fastact.jax import Recorder


def test_nnx_layers_are_watched_and_given_back() -> None:
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")
    import fastact.flax

    class Network(nnx.Module):  # type: ignore[misc, name-defined]
        def __init__(self, rngs: Any) -> None:
            self.first = nnx.Linear(4, 3, rngs=rngs)
            self.norm = nnx.BatchNorm(3, rngs=rngs)
            self.rest = nnx.Sequential(nnx.Linear(3, 3, rngs=rngs), nnx.tanh, nnx.Linear(3, 2, rngs=rngs))

        def __call__(self, x: Any) -> Any:
            return self.rest(self.norm(self.first(x)))

    model, x = Network(nnx.Rngs(0)), jnp.ones((8, 4))
    before = nnx.state(model)

    @nnx.jit  # type: ignore[untyped-decorator]
    def step(model: Any, x: Any) -> Any:
        return nnx.value_and_grad(lambda model: jnp.sum(model(x) ** 2))(model)

    graph = nnx.graphdef(model)
    recorder = Recorder(ActivationMonitor(), strict=True)
    with fastact.flax.watch(model, recorder) as handle:
        assert set(handle.names) == {"first", "norm", "rest.layers.0", "rest.layers.2"}
        assert jax.tree.structure(nnx.state(model)) == jax.tree.structure(before)  # type: ignore[operator]
        for _ in range(3):
            step(model, x)
            recorder.step()
        loaded = pickle.loads(pickle.dumps(model.first))
        assert type(loaded) is nnx.Linear  # and not watched
        loaded(x)
        recorder.step()
    np.testing.assert_array_equal(loaded(x), model.first(x))
    assert nnx.graphdef(model) == graph
    step(model, x)
    recorder.step()
    history = recorder.monitor.history
    assert list(history) == ["first", "norm", "rest.layers.0", "rest.layers.2"]
    assert [layer.info.kind for layer in history.values()] == ["Linear", "BatchNorm", "Linear", "Linear"]
    assert [layer["count"].tolist() for layer in history.values()] == [[24] * 3, [24] * 3, [24] * 3, [16] * 3]
    with fastact.flax.watch(model, recorder, layers="rest.*") as handle:
        assert set(handle.names) == {"rest.layers.0", "rest.layers.2"}
    with pytest.raises(ArgumentValueError, match="layers: got 'no such', want some that Network has"):
        fastact.flax.watch(model, recorder, layers="no such")
    with pytest.raises(ArgumentTypeError, match=r"model: got list, want a flax.nnx.Module"):
        fastact.flax.watch([], recorder)


def test_linen_layers_are_intercepted() -> None:
    nn = pytest.importorskip("flax.linen", reason="Flax is not installed")
    import fastact.flax

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        @nn.compact  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            x = nn.Sequential([nn.Dense(4), nn.tanh, nn.Dense(6)])(x)
            return nn.remat(nn.Dense)(2)(nn.MultiHeadDotProductAttention(num_heads=2)(x))

    model, x = Block(), jnp.ones((3, 5, 4))
    recorder = Recorder(ActivationMonitor(), ordered=False, strict=True)
    with fastact.flax.intercept(recorder):
        weights = model.init(jax.random.key(0), x)

        @jax.jit
        def step(weights: Any, x: Any) -> Any:
            return jax.grad(lambda weights: jnp.sum(model.apply(weights, x)))(weights)

        step(weights, x)
    recorder.step()
    history = recorder.monitor.history
    # Not what attention calls in itself, and nothing of `init`.
    assert list(history) == ["Dense_0", "Dense_1", "MultiHeadDotProductAttention_0", "CheckpointDense_0"]
    assert [int(layer["count"][0]) for layer in history.values()][:3] == [60, 90, 90]
