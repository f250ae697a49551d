"""Limits of files, disk and memory, names without end, threads that flush denormals: rows are kept, or counted."""

import sys
from collections.abc import Callable

import pytest

LIMITED = """
import resource, signal, sys, warnings
import numpy as np
import fastact

folder, which = sys.argv[1], sys.argv[3]
warnings.simplefilter("ignore")
x = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
monitor = fastact.ActivationMonitor(folder + "/run", log=fastact.LogOptions(batch_rows=16, segment_bytes=4000))

def steps(count):
    for _ in range(count):
        monitor.record("a", x, axis=-1, layer_type="ReLU")
        monitor.step()

steps(50)
monitor.flush()
before = fastact.open_log(folder + "/run").to_table().num_rows
kind = {"files": resource.RLIMIT_NOFILE, "disk": resource.RLIMIT_FSIZE}[which]
if which == "disk":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
old = resource.getrlimit(kind)
resource.setrlimit(kind, (3 if which == "files" else 1500, old[1]))
steps(300)
resource.setrlimit(kind, old)
steps(50)
monitor.close()
rows = fastact.open_log(folder + "/run").to_table().num_rows
lost = sum(monitor.dropped.values())
assert before == 50 and rows + lost == 400, (before, rows, monitor.dropped)
print(rows, lost)
"""

MEMORY = """
import resource, sys, warnings
import numpy as np
import fastact

folder = sys.argv[1]
warnings.simplefilter("ignore")
x = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
large = np.broadcast_to(x, (2000, 64, 32))
monitor = fastact.ActivationMonitor(folder + "/run", log=fastact.LogOptions(batch_rows=16, segment_bytes=4000))
refused = 0

def steps(count):
    for _ in range(count):
        monitor.record("a", x, axis=-1, layer_type="ReLU")
        monitor.step()

def attempt(call):  # what is asked for may say that it cannot be had
    global refused
    try:
        call()
    except MemoryError:
        refused += 1

# All that is imported and compiled.
steps(50)
assert monitor.flush() is not False
monitor.diagnose()
before = fastact.open_log(folder + "/run").to_table().num_rows
fastact.summarize(x)
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
old = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (size, old[1]))
held, piece = [], 1 << 24
while piece >= 256:
    try:
        held.append(bytearray(piece))
    except MemoryError:
        piece //= 2
for turn in range(30):
    steps(10)
    attempt(monitor.diagnose)
    monitor.flush()
    attempt(lambda: fastact.summarize(x))
    attempt(lambda: fastact.summarize(large, axis=-1))
    if turn % 3 == 2:
        del held[-50:]
held.clear()
resource.setrlimit(resource.RLIMIT_AS, old)
steps(50)
assert monitor.flush() is not False
monitor.close()
log = fastact.open_log(folder + "/run")
table = log.to_table()
lost = sum(monitor.dropped.values())
steps_kept = table["step"].to_pylist()
assert before == 50 and len(set(steps_kept)) == len(steps_kept) and not log.warnings, log.warnings
assert steps_kept[:50] == list(range(50)) and steps_kept[-50:] == list(range(350, 400))
assert monitor.failures + refused > 0  # memory did give out
print(table.num_rows, lost)
"""

NAMES = """
import sys, warnings
import numpy as np
import fastact

sizes = []
warnings.simplefilter("ignore")
for count in (400, 800):
    path = f"{sys.argv[1]}/{count}"
    with fastact.ActivationMonitor(path, log=fastact.LogOptions(batch_rows=16)) as monitor:
        for step in range(count):
            monitor.record(f"layer {step}", np.ones(8, np.float32))
            monitor.step()
    log = fastact.open_log(path)
    assert log.to_table().num_rows == count and len(log.layers) == count
    sizes.append(log.nbytes)
assert sizes[1] < 3 * sizes[0], sizes  # twice as many names; four times were quadratic
print(*sizes)
"""

FLUSHING = """
import random, sys, threading, time
import numpy as np
import torch
import fastact

until, swept, wrong = time.monotonic() + float(sys.argv[2]), 0, []

def sweep(x, want):
    torch.set_flush_denormal(True)
    found = fastact.summarize(x)
    if (found.zeros, found.min, found.max, found.count) != want:
        wrong.append((x.dtype, x.size, found, want))

while time.monotonic() < until:
    kind = random.choice([np.float32, np.float64, np.float16])
    tiny = np.finfo(kind).smallest_subnormal
    x = (np.random.default_rng(swept).integers(-9, 9, random.choice([7, 1000, 100_000, 3_000_000])) * tiny).astype(kind)
    bits = x.view(f"u{x.itemsize}")
    s = fastact.summarize(x)
    assert s.zeros == int((bits << np.uint8(1) == 0).sum())
    threads = [threading.Thread(target=sweep, args=(x, (s.zeros, s.min, s.max, s.count))) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    swept += 1
assert not wrong, wrong[:3]
print(swept)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits on this platform")
@pytest.mark.parametrize("which", ["files", "disk"])
def test_at_a_limit_rows_are_kept_or_counted(attack: Callable[..., str], which: str) -> None:
    rows, lost = map(int, attack(LIMITED, which).split())
    assert rows + lost == 400


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory a process has is told elsewhere otherwise")
def test_without_memory_the_training_goes_on_and_rows_are_kept_or_counted(attack: Callable[..., str]) -> None:
    rows, lost = map(int, attack(MEMORY).split())
    assert rows + lost == 400


def test_names_without_end_grow_a_log_as_their_number(attack: Callable[..., str]) -> None:
    assert len(attack(NAMES).split()) == 2


def test_threads_that_flush_count_the_same(attack: Callable[..., str]) -> None:
    pytest.importorskip("torch")
    assert int(attack(FLUSHING)) > 0
