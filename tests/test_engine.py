"""Threads, processes and the cache on disk: each tested for real, most of it in a process of its own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import summarize
from fastact.sweep import PARALLEL_FROM, SMALL

LONG = PARALLEL_FROM  # float32 elements: four times what is shared among threads


def python(code: str, tmp_path: Path, **environment: str) -> str:
    """Runs `code` in a fresh interpreter with a cache of its own; returns what it printed."""
    variables = {**os.environ, "FASTACT_CACHE_DIR": str(tmp_path / "cache"), "PYTHONWARNINGS": "error", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables, cwd=tmp_path, timeout=240
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
    x = np.zeros(100_000_000, np.int8)
    summarize(x[:LONG])
    ticks: list[int] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.0005):
            ticks.append(1)

    other = threading.Thread(target=tick)
    other.start()
    before = len(ticks)
    summarize(x)
    during = len(ticks) - before
    stop.set()
    other.join()
    assert during > 0


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


def test_without_a_compiler_the_same_code_runs_as_python(tmp_path: Path) -> None:
    # NumPy scalars warn where machine arithmetic is silent.
    assert python(CHECK, tmp_path, NUMBA_DISABLE_JIT="1", PYTHONWARNINGS="ignore") == "fine"


def test_one_thread_by_environment(tmp_path: Path) -> None:
    code = CHECK + "print(fastact.get_num_threads())"
    assert python(code, tmp_path, NUMBA_NUM_THREADS="1").split() == ["fine", "1"]


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.bin"))


def test_machine_code_is_kept_and_damage_is_healed(tmp_path: Path) -> None:
    python(CHECK, tmp_path)
    files = cached(tmp_path)
    assert files
    assert (files[0].parent.stat().st_mode & 0o077) == 0
    stamps = [path.stat().st_mtime_ns for path in files]
    python(CHECK, tmp_path)
    assert [path.stat().st_mtime_ns for path in files] == stamps  # read, not written again
    whole = [path.read_bytes() for path in files]
    for damage in (lambda data: b"", lambda data: data[:-10], lambda data: data[:40] + b"?" + data[41:]):
        for path, data in zip(files, whole, strict=True):
            path.write_bytes(damage(data))
        assert python(CHECK, tmp_path) == "fine"
        healed = [path.read_bytes() for path in files]
        assert all(hashlib.sha256(data[32:]).digest() == data[:32] and len(data) > 10_000 for data in healed)


def test_code_of_other_sources_is_not_used(tmp_path: Path) -> None:
    """The folder's name follows the sources: an edit anywhere in the package, callees included, compiles afresh."""
    import shutil

    copy = tmp_path / "copy" / "fastact"
    shutil.copytree(Path(fastact.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import numpy as np, fastact; print(fastact.summarize(np.ones(10)).zeros, fastact.__file__)"
    out = python(code, tmp_path, PYTHONPATH=str(copy.parent))
    assert out.split()[0] == "0"
    assert str(copy) in out
    source = copy / "cpu.py"
    text = source.read_text()
    assert "(abs(x) <= near)" in text
    source.write_text(text.replace("(abs(x) <= near)", "(abs(x) >= near)"))
    assert python(code, tmp_path, PYTHONPATH=str(copy.parent)).split()[0] == "10"


def test_a_folder_that_others_may_write_is_not_trusted(tmp_path: Path) -> None:
    python(CHECK, tmp_path)
    folder = cached(tmp_path)[0].parent
    stamps = [path.stat().st_mtime_ns for path in cached(tmp_path)]
    for path in cached(tmp_path):
        path.write_bytes(b"evil")
    folder.chmod(0o777)
    assert python(CHECK, tmp_path) == "fine"
    assert all(path.read_bytes() == b"evil" for path in cached(tmp_path))
    assert len(stamps) == len(cached(tmp_path))


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert python(CHECK, tmp_path) == "fine"


def test_processes_that_start_at_once(tmp_path: Path) -> None:
    variables = {**os.environ, "FASTACT_CACHE_DIR": str(tmp_path / "cache")}
    running = [subprocess.Popen([sys.executable, "-c", CHECK], env=variables, stdout=subprocess.PIPE) for _ in range(3)]
    for process in running:
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0
        assert out.strip() == b"fine"
    assert python(CHECK, tmp_path) == "fine"
