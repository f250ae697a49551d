"""The complete mergeable state of sweeps, of every kind of element, layout, option and way in.

A case's entry has ``i``, what is exact on any machine (counts, min, max and what follows from them alone), ``f``,
(mean, std, mean of |x|) of the whole and of some neurons, and ``h``, a digest of every bit that the stats keep, with
what merging needs and nobody is shown.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import fastact

from .arrays import KINDS, nasty, sample
from .cases import ways
from .store import digest, plain

__all__ = ["close", "entry", "states"]

Case = tuple[str, Callable[[], Any]]

_COUNTS: Final = ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated")
_EXTRAS: Final = ("shape", "exponents", "quantiles", "outliers")
_NARROW: Final = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "sigmoid": {"saturation": (0.01, 0.99)},
    "relu6": {"saturation": (-math.inf, 5.99)},
    "tolerance": {"zero_tol": 0.1, "saturation": (-2.0, 1.0)},
}
#: Sizes around the ends of vectors, of blocks and of what is swept in one piece.
_SIZES: Final = (1, 2, 7, 15, 16, 17, 31, 63, 64, 65, 100, 1000, 2047, 2048, 2049, 4095, 4096, 4097, 8193, 100_003)


def states() -> Iterator[tuple[str, Any]]:
    """Each case's name and entry."""
    for name, make in _cases():
        found = make()
        yield name, [entry(one) for one in found] if isinstance(found, list) else entry(found)


def _cases() -> Iterator[Case]:
    for kind in KINDS:
        for label, case in _of_kind(kind):
            yield f"{kind}/{label}", case
    yield from ways()


def _of_kind(kind: str) -> Iterator[Case]:
    sweep, many = fastact.summarize, fastact.summarize_many
    for label, x in nasty(kind).items():
        yield f"nasty/{label}", partial(_twice, x)
        yield f"nasty/{label}/extras", partial(sweep, x, extras=_EXTRAS)
        some = x[: x.size // 5 * 5].reshape(-1, 5)
        if some.size:
            yield f"nasty/{label}/neurons", partial(sweep, some, axis=-1)
            yield f"nasty/{label}/rows", partial(sweep, some, axis=0)
    for size in _SIZES:
        x = sample(kind, size)
        yield f"size/{size}", partial(_twice, x)
        for label, options in _OPTIONS.items() if size in (64, 4097) else ():
            yield f"size/{size}/{label}", partial(sweep, x, **options)
            grid = x[: size // 4 * 4].reshape(-1, 4)
            yield f"size/{size}/{label}/neurons", partial(sweep, grid, axis=1, **options)
    x = sample(kind, 100_003, broken=True)
    yield "broken", partial(sweep, x)
    for extra in _EXTRAS:
        yield f"broken/{extra}", partial(sweep, x, extras=extra)
    for label, view in layouts(kind).items():
        yield f"layout/{label}", partial(sweep, view)
        yield f"layout/{label}/extras", partial(sweep, view, extras=_EXTRAS)
        axes: list[Any] = [*range(view.ndim), *(((0, 1), (1, 2), (0, 2), (2, 0)) if view.ndim == 3 else ())]
        for axis in axes:
            yield f"layout/{label}/axis {axis}", partial(sweep, view, axis=axis)
    parts = np.array_split(x[:20_000], 7)
    rows = np.array_split(x[:20_000].reshape(-1, 40), 7)
    ways_to_sweep: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "plain": (parts, {}),
        "extras": (parts, {"extras": _EXTRAS}),
        "neurons": (rows, {"axis": -1}),
    }
    for label, (given, options) in ways_to_sweep.items():
        yield f"merged/{label}", partial(_merged, given, **options)
        yield f"accumulated/{label}", partial(_accumulated, given, **options)
    small = [sample(kind, size, seed) for seed, size in enumerate([*range(1, 40), 4096, 4099, 20_000])]
    yield "many", partial(many, small)
    yield "many/few", partial(many, small[-5:], saturation=(0.01, 0.99), zero_tol=0.1)
    # More than 4 MB, so that threads share it.
    long = np.resize(x, 5_000_111 // min(KINDS[kind].itemsize, 4))
    grid, runs = long[: long.size // 256 * 256].reshape(-1, 256), long[: long.size // 448 * 448].reshape(-1, 7, 64)
    for threads in (1, 2):
        yield f"threads/{threads}", partial(_with_threads, threads, long)
        yield f"threads/{threads}/neurons", partial(_with_threads, threads, grid, axis=-1)
        yield f"threads/{threads}/runs", partial(_with_threads, threads, runs, axis=1)
        yield f"threads/{threads}/extras", partial(_with_threads, threads, long, extras=_EXTRAS)


def layouts(kind: str) -> dict[str, npt.NDArray[Any]]:
    """Views of all shapes, orders, strides and alignments."""
    x = sample(kind, 12_000, 3, broken=True)
    grid, block = x[:11_979].reshape(363, 33), x.reshape(25, 15, 32)
    shifted = np.frombuffer(b"\0" + x[:5000].tobytes(), np.uint8)[1:].view(x.dtype)
    swapped = {"swapped": x[:3000].astype(x.dtype.newbyteorder())} if x.dtype.kind in "fiu" and kind in _NATIVE else {}
    return swapped | {
        "second": x[::2], "reversed": x[::-1], "from 1": x[1:], "from 3": x[3:9000], "third from 5": x[5::3],
        "grid": grid, "transposed": grid.T, "Fortran": np.asfortranarray(grid), "columns": grid[:, ::2],
        "rows": grid[::2], "column": grid[:, 3], "narrow": grid[:, :5], "backwards": grid[::-1, ::-1],
        "block": block, "block turned": block.transpose(2, 0, 1), "block middle": block.transpose(0, 2, 1),
        "block part": block[::2, 1:, :7], "block short runs": block[:, :, :7].copy(),
        "block back": block[::-1, :, ::-1],
        "scalar": x[5:6].reshape(()), "nothing": x[:0], "no rows": x[:0].reshape(0, 4),
        "no columns": x[:0].reshape(4, 0),
        "repeated": np.broadcast_to(x[:50], (40, 50)), "one column": x[:700].reshape(700, 1), "one row": x[None, :700],
        "unaligned": shifted, "wide": x[:11_900].reshape(7, 1700), "four": x[:11_520].reshape(3, 4, 30, 32)[:, 1:],
    }  # fmt: skip


_NATIVE: Final = ("float64", "float32", "float16", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def _twice(x: Any) -> Any:
    """The first call finds out how to sweep such buffers, the second may take a shorter way: one if both agree."""
    first, second = fastact.summarize(x), fastact.summarize(x)
    return first if entry(first) == entry(second) else [first, second]


def _merged(parts: list[Any], **options: Any) -> Any:
    return fastact.merge([fastact.summarize(part, **options) for part in parts])


def _accumulated(parts: list[Any], **options: Any) -> Any:
    total = fastact.Accumulator(**options)
    for part in parts:
        total.update(part)
    return total.stats


def _with_threads(threads: int, x: Any, **options: Any) -> Any:
    before = fastact.get_num_threads()
    fastact.set_num_threads(threads)
    try:
        return fastact.summarize(x, **options)
    finally:
        fastact.set_num_threads(before)


def entry(stats: Any) -> Any:
    """What is stored of stats; of other answers the numbers themselves."""
    if isinstance(stats, fastact.ChannelStats):
        return _of_neurons(stats)
    if not isinstance(stats, fastact.ActivationStats):
        return {"i": plain(stats)}
    exact = [*stats.state[:6], *map(_end, (stats.min, stats.max))]
    found: dict[str, Any] = {"i": exact, "f": [_moments(stats)], "h": digest(_kept(stats))}
    if isinstance(stats, fastact.DetailedStats):
        found |= _of_extras(stats)
    return found


def _of_neurons(stats: Any) -> dict[str, Any]:
    ends = [np.asarray(values) + values.dtype.type(0) for values in (stats.min, stats.max)]
    exact = digest(*(getattr(stats, name) for name in _COUNTS), *ends, stats.dead(), stats.dead(0.5))
    whole = entry(stats.total)
    moments = np.stack([np.ravel(getattr(stats, name)) for name in ("mean", "std", "abs_mean")], -1)
    some = moments[:: max(1, len(moments) // 4)][:4]
    return {
        "i": [list(stats.shape), exact, *whole["i"]],
        "f": [*whole["f"], *(plain(row.tolist()) for row in some)],
        "h": digest(_kept(stats), plain(stats.outliers())),
    }


def _of_extras(stats: Any) -> dict[str, Any]:
    exact: list[Any] = [list(stats.extras)]
    rounded: list[float] = []
    if "shape" in stats.extras:
        rounded += [stats.skewness, stats.kurtosis]
    if "exponents" in stats.extras:
        exact.append([digest(part) for part in stats.exponents])
        shares = (stats.overflow_share, stats.underflow_share, stats.denormal_share)
        exact.append([plain(share(name)) for share in shares for name in _NARROW])
    if "quantiles" in stats.extras:
        exact.append(plain([stats.quantile(q) for q in (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)]))
        exact.append(plain(stats.quantile_error))
    if "outliers" in stats.extras:
        exact.append(list(stats.outliers(2.5, absolute=True)))
    # Those beyond six deviations depend on the deviation's last bits.
    beyond = list(stats.outliers()) if "outliers" in stats.extras else []
    return {"x": digest(exact), "s": plain(rounded), "o": beyond}


def _moments(stats: Any) -> Any:
    return plain([stats.mean, stats.std, stats.abs_mean])


def _end(value: Any) -> Any:
    """Both zeros are one: which of them is found depends on the order of a sweep."""
    return plain(value + 0.0 if isinstance(value, float) else value)


def _kept(stats: Any) -> Any:
    """All that is pickled of stats: the state with what merging needs, and the options."""
    return _flat(stats.__reduce__()[1])


def _flat(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_flat(item) for item in value]
    return plain(value)


def close(kind: str, stored: Any, found: Any) -> list[str]:
    """How entries differ on a machine that is not the one they were made on: moments may, by rounding.

    By 4e-6 of the root mean square where sums are float32, 1e-11 where they are float64: more than any order of
    summation makes of the data here. Skewness and kurtosis may by 1e-4.
    """
    if isinstance(stored, list) or isinstance(found, list):
        # Two ways in that differ by rounding on one machine, and may not on another.
        pair = [value if isinstance(value, list) else [value] for value in (stored, found)]
        if len(pair[0]) != len(pair[1]):
            pair = [value[:1] for value in pair]
        return [line for one, other in zip(*pair, strict=True) for line in close(kind, one, other)]
    wrong = [name for name in ("i", "x") if stored.get(name) != found.get(name)]
    error = 1e-11 if kind in ("float64", "int32", "uint32", "int64", "uint64") else 4e-6
    for one, other in zip(stored.get("f", ()), found.get("f", ()), strict=True):
        (mean, std, size), (mean2, std2, size2) = (list(map(_number, triple)) for triple in (one, other))
        if math.isnan(mean) or math.isnan(mean2):
            wrong += ["f"] * (math.isnan(mean) != math.isnan(mean2))
            continue
        bound = error * max(math.hypot(mean, std), math.hypot(mean2, std2)) + 1e-322
        pairs = ((mean, mean2), (std, std2), (size, size2))
        wrong += ["f"] * any(not abs(a - b) <= bound for a, b in pairs)
    for one, other in zip(stored.get("s", ()), found.get("s", ()), strict=True):
        a, b = _number(one), _number(other)
        wrong += ["s"] * (not (math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4) or (a != a and b != b)))
    return wrong


def _number(text: str) -> float:
    return float.fromhex(text)
