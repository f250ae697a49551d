"""Threads and processes: each tested for real, most of it in a process of its own."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interpreter import python

import fastact
from fastact import summarize
from fastact.cpu.sweep import PARALLEL_FROM, SMALL
from fastact.cpu.threads import at_most

LONG = PARALLEL_FROM  # float32 elements: four times what is shared among threads


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

        def turns(wide: Any = wide, axis: int | None = axis) -> int:
            """How often this thread gets on during a sweep by another one."""
            running, done, count = threading.Event(), threading.Event(), 0

            def sweep() -> None:
                running.set()
                summarize(wide, axis=axis)
                done.set()

            other = threading.Thread(target=sweep)
            other.start()
            running.wait()
            while not done.is_set():
                time.sleep(0.0005)
                count += 1
            other.join()
            return count

        # With the lock held there is one turn before the sweep, and one after it, each time. With the lock free there
        # are dozens, unless the machine is busy with others.
        assert any(turns() > 4 for _ in range(20))


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
    # With a single core two workers are too many, says PyTorch.
    out = python(
        code, tmp_path, PYTHONWARNINGS="error,ignore::DeprecationWarning,ignore:This DataLoader will create:UserWarning"
    )
    assert out == "[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]"


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
fastact.summarize(x)  # what is imported and compiled ends with callbacks, whose interrupts Python prints and forgets
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
while True:
    fastact.summarize(x)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=False)
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
    import _thread
    import gc
    import weakref

    x = np.arange(LONG, dtype=np.float32)
    want = summarize(x)
    fastact.set_num_threads(4)  # forgets the threads that there are
    started: list[int] = []

    def start(*_: object) -> int:
        started.append(1)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", start)
        assert summarize(x) == want
    assert started
    watch = weakref.ref(x)
    del x
    gc.collect()
    assert watch() is None  # what no thread was found for is not kept


def test_where_others_sweep_beside_it_a_thread_sweeps_alone(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a task of Dask's or Ray's does, of which there is one for each CPU."""
    shared: list[int] = []

    def run(work: Callable[[], None], threads: int) -> None:
        shared.append(threads)
        work()

    monkeypatch.setattr("fastact.cpu.sweep.run_on_threads", run)
    fastact.set_num_threads(3)
    x = np.ones(LONG, np.float32)
    with at_most(1):
        assert summarize(x).mean == summarize(x.reshape(-1, 64), axis=1).total.mean == 1.0
    assert shared == []
    assert summarize(x).mean == 1.0
    assert shared == [3]
