"""The kernels as plain Python, where NUMBA_DISABLE_JIT is set; and settings of the environment."""

from pathlib import Path

from interpreter import python

CHECK = """
import numpy as np, fastact
x = np.concatenate([np.arange(20.0), [np.nan, np.inf]]).astype(np.float32)
s = fastact.summarize(x)
assert (s.count, s.nans, s.pos_infs, s.zeros, s.min, s.max) == (22, 1, 1, 1, 0.0, 19.0), s
assert abs(s.mean - 9.5) < 1e-6 and abs(s.std - np.arange(20.0).std()) < 1e-6
c = fastact.summarize(np.arange(12, dtype=np.float16).reshape(4, 3), axis=-1)
assert c.mean.tolist() == [4.5, 5.5, 6.5]
print("fine")
"""


EVERY_DTYPE = """
import math, numpy as np, ml_dtypes, fastact
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.jit import COMPILED
for name in ELEMENT_TYPES:
    values = [0, 1, 1, 0] if name == "bool" else [0, 1, 2, 3, 5, 8]
    x = np.array(values).astype(getattr(ml_dtypes, name, name))
    s = fastact.summarize(x)
    assert (s.count, s.zeros, s.min, s.max) == (len(values), values.count(0), 0, max(values)), (name, s)
    assert math.isclose(s.mean, np.mean(values), rel_tol=1e-6) and math.isclose(s.std, np.std(values), rel_tol=1e-6)
    for shape in ((-1, 2), (1, 2, -1)):
        c = fastact.summarize(x.reshape(shape), axis=1)
        want = np.array(values, float).reshape(shape)
        others = tuple(a for a in range(len(shape)) if a != 1)
        assert np.allclose(c.mean, want.mean(axis=others)) and np.allclose(c.std, want.std(axis=others)), name
        assert (c.max == want.max(axis=others)).all() and (c.zeros == (want == 0).sum(axis=others)).all()
        assert c.total.count == len(values)
    assert fastact.merge([s, s]).count == 2 * len(values)
x = np.arange(70_000, dtype=np.float32)
assert fastact.summarize(x[:: 10]).max == 69_990.0
print(COMPILED)
"""


def test_without_a_compiler_the_same_code_runs_as_python(tmp_path: Path) -> None:
    # NumPy scalars warn where machine arithmetic is silent.
    plain = {"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    assert python(CHECK, tmp_path, **plain) == "fine"
    assert python(EVERY_DTYPE, tmp_path, **plain) == "False"


def test_one_thread_by_environment(tmp_path: Path) -> None:
    code = CHECK + "print(fastact.get_num_threads())"
    assert python(code, tmp_path, NUMBA_NUM_THREADS="1").split() == ["fine", "1"]
