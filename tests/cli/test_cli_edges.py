"""The command line where things are not as they should be: no rows, no memory; and its small print."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from command_line import call, complaint
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app


def test_a_run_without_a_row_is_not_healthy(tmp_path: Path) -> None:
    fastact.ActivationMonitor(tmp_path / "run").close()
    out, err = call("diagnose", tmp_path / "run", "--json", code=2)
    assert json.loads(out)["healthy"] is False
    assert "nothing was recorded" in err
    assert not fastact.open_log(tmp_path / "run").diagnose().healthy


def test_a_run_whose_rows_are_all_lost_is_not_healthy(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path) as monitor:
        for _ in range(10):
            monitor.record("a", np.ones((4, 4), np.float32))
            monitor.step()
    (segment,) = tmp_path.glob("segment-*")
    whole = bytearray(segment.read_bytes())
    source = pa.BufferReader(bytes(whole))
    pa.ipc.open_stream(source)
    first = source.tell()  # after the schema
    whole[first:] = bytes(len(whole) - first)
    segment.write_bytes(whole)
    out, err = call("diagnose", tmp_path, code=2)
    assert "nothing could be judged" in out.replace("\n", " ")
    assert "all rows are lost" in err


def test_too_little_memory_is_an_error_of_one_line(sick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("fastact.replay.log.Log.diagnose", fail)
    assert complaint("layers", sick) == "error: memory does not suffice\n"


def test_tail_of_a_rank_that_is_not_there(sick: Path) -> None:
    assert "rank: got 9, want one of 0" in complaint("tail", sick, "--once", "--rank", "9")
    call("tail", sick, "--once", "--rank", "0")


def test_names_with_brackets_are_selected(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path) as monitor:
        for name in ("lstm[0]", "lstm[1]", "lstm0"):
            monitor.record(name, np.ones((4, 4), np.float32))
        monitor.step()

    def selected(pattern: str) -> list[str]:
        out, _ = call("replay", tmp_path, "--json", "--layer", pattern)
        return [json.loads(line)["layer"] for line in out.splitlines()]

    assert selected("lstm[0]") == ["lstm[0]", "lstm0"]
    assert selected("*[1]") == ["lstm[1]"]
    assert selected("lstm[*]") == ["lstm[0]", "lstm[1]"]


@pytest.mark.parametrize("command", ["layers", "info", "tail", "replay", "compare", "stats", "diagnose", "bench"])
def test_commands_that_tell_have_json(command: str) -> None:
    assert "--json" in CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output


def test_a_shell_completes_commands() -> None:
    environment = {"_FASTACT_COMPLETE": "complete_bash", "COMP_WORDS": "fastact la", "COMP_CWORD": "1"}
    assert CliRunner().invoke(app, [], env=environment, prog_name="fastact").output.split() == ["layers"]


def test_the_cache_is_shown_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path))
    assert call("cache", "show")[0] == "none\n"
    for name, file in (("0" * 16, "small.bin"), ("1" * 16, "small.bin"), ("1" * 16, "mine.txt"), ("notes", "a.bin")):
        (tmp_path / "fastact" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "fastact" / name / file).write_bytes(b"?" * 500_000)
    shown = json.loads(call("cache", "show", "--json")[0])
    assert [(Path(each["folder"]).name, each["files"], each["bytes"]) for each in shown] == [
        ("0" * 16, 1, 500_000),
        ("1" * 16, 1, 500_000),
    ]
    assert call("cache", "clear")[0] == "removed 2 entry points, 1.0 MB\n"
    left = sorted(str(path.relative_to(tmp_path / "fastact")) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["1" * 16 + "/mine.txt", "notes/a.bin"]
