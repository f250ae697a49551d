"""Summaries in plain JAX against the sweep of the same elements, and the recorder within JAX's transformations."""

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
from frameworks import environment

import fastact.jax
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
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu", **environment()},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[[32], [15.5], [4]]"] * 2


def test_failures_in_a_recorder_do_not_end_the_training(data: Any) -> None:
    recorder = Recorder(ActivationMonitor())
    step = jax.jit(lambda x: recorder.record("bad", x, axis=5) + recorder.record("good", x))
    with pytest.warns(
        RuntimeWarning, match="could not record layer 'bad' and continues without it .*axis: got 5"
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
