"""`fastact tail`: a run, followed while it is written."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import NASTY, call, python, record

import fastact
import fastact.log


def test_tail_shows_how_it_is_now(sick: Path) -> None:
    out, _ = call("tail", sick, "--once")
    assert out.splitlines()[0] == "step 39, 80 rows, 0 rows/s, closed"
    assert "dead (critical)" in out
    out, _ = call("tail", sick)  # it is closed
    assert out.splitlines() == [
        "step 39, 80 rows, 0 rows/s, closed: act\\u001b[2J[red]\\n dead (critical)",
    ]


@pytest.mark.e2e
def test_tail_follows_a_run_until_it_is_closed(tmp_path: Path) -> None:
    command = python("-m", "fastact", "tail", tmp_path / "run", "--every", "0.1")
    rows = [record.row for record in fastact.open_log(record(tmp_path / "other", sick=True)).replay()]
    options = fastact.log.LogOptions(segment_bytes=1, keep_bytes=20_000, flush_seconds=60)
    with (
        fastact.log.LogWriter(tmp_path / "run", options) as writer,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        writer.add_layer(fastact.LayerInfo("linear", 0, "Linear"))
        writer.add_layer(fastact.LayerInfo("act", 1, "ReLU"))
        assert process.stdout is not None
        assert process.stdout.readline().startswith("no rows yet")
        for i in range(0, len(rows), 8):
            for row in rows[i : i + 8]:
                writer.append(row)
            writer.flush()
            assert process.stdout.readline().startswith(f"step {rows[i + 7][0]}, {i + 8} rows, ")
        writer.close()
        out, err = process.communicate(timeout=300)
    # Segments were removed behind it, which is nothing to complain about.
    assert (process.returncode, out, err) == (0, "", "")
    assert fastact.open_log(tmp_path / "run").to_table().num_rows < len(rows)


@contextlib.contextmanager
def on_a_terminal(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process of a command on a pseudo terminal of 100 by 24, and the terminal's other side."""
    pty = pytest.importorskip("pty", reason="needs pseudo terminals")
    child, terminal = pty.openpty()
    env = {**os.environ, "COLUMNS": "100", "LINES": "24", "TERM": "xterm"}
    with (
        subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=env) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(os.close, child)
        stack.callback(process.kill)
        os.close(terminal)
        yield process, child


def read_on(child: int, seen: bytes = b"") -> bytes:
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while data := os.read(child, 4096):
            seen += data
    return seen


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Path]:
    """A run of 40 layers that is being written."""
    with fastact.ActivationMonitor(tmp_path / "run") as monitor:
        for layer in range(40):
            monitor.record(f"{NASTY}{layer}", np.zeros((64, 16), np.float32), axis=1, kind="ReLU")
        monitor.step()
        monitor.flush()
        yield tmp_path / "run"


@pytest.mark.e2e
def test_tail_without_textual_draws_a_table_and_ends_by_an_interrupt(many: Path) -> None:
    code = "import sys; sys.modules['textual'] = None; from fastact.cli import main; sys.exit(main())"
    with on_a_terminal(*python("-c", code, "tail", many, "--every", "0.1")) as (process, child):
        seen = b""
        while seen.count(b"40 rows") < 3:
            seen += os.read(child, 4096)
        process.send_signal(signal.SIGINT)
        seen = read_on(child, seen)
        process.wait(300)
    assert process.returncode == 0
    assert b"21 more layers do not fit" in seen
    assert b"\x1b[2J" not in seen
    assert b"Traceback" not in seen


@pytest.mark.e2e
@pytest.mark.parametrize("end", ["q", signal.SIGINT])
def test_tail_is_a_view_on_a_terminal_which_it_leaves_as_it_was(many: Path, end: str | signal.Signals) -> None:
    pytest.importorskip("textual")
    with on_a_terminal(*python("-m", "fastact", "tail", many)) as (process, child):
        seen = b""
        while b"40 layers" not in seen:
            seen += os.read(child, 4096)
        if isinstance(end, str):
            os.write(child, end.encode())
        else:
            process.send_signal(end)
        seen = read_on(child, seen)
        process.wait(300)
    assert process.returncode == 0
    assert b"\x1b[?1049h" in seen  # the other screen, and back from it
    assert b"\x1b[?1049l" in seen.rpartition(b"40 layers")[2]
    assert b"act\\u001b" in seen
    assert b"act\x1b" not in seen
    assert b"Traceback" not in seen
