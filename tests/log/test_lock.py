"""One writer a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from log_rows import expect, make, read, write

from fastact.errors import LogError
from fastact.log import LogWriter
from fastact.log.lock import RunLock, is_held


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0)])
    with pytest.raises(LogError, match=r"path: .* is being written by this process, want a run without another writer"):
        LogWriter(tmp_path)
    command = [sys.executable, "-c", "import sys; from fastact.log import LogWriter; LogWriter(sys.argv[1])"]
    other = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert f"is being written by process {os.getpid()} on " in other.stderr
    writer.close()
    write(tmp_path, [make(1)]).close()
    assert read(tmp_path) == (expect([make(0), make(1)]), [])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell who holds a lock")
def test_whether_a_writer_is_at_work_is_known_without_taking_the_lock(tmp_path: Path) -> None:
    assert is_held(tmp_path) is None  # never written
    assert is_held(tmp_path / "nowhere") is None
    ask = f"import pathlib, fastact.log.lock as l; print(l.is_held(pathlib.Path({str(tmp_path)!r})))"

    def asked() -> str:
        return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()

    lock = RunLock(tmp_path)
    assert is_held(tmp_path) is True
    assert asked() == "True"
    assert asked() == "True"  # and asking has not given it back
    lock.release()
    assert is_held(tmp_path) is False
    assert asked() == "False"
