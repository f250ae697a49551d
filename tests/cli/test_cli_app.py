"""The program: help, exit codes, terminals of all kinds, and that no input ends it with a traceback."""

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command_line import call, complaint, python
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app


@pytest.mark.parametrize("command", ["diagnose", "layers", "replay"])
def test_a_missing_or_foreign_run_is_one_line(command: str, tmp_path: Path) -> None:
    assert "no-run" in complaint(command, tmp_path / "no-run")
    (tmp_path / "file").write_text("hello")
    complaint(command, tmp_path / "file")
    complaint(command, tmp_path)


def test_damage_is_told_and_the_rest_is_used(sick: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for part in sick.iterdir():
        data = part.read_bytes()
        (run / part.name).write_bytes(data[: len(data) - 40])
    result = CliRunner().invoke(app, ["layers", str(run)])
    assert result.exit_code in {0, 2}
    assert result.stderr
    assert "Traceback" not in result.output


def test_help_and_version() -> None:
    out, _ = call("--help")
    for command in ("demo", "diagnose", "replay", "layers", "stats", "export", "info"):
        assert command in out
    assert call("--version")[0].strip() == fastact.__version__
    call("no-such-command", code=2)


def test_the_command_line_loads_only_what_it_needs() -> None:
    code = "import sys, fastact.cli.app; print(*sys.modules)"
    done = subprocess.run(python("-c", code), capture_output=True, text=True, check=True)
    assert {"torch", "pyarrow", "sklearn", "rich"}.isdisjoint(done.stdout.split())


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More rows than a pipe holds when they are printed."""
    path = tmp_path_factory.mktemp("runs") / "long"
    with fastact.ActivationMonitor(path) as monitor:
        for _ in range(3000):
            monitor.record("a", np.ones(4, np.float32))
            monitor.step()
    return path


@pytest.mark.e2e
def test_a_reader_that_leaves_is_no_error(long_run: Path) -> None:
    command = python("-m", "fastact", "replay", long_run)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().split()[0] == "step"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.e2e
def test_an_interrupt_is_quiet(long_run: Path) -> None:
    command = python("-m", "fastact", "replay", long_run)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # The pipe is full before the rows are, so the process is at work when the signal comes.
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "")


@pytest.mark.e2e
def test_a_terminal_that_knows_ascii_only(sick: Path) -> None:
    command = python("-X", "utf8=0", "-m", "fastact", "diagnose", sick)
    env = {"PYTHONIOENCODING": "ascii", "PATH": "", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"12 of its 16 neurons" in done.stdout


@pytest.mark.parametrize("width", ["1", "30", "80"])
def test_a_narrow_terminal_never_cuts_a_number_or_a_name(
    sick: Path, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    cells = {}
    for columns in ("200", width):
        monkeypatch.setenv("COLUMNS", columns)
        for command, code in (("layers", 0), ("diagnose", 1)):
            out, _ = call(command, sick, code=code)
            assert "…" not in out
            cells[columns, command] = {word for word in out.split() if word[0].isdigit()}
    assert cells[width, "layers"] == cells["200", "layers"]
    assert cells[width, "diagnose"] == cells["200", "diagnose"]
