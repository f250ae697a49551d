"""The adapters inside of their frameworks: what is recorded, what is left alone, and what happens when it fails."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fastact.jax
import fastact.sklearn
from fastact import ActivationMonitor, ArgumentTypeError, ArgumentValueError, open_log, summarize
from fastact.jax import Recorder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- the summary on the device ---


def check(x: Any, axis: int | tuple[int, ...] | None = None, **options: Any) -> None:
    """Compares the summary in JAX with the sweep of the same elements."""
    got: Any = jax.jit(lambda x: fastact.jax.summarize(x, axis=axis, **options))(x).stats()
    want: Any = summarize(np.asarray(x), axis=axis, **options)
    assert type(got) is type(want)
    sides = [(got, want)] if axis is None else [(got, want), (got.total, want.total)]
    for a, b in sides:
        for name in ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated", "min", "max"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        scale = np.fmax(np.abs(b.mean), b.std)
        np.testing.assert_array_less(np.nan_to_num(np.abs(a.mean - b.mean)), 1e-6 * np.nan_to_num(scale) + 1e-300)
        np.testing.assert_allclose(a.std, b.std, rtol=1e-5, atol=0)
        np.testing.assert_allclose(a.abs_mean, b.abs_mean, rtol=1e-5, atol=0)
        assert a.saturation == b.saturation


@pytest.mark.parametrize("axis", [None, -1])
@pytest.mark.parametrize("mean", [0.0, 100.0, 1e6])
def test_summary_far_from_zero(rng: np.random.Generator, mean: float, axis: int | None) -> None:
    check((rng.standard_normal((20_000, 16)) + mean).astype(np.float32), axis)


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("scale", [1e-30, 1e37])
def test_summary_of_the_whole_range_of_float32(rng: np.random.Generator, scale: float, axis: int | None) -> None:
    check((rng.uniform(-30, 30, (500, 4)) * scale).astype(np.float32), axis)


def test_summary_of_the_largest_numbers() -> None:
    check(np.array([3.4e38, -3.4e38, 3.4e38], np.float32))
    check(np.full((4, 2), 3.4e38, np.float32), -1)


@pytest.mark.parametrize("axis", [None, -1, 0, 1, (1, 2)])
def test_summary_with_everything_in_it(rng: np.random.Generator, axis: Any) -> None:
    x = np.maximum(rng.standard_normal((10, 12, 8)), 0).astype(np.float32)
    x[:, :, 0], x[:, :, 1], x[:, :, 2] = 0, np.nan, 0.1
    x[3, 4, 5:], x[4, 4, 5], x[5, 4, 5], x[6] = np.nan, np.inf, -np.inf, -0.0
    check(x, axis)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "int8", "int32", "bool"])
def test_summary_of_other_dtypes(rng: np.random.Generator, dtype: str) -> None:
    x = jnp.asarray(rng.integers(-9, 9, (64, 8))).astype(dtype)
    check(x)
    check(x, -1)


@pytest.mark.parametrize("saturation", [(0.01, 0.99), (-0.1, 0.3), (-np.inf, 5.99)])
def test_saturation_at_the_very_ends(saturation: tuple[float, float]) -> None:
    ends = [np.float32(end) for end in saturation if np.isfinite(end)]
    around = [np.nextafter(end, np.float32(to)) for end in ends for to in (-9, 9)]
    check(np.array([*ends, *around, np.inf], np.float32), saturation=saturation)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (1, 4)])
def test_summary_of_next_to_nothing(shape: tuple[int, ...]) -> None:
    check(np.zeros(shape, np.float32))
    check(np.ones(shape, np.float32), -1)


def test_float64_is_summed_in_float64(rng: np.random.Generator) -> None:
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((1000, 4)) + 1e9)
        assert x.dtype == np.float64
        want = summarize(np.asarray(x))
        assert fastact.jax.summarize(x).stats().std == pytest.approx(want.std, rel=1e-12)
        check(x * 1e290, -1)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ArgumentTypeError, match="x: got dtype complex64"):
        fastact.jax.summarize(jnp.ones(3, jnp.complex64))
    with pytest.raises(ArgumentValueError, match="axis: got 2, want axes of an array of 2 dimensions"):
        fastact.jax.summarize(jnp.ones((2, 2)), axis=2)
    with pytest.raises(ArgumentValueError, match="saturation: got"):
        fastact.jax.summarize(jnp.ones(2), saturation=(1.0, 0.0))


def test_a_summary_is_a_value_that_goes_through_scan_vmap_and_checkpoint(rng: np.random.Generator) -> None:
    w = jnp.asarray(rng.standard_normal((3, 4, 4)), jnp.float32)
    x = jnp.asarray(rng.standard_normal((8, 4)), jnp.float32)

    @jax.checkpoint
    def layer(x: Any, w: Any) -> Any:
        x = jnp.tanh(x @ w)
        return x, fastact.jax.summarize(x, axis=-1)

    def loss(w: Any) -> Any:
        x_last, summaries = jax.lax.scan(layer, x, w)
        return jnp.sum(x_last**2), summaries

    gradient, summaries = jax.jit(jax.grad(loss, has_aux=True))(w)
    assert np.isfinite(gradient).all()
    monitor = ActivationMonitor()
    y = x
    for i in range(3):
        y = jnp.tanh(y @ w[i])
        got = jax.tree.map(lambda leaf, i=i: leaf[i], summaries).stats()
        assert got.mean == pytest.approx(summarize(np.asarray(y), axis=-1).mean, rel=1e-4, abs=1e-6)
        monitor.record(f"layer{i}", got, kind="Tanh")
    monitor.step()
    assert [int(h["neurons"][0]) for h in monitor.history.values()] == [4, 4, 4]


# --- the recorder ---


def mlp(recorder: Recorder | None) -> Callable[..., Any]:
    """A jitted loss and gradient of two layers, recorded or not."""

    def record(name: str, x: Any, kind: str) -> Any:
        return x if recorder is None else recorder.record(name, x, axis=-1, kind=kind)

    @jax.jit
    def step(w: Any, x: Any) -> Any:
        def loss(w: Any) -> Any:
            h = record("act", jax.nn.relu(record("hidden", x @ w, "Linear")), "ReLU")
            return jnp.mean(h**2)

        return jax.value_and_grad(loss)(w)

    return step


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[Any, Any]:
    return rng.standard_normal((4, 3)).astype(np.float32), rng.standard_normal((16, 4)).astype(np.float32)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_jitted_gradient_is_recorded_and_stays_what_it_was(data: Any, ordered: bool, tmp_path: Path) -> None:
    w, x = data
    recorder = Recorder(tmp_path, ordered=ordered, strict=True)
    watched, plain = mlp(recorder), mlp(None)
    for step in range(5):
        got, want = watched(w, x + step), plain(w, x + step)
        assert jax.tree.all(jax.tree.map(np.array_equal, got, want))
        recorder.step()
    recorder.close()
    log = open_log(tmp_path)
    assert [(info.name, info.kind, info.dtype) for info in log.layers] == [
        ("hidden", "Linear", "float32"),
        ("act", "ReLU", "float32"),
    ]
    for record in log.replay(layers="act"):
        y = np.maximum((x + record.step) @ w, 0)
        assert record.stats.zeros == (y == 0).sum()
        assert record.stats.std == pytest.approx(y.std(), rel=1e-4)
        assert record.neurons is not None
        assert record.neurons["neurons"] == 3
    assert log.to_table().num_rows == 10


def test_a_second_step_compiles_nothing(data: Any) -> None:
    recorder = Recorder(ActivationMonitor())
    step = mlp(recorder)
    for _ in range(4):
        step(*data)
        recorder.step()
    assert step._cache_size() == 1  # type: ignore[attr-defined]


def test_every_and_when_leave_steps_out(data: Any) -> None:
    monitor = ActivationMonitor(every=3)
    recorder = Recorder(monitor, strict=True)
    step = mlp(recorder)
    when = jax.jit(lambda x, now: recorder.record("rare", x, when=now))
    for i in range(9):
        step(*data)
        when(data[1], i == 6)
        recorder.step()
    assert monitor.history["act"]["step"].tolist() == [0, 3, 6]
    assert monitor.history["act"]["count"].tolist() == [48, 48, 48]
    assert monitor.history["rare"]["step"].tolist() == [6]


def test_what_comes_in_a_pause_is_left_out(data: Any) -> None:
    recorder = Recorder(ActivationMonitor())
    step = mlp(recorder)
    step(*data)
    recorder.pause()
    step(*data)
    recorder.resume()
    recorder.step()
    assert recorder.monitor.history["act"]["count"].tolist() == [48]


def test_transformations_that_ordered_callbacks_do_not_go_through() -> None:
    recorder = Recorder(ActivationMonitor(), ordered=False, strict=True)

    def loss(w: Any, x: Any) -> Any:
        def body(x: Any, _: None) -> tuple[Any, None]:
            return recorder.record("loop", jnp.tanh(x @ w)), None

        x = recorder.record("before", x)
        return jnp.sum(
            jax.checkpoint(lambda x: recorder.record("remat", jnp.sin(x)))(jax.lax.scan(body, x, None, 3)[0])
        )

    jax.jit(jax.grad(loss))(jnp.eye(4), jnp.ones((2, 4)))
    jax.vmap(lambda row: recorder.record("vmap", row))(jnp.ones((5, 4)))
    recorder.step()
    counts = {name: int(layer["count"][0]) for name, layer in recorder.monitor.history.items()}
    assert list(counts) == ["before", "loop", "remat", "vmap"]
    assert (counts["before"], counts["loop"], counts["vmap"]) == (8, 3 * 8, 20)
    assert counts["remat"] in (8, 16)  # twice where it is run twice


def test_a_layer_that_jax_leaves_out_is_warned_of() -> None:
    recorder = Recorder(ActivationMonitor())

    def loss(w: Any) -> Any:
        def body(x: Any, _: None) -> tuple[Any, None]:
            return recorder.record("loop", jnp.tanh(x @ w)), None

        return jnp.sum(recorder.record("after", jax.lax.scan(body, jnp.ones((2, 4)), None, 3)[0]))

    step = jax.jit(jax.grad(loss))
    step(jnp.eye(4))
    recorder.step()
    step(jnp.eye(4))
    with pytest.warns(RuntimeWarning, match="nothing has come of layer 'loop'.*ordered=False"):
        recorder.step()
    step(jnp.eye(4))
    recorder.step()  # once


def test_sharded_arrays_are_recorded_as_one() -> None:
    code = """
import jax, numpy as np, fastact, fastact.jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
mesh = Mesh(np.array(jax.devices()), ("data",))
assert mesh.size == 2
x = jax.device_put(np.arange(32, dtype=np.float32).reshape(8, 4), NamedSharding(mesh, PartitionSpec("data")))
for ordered in (True, False):
    recorder = fastact.jax.Recorder(fastact.ActivationMonitor(), ordered=ordered, strict=True)
    jax.jit(lambda x: recorder.record("a", x, axis=-1) * 2)(x)
    recorder.step()
    print([recorder.monitor.history["a"][name].tolist() for name in ("count", "mean", "neurons")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu", **_environment()},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[[32], [15.5], [4]]"] * 2


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"XLA_FLAGS", "JAX_PLATFORMS"}}


def test_failures_in_a_recorder_do_not_end_the_training(data: Any) -> None:
    recorder = Recorder(ActivationMonitor())
    step = jax.jit(lambda x: recorder.record("bad", x, axis=5) + recorder.record("good", x))
    with pytest.warns(
        RuntimeWarning, match="could not record layer 'bad' and goes on without it .*axis: got 5"
    ) as caught:
        step(data[1])
    assert len(caught) == 1
    recorder.step()
    assert recorder.failures == 1
    assert list(recorder.monitor.history) == ["good"]
    recorder.monitor.close()
    step(data[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # warned of already
        recorder.step()
    assert recorder.failures == 2


def test_strict_raises_where_the_function_is_traced(data: Any) -> None:
    recorder = Recorder(ActivationMonitor(), strict=True)
    with pytest.raises(ArgumentValueError, match="axis"):
        jax.jit(lambda x: recorder.record("bad", x, axis=5))(data[1])


def test_many_large_layers_do_not_lock_up(rng: np.random.Generator) -> None:
    """Callbacks run on the threads that compute."""
    recorder = Recorder(ActivationMonitor(), strict=True)

    @jax.jit
    def step(x: Any) -> Any:
        for i in range(20):
            x = recorder.record(f"l{i}", jnp.tanh(x @ x), axis=-1)
        return x

    x = jnp.asarray(rng.standard_normal((512, 512)), jnp.float32)
    for _ in range(5):
        x = step(x)
        recorder.step()
    assert [len(layer) for layer in recorder.monitor.history.values()] == [5] * 20


def test_the_run_must_be_a_monitor_or_a_path() -> None:
    with pytest.raises(ArgumentTypeError, match="run: got int, want an ActivationMonitor or the path of a log"):
        Recorder(3)  # type: ignore[arg-type]


# --- Flax ---


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


# --- Keras ---


@pytest.mark.e2e
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_trains_as_it_would_without_us(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("keras", reason="Keras is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", _KERAS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**_environment(), "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["done"]


_KERAS = """
import copy, pickle, sys, warnings
import keras, numpy as np, fastact, fastact.keras

class Block(keras.layers.Layer):
    def __init__(self, **options):
        super().__init__(**{"name": "block", **options})
        self.inner = keras.layers.Dense(5, activation="tanh", name="inner")
    def call(self, x):
        return self.inner(x)

def build():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 3))
    x = keras.layers.LSTM(6, name="lstm")(inputs)
    x = Block()(x)
    x = keras.layers.Dropout(0.5, name="dropout", seed=1)(x)
    x = keras.Sequential([keras.layers.Dense(4, name="relu", activation="relu")], name="head")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="output", activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model

rng = np.random.default_rng(0)
x, y = rng.standard_normal((40, 4, 3)).astype("float32"), rng.integers(0, 2, 40)
train = lambda model, callbacks: model.fit(
    x, y, batch_size=8, epochs=2, validation_split=0.2, verbose=0, shuffle=False, callbacks=callbacks).history
plain = build()
want = [train(plain, []), train(plain, []), train(plain, [])]

model = build()
assert train(model, [])["loss"] == want[0]["loss"]
callback = fastact.keras.ActivationCallback(sys.argv[1], strict=True)
saver = keras.callbacks.ModelCheckpoint(sys.argv[1] + "/model.keras")
got = train(model, [callback, saver])
assert all(np.allclose(got[name], want[1][name], rtol=1e-6) for name in ("loss", "val_loss"))
log = fastact.open_log(sys.argv[1])
names = [(info.name, info.kind) for info in log.layers]
kinds = {"lstm": "LSTM", "block/inner": "Tanh", "dropout": "Dropout", "head/relu": "ReLU", "output": "Softmax"}
assert names == list(kinds.items()), names
rows = log.to_table().to_pylist()
assert len(rows) == 5 * 8, len(rows)  # the validation's batches are not in it
assert [row["count"] for row in rows[:5]] == [48, 40, 40, 32, 16], rows[:5]
assert [row["neurons"] for row in rows[:5]] == [6, 5, 5, 4, 2]
assert callback.failures == 0 and callback.monitor.diagnose().layers
# Nothing is left behind, in the layers or in the compiled functions.
assert all("call" not in vars(layer) for layer in model._flatten_layers())
train(model, [])
assert fastact.open_log(sys.argv[1]).to_table().num_rows == 40
keras.models.load_model(sys.argv[1] + "/model.keras", custom_objects={"Block": Block}, compile=False)

# Again on the same model: chosen layers, into a monitor of ours.
with fastact.ActivationMonitor(every=2) as monitor:
    train(model, [fastact.keras.ActivationCallback(monitor, layers=["head/*", "lstm"], strict=True)])
    assert list(monitor.history) == ["lstm", "head/relu"], list(monitor.history)
    assert monitor.history["lstm"]["step"].tolist() == [0, 2, 4, 6]
    assert not monitor.closed

# What fails is warned of once, and the training goes on.
monitor = fastact.ActivationMonitor()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", RuntimeWarning)
    callback = fastact.keras.ActivationCallback(monitor, layers=lambda name, layer: 1 / 0)
    assert len(train(model, [callback])["loss"]) == 2
ours = [str(w.message) for w in caught if "goes on without it" in str(w.message)]
assert len(ours) == 1 and "could not watch the model" in ours[0], ours
assert callback.failures == 1

# A closed monitor, a callback that was copied before and one that has run, and a training that fails.
monitor = fastact.ActivationMonitor()
class Do(keras.callbacks.Callback):
    def __init__(self, what):
        super().__init__()
        self.what = what
    def on_train_batch_end(self, batch, logs=None):
        self.what()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", RuntimeWarning)
    callback = fastact.keras.ActivationCallback(monitor)
    assert len(train(model, [Do(monitor.close), callback])["loss"]) == 2
    assert callback.failures > 1
assert sum("the monitor is closed" in str(w.message) for w in caught) == 1, caught
original = fastact.keras.ActivationCallback(sys.argv[1] + "/copy", strict=True)
copied = copy.deepcopy(original)
train(model, [copied])
train(model, [pickle.loads(pickle.dumps(copied))])
assert fastact.open_log(sys.argv[1] + "/copy").to_table().num_rows == 2 * 40
for error in (RuntimeError, KeyboardInterrupt):
    def fail():
        raise error
    try:
        train(model, [copied, Do(fail)])
    except error:
        copied.close()
    assert all("call" not in vars(layer) for layer in model._flatten_layers())
    assert copied.monitor.closed

# What is computed twice counts once on PyTorch.
with keras.RematScope(mode="full"):
    again = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, activation="relu", name="dense"),
                              keras.layers.Dense(2, name="out")])
again.compile("sgd", "mse")
with fastact.ActivationMonitor() as monitor:
    again.fit(x[:, 0], x[:, 0, :2], batch_size=40, verbose=0,
              callbacks=[fastact.keras.ActivationCallback(monitor, strict=True)])
    counts = {name: int(layer["count"][0]) for name, layer in monitor.history.items()}
    runs = 1 if keras.backend.backend() == "torch" else counts["dense"] // 200
    assert counts == {"dense": runs * 200, "out": runs * 80}, counts
print("done")
"""


# --- Lightning and Hugging Face ---


def _linear_net() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


@pytest.mark.filterwarnings("default")
def test_lightning_records_training_steps_alone(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    import torch

    from fastact.lightning import ActivationCallback

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = _linear_net()
            self.net.eval()  # as `from_pretrained` hands it over; Lightning leaves it so

        def training_step(self, batch: Any) -> Any:
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch: Any) -> Any:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(*callbacks: Any) -> Any:
        lightning.seed_everything(0)
        module = Module()
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(24, 4)), batch_size=4)
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accumulate_grad_batches=2, callbacks=list(callbacks),
        )  # fmt: skip
        trainer.fit(module, data, data)
        return module

    plain = fit()
    callback = ActivationCallback(tmp_path, strict=True)
    watched = fit(callback)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    assert not any(module._forward_hooks for module in watched.modules())
    log = open_log(tmp_path)
    assert [info.name for info in log.layers] == ["net.0", "net.1", "net.2"]
    # 6 batches an epoch, two to a step of the optimizer, of 4 samples each.
    assert log.to_table().num_rows == 2 * 3 * 3
    assert {record.stats.count for record in log.replay(layers="net.0")} == {2 * 4 * 3}
    assert callback.failures == 0
    assert callback.monitor.closed

    class Failing(lightning.Callback):  # type: ignore[misc, name-defined]
        def on_train_batch_end(self, *_: Any) -> None:
            raise RuntimeError("out of luck")

    other = ActivationCallback(tmp_path / "other")
    with pytest.raises(RuntimeError, match="out of luck"):
        fit(other, Failing())
    assert other.monitor.closed

    broken = ActivationCallback(tmp_path / "third", layers="no such layer")
    with pytest.warns(RuntimeWarning, match="could not watch the model and goes on without it"):
        fit(broken)
    assert broken.failures == 1


@pytest.mark.filterwarnings("default")
def test_huggingface_records_training_steps_alone(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    pytest.importorskip("accelerate", reason="Accelerate is not installed")
    import torch

    from fastact.huggingface import ActivationCallback

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = _linear_net()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    data = [{"x": torch.randn(4), "labels": i % 2} for i in range(16)]

    def fit(*callbacks: Any) -> Any:
        transformers.set_seed(0)
        arguments = transformers.TrainingArguments(
            str(tmp_path / "out"), max_steps=6, per_device_train_batch_size=2, gradient_accumulation_steps=2,
            eval_strategy="steps", eval_steps=2, save_strategy="no", use_cpu=True, report_to="none", disable_tqdm=True,
        )  # fmt: skip
        model = Network()
        transformers.Trainer(model, arguments, train_dataset=data, eval_dataset=data, callbacks=list(callbacks)).train()
        return model

    plain = fit()
    callback = ActivationCallback(tmp_path / "run", strict=True)
    watched = fit(callback)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    assert not any(module._forward_hooks for module in watched.modules())
    log = open_log(tmp_path / "run")
    assert [info.name for info in log.layers] == ["net.0", "net.1", "net.2"]
    assert [record.step for record in log.replay(layers="net.0")] == [0, 1, 2, 3, 4, 5]
    assert {record.stats.count for record in log.replay(layers="net.0")} == {2 * 2 * 3}
    assert callback.monitor.closed

    (tmp_path / "taken").write_text("a file where the log should go")
    blocked = ActivationCallback(tmp_path / "taken")
    with pytest.warns(RuntimeWarning, match="could not open the log and goes on without it"):
        fit(blocked)
    assert blocked.failures >= 1


# --- PyTorch's trainers under fire ---


@pytest.fixture
def fit(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Trains the network of `_linear_net` in one of the trainers; `during` is called in each forward pass."""
    return {"lightning": _fit_lightning, "huggingface": _fit_huggingface}[request.param](tmp_path)


def _fit_lightning(folder: Path) -> Any:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    import torch

    import fastact.lightning

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, during: Any) -> None:
            super().__init__()
            self.net, self.during = _linear_net(), during

        def training_step(self, batch: Any) -> Any:
            self.during(self.global_step)
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(callback: Any, during: Any = lambda step: None, **options: Any) -> Any:
        module = Module(during)
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(24, 4)), batch_size=4)
        trainer = lightning.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[callback], **options,
        )  # fmt: skip
        module.error = None
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, data)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            module.error = error
        signal.signal(signal.SIGINT, handler)  # Lightning ignores further ones
        module.steps = trainer.global_step
        return module

    return fit, fastact.lightning.ActivationCallback


def _fit_huggingface(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    pytest.importorskip("accelerate", reason="Accelerate is not installed")
    import torch

    import fastact.huggingface

    class Network(torch.nn.Module):
        def __init__(self, during: Any) -> None:
            super().__init__()
            self.net, self.during, self.passes = _linear_net(), during, 0
            self.error: BaseException | None = None
            self.steps = 0

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            self.during(self.passes)
            self.passes += 1
            return {"loss": self.net(x).square().mean()}

    def fit(callback: Any, during: Any = lambda step: None) -> Any:
        model = Network(during)
        arguments = transformers.TrainingArguments(
            str(folder / "out"), max_steps=6, per_device_train_batch_size=4, save_strategy="no", use_cpu=True,
            report_to="none", disable_tqdm=True, logging_strategy="no",
        )  # fmt: skip
        trainer = transformers.Trainer(
            model, arguments, train_dataset=[{"x": torch.randn(4)} for _ in range(24)], callbacks=[callback]
        )
        try:
            trainer.train()
        except (Exception, KeyboardInterrupt) as error:
            model.error = error
        model.steps = trainer.state.global_step
        return model

    return fit, fastact.huggingface.ActivationCallback


_TRAINERS = pytest.mark.parametrize("fit", ["lightning", "huggingface"], indirect=True)


@_TRAINERS
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_monitor_that_is_closed_in_mid_training_does_not_end_it(fit: Any) -> None:
    train, callback_of = fit
    monitor = ActivationMonitor()
    callback = callback_of(monitor)
    with pytest.warns(RuntimeWarning, match="could not end a step .*the monitor is closed"):
        model = train(callback, lambda step: monitor.close() if step == 2 else None)
    assert (model.error, model.steps) == (None, 6)
    assert callback.failures == 4


@_TRAINERS
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_training_that_fails_leaves_a_log_and_can_be_started_again(fit: Any, kind: type, tmp_path: Path) -> None:
    train, callback_of = fit
    callback = callback_of(tmp_path / "run", strict=True)

    def fail(step: int) -> None:
        if step == 2:
            raise kind("out of luck")

    model = train(callback, fail)
    # Lightning ends the process after a Ctrl-C.
    assert isinstance(model.error, (kind, SystemExit))
    callback.close()
    assert not any(module._forward_hooks for module in model.modules())
    assert callback.monitor.closed
    assert open_log(tmp_path / "run").to_table().num_rows == 2 * 3
    train(callback, fail)  # and is not closed by hand
    assert train(callback).error is None
    assert open_log(tmp_path / "run").to_table().num_rows == (2 + 2 + 6) * 3


@_TRAINERS
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_copied_callback_begins_anew(fit: Any, tmp_path: Path) -> None:
    train, callback_of = fit
    callback = callback_of(tmp_path / "run", layers="net.0", strict=True)
    train(copy.deepcopy(callback))
    train(callback)
    train(pickle.loads(pickle.dumps(callback)))  # as for a process that is spawned
    assert open_log(tmp_path / "run").to_table().num_rows == 3 * 6
    # A monitor is one: a copy neither writes to it nor ends the training.
    monitor = ActivationMonitor()
    with pytest.warns(RuntimeWarning, match="a copy of it, in this process or another one, records nothing"):
        copied = copy.deepcopy(callback_of(monitor))
    assert train(copied).error is None
    assert copied.failures == len(monitor.history) == 0


@_TRAINERS
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_log_that_cannot_be_opened_leaves_a_monitor_that_diagnoses(fit: Any, tmp_path: Path) -> None:
    train, callback_of = fit
    (tmp_path / "taken").write_text("a file where the log should go")
    callback = callback_of(tmp_path / "taken")
    with pytest.warns(RuntimeWarning, match="could not open the log and goes on without it"):
        model = train(callback)
    assert (model.error, callback.failures) == (None, 1)
    assert [layer.rows for layer in callback.monitor.diagnose().layers] == [6, 6, 6]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@_TRAINERS
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_full_disk_does_not_end_a_training(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, callback_of = fit
    full = os.open("/dev/full", os.O_WRONLY)
    callback = callback_of(tmp_path / "run")
    write = os.write

    def begin(step: int) -> None:
        if step == 0:
            monkeypatch.setattr(os, "write", lambda file, data: write(full, data))
        if step == 5:
            callback.monitor.flush()

    with pytest.warns(RuntimeWarning, match="No space left on device"):
        model = train(callback, begin)
    monkeypatch.undo()
    os.close(full)
    assert (model.error, callback.failures, model.steps) == (None, 0, 6)
    assert [layer.rows for layer in callback.monitor.diagnose().layers] == [6, 6, 6]


@pytest.mark.e2e
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_transformer_with_gradient_checkpointing_counts_once_and_generates(reentrant: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    import torch

    import fastact.torch

    config = transformers.GPT2Config(vocab_size=32, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    model = transformers.GPT2LMHeadModel(config).train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    tokens = torch.arange(16).reshape(2, 8)
    with ActivationMonitor() as monitor, fastact.torch.watch(model, monitor, strict=True):
        model(input_ids=tokens, labels=tokens).loss.backward()
        monitor.step()
        counts = {name: int(layer["count"][0]) for name, layer in monitor.history.items()}
        assert {counts[f"transformer.h.{block}.ln_1"] for block in range(2)} == {2 * 8 * 16}
        model.gradient_checkpointing_disable()
        model.eval()
        out = model.generate(tokens[:, :4], max_new_tokens=6, do_sample=False, pad_token_id=0)
        monitor.step()
        # The prompt, then one token after another, out of the cache.
        assert int(monitor.history["transformer.wte"]["count"][1]) == 2 * 16 * (out.shape[1] - 1)


# --- scikit-learn ---


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_layers_of_an_mlp_are_those_that_predict(rng: np.random.Generator, activation: str, sparse: bool) -> None:
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    import scipy.sparse

    x, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    model = neural_network.MLPRegressor(hidden_layer_sizes=(5, 3), activation=activation, random_state=0).partial_fit(
        x, y
    )
    monitor = ActivationMonitor()
    fastact.sklearn.record(monitor, model, scipy.sparse.csr_array(x) if sparse else x)
    monitor.step()
    history = monitor.history
    acts = [] if activation == "identity" else ["act1", "act2"]
    assert sorted(history) == sorted(["hidden1", "hidden2", "output", *acts])
    assert history["output"]["mean"][0] == pytest.approx(model.predict(x).mean())
    assert history["output"]["std"][0] == pytest.approx(model.predict(x).std())
    if acts:
        assert history["act1"].info.kind == {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "ReLU"}[activation]
        assert history["act2"]["neurons"][0] == 3


def test_sklearn_refuses_what_it_cannot_read() -> None:
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    monitor, x = ActivationMonitor(), np.ones((3, 2))
    with pytest.raises(ArgumentTypeError, match="model: got str, want an MLPClassifier or MLPRegressor"):
        fastact.sklearn.record(monitor, "model", x)
    model = neural_network.MLPRegressor(hidden_layer_sizes=(2,))
    with pytest.raises(ArgumentValueError, match="model: got an unfitted MLPRegressor"):
        fastact.sklearn.record(monitor, model, x)
    model.partial_fit(x, x[:, 0])
    with pytest.raises(ArgumentValueError, match=r"x: got shape \(3, 5\), want \(samples, 2\)"):
        fastact.sklearn.record(monitor, model, np.ones((3, 5)))


# --- without the framework ---


@pytest.mark.parametrize(
    ("module", "package"),
    [("lightning", "lightning"), ("huggingface", "transformers"), ("keras", "keras"), ("jax", "jax"), ("flax", "flax")],
)
def test_a_missing_framework_names_the_extra(module: str, package: str) -> None:
    blocked = ("lightning", "pytorch_lightning") if module == "lightning" else (package,)
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport fastact.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr, done.stderr
    assert f"pip install 'fastact[{module}]'" in done.stderr
