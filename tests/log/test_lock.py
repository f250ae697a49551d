"""One writer a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from log_rows import expect, make, read, write

from fastact.errors import LogError
from fastact.log import LogWriter


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
