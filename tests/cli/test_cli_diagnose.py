"""`fastact diagnose` and `fastact layers`: what they print, and exit codes that scripts can rely on."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import NASTY, call, complaint

import fastact
from fastact.diagnosis.report import Note
from fastact.replay.log import Log


def test_diagnose_tells_by_its_exit_code(healthy: Path, sick: Path) -> None:
    out, _ = call("diagnose", healthy)
    assert "No problems found in 2 layers" in out
    out, _ = call("diagnose", sick, code=1)
    assert "12 of its 16 neurons" in out
    assert "leaky ReLU" in out
    assert "[red]" in out


def test_diagnose_json_is_the_diagnosis(sick: Path) -> None:
    out, _ = call("diagnose", sick, "--json", code=1)
    diagnosis = fastact.open_log(sick).diagnose()
    assert json.loads(out) == json.loads(diagnosis.to_json())
    assert diagnosis.findings[0].layer == NASTY


def test_diagnose_window(sick: Path) -> None:
    few, all_rows = (
        json.loads(call("diagnose", sick, "--json", *window, code=1)[0])["layers"][0]["not_judged"]
        for window in (("--window", 3), ())
    )
    assert set(few) > set(all_rows)
    call("diagnose", sick, "--window", 0, code=2)


def test_diagnose_for_scripts(sick: Path, tmp_path: Path) -> None:
    call("diagnose", sick, "--fail-on", "critical", code=1)  # 12 of 16 neurons are dead
    limits = tmp_path / "limits.toml"
    limits.write_text("dead_critical = 0.9\n")
    call("diagnose", sick, "--thresholds", limits, "--fail-on", "critical")
    call("diagnose", sick, "--thresholds", limits, "--fail-on", "serious")
    limits.write_text("dead_critcal = 0.9\n")
    assert "the nearest known one is 'dead_critical'" in complaint("diagnose", sick, "--thresholds", limits)
    call("diagnose", sick, "--fail-on", "much", code=2)


def test_diagnose_by_others_rules(sick: Path) -> None:
    out, _ = call("diagnose", sick, "--preset", "sagemaker", "--json", code=1)
    assert "DeadRelu" in out
    assert "preset: got 'mine', want one of naive" in complaint("diagnose", sick, "--preset", "mine")


def test_layers_shows_every_layer_in_forward_order(sick: Path) -> None:
    out, _ = call("layers", sick)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["linear", "act\\u001b[2J[red]\\n"]
    assert "dead (critical)" in lines[3]
    assert "75%" in lines[3]


def test_diagnose_merges_ranks(sick: Path, tmp_path: Path) -> None:
    for rank in range(2):
        shutil.copytree(sick, tmp_path / f"rank-{rank:05d}")
    out, _ = call("diagnose", tmp_path, code=1)
    assert "12 of its 16 neurons" in out
    alone, _ = call("diagnose", tmp_path, "--rank", 1, code=1)
    assert alone == call("diagnose", sick, code=1)[0]
    assert "rank: got 7, want one of 0, 1" in complaint("diagnose", tmp_path, "--rank", 7)
    out, _ = call("layers", tmp_path)
    assert "75%" in out


def test_diagnose_accepts_what_it_is_told_to(sick: Path, tmp_path: Path) -> None:
    out, _ = call("diagnose", sick, "--accept", "act*:dead=pruned on purpose")
    assert "No problems found in 2 layers, over steps 0 to 39, besides what is accepted." in out
    assert "Reason: pruned on purpose." in out
    out, _ = call("diagnose", sick, "--accept", "linear:dead", "--accept", "act*:*", "--json")
    report = json.loads(out)
    assert (report["healthy"], report["accepted_in_vain"]) == (True, ["linear: dead"])
    assert report["accepted"][0]["layer"] == NASTY
    call("diagnose", sick, "--accept", "linear:dead", code=1)
    assert "got the condition 'dying', want '*' or one of" in complaint("diagnose", sick, "--accept", "act*:dying")
    assert "want PATTERN:CONDITION" in complaint("diagnose", sick, "--accept", "act")
    config = tmp_path / "pyproject.toml"
    config.write_text('[tool.fastact.accept]\n"act*" = { dead = "pruned" }\n')
    assert "Reason: pruned." in call("diagnose", sick, "--config", config)[0]
    config.write_text("[tool.fastact.thresholds]\ndead_critical = 0.9\n")
    call("diagnose", sick, "--config", config, "--fail-on", "critical")
    config.write_text("[tool.fastact.accept]\nact = 3\n")
    assert "pyproject.toml': accept['act']: got int" in complaint("diagnose", sick, "--config", config)


def test_what_a_run_accepts_stays_accepted_and_more_is_added(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with fastact.ActivationMonitor(run, accept={"b": {"dead": "known"}}) as monitor:
        for _ in range(40):
            for name in "ab":
                monitor.record(name, np.zeros((64, 8), np.float32), axis=1, layer_type="ReLU")
            monitor.step()
    call("diagnose", run, code=1)
    out, _ = call("diagnose", run, "--accept", "a:*=known too")
    assert "Reason: known." in out
    assert "Reason: known too." in out
    config = tmp_path / "fastact.toml"
    config.write_text("min_rows = 6\n")
    call("diagnose", run, "--config", config, "--accept", "a:*")
    config.write_text('[accept]\nb = "saturated"\n')  # instead of the run's own
    call("diagnose", run, "--config", config, code=1)


def test_notes_leave_the_exit_code_at_0(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = Note("dead", (NASTY,), 3, "1 of 16 neurons never fires.")
    report = dataclasses.replace(fastact.open_log(healthy).diagnose(), notes=(note,))
    monkeypatch.setattr(Log, "diagnose", lambda *args, **options: report)
    out, _ = call("diagnose", healthy)
    assert "Notes (no harm seen):" in out
    assert "- 1 of 16 neurons never fires." in out
    assert out.strip().endswith("More: fastact explain dead")
    out, _ = call("diagnose", healthy, "--json")
    assert json.loads(out)["notes"] == [note.to_dict()]
