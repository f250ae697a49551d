"""Runs code in an interpreter of its own."""

import os
import subprocess
import sys
from pathlib import Path


def python(code: str, tmp_path: Path, **environment: str) -> str:
    """Runs `code` as a script in a fresh interpreter; returns what it printed. Its cache is the user's."""
    script = tmp_path / "script.py"
    script.write_text(code)
    variables = {**os.environ, "PYTHONWARNINGS": "error", **environment}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=variables, cwd=tmp_path, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
