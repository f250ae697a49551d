"""`summarize_many` against `summarize` of each, and against the same oracle."""

import gc
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import describe, nasty

import fastact
from fastact import summarize, summarize_many
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu import numpy_headers
from fastact.cpu.sweep import SMALL
from fastact.stats import summarize_many as many

COUNTS = ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated")
ERROR = {"float64": 1e-13, "float32": 1e-6, "float16": 1e-6, "bfloat16": 1e-6}
FLOATS: list[Any] = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]
#: More than are swept one by one.
MANY = 2 * many._FEW


def bits(stats: Any) -> bytes:
    """All that stats hold, rests of rounding and options too, such that NaN equals NaN and -0.0 is not 0.0."""
    return pickle.dumps((type(stats), [float(v).hex() for v in stats._state], stats._state[9:11], stats._bounds))


def check(xs: list[Any], **options: Any) -> None:
    got = summarize_many(xs, **options)
    assert isinstance(got, list)
    assert [bits(s) for s in got] == [bits(summarize(x, **options)) for x in xs]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def threads() -> Iterator[None]:
    before = fastact.get_num_threads()
    yield
    fastact.set_num_threads(before)


def test_nasty_data_against_the_oracle() -> None:
    xs = [x for dtype in FLOATS for x in nasty(dtype).values()]
    for x, stats in zip(xs, summarize_many(xs), strict=True):
        want, error = describe(x), ERROR[x.dtype.name]
        assert [getattr(stats, name) for name in COUNTS] == [want[name] for name in COUNTS]
        if math.isnan(want["mean"]):
            assert all(math.isnan(getattr(stats, name)) for name in ("mean", "std", "abs_mean", "min", "max"))
            continue
        assert (stats.min, stats.max) == (want["min"], want["max"])
        assert abs(stats.mean - want["mean"]) <= error * max(abs(want["mean"]), want["std"])
        assert abs(stats.std - want["std"]) <= error * want["std"]
        assert abs(stats.abs_mean - want["abs_mean"]) <= max(error, 1e-15) * want["abs_mean"]
    check(xs)


def of_every_kind(rng: np.random.Generator, size: int) -> list[Any]:
    found = []
    for name in ELEMENT_TYPES:
        if name.startswith(("float", "bfloat")):
            found.append(rng.standard_normal(size).astype(getattr(ml_dtypes, name, name)))
        else:
            top = np.iinfo(name).max if name != "bool" else 2
            found.append(rng.integers(0, top, size, dtype=np.uint64).astype(name))
    return found


@pytest.mark.parametrize("owner", [lambda x: x, lambda x: torch.tensor(x.astype(np.float32)).to(torch.bfloat16)])
def test_every_kind_in_one_list(rng: np.random.Generator, owner: Callable[[Any], Any]) -> None:
    xs = [owner(x) for size in (1, 7, 1000, 70_000) for x in of_every_kind(rng, size)]
    check(xs)
    rng.shuffle(xs)
    check(xs, saturation=(0.0, 5.0), zero_tol=0.5)
    assert isinstance(summarize_many([np.array([2**63 + 1], np.uint64)] * MANY)[0].max, int)


VIEWS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda x: x,
    "3-d": lambda x: x[: x.size // 4 * 4].reshape(2, -1, 2),
    "transposed": lambda x: x[: x.size // 2 * 2].reshape(2, -1).T,
    "reversed": lambda x: x[::-1],
    "every other": lambda x: x[::2],
    "broadcast": lambda x: np.broadcast_to(x[:1], (3, 4)),
    "empty": lambda x: x[:0],
    "0-d": lambda x: x[0].reshape(()),
    "read-only": lambda x: (x.setflags(write=False), x)[1],
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"0" + x.tobytes(), x.dtype, offset=1),
    "list": lambda x: x.tolist(),
    "memoryview": lambda x: memoryview(x),
    "subclass": lambda x: x.view(type("Mine", (np.ndarray,), {})),
    "arrow": lambda x: pa.array(x),
    "arrow with nulls": lambda x: pa.array([1.0, None, 3.0]),
    "arrow in chunks": lambda x: pa.chunked_array([x, x[:5]]),
    "polars": lambda x: pl.Series(x),
    "tensor": lambda x: torch.tensor(x),
    "parameter": lambda x: torch.nn.Parameter(torch.tensor(x)),
    "graph": lambda x: torch.tensor(x, requires_grad=True) * 2,
    "strided tensor": lambda x: torch.tensor(x)[::2],
    "transposed tensor": lambda x: torch.tensor(x[: x.size // 2 * 2]).reshape(2, -1).T,
    "empty tensor": lambda x: torch.tensor(x[:0]),
    "negated tensor": lambda x: torch.complex(torch.tensor(x), torch.tensor(x)).conj().imag,
    "tensor of a fake type": lambda x: torch.tensor(x).as_subclass(type("Mine", (torch.Tensor,), {})),
}


@given(
    items=st.lists(st.tuples(st.sampled_from(list(VIEWS)), st.integers(4, 300)), max_size=90),
    dtype=st.sampled_from([np.float32, np.float64]),
    options=st.sampled_from([{}, {"saturation": (-math.inf, 0.5)}, {"zero_tol": 0.1}]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_equal_to_each_by_itself_whatever_the_mix(
    items: list[tuple[str, int]], dtype: Any, options: dict[str, Any], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    check([VIEWS[view](rng.standard_normal(size).astype(dtype)) for view, size in items], **options)


@pytest.mark.parametrize("view", VIEWS)
def test_every_owner_and_layout_first_and_again(rng: np.random.Generator, view: str) -> None:
    for _ in range(2):
        check([VIEWS[view](rng.standard_normal(8 + i)) for i in range(MANY)])


def test_long_ones_beside_small_ones_on_any_number_of_threads(rng: np.random.Generator, threads: None) -> None:
    xs: list[Any] = [rng.standard_normal(n, np.float32) for n in [100, SMALL, SMALL + 1, 3 * SMALL + 77, 3_000_000]]
    xs += [rng.integers(-9, 9, SMALL + 5), np.full(2 * SMALL, np.nan, np.float32), rng.standard_normal(2 * SMALL)]
    xs += [rng.standard_normal(1000, np.float32) for _ in range(MANY)]
    for count in (1, 2, 5):
        fastact.set_num_threads(count)
        check(xs)


def test_dtypes_are_learned_and_kept_apart(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    known = numpy_headers.KnownDtypes()  # what other tests have taught the process may leave no room
    for module in (numpy_headers, many):
        monkeypatch.setattr(module, "known_dtypes", known)
    before = known.table.shape[1]
    longs = [rng.integers(-9, 9, 50).astype(np.dtype("longlong").newbyteorder("=")) for _ in range(MANY)]
    brains = [rng.standard_normal(50).astype(ml_dtypes.bfloat16) for _ in range(MANY)]
    halves = [x.view(np.float16) for x in brains]
    for _ in range(2):
        check([*longs, *brains, *halves])
    odd = [np.ones(3, np.dtype("f4", metadata={"number": i})) for i in range(200)]
    check(odd)
    assert before < known.table.shape[1] <= 64
    del odd
    gc.collect()
    check([np.ones(3, np.dtype("i2", metadata={"number": i})) for i in range(200)])


def test_headers_of_another_make_cost_time_only(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    assert numpy_headers._headers_are_as_said()
    xs = [rng.standard_normal(9) for _ in range(MANY)]
    assert (numpy_headers.arrays_at(xs).types >= 0).all()
    monkeypatch.setattr(numpy_headers, "_headers_are_as_said", lambda: False)
    assert (numpy_headers.arrays_at(xs).types == -1).all()
    check(xs)


def test_what_only_a_view_holds_is_there_until_it_is_swept() -> None:
    class Owner:  # makes an array when it is asked, and keeps nothing
        def __init__(self, value: float) -> None:
            self.value = value

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.full(10_000, self.value)

    assert [s.mean for s in summarize_many(map(Owner, range(MANY)))] == list(range(MANY))


def test_any_iterable() -> None:
    x = np.ones((MANY, 3))
    for xs in (x, (row for row in x), tuple(x), dict(enumerate(x)).values()):
        assert [s.count for s in summarize_many(xs)] == [3] * MANY
    assert summarize_many([]) == summarize_many(iter(())) == summarize_many([], axis=0) == []
    assert summarize_many(x[:2]) == [summarize(x[0])] * 2

    def broken() -> Iterator[Any]:
        yield x
        raise TypeError("not mine")

    with pytest.raises(TypeError, match="not mine"):
        summarize_many(broken())


def test_per_neuron(rng: np.random.Generator) -> None:
    xs = [rng.standard_normal((5, 1 + i % 7)) for i in range(MANY)]
    got = summarize_many(xs, axis=-1, zero_tol=0.1)
    assert got == [summarize(x, axis=-1, zero_tol=0.1) for x in xs]
    assert got[0].zero_tol == 0.1
    with pytest.raises(fastact.ArgumentValueError, match=r"axis: got 2, want axes of x.*\(of xs\[0\]\)"):
        summarize_many(xs, axis=2)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "none": (None, fastact.ArgumentTypeError, r"^xs\[3\]: got None|^xs\[3\]: got an array of object"),
    "text": ("text", fastact.ArgumentTypeError, r"^xs\[3\]: got str, want"),
    "complex": (np.ones(2, complex), fastact.ArgumentTypeError, r"^xs\[3\]: got an array of complex128"),
    "masked": (np.ma.ones(2), fastact.ArgumentTypeError, r"^xs\[3\]: got a masked array"),
    "sparse": (torch.eye(2).to_sparse(), fastact.ArgumentValueError, r"^xs\[3\]: got a tensor of layout"),
    "meta": (torch.ones(2, device="meta"), fastact.ArgumentValueError, r"^xs\[3\]: got a tensor on the meta"),
    "on a GPU": (
        type("Owner", (), {"__cuda_array_interface__": {}})(),
        fastact.FastactError,
        r"^xs\[3\]: got Owner on a GPU",
    ),
}


@pytest.mark.parametrize("size", [5, MANY])
@pytest.mark.parametrize("bad", BAD)
def test_an_error_names_the_item(bad: str, size: int) -> None:
    x, error, words = BAD[bad]
    for good in (np.ones(9), torch.ones(9)):
        xs: list[Any] = [good] * size
        xs[3] = x
        with pytest.raises(error, match=words):
            summarize_many(xs)
        with pytest.raises(error, match=words):
            summarize_many(xs, axis=0)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_tensors_without_memory_that_is_theirs_are_refused() -> None:
    good = [torch.ones(9)] * MANY
    summarize_many(good)
    for layout in (torch.jagged, torch.strided):
        with pytest.raises(fastact.ArgumentValueError, match=rf"^xs\[{MANY}\]: got a nested"):
            summarize_many([*good, torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)])
    freed = torch.ones(100)
    freed.untyped_storage().resize_(0)
    with pytest.raises(fastact.ArgumentValueError, match=rf"^xs\[{MANY}\]: .*freed"):
        summarize_many([*good, freed])

    def inside(x: torch.Tensor) -> torch.Tensor:
        with pytest.raises(fastact.ArgumentValueError, match=rf"^xs\[{MANY}\]: .*without memory"):
            summarize_many([*good, x])
        return x.sum()

    torch.vmap(inside)(torch.ones(3, 2))
    torch.func.grad(inside)(torch.ones(3))


@pytest.mark.parametrize("junk", [5, None, 1.5, np.float32(1), np.ones(()), summarize])
def test_what_is_no_list_is_refused(junk: Any) -> None:
    with pytest.raises(fastact.ArgumentTypeError, match=r"^xs: got .*, want a list"):
        summarize_many(junk)


def test_options_are_checked_first() -> None:
    choices: list[Any] = [[], ["text"], 5]
    for xs in choices:
        with pytest.raises(fastact.ArgumentValueError, match=r"^saturation"):
            summarize_many(xs, saturation=(1, 0))
        with pytest.raises(fastact.ArgumentTypeError, match=r"^zero_tol"):
            summarize_many(xs, zero_tol="much")  # type: ignore[call-overload]


def test_the_same_as_plain_python() -> None:
    code = """
import numpy as np, fastact
from fastact.stats import summarize_many as many
xs = [np.arange(i % 5, dtype=d) for i in range(many._FEW) for d in (np.float32, np.float16, np.int64)]
assert fastact.summarize_many(xs) == [fastact.summarize(x) for x in xs]
print(*(s.count for s in fastact.summarize_many(xs)[:9]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "0", "1", "1", "1", "2", "2", "2"]
