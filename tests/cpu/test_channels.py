"""Per-neuron sweeps against sweeping each neuron alone."""

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import nasty

import fastact
from fastact import ActivationStats, ChannelStats, summarize
from fastact.fields import STATE
from fastact.stats.activation import as_logged

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


def _neurons(x: Any, *, silence: Any, **options: Any) -> tuple[Any, ...]:
    """The numbers of `fields.NEURON`: from the memory of a sweep and from its arrays, which must agree."""
    stats = summarize(x, axis=-1)
    before = silence.copy()
    numbers = stats.numbers(silence=silence, **options)
    assert stats.mean.size == silence.size  # what was in memory is arrays from now on
    again = stats.numbers(silence=before, **options)
    assert numbers == pytest.approx(again, rel=0, abs=0, nan_ok=True)
    assert [type(number) for number in numbers] == [type(number) for number in again]
    assert before.tolist() == silence.tolist()
    assert numbers[: len(STATE)] == pytest.approx(as_logged(stats.total.state), rel=0, abs=0, nan_ok=True)
    return numbers[len(STATE) :]


def test_survey_follows_silence() -> None:
    silence = np.zeros(3, np.int64)
    options: Any = {"silent_share": 0.01, "saturated_share": 0.95, "silence": silence}
    x = np.zeros((100, 3))
    x[:, 1] = 2.0
    x[:, 2] = np.arange(100)
    first = _neurons(x, **options, dead_after=1)
    assert first[:5] == (3, 1, 1, 2, 1)  # neurons, silent, dead, saturated (1 and most of 2), constant
    assert first[5] == pytest.approx(math.sqrt(np.arange(100).var() / 3))
    assert _neurons(x, **options, dead_after=3)[2] == 0
    assert _neurons(x, **options, dead_after=3)[2] == 1
    x[:50, 0] = 1.0
    assert _neurons(x, **options, dead_after=1)[1:3] == (0, 0)
    assert silence.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint64", "int8"])
@pytest.mark.parametrize("neurons", [1, 3, 70, 1000])
def test_survey_finds_the_largest_neuron_and_the_typical_one(dtype: str, neurons: int) -> None:
    rng = np.random.default_rng(neurons)
    with np.errstate(all="ignore"):
        x = (rng.standard_normal((9, neurons)) * 10.0 ** rng.integers(-2, 3, neurons)).astype(dtype)
    x[:, 1::4] = 0
    if x.dtype.kind == "f":
        x[3:, ::7], x[:, 2::9], x[4, 5::6] = np.nan, np.inf, -np.inf
    elif dtype != "int8":
        x[2, -1] = np.iinfo(dtype).min or np.iinfo(dtype).max
    check_peaks(x)


@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1e-160, 1e-20, 1.0, 1e20, 1e160, 1e300])
def test_survey_of_peaks_out_of_range(scale: float) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1.0, (4, 333)) * scale
    check_peaks(x)
    x[:, 100:200] = 3e5
    check_peaks(x)


def check_peaks(x: Any) -> None:
    """`peak_neuron` and `typical_peak` of a matrix, by their definitions, in Python's own numbers."""
    columns = [[abs(float(v)) for v in column if math.isfinite(v)] for column in x.T.tolist()]
    peaks = [max(column) if column else None for column in columns]
    known = [peak for peak in peaks if peak is not None]
    want = peaks.index(max(known)) if known else -1
    logs = [math.log(peak) for peak in known if peak]
    got = _neurons(x, silent_share=0.01, saturated_share=0.95, silence=np.zeros(x.shape[1], np.int64), dead_after=1)[6:]
    typical = math.exp(math.fsum(logs) / len(logs)) if logs else math.nan
    assert got[0] == want
    assert got[1] == pytest.approx(typical, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("x", "want"),
    [
        ([[1.0, -2.0, 2.0]], (1, 4.0 ** (1 / 3))),  # the first of equals
        ([[0.0, 0.0]], (0, math.nan)),
        ([[math.nan, math.inf]], (-1, math.nan)),
        ([[math.nan, 0.0, -8.0, 2.0]], (2, 4.0)),
    ],
)
def test_survey_of_peaks_by_hand(x: list[list[float]], want: tuple[int, float]) -> None:
    options: Any = {"silent_share": 0.01, "saturated_share": 0.95, "silence": np.zeros(len(x[0]), np.int64)}
    got = _neurons(np.array(x), **options, dead_after=1)[6:]
    assert got[0] == want[0]
    assert got[1] == pytest.approx(want[1], nan_ok=True)


@given(st.data())
def test_merge_law(data: st.DataObject) -> None:
    """Merging the parts equals sweeping the whole, for tensors and for neurons, however they are cut."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    n = data.draw(st.integers(1, 300))
    x = rng.standard_normal((n, 3)) * 10.0 ** data.draw(st.integers(-100, 100)) + data.draw(st.floats(-1e3, 1e3))
    x[rng.random(x.shape) < data.draw(st.sampled_from([0.0, 0.1, 1.0]))] = data.draw(
        st.sampled_from([np.nan, np.inf, 0.0])
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    parts = np.split(x, cuts)
    for axis in (None, -1):
        whole: Any = summarize(x, axis=axis)
        swept: list[Any] = [summarize(part, axis=axis) for part in parts]
        merged: Any = fastact.merge(swept)
        accumulator = fastact.Accumulator(axis=axis)
        for part in parts:
            accumulator.update(part)
        assert accumulator.stats == merged
        for name in (*COUNTS, "min", "max"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
        np.testing.assert_allclose(merged.std, whole.std, rtol=1e-9, atol=0)
        size = np.maximum(np.abs(whole.mean), whole.std)
        assert np.all((np.abs(merged.mean - whole.mean) <= 1e-12 * size) | np.isnan(size))
        np.testing.assert_allclose(merged.abs_mean, whole.abs_mean, rtol=1e-12)


@given(st.lists(st.lists(st.floats(width=64), max_size=6), min_size=3, max_size=3))
def test_merge_is_commutative_associative_and_has_an_identity(parts: list[list[float]]) -> None:
    a, b, c = (summarize(np.array(part)) for part in parts)
    empty = fastact.merge([])
    assert a | empty == a == empty | a
    for left, right in [(a | b, b | a), ((a | b) | c, a | (b | c))]:
        assert left.state[:6] == right.state[:6]
        for name in ("min", "max"):
            assert getattr(left, name) == pytest.approx(getattr(right, name), rel=0, abs=0, nan_ok=True)
        size = max(left.absmax, 0.0) if left.finite else 0.0
        assert left.mean == pytest.approx(right.mean, abs=1e-14 * size, rel=1e-12, nan_ok=True)
        assert left.std == pytest.approx(right.std, abs=1e-14 * size, rel=1e-12, nan_ok=True)


def test_merge_of_far_apart_means_is_exact() -> None:
    """Two ranks with constants 0 and 2: the variance is +1 (a rival's pooled formula says -1)."""
    a, b = summarize(np.zeros(5)), summarize(np.full(5, 2.0))
    assert ((a | b).mean, (a | b).var) == (1.0, 1.0)
    high, low = summarize(np.array([1.7e308])), summarize(np.array([-1.7e308]))
    assert ((high | low).mean, (high | low).std) == (0.0, 1.7e308)


def test_counts_beyond_32_bits_add_up() -> None:
    state = (2**40, 0, 0, 0, 2**39, 0, 1.0, 1.0, 1.0, 0.0, 2.0)
    stats = ActivationStats.from_state(state)
    assert (stats | stats).count == 2**41
    assert (stats | stats).zero_ratio == 0.5


def test_merge_refuses_what_does_not_add_up() -> None:
    a = summarize(np.ones(3))
    with pytest.raises(fastact.ArgumentValueError, match="saturation"):
        fastact.merge([a, summarize(np.ones(3), saturation=(0.0, 1.0))])
    with pytest.raises(fastact.ArgumentValueError, match="shape"):
        summarize(np.ones((2, 3)), axis=1) | summarize(np.ones((2, 4)), axis=1)
    for bad in ([a, summarize(np.ones((2, 2)), axis=1)], [1.0], 5):
        with pytest.raises(fastact.ArgumentTypeError, match="parts"):
            fastact.merge(bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        a | 3  # type: ignore[operator]
    accumulator = fastact.Accumulator()
    accumulator.update(np.ones(3))
    with pytest.raises(fastact.ArgumentTypeError, match="x"):
        accumulator.update("text")
    assert accumulator.stats.count == 3
    assert fastact.Accumulator(saturation=(0.0, 1.0)).stats.saturation == (0.0, 1.0)
