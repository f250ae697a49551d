"""How tests of the command line call it, and the two recorded runs that they call it on."""

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app

STEPS = 40


#: A name that would clear the screen, and turn red, if it were shown as it is.
NASTY = "act\x1b[2J[red]\n"


def record(path: Path, *, sick: bool) -> Path:
    random = np.random.default_rng(0)
    with fastact.ActivationMonitor(path) as monitor:
        for _ in range(STEPS):
            x = random.standard_normal((64, 16)).astype(np.float32)
            monitor.record("linear", x, axis=1, kind="Linear")
            y = np.maximum(x, 0)
            if sick:
                y[:, :12] = 0
            monitor.record(NASTY, y, axis=1, kind="ReLU")
            monitor.step()
    return path


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # set where tests run in several processes


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("runs") / "healthy", sick=False)


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("runs") / "sick", sick=True)


def call(*args: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    return result.stdout, result.stderr


def complaint(*args: object) -> str:
    """The one line that a failing command leaves on stderr."""
    out, err = call(*args, code=2)
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def python(*args: object) -> list[str]:
    return [sys.executable, *map(str, args)]
