"""At the limit of processes, where no thread can be started, every row is written and read."""

import shutil
import sys
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what counts as a process differs")

PROGRAM = """
import os, resource, sys, tempfile, warnings
from pathlib import Path
import numpy as np
import fastact

# Another user must get there.
folder, before = Path(tempfile.mkdtemp()), sys.argv[3] == "before"
print(folder)
x = np.arange(12, dtype=np.float32)
os.chmod(folder, 0o777)

# All that is imported and compiled, without a log, which would start Arrow's threads.
warm = fastact.ActivationMonitor()
warm.record("a", x)
warm.step()
warm.close()
fastact.log.codec._package_version()
import pyarrow.compute
pyarrow.array(x)  # imports pandas, where that is installed
import fastact.replay.log, fastact.log.drain, threading

def limit():
    if os.getuid() == 0:  # whom no limit holds
        os.setgid(54321)
        os.setuid(54321)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

if before:
    limit()
monitor = fastact.ActivationMonitor(folder / "run", log=fastact.LogOptions(batch_rows=8))
os.chmod(folder / "run", 0o777)
if not before:
    limit()
try:
    threading.Thread(target=print).start()
    print("no limit", flush=True)
    os._exit(0)
except RuntimeError:
    pass
for step in range(100):
    monitor.record("a", x)
    monitor.step()
    if step == 50:
        assert monitor.flush() is not False
monitor.close()
assert monitor.failures == 0 and not monitor.dropped, (monitor.failures, monitor.dropped)
log = fastact.open_log(folder / "run")
print(log.to_table().num_rows, log.warnings)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_rows_are_written_and_read(attack: Callable[..., str], when: str) -> None:
    folder, told = attack("import warnings; warnings.simplefilter('error')\n" + PROGRAM, when).split("\n", 1)
    shutil.rmtree(folder)
    if told.startswith("no limit"):
        pytest.skip("this system lets a process have more threads than its limit")
    assert told.split() == ["100", "()"]
