"""Threads and processes: each tested for real, most of it in a process of its own. The cache: test_cold_start.py."""

import ctypes
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import summarize
from fastact.cpu.openmp import Team
from fastact.cpu.sweep import PARALLEL_FROM, SMALL

LONG = PARALLEL_FROM  # float32 elements: four times what is shared among threads


def python(code: str, tmp_path: Path, **environment: str) -> str:
    """Runs `code` as a script in a fresh interpreter; returns what it printed. Its cache is the user's."""
    script = tmp_path / "script.py"
    script.write_text(code)
    variables = {**os.environ, "PYTHONWARNINGS": "error", **environment}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=variables, cwd=tmp_path, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def threads() -> Any:
    before = fastact.get_num_threads()
    yield
    fastact.set_num_threads(before)


def test_the_answer_does_not_depend_on_the_number_of_threads(threads: None) -> None:
    x = np.random.default_rng(0).standard_normal(LONG + 12345).astype(np.float32)
    x[SMALL * 3 : SMALL * 3 + 10] = np.nan
    wide = x[: 1500 * 1024].reshape(-1, 1024)
    narrow = x[: 100_000 * 7].reshape(-1, 7)
    images = x[: 8 * 32 * 4096].reshape(8, 32, 4096)
    answers = []
    for number in (1, 2, 3, 16):
        fastact.set_num_threads(number)
        answers.append((summarize(x), summarize(wide, axis=1), summarize(narrow, axis=1), summarize(images, axis=1)))
    for other in answers[1:]:
        assert other == answers[0]
        assert other[0].state == pytest.approx(answers[0][0].state, rel=0, abs=0)


@pytest.mark.parametrize("bad", [0, -1, 5000, 1.5, True, "2"])
def test_set_num_threads_refuses(bad: Any) -> None:
    with pytest.raises(fastact.FastactError, match="threads"):
        fastact.set_num_threads(bad)


def test_many_threads_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    x = np.random.default_rng(0).standard_normal(LONG).astype(np.float32)
    want = summarize(x)
    with ThreadPoolExecutor(8) as pool:
        assert all(stats == want for stats in pool.map(summarize, [x] * 32))


def test_the_interpreter_lock_is_free_during_a_long_sweep(threads: None) -> None:
    import threading

    fastact.set_num_threads(1)
    x = np.zeros(400_000_000, np.int8)  # pages that the system need not own
    for wide in (x, x.reshape(-1, 1000)):
        axis = None if wide.ndim == 1 else -1
        summarize(wide[: LONG * len(wide) // x.size], axis=axis)  # else the compiler would run, which gives way
        running = threading.Event()
        done: list[float] = []

        def sweep(wide: Any = wide, axis: int | None = axis, running: Any = running, done: list[float] = done) -> None:
            running.set()
            summarize(wide, axis=axis)
            done.append(time.perf_counter())

        other = threading.Thread(target=sweep)
        other.start()
        running.wait()
        turns = 0
        while not done:
            time.sleep(0.0005)
            turns += 1
        other.join()
        # With the lock held there is one turn before the sweep, and one after it.
        assert turns > 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_children_after_a_parallel_sweep(tmp_path: Path) -> None:
    code = """
import os, numpy as np, fastact
fastact.set_num_threads(2)
x = np.arange(3_000_000, dtype=np.float32)
want = fastact.summarize(x)
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if fastact.summarize(x) == want else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert fastact.summarize(x) == want
print("fine")
"""
    # Newer Pythons warn of forks in threaded programs: this one is meant.
    assert python(code, tmp_path, PYTHONWARNINGS="error,ignore::DeprecationWarning") == "fine"


def test_torch_data_loader_workers(tmp_path: Path) -> None:
    code = """
import numpy as np, torch, fastact

class Data(torch.utils.data.Dataset):
    def __len__(self): return 6
    def __getitem__(self, i):
        return fastact.summarize(np.full(1_500_000, i, np.float32)).mean

if __name__ == "__main__":
    fastact.set_num_threads(2)
    fastact.summarize(np.zeros(3_000_000, np.float32))
    loader = torch.utils.data.DataLoader(Data(), num_workers=2)
    print([float(v) for v in loader])
"""
    out = python(code, tmp_path, PYTHONWARNINGS="error,ignore::DeprecationWarning")
    assert out == "[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]"


#: Shapes and neurons' axes of tensors that a team shares: rows, a rest of rows beside each other, images, many tasks.
SHARED = [((768, 512), 1), ((100_003, 3), 1), ((8, 64, 32, 32), 1), ((64, 16, 64, 64), 1), ((3000, 1500), -1)]


@pytest.mark.parametrize(("shape", "axis"), SHARED)
@pytest.mark.parametrize("come", [1, 2, 5])
def test_a_team_of_any_size_gives_the_answer_of_one_thread(
    threads: None, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], axis: int, come: int
) -> None:
    import torch

    fastact.set_num_threads(3)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    x.reshape(-1)[7::1000] = torch.nan
    want = summarize(x.numpy(), axis=axis)
    summarize(x, axis=axis)  # the kind of tensor is known from now on
    places: list[int] = []
    asked: list[int] = []

    def fork(function: int, data: int, number: int, flags: int) -> None:
        asked.append(number)
        for place in range(come):
            places.append(place)
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)(data)

    functions = (
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)(fork),
        ctypes.CFUNCTYPE(ctypes.c_int)(lambda: places[-1]),
        ctypes.CFUNCTYPE(ctypes.c_int)(lambda: come),
    )
    calls, place, size = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions)
    monkeypatch.setattr("fastact.cpu.openmp._team", [Team(calls, place, size, lambda: 2)])
    assert summarize(x, axis=axis) == want
    assert asked == [2]
    assert places == list(range(come))


def test_a_team_is_asked_for_what_is_worth_it_alone(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    small, large = torch.ones(16, 16), torch.ones(768, 512)
    want = [summarize(x.numpy(), axis=1) for x in (small, large)]
    assert summarize(small, axis=1) == want[0]
    monkeypatch.setattr("fastact.cpu.openmp._team", [Team(1, 1, 1, lambda: 2)])  # calling that would crash
    assert summarize(small, axis=1) == want[0]
    fastact.set_num_threads(1)
    assert summarize(large, axis=1) == want[1]
    fastact.set_num_threads(2)
    monkeypatch.setattr("fastact.cpu.openmp._team", [Team(1, 1, 1, lambda: 1)])
    assert summarize(large, axis=1) == want[1]


def test_torchs_own_team(tmp_path: Path) -> None:
    code = """
import os, threading, torch, fastact
from fastact.cpu.openmp import torch_team
torch.set_num_threads(2)
fastact.set_num_threads(2)
x = torch.randn(768, 512)
want = fastact.summarize(x.numpy(), axis=1)
same = []
def sweep():
    for _ in range(50):
        y = x @ torch.eye(512)
        same.append(fastact.summarize(y, axis=1) == want)
others = [threading.Thread(target=sweep) for _ in range(3)]
for other in others: other.start()
sweep()
for other in others: other.join()
assert all(same) and len(same) == 200
if hasattr(os, "fork"):  # in a child there is no such team, and whoever calls it waits for ever
    child = os.fork()
    if child == 0:
        os._exit(0 if fastact.summarize(x, axis=1) == want and torch_team() is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(torch_team() is not None)
"""
    found = python(code, tmp_path, PYTHONWARNINGS="error,ignore::DeprecationWarning")
    assert found == str(sys.platform == "linux")


LAYERS = """
import sys, numpy as np, fastact
from concurrent.futures import ThreadPoolExecutor
fastact.set_num_threads(2)
x = np.arange(3_000_000, dtype=np.float32)
wide = x.reshape(-1, 1000)
want, rows = fastact.summarize(x), fastact.summarize(wide, axis=-1)
with ThreadPoolExecutor(4) as pool:
    assert all(s == want for s in pool.map(fastact.summarize, [x] * 16))
    assert all(c == rows for c in pool.map(lambda w: fastact.summarize(w, axis=-1), [wide] * 16))
from numba.np.ufunc import parallel
assert not parallel._is_initialized
print(*(name for name in ("workqueue", "omppool", "tbbpool") if f"numba.np.ufunc.{name}" in sys.modules))
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb", "default"])
def test_many_threads_under_every_threading_layer_none_of_which_is_started(tmp_path: Path, layer: str) -> None:
    assert python(LAYERS, tmp_path, NUMBA_THREADING_LAYER=layer) == ""


def test_beside_torchs_own_threads(tmp_path: Path) -> None:
    code = """
import threading, numpy as np, numba, torch, fastact
torch.set_num_threads(2)
fastact.set_num_threads(3)
x = np.arange(3_000_000, dtype=np.float32)
want = fastact.summarize(x)
a = torch.randn(400, 400)
product = a @ a
same = []
def multiply():
    for _ in range(30):
        same.append(torch.allclose(a @ a, product))
others = [threading.Thread(target=multiply) for _ in range(2)]
for other in others: other.start()
for _ in range(60):
    assert fastact.summarize(x) == want == fastact.summarize(torch.from_numpy(x))
for other in others: other.join()
assert all(same) and len(same) == 60
print(torch.get_num_threads(), numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS)
"""
    assert python(code, tmp_path).split() == ["2", "True"]


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(tmp_path: Path, backend: str) -> None:
    pytest.importorskip("joblib", reason="joblib comes with scikit-learn")
    code = f"""
import numpy as np, fastact, joblib
def mean(i):
    return fastact.summarize(np.full(1_500_000, i, np.float32)).mean
if __name__ == "__main__":
    fastact.set_num_threads(2)
    mean(0)
    print(joblib.Parallel(n_jobs=2, backend={backend!r})(joblib.delayed(mean)(i) for i in range(4)))
"""
    # joblib's own resource tracker and forks warn on some Pythons.
    assert python(code, tmp_path, PYTHONWARNINGS="ignore") == "[0.0, 1.0, 2.0, 3.0]"


def test_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray has no wheel for this platform")
    code = """
import numpy as np, ray, fastact
fastact.set_num_threads(2)
fastact.summarize(np.zeros(3_000_000, np.float32))
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
@ray.remote
def largest(i, x):  # x is read-only memory that all workers share
    return fastact.summarize(x).max - i
x = ray.put(np.arange(2_000_000, dtype=np.float32))
print(ray.get([largest.remote(i, x) for i in range(4)]))
"""
    out = python(code, tmp_path, PYTHONWARNINGS="ignore")
    assert out.splitlines()[-1] == "[1999999.0, 1999998.0, 1999997.0, 1999996.0]"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_started_afresh(tmp_path: Path, method: str) -> None:
    code = f"""
import multiprocessing, numpy as np, fastact
if __name__ == "__main__":
    x = np.arange(3_000_000, dtype=np.float32)
    want = fastact.summarize(x)
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(all(s == want for s in pool.map(fastact.summarize, [x, x])))
"""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    assert python(code, tmp_path) == "True"


SIGNALS = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C alone")


@SIGNALS
def test_ctrl_c_leaves_nothing_broken(tmp_path: Path) -> None:
    code = """
import os, signal, threading, time, numpy as np, fastact
fastact.set_num_threads(3)
x = np.arange(8_000_000, dtype=np.float32)
wide = x.reshape(-1, 1000)
want, rows = fastact.summarize(x), fastact.summarize(wide, axis=-1)
interrupted = 0
for turn in range(20):
    timer = threading.Timer(0.002 + 0.001 * turn, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()  # which may last longer than the timer
        until = time.monotonic() + 20
        while time.monotonic() < until:
            fastact.summarize(x)
            fastact.summarize(wide, axis=-1)
    except KeyboardInterrupt:
        interrupted += 1
    assert fastact.summarize(x) == want and fastact.summarize(wide, axis=-1) == rows
print(interrupted, sum(t.name.startswith("fastact") for t in threading.enumerate()) <= 2)
"""
    assert python(code, tmp_path).split() == ["20", "True"]


@SIGNALS
def test_ctrl_c_that_nobody_catches_ends_the_process(tmp_path: Path) -> None:
    import signal

    code = """
import os, signal, threading, numpy as np, fastact
fastact.set_num_threads(3)
x = np.zeros(30_000_000, np.float32)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
while True:
    fastact.summarize(x)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.strip().endswith("KeyboardInterrupt")


def test_the_interpreter_ends_with_a_sweep_under_way(tmp_path: Path) -> None:
    code = """
import threading, numpy as np, fastact
fastact.set_num_threads(3)
x = np.zeros(30_000_000, np.float32)
fastact.summarize(x)
def sweep():
    while True:
        fastact.summarize(x)
for _ in range(2): threading.Thread(target=sweep, daemon=True).start()
print("fine")
"""
    assert python(code, tmp_path) == "fine"


def test_without_a_thread_to_spare_the_caller_sweeps_alone(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import threading
    import weakref

    x = np.arange(LONG, dtype=np.float32)
    want = summarize(x)
    fastact.set_num_threads(4)  # forgets the threads that there are
    started: list[int] = []

    def start(self: threading.Thread) -> None:
        started.append(1)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert summarize(x) == want
    assert started
    watch = weakref.ref(x)
    del x
    gc.collect()
    assert watch() is None  # what no thread was found for is not kept


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
