"""What all attacks share: how long they go on, and a process of their own to go on in."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

#: Seconds of an attack that has no bound of its own: ``FASTACT_ATTACK_SECONDS=600 python -m pytest tests/attack``.
SECONDS = float(os.environ.get("FASTACT_ATTACK_SECONDS", "2"))


@pytest.fixture
def attack(tmp_path: Path) -> Callable[..., str]:
    """Runs a program with the folder, the seconds and `arguments`; what it prints. It must end well, and in time.

    In a process of its own: an interrupt inside of coverage's tracer, too, would leave a lock taken.
    """

    def run(program: str, *arguments: str) -> str:
        command = [sys.executable, "-c", program, str(tmp_path), str(SECONDS), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500 + SECONDS)
        # Standard error may have more: Python prints there what is raised in the middle of garbage collection.
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
