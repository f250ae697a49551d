"""`fastact tail`: a run, followed while it is written."""

import contextlib
import os
import signal
import subprocess
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
    options = fastact.log.LogOptions(segment_bytes=1, keep_bytes=20_000)
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
        out, err = process.communicate(timeout=60)
    # Segments were removed behind it, which is nothing to complain about.
    assert (process.returncode, out, err) == (0, "", "")
    assert fastact.open_log(tmp_path / "run").to_table().num_rows < len(rows)


@pytest.mark.e2e
def test_tail_draws_on_a_terminal_and_ends_by_an_interrupt(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="needs pseudo terminals")
    with fastact.ActivationMonitor(tmp_path / "run") as monitor:
        for layer in range(40):
            monitor.record(f"{NASTY}{layer}", np.zeros((64, 16), np.float32), axis=1, kind="ReLU")
        monitor.step()
        monitor.flush()
        child, terminal = pty.openpty()
        command = python("-m", "fastact", "tail", tmp_path / "run", "--every", "0.1")
        env = {**os.environ, "COLUMNS": "100", "LINES": "24", "TERM": "xterm"}
        with (
            subprocess.Popen(command, stdout=terminal, stderr=terminal, env=env) as process,
            contextlib.ExitStack() as stack,
        ):
            stack.callback(process.kill)
            os.close(terminal)
            seen = b""
            while seen.count(b"40 rows") < 3:
                seen += os.read(child, 4096)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # how Linux says that the other side is closed
                while data := os.read(child, 4096):
                    seen += data
    os.close(child)
    assert process.returncode == 0
    assert b"21 more layers do not fit" in seen
    assert b"\x1b[2J" not in seen
    assert b"Traceback" not in seen
