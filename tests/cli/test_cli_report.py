"""`fastact report`: a file for one run, for two that are compared, and one that follows a run."""

import importlib
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app


def record(run: Path, scale: float, steps: int = 30) -> fastact.ActivationMonitor:
    random = np.random.default_rng(0)
    monitor = fastact.ActivationMonitor(run)
    for _ in range(steps):
        monitor.record("encoder.0", scale * random.normal(size=(32, 16)), axis=1, kind="Linear")
        monitor.step()
    monitor.flush()
    return monitor


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_run_becomes_a_file(tmp_path: Path) -> None:
    record(tmp_path / "a", 1.0).close()
    code, out = invoke(tmp_path / "a", "--out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert (code, out.strip()) == (0, f"{tmp_path / 'r.html'}: {len(text.encode()):,} bytes")
    assert "No problems found in 1 layer" in text
    assert 'http-equiv="refresh"' not in text


def test_two_runs_are_compared_first_and_three_are_not(tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("b", 50.0), ("c", 1.0)):
        record(tmp_path / name, scale).close()
    for count, names in ((1, "ab"), (0, "abc")):
        code, _ = invoke(*(tmp_path / name for name in names), "--out", tmp_path / "r.html")
        text = (tmp_path / "r.html").read_text(encoding="utf-8")
        assert code == 0
        assert text.count('<article class="run"') == len(names)
        assert text.count('<section class="comparison"') == count
        assert len(text.encode()) < 400_000 * len(names)
    _, _ = invoke(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert text.index("encoder.0") < text.index('<article class="run"')
    assert '<td class="n">from the start</td>' in text


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in "ab":
        record(tmp_path / name / "log", 1.0).close()
    assert invoke(tmp_path / "a" / "log", tmp_path / "b" / "log", "--out", tmp_path / "r.html")[0] == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    for name in "ab":
        assert f'<p class="eyebrow"><bdi>{tmp_path / name / "log"}</bdi></p>' in text


def test_it_follows_a_run_until_that_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = record(tmp_path / "a", 1.0)
    out = tmp_path / "r.html"
    seen: list[str] = []

    def sleep(seconds: float) -> None:
        assert seconds >= 2.0
        seen.append(out.read_text(encoding="utf-8"))
        if len(seen) == 1:
            monitor.record("encoder.1", np.ones((4, 4)), axis=1)
            monitor.step()
            monitor.flush()
        else:
            monitor.close()

    # In that module alone, which goes by the name of its function.
    module = importlib.import_module("fastact.cli.commands.report")
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    code, _ = invoke(tmp_path / "a", "--out", out, "--follow", "--every", "2")
    assert code == 0
    assert len(seen) == 2
    assert "encoder.1" not in seen[0]
    assert "encoder.1" in seen[1]
    assert all('http-equiv="refresh" content="2"' in text for text in seen)
    assert 'http-equiv="refresh"' not in out.read_text(encoding="utf-8")  # it is over


def test_what_cannot_be_read_is_an_error_and_leaves_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.html").write_text("before")
    code, out = invoke(tmp_path / "nothing", "--out", tmp_path / "r.html")
    assert code == 2
    assert "cannot read the log" in out
    assert (tmp_path / "r.html").read_text() == "before"
