"""Per-neuron sweeps against sweeping each neuron alone."""

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from oracle import nasty

import fastact
from fastact import ChannelStats, summarize

COUNTS = ("count", "finite", "nans", "infs", "pos_infs", "neg_infs", "zeros", "saturated")
NUMBERS = ("mean", "std", "var", "abs_mean", "rms", "absmax", "zero_ratio", "saturation_ratio")


def check(got: ChannelStats, x: Any, axes: tuple[int, ...], **options: Any) -> None:
    """Compares with `summarize` of every neuron's elements, which other tests compare with the oracle."""
    x = np.asarray(x)
    shape = tuple(x.shape[a] for a in axes)
    assert got.shape == got.mean.shape == got.count.shape == got.min.shape == shape
    assert got.neurons == len(got) == math.prod(shape)
    rows = np.moveaxis(x, axes, range(len(axes))).reshape(got.neurons, -1)
    tolerance = 1e-12 if x.dtype == np.float64 else 2e-6
    for i, index in enumerate(np.ndindex(shape)):
        one = summarize(rows[i], **options)
        for name in COUNTS:
            assert getattr(got, name)[index] == getattr(one, name), (name, index)
        for name in ("min", "max"):
            assert getattr(got, name)[index] == pytest.approx(getattr(one, name), rel=0, abs=0, nan_ok=True)
        size = max(abs(one.mean), one.std) if one.finite else 0.0
        for name in NUMBERS:
            bound = 1e-322 + (tolerance * size if name == "mean" else 0.0)  # some denormals
            want = getattr(one, name)
            near = pytest.approx(want, rel=2 * tolerance, abs=bound, nan_ok=True)
            assert getattr(got, name)[index] == near, (name, index)
    total = summarize(x, **options)
    for name in (*COUNTS, "min", "max"):
        assert getattr(got.total, name) == pytest.approx(getattr(total, name), rel=0, abs=0, nan_ok=True)
    assert got.total.std == pytest.approx(total.std, rel=2 * tolerance, nan_ok=True)
    assert got.total.mean == pytest.approx(
        total.mean, abs=tolerance * max(total.std, 1e-300), rel=tolerance, nan_ok=True
    )


SHAPES: list[tuple[tuple[int, ...], Any]] = [
    ((64, 10), -1),
    ((1, 7), -1),
    ((7, 1), -1),
    ((1000, 3), -1),
    ((301, 513), -1),
    ((70, 1100), -1),
    ((4, 5, 33), -1),
    ((4, 5, 33), 0),
    ((3, 6, 7, 5), 1),
    ((2, 3, 70000), 1),
    ((2, 3, 4, 5), (1, 2)),
    ((2, 3, 4, 5), (0, 3)),
    ((2, 3, 4, 5), (0, 1, 2, 3)),
    ((6,), 0),
]


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int64"])
def test_shapes_and_axes(shape: tuple[int, ...], axis: Any, dtype: str) -> None:
    x = (np.random.default_rng(0).standard_normal(shape) * 3).astype(dtype)
    axes = (axis,) if isinstance(axis, int) else axis
    check(summarize(x, axis=axis), x, tuple(a % x.ndim for a in axes))


@pytest.mark.parametrize("inner", [7, 8, 15, 16, 17, 31, 32, 49, 784, 2048, 2049])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64"])
def test_runs_of_any_length(inner: int, dtype: str) -> None:
    # Whole vectors, and what is left over at a run's end: where the extremes, a zero and what is not finite lie.
    x = (np.random.default_rng(0).random((5, 3, inner)) * 9 + 1).astype(dtype)
    x[1, 0, -1], x[2, 0, -1], x[3, 0, 0] = 100, 0, 0
    if x.dtype.kind == "f":
        x[2, 1, -2:] = np.nan, -np.inf
    choices: list[dict[str, Any]] = [{}, {"saturation": (2.5, math.inf), "zero_tol": 1.5}]
    for options in choices:
        check(summarize(x, axis=1, **options), x, (1,), **options)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 3, 1), (1, 0, 3, 2)])
@pytest.mark.parametrize("axis", [0, 1, 3, (1, 2)])
def test_memory_orders(order: tuple[int, ...], axis: Any) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype(np.float32)
    view = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    assert view.shape == x.shape
    axes = (axis,) if isinstance(axis, int) else axis
    check(summarize(view, axis=axis), x, axes)
    check(summarize(view[:, ::2, ::-1], axis=axis), x[:, ::2, ::-1], axes)


@pytest.mark.parametrize(("dtype", "name"), [(d, name) for d in ("float32", "float64") for name in nasty(np.dtype(d))])
def test_nasty_columns_among_good_ones(dtype: str, name: str) -> None:
    column = nasty(np.dtype(dtype))[name][:700]
    x = np.random.default_rng(1).standard_normal((column.size, 5)).astype(dtype)
    x[:, 2] = column
    check(summarize(x, axis=-1), x, (1,))
    images = np.ascontiguousarray(np.broadcast_to(x.T, (2, 5, column.size)))
    check(summarize(images, axis=1), images, (1,))


@pytest.mark.parametrize("width", [16, 17, 31, 33, 40, 48, 49, 65])
def test_columns_that_do_not_fill_the_vectors(width: int) -> None:
    # The last vectors of columns lie over those before them, and each column of them may need the slow path.
    x = np.random.default_rng(2).standard_normal((20, width)).astype(np.float32)
    x[3, width % 3 :: 3] = np.nan
    x[5:, -2] = 1e30
    x[:, -1] = np.arange(20) + 1e6
    check(summarize(x, axis=-1), x, (1,))


@pytest.mark.parametrize("shape", [(2100, 1040, 1), (70000, 32, 1), (130, 32, 600)])
def test_from_memory(shape: tuple[int, int, int]) -> None:
    # 8 MB and more are asked for ahead, and shared out in other pieces.
    x = np.random.default_rng(3).standard_normal(shape, np.float32)
    x[::7] = 0
    got = summarize(x, axis=1)
    assert (got.count == shape[0] * shape[2]).all()
    assert (got.zeros == (x == 0).sum((0, 2))).all()
    assert (got.saturated == (np.abs(x) > np.float32(0.99)).sum((0, 2))).all()
    assert (got.min == x.min((0, 2))).all()
    assert (got.max == x.max((0, 2))).all()
    wide = x.astype(np.float64)
    np.testing.assert_allclose(got.mean, wide.mean((0, 2)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.std, wide.std((0, 2)), rtol=1e-6)
    np.testing.assert_allclose(got.abs_mean, np.abs(wide).mean((0, 2)), rtol=1e-6)


@pytest.mark.parametrize("width", [5, 8, 133])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_parts_of_which_one_is_odd(width: int, dtype: str) -> None:
    # Two parts of 600 rows and more, as vectors of columns, but for those where a part has nothing finite, or squares
    # that leave the range, and the few columns that fill no vector.
    x = (np.random.default_rng(4).standard_normal((1200 if width > 60 else 16_000, width)) * 9).astype(dtype)
    half = len(x) // 2
    if dtype != "int64":
        x[:half, 1] = np.nan
        x[half:, -2] = np.inf
        x[3, -2] = -np.inf
    if dtype == "float64":
        x[:, -1] *= 1e170
    x[:, 0] = 7
    x[:half, 2], x[half:, 2] = 5, 6
    check(summarize(x, axis=-1), x, (1,))


def test_shifts_of_neurons_with_a_mean_and_without() -> None:
    # Vectors of columns that need no shift are summed in another loop, for bounds that lie evenly around 0.
    x = np.random.default_rng(5).standard_normal((5000, 96), np.float32)
    x[:, 40] += 3
    x[2500:, 50] += 1000
    x[:, 70] = x[:, 70] * 1e-3 + 100
    choices: list[tuple[float, float]] = [(-0.99, 0.99), (-math.inf, math.inf), (-0.5, 1.5)]
    for saturation in choices:
        check(summarize(x, axis=-1, saturation=saturation), x, (1,), saturation=saturation)
        images = np.ascontiguousarray(x.T).reshape(1, 96, 5000)[..., :4000]
        check(summarize(images, axis=1, saturation=saturation), images, (1,), saturation=saturation)


def test_sweeps_at_once_work_in_memory_of_their_own() -> None:
    arrays = [np.random.default_rng(i).standard_normal((600 + i, 40 * i + 8), np.float32) for i in range(6)]
    alone = [summarize(x, axis=1) for x in arrays]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(20):
            assert list(pool.map(lambda x: summarize(x, axis=1), arrays)) == alone


def test_options_reach_every_neuron() -> None:
    x = np.random.default_rng(1).random((50, 4))
    check(summarize(x, axis=1, saturation=(0.2, 0.7), zero_tol=0.1), x, (1,), saturation=(0.2, 0.7), zero_tol=0.1)


def test_torch_images_in_both_memory_formats() -> None:
    x = torch.randn(2, 3, 4, 5)
    check(summarize(x, axis=1), x.numpy(), (1,))
    check(summarize(x.to(memory_format=torch.channels_last), axis=1), x.numpy(), (1,))
    half = x.bfloat16()
    check(summarize(half, axis=1), half.float().numpy(), (1,))


def test_channels_last_memory_is_read_in_place() -> None:
    import tracemalloc

    x = torch.ones(8, 64, 64, 64).to(memory_format=torch.channels_last)  # 8 MB
    summarize(x, axis=1)
    tracemalloc.start()
    try:
        summarize(x, axis=1)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_no_elements() -> None:
    none = summarize(np.zeros((0, 3)), axis=-1)
    assert none.count.tolist() == [0, 0, 0]
    assert np.isnan(none.mean).all()
    assert np.isnan(none.min).all()
    assert not none.dead().any()
    assert none.total.count == 0
    assert summarize(np.zeros((3, 0)), axis=-1).mean.shape == (0,)
    with pytest.raises(fastact.ArgumentValueError, match="axis"):
        summarize(np.array(1.0), axis=-1)


def test_dead() -> None:
    x = np.zeros((200, 4))
    x[0, 1] = 1.0  # active in 0.5% of the samples
    x[:3, 2] = 1.0  # in 1.5%
    x[:, 3] = np.nan
    c = summarize(x, axis=-1)
    assert c.dead().tolist() == [True, True, False, False]
    assert c.dead(threshold=0).tolist() == [True, False, False, False]
    assert c.dead(threshold=1).tolist() == [True, True, True, True]
    for bad, error in [
        (2.0, ValueError),
        (-0.1, ValueError),
        (math.nan, ValueError),
        ("a", TypeError),
        (True, TypeError),
    ]:
        with pytest.raises(error, match="threshold"):
            c.dead(bad)  # type: ignore[arg-type]


def test_immutable_and_picklable() -> None:
    c = summarize(np.ones((3, 2)), axis=-1)
    with pytest.raises(AttributeError):
        c.shape = (1,)
    with pytest.raises(ValueError, match="read-only"):
        c.mean[0] = 3
    assert pickle.loads(pickle.dumps(c)) == c
    assert c != summarize(np.zeros((3, 2)), axis=-1)
    assert c.total_elements.tolist() == c.count.tolist() == [3, 3]
    with pytest.raises(TypeError):
        hash(c)
