"""Every layout of an array: what is viewed in place, and what is copied, a part at a time."""

import functools
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import check

from fastact import summarize

LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda x: x,
    "fortran": np.asfortranarray,
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed": lambda x: x[::-1, :, ::-1],
    "every second": lambda x: x[:, ::2],
    "inner gaps": lambda x: x[..., 1::3],
    "broadcast": lambda x: np.broadcast_to(x[:1], (3, *x.shape[1:])),
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "0-d": lambda x: x[0, 0, 0],
    "empty": lambda x: x[:, :0],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype),
    "unaligned": lambda x: np.frombuffer(b"!" + x.tobytes(), x.dtype, offset=1),
    "subclass": lambda x: x.view(np.matrix) if x.ndim == 2 else x.view(_Subclass),
    "column of a record": lambda x: _in_record(x)["x"],
}


class _Subclass(np.ndarray[Any, Any]):
    pass


def _in_record(x: Any) -> Any:
    record = np.zeros(x.size, [("pad", "u1"), ("x", x.dtype)])
    record["x"] = x.reshape(-1)
    return record


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int16", "uint64"])
def test_layouts(dtype: str, layout: str) -> None:
    x = (np.random.default_rng(0).standard_normal((6, 8, 9)) * 100).astype(dtype)
    view = LAYOUTS[layout](x)
    check(summarize(view), np.array(view, dtype), 1e-6)


def peak(work: Callable[[], Any]) -> int:
    """Bytes that NumPy and Python had at once for `work`, the second time it runs."""
    work()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_contiguous_memory_is_not_copied_in_any_axis_order() -> None:
    x = np.ones((64, 128, 256), np.float32)  # 8 MB
    for view in (x, x.T, x.transpose(1, 2, 0), x[::-1], x[:32]):
        assert peak(functools.partial(summarize, view)) < 1 << 20
    assert peak(x.copy) > 1 << 20  # the probe sees a copy


GAPS: dict[str, Callable[[Any], Any]] = {
    "one stride": lambda x: x[:, ::2],
    "part of each row": lambda x: x[:, :1500],
    "columns, reversed": lambda x: x.T[:1000, ::-2],
    "zero stride": lambda x: np.broadcast_to(x[0], x.shape),
    "big-endian": lambda x: x.view(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: x.reshape(-1).view(np.uint8)[1:-3].view(np.float32).reshape(-1, 1),
}


@pytest.mark.parametrize("gaps", GAPS)
def test_what_must_be_copied_is_copied_bit_by_bit(gaps: str) -> None:
    x = np.random.default_rng(2).standard_normal((8000, 2000)).astype(np.float32)  # 64 MB
    view = GAPS[gaps](x)
    if gaps == "big-endian":
        view = x.byteswap().view(x.dtype.newbyteorder(">"))
    with np.errstate(invalid="ignore"):
        wide = view.astype(np.float64)
    wide = np.where(np.isfinite(wide), wide, np.nan)
    whole, rows = summarize(view), summarize(view, axis=-1)
    assert whole.count == rows.total.count == view.size
    assert (whole.min, whole.max) == (rows.total.min, rows.total.max) == (np.nanmin(wide), np.nanmax(wide))
    if gaps != "unaligned":  # whose bytes make numbers of any size
        assert whole.std == pytest.approx(wide.std(), rel=1e-6)
        assert rows.total.std == pytest.approx(wide.std(), rel=1e-6)
        np.testing.assert_allclose(rows.mean, wide.mean(axis=0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(rows.std, wide.std(axis=0), rtol=1e-5)
    assert peak(lambda: summarize(view)) < 2 << 20
    assert peak(lambda: summarize(view, axis=-1)) < 16 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds what is mapped on Linux alone")
@pytest.mark.parametrize("view", ["x", "x[:, ::2]", "x.view('>f4')"])
def test_a_memory_map_larger_than_the_memory_allowed(tmp_path: Path, view: str) -> None:
    path = tmp_path / "x.bin"
    with path.open("wb") as file:  # 256 MB of zeros that no disk holds, and one 1.0
        file.truncate(1 << 28)
        file.seek(4096)
        file.write(np.array([1.0], ">f4" if "view" in view else "<f4").tobytes())
    code = f"""
import resource, numpy as np, fastact
x = np.memmap({str(path)!r}, np.float32, "r").reshape(-1, 1024)
big, x = x, x[:8192]  # what compiles, does it now: it takes more memory than is allowed
fastact.summarize({view}), fastact.summarize({view}, axis=-1)
x = big
allowed = 64 << 20
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + allowed, used + allowed))
try:
    np.array(x)
except MemoryError:
    print("no copy", end=" ")
s, c = fastact.summarize({view}), fastact.summarize({view}, axis=-1)
print(s.count - s.zeros, s.max, c.total.max, int((c.max == 1.0).sum()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout.strip(), done.stderr) == ("no copy 1 1.0 1.0 1", "")
